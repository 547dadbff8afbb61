"""What the pages of leads read: the list by any filter, and what the books know of one lead."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson

from exchange.receipt import read
from exchange.store.callbacks import Callbacks
from exchange.store.database import Database
from exchange.store.erasures import erasure_of
from exchange.store.reports import transfers_of
from exchange.store.returns import returns_of
from exchange.store.rows import AttemptState, LeadState
from exchange.store.views.walk import LAST, Cursor, Filters, walk
from exchange.story import Booked, moment_of

# ruff: noqa: S608 - statements are made of our own words only
_PARTIES: Final = """SELECT a.id, y.slug, a.next_try_at FROM attempt a JOIN buyer y ON y.id = a.buyer_id
WHERE a.lead_id = $1"""
_LIMITS: Final = """SELECT h.slug, h.version, (h.body->'endpoint'->>'ping_timeout_ms')::int
FROM unnest($1::text[], $2::bigint[]) w(slug, version)
JOIN document_history h ON h.kind = 'contract' AND h.slug = w.slug AND h.version = w.version
WHERE h.body <> 'null'"""

_KINDS: Final = """SELECT f->>'name', f->>'type' FROM document d, jsonb_array_elements(d.body->'fields') f
WHERE d.kind = 'vertical' AND d.slug = $1"""

_COLUMNS: Final = """l.id, l.ping_id, l.seller, l.vertical, l.test, l.state, l.reason, l.external_id, l.created_at,
  l.closed_at, l.answer, CASE WHEN l.test THEN l.receipt END AS receipt"""
_ROWS: Final = f"SELECT {_COLUMNS} FROM lead l WHERE l.id = ANY ($1)"
_ATTEMPTS: Final = """SELECT a.lead_id, a.contract, a.buyer_id, a.state, a.price, a.payout, a.created_at, a.id,
  r.status AS returned FROM attempt a LEFT JOIN sale_return r ON r.attempt_id = a.id
WHERE a.lead_id = ANY ($1) ORDER BY a.created_at, a.id"""
_LEAD_OF: Final = """SELECT lead_id FROM attempt WHERE id = $1 UNION ALL
SELECT lead_id FROM sale_return WHERE id = $1 LIMIT 1"""
_NAMES: Final = """SELECT kind, id, slug, coalesce(body->>'name', slug), body->>'currency' FROM document
WHERE kind IN ('vertical', 'seller', 'buyer') ORDER BY slug"""
_REASONS: Final = """WITH RECURSIVE known AS (
  (SELECT reason FROM lead WHERE reason IS NOT NULL ORDER BY reason LIMIT 1) UNION ALL
  SELECT (SELECT l.reason FROM lead l WHERE l.reason > k.reason ORDER BY l.reason LIMIT 1) FROM known k
  WHERE k.reason IS NOT NULL)
SELECT reason FROM known WHERE reason IS NOT NULL"""


async def look_up(db: Database, lead_id: UUID, record: Mapping[str, Any]) -> Booked:
    """What only the books know of a lead and its posts; `record` is its ping's receipt."""
    rows = await db.fetch(_PARTIES, lead_id)
    return Booked(
        buyers={id_: buyer for id_, buyer, _ in rows},
        next_tries={id_: at for id_, _, at in rows},
        transfers=await transfers_of(db, [row[0] for row in rows]),
        returns=await returns_of(db, lead_id),
        limits=await limits_of(db, record),
        erasure=await erasure_of(db, lead_id),
        callback=await Callbacks(db).one(lead_id),
    )


async def limits_of(db: Database, record: Mapping[str, Any]) -> dict[tuple[str, int], int]:
    """How long each contract that was asked gave itself, by the version that was asked; milliseconds."""
    asked = [(one["contract"], one["version"]) for one in record["asked"] if one.get("version")]
    if not asked:
        return {}
    rows = await db.fetch(_LIMITS, [one for one, _ in asked], [version for _, version in asked])
    return {(slug, version): limit for slug, version, limit in rows if limit is not None}


async def kinds_of(db: Database, vertical: str) -> dict[str, str]:
    """The types of a vertical's fields, by name."""
    return dict(map(tuple, await db.fetch(_KINDS, vertical)))


