"""One lead's journey on one page: screen, ask, rank, post or descend, settle, answer.

The decisions are elsewhere and pure (eligibility, auction, plan); here they are put in order.
"""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any
from uuid import UUID

import orjson

from buyers.contract import Contract
from buyers.dialects import standard_v1
from buyers.envelope import write_request
from buyers.messages import Bid, Missed, Ping, PingResult, PostResult, Unconfirmed
from buyers.money import format_micros
from buyers.reasons import BuyerReason
from buyers.wire import Reply
from exchange import receipt
from exchange.auction import Offer, Rules, rank
from exchange.deadline import Deadline
from exchange.eligibility import Screening, Skipped, first_failing, screen
from exchange.errors import StoreUnavailable
from exchange.fanout import Question, ask_all, missed_reason
from exchange.house import House
from exchange.ids import write_id
from exchange.lead import Asking, Attempt, Auction, Candidate, Ending, Lead, Progress
from exchange.plan import Tier, TierMode, Turns, order_tier
from exchange.posting import (
    Delivery,
    can_be_asked,
    deliver,
    detail_of,
    next_try_s,
    outcome_of,
    settle,
)
from exchange.reasons import AuctionReason, SkipReason
from exchange.resolving import resolve_now
from exchange.sellers import net_micros
from exchange.store.rows import (
    AttemptRow,
    AttemptState,
    AwardOrder,
    Closing,
    LateBid,
    LeadRow,
    LeadState,
    Settled,
    Verdict,
)

# --- the ping: screen, ask, rank ------------------------------------------------------------------


async def hold_auction(house: House, asking: Asking, deadline: Deadline) -> Auction:
    """Ask everyone eligible in the auction tier and rank what they say; ends by the deadline."""
    began_s = house.now_s()
    ping_id = house.new_uuid()
    catalogue, market = house.catalogue, asking.market
    screening = _screen(house, asking)
    tier = market.plan.auction
    stands = [c for c in screening.eligible if tier is not None and market.plan.tier_of(c) is tier]
    window_ms = deadline.left_ms(began_s)
    if tier is not None:
        window_ms = min(window_ms, tier.window_ms)
    asked = [contract for contract in stands if contract.is_pinged]
    questions = _questions(
        house, asking, write_id("ping", ping_id, test=asking.test), asked, window_ms
    )
    results = await ask_all(
        questions,
        transport=house.transport,
        read=partial(_read_bid, house, write_id("ping", ping_id, test=asking.test)),
        late=partial(_tell_late, house, ping_id),
        grace_ms=house.settings.ping.late_grace_ms,
    )
    told = tuple(zip(asked, results, strict=True))
    offers = _offers(told, [contract for contract in stands if not contract.is_pinged])
    rules = _rules(asking, write_id("ping", ping_id, test=asking.test))
    return Auction(
        ping_id=ping_id,
        asking=asking,
        catalogue_version=catalogue.version,
        screening=screening,
        results=told,
        offers=offers,
        rules=rules,
        ranking=rank(offers, rules),
        waterfall=len(screening.eligible) > len(stands),
        window_ms=window_ms,
        elapsed_ms=(house.now_s() - began_s) * 1000,
    )


def _screen(house: House, asking: Asking) -> Screening:
    contracts = asking.market.contracts
    if house.catalogue.paused:
        return Screening((), tuple(Skipped(c.slug, SkipReason.PAUSED) for c, _ in contracts))
    return screen(
        contracts, asking.fields, asking.asker, asking.market.plan, house.usage, known=asking.known
    )


