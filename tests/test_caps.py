"""How far a contract's day has come, in zones whose days are not all alike."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buyers.contract import Cap, CapKind, Schedule
from exchange.caps import allowed, day_over, open_share
from tests.making import a_contract

NINE_TO_FIVE = (((9 * 60, 17 * 60),),) * 7
SPLIT = (((8 * 60, 10 * 60), (22 * 60, 24 * 60)),) * 7
NEW_YORK, LORD_HOWE, APIA = "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"


def at(zone: str, text: str, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)


SHARES = [
    # (zone, local time, hours, elapsed by all open minutes)
    ("UTC", "2026-06-01T06:00", None, 6 / 24),
    ("UTC", "2026-06-01T13:00", NINE_TO_FIVE, 0.5),
    ("UTC", "2026-06-01T17:00", NINE_TO_FIVE, 1.0),
    ("UTC", "2026-06-01T23:00", NINE_TO_FIVE, 1.0),
    ("UTC", "2026-06-01T09:00", SPLIT, 0.25),
    ("UTC", "2026-06-01T15:00", SPLIT, 0.5),
    ("UTC", "2026-06-01T23:00", SPLIT, 0.75),
    # 23 hours: at noon eleven have passed. 25 hours: thirteen.
    (NEW_YORK, "2026-03-08T12:00", None, 11 / 23),
    (NEW_YORK, "2026-11-01T12:00", None, 13 / 25),
    (NEW_YORK, "2026-11-02T12:00", None, 12 / 24),
    (NEW_YORK, "2026-11-01T13:00", NINE_TO_FIVE, 0.5),  # the change is over by nine
    # Half an hour: 24.5 and 23.5.
    (LORD_HOWE, "2026-04-05T12:00", None, 12.5 / 24.5),
    (LORD_HOWE, "2026-10-04T12:00", None, 11.5 / 23.5),
    # The day before the one that Samoa left out lasts as long as any.
    (APIA, "2011-12-29T12:00", None, 0.5),
    (APIA, "2011-12-31T12:00", None, 0.5),
]


@pytest.mark.parametrize(("zone", "local", "hours", "share"), SHARES)
def test_a_day_is_measured_in_open_time(
    zone: str, local: str, hours: tuple[tuple[tuple[int, int], ...], ...] | None, share: float
) -> None:
    """Real minutes, not those on the clock's face."""
    found = open_share(Schedule(timezone=zone, hours=hours), at(zone, local))

    assert share == pytest.approx(found)


def test_the_repeated_hour_goes_on_where_it_was() -> None:
    """01:30 comes twice: 1.5 and 2.5 of 25 hours."""
    schedule = Schedule(timezone=NEW_YORK)

    assert 1.5 / 25 == pytest.approx(open_share(schedule, at(NEW_YORK, "2026-11-01T01:30")))
    assert 2.5 / 25 == pytest.approx(open_share(schedule, at(NEW_YORK, "2026-11-01T01:30", fold=1)))


def test_a_day_without_hours_allows_nothing_and_forbids_nothing() -> None:
    """The schedule itself says closed."""
    sunday = Schedule(timezone="UTC", hours=(((540, 1020),),) * 6 + ((),))
    holiday = Schedule(timezone="UTC", holidays=frozenset({date(2026, 12, 25)}))

    assert open_share(sunday, at("UTC", "2026-06-07T12:00")) is None
    assert open_share(holiday, at("UTC", "2026-12-25T12:00")) is None


def test_only_a_contract_that_paces_a_cap_is_measured() -> None:
    """Without a schedule the day is UTC's."""
    paced = a_contract(caps=(Cap(kind=CapKind.SALES, period="day", limit=10, paced=True),))
    plain = a_contract(caps=(Cap(kind=CapKind.SALES, period="day", limit=10),))
    noon = at("UTC", "2026-06-01T12:00")

    assert (0.5, None) == (day_over(paced, noon), day_over(plain, noon))


@given(st.integers(0, 10**6), st.floats(0, 1), st.floats(0, 1))
def test_what_is_allowed_grows_with_the_day_to_the_cap(
    limit: int, some: float, more: float
) -> None:
    """Never above the cap, all of it at the end, and the first unit as soon as the day has begun."""
    first, second = sorted([some, more])

    assert 0 <= allowed(limit, first) <= allowed(limit, second) <= limit
    assert limit == allowed(limit, 1.0)
    assert min(limit, 1) <= allowed(limit, 1e-9)


@given(
    st.sampled_from([NEW_YORK, LORD_HOWE, APIA, "America/Havana", "Asia/Kolkata"]),
    st.integers(1_293_840_000, 1_893_456_000),  # 2011 to 2030
    st.integers(0, 86_400),
)
def test_a_day_only_goes_forward(zone: str, epoch_s: int, seconds: int) -> None:
    """Within one local date the share never falls, whatever the clocks do."""
    schedule = Schedule(timezone=zone)
    now = datetime.fromtimestamp(epoch_s, UTC)
    later = now + timedelta(seconds=seconds)
    local = ZoneInfo(zone)
    if now.astimezone(local).date() == later.astimezone(local).date():
        before, after = open_share(schedule, now), open_share(schedule, later)
        assert before is not None
        assert after is not None
        assert 0 < before <= after <= 1
