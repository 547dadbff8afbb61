"""The race in its small form, and that it notices when the books are broken: see tests/race and
`make race`."""

import asyncpg
import pytest

from tests.race.run import race

RESERVATIONS, WORKERS = 3_000, 3


async def break_award(database: str, good: str, bad: str) -> None:
    """Plant a fault in this database's award_many."""
    connection = await asyncpg.connect(database)
    try:
        source = await connection.fetchval("SELECT pg_get_functiondef('award_many'::regproc)")
        assert source.count(good) == 1, "the function was changed: plant the fault anew"
        await connection.execute(source.replace(good, bad))
    finally:
        await connection.close()


async def test_processes_race_for_three_limits(database: str) -> None:
    """Not one unit above any limit, not one left below it, and nothing said that the books do not say."""
    result = await race(database, RESERVATIONS, WORKERS, seed=1)

    assert {} == {name: found for name, found in result.faults.items() if found}
    counts = result.counts
    assert counts["reservations"] >= RESERVATIONS
    seen = {name for name, count in counts.items() if count > 0}
    assert seen >= {
        "granted", "cap_sales", "cap_spend", "credit", "already_sold", "repeat", "closed", "cancelled",
        "settled_accepted", "settled_rejected", "settled_not_sent", "settled_unconfirmed",
    }  # fmt: skip
    assert len(result.notes) == 3  # a limit lowered, one raised, a deposit
    assert result.recounts > 5


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("WHERE id = ANY (lb) ORDER BY id FOR UPDATE) x;", "WHERE id = ANY (lb) ORDER BY id) x;"),
        ("  IF NOT fits THEN", "  IF false THEN"),
    ],
    ids=["rows not locked", "room not looked at"],
)
async def test_the_race_sees_what_oversells(database: str, good: str, bad: str) -> None:
    await break_award(database, good, bad)

    result = await race(database, RESERVATIONS // 2, WORKERS, seed=1)

    assert [] != result.faults["oversold"]


async def test_the_race_sees_what_undersells(database: str) -> None:
    """A limit of which the last unit is given to nobody."""
    await break_award(database, "array_agg(lim - used) INTO", "array_agg(lim - used - 1) INTO")

    result = await race(database, RESERVATIONS // 4, 2, seed=1)

    assert [] != result.faults["undersold"]