def _questions(
    house: House, asking: Asking, ping_id: str, asked: list[Contract], window_ms: float
) -> list[Question]:
    ping = Ping(
        ping_id=ping_id,
        vertical=asking.market.vertical.slug,
        sub_id=asking.sub_id,
        bid_valid_s=house.settings.ping.quote_ttl_s,
        test=asking.test,
        fields=asking.ping_fields,
    )
    fields = orjson.Fragment(orjson.dumps(ping.fields))
    now_s = int(house.wall_s())
    questions = []
    for contract in asked:
        timeout_ms = min(contract.endpoint.ping_timeout_ms, window_ms)
        target = house.target(contract.endpoint.ping_url or "")
        seller = house.vault.opaque("seller", contract.buyer.slug, asking.seller.slug)
        body = standard_v1.write_ping(ping, fields, contract, seller, int(timeout_ms))
        webhook_id = f"{ping_id}.{contract.slug}"
        payload = write_request(target, contract.secret, webhook_id, now_s, body) if target else b""
        questions.append(
            Question(contract=contract, target=target, payload=payload, timeout_ms=timeout_ms)
        )
    return questions


def _read_bid(house: House, ping_id: str, contract: Contract, reply: Reply) -> PingResult:
    """A reply as a result. A fault of ours in one dialect must not cost everybody the auction."""
    if reply.failure is not None or reply.status is None:
        reason = missed_reason(reply.failure) if reply.failure else BuyerReason.GARBLED
        return Missed(reason=reason, elapsed_ms=reply.elapsed_ms, status=reply.status)
    try:
        return standard_v1.read_bid(
            reply.status, reply.body, reply.elapsed_ms, ping_id=ping_id, contract=contract
        )
    except Exception as error:  # noqa: BLE001 - told loudly; the other buyers' results stand
        house.observer.broke("read_bid", error)
        return Missed(reason=BuyerReason.CALL_BROKE, elapsed_ms=reply.elapsed_ms)


def _tell_late(house: House, ping_id: Any, contract: Contract, bid: Bid, late_ms: float) -> None:
    house.observer.late(contract.buyer.slug, late_ms)
    late = LateBid(
        ping=ping_id, contract=contract.slug, price_micros=bid.price_micros, late_ms=round(late_ms)
    )
    house.own(_put_late(house, late), "late bid")


async def _put_late(house: House, late: LateBid) -> None:
    try:
        await house.store.put_late_bids([late])
    except StoreUnavailable:  # a note beside the receipt, not worth insisting on
        return


def _offers(
    told: tuple[tuple[Contract, PingResult], ...], fixed: list[Contract]
) -> tuple[Offer, ...]:
    bids = [
        _offer(
            contract, result.price_micros, bid_id=result.bid_id, expires_in_s=result.expires_in_s
        )
        for contract, result in told
        if isinstance(result, Bid)
    ]
    return (*bids, *(_offer(contract, contract.pricing.price_micros) for contract in fixed))


def _offer(
    contract: Contract,
    price_micros: int,
    *,
    bid_id: str | None = None,
    expires_in_s: int | None = None,
) -> Offer:
    return Offer(
        contract=contract.slug,
        price_micros=price_micros,
        is_fixed=not contract.is_pinged,
        adjustment_ppm=contract.adjustment_ppm,
        priority=contract.priority,
        min_micros=contract.pricing.min_micros,
        bid_id=bid_id,
        expires_in_s=expires_in_s,
    )


def _rules(asking: Asking, ping_id: str) -> Rules:
    vertical = asking.market.vertical
    return Rules(
        ping_id=ping_id,
        margin=asking.seller.margin or vertical.margin,
        floor_micros=asking.floor_micros,
        second_price=vertical.auction == "second_price",
    )


# --- the lead: award, deliver, settle, or descend -------------------------------------------------


