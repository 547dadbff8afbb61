"""The list of contracts, and what its other pages share: whose a contract is, and its addresses."""

from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import web

from exchange.conditions import filter_problems, filter_value
from exchange.eligibility import compile_filters
from exchange.errors import Refusal
from exchange.geo import load_places, within
from exchange.http.limits import read_object
from exchange.http.problems import json_response
from exchange.office.console.demand import contract_form, contract_page, standing, terms
from exchange.office.console.demand.recent import matches
from exchange.office.console.frame import STAFF, Console, Viewer, command, page
from exchange.store.reports import one_document
from exchange.store.views import contracts as view
from exchange.store.views.figures import figures_of
from exchange.verticals import compile_fields, read_vertical

PAGE_SIZE: Final = 50
PREVIEWED: Final = 300  # of the last pings, of all verticals
_FILTERS: Final = ("buyer", "vertical", "tier", "state", "search")


def routes(console: Console) -> list[web.RouteDef]:
    """Lists, one contract's pages, its form, and the preview of filters."""

    async def listed(request: web.Request, viewer: Viewer) -> web.StreamResponse:
        return await _list(console, request, viewer)

    async def preview(request: web.Request, viewer: Viewer) -> web.StreamResponse:
        return await _preview(console, request, viewer)

    return [
        page("/console/contracts", listed, *STAFF, "buyer"),
        *contract_form.routes(console),
        *contract_page.routes(console),
        command("POST", "/console/v1/preview/filters", preview, "admin", "operator", "buyer"),
    ]


async def _list(console: Console, request: web.Request, viewer: Viewer) -> web.Response:
    query = {name: request.query.get(name, "").replace("\0", "")[:200] for name in _FILTERS}
    if viewer.buyer is not None:
        query["buyer"] = viewer.buyer
    before = request.query.get("before", "").replace("\0", "")
    place = before or request.query.get("after", "").replace("\0", "")
    wanted = view.ContractFilter(**query)
    rows = await view.contracts_page(
        console.db, wanted, place, PAGE_SIZE + 1, backwards=bool(before)
    )
    more = len(rows) > PAGE_SIZE
    shown = rows[-PAGE_SIZE:] if before else rows[:PAGE_SIZE]
    names = await view.slugs_of(console.db, "buyer", "vertical")
    return console.render(
        request,
        "contracts/list.html",
        rows=await described(console, shown),
        wanted=wanted,
        filtered=any(query[name] for name in _FILTERS[1:]) or bool(viewer.staff and query["buyer"]),
        names=names,
        tiers=await view.tiers_of(console.db, query["vertical"]),
        states=view.STATES,
        previous=shown[0].slug if shown and (more if before else bool(place)) else None,
        following=shown[-1].slug if shown and (more or before) else None,
    )


async def described(console: Console, rows: list[view.Listed]) -> list[dict[str, Any]]:
    """Rows with their figures, caps and health."""
    now, ids = datetime.now(UTC), [row.id for row in rows]
    since = {row.id: standing.day_began(terms.timezone_of(row.head), now) for row in rows}
    figures = await figures_of(console.db, "contract", since)
    caps = await view.caps_of(console.db, ids)
    breakers = await view.breakers_of(console.db, ids)
    return [
        {
            "contract": row,
            "figures": figures[row.id],
            "sales": standing.of_today(caps[row.id], "sales"),
            "spend": standing.of_today(caps[row.id], "spend"),
            "health": standing.health_of(breakers.get(row.id)),
            "state": standing.state_badge(row.state),
            "price": terms.price_words(row.head["pricing"], row.currency),
        }
        for row in rows
    ]


async def _preview(console: Console, request: web.Request, viewer: Viewer) -> web.Response:
    """How many of the last pings filters would let in; in words, too, when they cannot be judged yet.
    A buyer may order in any vertical, so it may look at any; it is told in tens."""
    body = await read_object(
        request, console.settings.http, console.settings.http.document_bytes_max
    )
    slug, filters = body.get("vertical"), body.get("filters")
    plain = isinstance(slug, str) and "\0" not in slug and isinstance(filters, list)
    stored = await one_document(console.db, "vertical", str(slug)) if plain else None
    if stored is None or not isinstance(filters, list):
        raise Refusal(404, "not_found", "there is no such vertical")
    vertical = read_vertical(stored.body)
    await load_places(filters)
    problems = filter_problems(filters, vertical, "filters", within)
    if problems:
        words = f"{len(problems)} of the values cannot be compared with pings yet."
        return json_response({"matched": None, "looked": 0, "words": words})
    compiled = compile_filters(filter_value(one, vertical, within) for one in filters)
    known = compile_fields(vertical).ping_field_names
    found = matches(vertical.slug, compiled, known, await view.recent_pings(console.db, PREVIEWED))
    if not viewer.staff:
        found = found.coarse()
    return json_response({"matched": found.matched, "looked": found.looked, "words": found.words})
