"""Verticals: the list, one with its fields, and the form with an editor of fields."""

from typing import Any, Final, get_args

from aiohttp import web

from exchange.errors import Refusal
from exchange.fields import FieldType
from exchange.office.console.frame import STAFF, Console, Viewer, page
from exchange.office.console.viewer import Role
from exchange.posting_guide import field_rows, revisions
from exchange.store.views import verticals as view
from exchange.verticals import read_vertical

TYPES: Final[tuple[str, ...]] = get_args(FieldType)
CURRENCIES: Final = ("USD", "EUR", "GBP", "CAD", "AUD", "MXN", "BRL", "JPY", "INR", "CHF")
_WRITERS: Final[tuple[Role, ...]] = ("admin", "operator")
# What a new vertical begins with: somebody to be reached, and where.
_BLANK: Final[dict[str, Any]] = {
    "slug": "", "name": "", "currency": "USD", "on_personal_data_in_ping": "refuse", "auction": "first_price",
    "dedupe_days": 0, "margin": {"percent": "20", "fixed": "0"},
    "fields": [
        {"name": "zip", "type": "zip", "stage": "ping", "required": True},
        {"name": "state", "type": "state", "stage": "ping", "required": True},
        {"name": "first_name", "type": "string", "stage": "post", "required": True, "max": 60},
        {"name": "last_name", "type": "string", "stage": "post", "required": True, "max": 60},
        {"name": "phone", "type": "phone", "stage": "post", "required": True},
        {"name": "email", "type": "email", "stage": "post"},
    ],
}  # fmt: skip


def routes(console: Console) -> list[web.RouteDef]:
    async def listed(request: web.Request, viewer: Viewer) -> web.StreamResponse:
        state = "retired" if request.query.get("state") == "retired" else ""
        rows = await view.list_verticals(console.db, state)
        days = await view.days(console.db)
        return console.render(request, "verticals/list.html", rows=rows, days=days, state=state)

    async def new(request: web.Request, viewer: Viewer) -> web.StreamResponse:
        return _form(console, request, None, _BLANK)

    async def edit(request: web.Request, viewer: Viewer) -> web.StreamResponse:
        row = await _found(console, request)
        if row.deleted:
            raise Refusal(404, "not_found", "there is no such vertical")
        return _form(console, request, row, row.body)

    async def show(request: web.Request, viewer: Viewer) -> web.StreamResponse:
        return await _show(console, request)

    return [
        page("/console/verticals", listed, *STAFF),
        page("/console/verticals/new", new, *_WRITERS),
        page("/console/verticals/{slug}", show, *STAFF),
        page("/console/verticals/{slug}/edit", edit, *_WRITERS),
    ]


def _form(
    console: Console, request: web.Request, row: view.VerticalRow | None, body: dict[str, Any]
) -> web.Response:
    currencies = sorted({*CURRENCIES, body["currency"]})
    return console.render(
        request, "verticals/form.html", row=row, body=body, types=TYPES, currencies=currencies
    )


async def _show(console: Console, request: web.Request) -> web.Response:
    row = await _found(console, request)
    vertical = read_vertical(row.body)
    changes = revisions(await view.versions_of(console.db, row.slug))
    return console.render(
        request,
        "verticals/one.html",
        row=row,
        vertical=vertical,
        fields=field_rows(vertical.fields, {}),
        changes=changes,
        day=(await view.days(console.db)).get(row.slug, view.Day()),
    )


async def _found(console: Console, request: web.Request) -> view.VerticalRow:
    slug = request.match_info["slug"]
    found = await view.one_vertical(console.db, slug) if "\0" not in slug else None
    if found is None:
        raise Refusal(404, "not_found", "there is no such vertical")
    return found
