"""Migrations against a real Postgres: order, checksums, locks, schemas of the future."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from exchange.store import migrate as migrate_module
from exchange.store.migrate import (
    MigrationChanged,
    MigrationFailed,
    MigrationInvalid,
    SchemaTooNew,
    migrate,
    read_migrations,
    schema_state,
)
from tests.postgres import dsn_of


@pytest.fixture
async def dsn(postgres_dsn: str) -> AsyncIterator[str]:
    """An empty database for one test."""
    owner = await asyncpg.connect(postgres_dsn)
    await owner.execute("CREATE DATABASE trial")
    yield dsn_of(postgres_dsn, "trial")
    await owner.execute("DROP DATABASE trial WITH (FORCE)")
    await owner.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "README.md").write_text("not a migration")
    (tmp_path / "0001_base.sql").write_text("CREATE TABLE a (n int); INSERT INTO a VALUES (1);")
    (tmp_path / "0002_more.sql").write_text("ALTER TABLE a ADD COLUMN m int;")
    return tmp_path


async def ask(dsn: str, statement: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def state(dsn: str, folder: Path) -> tuple[int, int]:
    connection = await asyncpg.connect(dsn)
    try:
        return await schema_state(connection, folder)
    finally:
        await connection.close()


async def test_files_are_applied_once_in_order(dsn: str, folder: Path) -> None:
    assert await state(dsn, folder) == (0, 2)
    assert await migrate(dsn, folder) == ["0001_base.sql", "0002_more.sql"]
    assert await migrate(dsn, folder) == []
    (folder / "0010_later.sql").write_text("UPDATE a SET m = 5")
    assert await state(dsn, folder) == (2, 10)
    assert await migrate(dsn, folder) == ["0010_later.sql"]
    assert await ask(dsn, "SELECT m FROM a") == 5
    assert await state(dsn, folder) == (10, 10)


async def test_two_at_once_apply_each_file_once(dsn: str, folder: Path) -> None:
    (folder / "0003_slow.sql").write_text("SELECT pg_sleep(0.2); INSERT INTO a VALUES (2);")
    (folder / "0004_index.sql").write_text(
        "-- transaction: false\nCREATE INDEX CONCURRENTLY IF NOT EXISTS a_n ON a (n);"
    )
    done = await asyncio.gather(*(migrate(dsn, folder) for _ in range(3)))
    assert sorted(map(len, done)) == [0, 0, 4]
    assert await ask(dsn, "SELECT count(*) FROM a") == 2
    assert await ask(dsn, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'a_n'::regclass")


async def test_an_applied_file_may_not_change_or_go(dsn: str, folder: Path) -> None:
    await migrate(dsn, folder)
    first = folder / "0001_base.sql"
    first.write_bytes(first.read_bytes().replace(b"\n", b"\r\n"))
    assert await migrate(dsn, folder) == []
    first.write_text("CREATE TABLE a (n bigint)")
    with pytest.raises(MigrationChanged, match=r"0001_base\.sql was changed"):
        await migrate(dsn, folder)
    first.unlink()
    with pytest.raises(MigrationChanged, match=r"0001_base\.sql .* gone"):
        await migrate(dsn, folder)


async def test_a_newer_schema_is_refused_by_number(dsn: str, folder: Path) -> None:
    await migrate(dsn, folder)
    (folder / "0002_more.sql").unlink()
    with pytest.raises(SchemaTooNew, match=r"schema 0002 .* up to 0001") as refused:
        await migrate(dsn, folder)
    assert (refused.value.database, refused.value.known) == (2, 1)
    assert await state(dsn, folder) == (2, 1)


async def test_a_failing_file_leaves_nothing_behind(dsn: str, folder: Path) -> None:
    (folder / "0003_bad.sql").write_text("CREATE TABLE b (n int);\nINSERT INTO nowhere VALUES (1)")
    with pytest.raises(MigrationFailed, match=r"0003_bad\.sql: relation \"nowhere\""):
        await migrate(dsn, folder)
    assert await state(dsn, folder) == (2, 3)
    assert await ask(dsn, "SELECT to_regclass('b')") is None


async def test_locks_of_others_are_not_waited_for_long(
    dsn: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate_module, "_LOCK_TIMEOUT_MS", 50)
    (folder / "0002_more.sql").unlink()
    await migrate(dsn, folder)
    (folder / "0002_more.sql").write_text("ALTER TABLE a ADD COLUMN m int;")
    other = await asyncpg.connect(dsn)
    try:
        async with other.transaction():
            await other.execute("SELECT * FROM a")
            with pytest.raises(MigrationFailed, match=r"0002_more\.sql: waited .* for a lock"):
                await migrate(dsn, folder)
        await other.execute("SELECT pg_advisory_lock($1)", migrate_module._LOCK_KEY)
        with pytest.raises(MigrationFailed, match="another process"):
            await migrate(dsn, folder, patience_s=0.1)
    finally:
        await other.close()
    assert await migrate(dsn, folder) == ["0002_more.sql"]


@pytest.mark.parametrize("name", ["3_short.sql", "0003.sql", "0003_Upper.sql", "0002_twice.sql"])
def test_names_that_are_no_migration(folder: Path, name: str) -> None:
    (folder / name).write_text("SELECT 1")
    with pytest.raises(MigrationInvalid, match=name):
        read_migrations(folder)


def test_our_own_files_can_be_read() -> None:
    numbers = [file.number for file in read_migrations()]
    assert numbers == sorted(set(numbers))
