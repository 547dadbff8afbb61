"""POST and GET /v1/leads: stored, sold as owned work, answered by the deadline whatever happens."""

import asyncio
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

from aiohttp import web

from buyers.money import parse_micros
from buyers.value import value
from exchange import receipt
from exchange.deadline import Deadline
from exchange.ending import answer_now, buyer_refs, stored_request
from exchange.errors import ClaimLost, Refusal, StoreUnavailable
from exchange.http.desk import Desk, wait_ms
from exchange.http.pings import store_ping
from exchange.http.problems import Answer, json_response
from exchange.http.requests import ReadPing, find_market, read_ping, read_post, read_post_fields
from exchange.http.waiting import answer_of_lead, lead_timeline, owe, pending
from exchange.ids import read_id
from exchange.lead import Lead, Progress
from exchange.persons import blind_index
from exchange.pinging import hold_auction
from exchange.sale import run_sale
from exchange.sellers import Seller
from exchange.store.rows import ClaimKey, LeadRow, LeadState, NewLead


@value
class _Came:
    """A lead as it was sent."""

    seller: Seller
    body: dict[str, Any]
    began_s: float
    deadline: Deadline  # by which the seller is answered


class LeadDesk:
    """The handlers of leads."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._house = desk.house
        self._under_way = 0

    async def post_lead(self, request: web.Request) -> web.Response:
        began_s = self._house.now_s()
        seller, body = await self._desk.enter(request)
        came = self._came(seller, body, began_s)
        run = partial(self._run, came)
        return (await self._desk.once(request, seller, body, came.deadline, run)).response()

    async def answer(self, authorization: str, raw: bytes) -> Answer:
        """A lead without an Idempotency-Key from its bytes to its answer; to be cancelled when its
        seller hangs up. Raises Refusal and StoreUnavailable."""
        began_s = self._house.now_s()
        came = self._came(*await self._desk.enter_whole(authorization, raw), began_s)
        return await self._desk.in_time(self._run(came, None), came.deadline)

    def _came(self, seller: Seller, body: dict[str, Any], began_s: float) -> _Came:
        """Refuses with 403 a vertical that is not the seller's."""
        if "ping_id" not in body:
            find_market(body, seller, self._house.catalogue)
        settings = self._house.settings.post
        time_ms = wait_ms(body, settings.max_wait_ms, settings.max_wait_limit_ms)
        deadline = Deadline.after(began_s, time_ms)
        return _Came(seller=seller, body=body, began_s=began_s, deadline=deadline)

    async def _run(self, came: _Came, key: ClaimKey | None) -> Answer:
        return await (self._two_steps if "ping_id" in came.body else self._one_step)(came, key)

    async def _one_step(self, came: _Came, key: ClaimKey | None) -> Answer:
        house = self._house
        read = read_ping(came.body, came.seller, house.catalogue, house.vault, one_step=True)
        self._admit()
        self._under_way += 1
        try:
            lead = await self._pinged(read, came.began_s, came.deadline)
        finally:
            self._under_way -= 1
        return await self._sell(lead, read.asking.external_id, key)

    async def _pinged(self, read: ReadPing, began_s: float, deadline: Deadline) -> Lead:
        """The ping inside a one-step lead: its auction, stored."""
        house, settings = self._house, self._house.settings.post
        # The auction leaves time for at least one post.
        until = deadline.less(settings.start_min_ms + settings.tail_ms)
        auction = await hold_auction(house, read.asking, until)
        await store_ping(house, auction, began_s)
        return Lead(
            id=house.new_uuid(),
            ping_id=auction.ping_id,
            seller=read.asking.seller,
            market=read.asking.market,
            fields=read.asking.fields,
            min_price_micros=read.min_price_micros,
            excluded=read.asking.excluded,
            test=read.asking.test,
            offers=auction.offers,
            rules=replace(auction.rules, floor_micros=read.min_price_micros),
            auction_reason=auction.reason,
            judged=True,
            pinged_s=house.now_s(),
            began_s=began_s,
            deadline=deadline,
        )

    async def _two_steps(self, came: _Came, key: ClaimKey | None) -> Answer:
        house = self._house
        ping = await self._desk.find_ping(came.seller, came.body.get("ping_id"))
        if ping.lead_id is not None:
            return await self._posted_before(ping.lead_id, came.deadline, key)
        if ping.expired:
            raise Refusal(410, "ping_expired")
        envelope = read_post(came.body)
        record = receipt.read(ping.row.receipt)
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
            seller=came.seller,
            market=market,
            fields=fields,
            min_price_micros=min_price,
            excluded=frozenset(record["excluded"]),
            test=ping.row.test,
            offers=receipt.read_offers(record),
            rules=receipt.read_rules(record, min_price),
            auction_reason=receipt.auction_reason(record),
            judged=False,
            pinged_s=house.now_s() - ping.age_s,
            began_s=came.began_s,
            deadline=came.deadline,
        )
        return await self._sell(lead, envelope.external_id or record["external_id"], key)

    async def _sell(self, lead: Lead, external_id: str | None, key: ClaimKey | None) -> Answer:
        """Store the lead, sell it as owned work, and answer by the deadline whatever it does."""
        house = self._house
        try:
            holder = await house.store.open_lead(self._new_lead(lead, external_id), key)
        except ClaimLost:
            raise Refusal(409, "in_progress", retry_after_s=1) from None
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
        self._under_way += 1
        work = house.own(run_sale(house, lead, progress), "sale")
        work.add_done_callback(self._left)
        try:
            left_ms = lead.deadline.less(house.settings.post.tail_ms).left_ms(house.now_s())
            await asyncio.wait([work], timeout=left_ms / 1000)
        except asyncio.CancelledError:
            progress.gone = True
            house.own(self._owe_the_gone(lead, work), "owe")
            raise
        sound = work.done() and not work.cancelled() and work.exception() is None
        if sound and (answer := work.result()) is not None:
            return Answer(answer)
        if progress.intents:
            return await pending(house, lead, lead.deadline)
        progress.gone = True  # nothing has left, and now nothing will
        raise Refusal(503, "unavailable", retry_after_s=1)

    async def _owe_the_gone(self, lead: Lead, work: "asyncio.Task[bytes | None]") -> None:
        """Its seller hung up: what becomes of a lead that was not stopped by that, he is told later."""
        await asyncio.wait([work])
        owe(self._house, lead.id, lead.seller.id)

    def _new_lead(self, lead: Lead, external_id: str | None) -> NewLead:
        house = self._house
        kinds = {field.name: field.type for field in lead.market.vertical.fields}
        index = {
            kinds[name]: blind_index(house.vault, kinds[name], str(value))
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
    ) -> Answer:
        """A ping that was posted before: its first answer, whatever is sent now."""
        if key is not None:
            await self._house.store.tie_claim(key, lead_id)
        early = deadline.less(self._house.settings.post.tail_ms)
        answer = await answer_of_lead(self._house, lead_id, early)
        if answer is None:
            raise Refusal(409, "in_progress", retry_after_s=1)
        return answer

    def _admit(self) -> None:
        if self._under_way >= self._house.settings.post.concurrent_max or self._house.stopping:
            raise Refusal(503, "overloaded", retry_after_s=1)

    def _left(self, _work: object) -> None:
        self._under_way -= 1

    async def get_lead(self, request: web.Request) -> web.Response:
        seller = await self._desk.seller(request)
        ids = read_id("lead", request.match_info["id"])
        row = await self._house.store.lead(ids[0]) if ids else None
        if row is None or row.seller != seller.id or ids is None or row.test != ids[1]:
            raise Refusal(404, "not_found", "there is no such lead")
        return json_response(await self._seen(row))

    async def find_leads(self, request: web.Request) -> web.Response:
        seller = await self._desk.seller(request)
        external_id = request.query.get("external_id")
        if not external_id or "\0" in external_id or set(request.query) - {"external_id"}:
            raise Refusal(422, "invalid_request", "name the lead: ?external_id=…")
        rows = await self._house.store.leads_by_external_id(seller.id, external_id)
        return json_response({"items": [await self._seen(row) for row in rows], "next": None})

    async def _seen(self, row: LeadRow) -> dict[str, Any]:
        attempts = await self._house.store.attempts(row.id)
        sold = row.state is LeadState.SOLD
        reversals = await self._house.store.reversals(row.id) if sold else []
        seller = self._house.catalogue.sellers[row.seller]
        shown = answer_now(row, attempts, buyer_refs(self._house, seller))
        return shown | {
            "timeline": lead_timeline(row, attempts, reversals, shown.get("currency", "USD")),
        }
