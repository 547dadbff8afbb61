"""What certification found out about contracts' endpoints: the last report of each."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import orjson

from buyers.certify import Repeats, Report, endpoint_digest
from buyers.contract import Contract
from exchange.store.database import Database
from exchange.store.stored import StoredCertificate

_PUT: Final = """INSERT INTO certificate (contract_id, endpoint, passed, repeats, report)
SELECT id, $2, $3, $4, $5::text::jsonb FROM contract WHERE slug = $1
ON CONFLICT (contract_id) DO UPDATE SET endpoint = EXCLUDED.endpoint, passed = EXCLUDED.passed,
  repeats = EXCLUDED.repeats, report = EXCLUDED.report, at = now() RETURNING at"""
_LAST: Final = """SELECT r.at, r.report::text FROM certificate r JOIN contract c ON c.id = r.contract_id
WHERE c.slug = $1"""


@dataclass(frozen=True, slots=True)
class Certified:
    """A report and when it was stored."""

    at: datetime
    report: dict[str, Any]  # as Report.show() wrote it


def as_certified(contract: Contract, certificate: StoredCertificate | None) -> Contract:
    """The contract with what was seen of its endpoint, as long as that is the one certified."""
    if certificate is None or certificate.repeats != Repeats.CONFLICT:
        return contract
    if certificate.endpoint != endpoint_digest(contract):
        return contract
    return replace(contract, endpoint=replace(contract.endpoint, conflict_means_accepted=True))


async def put_certificate(
    db: Database, slug: str, endpoint: bytes, report: Report
) -> Certified | None:
    """Keep the last report on a contract; `endpoint` is the digest of what was certified. None:
    there is no such contract."""
    shown = report.show()
    text = orjson.dumps(shown).decode()
    at = await db.fetchval(_PUT, slug, endpoint, report.passed, report.repeats, text)
    return None if at is None else Certified(at, shown)


async def last_certificate(db: Database, slug: str) -> Certified | None:
    """None: the contract was never certified."""
    row = await db.fetchrow(_LAST, slug)
    return None if row is None else Certified(row[0], orjson.loads(row[1]))
