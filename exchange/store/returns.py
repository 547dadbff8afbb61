"""Returns: sold leads that buyers give back, asked for once, decided once, booked at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import orjson

from exchange.documents import returns_value
from exchange.reasons import RefusedReason
from exchange.returns import BY_POLICY, ReturnPolicy, ReturnReason, ReturnStatus, refusal
from exchange.store.database import Database
from exchange.store.rows import Decision, Requested, ReturnRow, ReturnWish, Reversal

# One request of a contract at a time, so that its share is judged on what will stand. Taken before
# every other lock: 7005, then those of the approval.
_REQUESTS: Final = "SELECT pg_advisory_xact_lock(7005, $1)"
_SOLD: Final = """SELECT a.id, a.lead_id, a.contract_id, a.buyer_id, y.slug AS buyer
FROM attempt a JOIN buyer y ON y.id = a.buyer_id WHERE a.lead_id = $1 AND a.state = 'accepted' ORDER BY a.id"""
_POLICY: Final = "SELECT body::text FROM document WHERE id = $1"
_AGE: Final = """SELECT extract(epoch FROM now() - settled_at)::float8, created_at > now() - $2::int * interval '24 hours'
FROM attempt WHERE id = $1"""
_SALES: Final = """SELECT count(*) FROM attempt
WHERE contract_id = $1 AND state = 'accepted' AND created_at > now() - $2::int * interval '24 hours'"""
# Only those asked for that recently are looked at: nobody returns a sale before it is one.
_RETURNED: Final = """SELECT count(*), count(*) FILTER (WHERE a.created_at <= now() - $2::int * interval '24 hours')
FROM sale_return r JOIN attempt a ON a.id = r.attempt_id
WHERE r.contract_id = $1 AND r.requested_at > now() - $2::int * interval '24 hours' AND r.status <> 'denied'"""
_REQUEST: Final = """INSERT INTO sale_return (id, attempt_id, lead_id, contract_id, buyer_id, reason, note, reverse_payout,
  restore_cap, requested_by) SELECT $1, id, lead_id, contract_id, buyer_id, $3, $4, $5, $6, $7 FROM attempt WHERE id = $2"""
_APPROVE: Final = "SELECT approve_return($1, $2, $3, $4, $5)"
# Taken before every other lock: erasures wait, and nothing is written of a person that they do not see.
_UNERASED: Final = "SELECT pg_advisory_xact_lock_shared(7006, 2)"
_KEEPS_NOTES: Final = """SELECT person_key IS NOT NULL FROM lead WHERE id = (
  SELECT lead_id FROM attempt WHERE id = $1 UNION ALL SELECT lead_id FROM sale_return WHERE id = $1 LIMIT 1)"""
_DENY: Final = """UPDATE sale_return SET status = 'denied', decided_at = clock_timestamp(), decided_by = $2, decision_note = $3
WHERE id = $1 AND status = 'pending'"""
_READ: Final = """SELECT r.id, r.attempt_id, r.lead_id, a.contract, y.slug AS buyer, r.reason, r.note, r.status, a.price, a.payout,
  y.currency, r.reverse_payout, r.restore_cap, r.requested_at, r.requested_by, r.decided_at, r.decided_by, r.decision_note
FROM sale_return r JOIN attempt a ON a.id = r.attempt_id JOIN buyer y ON y.id = r.buyer_id """
_REVERSED: Final = """SELECT t.ref, t.at, t.amount FROM sale_return r JOIN transfer t ON t.ref = r.attempt_id AND t.kind = 'return'
WHERE r.lead_id = $1 AND r.status = 'approved' AND r.reverse_payout ORDER BY t.at, t.ref"""
_FILTERS: Final = {
    "status": "r.status = $", "buyer": "y.slug = $", "contract": "a.contract = $",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sold:
    """A sale of a lead."""

    attempt_id: UUID
    lead_id: UUID
    contract_id: int
    buyer_id: int
    buyer: str


class Returns:
    """The part that a seller's view of a lead needs; a mixin of the store."""

    def __init__(self, db: Database) -> None:
        self._returns_db = db

    async def reversals(self, lead_id: UUID) -> list[Reversal]:
        rows = await self._returns_db.fetch(_REVERSED, lead_id)
        return [Reversal(*row) for row in rows]


async def sales_of(db: Database, lead_id: UUID) -> list[Sold]:
    """Every sale of a lead: more than one where it is shared."""
    return [Sold(*row) for row in await db.fetch(_SOLD, lead_id)]


