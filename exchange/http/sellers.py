"""The sellers' requests: pings, leads in one step and two, and what became of them."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson
from aiohttp import web

from buyers.money import format_micros, parse_micros
from exchange import receipt
from exchange.deadline import Deadline
from exchange.errors import Refusal, StoreUnavailable
from exchange.house import House
from exchange.http.access import KeyRing, Rates, seller_of
from exchange.http.idempotency import claim, free_later, read_key, release
from exchange.http.limits import read_object
from exchange.http.problems import json_response, unavailable
from exchange.http.requests import find_market, read_ping, read_post, read_post_fields
from exchange.http.waiting import answer_of_lead, lead_timeline, pending
from exchange.ids import read_id, write_id
from exchange.lead import Asking, Auction, Lead, Progress
from exchange.sale import hold_auction, run_sale, stored_request
from exchange.sellers import Seller
from exchange.store.pings import utc
from exchange.store.rows import ClaimKey, FoundPing, LeadRow, NewLead, PingRow

Run = Callable[[ClaimKey | None], Awaitable[web.Response]]


class SellerDesk:
    """The handlers of POST and GET /v1/pings, /v1/leads and /v1/spec."""

    def __init__(self, house: House, keys: KeyRing, rates: Rates) -> None:
        self._house = house
        self._keys = keys
        self._rates = rates
        self._pings = 0  # auctions under way
        self._leads = 0

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/pings", self.post_ping),
            web.post("/v1/leads", self.post_lead),
            web.get("/v1/pings/{id}", self.get_ping),
            web.get("/v1/leads/{id}", self.get_lead),
            web.get("/v1/leads", self.find_leads),
            web.get("/v1/spec", self.get_specs),
            web.get("/v1/spec/{vertical}", self.get_spec),
        ]

    # --- pings ------------------------------------------------------------------------------------

    async def post_ping(self, request: web.Request) -> web.Response:
        began_s = self._house.now_s()
        seller, body = await self._enter(request)
        find_market(body, seller, self._house.catalogue)
        settings = self._house.settings.ping
        wait_ms = _wait_ms(body, settings.max_wait_ms, settings.max_wait_limit_ms)
        deadline = Deadline.after(began_s, wait_ms)

        async def run(key: ClaimKey | None) -> web.Response:
            read = read_ping(body, seller, self._house.catalogue, self._house.vault, one_step=False)
            if self._pings >= settings.concurrent_max or self._house.stopping:
                raise Refusal(503, "overloaded", retry_after_s=1)
            work = self._house.own(self._ping(read.asking, deadline, began_s, key), "ping")
            # A seller who hangs up does not stop the auction: buyers have been asked.
            await asyncio.wait([work], timeout=deadline.left_ms(self._house.now_s()) / 1000)
            if not work.done():
                raise Refusal(503, "unavailable", retry_after_s=1)
            return json_response(work.result())

        return await self._once(request, seller, body, deadline, run, goes_on=True)

    async def _ping(
        self, asking: Asking, deadline: Deadline, began_s: float, key: ClaimKey | None
    ) -> bytes:
        """The auction, committed before it is answered."""
        self._pings += 1
        try:
            auction = await hold_auction(
                self._house, asking, deadline.less(self._house.settings.ping.tail_ms)
            )
            answer = orjson.dumps(await self._store_ping(auction, began_s))
            if key is not None:
                await self._house.store.finish_claim(key, 200, answer)
            return answer
        except BaseException:
            if key is not None:  # the seller may have hung up: nobody else would free it
                free_later(self._house, key)
            raise
        finally:
            self._pings -= 1

    async def _store_ping(self, auction: Auction, began_s: float) -> dict[str, Any]:
        asking, house = auction.asking, self._house
        best = auction.ranking.placed[0] if auction.ranking.placed else None
        # A quote is as good as the bid behind it: a bid may live shorter than the quote would.
        lives_s = house.settings.ping.quote_ttl_s
        if best is not None and best.offer.expires_in_s is not None:
            lives_s = min(lives_s, best.offer.expires_in_s)
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
                price_micros=best.net_micros if best else None,
                external_id=asking.external_id,
                test=asking.test,
                receipt=receipt.dump(record),
            )
        )
        house.observer.pinged(record)
        return answer

    # --- leads ------------------------------------------------------------------------------------

    async def post_lead(self, request: web.Request) -> web.Response:
        began_s = self._house.now_s()
        seller, body = await self._enter(request)
        if "ping_id" not in body:
            find_market(body, seller, self._house.catalogue)
        settings = self._house.settings.post
        wait_ms = _wait_ms(body, settings.max_wait_ms, settings.max_wait_limit_ms)
        deadline = Deadline.after(began_s, wait_ms)

        async def run(key: ClaimKey | None) -> web.Response:
            if "ping_id" in body:
                return await self._two_steps(seller, body, began_s, deadline, key)
            return await self._one_step(seller, body, began_s, deadline, key)

        return await self._once(request, seller, body, deadline, run)

    async def _one_step(
        self,
        seller: Seller,
        body: dict[str, Any],
        began_s: float,
        deadline: Deadline,
        key: ClaimKey | None,
    ) -> web.Response:
        house, settings = self._house, self._house.settings.post
        read = read_ping(body, seller, house.catalogue, house.vault, one_step=True)
        self._admit()
        # The auction leaves time for at least one post.
        until = deadline.less(settings.start_min_ms + settings.tail_ms)
        auction = await hold_auction(house, read.asking, until)
        await self._store_ping(auction, began_s)
        lead = Lead(
            id=house.new_uuid(),
            ping_id=auction.ping_id,
            seller=seller,
            market=read.asking.market,
            fields=read.asking.fields,
            min_price_micros=read.min_price_micros,
            excluded=read.asking.excluded,
            test=read.asking.test,
            offers=auction.offers,
            rules=replace(auction.rules, floor_micros=read.min_price_micros),
            auction_reason=auction.reason,
            judged=True,
            began_s=began_s,
            deadline=deadline,
        )
        return await self._sell(lead, read.asking.external_id, key)

    async def _two_steps(
        self,
        seller: Seller,
        body: dict[str, Any],
        began_s: float,
        deadline: Deadline,
        key: ClaimKey | None,
    ) -> web.Response:
        house = self._house
        ping = await self._find_ping(seller, body.get("ping_id"))
        if ping.lead_id is not None:
            return await self._posted_before(ping.lead_id, deadline, key)
        if ping.expired:
            raise Refusal(410, "ping_expired")
        envelope = read_post(body)
        record = orjson.loads(ping.row.receipt)
        if envelope.test is not None and envelope.test != ping.row.test:
            raise Refusal(
                422,
                "invalid_request",
                "a test ping can be posted only as a test, a real one only for real",
            )
        market = house.catalogue.markets.get(record["vertical"])
        if market is None:
            raise Refusal(410, "ping_expired", "the ping's vertical is no longer traded")
        fields = read_post_fields(market, envelope.fields, record["fields"])
        self._admit()
        floor = record["rules"]["floor"]
        min_price = floor if envelope.min_price is None else parse_micros(envelope.min_price)
        lead = Lead(
            id=house.new_uuid(),
            ping_id=ping.row.id,
            seller=seller,
            market=market,
            fields=fields,
            min_price_micros=min_price,
            excluded=frozenset(record["excluded"]),
            test=ping.row.test,
            offers=tuple(
                offer
                for offer in receipt.read_offers(record)
                if offer.expires_in_s is None or ping.age_s < offer.expires_in_s
            ),
            rules=receipt.read_rules(record, min_price),
            auction_reason=receipt.auction_reason(record),
            judged=False,
            began_s=began_s,
            deadline=deadline,
        )
        return await self._sell(lead, envelope.external_id or record["external_id"], key)

    async def _sell(
        self, lead: Lead, external_id: str | None, key: ClaimKey | None
    ) -> web.Response:
        """Store the lead, sell it as owned work, and answer by the deadline whatever it does."""
        house = self._house
        try:
            holder = await house.store.open_lead(self._new_lead(lead, external_id), key)
        except (StoreUnavailable, asyncio.CancelledError):
            # It may have been stored all the same: nothing has left, so it is taken back.
            house.own(
                house.insist(lambda: house.store.abandon_lead(lead.id, house.worker)), "take back"
            )
            raise
        if holder is not None:
            return await self._posted_before(holder, lead.deadline, None)
        house.failpoint("after_open")
        progress = Progress()
        self._leads += 1
        work = house.own(run_sale(house, lead, progress), "sale")
        work.add_done_callback(self._left)
        try:
            left_ms = lead.deadline.less(house.settings.post.tail_ms).left_ms(house.now_s())
            await asyncio.wait([work], timeout=left_ms / 1000)
        except asyncio.CancelledError:
            progress.gone = True
            raise
        sound = work.done() and not work.cancelled() and work.exception() is None
        if sound and (answer := work.result()) is not None:
            return json_response(answer)
        if progress.intent:
            return pending(lead.id, lead.ping_id, test=lead.test)
        progress.gone = True  # nothing has left, and now nothing will
        raise Refusal(503, "unavailable", retry_after_s=1)

    def _new_lead(self, lead: Lead, external_id: str | None) -> NewLead:
        house = self._house
        kinds = {field.name: field.type for field in lead.market.vertical.fields}
        index = {
            kinds[name]: house.vault.blind(kinds[name], str(value))
            for name, value in reversed(list(lead.fields.items()))
            if kinds[name] in {"phone", "email"}
        }
        return NewLead(
            id=lead.id,
            ping_id=lead.ping_id,
            seller=lead.seller.id,
            vertical=lead.market.vertical.slug,
            test=lead.test,
            min_price_micros=lead.min_price_micros,
            external_id=external_id,
            owner=house.worker,
            answer_in_ms=round(lead.deadline.left_ms(house.now_s())),
            request=stored_request(lead),
            person=house.vault.seal(str(lead.id), lead.fields),
            phone_index=index.get("phone"),
            email_index=index.get("email"),
        )

    async def _posted_before(
        self, lead_id: UUID, deadline: Deadline, key: ClaimKey | None
    ) -> web.Response:
        """A ping that was posted before: its first answer, whatever is sent now."""
        if key is not None:
            await self._house.store.tie_claim(key, lead_id)
        answer = await answer_of_lead(self._house, lead_id, deadline)
        if answer is None:
            raise Refusal(409, "in_progress", retry_after_s=1)
        return answer

    async def _find_ping(self, seller: Seller, text: object) -> FoundPing:
        """404 for unknown, malformed and other sellers' pings alike."""
        ids = read_id("ping", text)
        found = await self._house.store.ping(ids[0]) if ids else None
        if (
            found is None
            or ids is None
            or found.row.seller != seller.id
            or found.row.test != ids[1]
        ):
            raise Refusal(404, "not_found", "there is no such ping")
        return found

    def _admit(self) -> None:
        if self._leads >= self._house.settings.post.concurrent_max or self._house.stopping:
            raise Refusal(503, "overloaded", retry_after_s=1)

    def _left(self, _work: object) -> None:
        self._leads -= 1

    # --- looking back -----------------------------------------------------------------------------

    async def get_ping(self, request: web.Request) -> web.Response:
        seller = await self._seller(request)
        found = await self._find_ping(seller, request.match_info["id"])
        record = orjson.loads(found.row.receipt)
        return json_response(record["answer"] | {"timeline": receipt.timeline(record)})

    async def get_lead(self, request: web.Request) -> web.Response:
        seller = await self._seller(request)
        ids = read_id("lead", request.match_info["id"])
        row = await self._house.store.lead(ids[0]) if ids else None
        if row is None or row.seller != seller.id or ids is None or row.test != ids[1]:
            raise Refusal(404, "not_found", "there is no such lead")
        return json_response(await self._seen(row))

    async def find_leads(self, request: web.Request) -> web.Response:
        seller = await self._seller(request)
        external_id = request.query.get("external_id")
        if not external_id or set(request.query) - {"external_id"}:
            raise Refusal(422, "invalid_request", "name the lead: ?external_id=…")
        rows = await self._house.store.leads_by_external_id(seller.id, external_id)
        return json_response({"items": [await self._seen(row) for row in rows], "next": None})

    async def _seen(self, row: LeadRow) -> dict[str, Any]:
        attempts = await self._house.store.attempts(row.id)
        shown: dict[str, Any] = {
            "lead_id": write_id("lead", row.id, test=row.test),
            "ping_id": write_id("ping", row.ping_id, test=row.test),
            "outcome": "pending",
        }
        if row.answer is not None:
            shown = orjson.loads(row.answer)
        return shown | {
            "vertical": row.vertical,
            "external_id": row.external_id,
            "created_at": utc(row.created_at),
            "timeline": lead_timeline(row, attempts),
        }

    async def get_specs(self, request: web.Request) -> web.Response:
        seller = await self._seller(request)
        names = sorted(seller.verticals & self._house.catalogue.markets.keys())
        return json_response({"items": [self._spec(name) for name in names], "next": None})

    async def get_spec(self, request: web.Request) -> web.Response:
        seller = await self._seller(request)
        name = request.match_info["vertical"]
        if name not in seller.verticals or name not in self._house.catalogue.markets:
            raise Refusal(404, "not_found", "there is no such vertical for this seller")
        return json_response(self._spec(name))

    def _spec(self, name: str) -> dict[str, Any]:
        vertical = self._house.catalogue.markets[name].vertical
        return {
            "vertical": vertical.slug,
            "name": vertical.name,
            "currency": vertical.currency,
            "on_personal_data_in_ping": vertical.on_personal_data_in_ping,
            "fields": [described(field) for field in vertical.fields],
        }

    # --- what every request passes ------------------------------------------------------------------

    async def _enter(self, request: web.Request) -> tuple[Seller, dict[str, Any]]:
        """401, 403, 429, 413, 400, in this order; 503 at once while the database is away: no buyer
        is asked for what could not be stored."""
        seller = await self._seller(request)
        await self._rates.spend(seller)
        body = await read_object(request, self._house.settings.http)
        if self._house.database_away:
            raise unavailable()
        return seller, body

    async def _seller(self, request: web.Request) -> Seller:
        key = await self._keys.holder(request)
        if not self._house.loaded:
            raise unavailable()
        return seller_of(key, self._house.catalogue)

    async def _once(
        self,
        request: web.Request,
        seller: Seller,
        body: dict[str, Any],
        deadline: Deadline,
        run: Run,
        *,
        goes_on: bool = False,
    ) -> web.Response:
        """Run a request once per key, and leave the key as the contract says after a refusal.

        `goes_on`: when the seller hangs up, the run itself sees to the key.
        """
        key = read_key(request, seller, self._house.new_uuid())
        if key is not None:
            replay = await claim(self._house, key, body, deadline)
            if replay is not None:
                return replay.response
        try:
            return await run(key)
        except Refusal as refusal:
            await release(self._house, key, refusal)
            raise
        except BaseException as error:
            gone = isinstance(error, asyncio.CancelledError)
            if key is not None and not (gone and goes_on):  # after a bug, too, it is free again
                free_later(self._house, key)
            raise


