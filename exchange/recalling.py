"""Names whom version and fields ruled out of an auction, long afterwards: receipts only count them."""

from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Final

import orjson

from buyers.contract import Buyer, Contract
from exchange.catalogue import Market, market_of
from exchange.documents import contract_value, plan_value
from exchange.errors import PlacesMissing
from exchange.geo import load_places, within
from exchange.receipt import with_unsuited
from exchange.store.database import Database
from exchange.verticals import Vertical, read_vertical

# The last version of each document at that time; null where it had been retired.
_THEN: Final = """WITH latest AS (
  SELECT DISTINCT ON (kind, slug) kind, slug, body FROM document_history
  WHERE version <= $1 AND kind IN ('vertical', 'plan', 'contract') ORDER BY kind, slug, version DESC)
SELECT kind, body::text FROM latest
WHERE body <> 'null' AND CASE kind WHEN 'contract' THEN body->>'vertical' ELSE slug END = $2 ORDER BY slug"""
_NO_SECRET: Final = "whsec_" + b64encode(bytes(24)).decode()  # nothing is signed


async def recall(db: Database, receipt: Mapping[str, Any]) -> Mapping[str, Any]:
    """A ping's receipt with everybody named who was skipped, judged by the documents of its version."""
    if not receipt.get("unsuited"):
        return receipt
    market = await _market_then(db, receipt["vertical"], receipt["catalogue"])
    return receipt if market is None else with_unsuited(receipt, market)


async def _market_then(db: Database, vertical_slug: str, version: int) -> Market | None:
    rows = [(kind, text) for kind, text in await db.fetch(_THEN, version, vertical_slug)]
    await load_places([text for _kind, text in rows])
    bodies: dict[str, list[dict[str, Any]]] = {"vertical": [], "plan": [], "contract": []}
    for kind, text in rows:
        bodies[kind].append(orjson.loads(text))
    if not bodies["vertical"]:
        return None
    vertical = read_vertical(bodies["vertical"][0])
    plan = plan_value(bodies["plan"][0]) if bodies["plan"] else None
    contracts = [_contract(body, vertical) for body in bodies["contract"]]
    judged = [one for one in contracts if one is not None]
    return market_of(vertical, plan, judged, screens=False)


def _contract(body: dict[str, Any], vertical: Vertical) -> Contract | None:
    """As far as it rules anybody out; None for one that cannot be read, as it could not then."""
    buyer = Buyer(id=0, slug=body["buyer"], name="", currency="", timezone="UTC", active=True)
    try:
        return contract_value(0, body, buyer, vertical, _NO_SECRET, active=True, near=within)
    except (ValueError, LookupError, AssertionError, PlacesMissing):
        return None
