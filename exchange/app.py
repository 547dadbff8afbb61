"""The composition root of a worker: the one place that knows every concrete class."""

import asyncio
import gc
import logging
import os
import secrets
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, cast

from aiohttp import web

from buyers.guard import Guard
from buyers.wire import Wire, WireLimits
from exchange import failpoints, log
from exchange.errors import StoreUnavailable
from exchange.hearsay import Hearsay
from exchange.house import House
from exchange.http.access import KeyRing, StoredKeys
from exchange.http.buyers import BuyerDesk
from exchange.http.docs import DocsDesk
from exchange.http.door import Front
from exchange.http.problems import json_response, net_under
from exchange.http.sellers import SellerDesk
from exchange.http.valve import Valve
from exchange.huge_pages import keep_gathering
from exchange.metrics import Metrics, count_as
from exchange.observe import Observer
from exchange.process import Orders, run_child, say_ready
from exchange.recovery import keep_beating, keep_watch
from exchange.sealing import Vault
from exchange.settings import Settings, split_address
from exchange.store.catalogue import LiveCatalogue
from exchange.store.health import HealthRows
from exchange.store.postgres import PostgresStore
from exchange.vitals import look
from exchange.watch import Watch, refresh_usage

if TYPE_CHECKING:
    from exchange.tracing import Tracer

_LISTEN_ANYWAY_S = 1.0
BUILD = version("ping-post-exchange")


