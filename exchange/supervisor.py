"""Owns the embedded Postgres, N workers and the office; restarts what dies, ends what it began."""

import asyncio
import os
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from exchange import log
from exchange.errors import ExchangeError
from exchange.process import Orders
from exchange.settings import Settings, split_address
from exchange.store.embedded import EmbeddedPostgres, default_data_dir
from exchange.store.migrate import migrate

_CHECKOUT: Final = Path(__file__).resolve().parent.parent
_STOP_GRACE_S: Final = 5.0
_BACKOFF_MAX_S: Final = 1.0


class ServeRefused(ExchangeError):
    """Another exchange has this data folder or this listener."""


def data_dir_of(settings: Settings) -> Path:
    return settings.data_dir or default_data_dir(_CHECKOUT)


def master_key_of(settings: Settings, data_dir: Path) -> str:
    """The configured key, or the one in the data folder, made on first use."""
    if settings.master_key is not None:
        return settings.master_key
    path = data_dir / "master.key"
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        data_dir.mkdir(parents=True, exist_ok=True)
        key = secrets.token_hex(32)
        # Only the first writer's key may ever be used.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(key + "\n")
            file.flush()
            os.fsync(file.fileno())
        return key


def hold_address(address: str, name: str) -> tuple[socket.socket, str]:
    """Reserve a listener for our children: they share it by SO_REUSEPORT, nobody else can.

    The first bind finds out whether anybody has it; the second, kept and never listened on, keeps
    it: a later supervisor's first bind fails on it. Returns the address with its actual port.
    """
    host, port = split_address(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    probe = socket.socket(family, socket.SOCK_STREAM)
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind((host, port))
        port = probe.getsockname()[1]
    except OSError as error:
        raise ServeRefused(
            f"{name} {address} cannot be used: {error.strerror}; is another exchange running?"
        ) from None
    finally:
        probe.close()
    held = socket.socket(family, socket.SOCK_STREAM)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        held.bind((host, port))
    except OSError as error:
        held.close()
        raise ServeRefused(f"{name} {address} cannot be used: {error.strerror}") from None
    return held, f"{host}:{port}" if family == socket.AF_INET else f"[{host}]:{port}"


@dataclass(eq=False)
class Child:
    """One process of ours, restarted for ever."""

    name: str
    command: tuple[str, ...]
    first_line: bytes
    environment: dict[str, str]
    errors: BinaryIO | None = None  # where its standard error goes; None: ours
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    process: asyncio.subprocess.Process | None = None
    said: str = ""  # its line of readiness

    async def keep_alive(self, stopping: Callable[[], bool]) -> None:
        pause_s = 0.05
        while not stopping():
            self.ready.clear()
            await self._run()
            was_ready = self.ready.is_set()
            self.ready.clear()
            if stopping():
                return
            log.event(
                "process ended", name=self.name, code=self.process and self.process.returncode
            )
            if was_ready:
                pause_s = 0.05
            else:
                await asyncio.sleep(pause_s)
                pause_s = min(_BACKOFF_MAX_S, pause_s * 2)

    async def _run(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            *self.command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=self.errors,
            env=self.environment,
            start_new_session=True,  # Ctrl-C is ours; children are told in order
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(self.first_line)
            await self.process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            pass  # it died at once; wait() tells
        while line := await self.process.stdout.readline():
            self.said = line.decode(errors="replace").strip()
            self.ready.set()
        await self.process.wait()

    async def end(self, grace_s: float) -> None:
        """SIGTERM, then SIGKILL."""
        if self.process is None or self.process.returncode is not None:
            return
        self.process.terminate()
        try:
            async with asyncio.timeout(grace_s):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()


class Supervisor:
    """One `exchange serve`. `start()` returns when both listeners are ready."""

    def __init__(self, settings: Settings, *, log_to_file: bool = False) -> None:
        self.settings = settings
        self._log_to_file = log_to_file
        self._log_file: BinaryIO | None = None
        self.data_dir = data_dir_of(settings)
        self.children: list[Child] = []
        self.dsn = ""
        self.master_key = ""
        self.listen = ""
        self.office_listen = ""
        self._keepers: list[asyncio.Task[None]] = []
        self._held: list[socket.socket] = []
        self._postgres: EmbeddedPostgres | None = None
        self._stopping = False
        self._scratch: Path | None = None

    async def open_house(self) -> None:
        """Listeners, database, schema, master key: what everything else stands on."""
        held, self.listen = hold_address(self.settings.listen, "listen")
        self._held.append(held)
        held, self.office_listen = hold_address(self.settings.office_listen, "office_listen")
        self._held.append(held)
        if self.settings.database_url is None:
            self._postgres = EmbeddedPostgres(self.data_dir)
            self.dsn = await asyncio.to_thread(self._postgres.start)
            self._keepers.append(asyncio.create_task(self._keep_postgres(self._postgres)))
        else:
            self.dsn = self.settings.database_url
        self.master_key = master_key_of(self.settings, self.data_dir)
        if self._log_to_file:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            self._log_file = (self.data_dir / "exchange.log").open("ab")
        await migrate(self.dsn)

    def add_child(
        self, name: str, command: tuple[str, ...], first_line: bytes, **environment: str
    ) -> Child:
        child = Child(name, command, first_line, {**os.environ, **environment}, self._log_file)
        self.children.append(child)
        self._keepers.append(asyncio.create_task(child.keep_alive(lambda: self._stopping)))
        return child

    async def start(self, **environment: str) -> None:
        """Start workers and office and wait until both listeners answer."""
        self._scratch = Path(tempfile.mkdtemp(prefix="exchange-metrics-"))
        started = [
            self._start_one(f"w{number}", "exchange.app", environment)
            for number in range(self.settings.workers)
        ]
        started.append(self._start_one("office", "exchange.office.server", environment))
        await asyncio.gather(*(child.ready.wait() for child in started))
        await self._wait_ready()

    def _start_one(self, name: str, module: str, environment: dict[str, str]) -> Child:
        orders = Orders(
            name=name,
            dsn=self.dsn,
            master_key=self.master_key,
            listen=self.listen,
            office_listen=self.office_listen,
            metrics_dir=str(self._scratch),
            workers=self.settings.workers,
        )
        return self.add_child(name, (sys.executable, "-m", module), orders.dump(), **environment)

    async def _wait_ready(self) -> None:
        for address in (self.listen, self.office_listen):
            while not await is_ready(address):  # noqa: ASYNC110 - another process becomes ready
                await asyncio.sleep(0.05)

    async def _keep_postgres(self, postgres: EmbeddedPostgres) -> None:
        while True:
            await asyncio.sleep(0.5)
            if await asyncio.to_thread(postgres.restart_if_dead):
                log.event("postgres restarted")

    async def stop(self) -> None:
        """Drain the workers, then end everything that was started, Postgres last."""
        self._stopping = True
        grace_s = self.settings.http.drain_s + _STOP_GRACE_S
        await asyncio.gather(*(child.end(grace_s) for child in self.children))
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        if self._postgres is not None:
            await asyncio.to_thread(self._postgres.stop)
        for held in self._held:
            held.close()
        if self._log_file is not None:
            self._log_file.close()
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)


async def is_ready(address: str) -> bool:
    """One GET /readyz by hand: the supervisor needs no HTTP client for it."""
    host, port = split_address(address)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    try:
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            line = await reader.readline()
            writer.close()
    except (OSError, TimeoutError):
        return False
    return b" 200 " in line
