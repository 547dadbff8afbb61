"""Leads: one row from the moment before anything leaves until the final answer, byte for byte."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from exchange.errors import ClaimLost, StoreUnavailable
from exchange.sealing import Sealed
from exchange.store.database import Database
from exchange.store.rows import ClaimKey, Closing, LeadRow, LeadState, NewLead

# The key learns of its lead in the same statement: a retry finds the lead or finds nothing.
# A request that was taken for dead finds that its key is another's, and opens nothing.
_OPEN = """
WITH mine AS (
  SELECT 1 FROM claim WHERE seller = $3 AND path = $15 AND key = $16 AND run IS NOT DISTINCT FROM $17
    AND lead_id IS NULL AND status IS NULL FOR UPDATE),
lead_in AS (
  INSERT INTO lead (id, ping_id, seller, vertical, test, state, min_price, external_id, owner, answer_by,
                    request, person_key, person, phone_index, email_index)
  SELECT $1, $2, $3, $4, $5, 'open', $6, $7, $8, now() + $9 * interval '1 millisecond', $10, $11, $12, $13, $14
  WHERE $16::text IS NULL OR EXISTS (SELECT 1 FROM mine)
  ON CONFLICT (ping_id) WHERE state <> 'gone' DO NOTHING RETURNING id),
tied AS (
  UPDATE claim SET lead_id = (SELECT id FROM lead_in)
  WHERE seller = $3 AND path = $15 AND key = $16 AND status IS NULL AND EXISTS (SELECT 1 FROM lead_in))
SELECT (SELECT id FROM lead_in), $16::text IS NULL OR EXISTS (SELECT 1 FROM mine)"""

_HOLDER = "SELECT id FROM lead WHERE ping_id = $1 AND state <> 'gone'"

_TIE = """UPDATE claim SET lead_id = $4 WHERE seller = $1 AND path = $2 AND key = $3 AND run IS NOT DISTINCT FROM $5
  AND status IS NULL"""

LEAD_COLUMNS = """id, ping_id, seller, vertical, test, state, reason, min_price, external_id, owner, created_at,
  closed_at, extract(epoch FROM answer_by - now())::float8, request, receipt, answer, person_key, person"""
_GET = f"SELECT {LEAD_COLUMNS} FROM lead WHERE id = $1"  # noqa: S608 - columns are a constant
_BY_EXTERNAL = f"""SELECT {LEAD_COLUMNS} FROM lead WHERE seller = $1 AND external_id = $2 AND state <> 'gone'
ORDER BY created_at DESC, id DESC LIMIT 50"""  # noqa: S608 - columns are a constant

_CLOSE = "SELECT close_lead($1, $2, $3, $4, $5, $6)"
_ABANDON = "SELECT abandon_lead($1, $2)"
_OPEN_TRIES = 5


def lead_row(row: Iterable[Any]) -> LeadRow:
    (id_, ping_id, seller, vertical, test, state, reason, min_price, external_id, owner, created_at, closed_at,
     left, request, receipt, answer, person_key, person) = row  # fmt: skip
    return LeadRow(
        id=id_, ping_id=ping_id, seller=seller, vertical=vertical, test=test, state=LeadState(state),
        reason=reason, min_price_micros=min_price, external_id=external_id, owner=owner,
        created_at=created_at, closed_at=closed_at, seconds_left=left, request=request, receipt=receipt,
        answer=answer, person=Sealed(person_key, person),
    )  # fmt: skip


class Leads:
    """The lead half of the store."""

    def __init__(self, db: Database) -> None:
        self._lead_db = db

    async def open_lead(self, lead: NewLead, key: ClaimKey | None) -> UUID | None:
        # The holder of the ping may let it go between the two statements: then it is tried again.
        for _ in range(_OPEN_TRIES):
            if await self._insert(lead, key):
                return None
            holder: UUID | None = await self._lead_db.fetchval(_HOLDER, lead.ping_id)
            if holder is not None:
                if key is not None:
                    await self.tie_claim(key, holder)
                return holder
        raise StoreUnavailable("the ping is taken and let go again and again")

    async def _insert(self, lead: NewLead, key: ClaimKey | None) -> bool:
        async with self._lead_db.connection() as connection:
            opened, mine = await connection.fetchrow(
                _OPEN, lead.id, lead.ping_id, lead.seller, lead.vertical, lead.test, lead.min_price_micros,
                lead.external_id, lead.owner, lead.answer_in_ms, lead.request, lead.person.key,
                lead.person.body, lead.phone_index, lead.email_index, key and key.path, key and key.key,
                key and key.run,
            )  # fmt: skip
        if not mine:
            raise ClaimLost
        return opened is not None

    async def tie_claim(self, key: ClaimKey, lead_id: UUID) -> None:
        """A key used for a ping that was posted before: its answer is that lead's."""
        await self._lead_db.execute(_TIE, key.seller, key.path, key.key, lead_id, key.run)

    async def lead(self, lead_id: UUID) -> LeadRow | None:
        row = await self._lead_db.fetchrow(_GET, lead_id)
        return None if row is None else lead_row(tuple(row))

    async def leads_by_external_id(self, seller: int, external_id: str) -> list[LeadRow]:
        """Newest first, at most 50."""
        rows = await self._lead_db.fetch(_BY_EXTERNAL, seller, external_id)
        return [lead_row(tuple(row)) for row in rows]

    async def close_lead(self, closing: Closing) -> bytes | None:
        answer: bytes | None = await self._lead_db.fetchval(
            _CLOSE,
            closing.lead_id,
            closing.owner,
            closing.state.value,
            closing.reason,
            closing.receipt,
            closing.answer,
        )
        return answer

    async def abandon_lead(self, lead_id: UUID, owner: int) -> bool:
        gone: bool = await self._lead_db.fetchval(_ABANDON, lead_id, owner)
        return gone
