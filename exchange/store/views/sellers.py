"""What the pages of sellers read: the list, one seller's day, and what became of its leads."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson

from exchange.store.database import Database

# ruff: noqa: S608 - statements are made of our own words only
_STATES: Final = {
    "live": "NOT d.deleted AND d.body->'active' = 'true'",
    "paused": "NOT d.deleted AND d.body->'active' = 'false'",
    "retired": "d.deleted",
}
STATES: Final = tuple(_STATES)
_COLUMNS: Final = "d.id, d.slug, d.body::text AS body, d.version, d.deleted, d.changed_at"
_PAGE: Final = f"""SELECT {_COLUMNS} FROM document d WHERE d.kind = 'seller' AND (%s)
  AND ($1 = '' OR strpos(d.slug, lower($1)) > 0 OR strpos(lower(d.body->>'name'), lower($1)) > 0)
  AND ($2 = '' OR d.body->'verticals' ? $2)
  AND CASE WHEN $4 THEN $3 = '' OR d.slug < $3 ELSE d.slug > $3 END
ORDER BY CASE WHEN $4 THEN d.slug END DESC, d.slug LIMIT $5"""
_ONE: Final = f"SELECT {_COLUMNS} FROM document d WHERE d.kind = 'seller' AND d.slug = $1"
# Whole hours of the last 24; the sums follow what happens by a minute.
_FIGURES: Final = """SELECT seller, currency, sum(pings)::bigint, sum(quotes)::bigint, sum(leads)::bigint, sum(sold)::bigint,
  sum(payout - returned_payout)::bigint, sum(revenue - payout - returned_revenue + returned_payout)::bigint
FROM report_sum WHERE by = 'seller' AND span = 'hour' AND seller = ANY ($1)
  AND start > date_trunc('hour', now()) - interval '24 hours' GROUP BY 1, 2 ORDER BY 1, 2"""
_HOURS: Final = """SELECT start, sum(pings)::bigint, sum(leads)::bigint, sum(sold)::bigint FROM report_sum
WHERE by = 'seller' AND span = 'hour' AND seller = $1
  AND start > date_trunc('hour', now()) - interval '24 hours' GROUP BY 1"""
_VERTICALS: Final = """SELECT vertical, currency, sum(pings)::bigint, sum(quotes)::bigint, sum(leads)::bigint, sum(sold)::bigint,
  sum(payout - returned_payout)::bigint, sum(revenue - payout - returned_revenue + returned_payout)::bigint
FROM report_sum WHERE by = 'seller' AND span = 'hour' AND seller = $1
  AND start > date_trunc('hour', now()) - interval '24 hours' GROUP BY 1, 2 ORDER BY 1, 2"""
# Of the newest so many that nobody bought within 24 hours.
_UNSOLD: Final = """SELECT reason, count(*) FROM (
  SELECT reason FROM lead WHERE seller = $1 AND state = 'unsold' AND id > first_id(now() - interval '24 hours') AND NOT test
  ORDER BY id DESC LIMIT $2) x GROUP BY 1 ORDER BY 2 DESC, 1"""
_LAST: Final = """SELECT created_at FROM lead WHERE seller = $1 AND state = ANY ('{open,sold,unsold}') AND NOT test
ORDER BY id DESC LIMIT 1"""
_KEYS: Final = "SELECT count(*) FROM api_key WHERE role = 'seller' AND owner = $1 AND revoked_at IS NULL AND id NOT LIKE 'try%'"
_HEADS: Final = """SELECT slug, body->>'name' AS name, body->>'currency' AS currency, body->'margin' AS margin
FROM document WHERE kind = 'vertical' AND NOT deleted ORDER BY slug LIMIT 1000"""
UNSOLD_MAX: Final = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SellerRow:
    """A seller as its document says."""

    id: int
    slug: str
    body: dict[str, Any]
    version: int
    deleted: bool
    changed_at: datetime

    @property
    def state(self) -> str:
        return "retired" if self.deleted else "live" if self.body["active"] else "paused"


@dataclass(frozen=True, slots=True)
class Day:
    """Of 24 hours. Money is micros, after returns."""

    currency: str = "USD"
    pings: int = 0
    quotes: int = 0
    leads: int = 0
    sold: int = 0
    payout: int = 0
    margin: int = 0


@dataclass(frozen=True, slots=True)
class Hour:
    start: datetime
    pings: int
    leads: int
    sold: int


@dataclass(frozen=True, slots=True)
class VerticalHead:
    slug: str
    name: str
    currency: str
    margin: dict[str, Any]


async def sellers_page(
    db: Database,
    search: str,
    vertical: str,
    state: str,
    place: str,
    limit: int,
    *,
    backwards: bool = False,
) -> list[SellerRow]:
    """Sellers by slug after `place`, or, backwards, before it; always in the order of slugs. An empty
    `state`: all that are not retired; an empty `vertical`: any."""
    sql = _PAGE % _STATES.get(state, "NOT d.deleted")
    rows = [_row(row) for row in await db.fetch(sql, search, vertical, place, backwards, limit)]
    return rows[::-1] if backwards else rows


async def one_seller(db: Database, slug: str) -> SellerRow | None:
    """The seller, retired or not; None: there never was one."""
    row = await db.fetchrow(_ONE, slug)
    return None if row is None else _row(row)


async def days_of(db: Database, sellers: Sequence[int]) -> dict[int, list[Day]]:
    """The last 24 hours by seller's id, one line a currency; who is not named did nothing."""
    found: dict[int, list[Day]] = {}
    for row in await db.fetch(_FIGURES, list(sellers)):
        found.setdefault(row[0], []).append(Day(*tuple(row)[1:]))
    return found


async def hours_of(db: Database, seller: int) -> list[Hour]:
    """Those of the last 24 hours in which something happened, in no order."""
    return [Hour(*row) for row in await db.fetch(_HOURS, seller)]


async def verticals_of(db: Database, seller: int) -> list[tuple[str, Day]]:
    """The last 24 hours by vertical."""
    return [(row[0], Day(*tuple(row)[1:])) for row in await db.fetch(_VERTICALS, seller)]


async def unsold_of(db: Database, seller: int) -> list[tuple[str, int]]:
    """Why nobody bought its leads of 24 hours, most frequent first; of the newest UNSOLD_MAX."""
    return [(row[0], row[1]) for row in await db.fetch(_UNSOLD, seller, UNSOLD_MAX)]


async def last_lead_of(db: Database, seller: int) -> datetime | None:
    found: datetime | None = await db.fetchval(_LAST, seller)
    return found


async def live_keys_of(db: Database, seller: str) -> int:
    return int(await db.fetchval(_KEYS, seller))


async def vertical_heads(db: Database) -> list[VerticalHead]:
    """Verticals in force, by slug."""
    rows = await db.fetch(_HEADS)
    return [VerticalHead(r[0], r[1], r[2], orjson.loads(r[3] or "{}")) for r in rows]


def _row(row: Any) -> SellerRow:
    values = dict(row)
    values["body"] = orjson.loads(values["body"])
    return SellerRow(**values)
