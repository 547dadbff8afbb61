"""Every page of the console over a database with a past, for each role; and what viewers of the live page
cost the workers.

Pages are timed from the outside, on the same machine: a request, its whole answer. EXCHANGE_BENCH_HISTORY
names a folder that `python -m benchmarks.history` has filled; without it one is filled first.
"""

import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp

from benchmarks import cost, history
from benchmarks.console_pages import Facts, Page, pages, read_facts
from benchmarks.findings import Findings, Goal, shown
from benchmarks.history import Past
from benchmarks.load import fire, percentile, poisson, work_hash
from benchmarks.market import ping_bodies
from exchange.store.database import connect
from exchange.store.embedded import EmbeddedPostgres

_EXCHANGE: Final = str(Path(sys.executable).with_name("exchange"))
_READY_S: Final = 120.0
_GOAL_MS: Final = 300.0
_ROLES: Final = ("admin", "buyer", "seller")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleSize:
    past: Past = field(default_factory=Past)
    rounds: int = 7  # of which the first is not counted: it finds caches empty
    viewers: int = 5
    live_s: float = 20.0
    live_rounds: int = 3
    pings_per_s: float = 40.0


QUICK: Final = ConsoleSize(
    past=Past(leads=20_000, days=20, stories=2000), rounds=4, live_s=5, live_rounds=2
)


@dataclass(frozen=True, slots=True)
class Served:
    """An exchange on a past."""

    url: str
    office: str
    worker: int  # process ids
    office_pid: int
    dsn: str
    environment: dict[str, str]


async def console(seed: int, size: ConsoleSize = ConsoleSize()) -> Findings:
    """Seed, serve, look at every page, look at the live page from several browsers."""
    async with AsyncExitStack() as stack:
        folder = await stack.enter_async_context(_past(seed, size))
        house = await stack.enter_async_context(_serving(folder))
        connection = await connect(house.dsn, statement_ms=0)
        facts = await read_facts(connection)
        await connection.close()
        keys = {
            "admin": await _key(house, "admin"), "buyer": await _key(house, "buyer", facts.buyer),
            "seller": await _key(house, "seller", facts.seller),
        }  # fmt: skip
        timed = [
            one for role in _ROLES for one in await _look(house, role, keys[role], facts, size)
        ]
        live = await _live(house, keys, size, seed)
    return _findings(size, facts, timed, live)


# --- the house ------------------------------------------------------------------------------------


@asynccontextmanager
async def _past(seed: int, size: ConsoleSize) -> AsyncIterator[Path]:
    """The folder of a past: one that is there, or one that is made and thrown away."""
    if named := os.environ.get("EXCHANGE_BENCH_HISTORY"):
        yield Path(named)
        return
    made = _folder()
    past = [f"--{name}={value}" for name, value in vars_of(size.past).items()]
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.history", str(made / "data"), *past,
            stdout=asyncio.subprocess.DEVNULL, cwd=Path(history.__file__).parent.parent,
        )  # fmt: skip
        if await process.wait():
            raise RuntimeError("no past could be made")
        yield made / "data"
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _folder() -> Path:
    made = Path(tempfile.mkdtemp(prefix="exchange-bench-"))
    made.chmod(0o711)  # Postgres runs as another user when we are root
    return made


def vars_of(past: Past) -> dict[str, int]:
    return {name: getattr(past, name) for name in Past.__slots__}


@asynccontextmanager
async def _serving(folder: Path) -> AsyncIterator[Served]:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("EXCHANGE_")
    } | {
        "EXCHANGE_DATA_DIR": str(folder), "EXCHANGE_LISTEN": "127.0.0.1:0", "EXCHANGE_OFFICE_LISTEN": "127.0.0.1:0",
        "EXCHANGE_WORKERS": "1", "EXCHANGE_ALLOWED_NETWORKS": "127.0.0.0/8",
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        _EXCHANGE, "serve", env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )  # fmt: skip
    try:
        said: list[str] = []
        assert process.stdout is not None
        async with asyncio.timeout(_READY_S):
            while not said or said[-1] != "ready":
                line = (await process.stdout.readline()).decode().strip()
                if not line and process.stdout.at_eof():
                    raise RuntimeError("the exchange ended before it was ready")
                said.append(line)
        urls = [line.rpartition(" ")[2] for line in said if "http://" in line]
        children = {cost.argv(pid): pid for pid in cost.children_of(process.pid)}
        worker = next(pid for argv, pid in children.items() if b"exchange.app" in argv)
        office = next(pid for argv, pid in children.items() if b"exchange.office" in argv)
        dsn = EmbeddedPostgres(folder).running_dsn()
        assert dsn is not None, "it serves"
        yield Served(urls[0], urls[1], worker, office, dsn, environment)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


async def _key(house: Served, role: str, owner: str = "") -> str:
    process = await asyncio.create_subprocess_exec(
        _EXCHANGE, "keys", "create", f"--role={role}", *([f"--owner={owner}"] if owner else []), env=house.environment,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()
    return out.decode().strip()


_SIGN_INS: Final = 5

# --- pages ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Timed:
    page: Page
    status: int
    ms: tuple[float, ...]  # without the first one
    first_ms: float


@asynccontextmanager
async def _browser(house: Served, key: str) -> AsyncIterator[aiohttp.ClientSession]:
    """Signed in with a key."""
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar) as session:
        for left in reversed(range(_SIGN_INS)):
            async with session.post(
                f"{house.office}/console/sign-in", data={"key": key}, headers={"Origin": house.office}, allow_redirects=False
            ) as answer:  # fmt: skip
                if answer.status == 303:
                    break
                if answer.status != 503 or not left:
                    raise RuntimeError(f"the console let nobody in: {answer.status}")
            await asyncio.sleep(1)  # a database that has just started on a million leads
        yield session


