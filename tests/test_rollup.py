"""Sums for reports and for money: whatever happens, they are what a plain look at the books gives."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import asyncpg
import orjson
import pytest

from exchange.chores import rollup
from exchange.chores.balances import Balances, horizon_of, next_step
from exchange.chores.cells import FIGURES, TIME_BOUNDS_MS, PingSeen, add_pings, hour_of, no_cells
from exchange.chores.rollup import RollUp
from exchange.receipt import read
from exchange.store.database import connect
from exchange.store.rows import PingRow
from tests.offices import open_offices
from tests.trading import Trade, begin_trade


@pytest.fixture
async def trade(database: str) -> AsyncIterator[Trade]:
    async with open_offices(database) as offices:
        yield await begin_trade(offices)


@pytest.fixture
async def sql(database: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await connect(database)
    yield connection
    await connection.close()


def a_roll_up(**more: Any) -> RollUp:
    return RollUp(120, rest=0.0, **more)


# --- the naive oracle -----------------------------------------------------------------------------


async def plainly(sql: Any) -> dict[tuple[Any, ...], Counter[str]]:
    """Every figure by (hour, seller, contract), counted one by one, out of the books themselves."""
    ids = dict(map(tuple, await sql.fetch("SELECT slug, id FROM document WHERE kind = 'contract'")))
    found: dict[tuple[Any, ...], Counter[str]] = defaultdict(Counter)
    for row in await sql.fetch("SELECT id, seller, price, receipt FROM ping WHERE NOT test"):
        receipt, hour = read(row["receipt"]), hour_of(row["id"])
        own = found[hour, row["seller"], 0]
        own += Counter(pings=1, quotes=int(row["price"] is not None))
        winner = receipt["ranking"][0]["contract"] if receipt["winning"] else None
        for one in receipt["asked"]:
            cell = found[hour, row["seller"], ids[one["contract"]]]
            cell["asked"] += 1
            cell["won"] += one["contract"] == winner
            name = {"bid": "bids", "no_bid": "no_bids", "invalid": "invalid"}.get(one["result"])
            name = name or {
                "timed_out": "timed_out", "unreachable": "unreachable", "tls_failed": "unreachable", "garbled": "garbled",
                "oversized": "garbled", "pool_full": "failed",
            }[one["reason"]]  # fmt: skip
            cell[name] += 1
            cell["bid_sum"] += one.get("price", 0)
            if one["ms"] is not None:
                place = next(
                    (n for n, bound in enumerate(TIME_BOUNDS_MS) if one["ms"] <= bound),
                    len(TIME_BOUNDS_MS),
                )
                cell[f"t{place + 1}"] += 1
        for one in receipt["offers"]:
            if one.get("fixed"):
                found[hour, row["seller"], ids[one["contract"]]] += Counter(
                    fixed=1, bid_sum=one["price"], won=one["contract"] == winner
                )
    for lead in await sql.fetch("SELECT id, ping_id, seller, state FROM lead WHERE NOT test"):
        hour = hour_of(lead["ping_id"])
        found[hour, lead["seller"], 0] += Counter(leads=1, sold=int(lead["state"] == "sold"))
        for attempt in await sql.fetch(
            "SELECT id, contract_id, state FROM attempt WHERE lead_id = $1", lead["id"]
        ):
            cell = found[hour, lead["seller"], attempt["contract_id"]]
            cell["posts"] += 1
            cell[
                {"intent": "waiting", "unconfirmed": "waiting"}.get(
                    attempt["state"], attempt["state"]
                )
            ] += 1
            await _add_money(sql, cell, attempt["id"])
    return {key: +cell for key, cell in found.items() if +cell}


async def _add_money(sql: Any, cell: Counter[str], attempt: UUID) -> None:
    """What the ledger, not the attempt, says of it."""
    moved = dict(
        map(tuple, await sql.fetch("SELECT kind, amount FROM transfer WHERE ref = $1", attempt))
    )
    cell["revenue"] += moved.get("sale", 0) + moved.get("margin", 0)
    cell["payout"] += moved.get("sale", 0)
    back = moved.get("return", 0) + moved.get("return_margin", 0)
    cell["returned"] += back > 0
    cell["returned_revenue"] += back
    cell["returned_payout"] += moved.get("return", 0) if "return_margin" in moved else 0


async def rolled_up(sql: Any, span: str = "hour") -> dict[tuple[Any, ...], Counter[str]]:
    rows = await sql.fetch(f"SELECT * FROM report_{span}")
    return {
        (row[span], row["seller"], row["contract"]): +Counter({name: row[name] for name in FIGURES})
        for row in rows
        if any(row[name] for name in FIGURES)
    }


async def must_be_exact(sql: Any) -> None:
    """Cells are what a plain count gives, and every sum is the sum of its cells."""
    cells = await rolled_up(sql)
    assert await plainly(sql) == cells
    made = await sql.fetchval("SELECT days_upto FROM report_state")
    wanted: dict[tuple[Any, ...], Counter[str]] = defaultdict(Counter)
    days: dict[tuple[Any, ...], Counter[str]] = defaultdict(Counter)
    for (hour, seller, contract), cell in cells.items():
        spans = [("hour", hour)]
        if hour < made:
            spans.append(("day", hour.replace(hour=0)))
        for span, start in spans:
            wanted["seller", span, start, seller, 0] += cell
            if contract:
                wanted["contract", span, start, 0, contract] += cell
            if contract and span == "day":
                days[start, seller, contract] += cell
    sums = {(row["by"], row["span"], row["start"], row["seller"], row["contract"]): +Counter({name: row[name] for name in FIGURES})
            for row in await sql.fetch("SELECT * FROM report_sum") if any(row[name] for name in FIGURES)}  # fmt: skip
    assert dict(wanted) == sums
    assert dict(days) == await rolled_up(sql, "day")


# --- reports --------------------------------------------------------------------------------------


async def test_sums_are_what_a_plain_count_gives(trade: Trade, sql: Any) -> None:
    """Over hours and days, with tests left out, and again without anything new."""
    await trade.some()
    roll_up = a_roll_up(slice_max=7, cells_max=40)

    for _ in range(2):
        await roll_up.turn(sql)
        await must_be_exact(sql)
    assert (await sql.fetchval("SELECT days_upto FROM report_state")).year > 2000
    assert (await sql.fetchval("SELECT sum(revenue) FROM report_hour")) > 0


async def test_a_ping_of_this_minute_is_counted_when_it_is_a_minute_old(
    trade: Trade, sql: Any
) -> None:
    """Those that are under way may be stored in another order than their ids."""
    await trade.ping(datetime.now(UTC))
    await a_roll_up().turn(sql)

    assert {} == await rolled_up(sql)


async def test_late_words_and_returns_are_booked_where_the_ping_was(trade: Trade, sql: Any) -> None:
    """Also in days that were made long ago; the money stays the ledger's."""
    await trade.some()
    roll_up = a_roll_up()
    await roll_up.turn(sql)
    waiting = await sql.fetchval("SELECT sum(waiting) FROM report_hour")
    assert waiting == len(trade.open) > 0

    await trade.hear_of_all()
    await trade.give_back(trade.sold[0], reverse=True)
    await trade.give_back(trade.sold[1], reverse=False)
    await roll_up.turn(sql)

    await must_be_exact(sql)
    assert 2 == await sql.fetchval("SELECT sum(returned) FROM report_hour")
    await a_roll_up().turn(sql)  # another office takes over: nothing is added twice
    await must_be_exact(sql)


