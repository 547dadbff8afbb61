"""The frame of every page: how it is guarded by role, drawn, and left with a word.

def routes(console: Console) -> list[web.RouteDef]:
    async def show(request: web.Request, viewer: Viewer) -> web.StreamResponse:
        rows = await console.db.fetch("…")
        return console.render(request, "leads/list.html", title="Leads", rows=rows)

    return [page("/console/leads", show, *EVERYONE)]
"""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, unquote, urlencode, urlsplit

from aiohttp import web
from jinja2 import Environment

from buyers.guard import Guard
from buyers.wire import Transport
from exchange.errors import Refusal
from exchange.office.console import noting
from exchange.office.console.drawing import Assets
from exchange.office.console.entering.sessions import Device, Sessions
from exchange.office.console.viewer import EVERYONE, STAFF, Role, Viewer
from exchange.sealing import Vault
from exchange.settings import Settings
from exchange.store.database import Database
from exchange.store.postgres import PostgresStore

__all__ = [
    "CONSOLE", "EVERYONE", "STAFF", "Console", "Handler", "Role", "Viewer", "action", "command",
    "page", "redirect",
]  # fmt: skip

Handler = Callable[[web.Request, Viewer], Awaitable[web.StreamResponse]]
CONSOLE: Final = web.AppKey("console", object)  # a Console; the class comes below
SEEN: Final[web.RequestKey[Viewer | None]] = web.RequestKey("viewer", object)  # type: ignore[arg-type]
_FLASH: Final = "exchange-flash"
_SIGN_IN: Final = "/console/sign-in"
_WARM_AFTER_S: Final = 5.0  # until then the house itself starts

# Section, path, words, icon. A line is shown to whom its page's guard lets in.
NAV: Final = (
    ("", "/console/", "Live", "activity"),
    ("", "/console/leads", "Leads", "inbox"),
    ("Market", "/console/buyers", "Buyers", "building"),
    ("Market", "/console/contracts", "Contracts", "contract"),
    ("Market", "/console/sellers", "Sellers", "megaphone"),
    ("Market", "/console/plans", "Plans", "waterfall"),
    ("Market", "/console/verticals", "Verticals", "shapes"),
    ("Market", "/console/posting", "Posting", "book"),
    ("Money", "/console/money", "Money", "coins"),
    ("Money", "/console/reports", "Reports", "chart"),
    ("House", "/console/users", "Users", "users"),
    ("House", "/console/keys", "API keys", "key"),
    ("House", "/console/audit", "Audit", "history"),
    ("House", "/console/settings", "Settings", "sliders"),
)
_OWN: Final = {("buyer", "/console/buyers"): "Your account"}  # where a list is one's own page


class Query(dict[str, str]):
    """The parameters of an address, for templates; what it has not is empty. The first of a name."""

    def __missing__(self, name: str) -> str:
        return ""


