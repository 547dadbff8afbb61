"""Bodies and answers as they look; tests hold each against its schema."""

from typing import Any, Final

PING: Final = "ping_019a2b3c4d5e7f608192a3b4c5d6e7f8"
LEAD: Final = "lead_019a2b3c4d5f70618293a4b5c6d7e8f9"
SALE: Final = "sale_019a2b3c4d6071628394a5b6c7d8e9fa"
RETURN: Final = "ret_019a2b3c4d61726384a5b6c7d8e9fa0b"
ATTEMPT: Final = "att_019a2b3c4d6071628394a5b6c7d8e9fa"
AT: Final = "2026-11-21T22:33:02.994Z"

_PING_FIELDS: Final = {"zip": "78704", "state": "TX", "job": "leak"}
_PERSON: Final = {"first_name": "Ann", "phone": "+15125550123"}
PING_BODY: Final = {"vertical": "roofing", "fields": _PING_FIELDS, "max_wait_ms": 800}
TWO_STEPS: Final = {"ping_id": PING, "fields": _PERSON}
ONE_STEP: Final = {"vertical": "roofing", "fields": _PING_FIELDS | _PERSON, "min_price": "5.00"}

QUOTE: Final = {
    "ping_id": PING, "outcome": "bid", "price": "10.00", "currency": "USD", "exclusive": True, "shares": 1,
    "elapsed_ms": 67, "expires_at": AT,
}  # fmt: skip
NO_BID: Final = {
    "ping_id": PING, "outcome": "no_bid", "reason": "no_bids", "waterfall": True, "elapsed_ms": 412,
    "expires_at": AT,
}  # fmt: skip
SOLD: Final = {
    "lead_id": LEAD, "ping_id": PING, "outcome": "sold", "price": "10.00", "currency": "USD", "redirect_url": None,
    "sales": [{"sale_id": SALE, "price": "10.00", "buyer_ref": "yfe3443tvlaylabq"}], "elapsed_ms": 27,
}  # fmt: skip
UNSOLD: Final = {
    "lead_id": LEAD, "ping_id": PING, "outcome": "unsold", "reason": "rejected_by_all", "elapsed_ms": 840,
}  # fmt: skip
PENDING: Final = {"lead_id": LEAD, "ping_id": PING, "outcome": "pending"}
_EVENTS: Final = [
    {"at_ms": 0, "event": "received"}, {"at_ms": 3, "event": "posted", "attempt": 1},
    {"at_ms": 25, "event": "accepted", "attempt": 1}, {"at_ms": 26, "event": "sold"},
]  # fmt: skip
SOLD_SEEN: Final = SOLD | {
    "vertical": "roofing", "external_id": None, "created_at": AT, "timeline": _EVENTS,
}  # fmt: skip
QUOTE_SEEN: Final = QUOTE | {
    "timeline": [
        {"at_ms": 0, "event": "received"}, {"at_ms": 0, "event": "asked", "buyers": 2},
        {"at_ms": 61.4, "event": "closed", "answered": 2, "bids": 2},
    ],
}  # fmt: skip

VERTICAL: Final = {
    "slug": "roofing", "name": "Roofing", "margin": {"percent": "20", "fixed": "0"},
    "fields": [
        {"name": "zip", "type": "zip", "stage": "ping", "required": True},
        {"name": "state", "type": "state", "stage": "ping", "required": True},
        {"name": "job", "type": "enum", "stage": "ping", "values": ["leak", "replace", "inspect"]},
        {"name": "first_name", "type": "string", "stage": "post", "required": True, "max": 60},
        {"name": "phone", "type": "phone", "stage": "post", "required": True},
    ],
}  # fmt: skip
PLAN: Final = {
    "vertical": "roofing",
    "tiers": [
        {"name": "auction", "mode": "auction", "window_ms": 500},
        {"name": "premium", "mode": "priority"},
        {"name": "remnant", "mode": "round_robin"},
    ],
}
SELLER: Final = {"slug": "roofquotes", "name": "Roof Quotes", "verticals": ["roofing"]}
BUYER: Final = {"slug": "acme", "name": "Acme Roofing", "credit": "1000.00"}
CONTRACT: Final = {
    "slug": "acme-tx", "buyer": "acme", "vertical": "roofing", "pricing": {"mode": "bid", "max": "40.00"},
    "endpoint": {"ping_url": "https://leads.acme.example/ping", "post_url": "https://leads.acme.example/post"},
    "filters": [{"field": "state", "op": "in", "value": ["TX", "OK"]}],
    "caps": [{"kind": "sales", "period": "day", "limit": 50}],
    "schedule": {"timezone": "America/Chicago", "hours": {"mon": ["08:00-18:00"], "tue": ["08:00-18:00"]}},
}  # fmt: skip
DOCUMENTS: Final[dict[str, dict[str, Any]]] = {
    "vertical": VERTICAL, "plan": PLAN, "seller": SELLER, "buyer": BUYER, "contract": CONTRACT,
}  # fmt: skip
PATCHES: Final[dict[str, dict[str, Any]]] = {
    "vertical": {"name": "Roofs"}, "plan": {"tiers": PLAN["tiers"]}, "seller": {"rate_per_s": 50},
    "buyer": {"active": False}, "contract": {"caps": [{"kind": "sales", "period": "day", "limit": 80}]},
}  # fmt: skip
