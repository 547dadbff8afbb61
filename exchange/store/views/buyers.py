"""What the pages of buyers read."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson

from buyers.money import parse_micros
from exchange.store.database import Database

Row = Mapping[str, Any]

# ruff: noqa: S608 - statements are made of our own words only
_COLUMNS: Final = """y.id, y.slug, d.body::text AS body, d.version, d.deleted, y.active, y.paused, y.prepaid,
  (SELECT b.lim - b.used FROM cap c JOIN bucket b ON b.cap_id = c.id WHERE c.owner = y.id AND c.kind = 'credit') AS available,
  (SELECT count(*) FROM contract c JOIN document k ON k.id = c.id AND NOT k.deleted WHERE c.buyer_id = y.id) AS contracts"""
_STATES: Final = {
    "live": "NOT d.deleted AND y.active AND NOT y.paused",
    "paused": "NOT d.deleted AND y.paused",
    "off": "NOT d.deleted AND NOT y.active",
    "retired": "d.deleted",
}
STATES: Final = tuple(_STATES)
_PAGE: Final = f"""SELECT {_COLUMNS} FROM buyer y JOIN document d ON d.id = y.id
WHERE ($1 = '' OR strpos(y.slug, lower($1)) > 0 OR strpos(lower(d.body->>'name'), lower($1)) > 0)
  AND CASE WHEN $3 THEN $2 = '' OR y.slug < $2 ELSE y.slug > $2 END AND (%s)
ORDER BY CASE WHEN $3 THEN y.slug END DESC, y.slug LIMIT $4"""
_ONE: Final = f"SELECT {_COLUMNS} FROM buyer y JOIN document d ON d.id = y.id WHERE y.slug = $1"
_HELD: Final = """SELECT coalesce(sum(price), 0)::bigint FROM attempt
WHERE buyer_id = $1 AND state IN ('intent', 'unconfirmed')"""
_TROUBLED: Final = """SELECT c.buyer_id, count(*) FROM (
  SELECT DISTINCT ON (contract_id, call) contract_id, open FROM endpoint_health
  WHERE since IS NOT NULL AND at > now() - interval '600 seconds'
  ORDER BY contract_id, call, since DESC, (worker = 0) DESC) h
JOIN contract c ON c.id = h.contract_id AND c.buyer_id = ANY ($1) WHERE h.open GROUP BY 1"""
_SALES: Final = """SELECT a.*, l.vertical, r.id AS return_id, r.status AS returned, d.head->'returns' AS returns
FROM contract c CROSS JOIN LATERAL (
  SELECT id, lead_id, contract, price, detail, created_at FROM attempt
  WHERE contract_id = c.id AND state = 'accepted' AND (created_at, id) < ($2::timestamptz, $3::uuid)
  ORDER BY created_at DESC, id DESC LIMIT $4) a
JOIN lead l ON l.id = a.lead_id JOIN document d ON d.id = c.id LEFT JOIN sale_return r ON r.attempt_id = a.id
WHERE c.buyer_id = $1 ORDER BY a.created_at DESC, a.id DESC LIMIT $4"""
_SALE: Final = """SELECT a.id, a.lead_id, a.contract, a.price, a.created_at, r.status AS returned, d.head->'returns' AS returns
FROM attempt a JOIN document d ON d.id = a.contract_id LEFT JOIN sale_return r ON r.attempt_id = a.id
WHERE a.lead_id = $2 AND a.buyer_id = $1 AND a.state = 'accepted'"""
_DEPOSITS: Final = """SELECT t.at, t.amount, t.note FROM transfer t JOIN buyer y ON y.available = t.credit
WHERE y.id = $1 AND t.kind = 'deposit' ORDER BY t.at DESC LIMIT $2"""
_KEYS: Final = (
    "SELECT count(*) FROM api_key WHERE role = 'buyer' AND owner = $1 AND revoked_at IS NULL"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuyerRow:
    """A buyer and how it stands."""

    id: int
    slug: str
    body: dict[str, Any]
    version: int
    deleted: bool
    active: bool  # as its document says
    paused: bool  # by an operator
    prepaid: bool
    available: int | None  # micros of credit left; None: postpaid
    contracts: int  # not retired

    @property
    def state(self) -> str:
        if self.deleted:
            return "retired"
        if self.paused:
            return "paused"
        return "live" if self.active else "off"

    @property
    def low(self) -> bool:
        """Whether its credit has come to where it stops."""
        stop = parse_micros(self.body.get("low_balance_stop") or 0)
        return self.available is not None and self.available <= stop


async def buyers_page(
    db: Database, search: str, state: str, place: str, limit: int, *, backwards: bool = False
) -> list[BuyerRow]:
    """Buyers by slug after `place`, or, backwards, before it; always in the order of slugs. An
    empty `state`: all that are not retired."""
    sql = _PAGE % _STATES.get(state, "NOT d.deleted")
    found = [_row(row) for row in await db.fetch(sql, search, place, backwards, limit)]
    return found[::-1] if backwards else found


async def one_buyer(db: Database, slug: str) -> BuyerRow | None:
    """The buyer, retired or not; None: there never was one."""
    row = await db.fetchrow(_ONE, slug)
    return None if row is None else _row(row)


async def troubled(db: Database, buyers: list[int]) -> dict[int, int]:
    """How many breakers are open, by buyer's id; who is not named has none."""
    return {row[0]: row[1] for row in await db.fetch(_TROUBLED, buyers)}


async def held_of(db: Database, buyer: int) -> int:
    """Micros held for posts that are open."""
    return int(await db.fetchval(_HELD, buyer))


async def sales_of(
    db: Database, buyer: int, before: tuple[datetime, UUID], limit: int
) -> list[dict[str, Any]]:
    """A buyer's sales, newest award first, with what became of their returns."""
    rows = await db.fetch(_SALES, buyer, *before, limit)
    return [
        {
            **row,
            "detail": orjson.loads(row["detail"]) if row["detail"] else {},
            "returns": orjson.loads(row["returns"] or "null"),
        }
        for row in rows
    ]


async def sale_of_lead(db: Database, buyer: int, lead: UUID) -> dict[str, Any] | None:
    """The buyer's sale of a lead, with its contract's policy on returns; None: there is none."""
    row = await db.fetchrow(_SALE, buyer, lead)
    return None if row is None else {**row, "returns": orjson.loads(row["returns"] or "null")}


async def deposits_of(db: Database, buyer: int, limit: int) -> list[Row]:
    """The last deposits, newest first."""
    return [dict(row) for row in await db.fetch(_DEPOSITS, buyer, limit)]


async def live_keys_of(db: Database, buyer: str) -> int:
    return int(await db.fetchval(_KEYS, buyer))


def _row(row: Any) -> BuyerRow:
    values = dict(row)
    values["body"] = orjson.loads(values["body"])
    return BuyerRow(**values)
