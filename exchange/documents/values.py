"""Frozen values out of canonical documents: what the trade works with."""

from collections.abc import Mapping
from typing import Any

from buyers.contract import Buyer, Cap, CapKind, Contract, Endpoint, Pricing, PricingMode
from buyers.money import MICROS, parse_micros
from buyers.signing import read_secret
from exchange.conditions import Near, filter_value, no_places
from exchange.plan import Plan, Tier, TierMode
from exchange.returns import ReturnPolicy, ReturnReason
from exchange.schedules import schedule_value
from exchange.sellers import PPM, Seller
from exchange.verticals import Vertical, read_margin


def plan_value(document: Mapping[str, Any]) -> Plan:
    tiers = tuple(
        Tier(
            name=tier["name"],
            mode=TierMode(tier["mode"]),
            window_ms=tier["window_ms"] or 500,
            period=tier["period"],
        )
        for tier in document["tiers"]
    )
    return Plan(vertical=document["vertical"], tiers=tiers)


def seller_value(id_: int, document: Mapping[str, Any], *, active: bool) -> Seller:
    margin = document["margin"]
    return Seller(
        id=id_,
        slug=document["slug"],
        name=document["name"],
        verticals=frozenset(document["verticals"]),
        margin=None if margin is None else read_margin(margin),
        rate_per_s=document["rate_per_s"],
        active=active and document["active"],
        callback_url=document.get("callback_url"),
    )


def buyer_value(id_: int, document: Mapping[str, Any], *, active: bool) -> Buyer:
    return Buyer(
        id=id_,
        slug=document["slug"],
        name=document["name"],
        currency=document["currency"],
        timezone=document["timezone"],
        active=active and document["active"],
        caps=caps_value(document["caps"]),
    )


def contract_value(
    id_: int,
    document: Mapping[str, Any],
    buyer: Buyer,
    vertical: Vertical,
    secret: str,
    *,
    active: bool,
    retired: bool = False,
    version: int = 0,
    near: Near = no_places,
) -> Contract:
    percent = document["percent"]
    return Contract(
        id=id_,
        slug=document["slug"],
        buyer=buyer,
        vertical=document["vertical"],
        active=active and document["active"],
        tier=document["tier"],
        priority=document["priority"],
        weight=document["weight"],
        percent_ppm=None if percent is None else parse_micros(percent) // 100,
        adjustment_ppm=parse_micros(document["adjustment"]) * PPM // MICROS,
        endpoint=_endpoint(document["endpoint"]),
        secret=read_secret(secret),
        pricing=_pricing(document["pricing"]),
        filters=tuple(filter_value(one, vertical, near) for one in document["filters"]),
        caps=caps_value(document["caps"]),
        schedule=schedule_value(document["schedule"]),
        sellers_allow=frozenset(document["sellers"]["allow"]),
        sellers_deny=frozenset(document["sellers"]["deny"]),
        is_shared=document["exclusivity"] == "shared",
        max_shares=document["max_shares"],
        version=version,
        retired=retired,
    )


def returns_value(document: Mapping[str, Any]) -> ReturnPolicy | None:
    """A contract's policy on returns; None: it has none. Documents of earlier versions lack it."""
    found = document.get("returns")
    if found is None:
        return None
    return ReturnPolicy(
        window_days=found["window_days"],
        percent_ppm=parse_micros(found["percent"]) // 100,
        reasons=frozenset(map(ReturnReason, found["reasons"] or ReturnReason)),
        automatic=found["approval"] == "automatic",
        reverse_payout=found["reverse_payout"],
        restore_cap=found["restore_cap"],
    )


def caps_value(documents: list[dict[str, Any]]) -> tuple[Cap, ...]:
    return tuple(
        Cap(
            kind=CapKind(cap["kind"]),
            period=cap["period"] or "total",
            limit=parse_micros(cap["limit"]) if cap["kind"] == "spend" else cap["limit"],
            paced=cap.get("pace") is not None,
        )
        for cap in documents
    )


def _endpoint(document: Mapping[str, Any]) -> Endpoint:
    kept = ("dialect", "ping_url", "post_url", "status_url", "ping_timeout_ms",
            "post_timeout_ms", "max_qps", "idempotent", "accepts_test")  # fmt: skip
    return Endpoint(**{name: document[name] for name in kept})


def _pricing(document: Mapping[str, Any]) -> Pricing:
    return Pricing(
        mode=PricingMode(document["mode"]),
        min_micros=parse_micros(document["min"] or 0),
        max_micros=None if document["max"] is None else parse_micros(document["max"]),
        price_micros=parse_micros(document["price"] or 0),
    )
