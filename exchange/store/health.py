"""How workers find endpoints, as rows: written by each, read by all, forgotten after ten minutes."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import orjson

from buyers.throttle import STARTS_AT
from exchange.store.database import Database

STALE_S: Final = 600  # an older row says nothing any more
OPERATOR: Final = 0  # no worker has this id
_OVERLAP: Final = timedelta(seconds=10)  # a row may be committed that much after it was stamped

_COLUMNS: Final = (
    "contract_id, call, worker, open, since, retry_at, openings, good, bad, score, results, share,"
    " dry_run, failures::text AS failures, at"
)
_PUT: Final = """
INSERT INTO endpoint_health AS h (contract_id, call, worker, open, since, retry_at, openings, good, bad,
  score, results, share, dry_run, failures, at, told_at)
SELECT *, clock_timestamp(), clock_timestamp() FROM unnest($1::int[], $2::text[], $3::int[], $4::boolean[],
  $5::timestamptz[], $6::timestamptz[], $7::int[], $8::bigint[], $9::bigint[], $10::float8[], $11::int[],
  $12::float8[], $13::boolean[], $14::jsonb[])
ON CONFLICT (contract_id, call, worker) DO UPDATE SET open = excluded.open, since = excluded.since,
  retry_at = excluded.retry_at, openings = excluded.openings, good = excluded.good, bad = excluded.bad,
  score = excluded.score, results = excluded.results, share = excluded.share, dry_run = excluded.dry_run,
  failures = excluded.failures, at = excluded.at,
  told_at = CASE WHEN h.since IS DISTINCT FROM excluded.since THEN excluded.told_at ELSE h.told_at END"""
_CONTRACTS_MAX: Final = 100  # of one page: at most as many rows as twice the workers for each
# Of most contracts a worker that starts need not hear: their breakers never opened, and their scores
# have no effect. Of the others every row counts, the sound ones too.
_FRESH: Final = f"""WITH troubled AS (SELECT DISTINCT contract_id FROM endpoint_health
  WHERE contract_id > $1 AND at > now() - {STALE_S} * interval '1 second'
    AND (since IS NOT NULL OR score > {STARTS_AT}) ORDER BY contract_id LIMIT {_CONTRACTS_MAX})
SELECT {_COLUMNS} FROM troubled JOIN endpoint_health USING (contract_id)
WHERE at > now() - {STALE_S} * interval '1 second' ORDER BY contract_id, since NULLS FIRST"""  # noqa: S608
_TOLD: Final = f"""SELECT {_COLUMNS} FROM endpoint_health
WHERE told_at > $1 AND worker <> $2 AND since IS NOT NULL ORDER BY since"""  # noqa: S608
_OF: Final = f"""SELECT {_COLUMNS} FROM endpoint_health
WHERE contract_id = $1 AND at > now() - {STALE_S} * interval '1 second'"""  # noqa: S608
_FORGET: Final = (
    f"DELETE FROM endpoint_health WHERE at < now() - {2 * STALE_S} * interval '1 second'"  # noqa: S608
)
_CLEAR: Final = "DELETE FROM endpoint_health WHERE contract_id = $1"
_CLOSE: Final = """INSERT INTO endpoint_health (contract_id, call, worker, open, since, openings, good, bad,
  score, results, share, dry_run, failures, at, told_at)
SELECT $1, call, $2, false, clock_timestamp(), 0, 0, 0, 0, 0, 0, false, '[]', clock_timestamp(), clock_timestamp()
FROM unnest(ARRAY['ping', 'post']) AS call
ON CONFLICT (contract_id, call, worker) DO UPDATE SET since = excluded.since, at = excluded.at,
  told_at = excluded.told_at"""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthRow:
    """How one worker finds one endpoint of one contract."""

    contract: int  # id
    call: str  # ping or post
    worker: int
    open: bool
    since: datetime | None  # None: its breaker never opened
    retry_at: datetime | None  # None: it is closed
    openings: int
    good: int
    bad: int
    score: float
    results: int
    share: float
    dry_run: bool
    failures: tuple[tuple[str, str], ...]  # reason and RFC 3339 instant, newest first
    at: datetime | None = None  # when it was written


class HealthRows:
    """The table of health. Every method may raise StoreUnavailable."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def put(self, rows: Sequence[HealthRow]) -> None:
        """Write rows of one worker, over its earlier ones."""
        ordered = sorted(rows, key=lambda row: (row.contract, row.call))
        columns = zip(*map(_values, ordered), strict=True)
        await self._db.execute(_PUT, *map(list, columns))

    async def fresh(self) -> AsyncIterator[list[HealthRow]]:
        """For a worker that starts: every row that still says something, of contracts that are or were
        in trouble; page by page, each contract's rows in one page."""
        last = 0
        while rows := await self._db.fetch(_FRESH, last):
            yield [_row(row) for row in rows]
            last = rows[-1]["contract_id"]

    async def told(self, after: datetime, worker: int) -> list[HealthRow]:
        """Changes of breakers by others since then, the newest last; some perhaps once more."""
        return [_row(row) for row in await self._db.fetch(_TOLD, after - _OVERLAP, worker)]

    async def forget(self) -> None:
        await self._db.execute(_FORGET)

    async def of_contract(self, contract: int) -> tuple[list[HealthRow], datetime]:
        """Every row of one contract that still says something, and the time it is."""
        async with self._db.connection() as connection:
            rows = [_row(row) for row in await connection.fetch(_OF, contract)]
            return rows, await connection.fetchval("SELECT clock_timestamp()")

    async def reset(self, contract: int) -> None:
        """Close both breakers of a contract for everybody, and forget what opened them."""
        async with self._db.connection() as connection, connection.transaction():
            await connection.execute(_CLEAR, contract)
            await connection.execute(_CLOSE, contract, OPERATOR)


def _values(row: HealthRow) -> tuple[Any, ...]:
    failures = orjson.dumps(row.failures).decode()
    return (
        row.contract, row.call, row.worker, row.open, row.since, row.retry_at, row.openings,
        row.good, row.bad, row.score, row.results, row.share, row.dry_run, failures,
    )  # fmt: skip


def _row(row: Any) -> HealthRow:
    failures = tuple((one[0], one[1]) for one in orjson.loads(row["failures"]))
    return HealthRow(
        contract=row["contract_id"], call=row["call"], worker=row["worker"], open=row["open"],
        since=row["since"], retry_at=row["retry_at"], openings=row["openings"], good=row["good"],
        bad=row["bad"], score=row["score"], results=row["results"], share=row["share"],
        dry_run=row["dry_run"], failures=failures, at=row["at"],
    )  # fmt: skip
