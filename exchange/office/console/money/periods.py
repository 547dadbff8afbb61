"""Periods as pages name them in their addresses: whole days of a time zone. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

NAMED: Final = (
    ("today", "Today"), ("yesterday", "Yesterday"), ("7d", "Last 7 days"), ("30d", "Last 30 days"),
    ("month", "This month"), ("last_month", "Last month"), ("custom", "From … to"),
)  # fmt: skip
ZONES: Final = (
    "UTC", "America/New_York", "America/Chicago", "America/Denver", "America/Phoenix", "America/Los_Angeles",
    "America/Toronto", "Europe/London", "Europe/Berlin", "Australia/Sydney",
)  # fmt: skip
_ALL_ZONES: Final = frozenset(available_timezones())  # to ask takes 12 ms: once
_DAYS_MAX: Final = 400
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """Days from `first` to `last`, both included, in a zone."""

    name: str  # of NAMED
    first: date
    last: date
    zone: str

    @property
    def start(self) -> datetime:
        return _midnight(self.first, self.zone)

    @property
    def end(self) -> datetime:
        """The first moment after it."""
        return _midnight(self.last + _DAY, self.zone)

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1

    @property
    def words(self) -> str:
        if self.first == self.last:
            return f"{self.first:%d %b %Y}"
        return f"{self.first:%d %b} to {self.last:%d %b %Y}"

    def before(self) -> "Period":
        """As many days, right before it; before a month the month."""
        last = self.first - _DAY
        is_month = self.first.day == 1 and (self.last + _DAY).day == 1 and self.days > 27
        first = last.replace(day=1) if is_month else last - (self.last - self.first)
        return Period(name="custom", first=first, last=last, zone=self.zone)


def read_period(
    query: Mapping[str, str], now: datetime, *, usual: str = "7d", zone: str = "UTC"
) -> tuple[Period, str]:
    """Out of `range`, `from`, `to` and `zone`; and what was wrong with them: then it is the usual one."""
    wanted, unknown = query.get("zone") or zone, ""
    if wanted not in _ALL_ZONES:
        wanted, unknown = "UTC", "There is no such time zone: write it as America/New_York."
    today = now.astimezone(ZoneInfo(wanted)).date()
    name = query.get("range") or ("custom" if query.get("from") or query.get("to") else usual)
    days, complaint = _days(name, today), ""
    if name == "custom":
        days, complaint = _custom(query, today)
    if days is None:
        name, days = usual, _days(usual, today)
    assert days is not None, "the usual one is known"
    return Period(name=name, first=days[0], last=days[1], zone=wanted), unknown or complaint


def _custom(query: Mapping[str, str], today: date) -> tuple[tuple[date, date] | None, str]:
    """From one day to another; a day that is not said is today, or the other one."""
    try:
        last = date.fromisoformat(query["to"]) if query.get("to") else today
        first = date.fromisoformat(query["from"]) if query.get("from") else last
    except ValueError:
        return None, "Days are written as 2026-07-01."
    if not date(2000, 1, 1) <= first <= last <= date(2200, 1, 1):
        return None, "The first day must not be after the last one."
    if (last - first).days >= _DAYS_MAX:
        told = f"A period has at most {_DAYS_MAX} days: these are its last ones."
        return (last - (_DAYS_MAX - 1) * _DAY, last), told
    return (first, last), ""


def _days(name: str, today: date) -> tuple[date, date] | None:
    """First and last day; None: no such name."""
    match name:
        case "today":
            return today, today
        case "yesterday":
            return today - _DAY, today - _DAY
        case "7d":
            return today - 6 * _DAY, today
        case "30d":
            return today - 29 * _DAY, today
        case "month":
            return today.replace(day=1), today
        case "last_month":
            last = today.replace(day=1) - _DAY
            return last.replace(day=1), last
        case _:
            return None


def _midnight(day: date, zone: str) -> datetime:
    """In UTC. Where the clock skips it, the first moment of the day."""
    return datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC)
