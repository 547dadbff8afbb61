"""The logs' days: made ahead, dropped when they are old; and keys of yesterday, old callbacks, forgotten.

What is dropped is dropped as a whole: nothing has to be found, marked dead, vacuumed. The pings of
posted leads stay explainable: they are kept first.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from typing import Any, Final

import asyncpg

from exchange import log
from exchange.chores.leader import Chore
from exchange.store.callbacks import drop_some
from exchange.store.days import days_of, days_over, drop_day, make_days, name_of, today

_SLICE_MAX: Final = 500  # rows of one statement
_REST: Final = 4.0  # times as long as a slice took: a fifth of one connection is all that is used
_DROP_TRIES: Final = (
    2  # each may hold quotes up for the session's lock_timeout; there is a next round
)
_DROP_AGAIN_S: Final = 0.5

_KEEP: Final = "SELECT keep_pings($1, coalesce($2, first_id_of($3)), first_id_of($3 + 1), $4)"
_SWEEPS: Final = (
    "SELECT sweep_kept(first_id_of($1), $2)",
    "SELECT sweep_default(first_id_of($1), $2)",
)
_STRAYS: Final = "SELECT EXISTS (SELECT FROM ping_default WHERE id >= first_id_of($1) AND id < first_id_of($1 + 1))"
# Not by the day: a key is unique over all days, and a partitioned table can promise that of its days only.
_FORGET: Final = """WITH old AS (
  SELECT seller, path, key FROM claim WHERE created_at < now() - interval '25 hours' ORDER BY created_at LIMIT $1 FOR UPDATE SKIP LOCKED)
DELETE FROM claim c USING old WHERE c.seller = old.seller AND c.path = old.path AND c.key = old.key"""


class Retention:
    """`pings_days`: how long a ping is kept that was never posted; `callbacks_days`: what became of a
    callback."""

    def __init__(self, pings_days: int, callbacks_days: int = 30) -> None:
        self._pings_days = pings_days
        self._callbacks_days = callbacks_days
        self._kept: set[date] = set()  # days of which everything is kept that has to be

    def chores(self) -> dict[str, Chore]:
        """By name, in the order they are done."""
        return {
            "make days": self.make,
            "drop days": self.drop,
            "sweep": self.sweep,
            "forget keys": self.forget_keys,
            "forget callbacks": self.forget_callbacks,
        }

    async def make(self, connection: Any) -> None:
        """The days to come; and a warning where pings came before their day was there."""
        if made := await make_days(connection):
            log.event("days made", names=made)
        if await connection.fetchval(_STRAYS, await today(connection)):
            log.event("pings outside of their day", logging.WARNING, table="ping_default")

    async def drop(self, connection: Any) -> None:
        """Days that are over for longer than pings are kept."""
        logs = [await days_of(connection, name) for name in ("ping", "late_bid")]
        days = {day for found in logs for day in found}
        for day in days_over(days, await today(connection), self._pings_days):
            if day not in self._kept and day in logs[0]:
                await self._keep(connection, day)
            self._kept.add(day)
            await _insist(lambda day=day: drop_day(connection, day))  # type: ignore[misc]
            self._kept.discard(day)
            log.event("day dropped", day=day.isoformat())

    async def _keep(self, connection: Any, day: date) -> None:
        """Nobody posts these pings any more: what has a lead now is all that ever will."""
        table, last = name_of("ping", day), None

        async def keep_some() -> bool:
            nonlocal last
            last = await connection.fetchval(_KEEP, table, last, day, _SLICE_MAX)
            return last is not None

        await in_slices(keep_some)

    async def sweep(self, connection: Any) -> None:
        """Old pings that have no day: from before there were days, or from before theirs was made."""
        before = await today(connection) - timedelta(days=self._pings_days)

        for sql in _SWEEPS:

            async def sweep_some(sql: str = sql) -> bool:
                return await connection.fetchval(sql, before, _SLICE_MAX) is not None

            await in_slices(sweep_some)

    async def forget_keys(self, connection: Any) -> None:
        """Idempotency keys count for 24 hours."""

        async def forget_some() -> bool:
            deleted: str = await connection.execute(_FORGET, _SLICE_MAX)
            return deleted != "DELETE 0"

        await in_slices(forget_some)

    async def forget_callbacks(self, connection: Any) -> None:
        """Those that were delivered or given up."""
        await in_slices(lambda: drop_some(connection, self._callbacks_days, _SLICE_MAX))


async def in_slices(some: Callable[[], Awaitable[bool]]) -> None:
    """Until it says that there was nothing left, resting in between."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    while await some():
        await asyncio.sleep((loop.time() - began_s) * _REST)
        began_s = loop.time()


async def _insist(change: Callable[[], Awaitable[None]]) -> None:
    """Try a change again that others' locks were in the way of; raises when they stay."""
    for _ in range(_DROP_TRIES):
        try:
            return await change()
        except asyncpg.LockNotAvailableError:
            await asyncio.sleep(_DROP_AGAIN_S)
    return await change()
