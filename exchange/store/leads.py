"""Leads: one row from the moment before anything leaves until the final answer, byte for byte."""

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from exchange.errors import ClaimLost, StoreUnavailable
from exchange.sealing import Sealed
from exchange.store.callbacks import OWE, OWE_REST
from exchange.store.database import Database, Link
from exchange.store.lanes import Lanes
from exchange.store.rows import ClaimKey, Closing, LeadRow, LeadState, NewLead

_OPEN = "SELECT words, leads FROM open_leads($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)"

_TIE = """UPDATE claim SET lead_id = $4 WHERE seller = $1 AND path = $2 AND key = $3 AND run IS NOT DISTINCT FROM $5
  AND status IS NULL"""

LEAD_COLUMNS = """id, ping_id, seller, vertical, test, state, reason, min_price, external_id, owner, created_at,
  closed_at, extract(epoch FROM answer_by - now())::float8, request, receipt, answer, person_key, person"""
_GET = f"SELECT {LEAD_COLUMNS} FROM lead WHERE id = $1"  # noqa: S608 - columns are a constant
_BY_EXTERNAL = f"""SELECT {LEAD_COLUMNS} FROM lead WHERE seller = $1 AND external_id = $2 AND state <> 'gone'
ORDER BY created_at DESC, id DESC LIMIT 50"""  # noqa: S608 - columns are a constant

_CLOSE = "SELECT close_leads($1, $2, $3, $4, $5, $6)"
# For a batch in which somebody is owed what becomes of the rest.
_CLOSE_OWING = f"""WITH owed AS ({OWE_REST}) {_CLOSE}"""
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


class _Opening(NamedTuple):
    lead: NewLead
    key: ClaimKey | None


class _Opened(NamedTuple):
    word: str  # opened, taken, lost, again
    lead_id: UUID | None  # opened: ours; taken: whose the ping is


class Leads:
    """The lead half of the store."""

    def __init__(self, db: Database, lanes: Lanes) -> None:
        self._lead_db = db
        self._openings = lanes.lane("openings", self._open, durable=True, marks=_marks)
        self._closings = lanes.lane(
            "closings", self._close, durable=True, marks=lambda closing: (closing.lead_id,)
        )

    async def open_lead(self, lead: NewLead, key: ClaimKey | None) -> UUID | None:
        """The key learns of its lead in the same statement: a retry finds the lead or finds nothing. A
        request that was taken for dead finds that its key is another's, and opens nothing."""
        for _ in range(_OPEN_TRIES):
            word, holder = await self._openings.submit(_Opening(lead, key))
            if word == "opened":
                return None
            if word == "taken":
                return holder
            if word == "lost":
                raise ClaimLost
        raise StoreUnavailable("the ping is taken and let go again and again")

    async def _open(self, link: Link, batch: Sequence[_Opening]) -> Sequence[_Opened]:
        leads, keys = [one.lead for one in batch], [one.key for one in batch]
        words, ids = await link.fetchrow(
            _OPEN,
            [lead.id for lead in leads],
            [lead.ping_id for lead in leads],
            [lead.seller for lead in leads],
            [lead.vertical for lead in leads],
            [lead.test for lead in leads],
            [lead.min_price_micros for lead in leads],
            [lead.external_id for lead in leads],
            [lead.owner for lead in leads],
            [lead.answer_in_ms for lead in leads],
            [lead.request for lead in leads],
            [lead.person.key for lead in leads],
            [lead.person.body for lead in leads],
            [lead.phone_index for lead in leads],
            [lead.email_index for lead in leads],
            [key and key.path for key in keys],
            [key and key.key for key in keys],
            [key and key.run for key in keys],
        )
        return [_Opened(word, id_) for word, id_ in zip(words, ids, strict=True)]

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
        return await self._closings.submit(closing)

    async def _close(self, link: Link, batch: Sequence[Closing]) -> Sequence[bytes | None]:
        columns: list[list[Any]] = [
            [closing.lead_id for closing in batch],
            [closing.owner for closing in batch],
            [closing.state.value for closing in batch],
            [closing.reason for closing in batch],
            [closing.receipt for closing in batch],
            [closing.answer for closing in batch],
        ]
        owes = any(closing.owed for closing in batch)
        if owes:
            columns.append([closing.owed for closing in batch])
        answers: Sequence[bytes | None] = await link.fetchval(
            _CLOSE_OWING if owes else _CLOSE, *columns
        )
        return answers

    async def owe_callback(self, lead_id: UUID) -> None:
        await self._lead_db.execute(OWE, [lead_id])

    async def abandon_lead(self, lead_id: UUID, owner: int) -> bool:
        await self._openings.passed(lead_id)  # who opened it may have been cancelled meanwhile
        gone: bool = await self._lead_db.fetchval(_ABANDON, lead_id, owner)
        return gone


def _marks(opening: _Opening) -> Sequence[Hashable]:
    marks: list[Hashable] = [opening.lead.id, opening.lead.ping_id]
    return marks if opening.key is None else [*marks, opening.key]
