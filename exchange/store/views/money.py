"""What the pages of money read: balances, one account's transfers, what is open, returns.

A balance is what was added up by the office's chores and the transfers since, in one snapshot: exact at
every moment, however many transfers there are.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from exchange.store.database import Database

KINDS: Final = ("hold", "release", "sale", "margin", "deposit", "return", "return_margin")
ACCOUNTS: Final = ("available", "held", "payable", "margin", "external")
END_OF_TIME: Final = datetime(9999, 1, 1, tzinfo=UTC)
_LAST: Final = UUID(int=2**128 - 1)

_BALANCES: Final = """SELECT a.id, a.kind, a.owner, a.currency, coalesce(d.slug, '') AS slug, coalesce(d.body->>'name', '') AS name,
  coalesce(y.prepaid, false) AS prepaid, (coalesce(t.balance, 0) + coalesce(s.balance, 0))::bigint AS balance,
  (coalesce(t.moves, 0) + coalesce(s.moves, 0))::bigint AS moves
FROM account a LEFT JOIN document d ON d.id = a.owner LEFT JOIN buyer y ON y.id = a.owner
LEFT JOIN (SELECT account, sum(credited - debited) AS balance, sum(moves) AS moves FROM ledger_sum WHERE span = 'total' GROUP BY 1) t ON t.account = a.id
LEFT JOIN (SELECT account, sum(amount) AS balance, count(*) AS moves FROM (
    SELECT debit AS account, -amount AS amount FROM transfer WHERE at >= (SELECT upto FROM ledger_state)
    UNION ALL SELECT credit, amount FROM transfer WHERE at >= (SELECT upto FROM ledger_state)) side GROUP BY 1) s ON s.account = a.id
ORDER BY a.currency, a.kind, slug"""
_ACCOUNT: Final = """SELECT a.id, a.kind, a.owner, a.currency, coalesce(d.slug, '') AS slug, coalesce(d.body->>'name', '') AS name,
  coalesce(y.prepaid, false) AS prepaid FROM account a LEFT JOIN document d ON d.id = a.owner LEFT JOIN buyer y ON y.id = a.owner WHERE a.id = $1"""
_OF_OWNER: Final = """SELECT a.id, a.kind, a.currency FROM account a JOIN document d ON d.id = a.owner
WHERE d.kind = $1 AND d.slug = $2 ORDER BY a.currency, a.kind"""
_MOVED: Final = "SELECT kind, debited, credited, moves FROM ledger_moved($1, coalesce($2::timestamptz, '-infinity'), $3)"
# One short look into the index for each kind and side: what a filter leaves out is not even read.
_TRANSFERS: Final = """SELECT t.ref, t.kind, t.debit, t.credit, t.amount, t.at, t.note FROM unnest($2::text[]) k CROSS JOIN LATERAL (
  (SELECT * FROM transfer WHERE debit = $1 AND kind = k AND at >= $3 AND at <= $4 AND (at, ref, kind) < ($4, $5, $6) ORDER BY at DESC, ref DESC LIMIT $7)
  UNION ALL (SELECT * FROM transfer WHERE credit = $1 AND kind = k AND at >= $3 AND at <= $4 AND (at, ref, kind) < ($4, $5, $6)
   ORDER BY at DESC, ref DESC LIMIT $7)) t ORDER BY at DESC, ref DESC, kind DESC LIMIT $7"""
_TIES: Final = """SELECT coalesce(sum(CASE WHEN credit = $1 THEN amount ELSE -amount END), 0)::bigint FROM unnest($2::text[]) k CROSS JOIN LATERAL (
  SELECT * FROM transfer WHERE debit = $1 AND kind = k AND at = $3 UNION ALL SELECT * FROM transfer WHERE credit = $1 AND kind = k AND at = $3) t
WHERE (t.ref, t.kind) <= ($4, $5)"""
_SIDES: Final = """SELECT a.id, a.kind, coalesce(d.slug, '') FROM account a LEFT JOIN document d ON d.id = a.owner WHERE a.id = ANY ($1)"""
_LEADS: Final = "SELECT id, lead_id, contract FROM attempt WHERE id = ANY ($1)"

_OPEN: Final = """SELECT a.id, a.lead_id, a.contract, y.slug AS buyer, y.currency, a.state, a.price, a.tries, a.created_at, a.next_try_at,
  s.slug AS seller FROM attempt a JOIN buyer y ON y.id = a.buyer_id JOIN lead l ON l.id = a.lead_id LEFT JOIN document s ON s.id = l.seller
WHERE a.state IN ('intent', 'unconfirmed') AND ($1 = '' OR y.slug = $1) AND (NOT $2 OR (a.state = 'unconfirmed' AND a.next_try_at IS NULL))
  AND (a.created_at, a.id) > ($3, $4) ORDER BY a.created_at, a.id LIMIT $5"""
_OPEN_SUM: Final = """SELECT y.currency, count(*) AS holds, sum(a.price)::bigint AS held, min(a.created_at) AS oldest,
  count(*) FILTER (WHERE a.state = 'unconfirmed' AND a.next_try_at IS NULL) AS waits
FROM attempt a JOIN buyer y ON y.id = a.buyer_id WHERE a.state IN ('intent', 'unconfirmed') AND ($1 = '' OR y.slug = $1) GROUP BY 1 ORDER BY 1"""
_RETURNS: Final = """SELECT r.id, r.lead_id, a.contract, y.slug AS buyer, y.currency, r.reason, r.note, r.status, a.price, a.payout, r.reverse_payout,
  r.restore_cap, r.requested_at, r.requested_by, r.decided_at, r.decided_by, r.decision_note, s.slug AS seller
