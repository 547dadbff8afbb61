"""Plans: which verticals have one, and one drawn as the cascade it is, to be put into another order."""

from typing import Final

from aiohttp import web

from exchange.errors import Refusal
from exchange.office.console.demand import standing, terms
from exchange.office.console.frame import STAFF, Console, Viewer, page
from exchange.office.console.supply import cascade as drawing
from exchange.store.views import contracts as contracts_view
from exchange.store.views import verticals as view

CONTRACTS_MAX: Final = 2000  # of one vertical; the rest is in the list of contracts
SHOWN_MAX: Final = 50  # of one tier


def routes(console: Console) -> list[web.RouteDef]:
    async def listed(request: web.Request, viewer: Viewer) -> web.StreamResponse:
        rows = await view.list_verticals(console.db)
        return console.render(request, "plans/list.html", rows=rows, default=drawing.DEFAULT)

    async def show(request: web.Request, viewer: Viewer) -> web.StreamResponse:
        return await _show(console, request, viewer)

    return [
        page("/console/plans", listed, *STAFF),
        page("/console/plans/{vertical}", show, *STAFF),
    ]


async def _show(console: Console, request: web.Request, viewer: Viewer) -> web.Response:
    slug = request.match_info["vertical"]
    row = await view.one_vertical(console.db, slug) if "\0" not in slug else None
    if row is None or row.deleted:
        raise Refusal(404, "not_found", "there is no such vertical")
    plan = await view.plan_of(console.db, slug)
    wanted = contracts_view.ContractFilter(vertical=slug)
    contracts = await contracts_view.contracts_page(console.db, wanted, "", CONTRACTS_MAX + 1)
    drawn = drawing.cascade(
        None if plan is None else plan.tiers,
        contracts[:CONTRACTS_MAX],
        await view.sold_of(console.db, slug),
        await view.last_sales(console.db, _taking_turns(plan, contracts)),
    )
    return console.render(
        request,
        "plans/one.html",
        vertical=row,
        plan=plan,
        drawn=drawn,
        may_change=viewer.may_change,
        modes=[(mode, words.partition(":")[0]) for mode, words in drawing.MODES.items()],
        mode_words=drawing.MODES,
        periods=drawing.PERIODS,
        shown_max=SHOWN_MAX,
        too_many=len(contracts) > CONTRACTS_MAX,
        state_badge=standing.state_badge,
        price_words=terms.price_words,
    )


def _taking_turns(
    plan: view.StoredPlan | None, contracts: list[contracts_view.Listed]
) -> list[int]:
    """Contracts of tiers that ask who sold longest ago."""
    tiers = () if plan is None else plan.tiers
    names = {one["name"] for one in tiers if one["mode"] == "round_robin"}
    return [one.id for one in contracts if one.head["tier"] in names]
