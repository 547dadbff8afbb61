"""Buyers: who they are, what they have left, what they bought and gave back, and how their endpoints do."""

from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from aiohttp import web

from exchange.documents import BuyerDocument, canonical
from exchange.errors import Refusal
from exchange.ids import read_id, write_id
from exchange.office.console.demand import contracts, standing
from exchange.office.console.demand.contract_form import ZONES
from exchange.office.console.demand.versions import NEWEST, changes_of, versions_page
from exchange.office.console.frame import STAFF, Console, Viewer, page, redirect
from exchange.returns import ReturnReason
from exchange.store.returns import returns_page
from exchange.store.views import buyers as view
from exchange.store.views import contracts as contract_view
from exchange.store.views.figures import figures_of

PAGE_SIZE: Final = 50
_SALES: Final = 10
_SALES_PAGE: Final = 50
_RETURNS: Final = 20
_CONTRACTS: Final = 100
_LAST: Final = UUID(int=2**128 - 1)
_NEWEST: Final = (datetime(9999, 1, 1, tzinfo=UTC), _LAST)
_CURRENCIES: Final = ("USD", "EUR", "GBP", "CAD", "AUD")


def routes(console: Console) -> list[web.RouteDef]:
    """A buyer's login sees itself; another buyer looks like one that is not there."""
    of_one = {
        "/console/buyers/{slug}": (_show, (*STAFF, "buyer")),
        "/console/buyers/{slug}/sales": (_sales, (*STAFF, "buyer")),
        "/console/buyers/{slug}/return": (_return, ("admin", "operator", "buyer")),
        "/console/buyers/{slug}/versions": (_versions, STAFF),
        "/console/buyers/{slug}/edit": (_edit, ("admin", "operator")),
    }

    def found(show: Any) -> Any:
        async def handle(request: web.Request, viewer: Viewer) -> web.StreamResponse:
            row = await _find(console, request.match_info["slug"], viewer)
            response: web.StreamResponse = await show(console, request, viewer, row)
            return response

        return handle

    async def listed(request: web.Request, viewer: Viewer) -> web.StreamResponse:
        if viewer.buyer is not None:
            return redirect(f"/console/buyers/{viewer.buyer}")
        return await _list(console, request)

    async def new(request: web.Request, viewer: Viewer) -> web.StreamResponse:
        return await _form(console, request, None)

    return [
        page("/console/buyers", listed, *STAFF, "buyer"),
        page("/console/buyers/new", new, "admin", "operator"),
        *(page(path, found(show), *roles) for path, (show, roles) in of_one.items()),
    ]


async def _find(console: Console, slug: str, viewer: Viewer) -> view.BuyerRow:
    """The buyer, if the viewer may see it. Refuses with 404."""
    hidden = "\0" in slug or viewer.buyer not in {None, slug}
    row = None if hidden else await view.one_buyer(console.db, slug)
    if row is None:
        raise Refusal(404, "not_found", "there is no such buyer")
    return row


# --- the list --------------------------------------------------------------------------------------


async def _list(console: Console, request: web.Request) -> web.Response:
    search, state, before, after = (
        request.query.get(name, "").replace("\0", "")[:200]
        for name in ("search", "state", "before", "after")
    )
    rows = await view.buyers_page(
        console.db, search, state, before or after, PAGE_SIZE + 1, backwards=bool(before)
    )
    more = len(rows) > PAGE_SIZE
    shown = rows[-PAGE_SIZE:] if before else rows[:PAGE_SIZE]
    now, ids = datetime.now(UTC), [row.id for row in shown]
    since = {row.id: standing.day_began(row.body["timezone"], now) for row in shown}
    figures = await figures_of(console.db, "buyer", since)
    caps = await contract_view.caps_of(console.db, ids)
    troubled = await view.troubled(console.db, ids)
    return console.render(
        request,
        "buyers/list.html",
        rows=[
            {
                "buyer": row,
                "figures": figures[row.id],
                "sales": standing.of_today(caps[row.id], "sales"),
                "spend": standing.of_today(caps[row.id], "spend"),
                "troubled": troubled.get(row.id, 0),
                "state": standing.state_badge(row.state),
            }
            for row in shown
        ],
        search=search,
        state=state,
        states=view.STATES,
        previous=shown[0].slug if shown and (more if before else bool(after)) else None,
        following=shown[-1].slug if shown and (more or before) else None,
    )


# --- one buyer -------------------------------------------------------------------------------------


