"""One lead's journey on one page.

    pinging.hold_auction    screen, ask everyone eligible at once, rank
    candidates              the bids, best first; then the waterfall's tiers
    sell                    one candidate after the other, or a set that shares the lead at once:
        award               every cap and the credit held and the intent committed, in one statement
        posting.deliver     the person leaves, and is listened for
        posting.settle      the outcome is booked
    ending.conclude         the answer is stored, then given

The decisions are pure and elsewhere (eligibility, auction, plan); here they are put in order.
"""

import asyncio
from dataclasses import replace
from typing import Final
from uuid import UUID

import orjson

from buyers.messages import Accepted, NotSent, PostResult, Rejected, Unconfirmed
from buyers.reasons import BuyerReason
from exchange.auction import rank
from exchange.candidates import Shelf, offerings
from exchange.caps import day_over
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
from exchange.sharing import Shared, share_out
from exchange.store.rows import AwardOrder, LeadState, Settled, Verdict

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
    shelf = Shelf(house, lead, tried, skipped)
    async for offering in offerings(house, lead, shelf, tried, skipped):
        if not _may_start(house, lead):
            skipped += [Skipped(one.contract.slug, SkipReason.NO_TIME) for one in offering]
            break
        if progress.gone and not attempts:
            return Ending(attempts=(), skipped=tuple(skipped), gone=True)
        offered = await _offer(house, lead, offering, shelf, progress)
        skipped += [one for one in offered.made if isinstance(one, Skipped)]
        attempts += [one for one in offered.made if isinstance(one, Attempt)]
        tried |= {one.buyer for one in attempts}
        ending = _ending(lead, tuple(attempts), tuple(skipped), offered)
        if ending is not None and ending.sold and None in offered.made:
            # Another worker has a member, or its award was never heard of: the books know more.
            rows = await house.insist(lambda: house.store.attempts(lead.id))
            return replace(ending, attempts=tuple(map(known_attempt, rows)), under_way=0)
        if ending is not None:
            return ending
    reason = _unsold_reason(house, lead, attempts, skipped)
    return Ending(attempts=tuple(attempts), skipped=tuple(skipped), reason=reason)


def _ending(
    lead: Lead, attempts: tuple[Attempt, ...], skipped: tuple[Skipped, ...], offered: Shared
) -> Ending | None:
    """How the sale stands after an offering; None: the next may be tried."""
    ending = Ending(attempts=attempts, skipped=skipped, under_way=offered.under_way)
    if ending.sold:
        return ending
    if None in offered.made:  # another worker owns this lead now, or the database is in doubt
        return replace(ending, pending=True)
    if ending.waiting and lead.test:  # nobody will ever ask about a test
        return replace(ending, reason=AuctionReason.UNCONFIRMED)
    return replace(ending, pending=True) if ending.waiting else None


async def _offer(
    house: House, lead: Lead, offering: tuple[Candidate, ...], shelf: Shelf, progress: Progress
) -> Shared:
    """Post to one candidate, or to all members of a set at once."""
    if len(offering) == 1:
        return Shared([await _attempt(house, lead, offering[0], progress)])
    return await share_out(
        house, lead, offering, shelf, progress, lambda one: _attempt(house, lead, one, progress)
    )


def _may_start(house: House, lead: Lead) -> bool:
    """Whether enough of the seller's time is left to begin another post."""
    return lead.deadline.left_ms(house.now_s()) >= house.settings.post.start_min_ms


