"""Sellers: the list, one seller's day and terms, and the form."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from aiohttp import web

from exchange.errors import Refusal
from exchange.ids import write_id
from exchange.office.console.frame import STAFF, Console, Viewer, page
from exchange.office.console.supply.posting import seller_row
from exchange.office.console.viewer import Role
from exchange.store.callbacks import Callbacks
from exchange.store.views import sellers as view
from exchange.story import heard_of

PAGE_SIZE: Final = 50
CALLBACKS_SHOWN: Final = 8
_WRITERS: Final[tuple[Role, ...]] = ("admin", "operator")
_FILTERS: Final = ("search", "vertical", "state")


def routes(console: Console) -> list[web.RouteDef]:
    """A seller's login sees its own page, without what the house earns."""

    async def listed(request: web.Request, viewer: Viewer) -> web.StreamResponse:
        return await _list(console, request)

    async def new(request: web.Request, viewer: Viewer) -> web.StreamResponse:
        heads = await view.vertical_heads(console.db)
        return console.render(request, "sellers/form.html", seller=None, heads=heads)

    async def edit(request: web.Request, viewer: Viewer) -> web.StreamResponse:
        seller = await seller_row(console, request.match_info["slug"])
        heads = await view.vertical_heads(console.db)
        return console.render(request, "sellers/form.html", seller=seller, heads=heads)

    async def show(request: web.Request, viewer: Viewer) -> web.StreamResponse:
        return await _show(console, request, viewer)

    return [
        page("/console/sellers", listed, *STAFF),
        page("/console/sellers/new", new, *_WRITERS),
        page("/console/sellers/{slug}", show, *STAFF, "seller"),
        page("/console/sellers/{slug}/edit", edit, *_WRITERS),
    ]


async def _list(console: Console, request: web.Request) -> web.Response:
    query = {name: request.query.get(name, "").replace("\0", "")[:200] for name in _FILTERS}
    after = request.query.get("after", "").replace("\0", "")[:100]
    found = await view.sellers_page(
        console.db, query["search"], query["vertical"], query["state"], after, PAGE_SIZE + 1
    )
    rows = found[:PAGE_SIZE]
    heads = await view.vertical_heads(console.db)
    return console.render(
        request,
        "sellers/list.html",
        rows=rows,
        wanted=query,
        filtered=any(query.values()),
        days=await view.days_of(console.db, [row.id for row in rows]),
        heads={one.slug: one for one in heads},
        states=view.STATES,
        older=rows[-1].slug if len(found) > PAGE_SIZE else None,
    )


async def _show(console: Console, request: web.Request, viewer: Viewer) -> web.Response:
    slug = request.match_info["slug"]
    found = await view.one_seller(console.db, slug) if "\0" not in slug else None
    if found is None or viewer.seller not in {None, slug} or (found.deleted and not viewer.staff):
        raise Refusal(404, "not_found", "there is no such seller")
    hours = await view.hours_of(console.db, found.id)
    unsold = await view.unsold_of(console.db, found.id)
    return console.render(
        request,
        "sellers/one.html",
        seller=found,
        heads={one.slug: one for one in await view.vertical_heads(console.db)},
        totals=(await view.days_of(console.db, [found.id])).get(found.id, []),
        verticals=await view.verticals_of(console.db, found.id),
        hours=by_hour(hours, datetime.now(UTC)),
        unsold=[((why or "no reason kept").replace("_", " "), number) for why, number in unsold],
        unsold_capped=sum(number for _, number in unsold) >= view.UNSOLD_MAX,
        last=await view.last_lead_of(console.db, found.id),
        callbacks=await Callbacks(console.db).latest(found.id, CALLBACKS_SHOWN),
        owed=await Callbacks(console.db).counts(found.id),
        lead_id=lambda one: write_id("lead", one.lead_id, test=one.test),
        heard_of=heard_of,
        keys=await view.live_keys_of(console.db, slug),
    )


def by_hour(hours: list[view.Hour], now: datetime) -> dict[str, list[Any]]:
    """24 hours up to this one, those in which nothing happened with noughts."""
    known = {one.start: one for one in hours}
    last = now.replace(minute=0, second=0, microsecond=0)
    starts = [last - timedelta(hours=back) for back in range(23, -1, -1)]
    found = [known.get(start) or view.Hour(start, 0, 0, 0) for start in starts]
    return {
        "labels": [f"{start:%H}:00" for start in starts],
        "sold": [one.sold for one in found],
        "unsold": [one.leads - one.sold for one in found],
        "pings": [one.pings for one in found],
    }
