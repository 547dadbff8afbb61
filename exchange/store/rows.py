"""What is written to and read from the books, as values."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal
from uuid import UUID

from exchange.reasons import RefusedReason
from exchange.returns import ReturnReason, ReturnStatus
from exchange.sealing import Sealed


class AttemptState(StrEnum):
    INTENT = "intent"  # committed; the lead may be on its way
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    NOT_SENT = "not_sent"  # not one byte left
    UNCONFIRMED = "unconfirmed"  # may be sold; held until somebody says

    @property
    def is_open(self) -> bool:
        return self in {AttemptState.INTENT, AttemptState.UNCONFIRMED}

    @property
    def has_failed(self) -> bool:
        """The buyer does not have the lead: another may."""
        return self in {AttemptState.REJECTED, AttemptState.NOT_SENT}


class LeadState(StrEnum):
    OPEN = "open"
    SOLD = "sold"
    UNSOLD = "unsold"
    GONE = "gone"  # stopped before anything left; its ping may be posted again


@dataclass(frozen=True, slots=True, kw_only=True)
class PingRow:
    id: UUID
    seller: int
    expires_at: datetime
    price_micros: int | None  # net; None: no bid
    external_id: str | None
    test: bool
    receipt: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPing:
    """A stored ping as a post finds it, judged by the store's clock."""

    row: PingRow
    at: datetime
    age_s: float
    expired: bool
    lead_id: UUID | None  # the lead it was posted as


@dataclass(frozen=True, slots=True, kw_only=True)
class LateBid:
    ping: UUID
    contract: str
    price_micros: int | None
    late_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NewLead:
    id: UUID
    ping_id: UUID
    seller: int
    vertical: str
    test: bool
    min_price_micros: int
    external_id: str | None
    owner: int  # the worker
    answer_in_ms: int  # the seller's time that is left, from now
    request: bytes
    person: Sealed
    phone_index: bytes | None
    email_index: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadRow:
    id: UUID
    ping_id: UUID
    seller: int
    vertical: str
    test: bool
    state: LeadState
    reason: str | None
    min_price_micros: int
    external_id: str | None
    owner: int
    created_at: datetime
    closed_at: datetime | None
    seconds_left: float  # of the seller's time; negative when over
    request: bytes
    receipt: bytes | None
    answer: bytes | None
    person: Sealed


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """How a lead ends. Unsold it is only for the worker that owns it."""

    lead_id: UUID
    owner: int
    state: LeadState
    reason: str | None
    receipt: bytes
    answer: bytes
    # Posts of a shared lead that its answer leaves open, and whose end its seller is owed a callback about.
    owed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AwardOrder:
    """A wish to hold every limit of one contract for one lead and commit the intent to post it."""

    id: UUID  # the attempt
    lead_id: UUID
    contract_id: int
    price_micros: int
    payout_micros: int
    seller_account: int
    margin_account: int
    tier: str
    bid_id: str | None
    owner: int
    slot: int = 0  # 0: exclusive; else the place, 1 to `shares`
    shares: int = 1  # to how many buyers at most the lead is sold
    day_over: float | None = None  # of the contract's open day, 0 to 1; None: it paces no cap


class Verdict(StrEnum):
    GRANTED = "granted"
    REPEAT = "repeat"  # this very attempt is already in the books
    ALREADY_SOLD = "already_sold"  # another attempt of this lead, or of this buyer, is open
    CLOSED = "closed"  # the lead has ended, or another worker owns it
    PAUSED = "paused"
    DUPLICATE = "duplicate"  # the buyer has, or may have, a lead of this person
    DUPLICATE_IN_VERTICAL = "duplicate_in_vertical"  # somebody in this vertical has, or may have
    CAP_SALES = "cap_sales"
    CAP_SPEND = "cap_spend"
    CAP_CONCURRENT = "cap_concurrent"
    CREDIT = "credit"
    PACED = "paced"  # what the day so far allows of a cap that is spread over it
    BUSY = "busy"  # the rows were locked too long


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    id: UUID
    fence: int
    outcome: AttemptState
    detail: bytes  # JSON: what the buyer said
    next_try_s: float | None = None  # unconfirmed: ask again then; None: it waits for a person


