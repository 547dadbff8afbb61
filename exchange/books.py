"""What must always hold of the books, judged on a plain copy of them: I1 to I6 and I9 of the design."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Final
from uuid import UUID

OPEN: Final = frozenset({"intent", "unconfirmed"})
LIVE: Final = OPEN | {"accepted"}
OVERDUE_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class BookedAccount:
    id: int
    kind: str
    owner: int
    currency: str


@dataclass(frozen=True, slots=True)
class BookedBuyer:
    id: int
    slug: str
    currency: str
    available: int  # its accounts
    held: int
    prepaid: bool


@dataclass(frozen=True, slots=True)
class BookedTransfer:
    ref: UUID
    kind: str
    debit: int
    credit: int
    amount: int


@dataclass(frozen=True, slots=True)
class BookedBucket:
    id: int
    owner: int
    kind: str
    money: bool
    transient: bool
    lim: int
    used: int


@dataclass(frozen=True, slots=True)
class BookedLead:
    id: UUID
    state: str
    test: bool


@dataclass(frozen=True, slots=True)
class BookedAttempt:
    id: UUID
    lead_id: UUID
    buyer_id: int
    seller_account: int
    margin_account: int
    slot: int  # 0: exclusive
    shares: int  # to how many buyers at most
    state: str
    price: int
    payout: int
    buckets: tuple[int, ...]
    created_at: datetime
    next_try_at: datetime | None


@dataclass(frozen=True, slots=True)
class BookedReturn:
    id: UUID
    attempt_id: UUID
    status: str
    reverse_payout: bool
    buckets: tuple[int, ...]  # what its approval gave back


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The books at one instant, all of them seen by the same transaction."""

    at: datetime
    accounts: tuple[BookedAccount, ...]
    buyers: tuple[BookedBuyer, ...]
    transfers: tuple[BookedTransfer, ...]
    buckets: tuple[BookedBucket, ...]
    leads: tuple[BookedLead, ...]
    attempts: tuple[BookedAttempt, ...]
    returns: tuple[BookedReturn, ...] = ()


def broken_invariants(books: Snapshot) -> list[str]:
    """One line for each thing that contradicts I1 to I6; nothing when the books are sound.

    I5 can be told for credit only, whose limit never falls: any other limit may have been lowered
    below its use after the holds were granted.
    """
    balances = _balances(books.transfers)
    return list(
        chain(
            _transfers(books),
            _accounts(books, balances),
            _held(books, balances),
            _buckets(books),
            _attempts(books),
            _returns(books),
            _leads(books),
        )
    )


def overdue(books: Snapshot, bound_s: float = OVERDUE_S) -> list[str]:
    """I9: open attempts that nobody has taken up for longer than the bound.

    An unconfirmed attempt without a next try waits for a person and is not one of them.
    """
    found = []
    for attempt in books.attempts:
        since = {"intent": attempt.created_at, "unconfirmed": attempt.next_try_at}.get(
            attempt.state
        )
        if since is not None and (late_s := (books.at - since).total_seconds()) > bound_s:
            found.append(f"I9 attempt {attempt.id}: {attempt.state}, overdue for {late_s:.0f} s")
    return found


def _balances(transfers: Iterable[BookedTransfer]) -> Mapping[int, int]:
    balances: dict[int, int] = defaultdict(int)
    for transfer in transfers:
        balances[transfer.debit] -= transfer.amount
        balances[transfer.credit] += transfer.amount
    return balances


def _transfers(books: Snapshot) -> Iterator[str]:
    """I1, and the half of I2 that a transfer can break: its sides are of one currency."""
    currency = {account.id: account.currency for account in books.accounts}
    seen: set[tuple[UUID, str]] = set()
    for one in books.transfers:
        name = f"transfer {one.kind} of {one.ref}"
        if one.amount <= 0:
            yield f"I1 {name}: the amount is {one.amount}"
        if one.debit == one.credit:
            yield f"I1 {name}: both sides are account {one.debit}"
        if (one.ref, one.kind) in seen:
            yield f"I1 {name}: booked more than once"
        seen.add((one.ref, one.kind))
        if currency.get(one.debit) is None or currency.get(one.debit) != currency.get(one.credit):
            yield f"I2 {name}: accounts {one.debit} and {one.credit} are not of one currency"


