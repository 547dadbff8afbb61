"""What the pages of contracts read: lists by page, figures of a day, one contract with everything on it.

Filters may hold 50,000 values: lists read a document's `head`, which is the document without them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson

from exchange.receipt import read
from exchange.store.database import Database

Row = Mapping[str, Any]

_COLUMNS: Final = """d.id, d.slug, d.version, d.head::text AS head, d.conditions, d.deleted, c.paused,
  y.paused AS buyer_paused, y.active AS buyer_active, y.currency, r.passed AS certified, r.at AS certified_at"""
_FROM: Final = """FROM document d JOIN contract c ON c.id = d.id JOIN buyer y ON y.id = c.buyer_id
LEFT JOIN certificate r ON r.contract_id = d.id """
_STATES: Final = {
    "live": "NOT d.deleted AND d.head->'active' = 'true' AND NOT c.paused AND y.active AND NOT y.paused",
    "paused": "NOT d.deleted AND (c.paused OR y.paused OR NOT y.active)",
    "off": "NOT d.deleted AND d.head->'active' = 'false'",
    "uncertified": "NOT d.deleted AND r.passed IS NOT TRUE",
    "retired": "d.deleted",
}
STATES: Final = tuple(_STATES)
# An empty text says: whatever. `$6` true: the page before, read backwards.
_PAGE: Final = f"""SELECT {_COLUMNS} {_FROM}
WHERE d.kind = 'contract' AND ($1 = '' OR d.head->>'buyer' = $1) AND ($2 = '' OR d.head->>'vertical' = $2)
  AND ($3 = '' OR d.head->>'tier' = $3)
  AND ($4 = '' OR strpos(d.slug, $4) > 0 OR strpos(d.head->>'buyer', $4) > 0)
  AND CASE WHEN $6 THEN $5 = '' OR d.slug < $5 ELSE d.slug > $5 END AND (%s)
ORDER BY CASE WHEN $6 THEN d.slug END DESC, d.slug LIMIT $7"""
_ONE: Final = f"""SELECT {_COLUMNS}, d.body::text AS body, d.changed_at, y.slug AS buyer {_FROM}
WHERE d.kind = 'contract' AND d.slug = $1"""
_CAPS: Final = """SELECT c.owner, c.kind, c.period, c.tz, c.lim, c.paced, coalesce(b.used, 0) AS used,
  CASE WHEN c.period <> 'total' THEN
    first_instant(bucket_start(c.period, c.tz) + ('1 ' || c.period)::interval, c.tz) END AS resets_at