async def test_a_ping_that_came_late_is_found_by_the_second_count(trade: Trade, sql: Any) -> None:
    """Stored after its hour had been counted: a slow disk, a clock that was behind."""
    at = datetime.now(UTC) - timedelta(hours=3)
    await trade.lead(await trade.ping(at), "accepted")
    roll_up = a_roll_up(slice_max=1)
    await roll_up.turn(sql)
    for second in range(3):
        await trade.ping(at - timedelta(seconds=second))
    await sql.execute("UPDATE report_done SET counted = false")

    await roll_up.turn(sql)

    await must_be_exact(sql)
    assert 4 == await sql.fetchval("SELECT sum(pings) FROM report_hour")


async def test_what_was_dropped_before_the_second_count_stays_counted(
    trade: Trade, sql: Any
) -> None:
    """An office that was away for longer than pings are kept."""
    at = datetime.now(UTC) - timedelta(hours=3)
    for second in range(3):
        await trade.ping(at - timedelta(seconds=second))
    roll_up = a_roll_up()
    await roll_up.turn(sql)
    await sql.execute("DELETE FROM ping")
    await sql.execute("UPDATE report_done SET counted = false")

    await roll_up.turn(sql)

    assert 3 == await sql.fetchval("SELECT sum(pings) FROM report_hour")


async def test_a_receipt_that_is_none_of_ours_stops_nothing(trade: Trade, sql: Any) -> None:
    """It is left out; those around it are counted."""
    at = datetime.now(UTC) - timedelta(hours=2)
    before = await trade.ping(at)
    after = await trade.ping(at + timedelta(minutes=2))
    row = PingRow(id=trade.uuid(at + timedelta(minutes=1)), seller=1, expires_at=at, price_micros=None, external_id=None,
                  test=False, receipt=b'{"v":1}')  # fmt: skip
    await trade.offices.store.put_ping(row)

    await a_roll_up().turn(sql)

    assert 2 == await sql.fetchval("SELECT sum(pings) FROM report_hour")
    assert before < row.id < after


