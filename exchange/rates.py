"""Rates held for all workers together: small leases from one shared count, never passed.

A worker leases a tenth of a second's units at a time and spends them by itself; what it does not
spend in that second is lost, so a rate may be undershot by a lease per worker, never overshot. Of a
rate that is large enough for it the next lease is fetched before the last is used up, and before the
next second begins, so that no ping waits for one. Caps on pings work alike, by the period's bucket
instead of the second.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from buyers.contract import Contract
from exchange.eligibility import Skipped
from exchange.errors import StoreUnavailable
from exchange.reasons import SkipReason

_PINGS_MAX: Final = 100  # units of a cap on pings leased at a time
_GONE_S: Final = 1.0  # how long a used-up cap on pings is believed to stay so
_AHEAD_MIN: Final = 10  # units of a lease: a smaller one is not worth fetching ahead
_AHEAD_S: Final = 0.25  # before a second ends the next one's first lease is fetched


class LeaseStore(Protocol):
    """The shared counts."""

    async def lease_rate(self, owner: int, rate: int, want: int, second: int) -> int:
        """Units granted of a second's `rate`; of this one or the next."""

    async def lease_pings(self, contract: int, want: int) -> tuple[int, float]:
        """Units granted of every cap on pings of a contract and its buyer, and how many seconds
        they may be spent: until the first of their periods ends."""


@dataclass(slots=True)
class _Lease:
    """What one owner may still do until an instant. `gone`: nobody has more until then."""

    until_s: float = 0.0
    left: int = 0
    gone: bool = False
    next: "_Lease | None" = None  # of the next second
    asking: "asyncio.Future[None] | None" = None  # one question at a time: until it is answered

    def has(self, now_s: float) -> bool | None:
        """True: one can be taken; False: there are no more; None: ask."""
        if now_s >= self.until_s:
            following, self.next = self.next, None
            if following is None or now_s >= following.until_s:
                return None
            self.until_s, self.left, self.gone = following.until_s, following.left, following.gone
        return True if self.left > 0 else False if self.gone else None

    def take(self, now_s: float) -> bool | None:
        """As `has`, and takes it."""
        found = self.has(now_s)
        self.left -= found is True
        return found


