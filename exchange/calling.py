"""Calls sellers back: takes what is due, sends it, books what came of it. The office's, not a worker's.

Any number of offices may do so: a row that is taken is its taker's until its lease ends. At least once,
therefore: who dies between the seller's answer and its booking has it sent again, with the same id.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from buyers.envelope import write_request
from buyers.guard import Guard, Target
from buyers.signing import read_secret
from buyers.wire import Wire, one_call
from exchange import log
from exchange.callbacks import (
    NO_URL,
    Heard,
    after,
    body_of,
    ended_at,
    heard,
    more_to_tell,
    webhook_id,
)
from exchange.ending import BuyerRefs, answer_now
from exchange.errors import StoreUnavailable
from exchange.patience import pause_s
from exchange.sealing import SealBroken, Vault
from exchange.settings import CallbackSettings
from exchange.store.callbacks import Booking, Callbacks, CalledSeller, TakenCallback
from exchange.store.postgres import PostgresStore
from exchange.store.rows import AttemptRow, LeadRow

_LOOK_EVERY_S: Final = 0.5
_REST: Final = 20.0  # times as long as a look took: a twentieth of one connection is used
_REST_MOST_S: Final = 5.0  # whatever a look waited for; a database that was away may be back
_AT_ONCE: Final = 64  # callbacks under way
_PER_SELLER: Final = 4  # of one seller: who does not answer holds up his own only
_LEASE_MORE_S: Final = 5.0  # beyond the timeout


def rest_s(took_s: float) -> float:
    """Seconds from a look that took so long to the next."""
    return min(max(_LOOK_EVERY_S, took_s * _REST), _REST_MOST_S)


@dataclass(slots=True)
class _Message:
    """One callback, ready but for where it goes."""

    lead: LeadRow
    said: dict[str, Any]
    since: datetime


class CallingBack:
    """One office's. `wire` is nobody else's: buyers' connections are never used for sellers."""

    def __init__(
        self,
        store: PostgresStore,
        vault: Vault,
        guard: Guard,
        wire: Wire,
        settings: CallbackSettings,
        broke: Callable[[str, BaseException], None],
        failpoint: Callable[[str], None] = lambda _name: None,
    ) -> None:
        self._store = store
        self._rows = Callbacks(store.db)
        self._vault = vault
        self._guard = guard
        self._wire = wire
        self._settings = settings
        self._broke = broke
        self._failpoint = failpoint
        self._under_way: dict[asyncio.Task[None], int] = {}  # and whose
        # Tries since this office began, by what came of them.
        self.called = {"delivered": 0, "failed": 0, "given_up": 0}

    async def run(self) -> None:
        """For ever."""
        loop = asyncio.get_running_loop()
        while True:
            began_s = loop.time()
            try:
                with suppress(StoreUnavailable):  # the next look will find them
                    await self.look()
            except Exception as error:  # noqa: BLE001 - told; what others are owed must go out
                self._broke("callbacks", error)
            took_s = loop.time() - began_s
            await asyncio.sleep(rest_s(took_s))

    async def look(self) -> int:
        """Take what is due and begin to send it; how many."""
        free = _AT_ONCE - len(self._under_way)
        if free <= 0:
            return 0
        lease_s = self._settings.timeout_s + _LEASE_MORE_S
        taken = await self._rows.take(Counter(self._under_way.values()), _PER_SELLER, free, lease_s)
        for one in taken:
            task = asyncio.create_task(self._make(one), name="callback")
            self._under_way[task] = one.seller
            task.add_done_callback(self._made)
        return len(taken)

    async def settle(self, timeout_s: float | None = None) -> None:
        """Wait for what is under way, for so long at most; the rest is left to whoever comes next."""
        if self._under_way:
            _, late = await asyncio.wait(list(self._under_way), timeout=timeout_s)
            for task in late:
                task.cancel()

    def _made(self, task: asyncio.Task[None]) -> None:
        self._under_way.pop(task, None)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, StoreUnavailable):
            self._broke("callback", error)

    async def _make(self, one: TakenCallback) -> None:
        """One try and its booking. Where the database goes away meanwhile it is made again later."""
        seller = await self._rows.seller(one.seller)
        lead = await self._store.lead(one.lead_id)
        if seller is None or lead is None:  # neither is ever deleted
            return
        try:
            message = await self._message(lead, seller)
            found = await self._send(message, seller)
        except StoreUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - told, and put off: it must not come up every 15 s
            self._broke("callback", error)
            await self._put_off(one)
            return
        self._failpoint("after_callback")
        await self._book(one, message, found)

    async def _put_off(self, one: TakenCallback) -> None:
        """A bug of ours: as long as it is there it is met ever more seldom, and never given up."""
        self.called["failed"] += 1
        await self._rows.book(
            Booking(
                lead_id=one.lead_id, fence=one.fence, state="open", told=None, next_s=pause_s(one.tries),
                anew=False, status=None, reason="fault",
            )
        )  # fmt: skip

    async def _message(self, lead: LeadRow, seller: CalledSeller) -> _Message:
        attempts = await self._store.attempts(lead.id)
        said = answer_now(lead, attempts, await self._refs(seller, attempts))
        assert lead.closed_at is not None, "only what has ended is taken"
        settled = [one.settled_at for one in attempts if one.settled_at is not None]
        return _Message(lead, said, ended_at(lead.closed_at, settled))

    async def _refs(self, seller: CalledSeller, attempts: list[AttemptRow]) -> BuyerRefs:
        slugs = await self._rows.buyers([one.buyer_id for one in attempts])
        return lambda id_: (
            self._vault.opaque("buyer", seller.slug, slugs[id_]) if id_ in slugs else None
        )

    async def _send(self, message: _Message, seller: CalledSeller) -> Heard:
        if seller.url is None or seller.secret is None:
            return Heard(None, NO_URL)
        target = self._guard.check_url(seller.url)
        if not isinstance(target, Target):
            return Heard(None, "address_blocked")
        try:
            secret = self._vault.open_text(f"seller:{seller.slug}", seller.secret)
        except SealBroken:
            return Heard(None, "secret_unreadable")  # another master key: mended, it goes out
        body = body_of(message.said, test=message.lead.test)
        name = webhook_id(message.said)
        payload = write_request(target, read_secret(secret), name, int(time.time()), body)
        deadline = asyncio.get_running_loop().time() + self._settings.timeout_s
        pool = f"{seller.slug}/callback"
        reply = await one_call(self._wire, target, payload, pool=pool, deadline=deadline)
        return heard(reply.status, reply.failure)

    async def _book(self, one: TakenCallback, message: _Message, found: Heard) -> None:
        age_s = (await self._rows.now() - message.since).total_seconds()
        then = after(found, one.tries, age_s, self._settings.hours)
        left = message.said.get("pending", 0)
        more = more_to_tell(found, then, left)
        booking = Booking(
            lead_id=one.lead_id,
            fence=one.fence,
            state="open" if more or then == "again" else then,
            told=left if more else None,
            next_s=0.0 if more else pause_s(one.tries),
            anew=more,
            status=found.status,
            reason=found.reason,
        )
        await self._rows.book(booking)
        self.called["failed" if then == "again" else then] += 1
        log.event(
            "callback", lead_id=message.said["lead_id"], outcome=then, status=found.status,
            reason=found.reason, tries=one.tries,
        )  # fmt: skip