async def test_a_turn_ends_in_its_time_and_the_next_goes_on(trade: Trade, sql: Any) -> None:
    """Other chores have theirs; whoever comes next finds how far it came."""
    await trade.some()
    turns = 0
    while (await sql.fetchval("SELECT at FROM report_state")).year < 2000:
        await a_roll_up(turn_s=0.01, slice_max=3).turn(sql)
        turns += 1
        assert turns < 500
    assert turns > 2
    await must_be_exact(sql)


class Dying:
    """A connection that is cut off after so many calls, as by a kill."""

    def __init__(self, connection: Any, calls: int) -> None:
        self._connection = connection
        self._left = calls

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._connection, name)
        if name not in {"fetch", "fetchrow", "fetchval", "execute", "copy_records_to_table"}:
            return real

        async def call(*args: Any, **named: Any) -> Any:
            self._left -= 1
            if self._left < 0:
                self._connection.terminate()
                raise ConnectionResetError
            return await real(*args, **named)

        return call


@pytest.mark.parametrize("chore", ["reports", "balances"])
async def test_a_chore_that_is_killed_anywhere_counts_everything_once(
    trade: Trade, sql: Any, database: str, chore: str
) -> None:
    """After every single statement of it, one kill after the other."""
    await trade.some(hours=3, each=4)
    await _long_ago(sql)
    kills = 0
    while True:
        connection = await connect(database)
        try:
            turn = {**a_roll_up(slice_max=4, cells_max=1).chores(), **Balances().chores()}[chore]
            await turn(Dying(connection, kills))
            break
        except (ConnectionResetError, asyncpg.InterfaceError):
            kills += 1
            if kills == 20:  # meanwhile the world goes on
                await trade.hear_of_all()
        finally:
            connection.terminate()
    assert kills > (20 if chore == "reports" else 5)
    if chore == "reports":
        await must_be_exact(sql)
    else:
        await must_balance(sql)


@pytest.mark.parametrize(("cells_max", "bookings"), [(1, 3), (1000, 1)])
async def test_two_slices_of_one_hour_add_up(
    trade: Trade, sql: Any, monkeypatch: pytest.MonkeyPatch, cells_max: int, bookings: int
) -> None:
    """A cell is added to, never replaced; and booked before there are too many in memory."""
    booked = []
    honest = rollup._book

    async def book(*told: Any) -> bool:
        booked.append(told)
        return await honest(*told)

    monkeypatch.setattr(rollup, "_book", book)
    at = datetime.now(UTC) - timedelta(hours=2)
    for _ in range(5):
        await trade.ping(at)
    await a_roll_up(slice_max=2, cells_max=cells_max).turn(sql)

    assert bookings == len(booked)
    await must_be_exact(sql)


def test_buckets_of_response_times_have_their_upper_bounds() -> None:
    """An answer of exactly a bound's time is within it; what is beyond all has the last."""

    def bucket(ms: float) -> list[int]:
        receipt = {"vertical": "v", "currency": "USD", "ranking": [], "offers": [],
                   "asked": [{"contract": "c", "result": "no_bid", "ms": ms}]}  # fmt: skip
        cells = no_cells()
        assert not add_pings(
            cells, [PingSeen(UUID(int=0), 1, None, orjson.dumps(receipt))], {"c": 5}
        )
        found = next(cell for key, cell in cells.items() if key.contract == 5)
        return [number for number in range(1, 21) if found[FIGURES.index(f"t{number}")]]

    assert [[1], [1], [2], [7], [20]] == [bucket(ms) for ms in (0.2, 5, 5.1, 40, 99_999)]


# --- money ----------------------------------------------------------------------------------------


async def _long_ago(sql: Any) -> None:
    """Transfers at any moment of the last four days, and nothing of them added up yet."""
    await sql.execute("UPDATE transfer SET at = now() - random() * interval '100 hours'")
    await sql.execute(
        "UPDATE ledger_state SET upto = m, checked_upto = m FROM (SELECT date_trunc('hour', min(at), 'UTC') AS m FROM transfer) x"
    )