async def sell(
    house: House, lead: Lead, progress: Progress, before: tuple[Attempt, ...] = ()
) -> Ending:
    """Offer the lead to one candidate after the other until one accepts or nobody is left.

    `before` are attempts of an earlier owner: recovery goes on where a crash left off.
    """
    attempts = list(before)
    skipped: list[Skipped] = []
    tried = {attempt.buyer for attempt in attempts}
    async for candidate in candidates(house, lead, tried, skipped):
        if lead.deadline.left_ms(house.now_s()) < house.settings.post.start_min_ms:
            skipped.append(Skipped(candidate.contract.slug, SkipReason.NO_TIME))
            break
        if progress.gone and not attempts:
            return Ending(attempts=(), skipped=tuple(skipped), gone=True)
        attempt = await _attempt(house, lead, candidate, progress)
        if isinstance(attempt, Skipped):
            skipped.append(attempt)
            continue
        if attempt is None:  # another worker owns this lead now, or the database is in doubt
            return Ending(attempts=tuple(attempts), skipped=tuple(skipped), pending=True)
        attempts.append(attempt)
        tried.add(attempt.buyer)
        if attempt.state is AttemptState.ACCEPTED:
            return Ending(attempts=tuple(attempts), skipped=tuple(skipped), sold=attempt)
        if attempt.state.is_open and lead.test:  # nobody will ever ask about a test
            return Ending(
                attempts=tuple(attempts), skipped=tuple(skipped), reason=AuctionReason.UNCONFIRMED
            )
        if attempt.state.is_open:
            return Ending(attempts=tuple(attempts), skipped=tuple(skipped), pending=True)
    reason = _unsold_reason(house, lead, attempts, skipped)
    return Ending(attempts=tuple(attempts), skipped=tuple(skipped), reason=reason)


async def candidates(
    house: House, lead: Lead, tried: set[int], skipped: list[Skipped]
) -> AsyncIterator[Candidate]:
    """The auction's offers, best first, ranked anew after each failure; then the plan's tiers.

    `tried` grows while this runs: no buyer that was tried gets the lead under another contract.
    """
    offers = list(lead.offers)
    while offers:
        offers = [
            offer for offer in offers if not _passed_over(lead, offer.contract, tried, skipped)
        ]
        ranking = rank(offers, lead.rules)
        if not ranking.placed:
            break
        best = ranking.placed[0]
        offers.remove(best.offer)
        entry = lead.market.contract(best.offer.contract)
        assert entry is not None, "whoever is passed over has been taken out"
        yield Candidate(
            contract=entry[0],
            tier="auction",
            pay_micros=best.pay_micros,
            net_micros=best.net_micros,
            bid_id=best.offer.bid_id,
        )
    async for candidate in _waterfall(house, lead, tried, skipped):
        yield candidate


def _passed_over(lead: Lead, slug: str, tried: set[int], skipped: list[Skipped]) -> bool:
    """Whether an offer is out at the post: retired, its buyer tried, a post-stage condition false."""
    entry = lead.market.contract(slug)
    if entry is None:
        skipped.append(Skipped(slug, SkipReason.PAUSED))
        return True
    contract, filters = entry
    if contract.buyer.id in tried:
        skipped.append(Skipped(slug, SkipReason.BUYER_ALREADY_TRIED))
        return True
    ping_fields = lead.market.checks.ping_field_names
    late = [one for one in filters if not one.fields <= ping_fields]
    failed = None if lead.judged else first_failing(late, lead.fields, lambda _name: True)
    if failed is not None:
        skipped.append(Skipped(slug, SkipReason.FILTERED, failed))
        return True
    return False