def quote(auction: Auction, elapsed_ms: int) -> dict[str, Any]:
    """A ping's answer without its expiry."""
    asking = auction.asking
    head = {"ping_id": write_id("ping", auction.ping_id, test=asking.test)}
    if not auction.ranking.placed:
        return head | {
            "outcome": "no_bid",
            "reason": auction.reason,
            "waterfall": auction.waterfall,
            "elapsed_ms": elapsed_ms,
        }
    currency = asking.market.vertical.currency
    return head | {
        "outcome": "bid",
        "price": format_micros(auction.ranking.placed[0].net_micros, currency),
        "currency": currency,
        "exclusive": True,
        "shares": 1,
        "elapsed_ms": elapsed_ms,
    }


def described(field: Any) -> dict[str, Any]:
    """A field as posting instructions show it; what does not apply is left out."""
    shown: dict[str, Any] = {
        "name": field.name,
        "type": field.type,
        "stage": field.stage,
        "required": field.required,
    }
    if field.values:
        shown["values"] = list(field.values)
    for limit in ("min", "max", "pattern"):
        if getattr(field, limit) is not None:
            shown[limit] = getattr(field, limit)
    if field.required_if is not None:
        condition = field.required_if
        shown["required_if"] = {
            "field": condition.field,
            "op": condition.op,
            "value": condition.value,
        }
    if field.fields:
        shown["fields"] = [described(one) for one in field.fields]
    if field.items is not None:
        shown["items"] = described(field.items)
    return {name: value for name, value in shown.items() if value not in (None, "")}


def _wait_ms(body: dict[str, Any], default_ms: int, limit_ms: int) -> int:
    """The seller's own time within the operator's limit; what is not a time is refused later, with
    every other problem."""
    asked = body.get("max_wait_ms")
    valid = isinstance(asked, int) and not isinstance(asked, bool) and 50 <= asked <= 120_000
    return min(asked if valid and isinstance(asked, int) else default_ms, limit_ms)