async def must_balance(sql: Any) -> None:
    """Any account between any two moments: the sums say what the transfers say."""
    rng = Random(4)
    now = await sql.fetchval("SELECT now()")
    upto = await sql.fetchval("SELECT upto FROM ledger_state")
    moments = [now - timedelta(seconds=rng.uniform(0, 101 * 3600)) for _ in range(25)]
    moments += [
        upto,
        upto - timedelta(hours=1),
        upto.replace(minute=0),
        upto.replace(hour=0, minute=0),
        now,
        now + timedelta(hours=1),
    ]
    accounts = [
        row[0]
        for row in await sql.fetch(
            "SELECT DISTINCT debit FROM transfer UNION SELECT credit FROM transfer"
        )
    ]
    for account in accounts:
        for _ in range(25):
            start, end = rng.choice([None, *moments]), rng.choice(moments)
            found = await sql.fetch(
                "SELECT * FROM ledger_moved($1, coalesce($2::timestamptz, '-infinity'), $3)",
                account,
                start,
                end,
            )
            plain = await sql.fetch(
                """SELECT kind, sum(amount) FILTER (WHERE debit = $1)::bigint, sum(amount) FILTER (WHERE credit = $1)::bigint, count(*)
                FROM transfer WHERE $1 IN (debit, credit) AND ($2::timestamptz IS NULL OR at >= $2) AND at < $3 GROUP BY 1""",
                account, start, end,
            )  # fmt: skip
            assert {(k, d or 0, c or 0, n) for k, d, c, n in plain} == set(map(tuple, found)), (
                account,
                start,
                end,
            )


async def test_sums_of_any_account_between_any_moments_are_the_ledgers(
    trade: Trade, sql: Any
) -> None:
    """Before anything is added up, after it, and with what has come since."""
    await trade.some()
    await trade.give_back(trade.sold[0], reverse=True)
    await _long_ago(sql)
    await must_balance(sql)
    await Balances().turn(sql)
    await must_balance(sql)
    await trade.some(hours=2, each=2)
    await must_balance(sql)

    total = await sql.fetchval(
        "SELECT sum(credited - debited) FROM ledger_sum WHERE span = 'total'"
    )
    assert 0 == total


async def test_a_transfer_that_slipped_in_behind_is_found(trade: Trade, sql: Any) -> None:
    """The second look at an hour books what the first one missed."""
    await trade.some(hours=2, each=4)
    await _long_ago(sql)
    late = await sql.fetchrow(
        "DELETE FROM transfer WHERE kind = 'hold' AND at < now() - interval '5 hours' RETURNING *"
    )
    await Balances().turn(sql)
    await sql.execute("INSERT INTO transfer SELECT ($1::transfer).*", late)
    await sql.execute(
        "UPDATE ledger_state SET checked_upto = $1",
        late["at"].replace(minute=0, second=0, microsecond=0),
    )

    await Balances().turn(sql)

    await must_balance(sql)


async def test_a_step_never_passes_whoever_is_at_work(sql: Any, database: str) -> None:
    """A transfer bears the time at which its transaction began, and may be seen much later."""
    now = await sql.fetchval("SELECT now()")
    assert timedelta() < now - await horizon_of(sql) < timedelta(seconds=30)
    slow = await connect(database, statement_ms=0)
    async with slow.transaction():
        began = await slow.fetchval("SELECT now()")
        # As though it had been at work for long: what it says is what counts, not the clock.
        horizon = await horizon_of(sql)
        assert horizon < began
    await slow.close()

    upto = datetime(2026, 3, 1, 12, tzinfo=UTC)
    end = upto + timedelta(minutes=5)
    assert next_step(upto, end, end) == end
    assert next_step(upto, end - timedelta(seconds=1), end) is None


def test_a_step_stays_within_its_hour() -> None:
    """Of what is long over an hour at a time, but an hour of the clock."""
    now = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
    at = datetime(2026, 3, 1, 3, 58, tzinfo=UTC)

    assert next_step(at, now, now) == datetime(2026, 3, 1, 4, tzinfo=UTC)
    assert next_step(at.replace(minute=0), now, now) == datetime(2026, 3, 1, 4, tzinfo=UTC)
    assert next_step(now.replace(minute=0), now, now) == now.replace(minute=5)


async def test_two_offices_at_once_add_up_everything_once(
    trade: Trade, sql: Any, database: str
) -> None:
    """One leads; should there ever be two, whoever writes second finds that it is done."""
    await trade.some(hours=3, each=6)
    await _long_ago(sql)
    other = await connect(database)
    for turns in ((Balances().turn(sql), Balances().turn(other)),
                  (a_roll_up(slice_max=3).turn(sql), a_roll_up(slice_max=2).turn(other))):  # fmt: skip
        await asyncio.gather(*turns)
    await other.close()
    await a_roll_up().turn(sql)

    await must_balance(sql)
    await must_be_exact(sql)