FROM sale_return r JOIN attempt a ON a.id = r.attempt_id JOIN buyer y ON y.id = r.buyer_id
JOIN lead l ON l.id = r.lead_id LEFT JOIN document s ON s.id = l.seller WHERE r.id < $1 {where} ORDER BY r.id DESC LIMIT $2"""
_PENDING: Final = "SELECT count(*) FROM sale_return WHERE status = 'pending' AND ($1 = '' OR buyer_id = (SELECT id FROM buyer WHERE slug = $1))"
_BUYER: Final = "SELECT id FROM buyer WHERE slug = $1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    id: int
    kind: str  # one of ACCOUNTS
    owner: int  # 0: the house
    currency: str
    slug: str  # of the owner; empty: the house
    name: str
    prepaid: bool
    balance: int = 0  # credits less debits
    moves: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    ref: UUID
    kind: str
    debit: int
    credit: int
    amount: int
    at: datetime
    note: str | None


Cursor = tuple[datetime, UUID, str]  # time, ref and kind of a page's last transfer
FIRST: Final[Cursor] = (END_OF_TIME, _LAST, "~")


@dataclass(frozen=True, slots=True)
class Window:
    """Which of an account's transfers: kinds, and from a moment to before another."""

    kinds: tuple[str, ...]
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Moved:
    """What one kind of transfer did to an account."""

    debited: int
    credited: int
    moves: int


async def balances(db: Database) -> list[Account]:
    """Every account, by currency, kind and owner."""
    return [Account(**dict(row)) for row in await db.fetch(_BALANCES)]


async def account(db: Database, id_: int) -> Account | None:
    """Without its balance."""
    row = await db.fetchrow(_ACCOUNT, id_)
    return None if row is None else Account(**dict(row))


async def accounts_of(db: Database, kind: str, slug: str) -> list[tuple[int, str, str]]:
    """Id, kind and currency of a buyer's or seller's accounts."""
    return [(row[0], row[1], row[2]) for row in await db.fetch(_OF_OWNER, kind, slug)]


async def moved(
    db: Any, account_id: int, start: datetime | None, end: datetime
) -> dict[str, Moved]:
    """By kind, from a moment (None: since ever) to before another. `db`: also a connection."""
    rows = await db.fetch(_MOVED, account_id, start, end)
    return {row[0]: Moved(*tuple(row)[1:]) for row in rows}


def net(moves: dict[str, Moved]) -> int:
    return sum(one.credited - one.debited for one in moves.values())


async def transfers_page(
    db: Database, account_id: int, window: Window, after: Cursor, limit: int
) -> tuple[list[Transfer], int]:
    """An account's transfers, newest first; and its balance right after the first of them."""
    at, ref, kind = after if after[0] < window.end else (window.end, UUID(int=0), "")
    async with (
        db.connection() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        rows = await connection.fetch(
            _TRANSFERS, account_id, list(window.kinds), window.start, at, ref, kind, limit
        )
        found = [Transfer(**dict(row)) for row in rows]
        if not found:
            return [], 0
        first = found[0]
        before = net(await moved(connection, account_id, None, first.at))
        ties = await connection.fetchval(
            _TIES, account_id, list(KINDS), first.at, first.ref, first.kind
        )
    return found, before + ties


async def every_transfer(
    db: Database, account_id: int, window: Window, batch: int
) -> AsyncIterator[Transfer]:
    """All of a window, newest first, however many: a page at a time."""
    at, ref, kind = window.end, UUID(int=0), ""
    while True:
        rows = await db.fetch(
            _TRANSFERS, account_id, list(window.kinds), window.start, at, ref, kind, batch
        )
        for row in rows:
            yield Transfer(**dict(row))
        if len(rows) < batch:
            return
        at, ref, kind = rows[-1]["at"], rows[-1]["ref"], rows[-1]["kind"]


async def sides(db: Database, ids: Sequence[int]) -> dict[int, tuple[str, str]]:
    """Kind and owner's slug of accounts."""
    return {row[0]: (row[1], row[2]) for row in await db.fetch(_SIDES, list(ids))}


async def leads_of(db: Database, refs: Sequence[UUID]) -> dict[UUID, tuple[UUID, str]]:
    """Lead and contract of those refs that are attempts."""
    return {row[0]: (row[1], row[2]) for row in await db.fetch(_LEADS, list(refs))}


async def open_holds(
    db: Database, buyer: str, *, waits: bool, after: tuple[datetime, UUID], limit: int
) -> list[dict[str, Any]]:
    """Attempts that hold money, the oldest first. `waits`: only those that wait for a person."""
    return [dict(row) for row in await db.fetch(_OPEN, buyer, waits, *after, limit)]


async def open_sums(db: Database, buyer: str) -> list[dict[str, Any]]:
    """By currency: how many hold money, how much, since when, how many wait for a person."""
    return [dict(row) for row in await db.fetch(_OPEN_SUM, buyer)]


async def returns(
    db: Database, buyer: str, status: str, before: UUID, limit: int
) -> list[dict[str, Any]]:
    """Newest first; empty buyer or status: of all."""
    values: list[Any] = [before, limit]
    where = ""
    if buyer:
        values.append(await db.fetchval(_BUYER, buyer) or 0)
        where += f"AND r.buyer_id = ${len(values)} "
    if status == "pending":
        where += "AND r.status = 'pending' "  # as its index says it
    elif status:
        values.append(status)
        where += f"AND r.status = ${len(values)} "
    rows = await db.fetch(_RETURNS.format(where=where), *values)
    return [dict(row) for row in rows]


async def returns_waiting(db: Database, buyer: str) -> int:
    number: int = await db.fetchval(_PENDING, buyer)
    return number