# --- the list -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The parties and verticals by number and by slug, retired ones too."""

    sellers: Mapping[int, str]
    buyers: Mapping[int, str]
    currencies: Mapping[str, str]  # of verticals, by slug
    told: Mapping[tuple[str, str], str]  # kind and slug: the name

    def seller(self, slug: str) -> int | None:
        return next((id_ for id_, one in self.sellers.items() if one == slug), None)

    def buyer(self, slug: str) -> int | None:
        return next((id_ for id_, one in self.buyers.items() if one == slug), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sale:
    """One post of a lead in the list; money in micros."""

    contract: str
    buyer: int | None
    state: AttemptState
    price_micros: int
    payout_micros: int
    returned: str | None = None  # the status of its return


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadLine:
    """A lead in a list."""

    id: UUID
    ping_id: UUID
    seller: int
    vertical: str
    test: bool
    state: LeadState
    reason: str | None
    external_id: str | None
    created_at: datetime
    closed_at: datetime | None
    elapsed_ms: int | None  # as the seller was told
    posts: tuple[Sale, ...]

    @property
    def sales(self) -> tuple[Sale, ...]:
        return tuple(one for one in self.posts if one.state is AttemptState.ACCEPTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A page of leads, the newest first."""

    lines: tuple[LeadLine, ...]
    older: UUID | None  # behind this one there may be more
    newer: UUID | None
    reached: datetime | None = None  # the walk was stopped here: older ones were not looked at


async def lead_of(db: Database, id_: UUID) -> UUID | None:
    """The lead of an attempt, which is a sale too, or of a return."""
    found: UUID | None = await db.fetchval(_LEAD_OF, id_)
    return found


async def names_of(db: Database) -> Names:
    rows = [tuple(row) for row in await db.fetch(_NAMES)]
    return Names(
        sellers={id_: slug for kind, id_, slug, _, _ in rows if kind == "seller"},
        buyers={id_: slug for kind, id_, slug, _, _ in rows if kind == "buyer"},
        currencies={
            slug: currency or "USD" for kind, _, slug, _, currency in rows if kind == "vertical"
        },
        told={(kind, slug): name for kind, _, slug, name, _ in rows},
    )


async def reasons_of(db: Database) -> list[str]:
    """Every reason that some lead is unsold for."""
    return [row[0] for row in await db.fetch(_REASONS)]


async def find_leads(db: Database, names: Names, wanted: Filters, at: Cursor, limit: int) -> Found:
    """One page. It takes WALK_S or little more, whatever is asked for."""
    verticals, sellers = list(names.currencies), list(names.sellers)
    ids, stopped = await walk(db, verticals, sellers, wanted, at, limit + 1)
    page, more = ids[:limit], len(ids) > limit
    if at.forth and not (more or stopped):  # as far forth as there is: that is the first page
        return await find_leads(db, names, wanted, Cursor(), limit)
    lines = await lines_of(db, sorted(page, reverse=True))
    behind = page[-1] if more else stopped
    # A page on which nothing fits leads back to where it began, the lead that stands there included.
    if at.forth:
        older = page[0] if page else UUID(int=min(at.id.int + 1, LAST.int))
        return Found(lines=lines, older=older, newer=behind)
    newer = (page[0] if page else UUID(int=max(at.id.int - 1, 0))) if at.id != LAST else None
    reached = None if more or stopped is None else moment_of(stopped)
    return Found(lines=lines, older=behind, newer=newer, reached=reached)


async def every_lead(
    db: Database, names: Names, wanted: Filters, batch: int
) -> AsyncIterator[LeadLine]:
    """All leads that fit, the newest first, read a batch at a time."""
    at: UUID | None = LAST
    while at is not None:
        found = await find_leads(db, names, wanted, Cursor(id=at), batch)
        for line in found.lines:
            yield line
        at = found.older


async def lines_of(db: Database, ids: Sequence[UUID]) -> tuple[LeadLine, ...]:
    """These leads, in this order."""
    rows = {row["id"]: row for row in await db.fetch(_ROWS, ids)}
    posts: dict[UUID, list[Sale]] = {}
    for row in await db.fetch(_ATTEMPTS, ids):
        sale = Sale(
            contract=row["contract"], buyer=row["buyer_id"], state=AttemptState(row["state"]),
            price_micros=row["price"], payout_micros=row["payout"], returned=row["returned"],
        )  # fmt: skip
        posts.setdefault(row["lead_id"], []).append(sale)
    return tuple(_line(rows[id_], posts.get(id_, ())) for id_ in ids if id_ in rows)


def _line(row: Any, posts: Iterable[Sale]) -> LeadLine:
    answer = orjson.loads(row["answer"]) if row["answer"] else {}
    if row["receipt"]:  # a test's posts are nowhere else
        posts = map(_unbooked, read(row["receipt"])["attempts"])
    return LeadLine(
        id=row["id"],
        ping_id=row["ping_id"],
        seller=row["seller"],
        vertical=row["vertical"],
        test=row["test"],
        state=LeadState(row["state"]),
        reason=row["reason"],
        external_id=row["external_id"],
        created_at=row["created_at"],
        closed_at=row["closed_at"],
        elapsed_ms=answer.get("elapsed_ms"),
        posts=tuple(posts),
    )


def _unbooked(one: Mapping[str, Any]) -> Sale:
    return Sale(
        contract=one["contract"],
        buyer=None,
        state=AttemptState(one["state"]),
        price_micros=one["price"],
        payout_micros=one["payout"],
    )
