"""Folders and files around an embedded Postgres: rights, the lock, its pid file and its log."""

import fcntl
import hashlib
import os
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from exchange.store.pgbinaries import Account, EmbeddedInvalid

SYSTEM_ROOT = Path("/var/lib/exchange")
# Linux allows 107 bytes, macOS 103.
_SOCKET_PATH_BYTES = 103
_SOCKET_NAME = ".s.PGSQL.5432"
_TAIL_BYTES = 4000
POLL_S = 0.02


def default_data_dir(checkout: Path) -> Path:
    """Where the data of this user and this checkout live, if nobody says otherwise."""
    name = hashlib.sha256(os.fsencode(checkout.resolve())).hexdigest()[:12]
    if os.geteuid() == 0:
        return SYSTEM_ROOT / name
    home = os.environ.get("XDG_DATA_HOME", "")
    base = Path(home) if os.path.isabs(home) else Path.home() / ".local" / "share"
    return base / "exchange" / name


def make_data_dir(data_dir: Path) -> None:
    """Makes the folder and its missing parents; existing folders of others keep their rights."""
    mode = 0o711 if os.geteuid() == 0 else 0o700
    missing = [folder for folder in (data_dir, *data_dir.parents) if not folder.exists()]
    try:
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            folder.chmod(mode)
        for folder in (data_dir, *data_dir.parents):
            # Below our own system folder every level is ours, whichever part of us made it.
            if os.geteuid() == 0 and folder.is_relative_to(SYSTEM_ROOT):
                folder.chmod(stat.S_IMODE(folder.stat().st_mode) | 0o011)
    except OSError as error:
        raise EmbeddedInvalid(
            f"the data folder {data_dir} cannot be made: {error}; set EXCHANGE_DATA_DIR to another"
        ) from error


def lock(data_dir: Path) -> int:
    """An exclusive lock on the folder, as a file descriptor that holds it until it is closed.

    Not inherited by programs that are started; a bare fork() would share it.
    """
    path = data_dir / "lock"
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise EmbeddedInvalid(
            f"the data folder {data_dir} cannot be used by this user: {error}; set "
            "EXCHANGE_DATA_DIR to another"
        ) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(handle, 20, 0).decode(errors="replace").strip() or "unknown"
        os.close(handle)
        raise EmbeddedInvalid(
            f"the data folder {data_dir} is in use by another exchange (process {owner}): stop "
            "it, or set EXCHANGE_DATA_DIR to another folder"
        ) from None
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    return handle


def socket_folder(pg: Path, account: Account) -> Path:
    """Makes `pg` and the folder for the socket, both 0700 and owned by Postgres's user."""
    _private(pg, account)
    if (locked := account.locked_out_of(pg)) is not None:
        raise EmbeddedInvalid(
            f"Postgres runs as user {account.uid} and that user may not enter {locked}: `chmod "
            "o+x` it, or set EXCHANGE_DATA_DIR to another folder"
        )
    run = pg / "run"
    if _fits(run):
        _private(run, account)
        return run
    return _short_folder(pg / "socket-folder", account)


def _fits(folder: Path) -> bool:
    # A comma would separate two folders, to Postgres and in an address.
    path = os.fsencode(folder / _SOCKET_NAME)
    return len(path) <= _SOCKET_PATH_BYTES and b"," not in path


def _short_folder(note: Path, account: Account) -> Path:
    """A short folder; its name is noted, so that an orphan is found where it listens."""
    if note.exists() and _is_private(noted := Path(note.read_text()), account):
        return noted
    short = Path(tempfile.mkdtemp(prefix="exchange-", dir="/tmp"))  # TMPDIR may be long
    _private(short, account)
    note.unlink(missing_ok=True)
    note.write_text(str(short))
    return short


def _is_private(folder: Path, account: Account) -> bool:
    try:
        status = folder.lstat()
    except OSError:
        return False
    owner = os.geteuid() if account.uid is None else account.uid
    private = stat.S_ISDIR(status.st_mode) and stat.S_IMODE(status.st_mode) == 0o700
    return private and status.st_uid == owner


def _private(folder: Path, account: Account) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    if account.uid is not None and account.gid is not None:
        os.chown(folder, account.uid, account.gid, follow_symlinks=False)


def pid_file(data: Path) -> list[str]:
    """The lines of postmaster.pid: process id, data, start, port, socket folder, and more."""
    try:
        return (data / "postmaster.pid").read_text().splitlines()
    except OSError:
        return []


def command_line(pid: int) -> str:
    """A process's arguments joined by spaces; empty if there is none or it is a zombie."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return "" if Path("/proc/self").exists() else _ps(pid)
    return os.fsdecode(raw.rstrip(b"\0").replace(b"\0", b" "))


def _ps(pid: int) -> str:
    asked = ["ps", "-ww", "-o", "args=", "-p", str(pid)]
    done = subprocess.run(asked, check=False, capture_output=True, text=True)
    return done.stdout.strip()


def clear_stale(data: Path, sockets: Path | None) -> None:
    """Removes a pid file whose process id now belongs to something else, or to a zombie.

    Postgres clears the file of a process that is gone, but refuses to start if the number was
    given away again, which is usual after a container restarts. Call it under the lock.
    """
    lines = pid_file(data)
    pid = int(lines[0]) if lines else 0
    if pid > 0 and _exists(pid) and not _is_postgres(pid):
        (data / "postmaster.pid").unlink(missing_ok=True)
        if sockets is not None:
            (sockets / f"{_SOCKET_NAME}.lock").unlink(missing_ok=True)


def _is_postgres(pid: int) -> bool:
    program, _, _ = command_line(pid).partition(" ")
    return Path(program).name.startswith("postgres")


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def open_log(path: Path, limit_bytes: int) -> int:
    """A descriptor that appends to the log; a log over the limit is moved to `.1` first."""
    if path.exists() and path.stat().st_size > limit_bytes:
        path.replace(path.with_name(path.name + ".1"))
    # The folder belongs to Postgres's user: a link it left must not lead root elsewhere.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.open(path, flags, 0o600)


def tail(path: Path, start: int) -> str:
    """The end of what was logged from byte `start` on."""
    try:
        with path.open("rb") as log:
            log.seek(max(start, path.stat().st_size - _TAIL_BYTES))
            return log.read().decode(errors="replace").strip()
    except OSError:
        return ""


def within(seconds: float, happened: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True
