"""What everybody sees of a stored receipt: one shape, whichever way it was stored."""

from collections.abc import Iterable, Mapping
from operator import itemgetter
from typing import Any, Final

import orjson

from exchange.auction import Offer, Rules
from exchange.catalogue import Market
from exchange.eligibility import Asker, why_unsuited
from exchange.reasons import AuctionReason
from exchange.receipt.writing import USUAL, VERSION, told_skipped
from exchange.verticals import Margin

_STORED: Final = {
    "asked",
    "offers",
    "ranking",
    "skipped",
}  # what is told otherwise than it is stored
_SHOWN: Final = 1  # the version whose shape everybody sees
_ELSE: Final = {"no_bid": "note", "missed": "status"}  # what else is said, by result

Record = Mapping[str, Any]


def read(raw: bytes) -> dict[str, Any]:
    """A stored receipt of a ping or a lead. What goes without saying of an offer is added by `whole`.

    Of a ping: `asked` in the order asked; `offers` with the bids in that order, then the fixed prices;
    `ranking` with the winners first; `skipped` by contract. Whatever is no receipt of ours is handed
    back as it is.
    """
    record: dict[str, Any] = orjson.loads(raw)
    ours = record.get("v") == VERSION and record.keys() >= _STORED
    return _shown(record) if ours else record


def _shown(stored: dict[str, Any]) -> dict[str, Any]:
    """The shape of everybody's, of what `ping_receipt` stores."""
    asked, bids = [], []
    for contract, version, buyer, ms, result, reason, said in stored["asked"]:
        one = {"contract": contract, "version": version, "buyer": buyer, "ms": ms, "result": result}
        if result == "bid":
            offer = {"price": said} if isinstance(said, int) else said
            bids.append({"contract": contract, "buyer": buyer, **offer})
            one["price"] = offer["price"]
        one["reason"] = reason
        if result in _ELSE:
            one[_ELSE[result]] = (said or {}).get(_ELSE[result])
        asked.append(one)
    return {
        "one_step": False,
        "sub_id": None,
        "external_id": None,
        "excluded": [],
        **stored,
        "v": _SHOWN,
        "asked": asked,
        "offers": bids + stored["offers"],
        "ranking": [{"contract": row[0], "pay": row[1], "net": row[2]} for row in stored["ranking"]],
        "skipped": _skipped(stored["skipped"]),
    }  # fmt: skip


def _skipped(parts: Iterable[Record]) -> list[dict[str, Any]]:
    """Everybody in what `Skips.stored` has, by contract."""
    found = []
    for part in parts:
        for reason, contracts in part.items():
            for one in contracts:
                slug, detail = (one, None) if isinstance(one, str) else one
                found.append({"contract": slug, "reason": reason, "detail": detail})
    return sorted(found, key=itemgetter("contract"))


def read_offers(receipt: Record) -> tuple[Offer, ...]:
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


def whole_offers(receipt: Record) -> list[dict[str, Any]]:
    """The recorded offers with what goes without saying."""
    return [{**USUAL, **one} for one in receipt["offers"]]


def whole(receipt: Record) -> dict[str, Any]:
    """A receipt as it is shown: nothing goes without saying."""
    return {**receipt, "offers": whole_offers(receipt)}


def read_rules(receipt: Record, floor_micros: int | None = None) -> Rules:
    """The recorded rules; with a floor, those of a post that names its own."""
    rules = receipt["rules"]
    return Rules(
        ping_id=receipt["ping_id"],
        margin=Margin(percent_ppm=rules["margin_ppm"], fixed_micros=rules["margin_fixed"]),
        floor_micros=rules["floor"] if floor_micros is None else floor_micros,
        second_price=rules["second_price"],
    )


def with_unsuited(receipt: Record, market: Market) -> dict[str, Any]:
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
    return {**receipt, "skipped": [*receipt["skipped"], *map(told_skipped, found)]}


def auction_reason(receipt: Record) -> AuctionReason | None:
    said = receipt["answer"].get("reason")
    return AuctionReason(said) if said else None


def timeline(receipt: Record) -> list[dict[str, Any]]:
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
