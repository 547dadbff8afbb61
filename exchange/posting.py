"""Award, deliver, settle: the only road by which a person's data leaves.

The intent is committed before the first byte. Then four things can happen to a delivery:

1. accepted: a definite answer; the sale is booked;
2. rejected: a definite answer; everything held is released, the next may be tried;
3. not sent: not one byte left (DNS, refused, TLS, address guard); as rejected;
4. unconfirmed: it may have arrived. Nothing is released and nobody else gets the lead until the
   buyer, its status_url or a person says what became of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

import orjson

from buyers.contract import Contract
from buyers.dialects import standard_v1
from buyers.envelope import write_request
from buyers.guard import Target
from buyers.messages import Accepted, NotSent, Post, PostResult, Rejected, Unconfirmed
from buyers.reasons import BuyerReason
from buyers.wire import Reply, one_call, render_request
from exchange.fanout import missed_reason
from exchange.house import House
from exchange.ids import write_id
from exchange.patience import pause_s
from exchange.store.rows import AttemptRow, AttemptState, Settled, Settlement
from exchange.veiling import veiled

FRESH_S: Final = 5.0  # a person travels on a new connection or one idle for less
# A status of `unknown` means rejected only 60 s after our last byte; that leaves within 5 s of the
# intent. An idempotent endpoint is sent the lead again, which makes `unknown` say nothing.
UNKNOWN_MEANS_REJECTED_S: Final = 65.0
_FENCE_TRIES: Final = 5  # somebody may take the fence between reading and writing


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One attempt that is in the books and about to be made, or made again."""

    attempt_id: UUID
    fence: int
    contract: Contract
    lead_id: str
    ping_id: str
    price_micros: int
    bid_id: str | None
    slot: int  # 0: exclusive
    shares: int
    test: bool
    fields: Mapping[str, Any]
    resent: bool = False


async def deliver(house: House, delivery: Delivery) -> PostResult:
    """Send the lead and read what was said, for the buyer's full time; never raises for his faults."""
    contract = delivery.contract
    target = house.target(contract.endpoint.post_url)
    if target is None:
        return NotSent(reason=BuyerReason.ADDRESS_BLOCKED)
    body = standard_v1.write_post(_post(delivery), contract)
    webhook_id = write_id("att", delivery.attempt_id, test=delivery.test)
    payload = write_request(target, contract.secret, webhook_id, int(house.wall_s()), body)
    house.failpoint("before_send")
    reply = await one_call(
        house.transport,
        target,
        payload,
        pool=f"{contract.slug}/post",
        deadline=house.now_s() + contract.endpoint.post_timeout_ms / 1000,
        idle_max_s=FRESH_S,
    )
    house.failpoint("after_answer")
    result = _impersonal(house, delivery, read_reply(reply, delivery))
    outcome = outcome_of(result)
    house.observer.posted(contract.buyer.slug, outcome.value, result.reason, result.elapsed_ms)
    if not (delivery.test or delivery.resent):  # a re-send is answered of the first post
        house.vigil.posted(contract, result)
    return result


def _impersonal(house: House, delivery: Delivery, result: PostResult) -> PostResult:
    """Without the person in the buyer's own words: they are kept, and shown to others."""
    if not isinstance(result, Rejected) or result.note is None:
        return result
    market = house.catalogue.markets.get(delivery.contract.vertical)
    personal = market.checks.post_field_names if market else delivery.fields.keys()
    return replace(result, note=veiled(result.note, delivery.fields, personal))


def read_reply(reply: Reply, delivery: Delivery) -> PostResult:
    """A reply as a post's outcome. What failed before the first byte left was not sent."""
    if reply.failure is None and reply.status is not None:
        return standard_v1.read_answer(
            reply.status,
            reply.body,
            reply.elapsed_ms,
            price_micros=delivery.price_micros,
            resent=delivery.resent,
            conflict_means_accepted=delivery.contract.endpoint.conflict_means_accepted,
        )
    assert reply.failure is not None, "a reply has a status or a failure"
    reason = missed_reason(reply.failure)
    if not reply.written:
        return NotSent(reason=reason, elapsed_ms=reply.elapsed_ms)
    return Unconfirmed(reason=reason, status=reply.status, elapsed_ms=reply.elapsed_ms)


