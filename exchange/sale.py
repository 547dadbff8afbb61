"""One lead's journey on one page.

    pinging.hold_auction    screen, ask everyone eligible at once, rank
    candidates              the bids, best first; then the waterfall's tiers
    sell                    one candidate after the other:
        award               every cap and the credit held and the intent committed, in one statement
        posting.deliver     the person leaves, and is listened for
        posting.settle      the outcome is booked
    ending.conclude         the answer is stored, then given

The decisions are pure and elsewhere (eligibility, auction, plan); here they are put in order.
"""

import asyncio
from typing import Final
from uuid import UUID

import orjson

from buyers.messages import Accepted, NotSent, PostResult, Rejected, Unconfirmed
from buyers.reasons import BuyerReason
from exchange.auction import rank
from exchange.candidates import candidates
from exchange.eligibility import Skipped
from exchange.ending import conclude, known_attempt, stored_lead
from exchange.errors import StoreUnavailable
from exchange.house import House
from exchange.ids import write_id
from exchange.lead import Attempt, Candidate, Ending, Lead, Progress
from exchange.posting import (
    Delivery,
    book_first_hand,
    can_be_asked,
    deliver,
    detail_of,
    next_try_s,
    outcome_of,
    settle,
)
from exchange.reasons import AuctionReason, SkipReason
from exchange.resolving import resolve_now
from exchange.store.rows import AttemptState, AwardOrder, LeadState, Settled, Verdict

_ASK_AGAIN_S: Final = 0.05
_AWARD_FRESH_S: Final = 4.0


async def run_sale(
    house: House, lead: Lead, progress: Progress, before: tuple[Attempt, ...] = ()
) -> bytes | None:
    """Sell and conclude, as one piece of owned work."""
    house.selling.add(lead.id)
    try:
        return await conclude(house, lead, await sell(house, lead, progress, before))
    finally:
        house.selling.discard(lead.id)


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


async def _attempt(
    house: House, lead: Lead, candidate: Candidate, progress: Progress
) -> Attempt | Skipped | None:
    """Award, deliver, settle. Skipped: it may not be tried; None: this sale is not ours any more."""
    attempt_id = house.new_uuid()
    house.under_way.add(attempt_id)
    had_intent, progress.intent = progress.intent, True
    asked_s = house.now_s()
    try:
        verdict: Verdict | None = Verdict.GRANTED
        if not lead.test:
            verdict = await _award(house, lead, candidate, attempt_id)
        if verdict is None:
            return None
        if verdict is Verdict.CLOSED:  # stopped, or another worker's: nothing of ours has left
            progress.intent = had_intent
            return None
        if verdict is Verdict.ALREADY_SOLD:
            return None
        if verdict not in {Verdict.GRANTED, Verdict.REPEAT}:
            progress.intent = had_intent
            return Skipped(candidate.contract.slug, SkipReason(verdict.value))
        return await _post(house, lead, candidate, attempt_id, asked_s)
    finally:
        house.under_way.discard(attempt_id)


async def _award(
    house: House, lead: Lead, candidate: Candidate, attempt_id: UUID
) -> Verdict | None:
    """Hold and commit the intent. While the database is away, or the rows are locked, the same award
    is asked again: should an earlier one have been committed after all, the answer is `repeat`.

    None: given up unheard. It may stand in the books, but is never delivered; recovery releases it.
    """
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
    verdict: Verdict | None = None
    while True:
        try:
            verdict = await house.store.award(order)
        except StoreUnavailable:
            verdict = None
            house.in_doubt.add(attempt_id)
        if verdict is not None and verdict is not Verdict.BUSY:
            house.in_doubt.discard(attempt_id)
            house.failpoint("after_intent")
            return verdict
        if lead.deadline.left_ms(house.now_s()) < house.settings.post.start_min_ms:
            return verdict
        await asyncio.sleep(_ASK_AGAIN_S)


async def _post(
    house: House, lead: Lead, candidate: Candidate, attempt_id: UUID, asked_s: float
) -> Attempt | None:
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
    result: PostResult
    if _comes_too_late(house, lead, asked_s):
        result = NotSent(reason=BuyerReason.TOO_LATE)
    else:
        result = await deliver(house, delivery)
    if not lead.test:
        next_s = None
        if isinstance(result, Unconfirmed):
            next_s = next_try_s(contract, 0, 0, house.settings.post.unconfirmed_hours)
        settled = await settle(house, attempt_id, 0, result, next_s)
        if settled is Settled.FENCED and isinstance(result, (Accepted, Rejected)):
            settled = await book_first_hand(house, lead.id, attempt_id, result)
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


def _comes_too_late(house: House, lead: Lead, asked_s: float) -> bool:
    """Whether an award took so long that it must not be delivered any more: no post starts after the
    seller's deadline, and a worker that was frozen no longer knows what others have decided."""
    now_s = house.now_s()
    left_ms = lead.deadline.left_ms(now_s)
    return now_s - asked_s > _AWARD_FRESH_S or left_ms < house.settings.post.start_min_ms


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


async def resume(house: House, lead_id: UUID) -> bytes | None:
    """Bring an open lead to its end: sold if it is, on to the next if there is time, else unsold."""
    if lead_id in house.selling:
        return None
    house.selling.add(lead_id)
    try:
        return await _resume(house, lead_id)
    finally:
        house.selling.discard(lead_id)


async def _resume(house: House, lead_id: UUID) -> bytes | None:
    row = await house.store.lead(lead_id)
    if row is None or row.state is not LeadState.OPEN:
        return None
    attempts = tuple(known_attempt(one) for one in await house.store.attempts(lead_id))
    lead = stored_lead(house, row)
    if lead is None or any(attempt.state.is_open for attempt in attempts):
        return None
    sold = next((one for one in attempts if one.state is AttemptState.ACCEPTED), None)
    if sold is not None:
        return await conclude(house, lead, Ending(attempts=attempts, skipped=(), sold=sold))
    if row.owner != house.worker:
        return None
    if not attempts:  # its seller may have been told that it is pending
        late = Ending(attempts=(), skipped=(), reason=AuctionReason.DEADLINE)
        return await conclude(house, lead, late)
    return await conclude(house, lead, await sell(house, lead, Progress(), attempts))
