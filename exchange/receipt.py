"""The frozen account of a ping or a lead: who was asked, what each said, who won, why not the rest."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from buyers.contract import Contract
from buyers.messages import Bid, Invalid, Missed, NoBid, PingResult
from exchange.auction import Offer, Rules
from exchange.catalogue import Market
from exchange.eligibility import Asker, Skipped, why_unsuited
from exchange.ids import write_id
from exchange.lead import Attempt, Auction, Ending, Lead
from exchange.reasons import AuctionReason
from exchange.sellers import PPM
from exchange.verticals import Margin

VERSION = 1
# Of a stored offer: what most offers have is not written, it would be a quarter of the receipt.
_USUAL: Final = {
    "fixed": False,
    "adjustment": PPM,
    "priority": 10,
    "min": 0,
    "bid_id": None,
    "expires_in_s": None,
    "shared": False,
    "max_shares": 1,
}


def ping_receipt(auction: Auction, answer: Mapping[str, Any]) -> dict[str, Any]:
    """What is stored of a ping: enough to explain it, to post on it, and to replay it."""
    asking = auction.asking
    lost = auction.ranking.reasons()
    ranked = {placed.offer.contract: placed for placed in auction.ranking.placed}
    return {
        "v": VERSION,
        "ping_id": auction.rules.ping_id,
        "seller": asking.seller.slug,
        "vertical": asking.market.vertical.slug,
        "currency": asking.market.vertical.currency,
        "catalogue": auction.catalogue_version,
        "test": asking.test,
        "one_step": asking.whole,
        "fields": asking.ping_fields,
        "floor": asking.floor_micros,
        "sub_id": asking.sub_id,
        "external_id": asking.external_id,
        "excluded": sorted(asking.excluded),
        "rules": _rules(auction.rules),
        "window_ms": round(auction.window_ms),
        "elapsed_ms": round(auction.elapsed_ms, 1),
        "asked": [_asked(contract, result, lost) for contract, result in auction.results],
        "offers": _ranked(auction.offers, lost),
        "ranking": [
            {"contract": slug, "pay": placed.pay_micros, "net": placed.net_micros}
            for slug, placed in ranked.items()
        ],
        "winning": auction.ranking.winning,
        "skipped": [one.stored for one in auction.screening.skipped],
        "unsuited": auction.screening.unsuited,
        "waterfall": auction.waterfall,
        "answer": dict(answer),
    }


def lead_receipt(lead: Lead, ending: Ending) -> dict[str, Any]:
    """What is stored of a lead besides its ping's receipt."""
    return {
        "v": VERSION,
        "lead_id": write_id("lead", lead.id, test=lead.test),
        "ping_id": write_id("ping", lead.ping_id, test=lead.test),
        "min_price": lead.min_price_micros,
        "offers": [write_offer(offer) for offer in lead.offers],
        "rules": _rules(lead.rules),
        "attempts": [_attempt(attempt) for attempt in ending.attempts],
        "skipped": [one.stored for one in ending.skipped],
        "reason": ending.reason,
    }


def read_offers(receipt: Mapping[str, Any]) -> tuple[Offer, ...]:
    """The recorded offers, as they were made."""
    return tuple(
        Offer(
            contract=one["contract"],
            buyer=one.get("buyer") or one["contract"],
            price_micros=one["price"],
            is_fixed=one["fixed"],
            adjustment_ppm=one["adjustment"],
            priority=one["priority"],
            min_micros=one["min"],
            bid_id=one["bid_id"],
            expires_in_s=one["expires_in_s"],
            is_shared=one["shared"],
            max_shares=one["max_shares"],
        )
        for one in whole_offers(receipt)
    )