class Worker:
    """One process that trades."""

    def __init__(self, settings: Settings, orders: Orders, environment: dict[str, str]) -> None:
        self.orders = orders
        self.settings = settings
        self.metrics = Metrics()
        self.tracer = _tracer(settings.trace.share, orders.name)
        told = [self.metrics, log.LogObserver(), *filter(None, [self.tracer])]
        observer = cast("Observer", log.Observers(*told))
        self.store = PostgresStore(
            orders.dsn,
            name=f"{orders.name}@{socket.gethostname()}",
            batch_max=settings.store.batch_max,
        )
        listeners = frozenset(map(split_address, (orders.listen, orders.office_listen)))
        guard = Guard(allowed_networks=tuple(settings.allowed_networks), own_listeners=listeners)
        self.wire = Wire(guard=guard, limits=WireLimits())
        self.house = House(
            settings=settings,
            store=self.store,
            transport=self.wire,
            vault=Vault(bytes.fromhex(orders.master_key), secrets.token_bytes),
            guard=guard,
            observer=observer,
            worker=secrets.randbelow(2**31 - 1) + 1,
            random_bytes=secrets.token_bytes,
            failpoint=failpoints.from_environment(environment),
        )
        self.keys = KeyRing(StoredKeys(self.store.db), self.house.vault)
        self.valve = Valve(settings.http.shed_delay_ms / 1000, self.store.waits_s)
        self.sellers = SellerDesk(self.house, self.keys, self.valve)
        self.live = LiveCatalogue(self.store.db, self.house.vault, observer.broke)
        self.watch = Watch(
            self.store.db, self._reload, self.live.distrust, lambda: self.live.is_behind
        )
        self.hearsay = Hearsay(self.house, HealthRows(self.store.db))
        self._first_load = asyncio.Event()

    def application(self) -> web.Application:
        app = web.Application(
            middlewares=[net_under(self.house.observer)],
            client_max_size=self.settings.http.body_bytes_max,
        )
        app.add_routes(self.sellers.routes())
        app.add_routes(
            BuyerDesk(
                self.store,
                self.house.vault,
                self.house.guard,
                self.settings.http,
                self.keys,
                self.wire,
            ).routes()
        )
        app.add_routes(
            health_routes(self.orders.name, lambda: self.house.catalogue.version, self.ready)
        )
        app.add_routes(DocsDesk("public").routes())
        return app

    async def ready(self) -> bool:
        return self.house.loaded and not self.house.database_away and not self.house.stopping

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until told to stop, then finish what was begun."""
        broke = self.house.observer.broke
        recovery = asyncio.create_task(keep_watch(self.house), name="recovery")
        services = [
            recovery,
            asyncio.create_task(keep_beating(self.house), name="heart"),
            asyncio.create_task(self.watch.run(broke), name="catalogue"),
            asyncio.create_task(refresh_usage(self.house.look_at_usage, broke), name="usage"),
            asyncio.create_task(self._vitals(), name="vitals"),
            asyncio.create_task(self.hearsay.run(), name="health"),
            asyncio.create_task(keep_gathering(), name="huge pages"),
        ]
        runner = web.AppRunner(
            self.application(), access_log=None, handler_cancellation=True, shutdown_timeout=1
        )
        await runner.setup()
        host, port = split_address(self.orders.listen)
        told = asyncio.create_task(stop.wait())
        loaded = asyncio.create_task(self._first_load.wait())
        # While others listen on this port, nobody is sent here before we can serve him; without a
        # database we listen all the same, and say so.
        first = asyncio.FIRST_COMPLETED
        await asyncio.wait([told, loaded], timeout=_LISTEN_ANYWAY_S, return_when=first)
        await self.hearsay.begin()  # whom the others have given up
        front = Front(self.house, self.sellers, self.valve, self.settings.http.keepalive_s)
        listeners = await front.listen(runner, host, port)
        await asyncio.wait([told, loaded], return_when=first)
        say_ready()
        log.event("worker started", name=self.orders.name, worker=self.house.worker)
        await told
        loaded.cancel()
        recovery.cancel()  # what is being cancelled now must not look left over; the heart goes on
        await self._drain(listeners, runner)
        for service in services:
            service.cancel()
        await asyncio.wait(services, timeout=2)
        await self._leave()

    async def _drain(self, listeners: list[asyncio.Server], runner: web.AppRunner) -> None:
        """No new connections and no new work; what was begun is finished, within the drain time."""
        self.house.stopping = True
        for one in listeners:
            one.close()
        left = await self.house.drain(self.settings.http.drain_s)
        await runner.cleanup()
        log.event("worker stopped", name=self.orders.name, left_to_recovery=left)

    async def _leave(self) -> None:
        self.hearsay.count()
        self.metrics.door(*self.valve.take_seen())
        self.metrics.write()
        if self.tracer is not None:
            await asyncio.to_thread(self.tracer.close)
        await self.wire.close()
        await self.watch.close()
        await self.live.close()
        with suppress(StoreUnavailable):  # the others see by its beat that it is gone
            await self.store.leave(self.house.worker)
        await self.store.close()

    async def _reload(self) -> None:
        await self.keys.reload()
        await self.live.refresh()
        self.house.catalogue = self.live.snapshot
        if not self.house.loaded:
            await self.store.warm()
            _settle_memory()
        self.house.loaded = True
        self._first_load.set()

    async def _vitals(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(1)
            lag_s = max(0.0, loop.time() - before - 1)
            self.metrics.vitals(look(self.house, self.wire, self.store, self.valve, lag_s))
            for _ in self.metrics.slices():
                await asyncio.sleep(0)


def _tracer(share: float, worker: str) -> "Tracer | None":
    """None: nothing is traced, and nothing of it imported."""
    if not share:
        return None
    try:
        from exchange.tracing import begin
    except ImportError:
        log.event("tracing needs the extra: pip install 'ping-post-exchange[otel]'", logging.ERROR)
        return None
    return begin(share, worker)


def _settle_memory() -> None:
    """What is loaded by now stays: the collector need not look at it again and again. An auction
    leaves hardly a cycle behind, so it looks every 20,000 objects instead of every 700."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def health_routes(
    name: str, catalogue: Callable[[], int], ready: Callable[[], Awaitable[bool]]
) -> list[web.RouteDef]:
    """/healthz: the process answers; /readyz: it can do its work. Neither needs a key."""

    async def healthz(_request: web.Request) -> web.Response:
        return json_response(
            {
                "status": "ok",
                "worker": name,
                "build": BUILD,
                "catalogue": catalogue(),
            }
        )

    async def readyz(_request: web.Request) -> web.Response:
        if await ready():
            return json_response({"status": "ready"})
        return json_response({"status": "not ready"}, 503, {"Retry-After": "1"})

    return [web.get("/healthz", healthz), web.get("/readyz", readyz)]


def main() -> None:
    """`python -m exchange.app`: started by the supervisor, which writes the orders."""

    async def body(settings: Settings, orders: Orders, stop: asyncio.Event) -> None:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(Path(orders.metrics_dir))
        count_as(orders.name)
        listener = log.start_log()
        worker = Worker(settings, orders, dict(os.environ))
        try:
            await worker.run(stop)
        finally:
            listener.stop()

    run_child(body)


if __name__ == "__main__":
    main()
