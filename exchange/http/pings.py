"""POST and GET /v1/pings: an auction, committed before its quote is answered."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import orjson
from aiohttp import web

from buyers.money import format_micros
from exchange import receipt
from exchange.deadline import Deadline
from exchange.errors import Refusal
from exchange.house import House
from exchange.http.desk import Desk, wait_ms
from exchange.http.idempotency import free_later
from exchange.http.problems import Answer, json_response, unavailable
from exchange.http.requests import find_market, read_ping
from exchange.http.valve import Valve
from exchange.lead import Asking, Auction
from exchange.pinging import hold_auction
from exchange.sellers import Seller
from exchange.store.pings import utc
from exchange.store.rows import ClaimKey, PingRow


class PingDesk:
    """The handlers of pings."""

    def __init__(self, desk: Desk, valve: Valve | None = None) -> None:
        self._desk = desk
        self._house = desk.house
        self._valve = valve or Valve(0, lambda: 0.0)
        self._under_way = 0
        own = desk.house.settings.ping  # plain attributes from here on: this is for every ping
        self._wait_ms, self._wait_limit_ms = own.max_wait_ms, own.max_wait_limit_ms
        self._under_way_max, self._tail_ms = own.concurrent_max, own.tail_ms

    async def post_ping(self, request: web.Request) -> web.Response:
        began_s = self._house.now_s()
        seller, body = await self._desk.enter(request)
        deadline = self._deadline(seller, body, began_s)

        async def run(key: ClaimKey | None) -> Answer:
            asking = self._read(seller, body)
            self._let_in()
            work = self._house.own(self._ping(asking, deadline, began_s, key), "ping")
            work.add_done_callback(lambda _work: self._valve.done())
            # A seller who hangs up does not stop the auction: buyers have been asked.
            await asyncio.wait([work], timeout=deadline.left_ms(self._house.now_s()) / 1000)
            if not work.done():
                raise unavailable()
            return Answer(work.result())

        done = await self._desk.once(request, seller, body, deadline, run, goes_on=True)
        return done.response()

    async def answer(self, authorization: str, raw: bytes, late: Callable[[], None]) -> Answer:
        """A ping without an Idempotency-Key from its bytes to its answer, in the task that owns it.

        `late` is called when the seller's time ends first; the ping goes on. Raises Refusal and
        StoreUnavailable.
        """
        began_s = self._house.now_s()
        seller, body = await self._desk.enter_whole(authorization, raw)
        deadline = self._deadline(seller, body, began_s)
        asking = self._read(seller, body)
        timer = asyncio.get_running_loop().call_at(deadline.at_s, late)
        try:
            return Answer(await self._ping(asking, deadline, began_s, None))
        finally:
            timer.cancel()

    def _let_in(self) -> None:
        """As the door does with pings in the usual form. Refuses with 503."""
        if self._valve.is_shut(self._house.now_s()):
            self._valve.refuse()
            raise Refusal(503, "overloaded", retry_after_s=1)
        self._valve.let_in()

    def _deadline(self, seller: Seller, body: dict[str, Any], began_s: float) -> Deadline:
        """When the seller must be answered. Refuses with 403 a vertical that is not his."""
        find_market(body, seller, self._house.catalogue)
        time_ms = wait_ms(body, self._wait_ms, self._wait_limit_ms)
        return Deadline.after(began_s, time_ms)

    def _read(self, seller: Seller, body: dict[str, Any]) -> Asking:
        """Refuses with 422, and with 503 when too many are under way."""
        house = self._house
        read = read_ping(body, seller, house.catalogue, house.vault, one_step=False)
        if self._under_way >= self._under_way_max or house.stopping:
            raise Refusal(503, "overloaded", retry_after_s=1)
        return read.asking

    async def _ping(
        self, asking: Asking, deadline: Deadline, began_s: float, key: ClaimKey | None
    ) -> bytes:
        """The auction, committed before it is answered."""
        self._under_way += 1
        try:
            closes = deadline.less(self._tail_ms)
            await self._turn(closes)
            auction = await hold_auction(self._house, asking, closes)
            answer = orjson.dumps(await store_ping(self._house, auction, began_s))
            if key is not None:
                await self._house.store.finish_claim(key, 200, answer)
            return answer
        except BaseException:
            if key is not None:  # the seller may have hung up: nobody else would free it
                free_later(self._house, key)
            raise
        finally:
            self._under_way -= 1

    async def _turn(self, closes: Deadline) -> None:
        """Until this ping may begin. Refuses with 503 when there is no time left for an auction: no
        buyer shall be asked for nothing."""
        await self._valve.turnstile.turn(self._house.now_s())
        if not closes.left_ms(self._house.now_s()):
            raise unavailable()

    async def get_ping(self, request: web.Request) -> web.Response:
        seller = await self._desk.seller(request)
        found = await self._desk.find_ping(seller, request.match_info["id"])
        record = receipt.read(found.row.receipt)
        return json_response(record["answer"] | {"timeline": receipt.timeline(record)})


async def store_ping(house: House, auction: Auction, began_s: float) -> dict[str, Any]:
    """Commit an auction and return its answer."""
    asking = auction.asking
    winners = auction.ranking.winners
    # A quote is as good as the bids behind it: a bid may live shorter than the quote would.
    lives_s = house.quote_ttl_s
    expiries = [one.offer.expires_in_s for one in winners if one.offer.expires_in_s is not None]
    lives_s = min(lives_s, *expiries) if expiries else lives_s
    expires_at = house.store.now() + timedelta(seconds=lives_s)
    answer = quote(auction, round((house.now_s() - began_s) * 1000)) | {
        "expires_at": utc(expires_at)
    }
    record = receipt.ping_receipt(auction, answer)
    await house.store.put_ping(
        PingRow(
            id=auction.ping_id,
            seller=asking.seller.id,
            expires_at=expires_at,
            price_micros=auction.ranking.net_micros if winners else None,
            external_id=asking.external_id,
            test=asking.test,
            receipt=receipt.dump(record),
        )
    )
    house.observer.pinged(record)
    return answer


def quote(auction: Auction, elapsed_ms: int) -> dict[str, Any]:
    """A ping's answer without its expiry."""
    asking = auction.asking
    head = {"ping_id": auction.rules.ping_id}
    ranking = auction.ranking
    if not ranking.winning:
        return head | {
            "outcome": "no_bid",
            "reason": auction.reason,
            "waterfall": auction.waterfall,
            "elapsed_ms": elapsed_ms,
        }
    currency = asking.market.vertical.currency
    return head | {
        "outcome": "bid",
        "price": format_micros(ranking.net_micros, currency),
        "currency": currency,
        "exclusive": not ranking.is_shared,
        "shares": ranking.winning,
        "elapsed_ms": elapsed_ms,
    }
