"""Posting instructions as pages: a seller's own, and any seller's for the house's people."""

from dataclasses import replace
from typing import Final

from aiohttp import web

from exchange.errors import Refusal
from exchange.http.spec import limits_of
from exchange.office.console.frame import STAFF, Console, Viewer, page
from exchange.office.console.supply import posting_try
from exchange.posting_guide import Guide, Revision, revisions, write_guide
from exchange.samples import example
from exchange.store.views import sellers as sellers_view
from exchange.store.views import verticals as verticals_view
from exchange.store.views.sellers import SellerRow
from exchange.verticals import compile_fields, read_vertical

PAGE_SIZE: Final = 50


def routes(console: Console) -> list[web.RouteDef]:
    """The overview, the instructions, and what the form on them sends."""

    async def overview(request: web.Request, viewer: Viewer) -> web.StreamResponse:
        if viewer.seller is None:
            return await _choice(console, request)
        return await _own(console, request, viewer.seller)

    async def own(request: web.Request, viewer: Viewer) -> web.StreamResponse:
        return await _show(console, request, viewer, viewer.seller or "")

    async def anybodys(request: web.Request, viewer: Viewer) -> web.StreamResponse:
        return await _show(console, request, viewer, request.match_info["slug"])

    return [
        page("/console/posting", overview, *STAFF, "seller"),
        page("/console/posting/{vertical}", own, "seller"),
        page("/console/sellers/{slug}/posting/{vertical}", anybodys, *STAFF),
        *posting_try.routes(console),
    ]


def sellers_address(console: Console) -> str:
    """Where sellers call, as they see it; without a path."""
    return console.settings.http.url or f"http://{console.listen}"


async def guide_for(
    console: Console, seller: SellerRow, vertical: str
) -> tuple[Guide, tuple[Revision, ...]]:
    """The instructions, and what changed in them, newest first. Refuses with 404 a vertical that is
    not this seller's."""
    row = None
    if vertical in seller.body["verticals"]:
        row = await verticals_view.one_vertical(console.db, vertical)
    if row is None or row.deleted:
        raise Refusal(404, "not_found", "there is no such vertical for this seller")
    found = read_vertical(row.body)
    sample, lacking = example(found, compile_fields(found))
    guide = write_guide(
        found, version=row.version, since=row.changed_at, url=sellers_address(console),
        limits=limits_of(console.settings, seller.body["rate_per_s"]),
        ping=sample.ping_fields, lead=sample.fields, lacking=lacking,
    )  # fmt: skip
    changes = revisions(await verticals_view.versions_of(console.db, vertical))
    if changes:  # what is in force is as old as the last change that concerns sellers
        guide = replace(guide, since=changes[0].at)
    return guide, changes


async def seller_row(console: Console, slug: str) -> SellerRow:
    """Refuses with 404 who is not there, or not any more."""
    found = await sellers_view.one_seller(console.db, slug) if "\0" not in slug else None
    if found is None or found.deleted:
        raise Refusal(404, "not_found", "there is no such seller")
    return found


async def _show(
    console: Console, request: web.Request, viewer: Viewer, slug: str
) -> web.StreamResponse:
    seller = await seller_row(console, slug)
    guide, changes = await guide_for(console, seller, request.match_info["vertical"])
    may_try = viewer.role in posting_try.ROLES and seller.body["active"]
    return console.render(
        request, "posting/one.html", seller=seller, guide=guide, changes=changes, may_try=may_try
    )


async def _own(console: Console, request: web.Request, slug: str) -> web.StreamResponse:
    seller = await seller_row(console, slug)
    heads = {one.slug: one for one in await sellers_view.vertical_heads(console.db)}
    return console.render(
        request,
        "posting/own.html",
        seller=seller,
        verticals=[heads[one] for one in seller.body["verticals"] if one in heads],
        days=dict(await sellers_view.verticals_of(console.db, seller.id)),
        totals=(await sellers_view.days_of(console.db, [seller.id])).get(seller.id, []),
        last=await sellers_view.last_lead_of(console.db, seller.id),
        url=sellers_address(console),
    )


async def _choice(console: Console, request: web.Request) -> web.StreamResponse:
    """Whose instructions? For the house's people."""
    search = request.query.get("search", "").replace("\0", "")[:100]
    after = request.query.get("after", "").replace("\0", "")[:100]
    rows = await sellers_view.sellers_page(console.db, search, "", "", after, PAGE_SIZE + 1)
    return console.render(
        request,
        "posting/choice.html",
        rows=rows[:PAGE_SIZE],
        search=search,
        older=rows[PAGE_SIZE - 1].slug if len(rows) > PAGE_SIZE else None,
        heads={one.slug: one.name for one in await sellers_view.vertical_heads(console.db)},
    )
