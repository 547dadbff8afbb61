"""The versions of a contract or a buyer: what each changed of the one before, newest first."""

from typing import Any, Final, Literal

from aiohttp import web

from exchange.office.console.demand import standing
from exchange.office.console.frame import Console, Viewer
from exchange.office.console.parts import differences
from exchange.store.views import contracts as view

NEWEST: Final = 2**63 - 1
_PAGE: Final = 10

Kind = Literal["contract", "buyer"]


async def versions_page(
    console: Console,
    request: web.Request,
    viewer: Viewer,
    kind: Kind,
    slug: str,
    *,
    name: str,
    currency: str,
) -> web.Response:
    """Every version. `?since=7`: what became of version 7. `name`: what its own page is headed with."""
    since = number_of(request.query.get("since"))
    after = number_of(request.query.get("after")) or NEWEST
    rows = await changes_of(console, viewer, kind, slug, currency, after, _PAGE)
    if since is not None:
        rows = [one for one in rows if one["version"] > since]
    return console.render(
        request,
        "contracts/versions.html",
        kind=kind,
        slug=slug,
        name=name,
        rows=rows,
        since=since,
        older=rows[-1]["before"] if rows and since is None else None,
        actor=standing.actor,
    )


async def changes_of(
    console: Console, viewer: Viewer, kind: Kind, slug: str, currency: str, newest: int, limit: int
) -> list[dict[str, Any]]:
    """Versions from that one on, newest first, each with what it changed, as far as the viewer may
    know of it."""
    rows = await view.versions_of(console.db, kind, slug, newest, limit + 1)
    befores = [*rows[1:], None]
    found = []
    for row, before in list(zip(rows, befores, strict=True))[:limit]:
        was = before["body"] if before else None
        verb = "retired" if row["body"] is None else "changed" if was else "created"
        changes = differences.changes(was, row["body"], currency)
        found.append(
            {
                "version": row["version"],
                "before": before["version"] if before else None,
                "by": row["changed_by"],
                "at": row["changed_at"],
                "verb": verb,
                "changes": changes if viewer.staff else differences.for_buyers(changes),
            }
        )
    return found


def number_of(text: str | None) -> int | None:
    """A version or an id in an address; None for anything that is none."""
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 19 else None
