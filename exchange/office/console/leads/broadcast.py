"""The one reader of the live page: once a second while somebody watches, for all who do.

It reads Postgres alone, so the workers do not notice. What is over is read once and kept: each minute
is counted by itself, and counted again only while something of it changes.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from exchange.errors import Refusal, StoreUnavailable
from exchange.store.database import Database
from exchange.store.rows import LeadState
from exchange.store.views.leads import LeadLine, Names, find_leads, lines_of, names_of
from exchange.store.views.live import (
    DAY,
    HOUR,
    HOUSE,
    MINUTE,
    NOTHING,
    Scope,
    Tally,
    newest_leads,
    summed_hours,
    summed_upto,
    tally_minute,
    total,
)
from exchange.store.views.walk import CAME, Cursor, Filters
from exchange.story import moment_of

EVERY_S: Final = 1.0
STREAMS_MAX: Final = 100
STREAMS_OF_ONE_MAX: Final = 6
SHOWN: Final = 20  # leads
MINUTES: Final = 60  # of the charts
_BUDGET_S: Final = 0.15  # of one look, for minutes that were not counted before
_OVERLAP: Final = timedelta(seconds=10)  # an id is made before its row is seen
_LEADS_MAX: Final = 300  # of one look
_OPEN_MAX: Final = 300
_NAMES_S: Final = 30.0
_SUMS_S: Final = 10.0
_LOOKS_ALONE_S: Final = 2.0  # between two looks for pages that nobody watches on


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What one scope sees. Equal ones need not be drawn again."""

    today: Tally
    yesterday: Tally
    minutes: tuple[tuple[datetime, Tally], ...]  # the last hour, oldest first
    parties: tuple[tuple[Scope, Tally], ...]  # the same hour by buyer and seller; of the house only
    leads: tuple[LeadLine, ...]  # newest first
    whole: bool  # everything of today is counted
    lacks_since: datetime | None = None  # the hours from this one on are being added up


