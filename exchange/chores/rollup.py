"""Adds pings, and what became of them, up for reports: a little of it in every round.

A ping is counted once, a minute after it was made: by then it is stored. What became of it (leads, attempts,
returns) is added up anew for a whole hour whenever something of that hour may have changed, and only the
difference is booked. Whatever is written says in the same transaction how far it goes, so a chore that is
killed anywhere goes on where it was. Nothing here takes a lock that a worker waits for.
"""

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from exchange import log
from exchange.chores.cells import (
    Cells,
    Key,
    PingSeen,
    add,
    add_pings,
    day_after,
    difference,
    hour_of,
    no_cells,
)
from exchange.chores.leader import Chore
from exchange.chores.sums import add_cells, make_day, stored_cells

LAG: Final = timedelta(seconds=60)  # a ping is stored this long after it was made, or it is late
_LATE: Final = timedelta(minutes=15)  # after an hour: its pings are counted again
_RECOUNTED: Final = timedelta(days=2)  # older pings may be dropped any day
_DAY_OVER: Final = timedelta(minutes=30)
_HOUR: Final = timedelta(hours=1)
_NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PART: Final = timedelta(minutes=5)  # of an hour's sales: what one statement reads
_OVERLAP: Final = timedelta(minutes=10)  # no transaction takes so long
SLICE_MAX: Final = 1000  # pings of one statement
CELLS_MAX: Final = 20_000  # counted before they are booked: some 15 MB
TURN_S: Final = 20.0  # then the other chores have theirs
_FOR_PINGS: Final = 0.6  # of it at most, while there is more
REST: Final = 0.5  # of what a slice took

_CONTRACTS: Final = "SELECT slug, id FROM document WHERE kind = 'contract'"
_STATE: Final = "SELECT pings_upto, sales_upto, days_upto, now() AS now FROM report_state"
_PINGS: Final = """SELECT id, seller, price, receipt, test FROM ping
WHERE id > $1 AND id < first_id($2) ORDER BY id LIMIT $3"""
_COUNT: Final = (
    "SELECT count(*) FROM ping WHERE id >= first_id($1) AND id < first_id($2) AND NOT test"
)
_COUNTED: Final = """SELECT coalesce(sum(pings), 0)::bigint FROM report_sum
WHERE span = 'hour' AND by = 'seller' AND start = $1"""
_UNCOUNTED: Final = (
    """SELECT hour FROM report_done WHERE NOT counted AND hour >= $1 AND hour < $2 ORDER BY hour"""
)
_FIRST: Final = """SELECT least((SELECT hour_of(ping_id) FROM lead WHERE state <> 'gone' ORDER BY ping_id LIMIT 1),
  (SELECT hour_of(id) FROM ping ORDER BY id LIMIT 1))"""
_LEADS: Final = """SELECT l.vertical, coalesce(d.body->>'currency', 'USD'), l.seller, count(*), count(*) FILTER (WHERE l.state = 'sold')
FROM lead l LEFT JOIN document d ON d.kind = 'vertical' AND d.slug = l.vertical
WHERE l.ping_id >= first_id($1) AND l.ping_id < first_id($2) AND l.state <> 'gone' AND NOT l.test GROUP BY 1, 2, 3"""
_ATTEMPTS: Final = """SELECT l.vertical, y.currency, l.seller, a.contract_id, count(*) AS posts,
  count(*) FILTER (WHERE a.state = 'accepted') AS accepted, count(*) FILTER (WHERE a.state = 'rejected') AS rejected,
  count(*) FILTER (WHERE a.state = 'not_sent') AS not_sent, count(*) FILTER (WHERE a.state IN ('intent', 'unconfirmed')) AS waiting,
  coalesce(sum(a.price) FILTER (WHERE a.state = 'accepted'), 0)::bigint AS revenue,
  coalesce(sum(a.payout) FILTER (WHERE a.state = 'accepted'), 0)::bigint AS payout,
  count(r.id) AS returned, coalesce(sum(a.price) FILTER (WHERE r.id IS NOT NULL), 0)::bigint AS returned_revenue,
  coalesce(sum(a.payout) FILTER (WHERE r.reverse_payout), 0)::bigint AS returned_payout
FROM lead l JOIN attempt a ON a.lead_id = l.id JOIN buyer y ON y.id = a.buyer_id
LEFT JOIN sale_return r ON r.attempt_id = a.id AND r.status = 'approved'
WHERE l.ping_id >= first_id($1) AND l.ping_id < first_id($2) AND l.state <> 'gone' AND NOT l.test GROUP BY 1, 2, 3, 4"""
# Whatever of an hour's leads is not at its end, as a checksum: another one means that something has changed.
_WAITING: Final = """SELECT hour_of(ping_id), sum(hashtext(what)) FROM (
  SELECT l.ping_id, a.id::text || a.state AS what FROM attempt a JOIN lead l ON l.id = a.lead_id WHERE a.state IN ('intent', 'unconfirmed')
  UNION ALL SELECT ping_id, id::text FROM lead WHERE state = 'open') x GROUP BY 1"""
