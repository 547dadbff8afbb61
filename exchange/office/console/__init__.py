"""The console: server-rendered pages for the house's people, buyers and sellers.

`mount` puts every page into an application. One line below is one module of pages.
"""

from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Final

from aiohttp import web

from buyers.guard import Guard
from buyers.wire import Transport
from exchange.office.console.drawing import Assets, load_templates
from exchange.office.console.entering.sessions import Sessions
from exchange.office.console.frame import CONSOLE, Console, redirect, static_pages
from exchange.office.console.mishaps import add_headers, pages_net
from exchange.sealing import Vault
from exchange.settings import Settings
from exchange.store.postgres import PostgresStore

__all__ = ["MODULES", "Console", "mount", "open_console", "pages_net"]

MODULES: Final = (
    "api",
    "leads.live",
    "leads.listing",
    "demand.buyers",
    "demand.contracts",
    "leads.lead",
    "leads.erasing",
    "leads.export",
    "money.accounts",
    "money.reports",
    "supply.posting",
    "supply.sellers",
    "supply.plans",
    "supply.verticals",
    "entering.signing_in",
    "entering.account",
    "entering.users",
    "entering.keys",
    "settings_page",
    "audit",
)


def open_console(
    store: PostgresStore,
    vault: Vault,
    settings: Settings,
    guard: Guard,
    transport: Transport,
    listen: str,
) -> Console:
    """The one console of this process. `transport` serves certifications only; `listen` is the
    workers' host and port."""
    assets = Assets()
    return Console(
        store=store,
        vault=vault,
        settings=settings,
        guard=guard,
        transport=transport,
        listen=listen,
        sessions=Sessions(store.db, vault, settings.office),
        assets=assets,
        templates=load_templates(assets),
    )


def mount(app: web.Application, console: Console) -> None:
    """Every module's routes, the assets, and the headers of every answer."""
    app[CONSOLE] = console
    for name in MODULES:
        found: list[web.RouteDef] = import_module(f"{__name__}.{name}").routes(console)
        console.paths.update(static_pages(found))
        app.add_routes(found)
    app.router.add_get("/console/assets/{name}", console.assets.serve)
    app.on_response_prepare.append(add_headers)
    app.on_shutdown.append(_end)  # before open streams are waited for
    for path, to in (("/", "/console/"), ("/console", "/console/")):
        app.router.add_get(path, _to(to))
    if "/console/" not in console.paths:
        app.router.add_get("/console/", _to("/console/account"))


async def _end(app: web.Application) -> None:
    console = app[CONSOLE]
    assert isinstance(console, Console)
    for ending in console.endings:
        ending()


def _to(path: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def go(_request: web.Request) -> web.Response:
        return redirect(path)

    return go
