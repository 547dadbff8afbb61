"""What properties mean, in a sentence, where their name and type do not say it: by shape and name."""

from typing import Final

_ASKING: Final = {
    "vertical": "The vertical's slug.",
    "fields": "As this vertical's posting instructions say.",
    "max_wait_ms": "When the answer is wanted, in ms; limited by the operator.",
    "external_id": "The seller's own id; leads are found by it.",
    "floor": "No less is wanted; a price below is no price.",
    "sub_id": "The seller's own source; shown to buyers.",
    "exclude_buyers": "`buyer_ref` of earlier sales; unknown ones are ignored silently.",
    "test": "Judged as for real, but only buyers that accept tests are asked, and no money moves.",
    "min_price": "Never sold for less. Absent: the floor.",
    "ping_id": "Of the ping that is posted.",
}
ABOUT: Final[dict[str, dict[str, str]]] = {
    "PingRequest": _ASKING,
    "LeadRequest": _ASKING,
    "PostRequest": _ASKING
    | {
        "fields": "What the ping lacked; what it said may be repeated, and must be equal.",
        "test": "As the ping was.",
    },
    "Contract": {
        "active": "Absent: false when a buyer's key creates it, else true.",
        "tier": "Of the vertical's plan; a tier that the plan lacks is skipped as `no_tier`.",
        "priority": "Lower first.",
        "weight": "In a `weighted` tier: its chance among the others.",
        "percent": "In a `percentage` tier: its share of the period.",
        "adjustment": "Rank price = bid × this. Admins only.",
        "filters": "All must hold.",
        "schedule": "Null: always open.",
        "max_shares": "Of a shared lead: how many may get it, this one included.",
        "dedupe_days": "No person twice within so many days.",
        "returns": "What may be given back. Null: nothing. Admins only.",
    },
    "Endpoint": {
        "ping_url": "Where pings go; needed to bid.",
        "post_url": "Where leads go.",
        "status_url": "Where the outcome of a post is asked for.",
        "secret": "Signs every message (Standard Webhooks). Absent: one is made, and shown once.",
        "max_qps": "Pings a second, all workers together. Null: no limit.",
        "idempotent": "A re-sent post is not booked twice.",
        "accepts_test": "Takes messages with `test`.",
    },
    "Pricing": {
        "mode": "`bid`: it is pinged and bids. `fixed`: it takes leads at its price.",
        "min": "A bid below is invalid.",
        "max": "A bid above is invalid.",
        "price": "Of `fixed`.",
    },
    "Cap": {
        "kind": "What is counted.",
        "period": "By the contract's clock. Null for `concurrent` only.",
        "limit": "Leads; of `spend` money.",
        "pace": "`even`: spread over the day's open hours.",
    },
    "Schedule": {
        "hours": "Local wall time by weekday, ends excluded; a day not named is closed. Null: always.",
        "holidays": "Closed all day.",
    },
    "Sellers": {
        "allow": "Only these; empty: everybody.",
        "deny": "Never these.",
    },
    "Seller": {
        "verticals": "Where it may sell.",
        "rate_per_s": "Requests a second, all workers together.",
    },
    "Buyer": {
        "credit": "The opening deposit. Null: postpaid. Later writes leave it alone.",
        "low_balance_stop": "So much of the credit is never spent.",
        "timezone": "Of its own caps.",
        "caps": "Over all its contracts.",
    },
    "Tier": {
        "mode": "How its contracts are put in order.",
        "window_ms": "Of an auction: how long bids are waited for. Null: 500.",
        "period": "Of `percentage`: over which shares are kept.",
    },
    "Vertical": {
        "on_personal_data_in_ping": "What becomes of a post-stage field in a ping.",
        "dedupe_days": "Nobody in it is sold twice within so many days.",
    },
    "Field": {
        "stage": "`ping`: shown to everybody asked; `post`: to who wins. Top-level fields only.",
        "required_if": "Required when this holds; top-level fields only.",
        "min": "Of a number or date; of a text its length; of a list its count.",
        "max": "As `min`.",
        "pattern": "Of the whole text; Rust's regular expressions.",
        "fields": "Of an object.",
        "items": "Of an array; without a name.",
    },
    "FilterCondition": {
        "field": "A part of an object or list by path: `drivers.0.age`.",
        "value": "Of the field's type; a list for `in`, `not_in`, two for `between`.",
    },
    "NewKey": {"owner": "The seller's or buyer's slug; an admin's key has none."},
    "Outcome": {"contract": "Whose post, where several buyers share the lead."},
    "Approval": {
        "reverse_payout": "Take it back from the seller. Null: as the policy says.",
        "restore_cap": "Free the unit of the caps. Null: as the policy says.",
    },
}
