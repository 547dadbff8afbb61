"""Persons erased on request: first what it would do and who has them, then for good; and the list of all that was."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from aiohttp import web

from exchange.errors import Problem, Refusal
from exchange.http.erasing import EraseDesk, sorted_out
from exchange.http.requests import invalid
from exchange.ids import read_id
from exchange.office.console.demand.standing import actor
from exchange.office.console.forms import read_form
from exchange.office.console.frame import STAFF, Console, action, page
from exchange.office.console.leads.listing import open_person
from exchange.office.console.viewer import Viewer
from exchange.store.erasures import erasures_page, leads_of, standings

PATH: Final = "/console/erasures"
_LIMIT: Final = 50
_LAST: Final = (datetime(9999, 1, 1, tzinfo=UTC), UUID(int=2**128 - 1))


def routes(console: Console) -> list[web.RouteDef]:
    desk = EraseDesk(console.db, console.vault, console.settings.http)

    async def erase(request: web.Request, viewer: Viewer) -> web.StreamResponse:
        """Without `sure` nothing is changed: it shows what would be. The audit is written by the desk."""
        form = await read_form(request)
        ids, sure = await _meant(console, form), form.get("sure") == "yes"
        found = await desk.erase(ids, viewer.name, dry_run=not sure)
        buyers = sorted({each.buyer for one in found for each in one.recipients})
        return console.render(
            request,
            "leads/erase.html",
            done=sure,
            told=sorted_out(found, dry_run=not sure),
            buyers=buyers,
            meant={name: form[name] for name in ("lead_id", "who") if name in form},
        )

    async def listed(request: web.Request, _viewer: Viewer) -> web.StreamResponse:
        waiting = True if request.query.get("state") == "waiting" else None
        rows = await erasures_page(console.db, _place(request.query), waiting, _LIMIT + 1)
        last = rows[_LIMIT - 1] if len(rows) > _LIMIT else None
        return console.render(
            request,
            "leads/erasures.html",
            rows=rows[:_LIMIT],
            older=last and f"{last.asked_at.isoformat()} {last.lead_id.hex}",
            actor=actor,
            path_=PATH,
            kept_days=console.settings.retention.persons_days,
        )

    return [
        page(PATH, listed, *STAFF),
        action("/console/leads/erase", erase, "admin", "operator"),
    ]


async def _meant(console: Console, form: Mapping[str, str]) -> list[UUID]:
    """One lead, or all of one person; the person is named by blind indexes, sealed. Refuses with 404."""
    if "who" in form:
        kind, indexes = open_person(console.vault, form["who"])
        return await leads_of(console.db, "email" if kind == "email" else "phone", indexes)
    ids = read_id("lead", form.get("lead_id", ""))
    found = await standings(console.db, [ids[0]]) if ids else []
    if ids is None or not found or found[0].test != ids[1]:
        raise Refusal(404, "not_found", "there is no such lead")
    return [ids[0]]


def _place(query: Mapping[str, str]) -> tuple[datetime, UUID]:
    """Where the page begins. Refuses with 422."""
    if not query.get("after"):
        return _LAST
    at, _, id_ = query["after"].partition(" ")
    try:
        return datetime.fromisoformat(at).astimezone(UTC), UUID(hex=id_)
    except (ValueError, OverflowError):
        problem = Problem("after", "bad_format", "must come from another page's address")
        raise invalid([problem]) from None
