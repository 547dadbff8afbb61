"""Run reference buyers as a process: until SIGTERM, SIGINT or the parent's end."""

import asyncio
import contextlib
import os
import signal
import sys
import threading
import tomllib
from collections.abc import Callable
from pathlib import Path

from buyers.reference.reading import TempersInvalid, read_tempers
from buyers.reference.server import ReferenceBuyers
from buyers.reference.temper import Temper


def run(file: Path, listen: str, *, die_with_parent: bool) -> int:
    """Serve the tempers in a TOML file on HOST:PORT. Returns the process's exit code."""
    try:
        tempers = read_tempers(tomllib.loads(file.read_text(encoding="utf-8")))
        host, port = read_listen(listen)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        return _fail(f"{file}: {error}")
    except TempersInvalid as error:
        return _fail(*(f"{file}: {problem}" for problem in error.problems))
    except ValueError as error:
        return _fail(str(error))
    try:
        _run_loop(tempers, host, port, die_with_parent=die_with_parent)
    except OSError as error:
        return _fail(f"cannot listen on {listen}: {error}")
    return 0


def read_listen(listen: str) -> tuple[str, int]:
    """HOST:PORT, `[::1]:PORT` included. Raises ValueError."""
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise ValueError("--listen must be HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _fail(*lines: str) -> int:
    print(*lines, sep="\n", file=sys.stderr, flush=True)
    return 2


def _run_loop(tempers: tuple[Temper, ...], host: str, port: int, *, die_with_parent: bool) -> None:
    main = _serve(tempers, host, port, die_with_parent=die_with_parent)
    if sys.platform == "win32":
        asyncio.run(main)
    else:
        import uvloop

        uvloop.run(main)


async def _serve(
    tempers: tuple[Temper, ...], host: str, port: int, *, die_with_parent: bool
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if die_with_parent:
        _when_stdin_ends(lambda: loop.call_soon_threadsafe(stop.set))
    buyers = ReferenceBuyers(tempers)
    base_url = await buyers.start(host, port)
    print(f"buyers listening on {base_url}", flush=True)
    try:
        await stop.wait()
    finally:
        await buyers.stop()


def _when_stdin_ends(act: Callable[[], object]) -> None:
    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        with contextlib.suppress(RuntimeError):  # the loop is closed: we are ending anyway
            act()

    # A thread, since not every stdin (a file, /dev/null) can be polled; daemonic, so that it
    # never holds up the end.
    threading.Thread(target=watch, name="stdin", daemon=True).start()
