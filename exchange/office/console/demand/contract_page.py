"""One contract: its terms in words, how it does, its certificates and its versions."""

from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import orjson
from aiohttp import web

from exchange.errors import Refusal
from exchange.office.console.demand import standing, terms
from exchange.office.console.demand.certificate import dialogue
from exchange.office.console.demand.recent import recent_of
from exchange.office.console.demand.versions import NEWEST, changes_of, number_of, versions_page
from exchange.office.console.demand.week import week_grid
from exchange.office.console.frame import STAFF, Console, Viewer, page
from exchange.store.health import HealthRows
from exchange.store.views import contracts as view
from exchange.store.views.figures import figures_of

LOOKED: Final = 300  # of the last pings, of all verticals
ATTEMPTS: Final = 200  # of the last posts: for the reasons; the first twenty are listed
_LISTED: Final = 20


def routes(console: Console) -> list[web.RouteDef]:
    """A buyer sees its own; another's looks like one that is not there."""
    pages = {
        "/console/contracts/{slug}": _show,
        "/console/contracts/{slug}/certificate": _certificate,
        "/console/contracts/{slug}/versions": _versions,
    }

    def handler(show: Any) -> Any:
        async def handle(request: web.Request, viewer: Viewer) -> web.StreamResponse:
            stored = await find(console, request.match_info["slug"], viewer)
            response: web.StreamResponse = await show(console, request, viewer, stored)
            return response

        return handle

    return [page(path, handler(show), *STAFF, "buyer") for path, show in pages.items()]


async def find(console: Console, slug: str, viewer: Viewer) -> view.Stored:
    """The contract, if the viewer may see it. Refuses with 404."""
    stored = None if "\0" in slug else await view.one_contract(console.db, slug)
    if stored is None or viewer.buyer not in {None, stored.buyer}:
        raise Refusal(404, "not_found", "there is no such contract")
    return stored


async def _show(
    console: Console, request: web.Request, viewer: Viewer, stored: view.Stored
) -> web.Response:
    asked = number_of(request.query.get("version"))
    if asked is not None and (asked != stored.version or stored.deleted):
        return await _version(console, request, viewer, stored, asked)
    now, body = datetime.now(UTC), stored.body
    timezone = terms.timezone_of(body)
    breakers = (await view.breakers_of(console.db, [stored.id])).get(stored.id)
    attempts = await view.attempts_of(console.db, stored.id, ATTEMPTS)
    pings = await view.recent_pings(console.db, LOOKED)
    since = {stored.id: standing.day_began(timezone, now)}
    days = terms.week_of(body["schedule"])
    local = now.astimezone(ZoneInfo(timezone))
    certificate = await view.certificate_of(console.db, stored.id, None)
    events = await view.events_of(console.db, f"contract {stored.slug}", 10)
    return console.render(
        request,
        "contracts/contract.html",
        contract=stored,
        body=body,
        currency=stored.currency,
        state=standing.state_badge(stored.state),
        health=standing.health_of(breakers),
        calls=await _health(console, stored, breakers or {}),
        figures=(await figures_of(console.db, "contract", since))[stored.id],
        recent=recent_of(stored.slug, body["vertical"], pings),
        sentences=terms.sentences(body["filters"]),
        price=terms.price_words(body["pricing"], stored.currency),
        timezone=timezone,
        days=days,
        week=week_grid(days, (local.weekday(), local.hour * 60 + local.minute)),
        local=local,
        is_open=_is_open(body["schedule"], days, local),
        caps=_caps(await view.caps_of(console.db, [stored.id]), stored, now),
        attempts=[_attempt(one) for one in attempts[:_LISTED]],
        reasons=_reasons(attempts),
        certificate=certificate,
        versions=await changes_of(
            console, viewer, "contract", stored.slug, stored.currency, NEWEST, 4
        ),
        events=events,
        paused_for=standing.paused_for(events),
        actor=standing.actor,
    )


