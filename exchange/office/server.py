"""The office's listener: the administrators' API, health, and one scrape for all workers."""

import asyncio
import os
import secrets
from pathlib import Path

from aiohttp import web

from buyers.guard import Guard
from buyers.wire import Wire, WireLimits
from exchange import failpoints, log
from exchange.app import health_routes
from exchange.calling import CallingBack
from exchange.chores.balances import Balances
from exchange.chores.counting import Counting
from exchange.chores.erasing import Erasing
from exchange.chores.leader import Leader
from exchange.chores.retention import Retention
from exchange.chores.rollup import RollUp
from exchange.errors import StoreUnavailable
from exchange.http.access import KeyRing, StoredKeys
from exchange.http.admin import AdminDesk
from exchange.http.docs import DocsDesk
from exchange.http.problems import net_under
from exchange.observe import Observer
from exchange.office import console
from exchange.office.books_seen import ALIVE
from exchange.office.scraping import Scraping
from exchange.process import Orders, give_way, run_child, say_ready
from exchange.sealing import Vault
from exchange.settings import Settings, split_address
from exchange.store.postgres import PostgresStore
from exchange.supervisor import data_dir_of


class Office:
    """One process for operators: their API, their console, and the metrics of all workers."""

    def __init__(self, settings: Settings, orders: Orders) -> None:
        self.orders = orders
        self.store = PostgresStore(orders.dsn, name=orders.name, connections_max=8)
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
        self.console = console.open_console(
            self.store, vault, settings, guard, self.wire, orders.listen
        )
        counting = Counting()
        files, data_dir = Path(orders.metrics_dir), data_dir_of(settings)
        broke = log.LogObserver().broke
        self.to_sellers = Wire(guard=guard, limits=WireLimits(max_open=8, max_idle=2))
        self.calling = CallingBack(
            self.store, vault, guard, self.to_sellers, settings.callback, broke,
            failpoints.from_environment(os.environ),
        )  # fmt: skip
        self.scrape = Scraping(
            self.db, files, data_dir, orders.workers, counting, self.calling.called
        ).scrape
        kept = settings.retention
        retention = Retention(kept.pings_days, kept.callbacks_days)
        sums = {**Balances().chores(), **RollUp(settings.ping.quote_ttl_s).chores()}
        erasing = Erasing(settings.retention.persons_days, vault)
        chores = {**retention.chores(), **erasing.chores(), **counting.chores(), **sums}
        self.chores = Leader(orders.dsn, chores, broke)

    def application(self, observer: Observer) -> web.Application:
        nets = [net_under(observer), console.pages_net(observer)]
        app = web.Application(middlewares=nets)
        app.add_routes(health_routes(self.orders.name, lambda: 0, self.ready))
        app.add_routes(self.admin.routes())
        app.add_routes(DocsDesk("office").routes())
        app.router.add_get("/metrics", self.scrape)
        console.mount(app, self.console)
        return app

    async def ready(self) -> bool:
        try:
            return bool(await self.db.fetchval(ALIVE))
        except StoreUnavailable:
            return False

    async def run(self, stop: asyncio.Event) -> None:
        runner = web.AppRunner(self.application(log.LogObserver()), access_log=None)
        await runner.setup()
        host, port = split_address(self.orders.office_listen)
        await web.TCPSite(runner, host, port, reuse_port=True).start()
        chores = asyncio.create_task(self.chores.run(), name="chores")
        warming = asyncio.create_task(self.console.warm(), name="templates")
        calling = asyncio.create_task(self.calling.run(), name="callbacks")
        say_ready()
        await stop.wait()
        for one in (chores, warming, calling):
            one.cancel()
        await self.calling.settle(_SETTLE_S)
        await self.to_sellers.close()
        await self.wire.close()  # ends certifications: their requests are not waited for
        await runner.cleanup()
        await self.store.close()


_SETTLE_S = 2.0  # for which callbacks that are under way are waited for; the rest is sent again

# A report or a scrape takes what the workers leave of a core; alone it takes all.
_NICE = 10


def main() -> None:
    """`python -m exchange.office.server`: started by the supervisor."""

    async def body(settings: Settings, orders: Orders, stop: asyncio.Event) -> None:
        give_way(_NICE)
        listener = log.start_log()
        try:
            await Office(settings, orders).run(stop)
        finally:
            listener.stop()

    run_child(body)


if __name__ == "__main__":
    main()