async def policy_of(db: Database, contract_id: int) -> ReturnPolicy | None:
    """As it is now, also of a contract that was retired."""
    body = await db.fetchval(_POLICY, contract_id)
    return None if body is None else returns_value(orjson.loads(body))


async def request_return(db: Database, wish: ReturnWish, policy: ReturnPolicy | None) -> Requested:
    """Book a wish to return a sale, and its approval where the policy needs nobody for that; or say
    what was asked for before, or why it may not be."""
    async with db.connection() as connection, connection.transaction():
        note = await _note(connection, wish.attempt_id, wish.note)
        await connection.execute(_REQUESTS, wish.contract_id)
        first = await connection.fetchrow(_READ + "WHERE r.attempt_id = $1", wish.attempt_id)
        if first is not None:
            return Requested(_row(first), fresh=False)
        refused = await _judge(connection, wish, policy)
        if refused is not None:
            return Requested(None, fresh=False, refused=refused)
        assert policy is not None, "without a policy everything is refused"
        await connection.execute(
            _REQUEST, wish.id, wish.attempt_id, wish.reason, note, policy.reverse_payout,
            policy.restore_cap, wish.by,
        )  # fmt: skip
        if policy.automatic:
            await connection.fetchval(_APPROVE, wish.id, None, None, BY_POLICY, "")
        row = await connection.fetchrow(_READ + "WHERE r.id = $1", wish.id)
        return Requested(_row(row), fresh=True)


async def _note(connection: Any, id_: UUID, note: str) -> str:
    """Somebody's words on an attempt or a return; none are kept once the person was erased."""
    await connection.execute(_UNERASED)
    return note if await connection.fetchval(_KEEPS_NOTES, id_) else ""


async def _judge(
    connection: Any, wish: ReturnWish, policy: ReturnPolicy | None
) -> RefusedReason | None:
    """On what stands now: the contract's lock is held."""
    days = policy.window_days if policy else 0
    age_s, recent = await connection.fetchrow(_AGE, wish.attempt_id, days)
    sold = await connection.fetchval(_SALES, wish.contract_id, days)
    returned, late = await connection.fetchrow(_RETURNED, wish.contract_id, days)
    late += 0 if recent else 1  # awarded long ago and confirmed late: they count as sales, too
    return refusal(policy, wish.reason, age_s=age_s, sold=sold + late, returned=returned)


async def decide_return(db: Database, decision: Decision) -> ReturnRow | None:
    """Book a decision; the first one stands. None: there is no such return."""
    async with db.connection() as connection, connection.transaction():
        note = await _note(connection, decision.id, decision.note)
        if decision.approved:
            await connection.fetchval(
                _APPROVE, decision.id, decision.reverse_payout, decision.restore_cap, decision.by,
                note,
            )  # fmt: skip
        else:
            await connection.execute(_DENY, decision.id, decision.by, note)
        row = await connection.fetchrow(_READ + "WHERE r.id = $1", decision.id)
    return None if row is None else _row(row)


async def one_return(db: Database, id_: UUID) -> ReturnRow | None:
    row = await db.fetchrow(_READ + "WHERE r.id = $1", id_)
    return None if row is None else _row(row)


async def returns_of(db: Database, lead_id: UUID) -> list[ReturnRow]:
    """Every return of a lead's sales, in the order they were asked for."""
    return [
        _row(row) for row in await db.fetch(_READ + "WHERE r.lead_id = $1 ORDER BY r.id", lead_id)
    ]


async def returns_page(
    db: Database, filters: Mapping[str, str], before: UUID, limit: int
) -> list[ReturnRow]:
    """Returns, newest first, by status, buyer's slug and contract's slug."""
    where, values = ["r.id < $1"], [before, limit, *filters.values()]
    where += [f"{_FILTERS[name]}{place}" for place, name in enumerate(filters, 3)]
    sql = f"{_READ}WHERE {' AND '.join(where)} ORDER BY r.id DESC LIMIT $2"  # our own words only
    return [_row(row) for row in await db.fetch(sql, *values)]


def _row(row: Any) -> ReturnRow:
    values = dict(zip(ReturnRow.__slots__, row, strict=True))
    values["reason"] = ReturnReason(values["reason"])
    values["status"] = ReturnStatus(values["status"])
    return ReturnRow(**values)