_WAITED: Final = "SELECT hour, waiting FROM report_done WHERE waiting <> 0 AND hour < $1"
_RETURNS: Final = """SELECT r.id, hour_of(l.ping_id) FROM sale_return r JOIN lead l ON l.id = r.lead_id
WHERE r.status = 'approved' AND r.decided_at > (SELECT returns_upto FROM report_state) - $1::interval"""
_UPTO: Final = "UPDATE report_state SET pings_upto = $1 WHERE pings_upto = $2"
# Should a second office ever be at it: they go one after the other.
_ALONE: Final = "SELECT FROM report_state FOR UPDATE"
_MADE: Final = "UPDATE report_state SET days_upto = $1 WHERE days_upto < $1"
_DONE: Final = """INSERT INTO report_done (hour, waiting) VALUES ($1, $2)
ON CONFLICT (hour) DO UPDATE SET waiting = excluded.waiting"""


class RollUp:
    """`quote_ttl_s`: how long a ping may be posted. Its chore is called by one office at a time."""

    def __init__(
        self,
        quote_ttl_s: int,
        *,
        turn_s: float = TURN_S,
        slice_max: int = SLICE_MAX,
        cells_max: int = CELLS_MAX,
        rest: float = REST,
    ) -> None:
        # After the hour: the last quote ends, its post is opened, the last attempt of it is seen.
        self._settles = timedelta(seconds=quote_ttl_s) + 2 * LAG
        self._turn_s = turn_s
        self._slice_max = slice_max
        self._cells_max = cells_max
        self._rest = rest
        self._returns: set[UUID] = set()  # that were seen already
        self._recount: tuple[datetime, UUID, Cells] | None = None  # how far it has come
        self._ends_s = 0.0

    def chores(self) -> dict[str, Chore]:
        return {"reports": self.turn}

    async def turn(self, connection: Any) -> None:
        """As much as fits into a turn, a step of each at least: new pings, sales, then a second count
        and whole days."""
        began_s = asyncio.get_running_loop().time()
        contracts = dict(map(tuple, await connection.fetch(_CONTRACTS)))
        now = (await connection.fetchrow(_STATE))["now"]
        self._ends_s = began_s + self._turn_s * _FOR_PINGS
        all_counted = await self._pings(connection, contracts)
        self._ends_s = began_s + self._turn_s
        if not (await self._sales(connection) and all_counted):
            return
        if await self._count_again(connection, contracts):
            await self._days(connection)
            await connection.execute("UPDATE report_state SET at = $1", now - LAG)

    def _is_over(self) -> bool:
        return asyncio.get_running_loop().time() >= self._ends_s

    # --- pings ------------------------------------------------------------------------------------

    async def _pings(self, connection: Any, contracts: Mapping[str, int]) -> bool:
        """Count what is new. False: the turn was over before.

        Slices are read one by one and booked together: a contract asked by a thousand pings is one row.
        """
        loop = asyncio.get_running_loop()
        state = await connection.fetchrow(_STATE)
        booked = last = state["pings_upto"]
        before = state["now"] - LAG
        cells = no_cells()
        while True:
            began_s = loop.time()
            rows = await connection.fetch(_PINGS, last, before, self._slice_max)
            if rows:
                await _count(cells, rows, contracts)
                last = rows[-1]["id"]
            is_all = len(rows) < self._slice_max
            ends = is_all or self._is_over()
            if last != booked and (ends or len(cells) >= self._cells_max):
                if not await _book(connection, cells, booked, last):
                    return False
                booked, cells = last, no_cells()
            if ends:
                return is_all
            await asyncio.sleep((loop.time() - began_s) * self._rest)

    async def _count_again(self, connection: Any, contracts: Mapping[str, int]) -> bool:
        """Hours to which no more pings can come: are all counted? False: the turn was over before."""
        now = (await connection.fetchrow(_STATE))["now"]
        for row in await connection.fetch(_UNCOUNTED, now - _RECOUNTED, now - _HOUR - _LATE):
            hour = row[0]
            there = await connection.fetchval(_COUNT, hour, hour + _HOUR)
            # Fewer: their day was dropped meanwhile, and what was counted stands.
            if there > await connection.fetchval(_COUNTED, hour):
                log.event("pings came late", logging.WARNING, hour=hour.isoformat())
                if not await self._recounted(connection, contracts, hour):
                    return False
            await connection.execute("UPDATE report_done SET counted = true WHERE hour = $1", hour)
            if self._is_over():
                return False
        return True

    async def _recounted(
        self, connection: Any, contracts: Mapping[str, int], hour: datetime
    ) -> bool:
        """Count an hour from its beginning, over several turns if it has to be, and book the difference."""
        so_far, self._recount = self._recount, None  # what fails on the way begins anew
        if so_far is None or so_far[0] != hour:
            first = await connection.fetchval("SELECT first_id($1)", hour)
            so_far = (hour, UUID(int=first.int - 1), no_cells())
        _, last, cells = so_far
        while True:
            rows = await connection.fetch(_PINGS, last, hour + _HOUR, self._slice_max)
            await _count(cells, rows, contracts)
            if len(rows) < self._slice_max:
                break
            last = rows[-1]["id"]
            if self._is_over():
                self._recount = (hour, last, cells)
                return False
        async with connection.transaction():
            await connection.execute(_ALONE)
            stored = await stored_cells(connection, hour, "pings")
            await add_cells(connection, difference(cells, stored))
        return True

    # --- what became of them ----------------------------------------------------------------------

    async def _sales(self, connection: Any) -> bool:
        """Hours that are new, and older ones of which something may have changed. False: the turn was
        over before."""
        state = await connection.fetchrow(_STATE)
        upto, now = state["sales_upto"], state["now"]
        waiting = dict(map(tuple, await connection.fetch(_WAITING)))
        returns = dict(map(tuple, await connection.fetch(_RETURNS, _OVERLAP)))
        changed = {hour for id_, hour in returns.items() if id_ not in self._returns}
        changed |= await _moved(connection, waiting, upto)
        for hour in sorted(hour for hour in changed if hour < upto):
            await self._add_up(connection, hour, waiting.get(hour, 0))
            self._returns |= {id_ for id_, of in returns.items() if of == hour}
            if self._is_over():
                return False
        await connection.execute("UPDATE report_state SET returns_upto = $1", now)
        self._returns = set(returns)
        if upto == _NEVER:
            upto = await connection.fetchval(_FIRST)
        while upto is not None and upto <= now:
            is_settled = upto + _HOUR + self._settles <= now
            await self._add_up(connection, upto, waiting.get(upto, 0), settled=is_settled)
            upto += _HOUR
            if self._is_over() and upto <= now:
                return False
        return True

    async def _add_up(
        self, connection: Any, hour: datetime, waiting: int, *, settled: bool = False
    ) -> None:
        """Book what has changed of an hour since it was added up the last time. `waiting` was read before."""
        cells = no_cells()
        for part in range(_HOUR // _PART):
            low = hour + part * _PART
            for row in await connection.fetch(_LEADS, low, low + _PART):
                key = Key(hour, row[0], row[1], row[2], 0)
                add(cells, key, {"leads": row[3], "sold": row[4]})
            for row in await connection.fetch(_ATTEMPTS, low, low + _PART):
                key = Key(hour, *tuple(row)[:4])
                add(cells, key, dict(list(row.items())[4:]))
        async with connection.transaction():
            await connection.execute(_ALONE)
            stored = await stored_cells(connection, hour, "sales")
            await add_cells(connection, difference(cells, stored))
            await connection.execute(_DONE, hour, waiting)
            if settled:
                await connection.execute("UPDATE report_state SET sales_upto = $1", hour + _HOUR)

    # --- whole days -------------------------------------------------------------------------------

    async def _days(self, connection: Any) -> None:
        """Make days that are over and of which everything is counted."""
        state = await connection.fetchrow(_STATE)
        day = state["days_upto"]
        if day == _NEVER:
            first = await connection.fetchval("SELECT min(hour) FROM report_hour")
            if first is None:
                return
            day = day_after(first - timedelta(days=1) + timedelta(microseconds=1))
        counted = min(hour_of(state["pings_upto"]), state["sales_upto"], state["now"] - _DAY_OVER)
        while day + timedelta(days=1) <= counted and not self._is_over():
            async with connection.transaction():
                if await connection.execute(_MADE, day + timedelta(days=1)) == "UPDATE 0":
                    return
                await make_day(connection, day)
            day += timedelta(days=1)


async def _moved(connection: Any, waiting: Mapping[datetime, int], upto: datetime) -> set[datetime]:
    """Settled hours of which something was open and is not as it was."""
    known = dict(map(tuple, await connection.fetch(_WAITED, upto)))
    hours = known.keys() | waiting.keys()
    return {hour for hour in hours if known.get(hour, 0) != waiting.get(hour, 0)}


async def _count(cells: Cells, rows: list[Any], contracts: Mapping[str, int]) -> None:
    """Add rows of pings to the cells. In a thread: the office has pages to answer."""
    pings = [PingSeen(*tuple(row)[:4]) for row in rows if not row["test"]]
    unread = await asyncio.to_thread(add_pings, cells, pings, contracts)
    if unread:
        log.event("receipts left out of reports", logging.WARNING, count=unread)


async def _book(connection: Any, cells: Cells, after: UUID, upto: UUID) -> bool:
    """Add what the pings of (after, upto] came to. False: another office was quicker."""
    async with connection.transaction():
        # First of all: an office that was quicker has counted these.
        if await connection.execute(_UPTO, upto, after) == "UPDATE 0":
            return False
        await add_cells(connection, cells)
    return True
