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

_LAST_TRY: Final = """SELECT r.endpoint, r.passed, extract(epoch FROM clock_timestamp() - r.at)::float8
FROM certificate r JOIN contract c ON c.id = r.contract_id WHERE c.slug = $1"""
# Beside the rates of sellers and contracts, under the buyer's id with the sign changed: no other row
# has it. `second` is the first of the minute that is counted, which begins with the first of its tries.
_COUNT: Final = """WITH clock AS (SELECT floor(extract(epoch FROM clock_timestamp()))::bigint AS second)
INSERT INTO rate_window AS w (owner, second, used) SELECT -$1::int, second, 1 FROM clock
ON CONFLICT (owner) DO UPDATE SET
  used = CASE WHEN w.second > excluded.second - 60 THEN w.used + 1 ELSE 1 END,
  second = CASE WHEN w.second > excluded.second - 60 THEN w.second ELSE excluded.second END
RETURNING used, greatest(1, second + 60 - (SELECT second FROM clock))"""


@dataclass(frozen=True, slots=True)
class LastTry:
    """What the last report on a contract was about, and how old it is."""

    endpoint: bytes  # digest of what was certified
    passed: bool
    ago_s: float


@dataclass(frozen=True, slots=True)
class Minute:
    """A buyer's present minute of certifications."""

    count: int  # begun in it, this one and refused ones too
    left_s: int  # at least 1


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


async def last_try(db: Database, slug: str) -> LastTry | None:
    """None: the contract was never certified, or there is none."""
    row = await db.fetchrow(_LAST_TRY, slug)
    return None if row is None else LastTry(*row)


async def count_certification(db: Database, buyer: int) -> Minute:
    """Count one more of a buyer's, for all processes together and before it begins."""
    row = await db.fetchrow(_COUNT, buyer)
    assert row is not None, "it is inserted or updated"
    return Minute(*row)
