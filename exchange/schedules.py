"""Reads a contract's schedule: ranges of local wall time by weekday, and holidays."""

import re
from collections.abc import Mapping
from datetime import date
from itertools import pairwise
from typing import Annotated, Any, Final
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from buyers.contract import Schedule

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_RANGE: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)")
_TIMEZONES: Final = available_timezones()


def check_timezone(name: str) -> str:
    if name not in _TIMEZONES:
        raise PydanticCustomError(
            "unknown_timezone", "must be an IANA time zone, such as America/New_York"
        )
    return name


def _check_ranges(ranges: list[str]) -> list[str]:
    """Each is read; sorted, none may overlap the next."""
    found = sorted(_minutes(text) for text in ranges)
    if any(later[0] < earlier[1] for earlier, later in pairwise(found)):
        raise PydanticCustomError("overlap", "ranges of one day must not overlap")
    return ranges


def _check_days(hours: dict[str, list[str]]) -> dict[str, list[str]]:
    if not hours.keys() <= set(DAYS):
        raise PydanticCustomError("unknown_field", "days are mon, tue, wed, thu, fri, sat, sun")
    return hours


def _check_date(text: str) -> str:
    try:
        if len(text) == 10:
            date.fromisoformat(text)
            return text
    except ValueError:
        pass
    raise PydanticCustomError("bad_format", "must be a date such as 2026-12-25")


Ranges = Annotated[list[str], Field(max_length=24), AfterValidator(_check_ranges)]


class ScheduleDocument(BaseModel):
    """As it is written. With `hours`, a day that is not named is closed."""

    model_config = ConfigDict(extra="forbid", strict=True)
    timezone: Annotated[str, AfterValidator(check_timezone)] = "UTC"
    hours: Annotated[dict[str, Ranges], AfterValidator(_check_days)] | None = None
    holidays: Annotated[
        list[Annotated[str, AfterValidator(_check_date)]], Field(max_length=400)
    ] = []


def schedule_value(document: Mapping[str, Any] | None) -> Schedule | None:
    if document is None:
        return None
    hours = document["hours"]
    week = None
    if hours is not None:
        week = tuple(tuple(sorted(map(_minutes, hours.get(day, ())))) for day in DAYS)
    holidays = frozenset(map(date.fromisoformat, document["holidays"]))
    return Schedule(timezone=document["timezone"], hours=week, holidays=holidays)


def _minutes(text: str) -> tuple[int, int]:
    """09:00-17:30 as minutes of the day; the end is excluded and may be 24:00."""
    found = _RANGE.fullmatch(text)
    if found is None:
        raise PydanticCustomError("bad_format", "must be a range such as 09:00-17:00")
    first, last = (int(found[n]) * 60 + int(found[n + 1]) for n in (1, 3))
    if not first < last <= 24 * 60:
        raise PydanticCustomError(
            "out_of_range", "must begin before it ends, by 24:00 at the latest"
        )
    return first, last
