"""When a cap's day, week or month begins: Postgres, its twin in memory and a naive rule, through every
change of a clock. The naive rule reads a calendar: two instants are in one period when they have the same
local date (hour, ISO week, month). It knows nothing of buckets."""
# ruff: noqa: DTZ001 - a wall time has no zone

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from itertools import pairwise, product
from uuid import UUID

import pytest

from buyers.contract import Schedule
from exchange.store.memory_rows import bucket_start, period_left_s
from exchange.store.rows import Settled, Verdict
from tests.clock import Clock, PostgresClock, label, local
from tests.ledgers import PRICE, Books, MemoryBooks, PostgresBooks, cap

QUARTER, HOUR, DAY = timedelta(minutes=15), timedelta(hours=1), timedelta(days=1)
PERIODS = ("hour", "day", "week", "month", "total")
MANY = 10**9
GRANTED = Verdict.GRANTED

NEW_YORK, LORD_HOWE = "America/New_York", "Australia/Lord_Howe"
APIA, HAVANA = "Pacific/Apia", "America/Havana"
# The spans that are looked at, and the changes of the clock in them: local wall times, before and after.
SPANS = {
    NEW_YORK: [("2026-01-01", "2027-01-01")],  # an hour at 02:00
    LORD_HOWE: [("2026-01-01", "2027-01-01")],  # half an hour at 02:00
    HAVANA: [("2026-01-01", "2027-01-01")],  # at midnight: 00:00 is skipped, and comes twice
    APIA: [
        ("2011-12-01", "2012-01-15"),
        ("2020-09-01", "2021-06-01"),
    ],  # a whole day, and the last ones
}
CHANGES = {
    NEW_YORK: [("2026-03-08T02:00", "2026-03-08T03:00"), ("2026-11-01T02:00", "2026-11-01T01:00")],
    LORD_HOWE: [("2026-04-05T02:00", "2026-04-05T01:30"), ("2026-10-04T02:00", "2026-10-04T02:30")],
    HAVANA: [("2026-03-08T00:00", "2026-03-08T01:00"), ("2026-11-01T01:00", "2026-11-01T00:00")],
    APIA: [
        ("2011-12-30T00:00", "2011-12-31T00:00"),
        ("2020-09-27T03:00", "2020-09-27T04:00"),
        ("2021-04-04T04:00", "2021-04-04T03:00"),
    ],
}
ZONES = list(SPANS)


# --- the naive rule -------------------------------------------------------------------------------


def begins(period: str, wall: datetime) -> datetime:
    """The wall time at which a calendar says that the period of this one begins."""
    year, month, day = wall.year, wall.month, wall.day
    match period:
        case "hour":
            return datetime(year, month, day, wall.hour)
        case "day":
            return datetime(year, month, day)
        case "week":
            return datetime.combine(date.fromisocalendar(*wall.isocalendar()[:2], 1), time())
        case "month":
            return datetime(year, month, 1)
    return datetime(2000, 1, 1)


# --- the instants ---------------------------------------------------------------------------------


def quarters(first: datetime, last: datetime, step: timedelta = QUARTER) -> Iterator[datetime]:
    """Every 15 minutes: no clock of these zones changes between two of them."""
    while first < last:
        yield first
        first += step


@cache
def changes(zone: str) -> list[datetime]:
    """The first instants after a change of the clock."""
    found = []
    for first, last in SPANS[zone]:
        for before, after in pairwise(quarters(utc(first), utc(last))):
            if local(zone, after) - local(zone, before) != QUARTER:
                found.append(after)
    return found


@cache
def instants(zone: str) -> list[datetime]:
    """Each quarter around every change of the clock, around the midnights next to it and around the next
    ends of a week and of a month; each hour of that day and its neighbours."""
    found: set[datetime] = set()
    for change in changes(zone):
        found |= set(quarters(change - DAY, change + DAY, HOUR))
        ends = [
            next_one("day", zone, change - DAY),
            *(next_one(p, zone, change) for p in PERIODS[1:4]),
        ]
        for middle in (change, *ends):
            found |= set(quarters(middle - 3 * HOUR, middle + 3 * HOUR))
    return sorted(found)


@cache
def next_one(period: str, zone: str, at: datetime) -> datetime:
    """The first quarter after `at` that is in another period, found by looking at each."""
    now = label(period, local(zone, at))
    later = quarters(at, at + timedelta(days=33))
    return next(one for one in later if label(period, local(zone, one)) != now)


