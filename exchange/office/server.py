"""The office's listener: the administrators' API, health, and one scrape for all workers."""

import asyncio
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from buyers.guard import Guard
from buyers.wire import Wire, WireLimits
from exchange import log
from exchange.app import health_routes
from exchange.chores.leader import Leader
from exchange.chores.retention import Retention
from exchange.errors import StoreUnavailable
from exchange.http.access import KeyRing, StoredKeys
from exchange.http.admin import AdminDesk
from exchange.http.problems import net_under
from exchange.metrics import CONTENT_TYPE, OfficeMetrics
from exchange.observe import Observer
from exchange.office import front
from exchange.process import Orders, run_child, say_ready
from exchange.sealing import Vault
from exchange.settings import Settings, split_address
from exchange.store.postgres import PostgresStore

_OPEN: Final = """SELECT state, count(*), coalesce(max(extract(epoch FROM now() - created_at)), 0)::float8,
  count(*) FILTER (WHERE state = 'unconfirmed' AND next_try_at IS NULL)
FROM attempt WHERE state IN ('intent', 'unconfirmed') GROUP BY state"""
_HELD: Final = """SELECT y.currency, sum(a.price)::float8 FROM attempt a JOIN buyer y ON y.id = a.buyer_id
WHERE a.state IN ('intent', 'unconfirmed') GROUP BY 1"""
_RETURNS: Final = """SELECT y.slug, r.status, count(*) FROM sale_return r JOIN buyer y ON y.id = r.buyer_id
WHERE r.requested_at > now() - interval '30 days' GROUP BY 1, 2"""
_ALIVE: Final = "SELECT count(*) FROM worker WHERE beat_at > now() - interval '3 s'"
_CURRENCIES: Final = "SELECT slug, body->>'currency' FROM document WHERE kind = 'vertical'"


class Office:
    """One process for operators: their API and metrics now, a console to come."""

    def __init__(self, settings: Settings, orders: Orders) -> None:
        self.orders = orders
        self.store = PostgresStore(orders.dsn, name=orders.name, connections_max=3)
        self.db = self.store.db
        listeners = frozenset(map(split_address, (orders.listen, orders.office_listen)))
        vault = Vault(bytes.fromhex(orders.master_key), secrets.token_bytes)
        guard = Guard(allowed_networks=tuple(settings.allowed_networks), own_listeners=listeners)
        self.wire = Wire(guard=guard, limits=WireLimits())  # certification only
        self.admin = AdminDesk(
            self.store,
            vault,
            guard,
            settings.http,
            KeyRing(StoredKeys(self.db), vault, remembers=False),
            self.wire,
        )
        self.metrics = OfficeMetrics(Path(orders.metrics_dir))
        retention = Retention(settings.retention.pings_days)
        self.chores = Leader(orders.dsn, retention.chores(), log.LogObserver().broke)

    def application(self, observer: Observer) -> web.Application:
        app = web.Application(middlewares=[net_under(observer)])
        app.add_routes(health_routes(self.orders.name, lambda: 0, self.ready))
        app.add_routes(self.admin.routes())
        app.router.add_get("/metrics", self.scrape)
        app.router.add_get("/", self.front)
        return app

    async def ready(self) -> bool:
        try:
            return bool(await self.db.fetchval(_ALIVE))
        except StoreUnavailable:
            return False

    async def scrape(self, _request: web.Request) -> web.Response:
        with suppress(StoreUnavailable):  # the workers' own series are still worth having
            await self._read_books()
        text = await asyncio.to_thread(self.metrics.scrape)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE})

    async def front(self, _request: web.Request) -> web.Response:
        rows = await self.db.fetch(front.TODAY)
        currencies = await self.db.fetch(_CURRENCIES)
        alive = await self.db.fetchval(_ALIVE)
        html = front.page([tuple(row) for row in rows], dict(map(tuple, currencies)), alive)
        return web.Response(text=html, content_type="text/html", headers=front.HEADERS)

    async def _read_books(self) -> None:
        found: dict[str, tuple[Any, ...]] = {
            row[0]: tuple(row) for row in await self.db.fetch(_OPEN)
        }
        for state in ("intent", "unconfirmed"):
            self.metrics.open_attempts.labels(state).set(found.get(state, (state, 0))[1])
        unconfirmed = found.get("unconfirmed", ("unconfirmed", 0, 0.0, 0))
        self.metrics.oldest.set(unconfirmed[2])
        self.metrics.waits.set(unconfirmed[3])
        self.metrics.held.clear()
        for currency, micros in await self.db.fetch(_HELD):
            self.metrics.held.labels(currency).set(micros)
        self.metrics.returns.clear()
        for buyer, status, count in await self.db.fetch(_RETURNS):
            self.metrics.returns.labels(buyer, status).set(count)
        self.metrics.workers.set(await self.db.fetchval(_ALIVE))

    async def run(self, stop: asyncio.Event) -> None:
        runner = web.AppRunner(self.application(log.LogObserver()), access_log=None)
        await runner.setup()
        host, port = split_address(self.orders.office_listen)
        await web.TCPSite(runner, host, port, reuse_port=True).start()
        chores = asyncio.create_task(self.chores.run(), name="chores")
        say_ready()
        await stop.wait()
        chores.cancel()
        await self.wire.close()  # ends certifications: their requests are not waited for
        await runner.cleanup()
        await self.store.close()


# A report or a scrape takes what the workers leave of a core; alone it takes all.
_NICE = 10


def main() -> None:
    """`python -m exchange.office.server`: started by the supervisor."""

    async def body(settings: Settings, orders: Orders, stop: asyncio.Event) -> None:
        os.nice(_NICE)
        listener = log.start_log()
        try:
            await Office(settings, orders).run(stop)
        finally:
            listener.stop()

    run_child(body)


if __name__ == "__main__":
    main()
