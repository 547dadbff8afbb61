"""Counts while they race and afterwards, from the attempts and the journal, never trusting a bucket."""

import asyncio
import resource
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg

from exchange.books import broken_invariants
from exchange.store.audit import read_snapshot
from exchange.store.rows import Verdict
from tests.race.market import STEP, Tight
from tests.race.worker import AWARDED, DOUBTED, RECORD, SETTLED, STATES, VERDICTS

_BUCKETS = """SELECT b.id, cap.kind, cap.owner, b.money, b.lim, b.used FROM bucket b JOIN cap ON cap.id = b.cap_id
ORDER BY b.id"""
_USE = """SELECT u.bucket, count(*), sum(price)::bigint FROM attempt, unnest(buckets) u(bucket)
WHERE state IN ('intent', 'unconfirmed', 'accepted') GROUP BY 1"""
_BALANCES = """SELECT y.slug, y.available = a.account, sum(amount)::bigint FROM
  (SELECT debit AS account, -amount AS amount FROM transfer UNION ALL SELECT credit, amount FROM transfer) a
  JOIN buyer y ON a.account IN (y.available, y.held) GROUP BY 1, 2 HAVING sum(amount) < 0"""
_ATTEMPTS = "SELECT id, contract_id, price, state FROM attempt"


class Sampler:
    """Looks at the books in snapshots of its own, as often as it is let."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        # Buckets lowered below their use: to what, and what that use may be.
        self.above: dict[int, tuple[int, int]] = {}
        self._in_turn = asyncio.Lock()
        self.looks = self.recounts = 0
        self.faults: list[str] = []

    def lowered(self, bucket: int, limit: int, used: int) -> None:
        self.above[bucket] = (limit, used)

    async def watch(self, over: asyncio.Event) -> None:
        """Until the race is over."""
        connection = await asyncpg.connect(self._dsn)
        try:
            while not over.is_set():
                await self.look(connection)
                await asyncio.sleep(0.02)
        finally:
            await connection.close()

    async def look(self, connection: Any, *, recount: bool = False) -> None:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            async with (
                self._in_turn
            ):  # the first statement takes the snapshot: judged in their order
                buckets = await connection.fetch(_BUCKETS)
                for id_, kind, owner, _, limit, used in buckets:
                    self._judge(f"{kind} of {owner}", id_, limit, used)
            rows = await connection.fetch(_USE) if recount else []
            red = await connection.fetch(_BALANCES) if recount else []
        self.looks += 1
        if recount:
            self.recounts += 1
            due = {id_: (number, money) for id_, number, money in rows}
            for id_, kind, owner, money, _, used in buckets:
                if due.get(id_, (0, 0))[money] != used:
                    self.faults.append(
                        f"{kind} of {owner} says {used} used, attempts say {due.get(id_)}"
                    )
            self.faults += [f"{slug} has {amount} micros on an account" for slug, _, amount in red]

    def _judge(self, name: str, bucket: int, limit: int, used: int) -> None:
        lowered_to, most = self.above.get(bucket, (limit, limit))
        if used <= limit:
            # A look that began before the limit was lowered says nothing of how it was afterwards.
            if limit == lowered_to:
                self.above.pop(bucket, None)
        elif limit == lowered_to and used <= most:
            self.above[bucket] = (limit, used)
        else:
            self.faults.append(f"oversold: {name} has used {used} of {limit}")


def read_acks(paths: Iterable[Path]) -> Iterator[tuple[UUID, int, int, int, int]]:
    for path in paths:
        for id_, kind, code, contract, steps in RECORD.iter_unpack(path.read_bytes()):
            yield UUID(bytes=id_), kind, code, contract, steps * STEP


async def acknowledged(dsn: str, paths: Sequence[Path]) -> list[str]:
    """What a client was told that the books do not say, and what the books say that nobody was told."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(_ATTEMPTS)
    finally:
        await connection.close()
    books = {UUID(int=id_.int): (contract, price, state) for id_, contract, price, state in rows}
    granted: Counter[UUID] = Counter()
    known, doubted = set(), set()
    faults = []
    for id_, kind, code, contract, price in read_acks(paths):
        found = books.get(id_)
        if kind == DOUBTED:
            doubted.add(id_)
        elif kind == SETTLED:
            known.add((id_, STATES[code].value))
        elif kind == AWARDED and VERDICTS[code] in {Verdict.GRANTED, Verdict.REPEAT}:
            granted[id_] += VERDICTS[code] is Verdict.GRANTED
            if found is None or found[:2] != (contract, price):
                faults.append(f"attempt {id_} was granted at {price}, the books have {found}")
    for id_, (_, _, state) in books.items():
        if granted[id_] > 1 or (granted[id_] == 0 and id_ not in doubted):
            faults.append(f"attempt {id_} is {state}, and was granted {granted[id_]} times")
        if (id_, state) not in known:
            faults.append(f"attempt {id_} is {state}, which nobody was told")
    terminal = Counter(id_ for id_, state in known if state != "unconfirmed")
    faults += [f"attempt {id_} ended {n} times" for id_, n in terminal.items() if n > 1]
    return faults


async def undersold(dsn: str, market: Sequence[Tight], lowered: Container[int]) -> list[str]:
    """Limits that more was asked of than they had, and that have something left.

    `lowered` are buckets that were lowered below their use, and are above their limit still."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(_BUCKETS)
    finally:
        await connection.close()
    left: dict[int, dict[str, int]] = defaultdict(dict)
    for id_, kind, owner, money, limit, used in rows:
        room = 0 if id_ in lowered else limit - used
        left[owner][kind] = room // (STEP if money else 1)
    faults = []
    for tight in market:
        for contract in tight.contracts:
            rooms = left[tight.buyer] | left[contract]
            binding = [tight.group] if tight.group != "all" else list(rooms)
            if min(rooms[kind] for kind in binding) != 0 or min(rooms.values()) < 0:
                faults.append(f"{tight.group} of {contract}: room for {rooms} steps is left")
    return faults


async def judged(
    dsn: str, market: Sequence[Tight], acks: Sequence[Path], sampler: Sampler
) -> Mapping[str, list[str]]:
    """Everything that is wrong at the end, by what is asked."""
    connection = await asyncpg.connect(dsn)
    try:
        await sampler.look(connection, recount=True)
        await connection.execute("SELECT pg_stat_force_next_flush()")
        deadlocks = await connection.fetchval(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        )
    finally:
        await connection.close()
    return {
        "oversold": sampler.faults,
        "undersold": await undersold(dsn, market, sampler.above),
        "invariants": broken_invariants(await read_snapshot(dsn)),
        "acknowledged": await acknowledged(dsn, acks),
        "deadlocks": [f"{deadlocks} deadlocks"] if deadlocks else [],
    }


def peak_mib() -> int:
    """The most memory this process had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
