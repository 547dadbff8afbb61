"""What workers tell each other of endpoints, through the database and once a second.

Each worker writes how it finds the endpoints it calls; a breaker that one of them opens or closes is
open or closed for all: the newest word counts. So a dead buyer is learnt once, not by every worker,
and a worker that starts knows what the others, or its forerunner, knew.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import nsmallest
from math import inf
from operator import itemgetter
from typing import Final, Protocol

from buyers import health
from buyers.health import Breaker, Standing
from buyers.throttle import Throttle
from exchange.errors import StoreUnavailable
from exchange.house import House
from exchange.store.health import OPERATOR, STALE_S, HealthRow
from exchange.vigil import Call, Vigil, Watched

ROUND_S: Final = 1.0
ROWS_MAX: Final = 1000  # breakers, and as many counts, a round; the others wait for the next
_COUNTS_S: Final = (
    10.0  # counts and scores are written so often at most, changes of a breaker at once
)
_RENEW_S: Final = 60.0  # what has counts is written so often at least
_FORGET_ROUNDS: Final = 60
_BEGIN_WITHIN_S: Final = 1.0  # a database that is slow does not keep a worker from starting

_Key = tuple[Call, int]


class HealthStore(Protocol):
    """exchange.store.health.HealthRows."""

    async def put(self, rows: list[HealthRow]) -> None: ...

    def fresh(self) -> AsyncIterator[list[HealthRow]]: ...

    async def told(self, after: datetime, worker: int) -> list[HealthRow]: ...

    async def forget(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Written:
    row: HealthRow
    at_s: float


class Hearsay:
    """One worker's side of it."""

    def __init__(self, house: House, store: HealthStore) -> None:
        self._house = house
        self._vigil: Vigil = house.vigil
        self._store = store
        self._written: dict[_Key, _Written] = {}
        self._looked: dict[_Key, float] = {}  # when each was last compared with what is written
        self._heard: datetime | None = None  # until when; None: nothing has been read yet
        self._rounds = 0

    async def begin(self) -> None:
        """Learn what is known, before the first auction; without a database the rounds will."""
        try:
            with suppress(StoreUnavailable):
                await self._house.within(self._hear(), _BEGIN_WITHIN_S, "health")
        except Exception as error:  # noqa: BLE001 - a worker that knows nothing is better than none
            self._house.observer.broke("health", error)

    async def run(self) -> None:
        """Tell and hear until cancelled; a database that is away is waited for."""
        while True:
            try:
                with suppress(StoreUnavailable):
                    await self.one_round()
            except Exception as error:  # noqa: BLE001 - it must go on whatever one round met
                self._house.observer.broke("health", error)
            await asyncio.sleep(ROUND_S)

    async def one_round(self) -> None:
        """Count, tell what changed, hear what others changed. Raises StoreUnavailable."""
        self.count()
        await self._hear()
        rows = self._changed()
        if rows:
            await self._store.put(rows)
            now_s = self._house.now_s()
            for row in rows:
                self._written[Call(row.call), row.contract] = _Written(row, now_s)
        if self._rounds % _FORGET_ROUNDS == 0:
            await self._store.forget()
        self._rounds += 1

    def count(self) -> None:
        """What was skipped goes to the metrics; whom nobody called for ten minutes is forgotten."""
        vigil, now_s = self._vigil, self._house.now_s()
        held_back = dict(vigil.held_back)
        vigil.held_back.clear()
        for (contract, reason), count in held_back.items():
            self._house.observer.held_back(contract, reason, count)
        for call, places in vigil.watched.items():
            idle = [
                id_
                for id_, one in places.items()
                if now_s - max(one.touched_s, one.good_s) >= STALE_S
            ]
            for id_ in idle:
                del places[id_]
                vigil.look_at(id_)
                self._written.pop((call, id_), None)
                self._looked.pop((call, id_), None)

    # --- telling ----------------------------------------------------------------------------------

    def _changed(self) -> list[HealthRow]:
        """Rows that are due: breakers that changed, at most ROWS_MAX and those first that changed
        first; and what else changed of ROWS_MAX endpoints, those first that were not looked at for
        longest. So each has its turn, however many there are."""
        now_s, wall = self._house.now_s(), self._house.store.now()
        urgent, usual = [], []
        for call, places in self._vigil.watched.items():
            for id_, watched in places.items():
                written = self._written.get((call, id_))
                told = written is not None and watched.since == written.row.since
                if not told and watched.since is not None:  # a breaker changed: at once
                    urgent.append((watched.since, id_, call, watched))
                elif now_s - (looked_s := self._looked.get((call, id_), -inf)) >= _COUNTS_S:
                    usual.append((looked_s, id_, call, watched))
        rows = [
            self._row(call, id_, watched, now_s, wall)
            for _, id_, call, watched in nsmallest(ROWS_MAX, urgent, key=itemgetter(0))
        ]
        for _, id_, call, watched in nsmallest(ROWS_MAX, usual, key=itemgetter(0)):
            self._looked[call, id_] = now_s
            row = self._row(call, id_, watched, now_s, wall)
            if self._says_more(row, self._written.get((call, id_)), now_s):
                rows.append(row)
        return rows

    @staticmethod
    def _says_more(row: HealthRow, written: _Written | None, now_s: float) -> bool:
        if written is None or row != written.row:
            return True
        return bool(row.good + row.bad) and now_s - written.at_s > _RENEW_S

    def _row(
        self, call: Call, id_: int, watched: Watched, now_s: float, wall: datetime
    ) -> HealthRow:
        vigil = self._vigil
        vigil.gather(call, watched)
        good, bad = health.tally(watched.breaker, vigil.rules[call], now_s)
        breaker = watched.breaker
        is_open = breaker.standing is not Standing.CLOSED
        # Half-open: it may be tried since then, by anybody.
        retry_s = breaker.retry_s if breaker.standing is Standing.OPEN else breaker.since_s
        retry_at = wall + timedelta(seconds=retry_s - now_s) if is_open else None
        return HealthRow(
            contract=id_, call=call.value, worker=self._house.worker, open=is_open,
            since=watched.since, retry_at=retry_at, openings=breaker.openings,
            good=good, bad=bad,
            score=watched.throttle.score, results=watched.throttle.results,
            share=vigil.share(watched) if call is Call.PING else 0.0, dry_run=vigil.dry_run,
            failures=tuple((reason, at.isoformat()) for reason, at in watched.failures),
        )  # fmt: skip

    # --- hearing ----------------------------------------------------------------------------------

    async def _hear(self) -> None:
        asked = self._house.store.now()
        if self._heard is None:
            async for rows in self._store.fresh():  # auctions go on between pages
                self._take_scores(rows)
                self._take_breakers(rows)
        else:
            self._take_breakers(await self._store.told(self._heard, self._house.worker))
        self._heard = asked

    def _take_breakers(self, rows: Iterable[HealthRow]) -> None:
        for row in rows:
            self._take_breaker(row)

    def _take_breaker(self, row: HealthRow) -> None:
        """The newest word on a breaker counts, whoever said it."""
        call = Call(row.call)
        watched = self._vigil.watched[call].get(row.contract)
        if row.since is None or (watched is None and not row.open):
            return
        if watched is None:
            watched = self._vigil.hear_of(call, row.contract)
        elif watched.since is not None and row.since <= watched.since:
            return
        now_s, wall = self._house.now_s(), self._house.store.now()
        since_s = now_s - (wall - row.since).total_seconds()
        watched.since, watched.good = row.since, 0
        watched.touched_s = now_s
        # What this worker counted is of before the change: it must not open what was just closed.
        watched.breaker = Breaker(since_s=since_s, openings=row.openings)
        if row.open and row.retry_at is not None:
            retry_s = now_s + (row.retry_at - wall).total_seconds()
            watched.breaker = watched.breaker._replace(standing=Standing.OPEN, retry_s=retry_s)
        if row.worker == OPERATOR:
            watched.throttle = Throttle()
            watched.failures.clear()
        self._vigil.look_at(row.contract)

    def _take_scores(self, rows: Iterable[HealthRow]) -> None:
        """A worker that starts goes on from what all others together found."""
        found: dict[_Key, list[HealthRow]] = {}
        for row in rows:
            if row.results and row.worker != OPERATOR:
                found.setdefault((Call(row.call), row.contract), []).append(row)
        for (call, contract), of_one in found.items():
            if contract not in self._vigil.watched[call]:
                watched = self._vigil.hear_of(call, contract)
                watched.throttle = Throttle(mean_score(of_one), max(row.results for row in of_one))
                self._vigil.look_at(contract)


def newest_word(rows: Iterable[HealthRow]) -> HealthRow | None:
    """The row that says how a breaker stands; None: it never opened."""
    said = [(row.since, row.worker == OPERATOR, row) for row in rows if row.since is not None]
    return max(said, key=lambda one: one[:2])[2] if said else None


def mean_score(rows: Sequence[HealthRow]) -> float:
    """What several workers' scores come to: each weighs as much as the results it is made of."""
    known = sum(row.results for row in rows)
    return sum(row.score * row.results for row in rows) / known if known else 0.0
