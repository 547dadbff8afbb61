"""What both listeners answer, as models: the API's description is made of them, and tests hold real
answers against it."""

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from exchange.reasons import AuctionReason

Item = TypeVar("Item")
Moment = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
Amount = Annotated[str, Field(pattern=r"^-?\d+(\.\d{1,6})?$")]
Currency = Annotated[str, Field(pattern="^[A-Z]{3}$")]
Object = dict[str, Any]


def _id(kind: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": rf"^{kind}_(test_)?[0-9a-f]{{32}}$"})


PingId = Annotated[str, _id("ping")]
LeadId = Annotated[str, _id("lead")]
AttemptId = Annotated[str, _id("att")]
ReturnId = Annotated[str, _id("ret")]
SaleId = Annotated[str, WithJsonSchema({"type": "string", "pattern": "^sale_[0-9a-f]{32}$"})]


class Answer(BaseModel):
    """What has a default may be absent."""

    model_config = ConfigDict(extra="forbid")


class Page(Answer, Generic[Item]):
    """`next` is the `cursor` of the page after; null: this is the last."""

    items: list[Item]
    next: str | None


# --- problems and health ----------------------------------------------------------------------------


class Fault(Answer):
    """One fault in what was sent; its value is never repeated."""

    path: Annotated[str, Field(examples=["fields.drivers.0.age"])]
    code: Annotated[str, Field(description="Stable for ever.")]
    message: Annotated[str, Field(description="What is wrong, and what would be right.")]


class Problem(Answer):
    """RFC 9457. Decide by `code`; `detail` and `errors` are for people."""

    type: Literal["about:blank"]
    title: str
    status: int
    code: str
    detail: str
    errors: list[Fault] = []
    return_id: ReturnId = ""


class Health(Answer):
    status: Literal["ok"]
    worker: Annotated[str, Field(description="Which process answered: w0, w1, … or office.")]
    build: str
    catalogue: Annotated[int, Field(description="Version of the catalogue it trades on.")]


class Ready(Answer):
    status: Literal["ready", "not ready"]


# --- sellers ----------------------------------------------------------------------------------------


class Event(Answer):
    """Times are milliseconds since the beginning; null: not yet."""

    at_ms: float | None
    event: str
    buyers: int = 0
    answered: int = 0
    bids: int = 0
    attempt: int = 0
    amount: Amount = ""


class Quote(Answer):
    """A price, until it expires."""

    ping_id: PingId
    outcome: Literal["bid"]
    price: Annotated[Amount, Field(description="What the seller would be paid.")]
    currency: Currency
    exclusive: bool
    shares: Annotated[int, Field(description="How many buyers would get the lead.")]
    elapsed_ms: int
    expires_at: Moment


class NoBid(Answer):
    """No price. With `waterfall` true the ping may still be posted until it expires."""

    ping_id: PingId
    outcome: Literal["no_bid"]
    reason: AuctionReason
    waterfall: bool
    elapsed_ms: int
    expires_at: Moment


class QuoteSeen(Quote):
    timeline: list[Event]


class NoBidSeen(NoBid):
    timeline: list[Event]


class Sale(Answer):
    sale_id: SaleId
    price: Amount
    buyer_ref: Annotated[str | None, Field(description="For `exclude_buyers`; opaque.")]


class Sold(Answer):
    """It is sold, and for good."""

    lead_id: LeadId
    ping_id: PingId
    outcome: Literal["sold"]
    price: Amount
    currency: Currency
    redirect_url: str | None
    sales: list[Sale]
    pending: Annotated[int, Field(description="Members of a shared sale not heard of yet.")] = 0
    elapsed_ms: int


class Unsold(Answer):
    """Nobody bought it."""

    lead_id: LeadId
    ping_id: PingId
    outcome: Literal["unsold"]
    reason: AuctionReason
    elapsed_ms: int = 0


class Pending(Answer):
    """A buyer may have it. Ask `GET /v1/leads/{id}` every 2 s."""

    lead_id: LeadId
    ping_id: PingId
    outcome: Literal["pending"]


class _Seen(Answer):
    vertical: str
    external_id: str | None
    created_at: Moment
    timeline: list[Event]


class SoldSeen(Sold, _Seen):
    pass


class UnsoldSeen(Unsold, _Seen):
    pass


class PendingSeen(Pending, _Seen):
    pass


LeadSeen = SoldSeen | UnsoldSeen | PendingSeen


class LeadsFound(Page[LeadSeen]):
    pass


class SpecField(Answer):
    """What does not apply is left out."""

    name: str = ""
    type: str
    stage: Literal["ping", "post"] = "ping"
    required: bool
    required_if: Object = {}
    values: list[str | int] = []
    min: int | str = 0
    max: int | str = 0
    pattern: str = ""
    fields: "list[SpecField]" = []
    items: "SpecField | None" = None


class Example(Answer):
    ping: Annotated[Object, Field(description="Fields of a ping that is valid today.")]
    lead: Annotated[Object, Field(description="Fields of a lead that is valid today.")]


class Limits(Answer):
    rate_per_s: int
    body_bytes: int
    ping_wait_ms: int
    ping_wait_most_ms: int
    lead_wait_ms: int
    lead_wait_most_ms: int
    quote_s: int


class Callback(Answer):
    """How a lead's end is told to who was answered 202."""

    url: Annotated[str | None, Field(description="Yours. Null: you have none, and ask.")]
    signature: Literal["Standard Webhooks, v1"]
    headers: Annotated[dict[str, str], Field(description="Names, with examples.")]
    example: Annotated[Object, Field(description="A body: a lead's final answer, with its type.")]
    timeout_s: Annotated[float, Field(description="Any 2xx within it is enough.")]
    retries: Annotated[str, Field(description="The pauses between tries.")]
    hours: Annotated[int, Field(description="After the lead's end: then it is given up.")]


class Spec(Answer):
    """Posting instructions as they are in force."""

    vertical: str
    name: str
    currency: Currency
    on_personal_data_in_ping: Literal["refuse", "strip"]
    fields: list[SpecField]
    example: Example
    limits: Limits
    callback: Callback
