"""`exchange serve` as a process, with a throw-away folder; whatever happens, nothing is left of it."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from exchange.sealing import Vault
from exchange.store.embedded import EmbeddedPostgres
from tests.places import open_folder
from tests.test_embedded import CHECKOUT, end_servers, wait_for

Value = TypeVar("Value")
EXCHANGE = [sys.executable, "-c", "from exchange.cli import main; main()"]
MASTER_KEY = "5a" * 32
LOOPBACK = "127.0.0.0/8"


async def eventually(look: Callable[[], Any], seconds: float = 10) -> Any:
    """The first true answer of `look`, which may be a coroutine function."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        found = look()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert asyncio.get_running_loop().time() < deadline, "did not happen in time"
        await asyncio.sleep(0.02)


def parents() -> dict[int, int]:
    """Parent of every process that is not a zombie."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state != "Z":
            found[int(path.parent.name)] = int(parent)
    return found


def runs(pid: int) -> bool:
    return pid in parents()


class Exchange:
    """One exchange. `database` is a Postgres of somebody else's; without it, an embedded one."""

    def __init__(
        self, folder: Path, *, workers: int = 2, database: str | None = None, **settings: Any
    ) -> None:
        self.folder = folder
        self.data_dir = folder / "d"
        self.workers = workers
        self.url = ""
        self.office_url = ""
        self._database = database
        self._process: subprocess.Popen[bytes] | None = None
        kept = {name: text for name, text in os.environ.items() if not name.startswith("EXCHANGE_")}
        self.environment = kept | {
            "EXCHANGE_DATA_DIR": str(self.data_dir),
            "EXCHANGE_LISTEN": "127.0.0.1:0",
            "EXCHANGE_OFFICE_LISTEN": "127.0.0.1:0",
            "EXCHANGE_DEMO_LISTEN": "127.0.0.1:0",
            "EXCHANGE_WORKERS": str(workers),
            "EXCHANGE_ALLOWED_NETWORKS": LOOPBACK,
            "EXCHANGE_MASTER_KEY": MASTER_KEY,
            **({"EXCHANGE_DATABASE_URL": database} if database else {}),
            **{f"EXCHANGE_{name.upper()}": str(value) for name, value in settings.items()},
        }

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def dsn(self) -> str:
        found = self._database or EmbeddedPostgres(self.data_dir).running_dsn()
        assert found is not None
        return found

    @property
    def vault(self) -> Vault:
        return Vault(bytes.fromhex(MASTER_KEY), os.urandom)

    def start(self, *options: str, **more: str) -> "Exchange":
        """Start and wait until it says `ready`."""
        with (self.folder / "out").open("wb") as out, (self.folder / "err").open("ab") as errors:
            self._process = subprocess.Popen(
                [*EXCHANGE, "serve", *options],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
                env=self.environment | more,
                cwd=CHECKOUT,
            )
        wait_for(lambda: self._says("ready") or self._process.poll() is not None, 90)  # type: ignore[union-attr]
        assert self._says("ready"), self.log()[-2000:]
        words = self.said().split()
        self.url, self.office_url = [word for word in words if word.startswith("http://")][:2]
        return self

    def said(self) -> str:
        return (self.folder / "out").read_text()

    def log(self) -> str:
        """Standard error of supervisor, workers and office."""
        return (self.folder / "err").read_text()

    def run(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """A command of the operator's, ended."""
        return subprocess.run(
            [*EXCHANGE, *arguments],
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env=self.environment | more,
            cwd=CHECKOUT,
            timeout=60,
        )

    async def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """As `run`, while this loop goes on serving the buyers."""
        return await asyncio.to_thread(self.run, *arguments)

    def children(self, module: str) -> list[int]:
        """Pids of the supervisor's living children: `exchange.app`, `exchange.office`, `postgres`."""
        found = []
        for pid in [child for child, parent in parents().items() if parent == self.pid]:
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if module in command:
                found.append(pid)
        return found

    def kill_workers(self) -> None:
        """`kill -9` for every worker there is."""
        for pid in self.children("exchange.app"):
            kill(pid)

    def terminate(self) -> None:
        assert self._process is not None
        self._process.terminate()

    def wait(self, seconds: float = 20) -> int:
        """Its exit code."""
        assert self._process is not None
        return self._process.wait(seconds)

    def stop(self) -> None:
        """In peace if it can be, else by force; children end with their supervisor."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _says(self, word: str) -> bool:
        return word in self.said().splitlines()


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder that Postgres's user may enter, without Postgres once it is left."""
    with open_folder("xa-") as folder:
        try:
            yield folder
        finally:
            end_servers(folder)


@contextmanager
def an_exchange(
    *,
    workers: int = 2,
    database: str | None = None,
    environment: Mapping[str, str] = {},
    **settings: Any,
) -> Iterator[Exchange]:
    """A started exchange of one's own."""
    with scratch() as folder:
        exchange = Exchange(folder, workers=workers, database=database, **settings)
        try:
            yield exchange.start(**environment)
        finally:
            exchange.stop()
