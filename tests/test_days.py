"""The logs by the day: made ahead, found by id alone, dropped when they are old, and what stays."""

import asyncio
import re
import secrets
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from exchange.chores.leader import Leader
from exchange.chores.retention import Retention
from exchange.ids import new_uuid
from exchange.store import migrate as migrate_module
from exchange.store.database import connect
from exchange.store.days import (
    AHEAD_DAYS,
    days_ahead,
    days_of,
    days_over,
    drop_day,
    make_days,
    today,
)
from exchange.store.migrate import migrate
from exchange.store.pings import _LATE, _OF_ALL, _OF_DAY
from exchange.store.postgres import PostgresStore
from exchange.store.rows import LateBid, PingRow
from tests.ledgers import SELLER, PostgresBooks
from tests.postgres import dsn_of

_SCAN = re.compile(r" on (?!lead|unnest)(\w+?)(?:_pkey)?(?: |$)")
MIGRATIONS = Path(migrate_module.__file__).parent / "migrations"


@pytest.fixture
async def pg(database: str) -> AsyncIterator[PostgresBooks]:
    books = PostgresBooks(database)
    await books.open()
    yield books
    await books.close()


@pytest.fixture
async def sql(database: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection as the office's chores have it, but that waits a tenth as long."""
    connection = await connect(database)
    await connection.execute("SET lock_timeout = '10ms'")
    yield connection
    await connection.close()


def id_of(day: date, hour: int = 12) -> UUID:
    at = datetime(day.year, day.month, day.day, hour, tzinfo=UTC)
    return new_uuid(int(at.timestamp() * 1000), secrets.token_bytes)


def a_ping(id_: UUID) -> PingRow:
    return PingRow(
        id=id_, seller=SELLER, expires_at=datetime(2026, 3, 1, tzinfo=UTC), price_micros=1, external_id=None,
        test=False, receipt=id_.bytes,
    )  # fmt: skip


async def put(store: PostgresStore, *ids: UUID) -> None:
    """A ping and a late bid for each."""
    for id_ in ids:
        await store.put_ping(a_ping(id_))
        await store.put_late_bids([LateBid(ping=id_, contract="c", price_micros=2, late_ms=3)])


async def found(store: PostgresStore, *ids: UUID) -> list[bool]:
    """Which are there, each with its late bid or not at all."""
    there = []
    for id_ in ids:
        ping, late = await store.ping(id_), await store.late_bids(id_)
        assert ping is None or ping.row == a_ping(id_)
        assert len(late) == (ping is not None)
        there.append(ping is not None)
    return there


async def table_of(pg: PostgresBooks, id_: UUID) -> str:
    return str(
        await pg.sql.fetchval("SELECT tableoid::regclass::text FROM ping WHERE id = $1", id_)
    )


async def an_old_day(pg: PostgresBooks, days: int) -> date:
    """A day so long ago, with its partitions."""
    day = await today(pg.sql) - timedelta(days=days)
    for log, key in (("ping", "id"), ("late_bid", "ping")):
        assert await pg.sql.fetchval("SELECT make_day($1, $2, $3, 0)", log, key, day)
    return day


# --- which days -----------------------------------------------------------------------------------

A_DAY = date(2026, 3, 1)


@pytest.mark.parametrize(
    ("age_days", "kept_days", "over"),
    [(0, 1, False), (1, 1, False), (2, 1, True), (90, 90, False), (91, 90, True), (-2, 1, False)],
)
def test_a_day_is_over_when_its_last_ping_is_too_old(
    age_days: int, kept_days: int, over: bool
) -> None:
    """Yesterday's last quote is never dropped: it may be a second old."""
    day = A_DAY - timedelta(days=age_days)
    assert days_over([day], A_DAY, kept_days) == ([day] if over else [])


async def test_migrating_makes_the_days_ahead_and_again_makes_none(pg: PostgresBooks) -> None:
    for log in ("ping", "late_bid"):
        assert await days_of(pg.sql, log) == days_ahead(await today(pg.sql))
    assert await make_days(pg.sql) == []
    await pg.sql.execute(f"DROP TABLE ping_{await today(pg.sql):%Y%m%d}")
    await migrate(pg.dsn)
    assert len(await days_of(pg.sql, "ping")) == AHEAD_DAYS + 1


# --- where a ping lies, and how it is found -------------------------------------------------------


async def test_a_ping_lies_in_its_day_and_an_odd_one_in_the_default(pg: PostgresBooks) -> None:
    day = await today(pg.sql)
    now, tomorrow, ancient = id_of(day), id_of(day + timedelta(days=1)), UUID(int=5)
    await put(pg.store(), now, tomorrow, ancient)
    tables = [await table_of(pg, id_) for id_ in (now, tomorrow, ancient)]
    assert tables == [
        f"ping_{day:%Y%m%d}",
        f"ping_{day + timedelta(days=1):%Y%m%d}",
        "ping_default",
    ]
    assert await found(pg.store(), now, tomorrow, ancient, pg.uuid()) == [True, True, True, False]


@pytest.mark.parametrize("second", [0, 86_399])
async def test_the_bounds_of_a_day_are_utc_midnights(pg: PostgresBooks, second: int) -> None:
    day = await today(pg.sql)
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    at_ms = int(midnight.timestamp() * 1000) + second * 1000 + (999 if second else 0)
    id_ = new_uuid(at_ms, secrets.token_bytes)
    await put(pg.store(), id_)
    assert await table_of(pg, id_) == f"ping_{day:%Y%m%d}"


async def test_a_ping_before_its_day_is_made_moves_into_it(
    pg: PostgresBooks, sql: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    day = await today(sql)
    await drop_day(sql, day)
    now = new_uuid(int(datetime.now(UTC).timestamp() * 1000), secrets.token_bytes)
    await put(pg.store(), now)
    assert await table_of(pg, now) == "ping_default"
    assert await found(pg.store(), now) == [True]
    make = "SELECT make_day('ping', 'id', $1, $2)"
    assert await sql.fetchval(make, day, 0) is False  # one is too many: it stays, and is found
    assert await found(pg.store(), now) == [True]
    assert len(await make_days(sql)) == 2
    assert await table_of(pg, now) == f"ping_{day:%Y%m%d}"
    assert await found(pg.store(), now) == [True]


# --- receipts in their rows -------------------------------------------------------------------------

_INLINE = (
    "SELECT relname FROM pg_class WHERE 'toast_tuple_target=4080' = ANY (reloptions) ORDER BY 1"
)
_PLAIN = "SELECT attstorage = 'e' FROM pg_attribute WHERE attrelid = 'ping'::regclass AND attname = 'receipt'"


async def in_line(pg: PostgresBooks) -> list[str]:
    return [row[0] for row in await pg.sql.fetch(_INLINE)]


async def test_a_receipt_stays_in_its_row_where_it_is_not_compressed(pg: PostgresBooks) -> None:
    """Every partition is told so, whenever it was made; with lz4 none is."""
    plain = await pg.sql.fetchval(_PLAIN)
    days = [f"ping_{day:%Y%m%d}" for day in await days_of(pg.sql, "ping")]
    assert await in_line(pg) == ([*days, "ping_default"] if plain else [])
    old = await an_old_day(pg, 40)
    assert (f"ping_{old:%Y%m%d}" in await in_line(pg)) is plain
    changed = "EXTENDED" if plain else "EXTERNAL"
    await pg.sql.execute(f"ALTER TABLE ping ALTER receipt SET STORAGE {changed}")
    older = await an_old_day(pg, 50)
    assert (f"ping_{older:%Y%m%d}" in await in_line(pg)) is not plain


async def test_two_receipts_of_nearly_4_kb_share_a_page(pg: PostgresBooks) -> None:
    """Nothing of them lies elsewhere, until a receipt is longer than half of a page."""
    if not await pg.sql.fetchval(_PLAIN):
        pytest.skip("this server compresses receipts")
    day = await today(pg.sql)
    elsewhere = f"""SELECT pg_relation_size('ping_{day:%Y%m%d}'), pg_relation_size(reltoastrelid) > 0
FROM pg_class WHERE oid = 'ping_{day:%Y%m%d}'::regclass"""
    for size, expected in ((3900, (8192, False)), (4100, (8192 * 2, True))):
        for _ in range(2):
            ping = replace(a_ping(id_of(day)), receipt=secrets.token_bytes(size))
            await pg.store().put_ping(ping)
            kept = await pg.store().ping(ping.id)
            assert kept is not None
            assert kept.row == ping
        assert tuple(await pg.sql.fetchrow(elsewhere)) == expected


async def test_the_days_of_an_older_exchange_are_told_too(
    postgres_dsn: str, tmp_path: Path
) -> None:
    for file in MIGRATIONS.glob("00*.sql"):
        if file.name < "0014":
            shutil.copy(file, tmp_path)
    owner = await asyncpg.connect(postgres_dsn)
    await owner.execute("CREATE DATABASE older_days")
    dsn = dsn_of(postgres_dsn, "older_days")
    try:
        await migrate(dsn, tmp_path)
        connection = await asyncpg.connect(dsn)
        try:
            made = {name for name in await make_days(connection) if name.startswith("ping_")}
            assert await connection.fetch(_INLINE) == []
            await migrate(dsn)
            told = {row[0] for row in await connection.fetch(_INLINE)}
            plain = await connection.fetchval(_PLAIN)
        finally:
            await connection.close()
        assert told == ({*made, "ping_default"} if plain else set())
    finally:
        await owner.execute("DROP DATABASE older_days")
        await owner.close()


async def test_a_look_by_id_touches_one_day_only(
    pg: PostgresBooks, sql: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """With plans made once for all values, as the exchange's connections have them."""
    assert await sql.fetchval("SHOW plan_cache_mode") == "force_generic_plan"
    id_ = id_of(await today(sql))
    await put(pg.store(), id_)
    plans = {
        _OF_DAY % f"{await today(sql):%Y%m%d}": ("uuid[]", f"ARRAY['{id_}']::uuid[]"),
        _OF_ALL: ("uuid[]", f"ARRAY['{id_}']::uuid[]"),
        _LATE: ("uuid", f"'{id_}'"),
    }
    days = {f"{log}_{await today(sql):%Y%m%d}" for log in ("ping", "late_bid")}
    for number, (statement, (kind, value)) in enumerate(plans.items()):
        await sql.execute(f"PREPARE look_{number}({kind}) AS {statement}")
        rows = await sql.fetch(f"EXPLAIN (ANALYZE, COSTS OFF) EXECUTE look_{number}({value})")
        lines = [row[0] for row in rows]
        looked = {
            match[1]
            for line in lines
            if "never executed" not in line and (match := _SCAN.search(line))
        }
        assert looked <= days | {"kept_ping", "kept_late_bid"}, "\n".join(lines)
        assert len(looked & days) == 1


async def test_pings_from_before_there_were_days_are_found_where_they_were(
    postgres_dsn: str, tmp_path: Path
) -> None:
    """An upgrade rewrites nothing: the old table is the same file, and its rows are read as before."""
    for file in MIGRATIONS.glob("000[1-5]_*.sql"):
        shutil.copy(file, tmp_path)
    owner = await asyncpg.connect(postgres_dsn)
    await owner.execute("CREATE DATABASE old_books")
    dsn = dsn_of(postgres_dsn, "old_books")
    await migrate(dsn, tmp_path)
    connection, store = await asyncpg.connect(dsn), PostgresStore(dsn, name="w")
    try:
        recent, older = id_of(datetime.now(UTC).date(), datetime.now(UTC).hour), id_of(A_DAY)
        for id_ in (recent, older):
            row = a_ping(id_)
            await connection.execute(
                "INSERT INTO ping (id, seller, expires_at, price, test, receipt) VALUES ($1, $2, $3, $4, $5, $6)",
                row.id, row.seller, row.expires_at, row.price_micros, row.test, row.receipt,
            )  # fmt: skip
            await connection.execute("INSERT INTO late_bid VALUES ($1, 'c', 2, 3)", id_)
        files = "SELECT pg_relation_filenode($1), pg_relation_filenode($2)"
        before = await connection.fetchrow(files, "ping", "late_bid")
        assert "0006_days.sql" in await migrate(dsn)
        assert await connection.fetchrow(files, "kept_ping", "kept_late_bid") == before
        assert await found(store, recent, older) == [True, True]
        later = id_of(datetime.now(UTC).date())
        await put(store, later)
        assert await found(store, recent, older, later) == [True, True, True]
    finally:
        await store.close()
        await connection.close()
        await owner.execute("DROP DATABASE old_books WITH (FORCE)")
        await owner.close()


# --- what goes and what stays ---------------------------------------------------------------------


async def test_an_old_day_goes_and_the_pings_of_posted_leads_stay(
    pg: PostgresBooks, sql: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    day, young = await an_old_day(pg, 11), await an_old_day(pg, 10)
    posted, unposted, gone, kept = id_of(day, 1), id_of(day, 5), id_of(day, 23), id_of(young)
    await put(pg.store(), posted, unposted, gone, kept)
    lead_id = await pg.lead(ping=posted)
    assert await pg.store().abandon_lead(await pg.lead(ping=gone), 1)
    await Retention(10).drop(sql)
    assert await days_of(sql, "ping") == [young, *days_ahead(await today(sql))]
    assert await days_of(sql, "late_bid") == [young, *days_ahead(await today(sql))]
    assert await found(pg.store(), posted, unposted, gone, kept) == [True, False, False, True]
    ping = await pg.store().ping(posted)
    assert ping is not None
    assert ping.lead_id == lead_id
    await Retention(10).drop(sql)
    await Retention(10).sweep(sql)
    assert await found(pg.store(), posted, kept) == [True, True]


async def test_keeping_goes_on_where_a_crash_left_off(
    pg: PostgresBooks, sql: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    day = await an_old_day(pg, 5)
    ids = [id_of(day) for _ in range(7)]
    await put(pg.store(), *ids)
    for id_ in ids[:5]:
        await pg.lead(ping=id_)
    keep = "SELECT keep_pings($1, $2, first_id_of($3::date + 1), 2)"
    await sql.fetchval(keep, f"ping_{day:%Y%m%d}", UUID(int=0), day)  # and then it was killed
    await Retention(1).drop(sql)
    assert await found(pg.store(), *ids) == 5 * [True] + 2 * [False]


async def test_a_drop_waits_for_nobody_for_long_and_nobody_for_it(
    pg: PostgresBooks, sql: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """While one insert is under way a day cannot be dropped; who comes meanwhile is not held up."""
    day = await an_old_day(pg, 5)
    store, ids = pg.store(), [id_of(await today(sql)) for _ in range(3)]
    holding = pg.sql.transaction()
    await holding.start()
    await pg.sql.execute(
        "INSERT INTO ping VALUES ($1, now(), 1, now(), 1, NULL, false, '')", ids[0]
    )

    async def drop() -> None:
        with pytest.raises(asyncpg.LockNotAvailableError):
            await drop_day(sql, day)

    await asyncio.gather(drop(), put(store, ids[1]))
    await put(store, ids[2])
    assert await days_of(sql, "ping") == [day, *days_ahead(await today(sql))]
    await holding.rollback()
    await drop_day(sql, day)
    assert await found(store, *ids) == [False, True, True]
    assert (
        await days_of(sql, "ping") == await days_of(sql, "late_bid") == days_ahead(await today(sql))
    )


@pytest.mark.parametrize("place", ["kept", "default"])
async def test_old_pings_without_a_day_go_unless_they_were_posted(
    pg: PostgresBooks, sql: "asyncpg.Connection[asyncpg.Record]", place: str
) -> None:
    old, limit = await today(sql) - timedelta(days=9), await today(sql) - timedelta(days=8)
    ids = [id_of(old) for _ in range(5)]
    later = id_of(limit)
    await put(pg.store(), *ids, later)
    if place == "kept":  # as an upgrade leaves them
        for table in ("ping", "late_bid"):
            await pg.sql.execute(f"INSERT INTO kept_{table} SELECT * FROM {table}")
            await pg.sql.execute(f"DELETE FROM {table}")
    for id_ in ids[::2]:
        await pg.lead(ping=id_)
    # Two of them, and then it was killed.
    assert await sql.fetchval(f"SELECT sweep_{place}(first_id_of($1), 2)", limit) is not None
    await Retention(8).sweep(sql)
    assert await found(pg.store(), *ids, later) == [True, False, True, False, True, True]
    await Retention(8).sweep(sql)
    assert await found(pg.store(), *ids, later) == [True, False, True, False, True, True]


async def test_keys_are_forgotten_after_a_day(
    pg: PostgresBooks, sql: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await sql.execute(
        """INSERT INTO claim (seller, path, key, body, owner, created_at)
        SELECT 1, '/', n, '', 1, now() - n * interval '1 minute' FROM generate_series(1, 1600, 100) n"""
    )
    await Retention(8).forget_keys(sql)
    assert await sql.fetchval("SELECT count(*) FROM claim") == 15


async def test_every_chore_of_a_round_is_done_whatever_becomes_of_the_others(
    pg: PostgresBooks, sql: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    done, broken = [], []

    async def locked_out(_connection: object) -> None:
        raise asyncpg.LockNotAvailableError("locked")

    async def faulty(_connection: object) -> None:
        raise asyncpg.UndefinedTableError("none")

    async def fine(_connection: object) -> None:
        done.append("fine")

    chores = {"a": locked_out, "b": faulty, "c": fine, **Retention(8).chores()}
    await drop_day(sql, await today(sql))
    await Leader(pg.dsn, chores, lambda where, _error: broken.append(where)).round(sql)
    assert (done, broken) == (["fine"], ["chore b"])
    assert await days_of(sql, "ping") == days_ahead(await today(sql))


async def test_a_chore_that_takes_too_long_is_not_a_database_that_is_away(
    pg: PostgresBooks,
) -> None:
    """The others have their turn: without days made in time quotes would suffer."""
    done: list[str] = []
    broken: list[str] = []

    async def slow(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        await connection.execute("SELECT pg_cancel_backend(pg_backend_pid())")

    async def fine(_connection: object) -> None:
        done.append("fine")

    leader = Leader(pg.dsn, {"a": slow, "b": fine}, lambda where, _error: broken.append(where))
    await leader.round(pg.sql)

    assert (done, broken) == (["fine"], ["chore a"])


async def test_whatever_goes_wrong_an_office_asks_to_lead_again(
    pg: PostgresBooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chores that ended for ever would be missed three days later."""
    monkeypatch.setattr("exchange.chores.leader._ASK_AGAIN_S", 0)
    broken: asyncio.Queue[str] = asyncio.Queue()
    dsn = dsn_of(pg.dsn, "gone")  # being restored, say
    leader = Leader(dsn, {}, lambda where, _error: broken.put_nowait(where))
    leading = asyncio.create_task(leader.run())
    told = [await broken.get() for _ in range(2)]
    leading.cancel()
    await asyncio.wait([leading])

    assert told == ["chores", "chores"]


async def test_one_office_leads_until_its_session_ends(pg: PostgresBooks) -> None:
    rounds: asyncio.Queue[str] = asyncio.Queue()

    def office(name: str) -> Leader:
        async def chore(_connection: object) -> None:
            await rounds.put(name)

        return Leader(pg.dsn, {"count": chore}, lambda _where, _error: None)

    first = asyncio.create_task(office("first")._session())
    assert await rounds.get() == "first"
    await office("second")._session()  # at once: another leads
    assert rounds.empty()
    await pg.sql.execute(
        """SELECT pg_terminate_backend(pid, 5000) FROM pg_locks
        WHERE locktype = 'advisory' AND classid = 7006 AND objid = 0"""
    )
    second = asyncio.create_task(office("second")._session())
    assert await rounds.get() == "second"
    for task in (first, second):
        task.cancel()
    await asyncio.wait([first, second])