async def ask_status(house: House, contract: Contract, attempt: AttemptRow) -> PostResult | None:
    """What the buyer's status_url says of an attempt; None when it decides nothing yet."""
    url = contract.endpoint.status_url
    target = house.target(url) if url else None
    if target is None:
        return None
    asked = _with_id(target, write_id("att", attempt.id))
    reply = await one_call(
        house.transport,
        asked,
        render_request(asked, (), b"", method="GET", content_type=None),
        pool=f"{contract.slug}/status",
        deadline=house.now_s() + contract.endpoint.post_timeout_ms / 1000,
        idle_max_s=FRESH_S,
    )
    if reply.failure is not None or reply.status is None:
        return None
    match standard_v1.read_status(reply.status, reply.body):
        case "accepted":
            return Accepted(reason=BuyerReason.SAID_BY_STATUS)
        case "rejected":
            return Rejected(reason=BuyerReason.SAID_BY_STATUS)
        case "unknown" if (
            attempt.age_s >= UNKNOWN_MEANS_REJECTED_S and not contract.endpoint.idempotent
        ):
            return Rejected(reason=BuyerReason.SAID_BY_STATUS, note="unknown to the buyer")
        case _:
            return None


def _with_id(target: Target, webhook_id: str) -> Target:
    """The checked address with the question in its query: the place it leads to stays the same."""
    joint = "&" if "?" in target.path_and_query else "?"
    return replace(target, path_and_query=f"{target.path_and_query}{joint}webhook_id={webhook_id}")


def outcome_of(result: PostResult) -> AttemptState:
    match result:
        case Accepted():
            return AttemptState.ACCEPTED
        case Rejected():
            return AttemptState.REJECTED
        case NotSent():
            return AttemptState.NOT_SENT
        case Unconfirmed():
            return AttemptState.UNCONFIRMED


def can_be_asked(contract: Contract) -> bool:
    """Whether anything but a person can ever settle an unconfirmed attempt of this contract."""
    return contract.endpoint.idempotent or contract.endpoint.status_url is not None


def next_try_s(
    contract: Contract | None, tries: int, age_s: float, unconfirmed_hours: int
) -> float | None:
    """Seconds until an unconfirmed attempt is asked about again; None: it waits for a person."""
    if contract is None or not can_be_asked(contract) or age_s >= unconfirmed_hours * 3600:
        return None
    return pause_s(tries)


async def settle(
    house: House, attempt_id: UUID, fence: int, result: PostResult, next_s: float | None
) -> Settled:
    """Book a result, however long the database takes to come back."""
    house.failpoint("before_settle")
    settlement = Settlement(
        id=attempt_id,
        fence=fence,
        outcome=outcome_of(result),
        detail=detail_of(result),
        next_try_s=next_s,
    )
    settled: Settled = await house.insist(lambda: house.store.settle(settlement))
    house.failpoint("after_settle")
    return settled


async def book_first_hand(
    house: House, lead_id: UUID, attempt_id: UUID, result: Accepted | Rejected
) -> Settled:
    """Book a definite word that was heard by us although another worker took the attempt over: it
    was for not knowing what we know. The first definite word wins."""
    settled = Settled.FENCED
    for _ in range(_FENCE_TRIES):
        rows = await house.insist(lambda: house.store.attempts(lead_id))
        fence = next((one.fence for one in rows if one.id == attempt_id), 0)
        settled = await settle(house, attempt_id, fence, result, None)
        if settled is not Settled.FENCED:
            break
    return settled


def detail_of(result: PostResult) -> bytes:
    """What the buyer said, for the attempt's row; deliver() has taken the person out of its words."""
    kept = {
        name: getattr(result, name)
        for name in (
            "reason",
            "note",
            "status",
            "buyer_ref",
            "redirect_url",
            "price_said_micros",
            "elapsed_ms",
        )
        if getattr(result, name, None) is not None
    }
    if "elapsed_ms" in kept:
        kept["elapsed_ms"] = round(kept["elapsed_ms"], 1)
    return orjson.dumps(kept)


def _post(delivery: Delivery) -> Post:
    return Post(
        attempt_id=write_id("att", delivery.attempt_id, test=delivery.test),
        lead_id=delivery.lead_id,
        ping_id=delivery.ping_id,
        bid_id=delivery.bid_id,
        price_micros=delivery.price_micros,
        currency=delivery.contract.buyer.currency,
        exclusive=delivery.slot == 0,
        shares=delivery.shares,
        test=delivery.test,
        fields=dict(delivery.fields),
    )
