"""What every seller's request passes: key, rate, body, idempotency; and how a ping is found."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from aiohttp import web

from exchange.deadline import Deadline
from exchange.errors import Refusal
from exchange.house import House
from exchange.http.access import KeyRing, authorization, seller_of, spend_rate
from exchange.http.idempotency import claim, free_later, read_key, release
from exchange.http.limits import parse_object, read_object
from exchange.http.problems import Answer, unavailable
from exchange.ids import read_id
from exchange.sellers import Seller
from exchange.store.rows import ClaimKey, FoundPing

_AFTER_S: Final = 0.03  # whoever waits for a deadline himself is a little earlier

Run = Callable[[ClaimKey | None], Awaitable[Answer]]


class Desk:
    """Where sellers are received."""

    def __init__(self, house: House, keys: KeyRing) -> None:
        self.house = house
        self._keys = keys
        self._bytes_max = house.settings.http.body_bytes_max

    async def enter(self, request: web.Request) -> tuple[Seller, dict[str, Any]]:
        """401, 403, 429, 413, 400, in this order; 503 at once while the database is away: no buyer
        is asked for what could not be stored."""
        seller = await self.admit(authorization(request))
        body = await read_object(request, self.house.settings.http)
        self.must_be_there()
        return seller, body

    async def enter_whole(self, authorization: str, raw: bytes) -> tuple[Seller, dict[str, Any]]:
        """The same for a body that is here already."""
        seller = await self.admit(authorization)
        body = parse_object(raw, self._bytes_max)
        self.must_be_there()
        return seller, body

    async def admit(self, authorization: str) -> Seller:
        """401, 403, 503, 429: everything before the body is read."""
        seller = await self._seller(authorization)
        self.must_be_there()
        await spend_rate(self.house, seller)
        return seller

    def must_be_there(self) -> None:
        """Refuses with 503 while the database is away."""
        if self.house.database_away:
            raise unavailable()

    async def seller(self, request: web.Request) -> Seller:
        return await self._seller(authorization(request))

    async def _seller(self, authorization: str) -> Seller:
        key = await self._keys.holder(authorization)
        if not self.house.loaded:
            raise unavailable()
        return seller_of(key, self.house.catalogue)

    async def once(
        self,
        request: web.Request,
        seller: Seller,
        body: dict[str, Any],
        deadline: Deadline,
        run: Run,
        *,
        goes_on: bool = False,
    ) -> Answer:
        """Run a request once per key, and leave the key as the contract says after a refusal; 503
        when the seller's time ends first, which stops what a seller who hangs up would stop.

        `goes_on`: when the seller hangs up, the run itself sees to the key.
        """
        work = self._once(request, seller, body, deadline, run, goes_on=goes_on)
        return await self.in_time(work, deadline)

    async def in_time(self, work: Coroutine[Any, Any, Answer], deadline: Deadline) -> Answer:
        """What comes of the work, which is stopped when the seller's time ends first: 503."""
        left_s = deadline.left_ms(self.house.now_s()) / 1000
        return await self.house.within(work, left_s + _AFTER_S, "request")

    async def _once(
        self,
        request: web.Request,
        seller: Seller,
        body: dict[str, Any],
        deadline: Deadline,
        run: Run,
        *,
        goes_on: bool,
    ) -> Answer:
        key = read_key(request, seller, self.house.new_uuid())
        if key is not None:
            early = deadline.less(self.house.settings.post.tail_ms)
            replay = await claim(self.house, key, body, early)
            if replay is not None:
                return replay.answer
        try:
            return await run(key)
        except Refusal as refusal:
            await release(self.house, key, refusal)
            raise
        except BaseException as error:
            gone = isinstance(error, asyncio.CancelledError)
            if key is not None and not (gone and goes_on):  # after a bug, too, it is free again
                free_later(self.house, key)
            raise

    async def find_ping(self, seller: Seller, text: object) -> FoundPing:
        """404 for unknown, malformed and other sellers' pings alike."""
        ids = read_id("ping", text)
        found = await self.house.store.ping(ids[0]) if ids else None
        if (
            found is None
            or ids is None
            or found.row.seller != seller.id
            or found.row.test != ids[1]
        ):
            raise Refusal(404, "not_found", "there is no such ping")
        return found


def wait_ms(body: dict[str, Any], default_ms: int, limit_ms: int) -> int:
    """The seller's own time within the operator's limit; what is not a time is refused later, with
    every other problem."""
    asked = body.get("max_wait_ms")
    valid = isinstance(asked, int) and not isinstance(asked, bool) and 50 <= asked <= 120_000
    return min(asked if valid and isinstance(asked, int) else default_ms, limit_ms)