async def _attempt(
    house: House, lead: Lead, candidate: Candidate, progress: Progress
) -> Attempt | Skipped | None:
    """Award, deliver, settle. Skipped: it may not be tried; None: this sale is not ours any more."""
    attempt_id = house.new_uuid()
    house.under_way.add(attempt_id)
    progress.intents += 1
    asked_s = house.now_s()
    try:
        verdict: Verdict | None = Verdict.GRANTED
        if not lead.test:
            verdict = await _award(house, lead, candidate, attempt_id)
        if verdict is None:
            return None
        if verdict is Verdict.CLOSED:  # stopped, or another worker's: nothing of ours has left
            progress.intents -= 1
            return None
        if verdict is Verdict.ALREADY_SOLD:
            return None
        if verdict not in {Verdict.GRANTED, Verdict.REPEAT}:
            progress.intents -= 1
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
        slot=candidate.slot,
        shares=candidate.shares,
    )
    house.failpoint("before_intent")
    verdict: Verdict | None = None
    while True:
        try:
            now = house.store.now()  # asked again, it may be another day
            verdict = await house.store.award(
                replace(order, day_over=day_over(candidate.contract, now))
            )
        except StoreUnavailable:
            verdict = None
            house.in_doubt.add(attempt_id)
        if verdict is not None and verdict is not Verdict.BUSY:
            house.in_doubt.discard(attempt_id)
            house.failpoint("after_intent")
            return verdict
        if not _may_start(house, lead):
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
        slot=candidate.slot,
        shares=candidate.shares,
        test=lead.test,
        fields=lead.fields,
    )
    result: PostResult | None
    award_ms = (house.now_s() - asked_s) * 1000
    if _comes_too_late(house, lead, asked_s):
        result = NotSent(reason=BuyerReason.TOO_LATE)
    else:
        if not lead.test:
            house.observer.sending(award_ms, lead.deadline.left_ms(house.now_s()))
        result = await deliver(house, delivery)
    if not lead.test:
        result = await _book(house, lead, candidate, attempt_id, result)
    if result is None:
        return None
    return Attempt(
        id=attempt_id,
        contract=contract.slug,
        buyer=contract.buyer.id,
        tier=candidate.tier,
        state=outcome_of(result),
        price_micros=candidate.pay_micros,
        payout_micros=candidate.net_micros,
        shares=candidate.shares,
        version=contract.version,
        detail=orjson.loads(detail_of(result)) | {"award_ms": round(award_ms, 1)},
    )


async def _book(
    house: House, lead: Lead, candidate: Candidate, attempt_id: UUID, result: PostResult
) -> PostResult | None:
    """Settle, and ask at once where the post's answer decided nothing. None: somebody else has booked
    another outcome, or will."""
    contract = candidate.contract
    next_s = None
    if isinstance(result, Unconfirmed):
        next_s = next_try_s(contract, 0, 0, house.settings.post.unconfirmed_hours)
    settled = await settle(house, attempt_id, 0, result, next_s)
    if settled is Settled.FENCED and isinstance(result, (Accepted, Rejected)):
        settled = await book_first_hand(house, lead.id, attempt_id, result)
    if settled is not Settled.OK and settled.value != outcome_of(result).value:
        return None
    if outcome_of(result).has_failed:
        house.make_room(contract.buyer.id)
    if isinstance(result, Unconfirmed) and can_be_asked(contract) and _may_start(house, lead):
        return await resolve_now(house, attempt_id) or result
    return result


def _comes_too_late(house: House, lead: Lead, asked_s: float) -> bool:
    """Whether an award took so long that it must not be delivered any more: no post starts after the
    seller's deadline, and a worker that was frozen no longer knows what others have decided."""
    return house.now_s() - asked_s > _AWARD_FRESH_S or not _may_start(house, lead)


def _unsold_reason(
    house: House, lead: Lead, attempts: list[Attempt], skipped: list[Skipped]
) -> AuctionReason:
    late = lead.deadline.left_ms(house.now_s()) <= 0
    # An award is only given up as busy when the seller's time is over.
    over = any(one.reason in {SkipReason.NO_TIME, SkipReason.BUSY} for one in skipped)
    if over or (attempts and late):
        return AuctionReason.DEADLINE
    if attempts:
        return AuctionReason.REJECTED_BY_ALL
    if any(one.reason is SkipReason.DUPLICATE_IN_VERTICAL for one in skipped):
        return AuctionReason.DUPLICATE_LEAD
    if lead.offers and not rank(lead.offers, lead.rules).winning:
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
    if lead is None:
        return None
    ending = Ending(attempts=attempts, skipped=())
    if ending.sold and (row.owner == house.worker or not ending.waiting):
        return await conclude(house, lead, ending)
    if ending.waiting or row.owner != house.worker:
        return None
    if not attempts:  # its seller may have been told that it is pending
        late = Ending(attempts=(), skipped=(), reason=AuctionReason.DEADLINE)
        return await conclude(house, lead, late)
    return await conclude(house, lead, await sell(house, lead, Progress(), attempts))