async def _waterfall(
    house: House, lead: Lead, tried: set[int], skipped: list[Skipped]
) -> AsyncIterator[Candidate]:
    """The fixed-price contracts of every tier behind the auction, judged on all fields."""
    plan, market = lead.market.plan, lead.market
    behind = [entry for entry in market.contracts if plan.tier_of(entry[0]) in plan.waterfall]
    asking = Asking(
        seller=lead.seller, market=market, fields=lead.fields, whole=True, floor_micros=0,
        sub_id=None, external_id=None, excluded=lead.excluded, test=lead.test,
    )  # fmt: skip
    screening = screen(
        behind, lead.fields, asking.asker, plan, house.usage, known=lambda _name: True
    )
    skipped.extend(screening.skipped)
    for tier in plan.waterfall:
        stands = [contract for contract in screening.eligible if plan.tier_of(contract) is tier]
        turns = Turns()
        if stands and tier.mode in {TierMode.ROUND_ROBIN, TierMode.PERCENTAGE}:
            turns = await _turns(house, stands, tier)
        for contract in order_tier(tier, stands, write_id("lead", lead.id, test=lead.test), turns):
            net = net_micros(lead.rules.margin, contract.pricing.price_micros)
            if contract.buyer.id in tried:
                skipped.append(Skipped(contract.slug, SkipReason.BUYER_ALREADY_TRIED))
            elif net <= 0 or net < lead.min_price_micros:
                skipped.append(Skipped(contract.slug, SkipReason.BELOW_MIN_PRICE))
            else:
                yield Candidate(
                    contract=contract,
                    tier=tier.name,
                    pay_micros=contract.pricing.price_micros,
                    net_micros=net,
                    bid_id=None,
                )


async def _turns(house: House, stands: list[Contract], tier: Tier) -> Turns:
    """Whose turn it is; while the database is away nobody's, and the award will wait for it."""
    try:
        return await house.store.turns([contract.id for contract in stands], tier.period)
    except StoreUnavailable:
        return Turns()


async def _attempt(
    house: House, lead: Lead, candidate: Candidate, progress: Progress
) -> Attempt | Skipped | None:
    """Award, deliver, settle. Skipped: it may not be tried; None: this sale is not ours any more."""
    attempt_id = house.new_uuid()
    house.under_way.add(attempt_id)
    had_intent, progress.intent = progress.intent, True
    try:
        verdict = Verdict.GRANTED
        if not lead.test:
            verdict = await _award(house, lead, candidate, attempt_id)
        if verdict in {Verdict.ALREADY_SOLD, Verdict.CLOSED}:
            return None
        if verdict not in {Verdict.GRANTED, Verdict.REPEAT}:
            progress.intent = had_intent
            return Skipped(candidate.contract.slug, SkipReason(verdict.value))
        return await _post(house, lead, candidate, attempt_id)
    finally:
        house.under_way.discard(attempt_id)


async def _award(house: House, lead: Lead, candidate: Candidate, attempt_id: UUID) -> Verdict:
    """Hold and commit the intent. While the database is away the same award is asked again: should
    the first have been committed after all, the answer is `repeat`. Given up, recovery cleans up."""
    currency = lead.market.vertical.currency
    order = AwardOrder(
        id=attempt_id,
        lead_id=lead.id,
        contract_id=candidate.contract.id,
        price_micros=candidate.pay_micros,
        payout_micros=candidate.net_micros,
        seller_account=house.catalogue.payable[lead.seller.id, currency],
        margin_account=house.catalogue.margin[currency],
        tier=candidate.tier,
        bid_id=candidate.bid_id,
        owner=house.worker,
    )
    house.failpoint("before_intent")
    while True:
        try:
            verdict = await house.store.award(order)
        except StoreUnavailable:
            if lead.deadline.left_ms(house.now_s()) < house.settings.post.start_min_ms:
                return Verdict.CLOSED
            await asyncio.sleep(0.05)
        else:
            house.failpoint("after_intent")
            return verdict


