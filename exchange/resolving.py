"""Finds out what became of an unconfirmed post: sends it again where that is safe, or asks."""

from collections.abc import Sequence
from uuid import UUID

from buyers.contract import Contract
from buyers.messages import Accepted, NotSent, PostResult, Rejected, Unconfirmed
from buyers.reasons import BuyerReason
from exchange.house import House
from exchange.ids import write_id
from exchange.posting import (
    Delivery,
    ask_status,
    deliver,
    detail_of,
    next_try_s,
    outcome_of,
    settle,
)
from exchange.store.rows import AttemptRow, AttemptState, LeadRow, Settled, Settlement
from exchange.store.store import Store


async def resolve_now(house: House, attempt_id: UUID) -> PostResult | None:
    """Claim one attempt and resolve it at once; None when it stays unconfirmed or is another's."""
    rows = await house.insist(lambda: house.store.due(house.worker, attempt_id))
    return await resolve(house, rows[0]) if rows else None


async def resolve(house: House, attempt: AttemptRow) -> PostResult | None:
    """One try for an attempt that this worker has claimed. The first definite word is booked."""
    contract = find_contract(house, attempt.contract)
    lead = await house.insist(lambda: house.store.lead(attempt.lead_id))
    result = await _ask(house, contract, lead, attempt) if contract and lead else None
    if result is not None:
        settled = await settle(house, attempt.id, attempt.fence, result, None)
        return result if settled is Settled.OK else None
    next_s = next_try_s(
        contract, attempt.tries, attempt.age_s, house.settings.post.unconfirmed_hours
    )
    waiting = Unconfirmed(reason=BuyerReason.NO_DEFINITE_ANSWER)
    await settle(house, attempt.id, attempt.fence, waiting, next_s)
    return None


async def _ask(
    house: House, contract: Contract, lead: LeadRow, attempt: AttemptRow
) -> PostResult | None:
    """Send again where a repeat is the same lead, then ask; None: still nothing definite.

    That a re-send did not leave says nothing of the first post.
    """
    if contract.endpoint.idempotent and lead.person.key is not None:  # erased: nothing to send
        delivery = Delivery(
            attempt_id=attempt.id,
            fence=attempt.fence,
            contract=contract,
            lead_id=write_id("lead", lead.id, test=lead.test),
            ping_id=write_id("ping", lead.ping_id, test=lead.test),
            price_micros=attempt.price_micros,
            bid_id=attempt.bid_id,
            slot=attempt.slot,
            shares=attempt.shares,
            test=lead.test,
            fields=house.vault.open(str(lead.id), lead.person),
            resent=True,
        )
        result = await deliver(house, delivery)
        if not isinstance(result, (Unconfirmed, NotSent)):
            return result
    return await ask_status(house, contract, attempt)


def attempt_meant(rows: Sequence[AttemptRow], contract: str | None) -> AttemptRow | None:
    """The post that a person's word is about: of the contract he names, if he does; the one without
    an outcome, else the one that was sold, else the last refused. None: he must name one, for several
    buyers of a shared lead have not said; or there is no such post."""
    found = [one for one in rows if contract is None or one.contract == contract]
    if contract is None and sum(one.state.is_open for one in found) > 1:
        return None
    rank = {AttemptState.INTENT: 0, AttemptState.UNCONFIRMED: 0, AttemptState.ACCEPTED: 1}
    return min(reversed(found), key=lambda one: rank.get(one.state, 2), default=None)


async def book_word(store: Store, attempt: AttemptRow, said: AttemptState) -> Settled:
    """A person's word, *accepted* or *rejected*, on an attempt: what stands now. The first wins."""
    result: PostResult = (
        Accepted(reason=BuyerReason.SAID_BY_PERSON)
        if said is AttemptState.ACCEPTED
        else Rejected(reason=BuyerReason.SAID_BY_PERSON)
    )
    outcome, detail = outcome_of(result), detail_of(result)
    for _ in range(5):  # recovery may take the fence between reading and writing
        word = Settlement(id=attempt.id, fence=attempt.fence, outcome=outcome, detail=detail)
        settled = await store.settle(word)
        if settled is not Settled.FENCED:
            break
        rows = await store.attempts(attempt.lead_id)
        attempt = next(one for one in rows if one.id == attempt.id)
    return settled


def find_contract(house: House, slug: str) -> Contract | None:
    """A contract by slug in any vertical; None when it was retired."""
    return house.catalogue.contract(slug)