@dataclass(slots=True)
class Console:
    """What every page may use. One for the process."""

    store: PostgresStore
    vault: Vault
    settings: Settings
    guard: Guard
    transport: Transport  # for certification only
    listen: str  # host:port where this machine's workers listen to sellers
    sessions: Sessions
    assets: Assets
    templates: Environment
    paths: dict[str, tuple[Role, ...]] = field(
        default_factory=dict
    )  # static pages: who may see them
    endings: list[Callable[[], None]] = field(default_factory=list)  # what ends with the office

    @property
    def db(self) -> Database:
        return self.store.db

    def render(
        self, request: web.Request, template: str, /, *, status: int = 200, **values: Any
    ) -> web.Response:
        """A page. The template also has `viewer` (None: signed out), `nav`, `now`, `path`, `query`,
        `flash`, `asset(name)`, `icon(name)` and every public function of widgets and charts."""
        viewer: Viewer | None = values.pop("viewer", None) or request.get(SEEN)
        flash = unquote(request.cookies.get(_FLASH, ""))
        html = self.templates.get_template(template).render(
            viewer=viewer,
            nav=self.nav(viewer, request.path),
            now=datetime.now(UTC),
            path=request.path,
            query=Query(request.query),
            flash=flash,
            **values,
        )
        response = web.Response(text=html, status=status, content_type="text/html")
        if flash:
            response.del_cookie(_FLASH, path="/console")
        return response

    def nav(self, viewer: Viewer | None, path: str) -> list[tuple[str, list[dict[str, Any]]]]:
        """The sidebar's sections: lines that this viewer's role opens, the present one marked."""
        shown: dict[str, list[dict[str, Any]]] = {}
        for section, to, words, icon in NAV:
            if viewer is not None and viewer.role in self.paths.get(to, ()):
                here = path == to or (to != "/console/" and path.startswith(f"{to}/"))
                named = _OWN.get((viewer.role, to), words)
                line = {"path": to, "words": named, "icon": icon, "here": here}
                shown.setdefault(section, []).append(line)
        return list(shown.items())

    async def warm(self) -> None:
        """Compile every template, one after the other and beside whatever is asked for meanwhile:
        the first to open a page shall not wait for it."""
        await asyncio.sleep(_WARM_AFTER_S)
        for name in self.templates.list_templates(["html"]):
            await asyncio.to_thread(self.templates.get_template, name)

    async def note(self, by: str, what: str, subject: str = "", /, **detail: Any) -> None:
        """Into the audit: `by` is `viewer.name`, `what` one word with underscores. Neither secrets
        nor persons."""
        await noting.note(self.db, by, what, subject, **detail)

    def is_https(self, request: web.Request) -> bool:
        """Whether the browser came by TLS, here or at the proxy in front."""
        said = request.headers.get("X-Forwarded-Proto", "")
        return request.secure or "https" in {said, urlsplit(self.settings.office.url or "").scheme}

    def cookie(self, request: web.Request) -> str:
        """The name of the session's cookie: with TLS one that no other host could have set."""
        return "__Host-exchange" if self.is_https(request) else "exchange"

    def device(self, request: web.Request) -> Device:
        """Where a request comes from; behind our own proxy the address that the proxy saw."""
        address = request.remote or ""
        if self.settings.office.url:
            address = request.headers.get("X-Forwarded-For", address).rpartition(",")[2].strip()
        agent = request.headers.get("User-Agent", "").replace("\0", "")
        return Device(address.replace("\0", "")[:64], agent[:300])

    async def viewer(self, request: web.Request) -> Viewer | None:
        """Who is signed in; looked up once a request."""
        if SEEN not in request:
            token = request.cookies.get(self.cookie(request), "")
            found = await self.sessions.find(token) if 20 < len(token) < 100 else None
            request[SEEN] = found
        return request[SEEN]

    def refuse_foreign(self, request: web.Request) -> None:
        """A change must come from a page of ours. Refuses with 403."""
        site = request.headers.get("Sec-Fetch-Site")
        origin = urlsplit(request.headers.get("Origin", "")).netloc
        ours = {request.host, urlsplit(self.settings.office.url or "").netloc}
        if (site or "same-origin") != "same-origin" or (site is None and origin not in ours - {""}):
            raise Refusal(403, "wrong_origin", "this must be sent by a page of the console itself")


def console_of(request: web.Request) -> Console:
    found = request.app[CONSOLE]
    assert isinstance(found, Console)
    return found


def page(path: str, handler: Handler, *roles: Role) -> web.RouteDef:
    """GET of a page. Signed out: to the sign-in and back; another role: a page that is not there.
    No HEAD: what streams would write its body behind the answer, into the next one."""
    return web.get(path, _guarded(handler, roles, changes=False), allow_head=False)


def action(path: str, handler: Handler, *roles: Role) -> web.RouteDef:
    """POST of an HTML form, from a page of ours only; else as page()."""
    return web.post(path, _guarded(handler, roles, changes=True))


def command(method: str, path: str, handler: Handler, *roles: Role) -> web.RouteDef:
    """A JSON verb below /console/v1, for form.js: problems as JSON, 401 when signed out."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        console = console_of(request)
        if method not in {"GET", "HEAD"}:
            console.refuse_foreign(request)
        viewer = await console.viewer(request)
        if viewer is None:
            raise Refusal(401, "unauthenticated", "sign in again")
        if viewer.role not in roles:
            raise Refusal(403, "wrong_role", "your role does not allow this")
        return await handler(request, viewer)

    return web.route(method, path, guarded)


def _guarded(
    handler: Handler, roles: tuple[Role, ...], *, changes: bool
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    @functools.wraps(handler)
    async def guarded(request: web.Request) -> web.StreamResponse:
        console = console_of(request)
        if changes:
            console.refuse_foreign(request)
        viewer = await console.viewer(request)
        if viewer is None:
            back = "/console/" if changes else request.path_qs
            return redirect(f"{_SIGN_IN}?{urlencode({'next': back})}")
        if viewer.role not in roles:
            raise Refusal(404, "not_found")
        return await handler(request, viewer)

    guarded.roles = roles  # type: ignore[attr-defined]
    return guarded


def redirect(to: str, flash: str = "") -> web.Response:
    """303 to a page of ours, which then shows `flash` once."""
    response = web.Response(status=303, headers={"Location": to})
    if flash:
        response.set_cookie(
            _FLASH, quote(flash), max_age=30, path="/console", httponly=True, samesite="Lax"
        )
    return response


def safe_next(text: str) -> str:
    """Where to go after the sign-in: a page of the console, whatever somebody wrote there."""
    plain = text.isprintable() and "\\" not in text and text.startswith("/console/")
    return text if plain and not text.startswith(_SIGN_IN) else "/console/"


def static_pages(routes: list[web.RouteDef]) -> Mapping[str, tuple[Role, ...]]:
    """Pages without a parameter, and which roles they open to."""
    return {
        one.path: one.handler.roles  # type: ignore[union-attr, unused-ignore]
        for one in routes
        if one.method == "GET" and "{" not in one.path and hasattr(one.handler, "roles")
    }
