"""When a contract is open: local wall time, through clock changes and missing days."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from exchange.schedules import ScheduleDocument, schedule_value


def schedule(**document: Any) -> Any:
    found = schedule_value(ScheduleDocument.model_validate(document).model_dump(mode="json"))
    assert found is not None
    return found


OFFICE = {
    "timezone": "America/New_York",
    "hours": {"mon": ["09:00-12:00", "13:00-17:00"], "sat": []},
}

CASES = [
    # (schedule, instant UTC, open)
    (OFFICE, "2026-11-23T13:59:59", False),  # Monday 08:59:59
    (OFFICE, "2026-11-23T14:00:00", True),  # 09:00:00 sharp
    (OFFICE, "2026-11-23T16:59:59", True),  # 11:59:59
    (OFFICE, "2026-11-23T17:00:00", False),  # 12:00: the end is excluded
    (OFFICE, "2026-11-23T18:00:00", True),  # the second range
    (OFFICE, "2026-11-28T15:00:00", False),  # Saturday is named and empty
    (OFFICE, "2026-11-24T15:00:00", False),  # Tuesday is not named: closed
    (OFFICE, "2026-07-06T13:00:00", True),  # in summer 09:00 is an hour earlier in UTC
    ({"timezone": "UTC"}, "2026-11-24T03:00:00", True),  # no hours: always
    ({"hours": {"tue": ["00:00-24:00"]}}, "2026-11-24T23:59:59", True),  # all day
    ({"hours": {"tue": ["00:00-24:00"]}}, "2026-11-25T00:00:00", False),
    ({"holidays": ["2026-12-25"]}, "2026-12-25T12:00:00", False),  # a holiday, UTC
    (
        {"timezone": "Pacific/Auckland", "holidays": ["2026-12-25"]},
        "2026-12-24T12:00:00",
        False,
    ),  # there it has begun
    # New York, 8 March 2026: 02:00 to 03:00 does not exist
    (
        {"timezone": "America/New_York", "hours": {"sun": ["02:00-03:00"]}},
        "2026-03-08T06:59:59",
        False,
    ),
    (
        {"timezone": "America/New_York", "hours": {"sun": ["02:00-03:00"]}},
        "2026-03-08T07:00:00",
        False,
    ),
    # New York, 1 November 2026: 01:30 comes twice, and is open twice
    (
        {"timezone": "America/New_York", "hours": {"sun": ["01:00-02:00"]}},
        "2026-11-01T05:30:00",
        True,
    ),
    (
        {"timezone": "America/New_York", "hours": {"sun": ["01:00-02:00"]}},
        "2026-11-01T06:30:00",
        True,
    ),
    # Lord Howe moves by half an hour: 02:00 becomes 02:30 on 4 October 2026
    (
        {"timezone": "Australia/Lord_Howe", "hours": {"sun": ["02:00-02:30"]}},
        "2026-10-03T15:30:00",
        False,
    ),
    (
        {"timezone": "Australia/Lord_Howe", "hours": {"sun": ["02:30-03:00"]}},
        "2026-10-03T15:30:00",
        True,
    ),
]


@pytest.mark.parametrize(("document", "at", "is_open"), CASES)
def test_a_contract_is_open_in_its_own_local_time(
    document: dict[str, Any], at: str, is_open: bool
) -> None:
    """The wall clock on the buyer's side decides, the end of a range excluded."""
    assert is_open == schedule(**document).is_open(datetime.fromisoformat(at).replace(tzinfo=UTC))


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("America/New_York", "2026-03-08", 23),
        ("America/New_York", "2026-11-01", 25),
        ("Australia/Lord_Howe", "2026-04-05", 24.5),
        ("Pacific/Apia", "2011-12-30", 0),  # the day that Samoa never had
        ("UTC", "2026-03-08", 24),
    ],
)
def test_a_day_is_as_long_as_its_clock_says(zone: str, day: str, hours: float) -> None:
    """An all-day schedule, counted in quarters of an hour."""
    found = schedule(
        timezone=zone,
        hours={day: ["00:00-24:00"] for day in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")},
    )
    start = datetime.fromisoformat(day).replace(tzinfo=UTC) - timedelta(days=2)
    quarters = [start + timedelta(minutes=15 * n) for n in range(4 * 24 * 4)]

    of_day = [at for at in quarters if at.astimezone(ZoneInfo(zone)).date().isoformat() == day]

    assert len(of_day) / 4 == hours
    assert all(found.is_open(at) for at in of_day)


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ({"timezone": "Mars/Olympus"}, "unknown_timezone"),
        ({"hours": {"monday": ["09:00-17:00"]}}, "unknown_field"),
        ({"hours": {"mon": ["9-17"]}}, "bad_format"),
        ({"hours": {"mon": ["17:00-09:00"]}}, "out_of_range"),  # none over midnight
        ({"hours": {"mon": ["09:00-09:00"]}}, "out_of_range"),
        ({"hours": {"mon": ["09:00-24:30"]}}, "out_of_range"),
        ({"hours": {"mon": ["09:00-12:00", "11:00-17:00"]}}, "overlap"),
        ({"holidays": ["25 December"]}, "bad_format"),
        ({"holidays": ["2026-02-30"]}, "bad_format"),
        ({"open": True}, "extra_forbidden"),
    ],
)
def test_a_schedule_that_cannot_be_kept_is_refused(document: dict[str, Any], code: str) -> None:
    """Every fault has its code."""
    with pytest.raises(ValidationError) as refused:
        ScheduleDocument.model_validate(document)

    assert [one["type"] for one in refused.value.errors()] == [code]