class Leases:
    """One worker's leases. `wall_s` is the database's clock as this worker knows it; `own` runs what
    nobody waits for, None: nothing is fetched ahead."""

    def __init__(
        self,
        store: LeaseStore,
        wall_s: Callable[[], float],
        own: Callable[[Coroutine[Any, Any, None], str], object] | None = None,
    ) -> None:
        self._store = store
        self._wall_s = wall_s
        self._own = own
        self._rates: dict[int, _Lease] = {}
        self._pings: dict[int, _Lease] = {}

    def rate_at_hand(self, owner: int, rate: int) -> bool | None:
        """One unit of an owner's rate out of what is leased; None: `take_rate` must ask for more."""
        lease = self._rates.get(owner)
        if lease is None:
            return None
        now_s = self._wall_s()
        taken = lease.take(now_s)
        self._look_ahead(lease, owner, rate, now_s)
        return taken

    async def take_rate(self, owner: int, rate: int) -> bool:
        """One unit of an owner's rate per second."""

        async def refill(lease: _Lease) -> None:
            second = math.floor(self._wall_s())
            want = _share(rate)
            granted = await self._store.lease_rate(owner, rate, want, second)
            lease.until_s, lease.left, lease.gone = second + 1, granted, granted < want

        return await self._take(self._rates.setdefault(owner, _Lease()), refill)

    def _look_ahead(self, lease: _Lease, owner: int, rate: int, now_s: float) -> None:
        """Fetch what will soon be wanted, if it is not being fetched."""
        want = _share(rate)
        if self._own is None or want < _AHEAD_MIN or lease.asking is not None:
            return
        if not lease.gone and lease.left <= want // 2 and now_s < lease.until_s:
            self._own(self._fetch(lease, owner, rate, math.floor(now_s)), "lease")
        elif lease.next is None and 0 < lease.until_s - now_s < _AHEAD_S:
            self._own(self._fetch(lease, owner, rate, math.floor(now_s) + 1), "lease")

    async def _fetch(self, lease: _Lease, owner: int, rate: int, second: int) -> None:
        """Lease more of a second, whether it has begun or not."""
        if lease.asking is not None:
            return
        async with _asking(lease):
            want = _share(rate)
            granted = await self._store.lease_rate(owner, rate, want, second)
            if lease.until_s == second + 1:
                lease.left, lease.gone = lease.left + granted, granted < want
            elif lease.until_s < second + 1:
                lease.next = _Lease(second + 1, granted, granted < want)

    async def take_ping(self, contract: Contract) -> bool:
        """One unit of every cap on pings that binds a contract."""
        limit = min(cap.limit for cap in contract.ping_caps)
        want = max(1, min(_PINGS_MAX, limit // 50))

        async def refill(lease: _Lease) -> None:
            granted, valid_s = await self._store.lease_pings(contract.id, want)
            lease.left, lease.gone = granted, granted < want
            lease.until_s = self._wall_s() + (valid_s if granted else min(valid_s, _GONE_S))

        return await self._take(self._pings.setdefault(contract.id, _Lease()), refill)

    def admit_at_hand(self, contracts: Sequence[Contract]) -> tuple[list[Skipped], list[Contract]]:
        """Spend what is leased: who may not be pinged now, and of whom more must be leased before
        anybody knows (of them nothing is spent)."""
        now_s = self._wall_s()
        skipped, unknown = [], []
        for contract in contracts:
            binding = self._binding(contract)
            states = [None if lease is None else lease.has(now_s) for lease, _ in binding]
            if None in states:
                unknown.append(contract)
            elif False in states:
                skipped.append(Skipped(contract.slug, binding[states.index(False)][1]))
            else:
                for lease, _ in binding:
                    assert lease is not None
                    lease.left -= 1
                if contract.endpoint.max_qps is not None:
                    rate = self._rates[contract.id]
                    self._look_ahead(rate, contract.id, contract.endpoint.max_qps, now_s)
        return skipped, unknown

    def _binding(self, contract: Contract) -> list[tuple[_Lease | None, SkipReason]]:
        """The leases a ping of this contract is taken from; None: nothing was ever leased."""
        found = []
        if contract.endpoint.max_qps is not None:
            found.append((self._rates.get(contract.id), SkipReason.MAX_QPS))
        if contract.ping_caps:
            found.append((self._pings.get(contract.id), SkipReason.CAP_PINGS))
        return found

    async def admit(self, contracts: Sequence[Contract]) -> list[Skipped]:
        """Of metered contracts those that may not be pinged now, and why."""
        found = await asyncio.gather(*map(self._admit, contracts))
        return [one for one in found if one is not None]

    async def _admit(self, contract: Contract) -> Skipped | None:
        try:
            qps = contract.endpoint.max_qps
            if qps is not None and not await self.take_rate(contract.id, qps):
                return Skipped(contract.slug, SkipReason.MAX_QPS)
            if contract.ping_caps and not await self.take_ping(contract):
                return Skipped(contract.slug, SkipReason.CAP_PINGS)
        except StoreUnavailable:
            return Skipped(contract.slug, SkipReason.BUSY)
        return None

    async def _take(self, lease: _Lease, refill: Callable[[_Lease], Awaitable[None]]) -> bool:
        """Whoever comes first asks for all who wait. They do not queue for a lock: it would be handed
        on once in a turn of the loop, and a few hundred of them would wait for seconds."""
        while (taken := lease.take(self._wall_s())) is None:
            if lease.asking is not None:
                await asyncio.wait([lease.asking])
                continue
            async with _asking(lease):
                await refill(lease)
                taken = lease.left > 0  # however long it took: these units were granted
                lease.left -= taken
                return taken
        return taken


@asynccontextmanager
async def _asking(lease: _Lease) -> AsyncIterator[None]:
    """Everybody else waits for what comes of it; if nothing does, the next one asks."""
    lease.asking = asked = asyncio.get_running_loop().create_future()
    try:
        yield
    finally:
        lease.asking = None
        asked.set_result(None)


def _share(rate: int) -> int:
    """Units of a rate leased at a time."""
    return max(1, rate // 10)
