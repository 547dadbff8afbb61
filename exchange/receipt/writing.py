"""How a ping and a lead are stored. There is one of it for every ping: it has to be small, and quick to make."""

from collections.abc import Iterable, Iterator, Mapping
from operator import attrgetter
from typing import Any, Final

import orjson

from buyers.contract import Contract
from buyers.messages import Bid, Invalid, Missed, NoBid, PingResult
from exchange.auction import Offer, Rules
from exchange.eligibility import Skipped
from exchange.ids import write_id
from exchange.lead import Attempt, Auction, Ending, Lead
from exchange.reasons import AuctionReason
from exchange.sellers import PPM

VERSION: Final = 2  # of a ping's receipt; `read` knows the one before too
_LEAD_VERSION: Final = 1
# Of a stored offer: what most offers have is not written.
USUAL: Final[Mapping[str, Any]] = {
    "fixed": False,
    "adjustment": PPM,
    "priority": 10,
    "min": 0,
    "bid_id": None,
    "expires_in_s": None,
    "shared": False,
    "max_shares": 1,
}
_USUAL: Final = tuple(USUAL.values())
_TERMS: Final = attrgetter(
    "is_fixed", "adjustment_ppm", "priority", "min_micros", "bid_id", "expires_in_s", "is_shared",
    "max_shares",
)  # fmt: skip
# Plain strings: an enum's member is asked for its value each time it is written.
_OUTBID: Final = AuctionReason.OUTBID.value
_BELOW_FLOOR: Final = AuctionReason.BELOW_FLOOR.value

# contract, version, buyer, ms, result, reason, what else was said
_Asked = tuple[str, int, str, float | None, str, str | None, Any]


def ping_receipt(auction: Auction, answer: Mapping[str, Any]) -> dict[str, Any]:
    """What is stored of a ping: enough to explain it, to post on it, and to replay it.

    `asked` has a row for everybody asked, in that order: contract, version, buyer, ms, result, reason,
    and what else was said: a bid's price (an object where the offer has more than is usual), a no-bid's
    note, the status of what was missed. `offers` has the fixed prices, since a bid is told where its
    contract was asked; `ranking` has (contract, pay, net). What is None, empty or false may be missing.
    SQL and erasure find `fields`, `sub_id` and `external_id` by these names in every version.
    """
    asking = auction.asking
    ranking = auction.ranking
    ranked = [
        (placed.offer.contract, placed.pay_micros, placed.net_micros) for placed in ranking.placed
    ]
    lost = dict.fromkeys([row[0] for row in ranked[ranking.winning :]], _OUTBID)
    for offer in ranking.below_floor:
        lost[offer.contract] = _BELOW_FLOOR
    offers = iter(auction.offers)
    record = {
        "v": VERSION,
        "ping_id": auction.rules.ping_id,
        "seller": asking.seller.slug,
        "vertical": asking.market.vertical.slug,
        "currency": asking.market.vertical.currency,
        "catalogue": auction.catalogue_version,
        "test": asking.test,
        "fields": orjson.Fragment(auction.shown),
        "floor": asking.floor_micros,
        "rules": _rules(auction.rules),
        "window_ms": round(auction.window_ms),
        "elapsed_ms": round(auction.elapsed_ms, 1),
        "asked": _asked(auction.results, offers, lost),
        "offers": [_fixed(offer, lost) for offer in offers],  # the bids were taken out by who was asked
        "ranking": ranked,
        "winning": ranking.winning,
        "skipped": auction.screening.skipped.stored,
        "unsuited": auction.screening.unsuited,
        "waterfall": auction.waterfall,
        "answer": answer,
    }  # fmt: skip
    if asking.whole:
        record["one_step"] = True
    if asking.sub_id is not None:
        record["sub_id"] = asking.sub_id
    if asking.external_id is not None:
        record["external_id"] = asking.external_id
    if asking.excluded:
        record["excluded"] = sorted(asking.excluded)
    return record


def lead_receipt(lead: Lead, ending: Ending) -> dict[str, Any]:
    """What is stored of a lead besides its ping's receipt."""
    return {
        "v": _LEAD_VERSION,
        "lead_id": write_id("lead", lead.id, test=lead.test),
        "ping_id": write_id("ping", lead.ping_id, test=lead.test),
        "min_price": lead.min_price_micros,
        "offers": [write_offer(offer) for offer in lead.offers],
        "rules": _rules(lead.rules),
        "attempts": [_attempt(attempt) for attempt in ending.attempts],
        "skipped": [told_skipped(one) for one in ending.skipped],
        "reason": ending.reason,
    }


def dump(receipt: Mapping[str, Any]) -> bytes:
    return orjson.dumps(receipt)


def write_offer(offer: Offer) -> dict[str, Any]:
    """An offer as it is stored; `whole_offers` adds what goes without saying."""
    return {
        "contract": offer.contract,
        "buyer": offer.buyer,
        "price": offer.price_micros,
        **_unusual(offer),
    }


def told_skipped(one: Skipped) -> dict[str, Any]:
    return {"contract": one.contract, "reason": one.reason, "detail": one.detail}


def _unusual(offer: Offer) -> dict[str, Any]:
    told = zip(USUAL, _TERMS(offer), _USUAL, strict=True)
    return {name: term for name, term, usual in told if term != usual}


def _rules(rules: Rules) -> dict[str, Any]:
    return {
        "margin_ppm": rules.margin.percent_ppm,
        "margin_fixed": rules.margin.fixed_micros,
        "floor": rules.floor_micros,
        "second_price": rules.second_price,
    }


def _asked(
    results: Iterable[tuple[Contract, PingResult]], bids: Iterator[Offer], lost: Mapping[str, str]
) -> list[_Asked]:
    """Everybody asked; a bid takes its offer out of `bids`, which has them in that order."""
    rows: list[_Asked] = []
    for contract, result in results:
        slug, ms = contract.slug, result.elapsed_ms
        if ms is not None:
            ms = int(ms * 10.0 + 0.5) / 10  # round(ms, 1) takes far longer
        word, reason = "bid", lost.get(slug)
        said: Any
        if isinstance(result, Bid):
            said, offer = result.price_micros, next(bids)
            if _TERMS(offer) != _USUAL:
                said = {"price": said, **_unusual(offer)}
        else:
            word, reason, said = _no_bid(result)
        rows.append((slug, contract.version, contract.buyer.slug, ms, word, reason, said))
    return rows


def _no_bid(result: NoBid | Invalid | Missed) -> tuple[str, str, dict[str, Any] | None]:
    match result:
        case NoBid(note=note):
            return "no_bid", "declined", None if note is None else {"note": note}
        case Invalid(reason=reason):
            return "invalid", reason, None
        case Missed(reason=reason, status=status):
            return "missed", reason, None if status is None else {"status": status}


def _fixed(offer: Offer, lost: Mapping[str, str]) -> dict[str, Any]:
    """A fixed price, which nobody was asked for, with why it lost."""
    return {**write_offer(offer), "reason": lost.get(offer.contract)}


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
