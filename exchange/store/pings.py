"""Pings: one row each, written in batches before the quote is answered."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from exchange.store.database import Database, Link
from exchange.store.lane import Lane
from exchange.store.rows import FoundPing, LateBid, PingRow

_PUT = """
INSERT INTO ping (id, seller, expires_at, price, external_id, test, receipt)
SELECT * FROM unnest($1::uuid[], $2::int[], $3::timestamptz[], $4::bigint[], $5::text[], $6::bool[], $7::bytea[])
ON CONFLICT DO NOTHING"""

_GET = """
SELECT p.id, p.seller, p.expires_at, p.price, p.external_id, p.test, p.receipt, p.at,
       extract(epoch FROM now() - p.at)::float8 AS age_s, now() >= p.expires_at AS expired,
       (SELECT id FROM lead WHERE ping_id = p.id AND state <> 'gone') AS lead_id
FROM ping p WHERE p.id = $1"""

_PUT_LATE = """
INSERT INTO late_bid (ping, contract, price, late_ms)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::int[]) ON CONFLICT DO NOTHING"""

_LATE = "SELECT ping, contract, price, late_ms FROM late_bid WHERE ping = $1 ORDER BY contract"


class Pings:
    """The ping half of the store. A quote may be lost with the machine, never with a process."""

    def __init__(self, db: Database, quick: Link) -> None:
        self._ping_db = db
        self._quick = quick  # synchronous_commit = off
        self._pings: Lane[PingRow, None] = Lane("pings", self._put)

    async def put_ping(self, ping: PingRow) -> None:
        await self._pings.submit(ping)

    async def ping(self, ping_id: UUID) -> FoundPing | None:
        row = await self._ping_db.fetchrow(_GET, ping_id)
        if row is None:
            return None
        *head, at, age_s, expired, lead_id = row
        id_, seller, expires_at, price, external_id, test, receipt = head
        return FoundPing(
            row=PingRow(
                id=id_, seller=seller, expires_at=expires_at, price_micros=price,
                external_id=external_id, test=test, receipt=receipt,
            ),
            at=at, age_s=age_s, expired=expired, lead_id=lead_id,
        )  # fmt: skip

    async def put_late_bids(self, bids: Sequence[LateBid]) -> None:
        if not bids:
            return
        columns = zip(*((b.ping, b.contract, b.price_micros, b.late_ms) for b in bids), strict=True)
        await self._ping_db.execute(_PUT_LATE, *map(list, columns))

    async def late_bids(self, ping_id: UUID) -> list[LateBid]:
        rows = await self._ping_db.fetch(_LATE, ping_id)
        return [LateBid(ping=r[0], contract=r[1], price_micros=r[2], late_ms=r[3]) for r in rows]

    async def _put(self, batch: Sequence[PingRow]) -> Sequence[None]:
        columns: list[list[object]] = [
            [p.id for p in batch],
            [p.seller for p in batch],
            [p.expires_at for p in batch],
            [p.price_micros for p in batch],
            [p.external_id for p in batch],
            [p.test for p in batch],
            [p.receipt for p in batch],
        ]
        await self._quick.fetch(_PUT, *columns)
        return [None] * len(batch)


def utc(moment: datetime) -> str:
    """RFC 3339 UTC with milliseconds, as every answer shows times."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
