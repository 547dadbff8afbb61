"""Erases persons that had to wait for a post, and those that are older than persons are kept.

A slice is a transaction of few leads that nobody sells any more; a round is so many slices, so that days
are made in time whatever there is to be erased.
"""

from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from exchange import log
from exchange.chores.indexing import Indexing
from exchange.chores.leader import Chore
from exchange.chores.retention import in_slices
from exchange.ids import write_id
from exchange.sealing import Vault
from exchange.store.erasures import BY_CHORES, FIRST, Asking, erase_some, ready_erasures

SLICE_MAX: Final = 50  # leads of one transaction
SLICES_MAX: Final = 200  # of one round: 10,000 leads a minute

_UPTO: Final = "SELECT persons_upto FROM retention"
# Ids begin with the moment they were made.
_OLD: Final = (
    "SELECT id FROM lead WHERE id > $1 AND id < first_id(now() - $2::interval) ORDER BY id LIMIT $3"
)
_REACHED: Final = """INSERT INTO retention (persons_upto) VALUES ($1)
ON CONFLICT (one) DO UPDATE SET persons_upto = excluded.persons_upto"""


class Erasing:
    """`persons_days`: how long a person is kept; 0: until somebody asks for the erasure."""

    def __init__(self, persons_days: int, vault: Vault) -> None:
        self._persons_days = persons_days
        self._vault = vault

    def chores(self) -> dict[str, Chore]:
        """By name, in the order they are done."""
        return {
            "index e-mails": Indexing(self._vault).index_emails,
            "erase what waited": self.erase_waiting,
            "erase old persons": self.erase_old,
        }

    async def erase_waiting(self, connection: Any) -> None:
        """Those whose last post has an outcome by now."""
        after = FIRST

        async def erase_one() -> bool:
            nonlocal after
            found = await ready_erasures(connection, after, 1)
            for lead_id, asking in found:
                async with connection.transaction():
                    done = await erase_some(connection, self._vault, [lead_id], asking)
                log.event(
                    "persons erased", count=done, lead=write_id("lead", lead_id), by=asking.by
                )
                after = lead_id
            return bool(found)

        await in_slices(_so_many(erase_one))

    async def erase_old(self, connection: Any) -> None:
        """Those older than that. What waits for a post is written down, and passed by."""
        if not self._persons_days:
            return
        total = 0

        async def erase_some_old() -> bool:
            nonlocal total
            ids = await self._slice(connection)
            total += len(ids)
            return bool(ids)

        await in_slices(_so_many(erase_some_old))
        if total:
            log.event("persons erased", count=total, by=BY_CHORES)

    async def _slice(self, connection: Any) -> list[UUID]:
        """The next few; none: there are no more."""
        async with connection.transaction():
            upto = await connection.fetchval(_UPTO) or FIRST
            age = timedelta(days=self._persons_days)
            ids = [row[0] for row in await connection.fetch(_OLD, upto, age, SLICE_MAX)]
            if ids:
                asking = Asking(why="retention", by=BY_CHORES)
                await erase_some(connection, self._vault, ids, asking)
                await connection.execute(_REACHED, ids[-1])
        return ids


def _so_many(some: Any) -> Any:
    """Some again and again, but not more often than a round may."""
    left = SLICES_MAX

    async def once() -> bool:
        nonlocal left
        left -= 1
        return await some() and left > 0

    return once