async def _show(
    console: Console, request: web.Request, viewer: Viewer, row: view.BuyerRow
) -> web.Response:
    now, db = datetime.now(UTC), console.db
    since = {row.id: standing.day_began(row.body["timezone"], now)}
    wanted = contract_view.ContractFilter(buyer=row.slug)
    listed = await contract_view.contracts_page(db, wanted, "", _CONTRACTS + 1)
    caps = (await contract_view.caps_of(db, [row.id]))[row.id]
    events = await contract_view.events_of(db, f"buyer {row.slug}", 10)
    return console.render(
        request,
        "buyers/buyer.html",
        buyer=row,
        body=row.body,
        currency=row.body["currency"],
        state=standing.state_badge(row.state),
        figures=(await figures_of(db, "buyer", since))[row.id],
        held=await view.held_of(db, row.id),
        caps=[
            {
                "name": standing.cap_name(cap),
                "gauge": standing.cap_gauge(cap, row.body["currency"]),
                "resets": standing.until(cap["resets_at"], now),
            }
            for cap in caps
        ],
        contracts=await contracts.described(console, listed[:_CONTRACTS]),
        more=len(listed) > _CONTRACTS,
        sales=await view.sales_of(db, row.id, _NEWEST, _SALES),
        returns=await returns_page(db, {"buyer": row.slug}, _LAST, _RETURNS),
        deposits=await view.deposits_of(db, row.id, 5),
        keys=await view.live_keys_of(db, row.slug),
        versions=await changes_of(
            console, viewer, "buyer", row.slug, row.body["currency"], NEWEST, 3
        ),
        events=events,
        paused_for=standing.paused_for(events),
        actor=standing.actor,
        write_id=write_id,
    )


async def _sales(
    console: Console, request: web.Request, viewer: Viewer, row: view.BuyerRow
) -> web.Response:
    rows = await view.sales_of(
        console.db, row.id, _cursor(request.query.get("after", "")), _SALES_PAGE + 1
    )
    shown, last = rows[:_SALES_PAGE], rows[_SALES_PAGE - 1] if len(rows) > _SALES_PAGE else None
    return console.render(
        request,
        "buyers/sales.html",
        buyer=row,
        currency=row.body["currency"],
        sales=shown,
        older=f"{last['created_at'].isoformat()} {last['id'].hex}" if last else None,
        write_id=write_id,
    )


def _cursor(text: str) -> tuple[datetime, UUID]:
    """Time and id of a page's last sale. Refuses with 422 what is none."""
    if not text:
        return _NEWEST
    at, _, id_ = text.partition(" ")
    try:
        return datetime.fromisoformat(at).astimezone(UTC), UUID(hex=id_)
    except (ValueError, OverflowError):
        raise Refusal(422, "invalid_request", "the address names no page of sales") from None


async def _return(
    console: Console, request: web.Request, viewer: Viewer, row: view.BuyerRow
) -> web.Response:
    """Ask for a sale's return; the contract's policy says for which reasons."""
    lead = request.query.get("lead", "")
    ids = read_id("lead", lead)
    sale = await view.sale_of_lead(console.db, row.id, ids[0]) if ids else None
    if sale is None:
        raise Refusal(404, "not_found", "there is no such sale")
    policy = sale["returns"]
    allowed = (policy or {}).get("reasons") or [one.value for one in ReturnReason]
    return console.render(
        request,
        "buyers/return.html",
        buyer=row,
        currency=row.body["currency"],
        sale=sale,
        lead=lead,
        policy=policy,
        reasons=[(one, one.replace("_", " ")) for one in allowed],
    )


async def _versions(
    console: Console, request: web.Request, viewer: Viewer, row: view.BuyerRow
) -> web.Response:
    return await versions_page(
        console,
        request,
        viewer,
        "buyer",
        row.slug,
        name=row.body["name"],
        currency=row.body["currency"],
    )


# --- the form --------------------------------------------------------------------------------------


async def _edit(
    console: Console, request: web.Request, viewer: Viewer, row: view.BuyerRow
) -> web.Response:
    if row.deleted:
        raise Refusal(404, "not_found", "a retired buyer cannot be changed")
    return await _form(console, request, row)


async def _form(console: Console, request: web.Request, row: view.BuyerRow | None) -> web.Response:
    usual = {**canonical(BuyerDocument, {"slug": "new", "name": "-"}), "slug": "", "name": ""}
    return console.render(
        request,
        "buyers/form.html",
        buyer=row,
        body={**usual, **row.body} if row else usual,
        zones=ZONES,
        currencies=_CURRENCIES,
    )
