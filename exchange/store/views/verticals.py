"""What the pages of verticals, plans and posting instructions read."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson

from exchange.posting_guide.history import Version
from exchange.store.database import Database

_COLUMNS: Final = """d.slug, d.body::text AS body, d.version, d.deleted, d.changed_at,
  (SELECT count(*) FROM document c WHERE c.kind = 'contract' AND NOT c.deleted AND c.body->>'vertical' = d.slug) AS contracts,
  (SELECT count(*) FROM document s WHERE s.kind = 'seller' AND NOT s.deleted AND s.body->'verticals' ? d.slug) AS sellers,
  (SELECT p.body->'tiers' FROM document p WHERE p.kind = 'plan' AND p.slug = d.slug AND NOT p.deleted)::text AS tiers"""
_LIST: Final = f"""SELECT {_COLUMNS} FROM document d WHERE d.kind = 'vertical' AND d.deleted = ($1 = 'retired')
ORDER BY d.slug LIMIT 500"""  # noqa: S608 - our own words only
_ONE: Final = f"SELECT {_COLUMNS} FROM document d WHERE d.kind = 'vertical' AND d.slug = $1"  # noqa: S608
_DAYS: Final = """SELECT vertical, sum(pings)::bigint, sum(leads)::bigint, sum(sold)::bigint,
  sum(revenue - returned_revenue)::bigint FROM report_sum
WHERE by = 'seller' AND span = 'hour' AND start > date_trunc('hour', now()) - interval '24 hours' GROUP BY 1"""
_VERSIONS: Final = """SELECT version, changed_at, body::text FROM (
  SELECT version, changed_at, body FROM document_history WHERE kind = $1 AND slug = $2
  ORDER BY version DESC LIMIT $3) x ORDER BY version"""
_PLAN: Final = "SELECT body::text, version, changed_at FROM document WHERE kind = 'plan' AND slug = $1 AND NOT deleted"
_SOLD: Final = """SELECT contract, sum(accepted)::bigint, sum(posts)::bigint FROM report_sum
WHERE by = 'contract' AND span = 'hour' AND vertical = $1
  AND start > date_trunc('hour', now()) - interval '24 hours' GROUP BY 1"""
# Round robin's turn: the last attempt that was accepted, of a contract's newest few.
_LAST: Final = """SELECT c.id, a.at FROM unnest($1::int[]) c(id) CROSS JOIN LATERAL (
  SELECT max(created_at) FILTER (WHERE state = 'accepted') AS at FROM (
    SELECT created_at, state FROM attempt WHERE contract_id = c.id ORDER BY created_at DESC LIMIT 50) x) a
WHERE a.at IS NOT NULL"""
VERSIONS_MAX: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class VerticalRow:
    """A vertical, and what stands on it."""

    slug: str
    body: dict[str, Any]
    version: int
    deleted: bool
    changed_at: datetime
    contracts: int
    sellers: int
    tiers: list[dict[str, Any]] | None  # of its plan; None: the default plan


@dataclass(frozen=True, slots=True)
class Day:
    """Of 24 hours; revenue in micros, after returns."""

    pings: int = 0
    leads: int = 0
    sold: int = 0
    revenue: int = 0


@dataclass(frozen=True, slots=True)
class StoredPlan:
    tiers: list[dict[str, Any]]
    version: int
    changed_at: datetime


async def list_verticals(db: Database, state: str = "") -> list[VerticalRow]:
    """By slug; `retired`: those."""
    return [_row(row) for row in await db.fetch(_LIST, state)]


async def one_vertical(db: Database, slug: str) -> VerticalRow | None:
    """The vertical, retired or not; None: there never was one."""
    row = await db.fetchrow(_ONE, slug)
    return None if row is None else _row(row)


async def days(db: Database) -> dict[str, Day]:
    """The last 24 hours by vertical."""
    return {row[0]: Day(*tuple(row)[1:]) for row in await db.fetch(_DAYS)}


async def versions_of(db: Database, slug: str) -> list[Version]:
    """The newest VERSIONS_MAX, oldest first."""
    rows = await db.fetch(_VERSIONS, "vertical", slug, VERSIONS_MAX)
    return [Version(row[0], row[1], orjson.loads(row[2] or "null")) for row in rows]


async def plan_of(db: Database, vertical: str) -> StoredPlan | None:
    """None: the default plan is in force."""
    row = await db.fetchrow(_PLAN, vertical)
    return None if row is None else StoredPlan(orjson.loads(row[0])["tiers"], row[1], row[2])


async def sold_of(db: Database, vertical: str) -> dict[int, tuple[int, int]]:
    """Sales and posts of 24 hours by contract's id."""
    return {row[0]: (row[1], row[2]) for row in await db.fetch(_SOLD, vertical)}


async def last_sales(db: Database, contracts: list[int]) -> dict[int, datetime]:
    """When each sold last; who did not among its last 50 posts is not named."""
    return {row[0]: row[1] for row in await db.fetch(_LAST, contracts)}


def _row(row: Any) -> VerticalRow:
    values = dict(row)
    values["body"] = orjson.loads(values["body"])
    values["tiers"] = None if values["tiers"] is None else orjson.loads(values["tiers"])
    return VerticalRow(**values)
