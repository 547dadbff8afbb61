"""What operators and buyers look up: documents by page, sales, leads, caps in use, who changed what."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

import orjson

from exchange.store.catalogue import StoredDocument
from exchange.store.database import Database
from exchange.store.leads import LEAD_COLUMNS, lead_row
from exchange.store.rows import LeadRow

Row = Mapping[str, Any]

_ONE: Final = (
    "SELECT id, body::text, secret, version, deleted FROM document WHERE kind = $1 AND slug = $2"
)
_PAGE: Final = """SELECT slug, id, body::text, secret, version, deleted FROM document
WHERE kind = $1 AND NOT deleted AND slug > $3 AND ($2::text IS NULL OR body->>'buyer' = $2)
ORDER BY slug LIMIT $4"""
# Newest first by the award, contract by contract: that is how attempts are indexed.
_SALES: Final = """SELECT a.*, l.ping_id, l.vertical, y.currency, y.slug AS buyer, e.done_at AS erased_at
FROM buyer y CROSS JOIN contract c CROSS JOIN LATERAL (
  SELECT id, lead_id, contract, price, bid_id, detail, created_at, settled_at FROM attempt
  WHERE contract_id = c.id AND state = 'accepted' AND (created_at, id) < ($2::timestamptz, $3::uuid)
  ORDER BY created_at DESC, id DESC LIMIT $4) a
JOIN lead l ON l.id = a.lead_id LEFT JOIN erasure e ON e.lead_id = a.lead_id
WHERE c.buyer_id = y.id AND y.slug = $1 ORDER BY a.created_at DESC, a.id DESC LIMIT $4"""
_CAPS: Final = """SELECT c.kind, c.period, c.lim, coalesce(b.used, 0) AS used,
  CASE WHEN c.period <> 'total' THEN bucket_start(c.period, c.tz) AT TIME ZONE c.tz END AS start
FROM cap c LEFT JOIN bucket b ON b.cap_id = c.id AND b.start = bucket_start(c.period, c.tz)
WHERE c.owner = $1 AND c.kind NOT IN ('credit', 'share') ORDER BY c.id"""
_CREDIT: Final = """SELECT y.currency, y.prepaid,
  (SELECT b.lim - b.used FROM cap c JOIN bucket b ON b.cap_id = c.id WHERE c.owner = y.id AND c.kind = 'credit') AS available,
  (SELECT coalesce(sum(price), 0)::bigint FROM attempt WHERE buyer_id = y.id AND state IN ('intent', 'unconfirmed')) AS held
FROM buyer y WHERE y.slug = $1"""
_ATTEMPTS: Final = """SELECT a.id, a.contract, y.slug AS buyer, a.tier, a.state, a.price, a.payout, a.bid_id, a.detail, a.tries,
  a.created_at, a.settled_at, a.next_try_at
FROM attempt a JOIN buyer y ON y.id = a.buyer_id WHERE a.lead_id = $1 ORDER BY a.created_at, a.id"""
_TRANSFERS: Final = """SELECT t.ref, t.kind, t.amount, t.at, t.note, f.kind AS from_kind, df.slug AS from_owner,
  g.kind AS to_kind, dg.slug AS to_owner
FROM transfer t JOIN account f ON f.id = t.debit JOIN account g ON g.id = t.credit
LEFT JOIN document df ON df.id = f.owner LEFT JOIN document dg ON dg.id = g.owner
WHERE t.ref = ANY ($1) ORDER BY t.at, t.kind"""
_AUDIT: Final = """SELECT h.kind, h.slug, h.version, h.changed_by, h.changed_at, h.body::text AS body, p.body::text AS before
FROM document_history h LEFT JOIN LATERAL (
  SELECT body FROM document_history WHERE kind = h.kind AND slug = h.slug AND version < h.version
  ORDER BY version DESC LIMIT 1) p ON true
