"""The listener of sellers and buyers."""

from exchange.http.openapi import answers, examples
from exchange.http.openapi.common import after_sales, contract_affairs, documents, service
from exchange.http.openapi.operation import (
    AS_SELLER,
    CHECKED,
    IDEMPOTENCY,
    MISSING,
    Operation,
    Options,
    Parameter,
    Told,
    an_id,
    in_path,
)
from exchange.http.requests import LeadEnvelope, PingEnvelope, PostEnvelope

TITLE = "Ping-post exchange: sellers and buyers"
TEXT = """Sellers **ping** without the person, are quoted a price, and **post** the lead; or do both in one step.
Buyers keep their own contracts, and see what they bought.

Send `Authorization: Bearer KEY`. Bodies are one JSON object; unknown properties are refused, all problems are told at
once, and no value is ever repeated in a message. Money is written as a decimal string (or a number) and answered as a
string. Times are RFC 3339, UTC."""
_ONCE = ((409, "in_progress"), (422, "idempotency_mismatch"))
_DOOR = (*AS_SELLER, (403, "vertical_not_allowed"), (429, "rate_limited"), *CHECKED, (503, "overloaded"))  # fmt: skip


def operations() -> list[Operation]:
    """In the order in which they are read."""
    return [
        *pinging(),
        *leads(),
        *instructions(),
        *documents("contract", "buyer"),
        *contract_affairs("buyer"),
        *after_sales("buyer"),
        *service(),
    ]


def pinging() -> list[Operation]:
    common: Options = {"tag": "Pings", "roles": ("seller",)}
    return [
        Operation(
            id="ping", method="POST", path="/v1/pings", summary="What is it worth?",
            text="Asks every eligible buyer at once, within `max_wait_ms`. Ping-stage fields only: a person's "
            "data is refused. The price is an offer until `expires_at`, not a hold.",
            parameters=(IDEMPOTENCY,), body=PingEnvelope, examples=(("A ping", examples.PING_BODY),),
            answers=((200, Told(text="A price, or none and why.", model=answers.Quote | answers.NoBid, example=examples.QUOTE)),),
            refused=(*_DOOR, *_ONCE, (422, "personal_data_in_ping")), **common,
        ),
        Operation(
            id="read_ping", method="GET", path="/v1/pings/{id}", summary="A ping of one's own, with its timeline",
            parameters=(an_id("ping", examples.PING),), refused=(*AS_SELLER, *MISSING),
            answers=((200, Told(text="The quote.", model=answers.QuoteSeen | answers.NoBidSeen, example=examples.QUOTE_SEEN)),), **common,
        ),
    ]  # fmt: skip


def leads() -> list[Operation]:
    common: Options = {"tag": "Leads", "roles": ("seller",)}
    final = answers.Sold | answers.Unsold
    return [
        Operation(
            id="post_lead", method="POST", path="/v1/leads", summary="Sell it",
            text="Two steps: the `ping_id` and what the ping lacked. One step: the vertical and all fields. "
            "A ping that was posted before is answered as the first time, whatever is sent.",
            parameters=(IDEMPOTENCY,), body=PostEnvelope | LeadEnvelope,
            examples=(("Two steps", examples.TWO_STEPS), ("One step", examples.ONE_STEP)),
            answers=(
                (200, Told(text="Final.", model=final, example=examples.SOLD)),
                (202, Told(text="A buyer may have it.", model=answers.Pending, example=examples.PENDING, headers=("Retry-After",))),
            ),
            refused=(*_DOOR, *MISSING, *_ONCE, (410, "ping_expired"), (422, "ping_mismatch")), **common,
        ),
        Operation(
            id="read_lead", method="GET", path="/v1/leads/{id}", summary="What became of it, with its timeline",
            parameters=(an_id("lead", examples.LEAD),), refused=(*AS_SELLER, *MISSING),
            answers=((200, Told(text="As it stands.", model=answers.LeadSeen, example=examples.SOLD_SEEN)),), **common,
        ),
        Operation(
            id="find_leads", method="GET", path="/v1/leads", summary="Leads by the seller's own id",
            parameters=(Parameter(name="external_id", text="As it was sent.", required=True, example="form-17"),),
            refused=(*AS_SELLER, (422, "invalid_request")),
            answers=((200, Told(text="All that have it.", model=answers.LeadsFound)),), **common,
        ),
    ]  # fmt: skip


def instructions() -> list[Operation]:
    common: Options = {"tag": "Posting instructions", "roles": ("seller",)}
    return [
        Operation(
            id="list_specs", method="GET", path="/v1/spec", summary="Of every vertical this seller may sell in",
            answers=((200, Told(text="As they are in force.", model=answers.Page[answers.Spec])),), refused=AS_SELLER, **common,
        ),
        Operation(
            id="read_spec", method="GET", path="/v1/spec/{vertical}", summary="Of one vertical",
            parameters=(in_path("vertical", "Its slug.", "roofing"),), refused=(*AS_SELLER, *MISSING),
            answers=((200, Told(text="As they are in force.", model=answers.Spec)),), **common,
        ),
    ]  # fmt: skip