def left_s(period: str, zone: str, at: Iterable[datetime]) -> dict[datetime, float]:
    """Seconds to the next period, for each of these instants; an hour where there is no next."""
    if period == "total":
        return dict.fromkeys(at, 3600.0)
    found, ends = {}, None
    for one in sorted(at):
        if ends is None or one >= ends:
            ends = next_one(period, zone, one)
        found[one] = (ends - one).total_seconds()
    return found


# --- two sets of books with one clock -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Clocked:
    books: Books
    clock: Clock

    async def lease(self, contract: int, want: int) -> tuple[int, float]:
        return await self.books.store().lease_pings(contract, want)


@pytest.fixture
async def postgres(database: str) -> AsyncIterator[Clocked]:
    clock = await PostgresClock.install(database, datetime(2026, 1, 1, tzinfo=UTC))
    books = PostgresBooks(database)
    await books.open()
    try:
        yield Clocked(books, clock)
        assert await books.broken() == []
    finally:
        await books.close()
        await clock.close()


@pytest.fixture
async def memory() -> AsyncIterator[Clocked]:
    clock = Clock(datetime(2026, 1, 1, tzinfo=UTC))
    books = MemoryBooks(wall_s=clock.wall_s)
    yield Clocked(books, clock)
    assert await books.broken() == []


@pytest.fixture(params=["memory", "postgres"])
def clocked(request: pytest.FixtureRequest) -> Clocked:
    found: Clocked = request.getfixturevalue(request.param)
    return found


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# --- the clock itself -----------------------------------------------------------------------------


async def test_the_clock_reaches_statements_functions_and_defaults(postgres: Clocked) -> None:
    """Else every test below would pass in the present."""
    at = utc("2031-05-06T07:08:09")
    await postgres.clock.set(at)
    books = postgres.books
    assert isinstance(books, PostgresBooks)
    contract = await books.one(cap("sales", 9, "hour"), cap("pings", 9, "hour"))
    order = await books.sale(contract)
    await books.end(order.lead_id, "sold")
    await books.returned(order)
    _, valid_s = await postgres.lease(contract.id, 1)
    assert valid_s == (51 * 60) + 51

    sql = await books.store().db.fetch(
        """SELECT created_at, settled_at FROM attempt UNION ALL SELECT created_at, closed_at FROM lead
        UNION ALL SELECT at, at FROM transfer UNION ALL SELECT requested_at, decided_at FROM sale_return
        UNION ALL SELECT now(), clock_timestamp()"""
    )
    assert {at} == {moment for row in sql for moment in row}
    starts = await books.store().db.fetch("SELECT start FROM bucket")
    assert {datetime(2031, 5, 6, 7)} == {row[0] for row in starts}


@pytest.mark.parametrize("zone", ZONES)
def test_the_changes_of_the_clock_are_those_we_mean(zone: str) -> None:
    """By Python's table of zones; Postgres has one of its own, compared below."""
    found = [(local(zone, at - QUARTER) + QUARTER, local(zone, at)) for at in changes(zone)]

    assert CHANGES[zone] == [tuple(f"{one:%Y-%m-%dT%H:%M}" for one in pair) for pair in found]


# --- where an award is counted --------------------------------------------------------------------


@pytest.mark.parametrize("zone", ZONES)
def test_the_twin_begins_periods_as_a_calendar_does(zone: str) -> None:
    for at in instants(zone):
        for period in PERIODS:
            assert begins(period, local(zone, at)) == bucket_start(period, zone, at), (at, period)


@pytest.mark.parametrize("zone", ZONES)
async def test_an_award_is_counted_where_a_calendar_says(postgres: Clocked, zone: str) -> None:
    """In the real store, at every one of these instants, under a cap of each period."""
    books, asked = postgres.books, dict[UUID, datetime]()
    assert isinstance(books, PostgresBooks)
    await postgres.clock.set(instants(zone)[0])
    contract = await books.one()
    for period in PERIODS:
        await books.set_cap(contract, cap("sales", MANY, period), zone)
    for at in instants(zone):
        await postgres.clock.set(at)
        order = await books.intent(contract)
        asked[order.id] = at

    rows = await books.sql.fetch(
        """SELECT a.id, cap.period, b.start FROM attempt a JOIN bucket b ON b.id = ANY (a.buckets)
        JOIN cap ON cap.id = b.cap_id"""
    )
    found = {(id_, period): start for id_, period, start in rows}
    expected = {
        (id_, period): begins(period, local(zone, at))
        for id_, at in asked.items()
        for period in PERIODS
    }
    assert expected == found