async def _post(house: House, lead: Lead, candidate: Candidate, attempt_id: UUID) -> Attempt | None:
    """Deliver and book what came of it; an unconfirmed post is asked about at once, if it can be."""
    contract = candidate.contract
    delivery = Delivery(
        attempt_id=attempt_id,
        fence=0,
        contract=contract,
        lead_id=write_id("lead", lead.id, test=lead.test),
        ping_id=write_id("ping", lead.ping_id, test=lead.test),
        price_micros=candidate.pay_micros,
        bid_id=candidate.bid_id,
        test=lead.test,
        fields=lead.fields,
    )
    result: PostResult = await deliver(house, delivery)
    if not lead.test:
        next_s = None
        if isinstance(result, Unconfirmed):
            next_s = next_try_s(contract, 0, 0, house.settings.post.unconfirmed_hours)
        settled = await settle(house, attempt_id, 0, result, next_s)
        if settled is not Settled.OK and settled.value != outcome_of(result).value:
            return None
        in_time = lead.deadline.left_ms(house.now_s()) >= house.settings.post.start_min_ms
        if isinstance(result, Unconfirmed) and can_be_asked(contract) and in_time:
            result = await resolve_now(house, attempt_id) or result
    return Attempt(
        id=attempt_id,
        contract=contract.slug,
        buyer=contract.buyer.id,
        tier=candidate.tier,
        state=outcome_of(result),
        price_micros=candidate.pay_micros,
        payout_micros=candidate.net_micros,
        detail=orjson.loads(detail_of(result)),
    )


def _unsold_reason(
    house: House, lead: Lead, attempts: list[Attempt], skipped: list[Skipped]
) -> AuctionReason:
    late = lead.deadline.left_ms(house.now_s()) <= 0
    if any(one.reason is SkipReason.NO_TIME for one in skipped) or (attempts and late):
        return AuctionReason.DEADLINE
    if attempts:
        return AuctionReason.REJECTED_BY_ALL
    if lead.offers and not rank(lead.offers, lead.rules).placed:
        return AuctionReason.BELOW_FLOOR
    return lead.auction_reason or AuctionReason.NO_ELIGIBLE_BUYERS


# --- the end: the answer, stored before it is given -----------------------------------------------


async def conclude(house: House, lead: Lead, ending: Ending) -> bytes | None:
    """Store how the sale ended and return the final answer; None while it is pending or gone."""
    if ending.gone:
        await house.insist(lambda: house.store.abandon_lead(lead.id, house.worker))
        return None
    if ending.pending:
        return None
    answer = final_answer(house, lead, ending)
    closing = Closing(
        lead_id=lead.id,
        state=LeadState.SOLD if ending.sold else LeadState.UNSOLD,
        reason=ending.reason,
        receipt=receipt.dump(receipt.lead_receipt(lead, ending)),
        answer=orjson.dumps(answer),
    )
    house.failpoint("before_close")
    stored: bytes | None = await house.insist(lambda: house.store.close_lead(closing))
    house.failpoint("after_close")
    if stored == closing.answer:
        house.observer.closed(_record(house, lead, ending))
    return stored


def final_answer(house: House, lead: Lead, ending: Ending) -> dict[str, Any]:
    """What the seller is told for good: never buyers' names, losing bids, gross prices or margins."""
    answer: dict[str, Any] = {
        "lead_id": write_id("lead", lead.id, test=lead.test),
        "ping_id": write_id("ping", lead.ping_id, test=lead.test),
    }
    elapsed_ms = round((house.now_s() - lead.began_s) * 1000)
    if ending.sold is None:
        return answer | {"outcome": "unsold", "reason": ending.reason, "elapsed_ms": elapsed_ms}
    currency = lead.market.vertical.currency
    price = format_micros(ending.sold.payout_micros, currency)
    buyer = house.catalogue.buyers.get(ending.sold.buyer)
    sale = {
        "sale_id": f"sale_{ending.sold.id.hex}",
        "price": price,
        "buyer_ref": house.vault.opaque("buyer", lead.seller.slug, buyer.slug) if buyer else None,
    }
    return answer | {
        "outcome": "sold",
        "price": price,
        "currency": currency,
        "redirect_url": ending.sold.detail.get("redirect_url"),
        "sales": [sale],
        "elapsed_ms": elapsed_ms,
    }