def _accounts(books: Snapshot, balances: Mapping[int, int]) -> Iterator[str]:
    """I2 and I5: no prepaid buyer below zero, and its credit bucket says what the ledger says."""
    credit = {bucket.owner: bucket for bucket in books.buckets if bucket.kind == "credit"}
    for buyer in books.buyers:
        if not buyer.prepaid:
            continue
        available = balances.get(buyer.available, 0)
        if available < 0:
            yield f"I2 buyer {buyer.slug}: {available} micros available"
        bucket = credit.get(buyer.id)
        if bucket is None:
            yield f"I2 buyer {buyer.slug}: prepaid without a credit bucket"
            continue
        if bucket.lim - bucket.used != available:
            room = bucket.lim - bucket.used
            yield f"I2 buyer {buyer.slug}: room for {room} micros of credit, {available} available"
        if bucket.used > bucket.lim:
            yield f"I5 buyer {buyer.slug}: {bucket.used} of {bucket.lim} micros of credit used"


def _held(books: Snapshot, balances: Mapping[int, int]) -> Iterator[str]:
    """I3: held money is the price of the open attempts."""
    due: dict[int, int] = defaultdict(int)
    for attempt in books.attempts:
        if attempt.state in OPEN:
            due[attempt.buyer_id] += attempt.price
    for buyer in books.buyers:
        held = balances.get(buyer.held, 0)
        if held != due[buyer.id]:
            yield f"I3 buyer {buyer.slug}: {held} micros held for {due[buyer.id]} of open attempts"


def _buckets(books: Snapshot) -> Iterator[str]:
    """I4: use is what the attempts that remember the bucket add up to, less what returns gave back."""
    known = {bucket.id: bucket for bucket in books.buckets}
    given_back = {(one.attempt_id, id_) for one in books.returns for id_ in one.buckets}
    due: dict[int, int] = defaultdict(int)
    for attempt in books.attempts:
        for id_ in attempt.buckets:
            bucket = known.get(id_)  # None: its cap was dropped
            if (
                bucket
                and (attempt.id, id_) not in given_back
                and attempt.state in (OPEN if bucket.transient else LIVE)
            ):
                due[id_] += attempt.price if bucket.money else 1
    for bucket in books.buckets:
        if bucket.kind == "pings":  # leased ahead of what is written: no attempt remembers them
            continue
        if bucket.used != due[bucket.id]:
            name = f"bucket {bucket.id} ({bucket.kind} of {bucket.owner})"
            yield f"I4 {name}: {bucket.used} used, its attempts add up to {due[bucket.id]}"


def _attempts(books: Snapshot) -> Iterator[str]:
    """Each attempt has exactly the transfers of its state, and no other transfer stands alone."""
    buyers = {buyer.id: buyer for buyer in books.buyers}
    booked: dict[UUID, dict[str, tuple[int, int, int]]] = defaultdict(dict)
    for one in books.transfers:
        if one.kind != "deposit":
            booked[one.ref][one.kind] = (one.debit, one.credit, one.amount)
    approved = {one.attempt_id: one for one in books.returns if one.status == "approved"}
    for attempt in books.attempts:
        found = booked.pop(attempt.id, {})
        if (buyer := buyers.get(attempt.buyer_id)) is None:
            yield f"I6 attempt {attempt.id}: there is no buyer {attempt.buyer_id}"
        elif found != _due_transfers(attempt, buyer) | _due_back(
            attempt, buyer, approved.get(attempt.id)
        ):
            kinds = ", ".join(sorted(found)) or "none"
            yield f"I6 attempt {attempt.id}: {attempt.state}, but its transfers are {kinds}"
    for ref, found in booked.items():
        yield f"I1 transfers {', '.join(sorted(found))} of {ref}: there is no such attempt"