FROM cap c LEFT JOIN bucket b ON b.cap_id = c.id AND b.start = bucket_start(c.period, c.tz)
WHERE c.owner = ANY ($1) AND c.kind NOT IN ('credit', 'share') ORDER BY c.owner, c.id"""
# The newest word on each breaker counts, an operator's before a worker's (exchange/hearsay.py).
_BREAKERS: Final = """SELECT DISTINCT ON (contract_id, call) contract_id, call, open, retry_at <= now() AS may_try, since
FROM endpoint_health WHERE contract_id = ANY ($1) AND since IS NOT NULL AND at > now() - interval '600 seconds'
ORDER BY contract_id, call, since DESC, (worker = 0) DESC"""
_ATTEMPTS: Final = """SELECT a.id, a.lead_id, a.state, a.price, a.tier, a.detail, a.created_at, a.settled_at, r.status AS returned
FROM attempt a LEFT JOIN sale_return r ON r.attempt_id = a.id
WHERE a.contract_id = $1 ORDER BY a.created_at DESC LIMIT $2"""
_CERTIFICATES: Final = """SELECT id, at, passed, repeats FROM certificate_history
WHERE contract_id = $1 ORDER BY id DESC LIMIT $2"""
_CERTIFICATE: Final = """SELECT at, passed, repeats, report::text AS report FROM certificate_history
WHERE contract_id = $1 AND ($2::bigint IS NULL OR id = $2) ORDER BY id DESC LIMIT 1"""
_VERSIONS: Final = """SELECT version, changed_by, changed_at, body::text AS body FROM document_history
WHERE kind = $1 AND slug = $2 AND version <= $3 ORDER BY version DESC LIMIT $4"""
_NAMES: Final = """SELECT kind, slug FROM document WHERE kind = ANY ($1) AND NOT deleted ORDER BY kind, slug LIMIT 5000"""
_EVENTS: Final = """SELECT at, by, what, detail::text AS detail FROM console_event
WHERE subject = $1 ORDER BY id DESC LIMIT $2"""
_TIERS: Final = """SELECT DISTINCT head->>'tier' FROM document
WHERE kind = 'contract' AND NOT deleted AND ($1 = '' OR head->>'vertical' = $1) ORDER BY 1 LIMIT 200"""
# Of the days that are left out nothing is opened.
_PINGS: Final = """SELECT at, receipt FROM ping WHERE id > first_id(now() - interval '3 days')
ORDER BY id DESC LIMIT $1"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractFilter:
    """What a list of contracts is asked for; an empty text: whatever."""

    buyer: str = ""
    vertical: str = ""
    tier: str = ""
    state: str = ""  # one of STATES; empty: every one that is not retired
    search: str = ""  # in its slug or its buyer's


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A contract in a list."""

    id: int
    slug: str
    version: int
    head: dict[str, Any]  # its document without its filters
    conditions: int  # filters at the top
    deleted: bool
    paused: bool  # by an operator
    buyer_paused: bool
    buyer_active: bool
    currency: str
    certified: bool | None  # None: never tried
    certified_at: datetime | None

    @property
    def state(self) -> str:
        """In one word; what stands above it comes first."""
        if self.deleted:
            return "retired"
        if self.buyer_paused or not self.buyer_active:
            return "buyer paused"
        if self.paused:
            return "paused"
        return "live" if self.head["active"] else "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored(Listed):
    """One contract whole."""

    body: dict[str, Any]
    changed_at: datetime
    buyer: str


async def contracts_page(
    db: Database, wanted: ContractFilter, place: str, limit: int, *, backwards: bool = False
) -> list[Listed]:
    """Contracts by slug after `place`, or, backwards, before it; always in the order of slugs."""
    state = _STATES.get(wanted.state, "NOT d.deleted")
    rows = await db.fetch(
        _PAGE % state, wanted.buyer, wanted.vertical, wanted.tier, wanted.search, place, backwards,
        limit,
    )  # fmt: skip
    found = [Listed(**_decoded(row)) for row in rows]
    return found[::-1] if backwards else found


async def one_contract(db: Database, slug: str) -> Stored | None:
    """The contract, retired or not; None: there never was one."""
    row = await db.fetchrow(_ONE, slug)
    return None if row is None else Stored(**_decoded(row))


async def caps_of(db: Database, owners: Sequence[int]) -> dict[int, list[Row]]:
    """Caps of contracts or buyers with what is used of them, as they were written, by owner's id.
    `resets_at` is None for what has no end."""
    found: dict[int, list[Row]] = {owner: [] for owner in owners}
    for row in await db.fetch(_CAPS, list(owners)):
        found[row["owner"]].append(dict(row))
    return found


async def breakers_of(db: Database, contracts: Sequence[int]) -> dict[int, dict[str, Row]]:
    """The newest word on every breaker that ever opened, by contract's id and call."""
    found: dict[int, dict[str, Row]] = {}
    for row in await db.fetch(_BREAKERS, list(contracts)):
        found.setdefault(row["contract_id"], {})[row["call"]] = dict(row)
    return found


async def attempts_of(db: Database, contract: int, limit: int) -> list[Row]:
    """The last posts under a contract, newest first."""
    return [dict(row) for row in await db.fetch(_ATTEMPTS, contract, limit)]


async def certificates_of(db: Database, contract: int, limit: int) -> list[Row]:
    """The last certifications, newest first, without their reports."""
    return [dict(row) for row in await db.fetch(_CERTIFICATES, contract, limit)]


async def certificate_of(db: Database, contract: int, id_: int | None) -> Row | None:
    """One certification with its report; the last one if none is named."""
    row = await db.fetchrow(_CERTIFICATE, contract, id_)
    return None if row is None else {**row, "report": orjson.loads(row["report"])}


async def versions_of(
    db: Database, kind: str, slug: str, newest: int, limit: int
) -> list[dict[str, Any]]:
    """Versions of a document from that one on, newest first; `body` None: it was retired."""
    rows = await db.fetch(_VERSIONS, kind, slug, newest, limit)
    return [{**row, "body": orjson.loads(row["body"])} for row in rows]


async def slugs_of(db: Database, *kinds: str) -> dict[str, list[str]]:
    """The documents in force of these kinds."""
    found: dict[str, list[str]] = {kind: [] for kind in kinds}
    for kind, slug in await db.fetch(_NAMES, list(kinds)):
        found[kind].append(slug)
    return found


async def tiers_of(db: Database, vertical: str) -> list[str]:
    """The tiers that contracts name, in one vertical or, of an empty text, in any."""
    return [row[0] for row in await db.fetch(_TIERS, vertical)]


async def events_of(db: Database, subject: str, limit: int) -> list[Row]:
    """What people did to `buyer acme` that is in no document's history, newest first."""
    rows = await db.fetch(_EVENTS, subject, limit)
    return [{**row, "detail": orjson.loads(row["detail"])} for row in rows]


async def recent_pings(db: Database, limit: int) -> list[tuple[datetime, Any]]:
    """The last pings' receipts, newest first, of all verticals; tests too."""
    return [(row[0], read(row[1])) for row in await db.fetch(_PINGS, limit)]


def _decoded(row: Any) -> dict[str, Any]:
    values = dict(row)
    for name in ("head", "body"):
        if name in values:
            values[name] = orjson.loads(values[name])
    return values
