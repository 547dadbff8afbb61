"""The live catalogue: how long it takes to load, how long it holds the loop up, how soon a change is
in force while auctions run. One worker process is watched; changes are written beside it, as the
administrators' API writes them.
"""

import asyncio
import hashlib
import secrets
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from random import Random
from typing import Any, Final

import asyncpg
import orjson

from benchmarks.findings import Findings
from benchmarks.load import percentile
from buyers.guard import Guard
from exchange.apply import apply
from exchange.checking import check_all
from exchange.fields import STATES
from exchange.sealing import Vault
from exchange.store.database import Database
from exchange.store.documents import Change, write_documents
from exchange.store.embedded import EmbeddedPostgres
from exchange.store.migrate import migrate
from exchange.store.stored import ContractScope

_WITHIN_S: Final = 30.0
_FIELDS: Final = [
    {"name": "state", "type": "state", "stage": "ping", "required": True},
    {"name": "zip", "type": "zip", "stage": "ping"},
    {"name": "age", "type": "integer", "stage": "ping"},
    *({"name": f"note{n}", "type": "string", "stage": "ping"} for n in range(26)),
    {"name": "phone", "type": "phone", "stage": "post", "required": True},
]


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueSize:
    contracts: int = 10_000
    verticals: int = 20
    zips: int = 40_000  # in the longest list
    changes: int = 30
    auctions_per_s: int = 50


