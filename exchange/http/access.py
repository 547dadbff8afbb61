"""Who is asking: keys by digest, roles, and the sellers' rates."""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from aiohttp import web

from exchange.catalogue import Catalogue
from exchange.errors import Refusal
from exchange.sealing import Vault
from exchange.sellers import Seller
from exchange.store.keys import Key


class KeyStore(Protocol):
    async def live(self) -> dict[bytes, Key]: ...

    async def find(self, digest: bytes) -> Key | None: ...


class RateStore(Protocol):
    async def lease_rate(self, owner: int, rate: int, want: int) -> int: ...


class KeyRing:
    """Live keys in memory, reloaded with every change; an unknown one is looked up before it is
    refused, since it may have been created a moment ago on another machine."""

    def __init__(self, keys: KeyStore, vault: Vault) -> None:
        self._keys = keys
        self._vault = vault
        self._live: dict[bytes, Key] = {}

    async def reload(self) -> None:
        self._live = await self._keys.live()

    async def holder(self, request: web.Request) -> Key:
        """The key that signs this request. Refuses with 401."""
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key or len(key) > 500:
            raise Refusal(401, "unauthenticated", "send Authorization: Bearer KEY")
        digest = self._vault.key_digest(key.strip())
        live = self._live  # should it be reloaded while we look, the newer one has the last word
        found = live.get(digest) or await self._keys.find(digest)
        if found is None:
            raise Refusal(401, "unauthenticated", "the key is unknown or revoked")
        live[digest] = found
        return found


@dataclass(slots=True)
class _Lease:
    """What one seller may still do in one second. `gone`: the second has no more for anybody."""

    second: int = 0
    left: int = 0
    gone: bool = False
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)  # one question at a time


class Rates:
    """A seller's requests per second, counted for all workers: a few units leased at a time."""

    def __init__(self, store: RateStore, wall_s: Callable[[], float]) -> None:
        self._store = store
        self._wall_s = wall_s
        self._leases: dict[int, _Lease] = {}

    async def spend(self, seller: Seller) -> None:
        """Take one unit. Refuses with 429 when this second's are gone."""
        lease = self._leases.setdefault(seller.id, _Lease())
        if not self._take(lease):
            async with lease.asking:
                if not self._take(lease):  # whoever asked before may have brought enough
                    await self._refill(lease, seller)

    def _take(self, lease: _Lease) -> bool:
        if lease.second != math.floor(self._wall_s()):
            return False
        if lease.left > 0:
            lease.left -= 1
            return True
        if lease.gone:
            raise _too_fast()
        return False

    async def _refill(self, lease: _Lease, seller: Seller) -> None:
        second = math.floor(self._wall_s())
        want = max(1, seller.rate_per_s // 10)
        granted = await self._store.lease_rate(seller.id, seller.rate_per_s, want)
        lease.second, lease.left, lease.gone = second, granted - 1, granted < want
        if granted == 0:
            lease.left = 0
            raise _too_fast()


def _too_fast() -> Refusal:
    return Refusal(429, "rate_limited", retry_after_s=1)


def seller_of(key: Key, catalogue: Catalogue) -> Seller:
    """The seller behind a key. Refuses with 403."""
    if key.role != "seller":
        raise Refusal(403, "wrong_role", "this needs a seller's key")
    seller = catalogue.sellers_by_slug.get(key.owner or "")
    if seller is None or not seller.active:
        raise Refusal(403, "seller_inactive")
    return seller
