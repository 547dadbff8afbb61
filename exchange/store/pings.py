"""Pings: one row each, written in batches before the quote is answered, one partition a day."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg

from exchange.store.database import Database, Link
from exchange.store.lanes import Lanes
from exchange.store.rows import FoundPing, LateBid, PingRow

# No ON CONFLICT: it has every index asked twice, for ids that are never there.
_PUT: Final = """
INSERT INTO ping (id, seller, expires_at, price, external_id, test, receipt)
SELECT * FROM unnest($1::uuid[], $2::int[], $3::timestamptz[], $4::bigint[], $5::text[], $6::bool[], $7::bytea[])"""

_COLUMNS: Final = """p.id, p.seller, p.expires_at, p.price, p.external_id, p.test, p.receipt, p.at,
  extract(epoch FROM now() - p.at)::float8 AS age_s, now() >= p.expires_at AS expired,
  (SELECT l.id FROM lead l WHERE l.ping_id = p.id AND l.state <> 'gone') AS lead_id"""
# ruff: noqa: S608 - statements are made of our own words only
# A plan over all days has to lock and open every one of them; who knows the day asks it alone.
_OF_DAY: Final = f"SELECT {_COLUMNS} FROM ping_%s p WHERE p.id = ANY ($1)"
_OF_ALL: Final = f"""SELECT {_COLUMNS} FROM unnest($1::uuid[]) u(id) CROSS JOIN LATERAL (
  SELECT * FROM ping WHERE id = u.id UNION ALL SELECT * FROM kept_ping WHERE id = u.id LIMIT 1) p"""
_RECENT: Final = timedelta(hours=2)  # no quote lives longer than one

_PUT_LATE: Final = """
INSERT INTO late_bid (ping, contract, price, late_ms)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::int[]) ON CONFLICT DO NOTHING"""
_LATE: Final = """
SELECT ping, contract, price, late_ms FROM late_bid WHERE ping = $1 UNION
SELECT ping, contract, price, late_ms FROM kept_late_bid WHERE ping = $1 ORDER BY contract"""


class Pings:
    """The ping half of the store. A quote may be lost with the machine, never with a process."""

    def __init__(self, db: Database, lanes: Lanes, now: Callable[[], datetime]) -> None:
        self._ping_db = db
        self._ping_now = now
        self._quotes = lanes.lane("quotes", self._put, durable=False)
        self._looks = lanes.lane("looks", self._find, durable=False)
        self._late = lanes.lane("late bids", self._put_late, durable=False)

    async def put_ping(self, ping: PingRow) -> None:
        await self._quotes.submit(ping)

    async def ping(self, ping_id: UUID) -> FoundPing | None:
        return await self._looks.submit(ping_id)

    async def put_late_bids(self, bids: Sequence[LateBid]) -> None:
        for bid in bids:
            await self._late.submit(bid)

    async def late_bids(self, ping_id: UUID) -> list[LateBid]:
        rows = await self._ping_db.fetch(_LATE, ping_id)
        return [LateBid(ping=r[0], contract=r[1], price_micros=r[2], late_ms=r[3]) for r in rows]

    async def _put(self, link: Link, batch: Sequence[PingRow]) -> Sequence[None]:
        columns: list[list[object]] = [
            [p.id for p in batch],
            [p.seller for p in batch],
            [p.expires_at for p in batch],
            [p.price_micros for p in batch],
            [p.external_id for p in batch],
            [p.test for p in batch],
            [p.receipt for p in batch],
        ]
        try:
            await link.fetch(_PUT, *columns)
        except asyncpg.UniqueViolationError:
            if len(batch) > 1:
                raise
            # Alone, it is there already: put again after an answer that was lost.
        return [None] * len(batch)

    async def _find(self, link: Link, ids: Sequence[UUID]) -> Sequence[FoundPing | None]:
        found: dict[UUID, FoundPing] = {}
        for day, of_day in _recent_days(ids, self._ping_now()).items():
            try:
                found |= _found(await link.fetch(_OF_DAY % day, of_day))
            except asyncpg.UndefinedTableError:
                continue  # nobody has made it in time: they lie in the default partition
        others = [id_ for id_ in ids if id_ not in found]
        if others:
            found |= _found(await link.fetch(_OF_ALL, others))
        return [found.get(id_) for id_ in ids]

    async def _put_late(self, link: Link, batch: Sequence[LateBid]) -> Sequence[None]:
        bids = sorted(batch, key=lambda bid: (bid.ping, bid.contract))
        columns = zip(*((b.ping, b.contract, b.price_micros, b.late_ms) for b in bids), strict=True)
        await link.fetch(_PUT_LATE, *map(list, columns))
        return [None] * len(batch)


def _recent_days(ids: Iterable[UUID], now: datetime) -> dict[str, list[UUID]]:
    """The ids that were made just now by the clock in them, by the names of their days."""
    days: dict[str, list[UUID]] = defaultdict(list)
    least, most = (int((now + by).timestamp() * 1000) for by in (-_RECENT, _RECENT))
    for id_ in ids:
        made_ms = id_.int >> 80
        if least <= made_ms <= most:
            days[f"{datetime.fromtimestamp(made_ms / 1000, UTC):%Y%m%d}"].append(id_)
    return days


def _found(rows: Iterable[Iterable[Any]]) -> dict[UUID, FoundPing]:
    found = {}
    for row in rows:
        id_, seller, expires_at, price, external_id, test, receipt, at, age_s, expired, lead_id = (
            row
        )
        found[id_] = FoundPing(
            row=PingRow(
                id=id_, seller=seller, expires_at=expires_at, price_micros=price,
                external_id=external_id, test=test, receipt=receipt,
            ),
            at=at, age_s=age_s, expired=expired, lead_id=lead_id,
        )  # fmt: skip
    return found


def utc(moment: datetime) -> str:
    """RFC 3339 UTC with milliseconds, as every answer shows times."""
    return moment.isoformat(timespec="milliseconds")[:23] + "Z"  # without "+00:00"