async def _health(
    console: Console, stored: view.Stored, breakers: dict[str, view.Row]
) -> list[dict[str, Any]]:
    """What the workers know of its endpoints: pings only where it is pinged."""
    rows, _ = await HealthRows(console.db).of_contract(stored.id)
    calls = ["post"] if stored.body["pricing"]["mode"] == "fixed" else ["ping", "post"]
    found = []
    for call in calls:
        of_call = [row for row in rows if row.call == call]
        failures = {one for row in of_call for one in row.failures}
        newest = sorted(failures, key=lambda one: one[1], reverse=True)[:5]
        found.append(
            {
                "call": call,
                "health": standing.health_of({call: breakers[call]} if call in breakers else None),
                "since": breakers[call]["since"] if call in breakers else None,
                "good": sum(row.good for row in of_call),
                "bad": sum(row.bad for row in of_call),
                "share": max((row.share for row in of_call), default=0.0),
                "failures": [(why, datetime.fromisoformat(at)) for why, at in newest],
            }
        )
    return found


def _is_open(schedule: Any, days: Any, local: datetime) -> bool:
    minute = local.hour * 60 + local.minute
    holidays = (schedule or {}).get("holidays") or ()
    in_hours = any(first <= minute < last for first, last in days[local.weekday()].ranges)
    return in_hours and local.date().isoformat() not in holidays


def _caps(
    found: dict[int, list[view.Row]], stored: view.Stored, now: datetime
) -> list[dict[str, Any]]:
    return [
        {
            "name": standing.cap_name(cap),
            "gauge": standing.cap_gauge(cap, stored.currency),
            "resets": standing.until(cap["resets_at"], now),
            "is_full": cap["used"] >= cap["lim"],
        }
        for cap in found[stored.id]
    ]


def _attempt(row: view.Row) -> dict[str, Any]:
    return {**row, "said": orjson.loads(row["detail"]) if row["detail"] else {}}


def _reasons(rows: list[view.Row]) -> list[tuple[str, int]]:
    """Why posts of the last ones came to nothing, most frequent first."""
    counts: dict[str, int] = {}
    for row in rows:
        if row["state"] in {"rejected", "not_sent", "unconfirmed"}:
            said = orjson.loads(row["detail"]) if row["detail"] else {}
            reason = said.get("reason") or row["state"]
            counts[reason] = counts.get(reason, 0) + 1
    ordered = sorted(counts.items(), key=lambda one: -one[1])
    return [(reason.replace("_", " "), number) for reason, number in ordered]


# --- certificates ----------------------------------------------------------------------------------


async def _certificate(
    console: Console, request: web.Request, viewer: Viewer, stored: view.Stored
) -> web.Response:
    """The report that `?id=` names, or the last one, with both exchanges as somebody would read them."""
    id_ = number_of(request.query.get("id"))
    found = await view.certificate_of(console.db, stored.id, id_)
    return console.render(
        request,
        "contracts/certificate.html",
        contract=stored,
        found=found,
        exchanges=[dialogue(one) for one in found["report"]["exchanges"]] if found else [],
        history=await view.certificates_of(console.db, stored.id, 20),
        shown=id_,
    )


# --- versions --------------------------------------------------------------------------------------


async def _versions(
    console: Console, request: web.Request, viewer: Viewer, stored: view.Stored
) -> web.Response:
    return await versions_page(
        console,
        request,
        viewer,
        "contract",
        stored.slug,
        name=stored.slug,
        currency=stored.currency,
    )


async def _version(
    console: Console, request: web.Request, viewer: Viewer, stored: view.Stored, number: int
) -> web.Response:
    """The terms that were in force as this version; nothing of it can be changed."""
    rows = await view.versions_of(console.db, "contract", stored.slug, number, 1)
    if not rows or rows[0]["version"] != number or rows[0]["body"] is None:
        raise Refusal(404, "not_found", "the contract has no such version")
    row, body = rows[0], rows[0]["body"]
    return console.render(
        request,
        "contracts/version.html",
        contract=stored,
        version=number,
        since=row["changed_at"],
        by=standing.actor(row["changed_by"]) if viewer.staff else None,
        body=body,
        caps=[terms.cap_words(one, stored.currency) for one in body["caps"]],
        sentences=terms.sentences(body["filters"]),
        price=terms.price_words(body["pricing"], stored.currency),
        timezone=terms.timezone_of(body),
        week=week_grid(terms.week_of(body["schedule"])),
    )