class Broadcaster:
    """One for the office."""

    def __init__(
        self, db: Database, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._db = db
        self._now = now
        self._minutes: dict[datetime, dict[Scope, Tally]] = {}
        self._dirty: set[datetime] = set()
        self._known: dict[UUID, LeadLine] = {}  # the newest, and those that are open
        self._rows: dict[Scope, tuple[LeadLine, ...]] = {}  # of one seller or buyer
        self._sums: dict[Scope, tuple[datetime, dict[datetime, Tally]]] = {}
        self._border: tuple[datetime, datetime | None] | None = (
            None  # where the sums end, what they lack
        )
        self._names: tuple[datetime, Names] | None = None
        self._looked: datetime | None = None
        self._watchers: dict[str, int] = {}
        self._task: asyncio.Task[None] | None = None
        self._looking = asyncio.Lock()
        self._next = asyncio.Event()
        self.ended = False

    # --- who watches --------------------------------------------------------------------------------

    @asynccontextmanager
    async def watched(self, login: str) -> AsyncIterator[None]:
        """Looks every second as long as anybody is in here. Refuses when too many are."""
        if self.ended:
            raise Refusal(503, "unavailable", retry_after_s=1)
        mine = self._watchers.get(login, 0)
        if mine >= STREAMS_OF_ONE_MAX or sum(self._watchers.values()) >= STREAMS_MAX:
            raise Refusal(429, "rate_limited", "too many live pages are open", retry_after_s=30)
        self._watchers[login] = mine + 1
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="live")
        try:
            yield
        finally:
            self._watchers[login] -= 1
            if not self._watchers[login]:
                del self._watchers[login]
            if not self._watchers:
                self._stop()

    async def next_look(self, timeout_s: float) -> bool:
        """Waits for the next look. False: there was none for so long."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._next.wait()
        except TimeoutError:
            return False
        return True

    def end(self) -> None:
        """The office stops: every stream ends."""
        self.ended = True
        self._stop()
        self._tell()

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        while True:
            with suppress(StoreUnavailable):  # it comes back; the page says that it is not live
                await self.look()
                self._tell()
            await asyncio.sleep(EVERY_S)

    def _tell(self) -> None:
        told, self._next = self._next, asyncio.Event()
        told.set()

    # --- a look -------------------------------------------------------------------------------------

    async def fresh(self) -> None:
        """A look for a page that is drawn, unless there was one just now."""
        if self._looked is None or (self._now() - self._looked).total_seconds() > _LOOKS_ALONE_S:
            await self.look()

    async def look(self) -> None:
        """What came since the last look, and a few minutes of the past that were not counted yet."""
        async with self._looking:
            now = self._now()
            if self._names is None or (now - self._names[0]).total_seconds() > _NAMES_S:
                self._names = (now, await names_of(self._db))
            if self._looked is None or (now - self._looked).total_seconds() > _SUMS_S:
                self._rows.clear()  # more may have changed than is looked through
            await self._read_leads(now)
            await self._count(now)
            self._looked = now

    async def _read_leads(self, now: datetime) -> None:
        """New leads, and those that were open."""
        since = self._looked or now - HOUR
        ids = await newest_leads(self._db, max(since, now - HOUR) - _OVERLAP, _LEADS_MAX)
        known_open = [id_ for id_, line in self._known.items() if line.state is LeadState.OPEN]
        ids = [one for one in ids if one not in self._known] + known_open[:_OPEN_MAX]
        for line in await lines_of(self._db, ids):
            if self._known.get(line.id) == line:
                continue
            self._known[line.id] = line
            self._dirty.add(_minute(line.ping_id))
            for scope in _scopes(line):
                self._rows.pop(scope, None)
        newest = sorted(self._known, reverse=True)
        kept_open = [id_ for id_ in newest[_LEADS_MAX:] if self._known[id_].state is LeadState.OPEN]
        self._known = {id_: self._known[id_] for id_ in (*newest[:_LEADS_MAX], *kept_open)}

    async def _count(self, now: datetime) -> None:
        """The present minute, those that changed, and as many of the others as the budget allows."""
        loop = asyncio.get_running_loop()
        self._border = await self._border_of(now)
        present = now.replace(second=0, microsecond=0)
        first = min(self._border[0], present - MINUTES * MINUTE)
        wanted = [present, present - MINUTE] if now - present < _OVERLAP else [present]
        wanted += sorted((one for one in self._dirty - {*wanted} if one >= first), reverse=True)
        ends_s = loop.time() + _BUDGET_S
        at = present
        while at >= first:
            if at not in self._minutes and at not in wanted:
                wanted.append(at)
            at -= MINUTE
        for minute in wanted:
            self._minutes[minute] = await tally_minute(self._db, minute)
            self._dirty.discard(minute)
            if loop.time() > ends_s:
                break
        self._dirty = {one for one in self._dirty if one >= first}
        for minute in [one for one in self._minutes if one < first]:
            del self._minutes[minute]

    async def _border_of(self, now: datetime) -> tuple[datetime, datetime | None]:
        """Asked every few seconds, and when an hour begins."""
        kept = self._border
        fresh = self._looked is not None and (now - self._looked).total_seconds() < _SUMS_S
        if kept and fresh and now.second % _SUMS_S and kept[0] > now - 2 * HOUR:
            return kept
        self._sums.clear()
        return await summed_upto(self._db, now)

    # --- what each sees -----------------------------------------------------------------------------

    async def scope_of(self, kind: str, slug: str) -> Scope | None:
        """Of a seller or a buyer, also of one that was registered just now; None: there is none."""
        for again in (False, True):
            if again or self._names is None:
                self._names = (self._now(), await names_of(self._db))
            id_ = self.names.seller(slug) if kind == "seller" else self.names.buyer(slug)
            if id_ is not None:
                return kind, id_
        return None

    @property
    def names(self) -> Names:
        assert self._names is not None, "there was a look"
        return self._names[1]

    async def snapshot(self, scope: Scope) -> Snapshot:
        """After a look."""
        assert self._looked is not None
        assert self._border is not None
        now, (border, lacks_since) = self._looked, self._border
        today = now.replace(hour=0, minute=0, second=0, microsecond=0)
        hours = await self._hours(scope, today - DAY, border)
        minutes = {at: found.get(scope, NOTHING) for at, found in self._minutes.items()}
        present = now.replace(second=0, microsecond=0)
        shown = [present - back * MINUTE for back in reversed(range(MINUTES))]
        tail = {at: one for at, one in minutes.items() if at >= border}
        return Snapshot(
            today=total(one for at, one in (*hours.items(), *tail.items()) if at >= today),
            yesterday=total(one for at, one in (*hours.items(), *tail.items()) if at < today),
            minutes=tuple((at, minutes.get(at, NOTHING)) for at in shown),
            parties=self._parties(shown) if scope == HOUSE else (),
            leads=await self._leads(scope),
            whole=lacks_since is None and len(tail) >= (present - border) // MINUTE,
            lacks_since=lacks_since if lacks_since is None else max(lacks_since, today - DAY),
        )

    def _parties(self, minutes: Iterable[datetime]) -> tuple[tuple[Scope, Tally], ...]:
        sums: dict[Scope, Tally] = {}
        for minute in minutes:
            for scope, one in self._minutes.get(minute, {}).items():
                if scope != HOUSE and one.revenue:
                    sums[scope] = sums.get(scope, NOTHING) + one
        return tuple(sorted(sums.items(), key=lambda one: one[0]))

    async def _hours(self, scope: Scope, begin: datetime, end: datetime) -> dict[datetime, Tally]:
        if scope not in self._sums:
            self._sums[scope] = (begin, await summed_hours(self._db, scope, begin, end))
        return self._sums[scope][1]

    async def _leads(self, scope: Scope) -> tuple[LeadLine, ...]:
        if scope == HOUSE and len(self._known) >= SHOWN:
            return tuple(self._known[id_] for id_ in sorted(self._known, reverse=True)[:SHOWN])
        if scope not in self._rows:
            kind, id_ = scope
            own = {"seller": Filters(seller=id_), "buyer": Filters(buyer=id_, post=CAME)}
            only = own.get(kind, Filters())
            found = await find_leads(self._db, self.names, only, Cursor(), SHOWN)
            self._rows[scope] = found.lines
        return self._rows[scope]


def _minute(ping_id: UUID) -> datetime:
    return moment_of(ping_id).replace(second=0, microsecond=0)


def _scopes(line: LeadLine) -> Iterable[Scope]:
    """Whom a lead concerns."""
    yield HOUSE
    yield "seller", line.seller
    for one in line.posts:
        if one.buyer is not None:
            yield "buyer", one.buyer
