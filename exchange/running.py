"""`exchange serve` and `exchange run`: start everything, say where it is, end it in order."""

import asyncio
import secrets
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.live import Live

from buyers.guard import Guard
from exchange import log
from exchange.demo import (
    apply_demo,
    curl_line,
    demo_environment,
    demo_settings,
    start_buyers,
    stream,
)
from exchange.office.console.entering.links import demo_link
from exchange.sealing import Vault
from exchange.settings import Settings
from exchange.show import Board, line_of
from exchange.store.keys import Key, set_key
from exchange.store.postgres import PostgresStore
from exchange.supervisor import Supervisor

_LATEST_S = 10.0
_ONCE = "(once, within ten minutes; another: exchange users link demo)"


@dataclass(frozen=True, slots=True)
class Demo:
    """What the demo prints: its sellers' keys, and the link that lets its admin in."""

    keys: dict[str, str]
    link: str


async def serve(settings: Settings, *, demo: bool) -> None:
    """Run until SIGINT or SIGTERM."""
    listener = log.start_log()
    stop = _stop_signal()
    try:
        async with _running(settings, demo=demo) as (supervisor, shown):
            say(f"sellers and buyers  http://{supervisor.listen}")
            say(f"operators           http://{supervisor.office_listen}")
            if shown is not None:
                say(f"sign in             {shown.link}   {_ONCE}")
                say(curl_line(f"http://{supervisor.listen}", shown.keys["quoteform"]))
            say("ready")
            await stop.wait()
            say("stopping")
    finally:
        listener.stop()


async def show(settings: Settings, *, seed: int, per_s: float, leads: int) -> None:
    """The demo with a stream of sample leads, shown as they are sold."""
    stop = _stop_signal()
    if not sys.stdout.isatty():
        say("starting the exchange: database, workers, reference buyers")
    async with _running(settings, demo=True, quiet=True) as (supervisor, shown):
        assert shown is not None, "the demo runs"
        keys = shown.keys
        base_url = f"http://{supervisor.listen}"
        head = [
            f"console   http://{supervisor.office_listen}/",
            f"sign in   {shown.link}   {_ONCE}",
            f"sellers   {base_url}/v1/pings, /v1/leads",
            "sell one more:",
        ]
        curl = curl_line(base_url, keys["quoteform"])
        if not sys.stdout.isatty():
            for line in head:
                say(line)
        say(curl)
        store = PostgresStore(supervisor.dsn, name="show")
        board = Board(head[:3])
        outcomes = stream(base_url, keys, seed=seed or secrets.randbelow(10**6), per_s=per_s)
        try:
            await _watch(store, board, outcomes, stop, leads)
        finally:
            await outcomes.aclose()  # type: ignore[attr-defined]
            await store.close()
        board.summary(Console())


async def _watch(
    store: PostgresStore,
    board: Board,
    outcomes: AsyncIterator[object],
    stop: asyncio.Event,
    leads: int,
) -> None:
    """Show one outcome after the other until told to stop or the wanted number is reached."""
    tty = sys.stdout.isatty()
    live = Live(board, refresh_per_second=4) if tty else None
    if live is not None:
        live.start()
    stopped = asyncio.create_task(stop.wait())
    shown = 0
    try:
        while not stop.is_set() and (not leads or shown < leads):
            following = asyncio.ensure_future(anext(outcomes))
            await asyncio.wait([following, stopped], return_when=asyncio.FIRST_COMPLETED)
            if not following.done():
                following.cancel()
                await asyncio.wait([following])
                break
            line = await line_of(store, following.result())  # type: ignore[arg-type]
            board.add(line)
            shown += 1
            if not tty:
                say(line.plain())
    finally:
        stopped.cancel()
        if live is not None:
            live.stop()


@asynccontextmanager
async def _running(
    settings: Settings, *, demo: bool, quiet: bool = False
) -> AsyncIterator[tuple[Supervisor, Demo | None]]:
    """A started exchange, with what its demo shows; stopped in order whatever happens."""
    if demo:
        settings = demo_settings(settings)
    supervisor = Supervisor(settings, log_to_file=quiet)
    shown: Demo | None = None
    try:
        await supervisor.open_house()
        vault = Vault(bytes.fromhex(supervisor.master_key), secrets.token_bytes)
        store = PostgresStore(supervisor.dsn, name="supervisor")
        try:
            if settings.admin_key is not None:
                await set_key(
                    store.db, Key("admin", "admin", None), vault.key_digest(settings.admin_key)
                )
            if demo:
                _, url = await start_buyers(supervisor)
                guard = Guard(allowed_networks=tuple(settings.allowed_networks))
                keys = await apply_demo(store.db, vault, guard, url)
                link = await demo_link(store.db, vault, settings, supervisor.office_listen)
                shown = Demo(keys, link)
        finally:
            await store.close()
        await supervisor.start(**(demo_environment(settings) if demo else {}))
        yield supervisor, shown
    finally:
        await supervisor.stop()


def _stop_signal() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return stop


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