def whole_offers(receipt: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The recorded offers with what goes without saying."""
    return [{**_USUAL, **one} for one in receipt["offers"]]


def whole(receipt: Mapping[str, Any]) -> dict[str, Any]:
    """A receipt as it is shown: nothing goes without saying."""
    return {**receipt, "offers": whole_offers(receipt)}


def read_rules(receipt: Mapping[str, Any], floor_micros: int | None = None) -> Rules:
    """The recorded rules; with a floor, those of a post that names its own."""
    rules = receipt["rules"]
    return Rules(
        ping_id=receipt["ping_id"],
        margin=Margin(percent_ppm=rules["margin_ppm"], fixed_micros=rules["margin_fixed"]),
        floor_micros=rules["floor"] if floor_micros is None else floor_micros,
        second_price=rules["second_price"],
    )


def with_unsuited(receipt: Mapping[str, Any], market: Market) -> dict[str, Any]:
    """The account with those named that version and fields ruled out. `market`: as it was then."""
    named = {
        one["contract"] for one in (*receipt["asked"], *receipt["offers"], *receipt["skipped"])
    }
    asker = Asker(
        seller=receipt["seller"], excluded=frozenset(receipt["excluded"]), test=receipt["test"]
    )
    found = why_unsuited(
        [entry for entry in market.contracts if entry[0].slug not in named],
        receipt["fields"],
        asker,
        market.plan,
        known=market.checks.ping_field_names.__contains__,
    )
    return {**receipt, "skipped": [*receipt["skipped"], *map(_skipped, found)]}


def auction_reason(receipt: Mapping[str, Any]) -> AuctionReason | None:
    said = receipt["answer"].get("reason")
    return AuctionReason(said) if said else None


def timeline(receipt: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A ping as its seller may see it: counts and times, no buyers, no losing bids."""
    asked = receipt["asked"]
    return [
        {"at_ms": 0, "event": "received"},
        {"at_ms": 0, "event": "asked", "buyers": len(asked)},
        {
            "at_ms": receipt["elapsed_ms"],
            "event": "closed",
            "answered": sum(one["result"] != "missed" for one in asked),
            "bids": sum(one["result"] == "bid" for one in asked),
        },
    ]


def dump(receipt: Mapping[str, Any]) -> bytes:
    return orjson.dumps(receipt)


def _rules(rules: Rules) -> dict[str, Any]:
    return {
        "margin_ppm": rules.margin.percent_ppm,
        "margin_fixed": rules.margin.fixed_micros,
        "floor": rules.floor_micros,
        "second_price": rules.second_price,
    }


def write_offer(offer: Offer) -> dict[str, Any]:
    """An offer as it is stored; `whole_offers` adds what goes without saying."""
    row: dict[str, Any] = {
        "contract": offer.contract,
        "buyer": offer.buyer,
        "price": offer.price_micros,
    }
    if offer.is_fixed:
        row["fixed"] = True
    if offer.adjustment_ppm != PPM:
        row["adjustment"] = offer.adjustment_ppm
    if offer.priority != _USUAL["priority"]:
        row["priority"] = offer.priority
    if offer.min_micros:
        row["min"] = offer.min_micros
    if offer.bid_id is not None:
        row["bid_id"] = offer.bid_id
    if offer.expires_in_s is not None:
        row["expires_in_s"] = offer.expires_in_s
    if offer.is_shared:
        row["shared"] = True
    if offer.max_shares != 1:
        row["max_shares"] = offer.max_shares
    return row


def _ranked(offers: Sequence[Offer], lost: Mapping[str, AuctionReason]) -> list[dict[str, Any]]:
    """Offers; a fixed one with why it lost, a bid's reason stands where its contract was asked."""
    rows = list(map(write_offer, offers))
    for row in rows:
        if "fixed" in row:
            row["reason"] = lost.get(row["contract"])
    return rows


def _asked(
    contract: Contract, result: PingResult, lost: Mapping[str, AuctionReason]
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "contract": contract.slug,
        "version": contract.version,
        "buyer": contract.buyer.slug,
        "ms": None if result.elapsed_ms is None else round(result.elapsed_ms, 1),
    }
    match result:
        case Bid():
            row["result"], row["price"] = "bid", result.price_micros
            row["reason"] = lost.get(contract.slug)
        case NoBid():
            row["result"], row["reason"], row["note"] = "no_bid", "declined", result.note
        case Invalid():
            row["result"], row["reason"] = "invalid", result.reason
        case Missed():
            row["result"], row["reason"], row["status"] = "missed", result.reason, result.status
    return row


def _skipped(one: Skipped) -> dict[str, Any]:
    return {"contract": one.contract, "reason": one.reason, "detail": one.detail}


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "attempt_id": write_id("att", attempt.id),
        "contract": attempt.contract,
        "version": attempt.version,
        "tier": attempt.tier,
        "state": attempt.state,
        "price": attempt.price_micros,
        "payout": attempt.payout_micros,
        **attempt.detail,
    }