async def _look(house: Served, role: str, key: str, facts: Facts, size: ConsoleSize) -> list[Timed]:
    found = []
    async with _browser(house, key) as session:
        for page in pages(role, facts):
            taken, status = [], 0
            for _ in range(size.rounds):
                began_s = time.perf_counter()
                async with session.get(house.office + page.path, allow_redirects=False) as answer:
                    await answer.read()
                    status = answer.status
                taken.append((time.perf_counter() - began_s) * 1000)
            found.append(Timed(page, status, tuple(taken[1:]), taken[0]))
    return found


# --- the live page --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Live:
    """CPU of the worker for a ping, in ms, of each round; and of the office in the same time, in seconds."""

    without_ms: tuple[float, ...]
    watched_ms: tuple[float, ...]
    office_s: float
    chunks: int  # that the viewers were sent
    work: str


async def _live(house: Served, keys: dict[str, str], size: ConsoleSize, seed: int) -> Live:
    """Pings at a steady rate, in turns with and without viewers."""
    count = max(10, round(size.pings_per_s * size.live_s))
    arrivals = poisson(ping_bodies(count, seed), rate_per_s=size.pings_per_s, seed=seed)
    headers = {"Authorization": f"Bearer {keys['seller']}"}
    await fire(
        f"{house.url}/v1/pings", headers, arrivals[: count // 4]
    )  # breakers open, caches fill
    figures: dict[bool, list[float]] = {False: [], True: []}
    office_s, chunks = 0.0, [0]
    for number in range(2 * size.live_rounds):
        watched = number % 2 == 1
        async with AsyncExitStack() as stack:
            for _ in range(size.viewers if watched else 0):
                await stack.enter_async_context(_viewer(house, keys["admin"], chunks))
            before, office = cost.cpu_s(house.worker), cost.cpu_s(house.office_pid)
            tally = await fire(f"{house.url}/v1/pings", headers, arrivals)
            figures[watched].append(
                (cost.cpu_s(house.worker) - before) * 1000 / max(1, tally.answered)
            )
            office_s += (cost.cpu_s(house.office_pid) - office) if watched else 0
    return Live(
        tuple(figures[False]),
        tuple(figures[True]),
        office_s / size.live_rounds,
        chunks[0],
        work_hash(arrivals),
    )


@asynccontextmanager
async def _viewer(house: Served, key: str, chunks: list[int]) -> AsyncIterator[None]:
    """A browser on the live page: the page, then its stream for as long as it is looked at."""
    async with _browser(house, key) as session:
        async with session.get(f"{house.office}/console/") as answer:
            await answer.read()

        async def watch() -> None:
            timeout = aiohttp.ClientTimeout(total=None)
            async with session.get(
                f"{house.office}/console/live/stream", timeout=timeout
            ) as stream:
                async for _ in stream.content.iter_any():
                    chunks[0] += 1

        task = asyncio.create_task(watch())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])


# --- what was found -------------------------------------------------------------------------------


def _findings(size: ConsoleSize, facts: Facts, timed: list[Timed], live: Live) -> Findings:
    good = [one for one in timed if one.status == 200]
    medians = {one: percentile(one.ms, 50) for one in good}
    slow = [one for one, ms in medians.items() if ms > _GOAL_MS]
    without, watched = (min(figures) for figures in (live.without_ms, live.watched_ms))
    rows = [
        (f"{one.page.role:<7}{one.page.name}", (medians.get(one), max(one.ms), one.first_ms))
        for one in timed
    ]
    return Findings(
        scenario="console",
        about=f"{facts.leads} leads, {facts.pings} pings, {facts.transfers} transfers, {facts.contracts} contracts; each page "
        f"{size.rounds - 1} times, ms",
        columns=("p50", "max", "the first"),
        rows=tuple(rows),
        work=live.work,
        complaints=tuple(f"{one.page.role} {one.page.path}: {one.status}" for one in timed if one.status not in {200, 404}),
        notes=tuple(f"{one.page.role} {one.page.path}: there is no such page" for one in timed if one.status == 404),
        facts={
            "pages": len(good), "slow": [f"{one.page.role} {one.page.path}" for one in slow],
            "live_without_ms": live.without_ms, "live_watched_ms": live.watched_ms, "live_chunks": live.chunks,
            "live_office_s": live.office_s,
        },
        goals=(
            Goal(text=f"slowest page at the server, median, {facts.leads} leads", target="≤ 300 ms",
                 figure=shown(max(medians.values(), default=None), " ms"), met=bool(good) and not slow),
            Goal(text=f"worker's CPU for a ping, {size.viewers} viewers of the live page against none", target="≤ 1.05",
                 figure=shown(watched / without if without else None), met=bool(without) and watched <= without * 1.05),
        ),
    )  # fmt: skip
