"""Rates held for all workers together: small leases from one shared count, never passed.

A worker leases a tenth of a second's units at a time and spends them by itself; what it does not
spend in that second is lost, so a rate may be undershot by a lease per worker, never overshot.
Caps on pings work alike, by the period's bucket instead of the second.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from buyers.contract import Cap, CapKind, Contract
from exchange.eligibility import Skipped
from exchange.errors import StoreUnavailable
from exchange.reasons import SkipReason

_PINGS_MAX = 100  # units of a cap on pings leased at a time
_GONE_S = 1.0  # how long a used-up cap on pings is believed to stay so


class LeaseStore(Protocol):
    """The shared counts."""

    async def lease_rate(self, owner: int, rate: int, want: int) -> int:
        """Units granted of this second's `rate`."""

    async def lease_pings(self, contract: int, want: int) -> tuple[int, float]:
        """Units granted of every cap on pings of a contract and its buyer, and how many seconds
        they may be spent: until the first of their periods ends."""


@dataclass(slots=True)
class _Lease:
    """What one owner may still do until an instant. `gone`: nobody has more until then."""

    until_s: float = 0.0
    left: int = 0
    gone: bool = False
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)  # one question at a time

    def take(self, now_s: float) -> bool | None:
        """True: taken; False: there are no more; None: ask."""
        if now_s >= self.until_s:
            return None
        if self.left > 0:
            self.left -= 1
            return True
        return False if self.gone else None


class Leases:
    """One worker's leases. `wall_s` is the database's clock as this worker knows it."""

    def __init__(self, store: LeaseStore, wall_s: Callable[[], float]) -> None:
        self._store = store
        self._wall_s = wall_s
        self._rates: dict[int, _Lease] = {}
        self._pings: dict[int, _Lease] = {}

    async def take_rate(self, owner: int, rate: int) -> bool:
        """One unit of an owner's rate per second."""

        async def refill(lease: _Lease) -> None:
            second = math.floor(self._wall_s())
            want = max(1, rate // 10)
            granted = await self._store.lease_rate(owner, rate, want)
            lease.until_s, lease.left, lease.gone = second + 1, granted, granted < want

        return await self._take(self._rates.setdefault(owner, _Lease()), refill)

    async def take_ping(self, contract: Contract) -> bool:
        """One unit of every cap on pings that binds a contract."""
        limit = min(cap.limit for cap in ping_caps(contract))
        want = max(1, min(_PINGS_MAX, limit // 50))

        async def refill(lease: _Lease) -> None:
            granted, valid_s = await self._store.lease_pings(contract.id, want)
            lease.left, lease.gone = granted, granted < want
            lease.until_s = self._wall_s() + (valid_s if granted else min(valid_s, _GONE_S))

        return await self._take(self._pings.setdefault(contract.id, _Lease()), refill)

    async def admit(self, contracts: Sequence[Contract]) -> tuple[list[Contract], list[Skipped]]:
        """Those that may be pinged now, and why the others may not."""
        limited = filter(is_metered, contracts)
        found = await asyncio.gather(*(self._admit(contract) for contract in limited))
        skipped = {one.contract: one for one in found if one is not None}
        return [c for c in contracts if c.slug not in skipped], list(skipped.values())

    async def _admit(self, contract: Contract) -> Skipped | None:
        try:
            qps = contract.endpoint.max_qps
            if qps is not None and not await self.take_rate(contract.id, qps):
                return Skipped(contract.slug, SkipReason.MAX_QPS)
            if ping_caps(contract) and not await self.take_ping(contract):
                return Skipped(contract.slug, SkipReason.CAP_PINGS)
        except StoreUnavailable:
            return Skipped(contract.slug, SkipReason.BUSY)
        return None

    async def _take(self, lease: _Lease, refill: Callable[[_Lease], Awaitable[None]]) -> bool:
        taken = lease.take(self._wall_s())
        if taken is None:
            async with lease.asking:
                taken = lease.take(self._wall_s())  # whoever asked before may have brought enough
                if taken is None:
                    await refill(lease)
                    taken = lease.left > 0  # however long it took: these units were granted
                    lease.left -= taken
        return taken


def is_metered(contract: Contract) -> bool:
    """Whether a ping of this contract needs a lease."""
    return contract.endpoint.max_qps is not None or bool(ping_caps(contract))


def ping_caps(contract: Contract) -> list[Cap]:
    caps = (*contract.caps, *contract.buyer.caps)
    return [cap for cap in caps if cap.kind is CapKind.PINGS]
