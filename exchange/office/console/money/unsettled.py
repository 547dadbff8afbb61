"""What is not settled: money held for leads of which nobody knows the outcome, and returns to decide."""

from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from aiohttp import web

from exchange.ids import write_id
from exchange.office.console.demand.standing import actor
from exchange.office.console.frame import STAFF, Console, Viewer, page
from exchange.office.console.money.parts import PATH, read_moment, tabs_of
from exchange.office.console.parts.amounts import rounded
from exchange.store.views import money as view

PAGE_SIZE: Final = 50
_EVER: Final = datetime(2000, 1, 1, tzinfo=UTC)
_LAST: Final = UUID(int=2**128 - 1)
STATUSES: Final = ("pending", "approved", "denied")


def routes(console: Console) -> list[web.RouteDef]:
    async def open_(request: web.Request, viewer: Viewer) -> web.StreamResponse:
        return await _open(console, request, viewer)

    async def returns(request: web.Request, viewer: Viewer) -> web.StreamResponse:
        return await _returns(console, request, viewer)

    return [
        page(f"{PATH}/open", open_, *STAFF, "buyer"),
        page(f"{PATH}/returns", returns, *STAFF, "buyer"),
    ]


async def _open(console: Console, request: web.Request, viewer: Viewer) -> web.Response:
    """The oldest first: they have waited longest."""
    query = request.query
    buyer = _whose(viewer, query.get("buyer", ""))
    waits = query.get("waits") == "person"
    rows = await view.open_holds(
        console.db, buyer, waits=waits, after=_moment(query.get("after", "")), limit=PAGE_SIZE + 1
    )
    shown = rows[:PAGE_SIZE]
    older = (
        f"{shown[-1]['created_at'].isoformat()} {shown[-1]['id'].hex}"
        if len(rows) > PAGE_SIZE
        else None
    )
    for row in shown:
        row["lead"] = write_id("lead", row["lead_id"])
    return console.render(
        request, "money/open.html", tabs_=tabs_of(viewer), here=f"{PATH}/open", rows=shown, older=older,
        sums=await view.open_sums(console.db, buyer), rounded=rounded, waits=waits, buyer=buyer, path_=f"{PATH}/open",
        filtered=bool(waits or (viewer.staff and buyer)),
    )  # fmt: skip


async def _returns(console: Console, request: web.Request, viewer: Viewer) -> web.Response:
    query = request.query
    status = query.get("status", "")
    status = status if status in STATUSES else ""
    buyer = _whose(viewer, query.get("buyer", ""))
    rows = await view.returns(console.db, buyer, status, _id(query.get("after", "")), PAGE_SIZE + 1)
    shown = rows[:PAGE_SIZE]
    older = shown[-1]["id"].hex if len(rows) > PAGE_SIZE else None
    for row in shown:
        _describe(row)
    return console.render(
        request, "money/returns.html", tabs_=tabs_of(viewer), here=f"{PATH}/returns", rows=shown, older=older,
        statuses=STATUSES, chosen=status, path_=f"{PATH}/returns", filtered=bool(status or query.get("buyer")), actor=actor,
    )  # fmt: skip


def _whose(viewer: Viewer, wanted: str) -> str:
    """Whose holds and returns: a buyer's own; empty: everybody's."""
    if viewer.buyer is None:
        return wanted.replace("\0", "")
    assert viewer.buyer, "a buyer's login belongs to one"
    return viewer.buyer


def _describe(row: dict[str, Any]) -> None:
    row["lead"] = write_id("lead", row["lead_id"])
    row["return_id"] = write_id("ret", row["id"])


def _moment(text: str) -> tuple[datetime, UUID]:
    """What cannot be read is the first page."""
    try:
        at, id_ = text.split(" ")
        return read_moment(at), UUID(hex=id_)
    except (ValueError, OverflowError):
        return _EVER, UUID(int=0)


def _id(text: str) -> UUID:
    try:
        return UUID(hex=text)
    except ValueError:
        return _LAST
