"""/console/audit: who changed what, with old and new values; and who signed in and did what else."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from aiohttp import web

from exchange.errors import Problem, Refusal
from exchange.office.console.frame import STAFF, Console, Viewer, page
from exchange.office.console.parts.differences import Change, changes
from exchange.store.catalogue import KINDS
from exchange.store.views.audit import LAST, Changed, Wanted, changes_page, events_page

_LIMIT: Final = 30
_SHOWN_MAX: Final = 40  # differences of one change
DONE: Final = {
    "signed_in": "signed in",
    "signed_out": "signed out",
    "sign_in_failed": "failed to sign in",
    "sessions_ended": "ended other sessions of",
    "password_changed": "changed the password of",
    "totp_on": "turned one-time codes on for",
    "totp_off": "turned one-time codes off for",
    "user_created": "made the user",
    "user_reset": "reset the user",
    "user_retired": "retired the user",
    "link_made": "made a one-time link for",
    "posting_link_made": "passed on posting instructions of",
    "posting_link_revoked": "took back a posting link of",
    "revealed": "revealed the person of",
    "erased": "had erased the person of",
    "called": "called the API on",
}


def routes(console: Console) -> list[web.RouteDef]:
    async def documents(request: web.Request, _viewer: Viewer) -> web.Response:
        wanted, before = _wanted(request.query)
        rows = await changes_page(console.db, wanted, before, _LIMIT + 1)
        return console.render(
            request,
            "frame/audit.html",
            rows=[(one, *_told(one)) for one in rows[:_LIMIT]],
            older=str(rows[_LIMIT - 1].version) if len(rows) > _LIMIT else None,
            kinds=KINDS,
        )

    async def events(request: web.Request, _viewer: Viewer) -> web.Response:
        wanted, before = _wanted(request.query)
        rows = await events_page(console.db, wanted, before, _LIMIT + 1)
        return console.render(
            request,
            "frame/events.html",
            rows=rows[:_LIMIT],
            older=str(rows[_LIMIT - 1].id) if len(rows) > _LIMIT else None,
            done=DONE,
        )

    return [
        page("/console/audit", documents, *STAFF),
        page("/console/audit/access", events, *STAFF),
    ]


def _told(one: Changed) -> tuple[str, list[Change], int]:
    """What became of the document, what differs, and how many differences are not shown."""
    if one.after is None:
        return "retired", [], 0
    if one.before is None:
        return "created", [], 0
    found = changes(_by_name(one.before), _by_name(one.after))
    return "changed", found[:_SHOWN_MAX], max(0, len(found) - _SHOWN_MAX)


def _by_name(body: Mapping[str, Any]) -> dict[str, Any]:
    """A vertical's fields and a plan's tiers by their names: one that moved has not changed."""
    found = dict(body)
    for name in ("fields", "tiers"):
        if isinstance(body.get(name), list):
            found[name] = {str(one.get("name")): one for one in body[name]}
    return found


def _wanted(query: Mapping[str, str]) -> tuple[Wanted, int]:
    """The filters of an address. Refuses with 422 what is no filter's value."""
    problems = [
        Problem(name, "bad_format", "must not hold NUL characters")
        for name, value in query.items()
        if "\0" in value
    ]
    since, until = _day(query, "from", problems), _day(query, "to", problems)
    after = query.get("after", "")
    if after and not (after.isascii() and after.isdecimal() and len(after) < 19):
        problems.append(Problem("after", "bad_format", "must be the cursor of another page"))
    if problems:
        raise Refusal(422, "invalid_request", problems=tuple(problems))
    wanted = Wanted(
        kind=query.get("kind") or None,
        subject=query.get("slug", "").strip() or None,
        by=_by(query.get("by", "").strip()),
        since=since,
        until=until + timedelta(days=1) if until else None,
    )
    return wanted, int(after) if after else LAST


def _by(text: str) -> str | None:
    """As history has it: "key 1a2b" is key:1a2b; a login alone is that of a user."""
    kind, _, name = text.replace(":", " ").partition(" ")
    if not text or kind in {"apply", "demo", "cli"}:
        return text or None
    return f"{kind}:{name.strip()}" if kind in {"key", "user"} and name else f"user:{text}"


def _day(query: Mapping[str, str], name: str, problems: list[Problem]) -> datetime | None:
    text = query.get(name, "")
    if not text:
        return None
    try:
        found = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
        found + timedelta(days=1)  # that there is no day after the last one of the calendar
        return found
    except (ValueError, OverflowError):
        problems.append(Problem(name, "bad_format", "must be a day such as 2026-07-01"))
        return None
