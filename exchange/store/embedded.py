"""A Postgres of our own for machines without one: found, made, started, adopted, stopped.

One process owns it, the supervisor: `start()` takes an exclusive lock on the data folder for the
life of that process, so a second `serve` on the same folder is refused. Postgres runs in a
session of its own and outlives a supervisor killed by SIGKILL; the next `start()` then adopts it
(or restarts it if it was started with other settings), so nothing has to die with the supervisor.

    data_dir/            0711 as root, 0700 otherwise
      lock               held by the supervisor; holds its process id
      postgres-<stamp>/  a copy of Postgres's programs, only if its user cannot reach them
      pg/                0700, owned by the user Postgres runs as
        data/  run/ (the socket)  postgres.log

Everything here blocks; call it in a thread from asyncio, from one thread at a time.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import IO
from urllib.parse import quote

from exchange.store import pgfolders
from exchange.store.pgbinaries import (
    Account,
    EmbeddedInvalid,
    account_for,
    environment,
    find_binaries,
    major_version,
    reachable,
)
from exchange.store.pgfolders import default_data_dir

__all__ = ["EmbeddedInvalid", "EmbeddedPostgres", "default_data_dir", "find_binaries"]

DATABASE = "exchange"
_START_S = 60.0
_STOP = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))
_LOG_BYTES = 10_000_000
# Logs never show parameters, rows or keys: they hold personal data.
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "500",  # a worker has up to 20
    "max_wal_size": "1GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_error_verbosity": "terse",
}
_VOLATILE = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
# What a new postmaster says while the backends of a killed one are still leaving.
_TRANSIENT = ("shared memory block", "already exists")


class EmbeddedPostgres:
    """The Postgres of one data folder.

    `durable=False` gives up crash safety for speed (tests). `settings` are added to, and win
    over, our own settings of Postgres.
    """

    def __init__(
        self, data_dir: Path, *, durable: bool = True, settings: Mapping[str, str] | None = None
    ) -> None:
        self.data_dir = data_dir.resolve()
        self._pg = self.data_dir / "pg"
        self._data = self._pg / "data"
        self._durable = durable
        self._settings = _SETTINGS | ({} if durable else _VOLATILE) | dict(settings or {})
        self._lock: int | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._sockets: Path | None = None
        self._log_start = 0

    def start(self) -> str:
        """Starts or adopts Postgres and returns the address of the database `exchange`.

        Raises EmbeddedInvalid; then nothing is left running and the folder is not locked.
        """
        self._acquire()
        try:
            self._sockets = pgfolders.socket_folder(self._pg, self._account)
            if not self._data.exists():
                self._init()
            self._check_version()
            self._settle_orphan()
            self._bring_up()
            self._create_database()
        except BaseException:
            self.stop()
            raise
        return self._dsn(self._sockets)

    def stop(self) -> None:
        """Stops the Postgres we started or adopted (30 s to end in peace) and unlocks.

        Does nothing if `start()` did not succeed here: the server may be somebody else's.
        """
        if self._lock is None:
            return
        pid = self._live_pid()
        if pid is not None:
            self._terminate(pid)
        self._child = None
        os.close(self._lock)
        self._lock = None

    def alive(self) -> bool:
        """Whether the postmaster of this folder runs; cheap enough to ask every second."""
        return self._live_pid() is not None

    def restart_if_dead(self) -> bool:
        """Starts Postgres again if it died after `start()`; true if it had to."""
        if self._lock is None or self.alive():
            return False
        self._settle_orphan()
        self._bring_up()
        return True

    def running_dsn(self) -> str | None:
        """The address of the Postgres another process runs on this folder, if one does.

        Takes no lock: this is how `exchange apply` finds the database of a running `serve`.
        """
        lines = pgfolders.pid_file(self._data)
        if self._server_pid() is None or len(lines) < 5:
            return None
        return self._dsn(Path(lines[4]))

    def binary(self, name: str) -> Path:
        """One of Postgres's programs, such as pg_dump, where its user can run it."""
        return self._binaries / name

    def client(
        self,
        name: str,
        *arguments: str,
        stdin: IO[bytes] | None = None,
        stdout: IO[bytes] | None = None,
        database: str = DATABASE,
        timeout_s: float | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """Runs a program on this database as Postgres's user; the caller reads the return code.

        That user may not write where the caller may: let it write to `stdout`.
        """
        lines = pgfolders.pid_file(self._data)
        host = self._sockets or (Path(lines[4]) if len(lines) > 4 else self._pg / "run")
        address = {"PGHOST": str(host), "PGUSER": "postgres", "PGDATABASE": database}
        return subprocess.run(
            [self.binary(name), *arguments],
            check=False,
            cwd="/",
            env=environment() | address | {"PGCONNECT_TIMEOUT": "5"},
            stdin=stdin or subprocess.DEVNULL,
            stdout=stdout or subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=timeout_s,
            **self._account.popen(),
        )

    @cached_property
    def _account(self) -> Account:
        return account_for(self._pg)

    @cached_property
    def _binaries(self) -> Path:
        return reachable(find_binaries(), self._account, self.data_dir)

    def _dsn(self, sockets: Path) -> str:
        return f"postgresql://postgres@/{DATABASE}?host={quote(str(sockets))}"

    def _acquire(self) -> None:
        if self._lock is None:
            pgfolders.make_data_dir(self.data_dir)
            self._lock = pgfolders.lock(self.data_dir)

    def _init(self) -> None:
        """Makes the cluster beside its place and moves it there: half of one is never used."""
        fresh = self._data.with_name("data.new")
        shutil.rmtree(fresh, ignore_errors=True)
        options = ["-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"]
        if not self._durable:
            options.append("--no-sync")
        done = self.client("initdb", "-D", str(fresh), *options)
        if done.returncode != 0:
            told = done.stderr.decode(errors="replace").strip()
            raise EmbeddedInvalid(f"initdb could not make {fresh}:\n{told}")
        fresh.rename(self._data)

    def _check_version(self) -> None:
        path = self._data / "PG_VERSION"
        written = path.read_text().strip() if path.exists() else "nothing"
        ours = major_version(self._binaries, self._account)
        if written != str(ours):
            raise EmbeddedInvalid(
                f"{self._data} was written by Postgres {written} and {self._binaries} is "
                f"Postgres {ours}: point EXCHANGE_PG_BIN at a Postgres {written} (and `exchange "
                "backup` to move), or EXCHANGE_DATA_DIR at a new folder"
            )

    def _command(self) -> list[str]:
        chosen = [
            part for key, value in self._settings.items() for part in ("-c", f"{key}={value}")
        ]
        program = str(self.binary("postgres"))
        return [program, "-D", str(self._data), "-k", str(self._sockets), *chosen]

    def _settle_orphan(self) -> None:
        """Leaves a server only if we would have started the very same one."""
        pid = self._server_pid()
        if pid is None:
            self._child = None
            pgfolders.clear_stale(self._data, self._sockets)
        elif pgfolders.command_line(pid) != " ".join(self._command()):
            self._terminate(pid)

    def _bring_up(self) -> None:
        """Until it answers: recovery, a server still stopping and late backends are waited for."""
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            if not self.alive():
                self._spawn_unless_hopeless()
            elif self._psql("SELECT 1") == "1":
                return
            time.sleep(pgfolders.POLL_S)
        raise EmbeddedInvalid(f"Postgres did not answer within {_START_S:g} s:\n{self._log_tail()}")

    def _spawn_unless_hopeless(self) -> None:
        if self._child is not None and self._child.returncode:
            told = self._log_tail()
            killed = self._child.returncode < 0
            if not killed and not any(words in told for words in _TRANSIENT):
                raise EmbeddedInvalid(f"Postgres does not start on {self._data}:\n{told}")
            time.sleep(0.2)
        self._spawn()

    def _spawn(self) -> None:
        log = pgfolders.open_log(self._pg / "postgres.log", _LOG_BYTES)
        try:
            self._log_start = os.fstat(log).st_size
            self._child = subprocess.Popen(
                self._command(),
                cwd="/",
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C in the terminal is for the supervisor
                umask=0o077,
                **self._account.popen(),
            )
        finally:
            os.close(log)

    def _create_database(self) -> None:
        known = self._psql(f"SELECT count(*) FROM pg_database WHERE datname = '{DATABASE}'")  # noqa: S608
        if known == "0" and self._psql(f"CREATE DATABASE {DATABASE}") is None:
            raise EmbeddedInvalid(f"database {DATABASE} cannot be made:\n{self._log_tail()}")

    def _psql(self, statement: str) -> str | None:
        """What the statement answers, or nothing if it failed."""
        done = self.client("psql", "-XAtqc", statement, database="postgres")
        return done.stdout.decode().strip() if done.returncode == 0 else None

    def _live_pid(self) -> int | None:
        if self._child is not None and self._child.poll() is None:
            return self._child.pid
        return self._server_pid()

    def _server_pid(self) -> int | None:
        """The postmaster on our folder by its pid file, whoever started it."""
        lines = pgfolders.pid_file(self._data)
        pid = int(lines[0]) if lines else 0
        ours = pid > 0 and f" -D {self._data} " in pgfolders.command_line(pid)
        return pid if ours else None

    def _terminate(self, pid: int) -> None:
        for number, patience_s in _STOP:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                return
            if pgfolders.within(patience_s, lambda: self._live_pid() != pid):
                return

    def _log_tail(self) -> str:
        return pgfolders.tail(self._pg / "postgres.log", self._log_start)
