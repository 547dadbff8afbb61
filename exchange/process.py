"""What the supervisor and its children tell each other: one line in, `ready` out, EOF means die."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from exchange.settings import Settings, from_process


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What a child needs besides the settings. Comes by a pipe: an environment can be read."""

    name: str  # w0, w1, …, office
    dsn: str
    master_key: str
    listen: str  # with the actual port
    office_listen: str
    metrics_dir: str
    workers: int

    def dump(self) -> bytes:
        return orjson.dumps(asdict(self)) + b"\n"


def read_orders() -> Orders:
    """The first line of standard input."""
    line = sys.stdin.buffer.readline()
    if not line:
        raise SystemExit("this is a part of the exchange: use `exchange serve`")
    return Orders(**orjson.loads(line))


def run_child(main: Callable[[Settings, Orders, asyncio.Event], Awaitable[None]]) -> None:
    """Run one child until SIGTERM, or until its supervisor is gone."""
    orders = read_orders()
    settings = from_process()

    async def body() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        loop.add_reader(sys.stdin.fileno(), _parent_wrote, loop, stop)
        await main(settings, orders, stop)

    try:
        import uvloop

        uvloop.run(body())
    except ImportError:  # no uvloop for this platform
        asyncio.run(body())


def _parent_wrote(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Nothing is ever written after the orders: readable means that the supervisor has died."""
    if not os.read(sys.stdin.fileno(), 4096):
        loop.remove_reader(sys.stdin.fileno())
        stop.set()


def give_way(nice: int) -> None:
    """Take what the others leave of a core; alone on it, all.

    Where the kernel groups processes by session (sched(7), autogroup), niceness counts within the
    session only, and each of our processes has its own: then the session has to be nice.
    """
    os.nice(nice)
    with suppress(OSError):  # no such groups in this kernel, or not ours to change
        Path("/proc/self/autogroup").write_text(str(nice), encoding="ascii")


def say_ready() -> None:
    sys.stdout.write("ready\n")
    sys.stdout.flush()
