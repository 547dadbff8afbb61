"""The processes of a benchmark, all on loopback and free ports, and what they cost the CPU.

Pinned, the exchange with its Postgres has one core (and the peer in its turn), buyers, load generator
and whoever measures have the other; and it is asked only when its start is over.
"""

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson

from benchmarks import cost
from benchmarks.cost import EXCHANGE_CORE, OTHERS_CORE
from benchmarks.market import SELLER, Homes, Market, documents, peer_orders, tempers

_ROOT: Final = Path(__file__).resolve().parent.parent
_VERTICAL: Final = _ROOT / "config" / "verticals" / "auto_insurance.toml"
_EXCHANGE: Final = str(Path(sys.executable).with_name("exchange"))
_READY_S: Final = 90.0
_ROUND_S: Final = 3600.0
_STOP_S: Final = 30.0
_REST_S: Final = 6.0  # longer than the office waits before it compiles
_REST: Final = 0.1  # of a core
_TOLD_CHARS: Final = 4000
_LINE_BYTES_MAX: Final = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Rig:
    """The exchange under test."""

    url: str
    office_url: str
    key: str
    homes: Homes  # of the buyers
    certificates: str | None  # the CA behind the buyers' TLS
    supervisor: int  # process ids
    worker: int
    office: int
    postmaster: int
    crew: tuple[int, ...]  # the buyers' processes

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def cpu(self) -> "Cpu":
        """Everything the exchange has used so far."""
        worker, office = cost.family_cpu_s(self.worker), cost.family_cpu_s(self.office)
        postgres = cost.family_cpu_s(self.postmaster)
        return Cpu(worker, office, postgres, cost.family_cpu_s(self.supervisor))

    def crew_s(self) -> float:
        """CPU that the buyers have used so far, whoever asked them."""
        return sum(cost.cpu_s(pid) for pid in self.crew)


@dataclass(frozen=True, slots=True)
class Cpu:
    """Seconds; `whole` has the supervisor, what it owns, and their dead."""

    worker: float
    office: float
    postgres: float
    whole: float

    def __sub__(self, other: "Cpu") -> "Cpu":
        return Cpu(
            self.worker - other.worker,
            self.office - other.office,
            self.postgres - other.postgres,
            self.whole - other.whole,
        )


@dataclass(frozen=True, slots=True)
class Peer:
    """The bare aiohttp fan-out."""

    url: str
    pid: int


# --- processes ------------------------------------------------------------------------------------


@asynccontextmanager
async def started(
    market: Market, *, pin: bool = False, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Rig]:
    """Buyers, a fresh exchange with one worker, its documents and a seller's key."""
    folder = _folder()
    try:
        async with AsyncExitStack() as stack:
            certificates = certificate = None
            if market.tls:
                certificate, certificates = make_certificates(folder)
            command = _buyers_command(folder, market)
            homes = [
                await stack.enter_async_context(_buyers(command, certificate, pin))
                for _ in range(1 + any(buyer.apart for buyer in market.buyers))
            ]
            settings = dict(environment or {})
            if certificates is not None:
                settings["SSL_CERT_FILE"] = certificates
            crew = tuple(pid for _, pid in homes)
            urls = Homes(*(url for url, _ in homes))
            serving = _serving(folder, market, (urls, certificates, crew), settings, pin)
            yield await stack.enter_async_context(serving)
    except BaseException:
        _tell_end(folder / "exchange.log")
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _tell_end(log: Path) -> None:
    """What the exchange said last, before its folder goes."""
    if log.is_file():
        sys.stderr.write(log.read_text(encoding="utf-8", errors="replace")[-_TOLD_CHARS:])


def _buyers_command(folder: Path, market: Market) -> tuple[str, ...]:
    """Quick buyers, or the reference buyers with what they are told."""
    if market.is_quick:
        return (sys.executable, "-m", "benchmarks.quick_buyers")
    (folder / "tempers.toml").write_text(tempers(market), encoding="utf-8")
    run = ("-m", "buyers", "run", str(folder / "tempers.toml"), "--listen", "127.0.0.1:0")
    return (sys.executable, *run, "--die-with-parent")


@asynccontextmanager
async def _buyers(
    command: Sequence[str], certificate: str | None, pin: bool
) -> AsyncIterator[tuple[str, int]]:
    """The base URL of a process of buyers, with TLS if there is a certificate; its id."""
    first_line = orjson.dumps({"cert": certificate}) + b"\n"
    core = OTHERS_CORE if pin else None
    async with _process(command, first_line=first_line, core=core) as (process, said):
        yield said.rpartition(" ")[2], process.pid