@dataclass(slots=True)
class _Found:
    rows: list[tuple[str, tuple[float | None, ...]]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


class _Worker:
    """The process that is watched."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        async with asyncio.timeout(_WITHIN_S):
            said: dict[str, Any] = orjson.loads(await self._process.stdout.readline())
        return said

    async def hear_of(self, version: int) -> list[dict[str, Any]]:
        """Everything up to the reload that has this version in force."""
        heard = [await self.hear()]
        while heard[-1]["version"] < version:
            heard.append(await self.hear())
        return heard

    def hold_auctions(self, per_s: int) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(b"%d\n" % per_s)


async def catalogue(seed: int, size: CatalogueSize = CatalogueSize()) -> Findings:
    """Load, change one contract many times, alone and beside auctions, then larger things."""
    wanted = documents(size, Random(seed))
    found = _Found()
    key = secrets.token_bytes(32)
    async with _postgres() as dsn:
        db, vault = Database(dsn), Vault(key, secrets.token_bytes)
        try:
            await _apply_all(dsn, db, vault, wanted, found)
            async with _worker(dsn, key) as worker:
                await _watch(worker, db, vault, wanted, size, found)
        finally:
            await db.close()
    return Findings(
        scenario="catalogue",
        about=f"{size.contracts} contracts in {size.verticals} verticals, one worker's loop; "
        f"turns are the loop's longest, changes are counted from their commit",
        columns=("p50", "max", "turn, ms", "turn CPU, ms"),
        rows=tuple(found.rows),
        work=hashlib.sha256(orjson.dumps(wanted)).hexdigest()[:16],
        complaints=tuple(found.complaints),
        notes=(),
    )


def documents(size: CatalogueSize, rng: Random) -> list[tuple[str, dict[str, Any]]]:
    """Every contract takes the leads of one state or of some ZIP codes; a tenth has its hours."""
    names = [f"vertical-{n}" for n in range(size.verticals)]
    buyers = [f"buyer-{n}" for n in range(max(1, size.contracts // 10))]
    wanted: list[tuple[str, dict[str, Any]]] = [
        ("vertical", {"slug": name, "name": name, "fields": _FIELDS}) for name in names
    ]
    seller = {"slug": "bench", "name": "Bench", "verticals": names, "rate_per_s": 100_000}
    wanted.append(("seller", seller))
    wanted += [("buyer", {"slug": name, "name": name}) for name in buyers]
    for number in range(size.contracts):
        state = [{"field": "state", "op": "in", "value": [rng.choice(sorted(STATES))]}]
        age = [{"field": "age", "op": "between", "value": [18, rng.randint(50, 90)]}]
        zips = [f"{rng.randrange(100_000):05}" for _ in range(rng.choice([0, 0, 0, 20, 100]))]
        within = [{"field": "zip", "op": "in", "value": zips}] if zips else []
        hours = {"hours": {"mon": ["09:00-17:00"]}} if number % 10 == 0 else None
        url = f"http://127.0.0.1:9/{number}"
        contract = {
            "slug": f"contract-{number:05}", "buyer": buyers[number % len(buyers)],
            "vertical": names[number % len(names)], "pricing": {"mode": "bid"},
            "endpoint": {"ping_url": f"{url}/ping", "post_url": f"{url}/post"},
            "filters": state if number % 2 else [{"not": {"any": age}}, *state, *within],
            "schedule": hours, "caps": [{"kind": "sales", "period": "day", "limit": 100}],
        }  # fmt: skip
        wanted.append(("contract", contract))
    return wanted


async def _apply_all(
    dsn: str, db: Database, vault: Vault, wanted: list[tuple[str, dict[str, Any]]], found: _Found
) -> None:
    """All at once, as `exchange apply` does; how long an award would have waited meanwhile."""
    done = threading.Event()
    probing = asyncio.create_task(asyncio.to_thread(lambda: asyncio.run(_award_waits(dsn, done))))
    began_s = time.perf_counter()
    try:
        await apply(db, vault, _guard(), wanted, by="bench")
        took_s = time.perf_counter() - began_s
    finally:
        done.set()
        waited_s = await probing
    found.rows.append(("apply all, s", (took_s, took_s, None, None)))
    found.rows.append(("awards held up, ms", (None, 1000 * waited_s, None, None)))


async def _award_waits(dsn: str, done: threading.Event) -> float:
    """The longest that an award would have waited for its first lock, in seconds."""
    probe = await asyncpg.connect(dsn)
    longest_s = 0.0
    while not done.is_set():
        began_s = time.perf_counter()
        await probe.execute("SELECT pg_advisory_xact_lock_shared(7001, 0)")
        longest_s = max(longest_s, time.perf_counter() - began_s)
        await asyncio.sleep(0.001)
    await probe.close()
    return longest_s


async def _watch(
    worker: _Worker, db: Database, vault: Vault, wanted: list[tuple[str, dict[str, Any]]],
    size: CatalogueSize, found: _Found,
) -> None:  # fmt: skip
    took_s = (await worker.hear())["took_s"]
    loaded = await worker.hear()
    turns = loaded["turn_ms"], loaded["cpu_ms"]
    found.rows.append(("load, s", (took_s, took_s, *turns)))
    found.rows.append(("memory, MB", (loaded["rss_mb"], None, None, None)))
    if loaded["contracts"] != size.contracts:
        found.complaints.append(f"{loaded['contracts']} contracts were loaded")
    first = await worker.hear()  # the watch compares everything when it has begun to listen
    if first["compiled"]:
        found.complaints.append("what had not changed was compiled again")
    contracts = [body for kind, body in wanted if kind == "contract"]

    async def change(
        name: str, many: list[tuple[str, dict[str, Any]]], compiled: int | None
    ) -> None:
        """One after the other; each must be in force before the next is written."""
        took_ms, turn_ms, cpu_ms = [], [], []
        for one in many:
            (done,) = await apply_one(db, vault, one)
            committed_s = time.monotonic()
            heard = await worker.hear_of(done.version)
            took_ms.append(1000 * max(0.0, heard[-1]["at_s"] - committed_s))
            turn_ms.append(max(said["turn_ms"] for said in heard))
            cpu_ms.append(max(said["cpu_ms"] for said in heard))
            if compiled is not None and sum(said["compiled"] for said in heard) != compiled:
                found.complaints.append(f"{name}: {[said['compiled'] for said in heard]} compiled")
        row = (percentile(took_ms, 50), max(took_ms), max(turn_ms), max(cpu_ms))
        found.rows.append((f"{name}, ms", row))

    def prioritised(n: int) -> list[tuple[str, dict[str, Any]]]:
        return [("contract", one | {"priority": n}) for one in contracts[: size.changes]]

    zips = [f"{n:05}" for n in range(size.zips)]
    long = {"filters": [{"field": "zip", "op": "in", "value": zips}]}
    await change("one contract", prioritised(11), 1)
    worker.hold_auctions(size.auctions_per_s)
    await change("beside auctions", prioritised(12), 1)
    worker.hold_auctions(0)
    await asyncio.sleep(1)
    await change("a long list", [("contract", contracts[0] | long)], 1)
    await change("a long list gone", [("contract", contracts[0])], 1)
    buyer = {"slug": "buyer-0", "name": "Other", "timezone": "America/New_York"}
    await change("a buyer", [("buyer", buyer)], 0)
    vertical = {"slug": "vertical-0", "name": "Other", "fields": _FIELDS[:-2] + _FIELDS[-1:]}
    compiled = sum(one["vertical"] == "vertical-0" for one in contracts)
    await change("a vertical's fields", [("vertical", vertical)], compiled)
    await _burst(worker, db, vault, contracts, found)


async def apply_one(db: Database, vault: Vault, one: tuple[str, dict[str, Any]]) -> list[Change]:
    """As a PUT does, whose look at what is stored is narrower."""
    kind, body = one
    scope = None
    if kind == "contract":
        scope = ContractScope(body["slug"], body["vertical"], body["buyer"])
    return await write_documents(
        db, vault, lambda stored: check_all([one], stored, _guard()), by="bench", scope=scope
    )


async def _burst(
    worker: _Worker, db: Database, vault: Vault, contracts: list[dict[str, Any]], found: _Found
) -> None:
    """A hundred changes as fast as they can be written: how many reloads they cost."""
    version = 0
    for one in contracts[:100]:
        (done,) = await apply_one(db, vault, ("contract", one | {"priority": 13}))
        version = done.version
    committed_s = time.monotonic()
    heard = await worker.hear_of(version)
    took_ms = 1000 * max(0.0, heard[-1]["at_s"] - committed_s)
    turns = max(said["turn_ms"] for said in heard), max(said["cpu_ms"] for said in heard)
    found.rows.append((f"a burst of 100 in {len(heard)}, ms", (None, took_ms, *turns)))


def _guard() -> Guard:
    return Guard(allowed_networks=(ip_network("127.0.0.0/8"),))


def _folder() -> Path:
    made = Path(tempfile.mkdtemp(prefix="exchange-bench-"))
    made.chmod(0o711)  # Postgres runs as another user when we are root
    return made


@asynccontextmanager
async def _postgres() -> AsyncIterator[str]:
    folder = _folder()
    server = EmbeddedPostgres(folder / "data")
    try:
        dsn = await asyncio.to_thread(server.start)
        await migrate(dsn)
        yield dsn
    finally:
        await asyncio.to_thread(server.stop)
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def _worker(dsn: str, key: bytes) -> AsyncIterator[_Worker]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.catalogue_worker", stdin=pipe, stdout=pipe
    )
    assert process.stdin is not None
    process.stdin.write(orjson.dumps({"dsn": dsn, "key": key.hex()}) + b"\n")
    try:
        yield _Worker(process)
    finally:
        process.stdin.close()
        await process.wait()
