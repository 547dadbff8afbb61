"""How a sale ends: the answer is stored before it is given; what is stored can be taken up again."""

from collections.abc import Callable, Sequence
from typing import Any

import orjson

from buyers.money import format_micros
from exchange import receipt
from exchange.deadline import Deadline
from exchange.house import House
from exchange.ids import write_id
from exchange.lead import Attempt, Ending, Lead
from exchange.reasons import AuctionReason
from exchange.sellers import Seller
from exchange.store.pings import utc
from exchange.store.rows import AttemptRow, Closing, LeadRow, LeadState

BuyerRefs = Callable[[int], str | None]  # a buyer's opaque name by its id; None: there is no such


async def conclude(house: House, lead: Lead, ending: Ending) -> bytes | None:
    """Store how the sale ended and return the final answer; None while it is pending or gone."""
    if ending.gone:
        await house.insist(lambda: house.store.abandon_lead(lead.id, house.worker))
        return None
    if ending.pending:
        return None
    answer = final_answer(house, lead, ending)
    owed = answer.get("pending", 0) if lead.seller.callback_url else 0
    closing = Closing(
        lead_id=lead.id,
        owner=house.worker,
        state=LeadState.SOLD if ending.sold else LeadState.UNSOLD,
        reason=ending.reason,
        receipt=receipt.dump(receipt.lead_receipt(lead, ending)),
        answer=orjson.dumps(answer),
        owed=owed,
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
    if not ending.sold:
        return answer | {"outcome": "unsold", "reason": ending.reason, "elapsed_ms": elapsed_ms}
    sold = _sold_answer(ending, lead.market.vertical.currency, buyer_refs(house, lead.seller))
    if lead.test:
        sold.pop("pending", None)  # nobody will ever ask about a test
    return answer | sold | {"elapsed_ms": elapsed_ms}


def buyer_refs(house: House, seller: Seller) -> BuyerRefs:
    """What this seller knows buyers by."""

    def ref(id_: int) -> str | None:
        buyer = house.catalogue.buyers.get(id_)
        return house.vault.opaque("buyer", seller.slug, buyer.slug) if buyer else None

    return ref


def _sold_answer(ending: Ending, currency: str, ref: BuyerRefs) -> dict[str, Any]:
    """What was sold so far: the sum of the payouts, one line for each buyer, and how many posts of a
    shared lead nobody knows the outcome of."""
    urls = [one.detail["redirect_url"] for one in ending.sold if one.detail.get("redirect_url")]
    sold: dict[str, Any] = {
        "outcome": "sold",
        "price": format_micros(sum(one.payout_micros for one in ending.sold), currency),
        "currency": currency,
        "redirect_url": urls[0] if urls else None,
        "sales": [
            {
                "sale_id": f"sale_{one.id.hex}",
                "price": format_micros(one.payout_micros, currency),
                "buyer_ref": ref(one.buyer),
            }
            for one in ending.sold
        ],
    }
    return sold | {"pending": ending.waiting} if ending.waiting else sold


def answer_now(row: LeadRow, attempts: Sequence[AttemptRow], ref: BuyerRefs) -> dict[str, Any]:
    """What is to be said of a stored lead: its final answer, that of a shared lead with posts that
    nobody had answered as it stands now; else that it is pending."""
    said: dict[str, Any] = {
        "lead_id": write_id("lead", row.id, test=row.test),
        "ping_id": write_id("ping", row.ping_id, test=row.test),
        "outcome": "pending",
    }
    if row.answer is not None:
        said = orjson.loads(row.answer)
        if "pending" in said and not row.test:
            del said["pending"]
            ending = Ending(attempts=tuple(map(known_attempt, attempts)), skipped=())
            said |= _sold_answer(ending, said["currency"], ref)
    elif row.state is LeadState.GONE:
        said |= {"outcome": "unsold", "reason": "seller_gone"}
    return said | {
        "vertical": row.vertical,
        "external_id": row.external_id,
        "created_at": utc(row.created_at),
    }


def _record(house: House, lead: Lead, ending: Ending) -> dict[str, Any]:
    """One wide record for metrics and the log; nothing of the person."""
    sold = ending.sold
    first = sold[0] if sold else None
    buyer = house.catalogue.buyers.get(first.buyer) if first else None
    return {
        "lead_id": write_id("lead", lead.id, test=lead.test),
        "ping_id": write_id("ping", lead.ping_id, test=lead.test),
        "vertical": lead.market.vertical.slug,
        "currency": lead.market.vertical.currency,
        "seller": lead.seller.slug,
        "test": lead.test,
        "outcome": "sold" if sold else "unsold",
        "reason": ending.reason,
        "contract": first.contract if first else None,
        "buyer": buyer.slug if buyer else None,
        "tier": first.tier if first else None,
        "sales": len(sold),
        "price_micros": sum(one.price_micros for one in sold) if sold else None,
        "payout_micros": sum(one.payout_micros for one in sold) if sold else None,
        "attempts": len(ending.attempts),
        "posts": [_post(one) for one in ending.attempts],
        "skipped": len(ending.skipped),
        "elapsed_ms": round((house.now_s() - lead.began_s) * 1000, 1),
    }


def _post(attempt: Attempt) -> dict[str, Any]:
    detail = attempt.detail
    return {
        "attempt_id": write_id("att", attempt.id),
        "contract": attempt.contract,
        "state": attempt.state,
        "reason": detail.get("reason"),
        "award_ms": detail.get("award_ms"),  # None: an earlier owner's
        "post_ms": detail.get("elapsed_ms"),
    }


def known_attempt(row: AttemptRow) -> Attempt:
    return Attempt(
        id=row.id,
        contract=row.contract,
        buyer=row.buyer_id,
        tier=row.tier,
        state=row.state,
        price_micros=row.price_micros,
        payout_micros=row.payout_micros,
        shares=row.shares,
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
        pinged_s=now_s
        - (house.store.now() - row.created_at).total_seconds()
        - request["ping_age_s"],
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
            "ping_age_s": round(lead.began_s - lead.pinged_s, 3),
            "auction_reason": lead.auction_reason,
        }
    )
