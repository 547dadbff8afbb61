"""One office of all that share a database does the chores: who holds advisory lock (7006, 0).

The lock is the session's. When its office dies or is cut off it is free at once, and another takes it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import asyncpg

from exchange import log
from exchange.errors import StoreUnavailable
from exchange.store.database import AWAY, CONTENDED, connect

Chore = Callable[[Any], Awaitable[None]]

_LEAD: Final = "SELECT pg_try_advisory_lock(7006, 0)"
# What waits for a lock has others queue behind it, auctions too: rather later than that long.
_LOCK_TIMEOUT: Final = "SET lock_timeout = '100ms'"
_ROUND_S: Final = 60.0
_ASK_AGAIN_S: Final = 10.0


class Leader:
    """Does every chore once a minute, one after the other, while it leads. A chore gets the session's
    connection; what fails is told to `broke` and tried again in the next round."""

    def __init__(
        self, dsn: str, chores: Mapping[str, Chore], broke: Callable[[str, BaseException], None]
    ) -> None:
        self._dsn = dsn
        self._chores = chores
        self._broke = broke

    async def run(self) -> None:
        """For ever."""
        while True:
            try:
                with suppress(StoreUnavailable, *AWAY):
                    await self._session()
            except Exception as error:  # noqa: BLE001 - told; without its chores there are no days soon
                self._broke("chores", error)
            await asyncio.sleep(_ASK_AGAIN_S)

    async def _session(self) -> None:
        """Lead until the connection is lost, or return at once because another leads."""
        connection = await connect(self._dsn)
        try:
            if not await connection.fetchval(_LEAD):
                return
            await connection.execute(_LOCK_TIMEOUT)
            log.event("chores are ours")
            while True:
                await self.round(connection)
                await asyncio.sleep(_ROUND_S)
        finally:
            connection.terminate()

    async def round(self, connection: Any) -> None:
        """Every chore once. Raises what a lost connection raises."""
        for name, chore in self._chores.items():
            try:
                await chore(connection)
            except (
                asyncpg.QueryCanceledError
            ) as error:  # it took too long: the others have their turn
                self._broke(f"chore {name}", error)
            except AWAY:
                raise
            except CONTENDED:
                log.event("chore put off", name=name)  # somebody else was using what it needs
            except asyncpg.PostgresError as error:
                self._broke(f"chore {name}", error)