def _record(house: House, lead: Lead, ending: Ending) -> dict[str, Any]:
    """One wide record for metrics and the log; nothing of the person."""
    sold = ending.sold
    buyer = house.catalogue.buyers.get(sold.buyer) if sold else None
    return {
        "lead_id": write_id("lead", lead.id, test=lead.test),
        "ping_id": write_id("ping", lead.ping_id, test=lead.test),
        "vertical": lead.market.vertical.slug,
        "currency": lead.market.vertical.currency,
        "seller": lead.seller.slug,
        "test": lead.test,
        "outcome": "sold" if sold else "unsold",
        "reason": ending.reason,
        "contract": sold.contract if sold else None,
        "buyer": buyer.slug if buyer else None,
        "tier": sold.tier if sold else None,
        "price_micros": sold.price_micros if sold else None,
        "payout_micros": sold.payout_micros if sold else None,
        "attempts": len(ending.attempts),
        "skipped": len(ending.skipped),
        "elapsed_ms": round((house.now_s() - lead.began_s) * 1000, 1),
    }


async def run_sale(
    house: House, lead: Lead, progress: Progress, before: tuple[Attempt, ...] = ()
) -> bytes | None:
    """Sell and conclude, as one piece of owned work."""
    house.selling.add(lead.id)
    try:
        return await conclude(house, lead, await sell(house, lead, progress, before))
    finally:
        house.selling.discard(lead.id)


# --- going on after a crash, or after an unconfirmed post was settled -----------------------------


async def resume(house: House, lead_id: UUID) -> bytes | None:
    """Bring an open lead to its end: sold if it is, on to the next if there is time, else unsold."""
    row = await house.store.lead(lead_id)
    if row is None or row.state is not LeadState.OPEN or lead_id in house.selling:
        return None
    attempts = tuple(_known(one) for one in await house.store.attempts(lead_id))
    lead = stored_lead(house, row)
    if lead is None or any(attempt.state.is_open for attempt in attempts):
        return None
    sold = next((one for one in attempts if one.state is AttemptState.ACCEPTED), None)
    if sold is not None:
        return await conclude(house, lead, Ending(attempts=attempts, skipped=(), sold=sold))
    if not attempts:
        return await conclude(house, lead, Ending(attempts=(), skipped=(), gone=True))
    if row.owner != house.worker:
        return None
    return await run_sale(house, lead, Progress(), attempts)


def _known(row: AttemptRow) -> Attempt:
    return Attempt(
        id=row.id,
        contract=row.contract,
        buyer=row.buyer_id,
        tier=row.tier,
        state=row.state,
        price_micros=row.price_micros,
        payout_micros=row.payout_micros,
        detail=orjson.loads(row.detail) if row.detail else {},
    )


def stored_lead(house: House, row: LeadRow) -> Lead | None:
    """A lead as it was when it was opened; None when its seller or vertical is gone."""
    seller = house.catalogue.sellers.get(row.seller)
    market = house.catalogue.markets.get(row.vertical)
    if seller is None or market is None:
        return None
    request = orjson.loads(row.request)
    now_s = house.now_s()
    return Lead(
        id=row.id,
        ping_id=row.ping_id,
        seller=seller,
        market=market,
        fields=house.vault.open(str(row.id), row.person),
        min_price_micros=row.min_price_micros,
        excluded=frozenset(request["excluded"]),
        test=row.test,
        offers=receipt.read_offers(request),
        rules=receipt.read_rules(request, row.min_price_micros),
        auction_reason=AuctionReason(request["auction_reason"])
        if request["auction_reason"]
        else None,
        judged=request["judged"],
        began_s=now_s - (house.store.now() - row.created_at).total_seconds(),
        deadline=Deadline(now_s + row.seconds_left),
    )


def stored_request(lead: Lead) -> bytes:
    """What `stored_lead` needs besides the person: the auction's offers and rules."""
    kept = receipt.lead_receipt(lead, Ending(attempts=(), skipped=()))
    return orjson.dumps(
        {
            "ping_id": kept["ping_id"],
            "offers": kept["offers"],
            "rules": kept["rules"],
            "excluded": sorted(lead.excluded),
            "judged": lead.judged,
            "auction_reason": lead.auction_reason,
        }
    )
