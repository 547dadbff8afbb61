"""Names whom version and fields ruled out of an auction, long afterwards: receipts only count them."""

import asyncio
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, NamedTuple

import orjson

from buyers.contract import Buyer, Contract
from exchange.catalogue import Market, entry_of, market_of
from exchange.documents import contract_value, plan_value
from exchange.eligibility import Entry
from exchange.erasure import ERASED
from exchange.errors import PlacesMissing
from exchange.geo import load_places, within
from exchange.receipt import with_unsuited
from exchange.store.database import Database
from exchange.verticals import Vertical, read_vertical

# The last version of each document at that time; null where it had been retired.
_THEN: Final = """WITH latest AS (
  SELECT DISTINCT ON (kind, slug) kind, slug, version, body FROM document_history
  WHERE version <= $1 AND kind IN ('vertical', 'plan', 'contract') ORDER BY kind, slug, version DESC)
SELECT kind, slug, version, body::text FROM latest
WHERE body <> 'null' AND CASE kind WHEN 'contract' THEN body->>'vertical' ELSE slug END = $2 ORDER BY slug"""
_CONTRACT_THEN: Final = """SELECT body::text, version FROM document_history
WHERE kind = 'contract' AND slug = $1 AND body <> 'null'
  AND CASE WHEN $2::bigint IS NULL THEN changed_at <= coalesce($3::timestamptz, 'infinity') ELSE version = $2 END
ORDER BY version DESC LIMIT 1"""
_VERTICAL_THEN: Final = """SELECT body::text FROM document_history
WHERE kind = 'vertical' AND slug = $1 AND body <> 'null' ORDER BY version > $2, abs(version - $2) LIMIT 1"""
_KEPT_MAX: Final = 20_000  # contracts
_NO_SECRET: Final = "whsec_" + b64encode(bytes(24)).decode()  # nothing is signed


@dataclass(slots=True)
class Kept:
    """Contracts as they were, for whoever recalls again and again: what was then never changes."""

    entries: dict[tuple[str, int, int], Entry | None] = field(default_factory=dict)
    checks: dict[tuple[str, int], Market] = field(default_factory=dict)  # verticals, by version

    def forget(self) -> None:
        """Begin anew before it grows too large."""
        if len(self.entries) > _KEPT_MAX:
            self.entries.clear()
            self.checks.clear()


async def recall(
    db: Database, receipt: Mapping[str, Any], kept: Kept | None = None
) -> Mapping[str, Any]:
    """A ping's receipt with everybody named who was skipped, judged by the documents of its version."""
    if not receipt.get("unsuited") or receipt.get(ERASED):  # nobody knows its fields any more
        return receipt
    market = await _market_then(db, receipt["vertical"], receipt["catalogue"], kept or Kept())
    return receipt if market is None else with_unsuited(receipt, market)


async def contract_then(
    db: Database, vertical: str, slug: str, version: int | None, at: datetime | None
) -> Contract | None:
    """A contract as it was at a version, or at a moment; None when that cannot be read any more."""
    row = await db.fetchrow(_CONTRACT_THEN, slug, version, at)
    found = row and await db.fetchrow(_VERTICAL_THEN, vertical, row[1])
    if not row or not found:
        return None
    await load_places([row[0]])
    return _contract(orjson.loads(row[0]), read_vertical(orjson.loads(found[0])))


async def _market_then(db: Database, vertical: str, version: int, kept: Kept) -> Market | None:
    rows = [_Then(*row) for row in await db.fetch(_THEN, version, vertical)]
    await load_places([row.body for row in rows])
    kept.forget()
    # A thousand contracts take a while to compile; others go on meanwhile.
    return await asyncio.to_thread(_build, rows, kept)


class _Then(NamedTuple):
    kind: str
    slug: str
    version: int
    body: str


def _build(rows: list[_Then], kept: Kept) -> Market | None:
    found = {row.kind: row for row in rows if row.kind != "contract"}
    if "vertical" not in found:
        return None
    then = found["vertical"]
    vertical = read_vertical(orjson.loads(then.body))
    known = kept.checks.get((then.slug, then.version))
    plan = plan_value(orjson.loads(found["plan"].body)) if "plan" in found else None
    market = market_of(vertical, plan, (), known, screens=False)
    kept.checks[then.slug, then.version] = market
    judged: list[Entry] = []
    for row in rows:
        key = (row.slug, row.version, then.version)
        if row.kind != "contract":
            continue
        if key in kept.entries:
            entry = kept.entries[key]
        else:
            contract = _contract(orjson.loads(row.body), vertical)
            entry = kept.entries[key] = None if contract is None else entry_of(contract)
        if entry is not None:
            judged.append(entry)
    return replace(market, contracts=tuple(judged), by_slug={one[0].slug: one for one in judged})


def _contract(body: dict[str, Any], vertical: Vertical) -> Contract | None:
    """As far as it rules anybody out; None for one that cannot be read, as it could not then."""
    buyer = Buyer(id=0, slug=body["buyer"], name="", currency="", timezone="UTC", active=True)
    try:
        return contract_value(0, body, buyer, vertical, _NO_SECRET, active=True, near=within)
    except (ValueError, LookupError, AssertionError, PlacesMissing):
        return None