class Settled(StrEnum):
    OK = "ok"
    UNKNOWN = "unknown"  # no such attempt
    FENCED = "fenced"  # another worker has it
    ACCEPTED = "accepted"  # it had ended so before
    REJECTED = "rejected"
    NOT_SENT = "not_sent"
    INTENT = "intent"
    UNCONFIRMED = "unconfirmed"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRow:
    id: UUID
    lead_id: UUID
    contract_id: int
    buyer_id: int
    contract: str
    tier: str
    state: AttemptState
    price_micros: int
    payout_micros: int
    bid_id: str | None
    slot: int
    shares: int
    fence: int
    tries: int
    detail: bytes | None
    created_at: datetime
    settled_at: datetime | None
    age_s: float  # since the intent


@dataclass(frozen=True, slots=True)
class ClaimKey:
    """Who uses which Idempotency-Key where; `run` tells one request with it from another."""

    seller: int
    path: str
    key: str
    run: UUID | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What stands behind a key. `won`: it is ours now, go on."""

    won: bool
    same_body: bool = True
    status: int | None = None  # the final answer, if it is one of a ping or a refusal
    answer: bytes | None = None
    lead_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Adopted:
    """What a dead worker left behind, now ours: open leads with at least one attempt."""

    leads: tuple[UUID, ...] = ()
    interrupted: int = 0  # intents that became unconfirmed
    freed: int = 0  # leads and keys that had not started


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnRow:
    """A sale that somebody wants to give back, and what became of it."""

    id: UUID
    attempt_id: UUID
    lead_id: UUID
    contract: str
    buyer: str
    reason: ReturnReason
    note: str
    status: ReturnStatus
    price_micros: int
    payout_micros: int
    currency: str
    reverse_payout: bool
    restore_cap: bool
    requested_at: datetime
    requested_by: str
    decided_at: datetime | None
    decided_by: str | None
    decision_note: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnWish:
    """What somebody asks for. `attempt_id` is an accepted one."""

    id: UUID
    attempt_id: UUID
    contract_id: int
    reason: ReturnReason
    note: str
    by: str


@dataclass(frozen=True, slots=True)
class Requested:
    """`fresh` False: the sale had been given back before, or was refused."""

    row: ReturnRow | None
    fresh: bool
    refused: RefusedReason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """An operator's word. `reverse_payout` and `restore_cap` None: as the policy said."""

    id: UUID
    approved: bool
    by: str
    note: str
    reverse_payout: bool | None = None
    restore_cap: bool | None = None


@dataclass(frozen=True, slots=True)
class Reversal:
    """What a seller lost of a sale that was given back."""

    attempt_id: UUID
    at: datetime
    amount_micros: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureRow:
    """Why a lead's person was erased, or shall be."""

    lead_id: UUID
    test: bool
    why: str  # request, retention
    by: str  # user:LOGIN, key:ID, cli, chores
    asked_at: datetime
    done_at: datetime | None  # None: it waits until every post of the lead has an outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """A buyer that was sent a lead's person, or may have been."""

    attempt_id: UUID
    buyer: str
    contract: str
    state: AttemptState  # accepted, rejected, unconfirmed, intent
    at: datetime  # of the intent


CallbackState = Literal["open", "delivered", "given_up"]


@dataclass(frozen=True, slots=True)
class CallbackRow:
    """A callback that a lead's seller is, or was, owed."""

    lead_id: UUID
    test: bool
    seller: str
    state: CallbackState
    told: int | None
    tries: int
    due_at: datetime
    last_status: int | None
    last_reason: str | None
    last_at: datetime | None
    created_at: datetime
    lead_state: str

    @property
    def stands(self) -> str:
        """waiting: its lead has not ended; due: the first try is to come; retrying, delivered, given_up."""
        if self.state != "open":
            return self.state
        if self.lead_state == "open":
            return "waiting"
        if self.tries and self.last_reason:
            return "retrying"
        return "due" if self.told is None else "waiting"
