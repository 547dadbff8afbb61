"""The schema, as numbered plain SQL: `migrations/NNNN_name.sql`, applied once each, in order.

A file is one transaction, unless its first line is `-- transaction: false`. Such a file holds
one statement that cannot run in a transaction (CREATE INDEX CONCURRENTLY) and must be safe to run
again, because a crash right after it leaves it unrecorded. An applied file never changes.
"""

import asyncio
import hashlib
import re
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from exchange.errors import ExchangeError
from exchange.store.days import make_days

_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
_NO_TRANSACTION = "-- transaction: false"
_LOCK_KEY = 0x65786368616E6765  # "exchange"
_LOCK_TIMEOUT_MS = 5000
_POLL_S = 0.05
_TABLE = """
CREATE TABLE IF NOT EXISTS schema_migration (
    number int PRIMARY KEY,
    name text NOT NULL,
    sha256 text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


class MigrationInvalid(ExchangeError):
    """The migration files or what the database says about them do not fit together."""


class MigrationChanged(MigrationInvalid):
    """A file that was applied has been edited or removed since."""


class MigrationFailed(ExchangeError):
    """Postgres refused a file; nothing of it was kept unless it runs without a transaction."""


class SchemaTooNew(ExchangeError):
    """The database was migrated by a newer exchange than this one."""

    def __init__(self, database: int, known: int) -> None:
        super().__init__(
            f"the database has schema {database:04d} and this exchange knows up to {known:04d}: "
            "run the newer exchange, or point it at another database"
        )
        self.database = database
        self.known = known


@dataclass(frozen=True, slots=True)
class Migration:
    """One file."""

    number: int
    name: str  # of the file: 0001_base.sql
    sql: str
    sha256: str  # of the text with line ends as \n, in hex

    @property
    def in_transaction(self) -> bool:
        """Whether the file is applied as a whole or not at all."""
        return self.sql.partition("\n")[0].strip() != _NO_TRANSACTION


async def migrate(
    dsn: str, folder: Traversable | None = None, *, patience_s: float = 600
) -> list[str]:
    """Applies what is missing and returns the names of those files, in order.

    Any number of processes may call it at once: one works, the others wait up to `patience_s`
    and find nothing to do. Raises MigrationInvalid, MigrationFailed or SchemaTooNew.
    """
    files = read_migrations(folder)
    settings = {"lock_timeout": str(_LOCK_TIMEOUT_MS), "application_name": "exchange migrate"}
    connection = await asyncpg.connect(dsn, server_settings=settings)
    try:
        await _lock(connection, patience_s)
        await connection.execute(_TABLE)
        pending = await _pending(connection, files)
        for file in pending:
            await _apply(connection, file)
        if folder is None:  # the first ping shall find its day
            await _make_days(connection)
    finally:
        await connection.close()  # ends the session and with it the lock
    return [file.name for file in pending]


async def schema_state(
    connection: "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]",
    folder: Traversable | None = None,
) -> tuple[int, int]:
    """The newest number applied in the database and the newest among the files; 0 for none."""
    known = max(_numbered(folder), default=0)
    if await connection.fetchval("SELECT to_regclass('schema_migration')") is None:
        return 0, known
    applied = await connection.fetchval("SELECT max(number) FROM schema_migration")
    return applied or 0, known


def read_migrations(folder: Traversable | None = None) -> list[Migration]:
    """The files of `folder` (ours by default) in order of their numbers."""
    found = []
    for number, file in sorted(_numbered(folder).items(), key=lambda item: item[0]):
        text = file.read_bytes().replace(b"\r\n", b"\n")  # a Windows checkout is no other file
        digest = hashlib.sha256(text).hexdigest()
        found.append(Migration(number, file.name, text.decode(), digest))
    return found


def _numbered(folder: Traversable | None) -> dict[int, Traversable]:
    place = folder or resources.files("exchange.store") / "migrations"
    found: dict[int, Traversable] = {}
    for file in place.iterdir():
        if not file.name.endswith(".sql"):
            continue
        if (match := _NAME.fullmatch(file.name)) is None:
            raise MigrationInvalid(f"{file.name}: a migration is called like 0001_some_name.sql")
        number = int(match[1])
        if number in found:
            raise MigrationInvalid(f"{file.name} and {found[number].name} have the same number")
        found[number] = file
    return found


async def _lock(connection: "asyncpg.Connection[asyncpg.Record]", patience_s: float) -> None:
    # Asked for again and again, because a session that waits inside pg_advisory_lock() holds a
    # snapshot, and CREATE INDEX CONCURRENTLY in the session that has the lock waits for those.
    try:
        async with asyncio.timeout(patience_s):
            while not await connection.fetchval(  # noqa: ASYNC110 - the event is in Postgres
                "SELECT pg_try_advisory_lock($1)", _LOCK_KEY
            ):
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise MigrationFailed(
            f"another process has been migrating this database for {patience_s:g} s: wait for it "
            "or end it"
        ) from None


async def _pending(
    connection: "asyncpg.Connection[asyncpg.Record]", files: list[Migration]
) -> list[Migration]:
    rows = await connection.fetch("SELECT number, name, sha256 FROM schema_migration ORDER BY 1")
    known = {file.number: file for file in files}
    if rows and rows[-1]["number"] > max(known, default=0):
        raise SchemaTooNew(rows[-1]["number"], max(known, default=0))
    for row in rows:
        file = known.pop(row["number"], None)
        if file is None:
            raise MigrationChanged(f"{row['name']} was applied to this database but is gone")
        if file.sha256 != row["sha256"]:
            raise MigrationChanged(
                f"{file.name} was changed after it was applied to this database: restore it and "
                "put the change into a new file"
            )
    return list(known.values())


async def _apply(connection: "asyncpg.Connection[asyncpg.Record]", file: Migration) -> None:
    try:
        if file.in_transaction:
            async with connection.transaction():
                await connection.execute(file.sql)
                await _record(connection, file)
        else:
            await connection.execute(file.sql)
            await _record(connection, file)
    except asyncpg.LockNotAvailableError as error:
        raise MigrationFailed(
            f"{file.name}: waited {_LOCK_TIMEOUT_MS / 1000:g} s for a lock somebody else holds; "
            "run it again"
        ) from error
    except asyncpg.PostgresError as error:
        raise MigrationFailed(f"{file.name}: {error}") from error


async def _make_days(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    try:
        await make_days(connection)
    except asyncpg.LockNotAvailableError as error:
        raise MigrationFailed(
            f"waited {_LOCK_TIMEOUT_MS / 1000:g} s to make the days of the logs: run it again"
        ) from error


async def _record(connection: "asyncpg.Connection[asyncpg.Record]", file: Migration) -> None:
    await connection.execute(
        "INSERT INTO schema_migration (number, name, sha256) VALUES ($1, $2, $3)",
        file.number,
        file.name,
        file.sha256,
    )
