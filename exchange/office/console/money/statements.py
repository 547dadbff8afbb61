"""Statements by period: opening, what moved by kind, closing. To be looked at, printed, or taken as CSV."""

from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import web

from exchange.errors import Refusal
from exchange.office.console.frame import EVERYONE, STAFF, Console, Viewer, page
from exchange.office.console.money.parts import PATH as MONEY
from exchange.office.console.money.parts import stream_csv, tabs_of
from exchange.office.console.money.periods import NAMED, ZONES, read_period
from exchange.office.console.parts.amounts import rounded
from exchange.office.console.parts.widgets import address
from exchange.store.views import money as view
from exchange.store.views.money import Window
from exchange.store.views.statements import Statement, statements

PATH: Final = "/console/money/statements"
PAGE_SIZE: Final = 50
# Lines of a statement: words, kinds of transfers in the books, and which one is counted.
LINES: Final = {
    "buyer": (("Deposits", ("deposit",), "deposit"), ("Purchases", ("sale", "margin"), "sale"), ("Returns", ("return", "return_margin"), "return")),
    "seller": (("Sales", ("sale",), "sale"), ("Returned sales", ("return",), "return")),
}  # fmt: skip
# Of which account a line of CSV is taken, so that each transfer comes once.
_ONCE: Final = {
    "available": ("deposit", "hold", "release", "return", "return_margin"), "held": ("sale", "margin"), "payable": ("sale", "return"),
}  # fmt: skip


def routes(console: Console) -> list[web.RouteDef]:
    async def listed(request: web.Request, viewer: Viewer) -> web.StreamResponse:
        return await _list(console, request, viewer)

    async def one(request: web.Request, viewer: Viewer) -> web.StreamResponse:
        side, slug = _whose(request, viewer)
        return await _one(console, request, viewer, side, slug)

    async def csv(request: web.Request, viewer: Viewer) -> web.StreamResponse:
        side, slug = _whose(request, viewer)
        return await _csv(console, request, viewer, side, slug)

    place = PATH + "/{side:buyers|sellers}/{slug:[a-z0-9][a-z0-9_-]*}"
    return [
        page(PATH, listed, *STAFF),
        page(place, one, *EVERYONE),
        page(f"{place}.csv", csv, *EVERYONE),
    ]


async def own(console: Console, request: web.Request, viewer: Viewer) -> web.Response:
    """A buyer's or seller's own: its page of money."""
    assert viewer.owner is not None, "its login belongs to one"
    return await _one(console, request, viewer, viewer.role, viewer.owner)


def _whose(request: web.Request, viewer: Viewer) -> tuple[str, str]:
    """Side and slug of the address. Another's is one that is not there."""
    side, slug = request.match_info["side"].removesuffix("s"), request.match_info["slug"]
    if not viewer.staff and (side, slug) != (viewer.role, viewer.owner):
        raise Refusal(404, "not_found", "there is no such statement")
    return side, slug


async def _list(console: Console, request: web.Request, viewer: Viewer) -> web.Response:
    query = request.query
    side = "seller" if query.get("side") == "seller" else "buyer"
    period, complaint = read_period(query, datetime.now(UTC), usual="month")
    after = query.get("after", "").replace("\0", "")[:64]
    found = await statements(
        console.db, side, period.start, period.end, after=after, limit=PAGE_SIZE + 1
    )
    slugs = sorted({one.slug for one in found})
    older = slugs[PAGE_SIZE - 1] if len(slugs) > PAGE_SIZE else None
    rows = [one for one in found if older is None or one.slug <= older]
    return console.render(
        request, "money/statements.html", tabs_=tabs_of(viewer), here=PATH, side=side, lines=LINES[side],
        rows=[(one, _link(one, side, query)) for one in rows], older=older, period=period, complaint=complaint,
        ranges=NAMED, zones=ZONES, path_=PATH,
    )  # fmt: skip


def _link(one: Statement, side: str, query: Any) -> str:
    return address(f"{PATH}/{side}s/{one.slug}", query, after=None, side=None)


async def _one(
    console: Console, request: web.Request, viewer: Viewer, side: str, slug: str
) -> web.Response:
    period, complaint = read_period(request.query, datetime.now(UTC), usual="month")
    found = await statements(console.db, side, period.start, period.end, slug=slug)
    if not found and viewer.staff:
        raise Refusal(
            404, "not_found", f"there is no {side} of this name, or it has no account yet"
        )
    return console.render(
        request, "money/statement.html", tabs_=tabs_of(viewer), here=MONEY, side=side, slug=slug,
        found=found, lines=LINES[side], period=period, complaint=complaint, ranges=NAMED, zones=ZONES,
        path_=request.path, rounded=rounded, csv=address(f"{PATH}/{side}s/{slug}.csv", request.query),
        open_=await view.open_sums(console.db, slug) if side == "buyer" else [], accounts_at="/console/money/accounts",
    )  # fmt: skip


async def _csv(
    console: Console, request: web.Request, viewer: Viewer, side: str, slug: str
) -> web.StreamResponse:
    """One line for each transfer of the period."""
    period, _ = read_period(request.query, datetime.now(UTC), usual="month")
    found = await statements(console.db, side, period.start, period.end, slug=slug)
    windows = [
        (id_, one.currency, Window(_ONCE[kind], period.start, period.end))
        for one in found
        for kind, id_ in one.accounts.items()
    ]
    name = f"statement-{slug}-{period.first}-{period.last}.csv"
    return await stream_csv(console, request, viewer, windows, name)
