"""What buyers and operators are answered, as models; see answers.py."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from buyers.certify.values import Repeats, Verdict
from exchange.http.openapi.answers import (
    Amount,
    Answer,
    AttemptId,
    Currency,
    LeadId,
    Moment,
    Object,
    Page,
    PingId,
    ReturnId,
    SaleId,
)
from exchange.http.openapi.documents import Buyer, Contract, Plan, Seller, Vertical
from exchange.returns import ReturnReason, ReturnStatus
from exchange.store.rows import AttemptState, LeadState

# --- contracts, buyers, money -----------------------------------------------------------------------


class CapUse(Answer):
    kind: Literal["sales", "spend", "concurrent", "pings"]
    period: Literal["hour", "day", "week", "month", "total"] | None
    limit: int | Amount
    used: int | Amount
    remaining: int | Amount
    period_start: Moment | None


class Credit(Answer):
    prepaid: bool
    available: Annotated[Amount | None, Field(description="Null: postpaid.")]
    held: Amount


class _Usage(Answer):
    currency: Currency
    caps: list[CapUse]
    credit: Credit


class ContractUsage(_Usage):
    contract: str


class BuyerUsage(_Usage):
    buyer: str


class ContractVersion(Answer):
    """`contract` null: this is when it was retired. `changed_by` is for admins."""

    version: int
    changed_at: Moment
    changed_by: str = ""
    contract: Contract | None


class Check(Answer):
    name: str
    verdict: Verdict
    text: str


class Dialogue(Answer):
    """One request to the endpoint and what came back."""

    name: str
    request: str
    status: int | None
    response: str
    truncated: bool
    failure: str | None
    elapsed_ms: float


class Certificate(Answer):
    contract: str
    at: Moment
    passed: bool
    repeats: Repeats
    checks: list[Check]
    exchanges: list[Dialogue]


class Breaker(Answer):
    state: Literal["closed", "open", "half_open"]
    since: Moment | None
    failure_ratio: float | None
    results: int
    retry_at: Moment | None
    failure_score: float
    throttle_share: float
    dry_run: bool | None


class Failure(Answer):
    reason: str
    call: Literal["ping", "post"]
    at: Moment


class EndpointHealth(Answer):
    contract: str
    ping: Breaker | None
    post: Breaker
    last_failures: list[Failure]


class BuyersSale(Answer):
    sale_id: SaleId
    lead_id: LeadId
    ping_id: PingId
    buyer: str
    contract: str
    vertical: str
    price: Amount
    currency: Currency
    bid_id: str | None
    buyer_ref: str | None
    at: Moment
    settled_at: Moment | None
    erased_at: Annotated[
        Moment | None, Field(description="When the exchange erased its person: erase it, too.")
    ]


class Return(Answer):
    """What stands after `decision_note` is for admins only."""

    return_id: ReturnId
    lead_id: LeadId
    contract: str
    reason: ReturnReason
    note: str
    status: ReturnStatus
    price: Amount
    currency: Currency
    requested_at: Moment
    decided_at: Moment | None
    decided_by: str | None
    decision_note: str | None
    buyer: str = ""
    attempt_id: AttemptId = ""
    requested_by: str = ""
    payout: Amount = ""
    reverse_payout: bool | None = None
    restore_cap: bool | None = None


class OutcomeBooked(Answer):
    lead_id: LeadId
    status: Literal["accepted", "rejected"]


class Deposit(Answer):
    id: Annotated[str, Field(pattern="^dep_[0-9a-f]{32}$")]
    amount: Amount
    available: Annotated[Amount | None, Field(description="Null: postpaid.")]


class Callback(Answer):
    lead_id: LeadId
    seller: str
    state: Annotated[
        Literal["waiting", "due", "retrying", "delivered", "given_up"],
        Field(description="`waiting`: there is nothing to tell yet."),
    ]
    tries: int
    due_at: Moment | None
    last_at: Moment | None
    last_status: Annotated[int | None, Field(description="Null: no answer was read.")]
    last_reason: Annotated[str | None, Field(description="Null: the last try was taken.")]
    created_at: Moment


class PauseOfBuyer(Answer):
    buyer: str
    paused: bool


class PauseOfContract(Answer):
    contract: str
    paused: bool


# --- operators --------------------------------------------------------------------------------------


class FreshKey(Answer):
    """The key is shown this once."""

    id: str
    key: str


class ListedKey(Answer):
    id: str
    role: Literal["admin", "seller", "buyer"]
    owner: str | None
    created_at: Moment
    revoked_at: Moment | None


class LeadHead(Answer):
    lead_id: LeadId
    ping_id: PingId
    seller: str | None
    vertical: str
    external_id: str | None
    test: bool
    state: LeadState
    reason: str | None
    created_at: Moment
    closed_at: Moment | None


class Attempt(Answer):
    attempt_id: AttemptId
    contract: str
    buyer: str
    tier: str
    state: AttemptState
    price: Amount
    payout: Amount
    bid_id: str | None
    said: Annotated[Object, Field(description="What its buyer said.")]
    tries: int
    created_at: Moment
    settled_at: Moment | None
    next_try_at: Moment | None


class Side(Answer):
    account: Literal["available", "held", "payable", "margin", "external"]
    owner: str | None


class Transfer(Answer):
    attempt_id: AttemptId
    kind: str
    from_: Annotated[Side, Field(alias="from")]
    to: Side
    amount: Amount
    at: Moment


class Erasure(Answer):
    """`erased_at` null: it waits until every post of the lead has an outcome."""

    lead_id: LeadId
    why: Literal["request", "retention"]
    by: str
    asked_at: Moment
    erased_at: Moment | None


class Recipient(Answer):
    """A buyer that was sent the person; unconfirmed and intent: that may have been."""

    buyer: str
    contract: str
    attempt_id: Annotated[AttemptId, Field(description="The `webhook-id` of the post.")]
    state: Literal["accepted", "rejected", "unconfirmed", "intent"]
    at: Moment


class ErasedLead(Answer):
    """How one lead stands."""

    lead_id: LeadId
    erased_at: Moment | None
    asked_at: Annotated[Moment | None, Field(description="Null: a dry run.")]
    reason: Annotated[
        Literal["in_progress", "unconfirmed"] | None,
        Field(description="Why it has to wait: it is being sold, or a post has no outcome."),
    ]
    waits_for: Annotated[list[str], Field(description="Contracts whose post has no outcome.")]
    received_by: Annotated[list[Recipient], Field(description="Buyers to be told.")]


class EraseLeadAnswer(ErasedLead):
    dry_run: bool


class ErasedPerson(Answer):
    """Of a dry run what would be erased, and what would have to wait."""

    dry_run: bool
    erased: list[ErasedLead]
    waiting: list[ErasedLead]


class LeadReceipt(LeadHead):
    """Everything but the person, of whom it says only whether he is still there."""

    erased_at: Moment | None
    erasure: Erasure | None
    min_price: Amount | None
    currency: Currency
    person: str | None
    answer: Annotated[Object | None, Field(description="What the seller was told.")]
    receipt: Annotated[Object | None, Field(description="Attempts and contracts skipped.")]
    attempts: list[Attempt]
    transfers: list[Transfer]
    returns: list[Return]
    ping: Annotated[Object | None, Field(description="The ping's receipt.")]


class PingReceipt(Answer):
    """The frozen account of an auction: everybody asked, what each said, who won, why not the rest."""

    model_config = ConfigDict(extra="allow")
    ping_id: PingId
    seller: str
    vertical: str
    currency: Currency
    catalogue: int
    asked: list[Object]
    offers: list[Object]
    ranking: list[Object]
    skipped: list[Object]
    late_bids: list[Object]
    at: Moment
    expires_at: Moment
    lead_id: LeadId | None


class Change(Answer):
    kind: Literal["vertical", "plan", "seller", "buyer", "contract"]
    slug: str
    version: int
    changed_by: str
    changed_at: Moment
    change: Literal["created", "changed", "retired"]
    fields: list[str]
    document: Object | None


DOCUMENT_PAGES: dict[str, type[Answer]] = {
    "vertical": Page[Vertical], "plan": Page[Plan], "seller": Page[Seller],
    "buyer": Page[Buyer], "contract": Page[Contract],
}  # fmt: skip
