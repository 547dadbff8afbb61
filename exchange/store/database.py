"""Connections to Postgres: a small pool, pinned links for the lanes, and one error for "away"."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import asyncpg

from exchange.errors import StoreUnavailable

# A cached sequential scan of a young table stays until autovacuum looks: forbid it (award.md §0.7).
_SETTINGS: Final = {
    "enable_seqscan": "off",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
    "lock_timeout": "1000",
    "statement_timeout": "10000",
    "idle_in_transaction_session_timeout": "10000",
    "application_name": "exchange",
}
CALL_TIMEOUT_S: Final = 5.0
_STOPS_WITHIN_S: Final = 2.0  # a statement that is cancelled
# What a lost or refusing server looks like; InternalClientError is not even a PostgresError.
AWAY: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,  # 57: shutting down, cancelled, idle too long
    asyncpg.InsufficientResourcesError,  # 53: disk, memory, connections
    asyncpg.PostgresSystemError,  # 58: the disk under it
    asyncpg.InternalServerError,  # XX
    asyncpg.ReadOnlySQLTransactionError,  # a standby, in the middle of a failover
    asyncpg.InvalidAuthorizationSpecificationError,  # 28: a password being changed
)
# Somebody else holds the rows for too long, or the other way round: asking again is right.
CONTENDED: Final = (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError)


async def connect(
    dsn: str,
    *,
    durable: bool = True,
    timeout_s: float = CALL_TIMEOUT_S,
    statement_ms: int | None = None,
) -> "asyncpg.Connection[asyncpg.Record]":
    """One connection with the exchange's settings. Raises StoreUnavailable."""
    settings = dict(_SETTINGS)
    if not durable:
        settings["synchronous_commit"] = "off"
    if statement_ms is not None:
        settings["statement_timeout"] = str(statement_ms)
    try:
        return await asyncpg.connect(dsn, server_settings=settings, timeout=timeout_s)
    except AWAY as error:
        raise StoreUnavailable("the database cannot be reached") from error


class Link:
    """One pinned connection that is opened when first needed and again when it was lost."""

    def __init__(self, dsn: str, *, durable: bool, timeout_s: float = CALL_TIMEOUT_S) -> None:
        self._dsn = dsn
        self._durable = durable
        self._timeout_s = timeout_s
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None

    async def fetch(self, sql: str, *args: Any) -> list[asyncpg.Record]:
        return await self._call("fetch", sql, *args)  # type: ignore[no-any-return]

    async def fetchrow(self, sql: str, *args: Any) -> asyncpg.Record:
        """Of a statement that answers one row."""
        return await self._call("fetchrow", sql, *args)  # type: ignore[no-any-return]

    async def fetchval(self, sql: str, *args: Any) -> Any:
        return await self._call("fetchval", sql, *args)

    async def _call(self, method: str, sql: str, *args: Any) -> Any:
        connection = await self.connection()
        try:
            return await getattr(connection, method)(sql, *args, timeout=self._timeout_s)
        except AWAY as error:
            await self._give_up(error)
            raise StoreUnavailable("the database went away during a call") from error

    async def _give_up(self, error: BaseException) -> None:
        """Forget the connection. What took too long must not be done after all, once its caller has
        been told that it was not: the server is asked to stop it, and its word is waited for."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if isinstance(error, TimeoutError):
            with suppress(*AWAY):
                await connection.close(timeout=_STOPS_WITHIN_S)
        connection.terminate()

    async def connection(self) -> "asyncpg.Connection[asyncpg.Record]":
        if self._connection is None or self._connection.is_closed():
            self._connection = await connect(
                self._dsn,
                durable=self._durable,
                timeout_s=self._timeout_s,
                # Before we lose patience: what the server stopped by itself was surely not done.
                statement_ms=round(self._timeout_s * 800),
            )
        return self._connection

    def drop(self) -> None:
        """Forget the connection: what is in flight on it is in doubt."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def close(self) -> None:
        if self._connection is not None and not self._connection.is_closed():
            await self._connection.close(timeout=2)
        self._connection = None


async def _as_it_is(_connection: object) -> None:
    """Nobody changes a pooled session's settings, holds its locks or listens on it: asyncpg's own
    reset would be one more round trip after every call."""


class Database:
    """The pool for everything that is not a lane. Opened when first needed."""

    def __init__(self, dsn: str, *, connections_max: int = 4) -> None:
        self.dsn = dsn
        self._connections_max = connections_max
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._opening = asyncio.Lock()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """A pooled connection; what fails because the server is away is StoreUnavailable."""
        try:
            pool = await self._opened()
            async with pool.acquire(timeout=CALL_TIMEOUT_S) as connection:
                yield connection
        except AWAY as error:
            raise StoreUnavailable("the database is away") from error
        except CONTENDED as error:
            raise StoreUnavailable("the rows were locked for too long") from error

    async def fetch(self, sql: str, *args: Any) -> list[asyncpg.Record]:
        async with self.connection() as connection:
            return await connection.fetch(sql, *args)  # type: ignore[no-any-return]

    async def fetchrow(self, sql: str, *args: Any) -> asyncpg.Record | None:
        async with self.connection() as connection:
            return await connection.fetchrow(sql, *args)  # type: ignore[no-any-return]

    async def fetchval(self, sql: str, *args: Any) -> Any:
        async with self.connection() as connection:
            return await connection.fetchval(sql, *args)

    async def execute(self, sql: str, *args: Any) -> str:
        async with self.connection() as connection:
            return await connection.execute(sql, *args)  # type: ignore[no-any-return]

    def connections(self) -> dict[str, int]:
        """How many the pool has open and idle, and may have."""
        pool = self._pool
        return {
            "open": pool.get_size() if pool else 0,
            "idle": pool.get_idle_size() if pool else 0,
            "max": self._connections_max,
        }

    async def close(self) -> None:
        if self._pool is None:
            return
        try:
            async with asyncio.timeout(5):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    async def _opened(self) -> "asyncpg.Pool[asyncpg.Record]":
        async with self._opening:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    self.dsn,
                    min_size=0,
                    max_size=self._connections_max,
                    timeout=CALL_TIMEOUT_S,
                    command_timeout=CALL_TIMEOUT_S,
                    server_settings=_SETTINGS,
                    reset=_as_it_is,
                )
            return self._pool
