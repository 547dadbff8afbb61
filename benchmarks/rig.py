"""The processes of a benchmark, all on loopback and free ports, and what they cost the CPU."""

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson

_ROOT: Final = Path(__file__).resolve().parent.parent
_VERTICAL: Final = _ROOT / "config" / "verticals" / "auto_insurance.toml"
_EXCHANGE: Final = str(Path(sys.executable).with_name("exchange"))
_SECRET: Final = "whsec_YmVuY2htYXJrcyBvbmx5LCBsb29wYmFjaw=="
_READY_S: Final = 90.0
_STOP_S: Final = 30.0
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class BuyerSpec:
    """A reference buyer: it bids `price`; `temper` is any further property of a temper."""

    name: str
    price: str
    temper: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """Who is asked, and for how long."""

    buyers: tuple[BuyerSpec, ...]
    window_ms: int = 500
    ping_timeout_ms: int = 2000


@dataclass(frozen=True, slots=True)
class Rig:
    """The exchange under test."""

    url: str
    key: str
    buyers_url: str
    worker: int  # process id
    postmaster: int

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


# --- what is asked and traded ---------------------------------------------------------------------


def tempers(market: Market) -> str:
    return "\n".join(
        f'[[tempers]]\nname = "{buyer.name}"\nsecret = "{_SECRET}"\n'
        f'price_min = "{buyer.price}"\nprice_max = "{buyer.price}"\n{buyer.temper}\n'
        for buyer in market.buyers
    )


def documents(market: Market, buyers_url: str) -> dict[str, Any]:
    return {
        "plans": [
            {
                "vertical": "auto_insurance",
                "tiers": [{"name": "auction", "mode": "auction", "window_ms": market.window_ms}],
            }
        ],
        "sellers": [
            {
                "slug": "bench",
                "name": "Bench",
                "verticals": ["auto_insurance"],
                "rate_per_s": 100_000,
            }
        ],
        "buyers": [{"slug": buyer.name, "name": buyer.name} for buyer in market.buyers],
        "contracts": [_contract(buyer, market, buyers_url) for buyer in market.buyers],
    }


def _contract(buyer: BuyerSpec, market: Market, buyers_url: str) -> dict[str, Any]:
    return {
        "slug": f"{buyer.name}-auto",
        "buyer": buyer.name,
        "vertical": "auto_insurance",
        "pricing": {"mode": "bid"},
        "endpoint": {
            "ping_url": f"{buyers_url}/{buyer.name}/ping",
            "post_url": f"{buyers_url}/{buyer.name}/post",
            "secret": _SECRET,
            "ping_timeout_ms": market.ping_timeout_ms,
        },
    }


def peer_orders(market: Market, buyers_url: str) -> dict[str, Any]:
    return {
        "window_ms": market.window_ms,
        "buyers": [
            {
                "contract": f"{buyer.name}-auto",
                "url": f"{buyers_url}/{buyer.name}/ping",
                "secret": _SECRET,
            }
            for buyer in market.buyers
        ],
    }


# --- processes ------------------------------------------------------------------------------------


@asynccontextmanager
async def started(market: Market) -> AsyncIterator[Rig]:
    """Buyers, a fresh exchange with one worker, its documents and a seller's key."""
    folder = _folder()
    try:
        (folder / "tempers.toml").write_text(tempers(market), encoding="utf-8")
        buyers = ("-m", "buyers", "run", str(folder / "tempers.toml"), "--listen", "127.0.0.1:0")
        async with (
            _process((sys.executable, *buyers, "--die-with-parent")) as (_, said),
            _serving(folder, market, said.rpartition(" ")[2]) as rig,
        ):
            yield rig
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _folder() -> Path:
    made = Path(tempfile.mkdtemp(prefix="exchange-bench-"))
    made.chmod(0o711)  # Postgres runs as another user when we are root
    return made


@asynccontextmanager
async def _serving(folder: Path, market: Market, buyers_url: str) -> AsyncIterator[Rig]:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("EXCHANGE_")
    } | {
        "EXCHANGE_DATA_DIR": str(folder / "data"),
        "EXCHANGE_LISTEN": "127.0.0.1:0",
        "EXCHANGE_OFFICE_LISTEN": "127.0.0.1:0",
        "EXCHANGE_WORKERS": "1",
        "EXCHANGE_ALLOWED_NETWORKS": "127.0.0.0/8",
    }
    with (folder / "exchange.log").open("wb") as errors:
        serve = _process((_EXCHANGE, "serve"), environment, errors=errors)
        async with serve as (process, said):
            url = said.rpartition(" ")[2]
            await _line_of(process, "ready")
            (folder / "market.json").write_bytes(orjson.dumps(documents(market, buyers_url)))
            await _run("apply", str(_VERTICAL), str(folder / "market.json"), env=environment)
            key = await _run("keys", "create", "--role=seller", "--owner=bench", env=environment)
            await _wait_tradable(url, key)
            worker = next(pid for pid in children_of(process.pid) if b"exchange.app" in argv(pid))
            pidfile = next((folder / "data").glob("**/postmaster.pid"))
            postmaster = int(pidfile.read_text(encoding="utf-8").split("\n", 1)[0])
            yield Rig(url, key, buyers_url, worker, postmaster)


@asynccontextmanager
async def peer(market: Market, buyers_url: str) -> AsyncIterator[tuple[str, int]]:
    """The peer's URL and process id."""
    first_line = orjson.dumps(peer_orders(market, buyers_url)) + b"\n"
    command = (sys.executable, "-m", "benchmarks.bare_aiohttp")
    async with _process(command, first_line=first_line) as (process, said):
        yield said.rpartition(" ")[2], process.pid


@asynccontextmanager
async def _process(
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
    *,
    first_line: bytes = b"",
    errors: Any = None,
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A process of ours and its first line; ended whatever happens."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=_ROOT, env=environment, stderr=errors,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdin is not None
        process.stdin.write(first_line)
        yield process, await _line_of(process, "")
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(_STOP_S):
                await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()


async def _line_of(process: asyncio.subprocess.Process, start: str) -> str:
    """The next line of its output that starts so."""
    assert process.stdout is not None
    async with asyncio.timeout(_READY_S):
        while line := (await process.stdout.readline()).decode():
            if line.startswith(start):
                return line.strip()
    raise RuntimeError(f"a process ended before it said {start or 'anything'!r}")


async def _run(*arguments: str, env: Mapping[str, str]) -> str:
    process = await asyncio.create_subprocess_exec(
        _EXCHANGE, *arguments, env=env, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"exchange {arguments[0]} failed")
    return out.decode().strip()


async def _wait_tradable(url: str, key: str) -> None:
    """Until the worker has seen the documents: within a second."""
    headers = {"Authorization": f"Bearer {key}"}
    async with asyncio.timeout(_READY_S), aiohttp.ClientSession(headers=headers) as session:
        while True:
            async with session.get(f"{url}/v1/spec/auto_insurance") as response:
                if response.status == 200:
                    return
            await asyncio.sleep(0.1)


# --- what it costs --------------------------------------------------------------------------------


def cpu_s(pid: int) -> float:
    """User and system time of one process, all threads; 10 ms fine."""
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def family_cpu_s(pid: int) -> float:
    """Of a process and the children it has now."""
    found = 0.0
    for one in (pid, *children_of(pid)):
        try:
            found += cpu_s(one)
        except OSError:  # gone meanwhile
            continue
    return found


def children_of(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += map(int, (task / "children").read_text(encoding="utf-8").split())
    return found


def argv(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