def make_certificates(folder: Path) -> tuple[str, str]:
    """A local authority and a certificate for loopback: files of the chain with its key, and of
    the authority."""
    import trustme

    authority = trustme.CA()
    made = authority.issue_cert("127.0.0.1")
    made.private_key_and_cert_chain_pem.write_to_path(str(folder / "buyers.pem"))
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    return str(folder / "buyers.pem"), str(folder / "authority.pem")


def _folder() -> Path:
    made = Path(tempfile.mkdtemp(prefix="exchange-bench-"))
    made.chmod(0o711)  # Postgres runs as another user when we are root
    return made


@asynccontextmanager
async def _serving(
    folder: Path,
    market: Market,
    buyers: tuple[Homes, str | None, tuple[int, ...]],
    settings: Mapping[str, str],
    pin: bool,
) -> AsyncIterator[Rig]:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("EXCHANGE_")
    } | {
        "EXCHANGE_DATA_DIR": str(folder / "data"),
        "EXCHANGE_LISTEN": "127.0.0.1:0",
        "EXCHANGE_OFFICE_LISTEN": "127.0.0.1:0",
        "EXCHANGE_WORKERS": "1",
        "EXCHANGE_ALLOWED_NETWORKS": "127.0.0.0/8",
        **settings,
    }
    with (folder / "exchange.log").open("wb") as errors:
        core = EXCHANGE_CORE if pin else None
        serve = _process((_EXCHANGE, "serve"), environment, errors=errors, core=core)
        async with serve as (process, said):
            url = said.rpartition(" ")[2]
            office_url = (await _line_of(process, "")).rpartition(" ")[2]
            await _line_of(process, "ready")
            (folder / "market.json").write_bytes(orjson.dumps(documents(market, buyers[0])))
            await _run("apply", str(_VERTICAL), str(folder / "market.json"), env=environment)
            owner = f"--owner={SELLER}"
            key = await _run("keys", "create", "--role=seller", owner, env=environment)
            await _wait_tradable(url, key)
            homes, certificates, crew = buyers
            made = Rig(url, office_url, key, homes, certificates, *_pids(process.pid), crew)
            if pin:
                await _rest(made)
            yield made


async def _rest(rig: Rig) -> None:
    """Until all that belongs to a start is over: seconds after it the office compiles its pages."""
    async with asyncio.timeout(_READY_S):
        quiet_s, used_s = 0.0, rig.cpu().whole
        while quiet_s < _REST_S:
            await asyncio.sleep(1)
            before_s, used_s = used_s, rig.cpu().whole
            quiet_s = quiet_s + 1 if used_s - before_s < _REST else 0.0


def _pids(supervisor: int) -> tuple[int, int, int, int]:
    """The supervisor, its worker, its office, its Postgres."""
    children = cost.children_of(supervisor)
    worker = next(pid for pid in children if b"exchange.app" in cost.argv(pid))
    office = next(pid for pid in children if b"exchange.office" in cost.argv(pid))
    postmaster = next(pid for pid in children if b"postgres" in cost.argv(pid).split(b"\0")[0])
    return supervisor, worker, office, postmaster


@asynccontextmanager
async def peer(
    market: Market, homes: Homes, *, pin: bool = False, certificates: str | None = None
) -> AsyncIterator[Peer]:
    """The peer, on the exchange's core."""
    first_line = orjson.dumps(peer_orders(market, homes)) + b"\n"
    command = (sys.executable, "-m", "benchmarks.bare_aiohttp")
    environment = {**os.environ, **({"SSL_CERT_FILE": certificates} if certificates else {})}
    core = EXCHANGE_CORE if pin else None
    async with _process(command, environment, first_line=first_line, core=core) as (process, said):
        yield Peer(said.rpartition(" ")[2], process.pid)


class Gun:
    """The load generator's process: a round in, what came of it out."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid

    async def fire(self, order: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(orjson.dumps(order) + b"\n")
        await self._process.stdin.drain()
        async with asyncio.timeout(_ROUND_S):
            line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError("the load generator has ended")
        said: dict[str, Any] = orjson.loads(line)
        return said


@asynccontextmanager
async def gun(*, pin: bool = False) -> AsyncIterator[Gun]:
    command = (sys.executable, "-m", "benchmarks.quick_load")
    async with _process(command, core=OTHERS_CORE if pin else None) as (process, _):
        yield Gun(process)


@asynccontextmanager
async def _process(
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
    *,
    first_line: bytes = b"",
    errors: Any = None,
    core: int | None = None,
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A process of ours and its first line; ended whatever happens."""
    with cost.on_core(core or 0, pin=core is not None):
        process = await asyncio.create_subprocess_exec(
            *command, cwd=_ROOT, env=environment, stderr=errors, limit=_LINE_BYTES_MAX,
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
