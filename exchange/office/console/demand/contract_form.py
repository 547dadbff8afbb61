"""The form of a contract: new, or changed under If-Match. What it has no input for, it leaves as it is.

The page holds every input; assets/contract_form.js and conditions.js make JSON of it, which goes to
POST or PATCH /console/v1/contracts like any other change.
"""

from collections.abc import Mapping
from typing import Any, Final, get_args
from zoneinfo import available_timezones

from aiohttp import web

from exchange.documents import ContractDocument, canonical, plan_value
from exchange.documents.models import EndpointDocument
from exchange.errors import Refusal
from exchange.fields import STATES
from exchange.office.console.demand import contract_page, terms
from exchange.office.console.demand.conditions_form import fields_of, is_exact
from exchange.office.console.frame import Console, Role, Viewer, page
from exchange.plan import TierMode, default_plan
from exchange.returns import ReturnReason
from exchange.schedules import DAYS
from exchange.store.reports import one_document
from exchange.store.views import contracts as view
from exchange.verticals import read_vertical

Body = dict[str, Any]

_WHO: Final[tuple[Role, ...]] = ("admin", "operator", "buyer")
ZONES: Final = sorted(zone for zone in available_timezones() if "/" in zone or zone == "UTC")
DIALECTS: Final = get_args(EndpointDocument.model_fields["dialect"].annotation)
_NOWHERE: Final = "https://buyer.example/"


def routes(console: Console) -> list[web.RouteDef]:
    async def new(request: web.Request, viewer: Viewer) -> web.StreamResponse:
        return await _new(console, request, viewer)

    async def edit(request: web.Request, viewer: Viewer) -> web.StreamResponse:
        return await _edit(console, request, viewer)

    return [
        page("/console/contracts/new", new, *_WHO),
        page("/console/contracts/{slug}/edit", edit, *_WHO),
    ]


async def _new(console: Console, request: web.Request, viewer: Viewer) -> web.Response:
    """First for whom and for what kind of lead, then the form; `?copy=` begins with another's terms."""
    query = request.query
    slug, copied = query.get("vertical", ""), query.get("copy", "")
    buyer = viewer.buyer if viewer.buyer is not None else query.get("buyer", "")
    body = None
    if copied:
        body = (await contract_page.find(console, copied, viewer)).body
        slug, buyer = body["vertical"], buyer or body["buyer"]
    if not slug or not buyer:
        names = await view.slugs_of(console.db, "buyer", "vertical")
        return console.render(
            request, "contracts/choose.html", names=names, buyer=buyer, vertical=slug
        )
    if await _document(console, "buyer", buyer) is None:
        raise Refusal(404, "not_found", "there is no such buyer")
    begun = blank(buyer, slug) if body is None else {**filled(body), "slug": "", "buyer": buyer}
    return await _form(console, request, begun, None)


async def _edit(console: Console, request: web.Request, viewer: Viewer) -> web.Response:
    stored = await contract_page.find(console, request.match_info["slug"], viewer)
    if stored.deleted:
        raise Refusal(404, "not_found", "a retired contract cannot be changed")
    return await _form(console, request, filled(stored.body), stored)


async def _form(
    console: Console, request: web.Request, body: Body, stored: view.Stored | None
) -> web.Response:
    document = await _document(console, "vertical", body["vertical"])
    if document is None:
        raise Refusal(404, "not_found", "there is no such vertical")
    plan = await _document(console, "plan", body["vertical"])
    tiers = (plan_value(plan) if plan else default_plan(body["vertical"])).tiers
    names = await view.slugs_of(console.db, "seller")
    return console.render(
        request,
        "contracts/form.html",
        contract=stored,
        body=body,
        currency=document["currency"],
        vertical=document,
        conditions={"filters": body["filters"], "fields": fields_of(read_vertical(document))},
        editable=is_exact(body["filters"]),
        sentences=terms.sentences(body["filters"]),
        tiers=[(one.name, f"{one.name} ({one.mode.value.replace('_', ' ')})") for one in tiers],
        percentage=[one.name for one in tiers if one.mode is TierMode.PERCENTAGE],
        waterfall=[one.name for one in tiers if one.mode is not TierMode.AUCTION],
        sellers={
            side: _named(body["sellers"][side], names["seller"]) for side in ("allow", "deny")
        },
        days=list(zip(DAYS, terms.DAY_NAMES, strict=True)),
        zones=ZONES,
        dialects=DIALECTS,
        reasons=[one.value for one in ReturnReason],
        states=sorted(STATES),
    )


def blank(buyer: str, vertical: str) -> Body:
    """A contract with every default of the API, and nothing where somebody has to say something."""
    urls = {"ping_url": _NOWHERE, "post_url": _NOWHERE}
    head = {"slug": "new", "buyer": buyer, "vertical": vertical}
    body = canonical(ContractDocument, {**head, "endpoint": urls, "pricing": {"mode": "bid"}})
    body["endpoint"] |= {"ping_url": "", "post_url": ""}
    return {**body, "slug": ""}


def filled(body: Mapping[str, Any]) -> Body:
    """A stored document with the defaults of what versions before did not write."""
    usual = blank(body["buyer"], body["vertical"])
    inner = {
        name: {**usual[name], **(body.get(name) or {})}
        for name in ("endpoint", "pricing", "sellers")
    }
    return {**usual, **body, **inner}


def _named(chosen: list[str], known: list[str]) -> list[tuple[str, bool]]:
    """Sellers to tick: those chosen first, in their order, so that what nobody touches stays alike."""
    return [(one, True) for one in chosen] + [(one, False) for one in known if one not in chosen]


async def _document(console: Console, kind: str, slug: str) -> Body | None:
    stored = None if "\0" in slug else await one_document(console.db, kind, slug)
    return None if stored is None or stored.deleted else stored.body