WHERE h.version < $1 AND ($2::text IS NULL OR h.kind = $2) AND ($3::text IS NULL OR h.slug = $3)
ORDER BY h.version DESC LIMIT $4"""
_VERSIONS: Final = """SELECT version, changed_by, changed_at, body::text AS body FROM document_history
WHERE kind = $1 AND slug = $2 AND version < $3 ORDER BY version DESC LIMIT $4"""
_CURRENCY: Final = "SELECT body->>'currency' FROM document WHERE kind = 'vertical' AND slug = $1"
_SLUG: Final = "SELECT slug FROM document WHERE id = $1"
_FILTERS: Final = {
    "state": "state = $", "external_id": "external_id = $",
    "seller": "seller = (SELECT id FROM document WHERE kind = 'seller' AND slug = $",
}  # fmt: skip


async def one_document(db: Database, kind: str, slug: str) -> StoredDocument | None:
    row = await db.fetchrow(_ONE, kind, slug)
    return None if row is None else _stored(*row)


async def documents_page(
    db: Database, kind: str, buyer: str | None, after: str, limit: int
) -> list[tuple[str, StoredDocument]]:
    """Documents in force by slug; of one buyer where it is named."""
    rows = await db.fetch(_PAGE, kind, buyer, after, limit)
    return [(row[0], _stored(*row[1:])) for row in rows]


async def sales_page(db: Database, buyer: str, before: Any, limit: int) -> list[Row]:
    """A buyer's accepted attempts, newest award first. `before`: time and id of the page's last."""
    return [dict(row) for row in await db.fetch(_SALES, buyer, *before, limit)]


async def caps_in_use(db: Database, owner: int) -> list[Row]:
    """Every cap of a contract or a buyer with what the current period has used."""
    return [dict(row) for row in await db.fetch(_CAPS, owner)]


async def credit_of(db: Database, buyer: str) -> Row:
    """`available` is null for a postpaid buyer."""
    row = await db.fetchrow(_CREDIT, buyer)
    assert row is not None, "every buyer document has its row"
    return dict(row)


async def leads_page(
    db: Database, filters: Mapping[str, str], before: UUID, limit: int
) -> list[LeadRow]:
    """Leads, newest first, by state, external id and seller's slug."""
    where: list[str] = ["id < $1"]
    values: list[Any] = [before, limit]
    for name, value in filters.items():
        values.append(value)
        close = ")" if "(" in _FILTERS[name] else ""
        where.append(f"{_FILTERS[name]}{len(values)}{close}")
    sql = f"SELECT {LEAD_COLUMNS} FROM lead WHERE {' AND '.join(where)} ORDER BY id DESC LIMIT $2"  # noqa: S608 - our own words only
    return [lead_row(tuple(row)) for row in await db.fetch(sql, *values)]


async def attempts_of(db: Database, lead_id: UUID) -> list[Row]:
    return [dict(row) for row in await db.fetch(_ATTEMPTS, lead_id)]


async def transfers_of(db: Database, attempts: list[UUID]) -> list[Row]:
    """What was booked for these attempts, with the names of both sides."""
    return [dict(row) for row in await db.fetch(_TRANSFERS, attempts)]


async def audit_page(
    db: Database, kind: str | None, slug: str | None, before: int, limit: int
) -> list[Row]:
    """Every change of a document, newest first, beside what it was before."""
    return [dict(row) for row in await db.fetch(_AUDIT, before, kind, slug, limit)]


async def versions_page(db: Database, kind: str, slug: str, before: int, limit: int) -> list[Row]:
    """Every version of one document that was ever in force, newest first."""
    return [dict(row) for row in await db.fetch(_VERSIONS, kind, slug, before, limit)]


async def currency_of(db: Database, vertical: str) -> str:
    return await db.fetchval(_CURRENCY, vertical) or "USD"


async def slug_of_party(db: Database, id_: int) -> str | None:
    found: str | None = await db.fetchval(_SLUG, id_)
    return found


def _stored(
    id_: int, body: str, secret: bytes | None, version: int, deleted: bool
) -> StoredDocument:
    return StoredDocument(id_, orjson.loads(body), secret, version, paused=False, deleted=deleted)