@pytest.mark.parametrize("zone", ZONES)
async def test_a_day_of_one_sells_once_a_local_date(
    postgres: Clocked, memory: Clocked, zone: str
) -> None:
    """Of 23, 24, 25 hours, of 23 and a half, or of none. Both stores say the same each time."""
    sold: Counter[date] = Counter()
    contracts = []
    for one in (postgres, memory):
        await one.clock.set(instants(zone)[0])
        contracts.append(await one.books.one())
        await one.books.set_cap(contracts[-1], cap("sales", 1, "day"), zone)
    for at in instants(zone):
        for one in (postgres, memory):
            await one.clock.set(at)
        verdicts = [
            await one.books.sell(contract)
            for one, contract in zip((postgres, memory), contracts, strict=True)
        ]
        assert verdicts[0] is verdicts[1], at
        sold[local(zone, at).date()] += verdicts[0] is GRANTED

    assert dict.fromkeys((local(zone, at).date() for at in instants(zone)), 1) == sold


def test_apia_had_no_thirtieth_of_december() -> None:
    """So it sells nothing on it, whatever its cap."""
    dates = {local(APIA, at).date() for at in instants(APIA)}

    assert {date(2011, 12, 29), date(2011, 12, 31)} <= dates
    assert date(2011, 12, 30) not in dates


@pytest.mark.parametrize(
    ("zone", "again", "minutes"),
    [
        (NEW_YORK, "2026-11-01T05:00", 120),  # from 01:00 in summer time
        (LORD_HOWE, "2026-04-04T14:00", 90),
        (HAVANA, "2026-11-01T04:00", 120),  # from midnight
        (APIA, "2021-04-03T13:00", 120),
    ],
)
async def test_an_hour_that_comes_twice_has_one_cap(
    clocked: Clocked, zone: str, again: str, minutes: int
) -> None:
    """A cap of one an hour sells one in it, and one in the hour after: less than by the clock, never more."""
    books = clocked.books
    await clocked.clock.set(utc(again) - QUARTER)
    contract = await books.one()
    await books.set_cap(contract, cap("sales", 1, "hour"), zone)
    sold = []
    for at in quarters(utc(again), utc(again) + timedelta(minutes=minutes + 60)):
        await clocked.clock.set(at)
        if await books.sell(contract) is GRANTED:
            sold.append(at - utc(again))

    assert [timedelta(), timedelta(minutes=minutes)] == sold


@pytest.mark.parametrize("zone", ZONES)
async def test_what_fails_after_midnight_is_given_back_to_the_day_before(
    clocked: Clocked, zone: str
) -> None:
    """To the period the unit came from: the new one has its whole cap, no more."""
    books = clocked.books
    for change, period in product(changes(zone), ("day", "week", "month")):
        midnight = next_one(period, zone, change - DAY)
        await clocked.clock.set(midnight - QUARTER)
        contract = await books.one()
        await books.set_cap(contract, cap("sales", 1, period), zone)
        before = await books.intent(contract)
        assert await books.sell(contract) is Verdict.CAP_SALES

        await clocked.clock.set(midnight)
        after = await books.intent(contract)
        assert await books.settle(before.id, "rejected") is Settled.OK
        assert await books.sell(contract) is Verdict.CAP_SALES
        assert await books.settle(after.id, "rejected") is Settled.OK
        assert await books.sell(contract) is GRANTED


async def test_a_changed_zone_counts_what_its_own_day_has_sold(clocked: Clocked) -> None:
    """Of five sales in New York's day three are of Apia's: it begins there with three."""
    books = clocked.books
    await clocked.clock.set(utc("2026-06-10T04:00"))  # New York's midnight
    contract = await books.one()
    await books.set_cap(contract, cap("sales", 6, "day"), NEW_YORK)
    for hour in (4, 10, 11, 12, 23):  # Apia's midnight is at 11:00
        await clocked.clock.set(utc(f"2026-06-10T{hour:02}:00"))
        await books.intent(contract)

    await books.set_cap(contract, cap("sales", 5, "day"), APIA)
    assert 3 == await books.used(contract, "sales")
    assert [GRANTED, GRANTED, Verdict.CAP_SALES] == [await books.sell(contract) for _ in range(3)]
    await books.set_cap(contract, cap("sales", 7, "day"), NEW_YORK)
    assert 7 == await books.used(contract, "sales")
    assert await books.sell(contract) is Verdict.CAP_SALES


