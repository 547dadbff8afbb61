"""Posting instructions as pages: a seller's own, and any seller's for the house's people."""

from dataclasses import dataclass, replace
from typing import Final

from aiohttp import web

from exchange.errors import Refusal
from exchange.http.spec import limits_of
from exchange.office.console.demand import standing
from exchange.office.console.frame import STAFF, Console, Viewer, action, page, redirect
from exchange.office.console.supply import posting_try
from exchange.office.console.supply.posting_links import DAYS, PostingLinks
from exchange.office.console.viewer import Role
from exchange.posting_guide import Guide, Revision, revisions, write_guide
from exchange.samples import example
from exchange.store.views import sellers as sellers_view
from exchange.store.views import verticals as verticals_view
from exchange.store.views.sellers import SellerRow
from exchange.verticals import compile_fields, read_vertical

PAGE_SIZE: Final = 50
# Who may pass instructions on, by their page.
LINKERS: Final[dict[str, tuple[Role, ...]]] = {
    "/console/posting/{vertical}": ("seller",),
    "/console/sellers/{slug}/posting/{vertical}": ("admin", "operator"),
}


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

    links = SharedPages(console, PostingLinks(console.db, console.vault))
    return [
        page("/console/posting", overview, *STAFF, "seller"),
        page("/console/posting/{vertical}", own, "seller"),
        page("/console/sellers/{slug}/posting/{vertical}", anybodys, *STAFF),
        *(action(f"{of}/links", links.make, *roles) for of, roles in LINKERS.items()),
        *(
            action(f"{of}/links/{{id}}/revoke", links.revoke, *roles)
            for of, roles in LINKERS.items()
        ),
        web.get("/console/shared/{token}", links.shared, allow_head=False),
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
        timeout_s=console.settings.callback.timeout_s,
        hours=console.settings.callback.hours,
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


def path_of(viewer: Viewer, slug: str, vertical: str) -> str:
    """Where this viewer finds the instructions."""
    if viewer.seller is not None:
        return f"/console/posting/{vertical}"
    return f"/console/sellers/{slug}/posting/{vertical}"


async def _show(
    console: Console, request: web.Request, viewer: Viewer, slug: str, link: str = ""
) -> web.StreamResponse:
    """`link`: one that was made just now."""
    seller = await seller_row(console, slug)
    vertical = request.match_info["vertical"]
    guide, changes = await guide_for(console, seller, vertical)
    links = None
    if viewer.role in {role for roles in LINKERS.values() for role in roles}:
        links = await PostingLinks(console.db, console.vault).live(slug, vertical)
    return console.render(
        request,
        "posting/one.html",
        seller=seller,
        guide=guide,
        changes=changes,
        may_try=viewer.role in posting_try.ROLES and seller.body["active"],
        links=links,
        links_path=f"{path_of(viewer, slug, vertical)}/links",
        link=link,
        link_days=DAYS,
        actor=standing.actor,
    )


@dataclass(frozen=True, slots=True)
class SharedPages:
    """The handlers of links that pass instructions on."""

    console: Console
    links: PostingLinks

    async def make(self, request: web.Request, viewer: Viewer) -> web.StreamResponse:
        """The page again, with the link on it."""
        slug, vertical = await self._of(request, viewer)
        token = await self.links.make(slug, vertical, viewer.name)
        await self.console.note(
            viewer.name, "posting_link_made", f"seller {slug}", vertical=vertical
        )
        scheme = "https" if self.console.is_https(request) else "http"
        base = self.console.settings.office.url or f"{scheme}://{request.host}"
        return await _show(self.console, request, viewer, slug, f"{base}/console/shared/{token}")

    async def revoke(self, request: web.Request, viewer: Viewer) -> web.StreamResponse:
        slug, vertical = await self._of(request, viewer)
        if not await self.links.revoke(request.match_info["id"], slug, vertical):
            raise Refusal(404, "not_found")
        await self.console.note(
            viewer.name, "posting_link_revoked", f"seller {slug}", vertical=vertical
        )
        return redirect(f"{path_of(viewer, slug, vertical)}#links", "The link opens nothing more.")

    async def _of(self, request: web.Request, viewer: Viewer) -> tuple[str, str]:
        """Whose instructions the address names. Refuses with 404 what this seller does not sell."""
        slug = viewer.seller or request.match_info["slug"]
        vertical = request.match_info["vertical"]
        await guide_for(self.console, await seller_row(self.console, slug), vertical)
        return slug, vertical

    async def shared(self, request: web.Request) -> web.StreamResponse:
        """For who has a link: nobody is signed in, and nothing leads on."""
        found = await self.links.open(request.match_info["token"])
        if found is None:
            raise Refusal(404, "not_found", "this link has ended, or was taken back")
        seller = await seller_row(self.console, found[0])
        guide, changes = await guide_for(self.console, seller, found[1])
        response = self.console.render(
            request, "posting/shared.html", seller=seller, guide=guide, changes=changes,
            may_try=False, links=None,
        )  # fmt: skip
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["X-Robots-Tag"] = "noindex, nofollow"
        return response


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
