"""Keeps what a process holds in memory like the database: catalogue, keys, usage."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import asyncpg

from exchange.errors import StoreUnavailable
from exchange.store.database import AWAY, Database, connect

_POLL_S: Final = 0.8  # the floor under LISTEN: a notification is lost while nobody listens
_GATHER_S: Final = 0.02  # what is told within it is one reload
_USAGE_S: Final = 0.25
# Whatever a reload may read. `xmin` is the transaction that last wrote a row.
_FINGERPRINT: Final = """
SELECT concat_ws('|', (SELECT coalesce(max(version), 0) FROM document), (SELECT coalesce(max(id), 0) FROM account),
  (SELECT count(*) || ' ' || coalesce(sum(xmin::text::bigint), 0) FROM api_key), (SELECT paused FROM house),
  (SELECT md5(coalesce(string_agg(slug, ',' ORDER BY slug), '')) FROM buyer WHERE paused),
  (SELECT md5(coalesce(string_agg(slug, ',' ORDER BY slug), '')) FROM contract WHERE paused),
  (SELECT count(*) || ' ' || coalesce(sum(xmin::text::bigint), 0) FROM certificate))"""


class Watch:
    """Calls `reload()` whenever something changed: told at once, looked for every 0.8 s anyway.

    One reload runs at a time: what changes meanwhile is the next one, however much it is. `distrust()`
    is called when a new connection was needed, which may lead to another database than the last.
    While `is_behind()`, it is reloaded though nothing changed.
    """

    def __init__(
        self,
        db: Database,
        reload: Callable[[], Awaitable[None]],
        distrust: Callable[[], None] = lambda: None,
        is_behind: Callable[[], bool] = lambda: False,
    ) -> None:
        self._db = db
        self._reload = reload
        self._distrust = distrust
        self._is_behind = is_behind
        self._told = asyncio.Event()
        self._seen: str | None = None
        self._listener: asyncpg.Connection[asyncpg.Record] | None = None

    async def look(self) -> None:
        """Reload if anything differs from what was seen last, or was not read. Raises StoreUnavailable."""
        now = await self._db.fetchval(_FINGERPRINT)
        if now != self._seen or self._is_behind():
            await self._reload()
            self._seen = now

    async def run(self, broke: Callable[[str, BaseException], None]) -> None:
        """Watch until cancelled."""
        while True:
            try:
                with suppress(StoreUnavailable):
                    await self._listen()
                    self._told.clear()
                    await self.look()
            except Exception as error:  # noqa: BLE001 - a bad document must not stop the watch
                broke("catalogue", error)
            await _wait(self._told, _POLL_S)
            if self._told.is_set():
                await asyncio.sleep(_GATHER_S)

    async def close(self) -> None:
        if self._listener is not None and not self._listener.is_closed():
            await self._listener.close(timeout=1)

    async def _listen(self) -> None:
        if self._listener is not None and not self._listener.is_closed():
            return
        listener = await connect(self._db.dsn)
        self._seen = None
        self._distrust()
        try:
            await listener.add_listener("exchange_change", self._hear)
            self._listener = listener
        except AWAY as error:
            raise StoreUnavailable("cannot listen") from error

    def _hear(self, *_told: Any) -> None:
        self._told.set()


async def refresh_usage(
    look: Callable[[], Awaitable[None]], broke: Callable[[str, BaseException], None]
) -> None:
    """Repeat `look()` four times a second; a database that is away leaves the last answer standing."""
    while True:
        try:
            with suppress(StoreUnavailable):
                await look()
        except Exception as error:  # noqa: BLE001 - without it what is full once stays full
            broke("usage", error)
        await asyncio.sleep(_USAGE_S)


async def _wait(event: asyncio.Event, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return