def _due_transfers(attempt: BookedAttempt, buyer: BookedBuyer) -> dict[str, tuple[int, int, int]]:
    due = {"hold": (buyer.available, buyer.held, attempt.price)}
    if attempt.state == "accepted":
        if attempt.payout > 0:
            due["sale"] = (buyer.held, attempt.seller_account, attempt.payout)
        if attempt.price > attempt.payout:
            margin = attempt.price - attempt.payout
            due["margin"] = (buyer.held, attempt.margin_account, margin)
    elif attempt.state not in OPEN:
        due["release"] = (buyer.held, buyer.available, attempt.price)
    return due


def _due_back(
    attempt: BookedAttempt, buyer: BookedBuyer, approved: BookedReturn | None
) -> dict[str, tuple[int, int, int]]:
    """The transfers of an approved return: from seller and house, or all of it from the house."""
    if approved is None:
        return {}
    margin, to = attempt.margin_account, buyer.available
    if not approved.reverse_payout:
        return {"return": (margin, to, attempt.price)}
    due = {
        "return": (attempt.seller_account, to, attempt.payout),
        "return_margin": (margin, to, attempt.price - attempt.payout),
    }
    return {kind: moved for kind, moved in due.items() if moved[2] > 0}


def _returns(books: Snapshot) -> Iterator[str]:
    """A return is of a sale, one at most of each, and gives back only what the sale took and once."""
    attempts = {attempt.id: attempt for attempt in books.attempts}
    seen: set[UUID] = set()
    for one in books.returns:
        name = f"return {one.id} of attempt {one.attempt_id}"
        attempt = attempts.get(one.attempt_id)
        if attempt is None or attempt.state != "accepted":
            yield f"I1 {name}: that is no sale"
        elif not set(one.buckets) <= set(attempt.buckets):
            yield f"I4 {name}: gives back to buckets that the attempt does not remember"
        if one.attempt_id in seen:
            yield f"I1 {name}: the sale was given back before"
        seen.add(one.attempt_id)
        if one.buckets and one.status != "approved":
            yield f"I4 {name}: {one.status}, but has given back"


def _leads(books: Snapshot) -> Iterator[str]:
    """I6: nothing is sold twice, and what a lead says of itself is what its attempts say."""
    live: dict[UUID, list[BookedAttempt]] = defaultdict(list)
    for attempt in books.attempts:
        if attempt.state in LIVE:
            live[attempt.lead_id].append(attempt)
    for lead_id, attempts in live.items():
        if len({attempt.buyer_id for attempt in attempts}) < len(attempts):
            yield f"I6 lead {lead_id}: more than one live attempt of one buyer"
        if len(attempts) > 1 and any(attempt.slot == 0 for attempt in attempts):
            yield f"I6 lead {lead_id}: exclusive, with {len(attempts)} live attempts"
        if len(attempts) > min(attempt.shares for attempt in attempts):
            yield f"I6 lead {lead_id}: {len(attempts)} live attempts, more than were promised"
    for lead in books.leads:
        states = {attempt.state for attempt in live.pop(lead.id, ())}
        if lead.test:
            if states:
                yield f"I6 lead {lead.id}: a test with an attempt"
        elif lead.state == "sold" and "accepted" not in states:
            yield f"I6 lead {lead.id}: sold without an accepted attempt"
        elif lead.state in {"unsold", "gone"} and states:
            yield f"I6 lead {lead.id}: {lead.state} with an attempt that is {', '.join(states)}"
    for lead_id in live:
        yield f"I6 lead {lead_id}: has a live attempt and no row"
