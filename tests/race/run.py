"""One race: the market, the processes, what changes under way, and the verdict."""

import asyncio
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import orjson

from tests.ledgers import PostgresBooks
from tests.race.market import (
    Course,
    Tight,
    deposit,
    lower_a_cap,
    open_leads,
    open_market,
    raise_a_cap,
)
from tests.race.referee import Sampler, judged, peak_mib

_SWEEP_LEADS = 2_000  # for the last sweep of each worker
_OUTPUT_MAX = 1 << 20  # bytes of one line
_RECOUNTS = 10


@dataclass(slots=True)
class Result:
    counts: Counter[str]
    faults: dict[str, list[str]]
    notes: list[str] = field(default_factory=list)
    open_s: float = 0.0  # opening leads
    race_s: float = 0.0
    judge_s: float = 0.0
    looks: int = 0
    recounts: int = 0
    memory_mib: int = 0

    @property
    def is_sound(self) -> bool:
        return not any(self.faults.values())


class Race:
    """Three limits, and too many who want what is below them."""

    def __init__(
        self, dsn: str, reservations: int, workers: int, seed: int, tasks: int = 96
    ) -> None:
        self._dsn = dsn
        self._reservations = reservations
        self._workers = workers
        self._seed = seed
        self._tasks = tasks
        self._books = PostgresBooks(dsn, seed)
        self._sampler = Sampler(dsn)
        self._market: list[Tight] = []
        self._at: dict[int, int] = {}
        self._raced = 0
        self._moved = asyncio.Condition()
        self._notes: list[str] = []

    async def run(self) -> Result:
        with tempfile.TemporaryDirectory() as folder:
            await self._books.open()
            try:
                return await self._run(Path(folder))
            finally:
                await self._books.close()

    async def _run(self, folder: Path) -> Result:
        began = time.monotonic()
        self._market = await open_market(self._books, self._reservations)
        share = -(-self._reservations // self._workers)
        numbers = range(1, self._workers + 1)
        for number in numbers:
            await open_leads(self._books, number, share + self._tasks + _SWEEP_LEADS)
        opened, over = time.monotonic(), asyncio.Event()
        acks = [folder / f"acks-{number}" for number in numbers]
        looking = asyncio.create_task(self._sampler.watch(over))
        changing = asyncio.create_task(self._change())
        told = await asyncio.gather(
            *(self._work(n, share, path) for n, path in zip(numbers, acks, strict=True))
        )
        await changing
        over.set()
        await looking
        raced = time.monotonic()
        faults = await judged(self._dsn, self._market, acks, self._sampler)
        counts = sum((Counter(one["counts"]) for one in told), Counter[str]())
        return Result(
            counts=counts,
            faults={
                **faults,
                "clients": [fault for one in told for fault in one["faults"]],
            },
            notes=self._notes,
            open_s=opened - began,
            race_s=raced - opened,
            judge_s=time.monotonic() - raced,
            looks=self._sampler.looks,
            recounts=self._sampler.recounts,
            memory_mib=peak_mib(),
        )

    # --- the processes ----------------------------------------------------------------------------

    async def _work(self, number: int, reservations: int, acks: Path) -> dict[str, Any]:
        """What a worker's process counted. It sweeps when all of them have raced."""
        course = Course(
            dsn=self._dsn, worker=number, seed=self._seed, reservations=reservations, tasks=self._tasks,
            contracts=tuple(c for tight in self._market for c in tight.contracts),
            payable=self._books.payable, margin=self._books.margin, acks=str(acks),
        )  # fmt: skip
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.race.worker", orjson.dumps(course.document()).decode(),
            cwd=Path(__file__).parent.parent.parent, limit=_OUTPUT_MAX,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdin is not None, "it is a pipe"
        assert process.stdout is not None, "it is a pipe"
        try:
            async for line in process.stdout:
                if line.startswith(b"at "):
                    await self._tell(number, int(line.split()[1]))
                elif line == b"raced\n":
                    await self._all_raced()
                    process.stdin.write(b"sweep\n")
                else:
                    found: dict[str, Any] = orjson.loads(line)
                    return found
            raise AssertionError(f"worker {number} ended without a word")
        finally:
            process.stdin.close()
            with suppress(ProcessLookupError):
                if process.returncode is None and sys.exc_info()[0] is not None:
                    process.kill()
            await process.wait()

    async def _tell(self, number: int, at: int) -> None:
        async with self._moved:
            self._at[number] = at
            self._moved.notify_all()

    async def _all_raced(self) -> None:
        async with self._moved:
            self._raced += 1
            self._moved.notify_all()
            await self._moved.wait_for(lambda: self._raced == self._workers)

    # --- what changes under way -------------------------------------------------------------------

    async def _change(self) -> None:
        """A limit falls below its use, another rises, a deposit is made; now and then all is recounted."""
        connection = await asyncpg.connect(self._dsn)
        try:
            for tenth in range(1, _RECOUNTS):
                await self._reached(tenth / _RECOUNTS)
                await self._sampler.look(connection, recount=True)
                if tenth in _CHANGES:
                    await getattr(self, _CHANGES[tenth])()
        finally:
            await connection.close()

    async def _reached(self, share: float) -> None:
        async with self._moved:
            await self._moved.wait_for(
                lambda: (
                    self._raced == self._workers
                    or sum(self._at.values()) >= share * self._reservations
                )
            )

    async def _lower(self) -> None:
        contract = self._first("sales").contracts[0]
        used, limit = await lower_a_cap(self._books, contract, self._sampler.lowered)
        self._notes.append(f"sales of contract {contract} lowered to {limit} when {used} were used")

    async def _raise(self) -> None:
        buyer = self._first("spend").buyer
        limit = await raise_a_cap(self._books, buyer)
        self._notes.append(f"spend of buyer {buyer} raised to {limit / 1e6:.2f}")

    async def _deposit(self) -> None:
        buyer = self._first("credit").buyer
        more = await deposit(self._books, buyer)
        self._notes.append(f"{more / 1e6:.2f} deposited by buyer {buyer}")

    def _first(self, group: str) -> Tight:
        return next(tight for tight in self._market if tight.group == group)


_CHANGES = {2: "_lower", 6: "_raise", 8: "_deposit"}


async def race(dsn: str, reservations: int, workers: int, seed: int) -> Result:
    """On an empty, migrated database."""
    return await Race(dsn, reservations, workers, seed).run()
