"""Who is asking: keys by digest, roles, and the sellers' rates."""

from dataclasses import dataclass
from typing import Final, Protocol

from aiohttp import web

from exchange.catalogue import Catalogue
from exchange.errors import Refusal
from exchange.house import House
from exchange.sealing import Vault
from exchange.sellers import Seller
from exchange.store.database import Database
from exchange.store.keys import Key, find_key, live_keys

_RATE_WITHIN_S: Final = 3.0  # a burst alone can hold the loop up for a second


class KeyStore(Protocol):
    async def live(self) -> dict[bytes, Key]: ...

    async def find(self, digest: bytes) -> Key | None: ...


def authorization(request: web.Request) -> str:
    return request.headers.get("Authorization", "")


class KeyRing:
    """Live keys in memory, reloaded with every change; an unknown one is looked up before it is
    refused, since it may have been created a moment ago on another machine.

    `remembers=False`: every key is looked up each time, for a process that never reloads.
    """

    def __init__(self, keys: KeyStore, vault: Vault, *, remembers: bool = True) -> None:
        self._keys = keys
        self._remembers = remembers
        self._vault = vault
        self._live: dict[bytes, Key] = {}

    async def reload(self) -> None:
        self._live = await self._keys.live()

    async def holder(self, authorization: str) -> Key:
        """The key in an Authorization header. Refuses with 401."""
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer" or not key or len(key) > 500 or not key.isascii():
            raise Refusal(401, "unauthenticated", "send Authorization: Bearer KEY")
        digest = self._vault.key_digest(key.strip())
        live = self._live  # should it be reloaded while we look, the newer one has the last word
        found = live.get(digest) or await self._keys.find(digest)
        if found is None:
            raise Refusal(401, "unauthenticated", "the key is unknown or revoked")
        if self._remembers:
            live[digest] = found
        return found

    async def caller(self, request: web.Request, role: str) -> "Caller":
        """Who asks, if his key has this role. Refuses with 401 and 403."""
        key = await self.holder(authorization(request))
        if key.role != role:
            raise Refusal(403, "wrong_role", f"this needs {_ROLES[role]} key")
        return Caller(f"key:{key.id}", key.owner or "" if role == "buyer" else None)


_ROLES: Final = {"admin": "an admin's", "buyer": "a buyer's", "seller": "a seller's"}


@dataclass(frozen=True, slots=True)
class Caller:
    """An admin, or a buyer who sees only his own."""

    name: str  # as history keeps it: key:ID, or user:LOGIN in the console
    buyer: str | None  # the buyer's slug; None: an admin, who sees everything


class Callers(Protocol):
    """Tells who asks: by a key, or by a session of the console."""

    async def caller(self, request: web.Request, role: str) -> Caller: ...


class StoredKeys:
    """Keys as the ring wants them, out of the database."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def live(self) -> dict[bytes, Key]:
        return await live_keys(self._db)

    async def find(self, digest: bytes) -> Key | None:
        return await find_key(self._db, digest)


async def spend_rate(house: House, seller: Seller) -> None:
    """Take one of a seller's requests per second. Refuses with 429 when they are gone."""
    taken = house.leases.rate_at_hand(seller.id, seller.rate_per_s)
    if taken is None:
        more = house.leases.take_rate(seller.id, seller.rate_per_s)
        taken = await house.within(more, _RATE_WITHIN_S, "rate")
    if not taken:
        raise Refusal(429, "rate_limited", retry_after_s=1)


def seller_of(key: Key, catalogue: Catalogue) -> Seller:
    """The seller behind a key. Refuses with 403."""
    if key.role != "seller":
        raise Refusal(403, "wrong_role", f"this needs {_ROLES['seller']} key")
    seller = catalogue.sellers_by_slug.get(key.owner or "")
    if seller is None or not seller.active:
        raise Refusal(403, "seller_inactive")
    return seller