@pytest.mark.parametrize("zone", ZONES)
async def test_a_cap_that_begins_in_a_long_day_counts_all_of_it(
    clocked: Clocked, zone: str
) -> None:
    """Whatever the clock did meanwhile: a sale at every quarter, a cap at every seventh."""
    books = clocked.books
    first = changes(zone)[-1] - timedelta(hours=4)
    await clocked.clock.set(first)
    contract = await books.one()
    sold: list[datetime] = []
    for number, at in enumerate(quarters(first, first + timedelta(hours=24))):
        await clocked.clock.set(at)
        await books.intent(contract)
        sold.append(at)
        if number % 7:
            continue
        for period in ("hour", "day", "week", "month"):
            now = label(period, local(zone, at))
            await books.drop_cap(contract, "spend", period)
            await books.set_cap(contract, cap("spend", MANY * PRICE, period), zone)
            counted = [one for one in sold if label(period, local(zone, one)) == now]
            assert len(counted) * PRICE == await books.used(contract, "spend"), (at, period)
            await books.drop_cap(contract, "spend", period)


# --- leases of pings ------------------------------------------------------------------------------


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("period", PERIODS)
def test_the_twin_knows_how_long_a_period_lasts(zone: str, period: str) -> None:
    expected = left_s(period, zone, instants(zone))

    assert expected == {at: period_left_s(period, zone, at) for at in instants(zone)}


@pytest.mark.parametrize(
    "zone",
    [
        NEW_YORK,  # the hour from midnight
        LORD_HOWE,  # no period begins in the half hour that comes twice
        HAVANA,  # the day, the month and the hour before
        APIA,
    ],
)
async def test_leased_pings_are_good_until_their_period_ends(postgres: Clocked, zone: str) -> None:
    """No longer: they would be spent in the next period, which has not counted them."""
    books = postgres.books
    assert isinstance(books, PostgresBooks)
    await books.sql.execute(
        """CREATE FUNCTION fake.leases(p_contract int, p_at timestamptz[]) RETURNS float8[] LANGUAGE plpgsql AS $$
        DECLARE found float8[]; a timestamptz;
        BEGIN
          FOREACH a IN ARRAY p_at LOOP
            UPDATE fake.clock SET at = a;
            found := found || (SELECT valid_s FROM lease_pings(p_contract, 1));
          END LOOP;
          RETURN found;
        END $$"""
    )
    db, wrong = books.store().db, {}
    for period in PERIODS:
        contract = await books.one()
        await books.set_cap(contract, cap("pings", MANY, period), zone)
        asked = instants(zone)[:: 1 if period in {"hour", "day"} else 5]
        found = await db.fetchval("SELECT fake.leases($1, $2)", contract.id, asked)
        expected = left_s(period, zone, asked)
        for at, valid_s in zip(asked, found, strict=True):
            if valid_s != expected[at]:
                wrong[period, str(local(zone, at))] = (valid_s, expected[at])
    assert {} == wrong


# --- schedules ------------------------------------------------------------------------------------


@pytest.mark.parametrize("zone", ZONES)
async def test_schedules_read_the_wall_clock_that_postgres_reads(
    postgres: Clocked, zone: str
) -> None:
    """Two tables of time zones, one in Python and one in Postgres: they must not differ."""
    books = postgres.books
    assert isinstance(books, PostgresBooks)
    walls = await books.sql.fetchval(
        "SELECT array_agg(a AT TIME ZONE $2::text ORDER BY a) FROM unnest($1::timestamptz[]) a",
        instants(zone), zone,
    )  # fmt: skip
    hours = [(0, 90), (120, 150), (9 * 60, 17 * 60), (23 * 60 + 30, 24 * 60)]
    week = (tuple(hours), (), *[tuple(hours)] * 4, ((0, 24 * 60),))
    holiday = local(zone, changes(zone)[0]).date() + DAY
    schedule = Schedule(timezone=zone, hours=week, holidays=frozenset({holiday}))
    for at, wall in zip(instants(zone), walls, strict=True):
        minute = wall.hour * 60 + wall.minute
        expected = wall.date() != holiday and any(
            first <= minute < last for first, last in week[wall.weekday()]
        )
        assert expected is schedule.is_open(at), (at, wall)
