"""/console/v1/…: the same desks that a key opens, under a session. Who may do what is one table."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import orjson
from aiohttp import web
from aiohttp.abc import AbstractView

from exchange.errors import Refusal
from exchange.http.access import Caller
from exchange.http.admin import AdminDesk
from exchange.http.buyers import BuyerDesk
from exchange.office.console.frame import Console, Viewer, console_of
from exchange.office.console.viewer import Role
from exchange.store.catalogue import KINDS

PREFIX: Final = "/console"
_READS: Final = ("GET", "HEAD")
_TELL: Final = (
    "/pause",
    "/resume",
    "/health/reset",
    "/callback",
    "/erase",
    "/erasures",
)  # their desks write the audit themselves
_ADMINS: Final = ("/v1/keys",)  # what operators leave alone
_IN_HISTORY: Final = tuple(
    f"/v1/{kind}s" for kind in KINDS
)  # documents have a history of their own
_Route = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class SessionCallers:
    """Tells the desks who asks, out of the session instead of a key."""

    console: Console

    async def caller(self, request: web.Request, role: str) -> Caller:
        viewer = await self.console.viewer(request)
        assert viewer is not None, "the guard has seen to it"
        return Caller(viewer.name, viewer.buyer)


def may_call(role: Role, method: str, path: str) -> bool:
    """Whether a role may use a route of the API. Sellers read pages only."""
    reads = method in _READS
    match role:
        case "admin":
            return True
        case "operator":
            return not path.startswith(_ADMINS)
        case "viewer":
            return reads and not path.startswith(_ADMINS)
        case "buyer":
            return True  # the desk for buyers has its own routes, and shows each its own
        case _:
            return False


def routes(console: Console) -> list[web.RouteDef]:
    """Every route of both desks, once; the session's role says whose desk answers."""
    settings, callers = console.settings.http, SessionCallers(console)
    made = (console.store, console.vault, console.guard, settings, callers, console.transport)
    staff = _by_place(AdminDesk(*made).routes())
    buyers = _by_place(BuyerDesk(*made).routes())
    return [
        web.route(method, PREFIX + path, _served(staff.get(at), buyers.get(at), method, path))
        for at in sorted(staff.keys() | buyers.keys())
        for method, path in [at]
    ]


def _by_place(found: list[web.RouteDef]) -> dict[tuple[str, str], _Route]:
    return {(one.method, one.path): _plain(one.handler) for one in found}


def _plain(handler: type[AbstractView] | Callable[..., Awaitable[web.StreamResponse]]) -> _Route:
    assert not isinstance(handler, type), "desks have functions"
    return handler


def _served(staff: _Route | None, buyers: _Route | None, method: str, path: str) -> _Route:
    async def served(request: web.Request) -> web.StreamResponse:
        console = console_of(request)
        if method not in _READS:
            console.refuse_foreign(request)
        viewer = await console.viewer(request)
        if viewer is None:
            raise Refusal(401, "unauthenticated", "sign in again")
        desk = buyers if viewer.role == "buyer" else staff
        if desk is None or not may_call(viewer.role, method, path):
            raise Refusal(403, "wrong_role", "your role does not allow this")
        response = await desk(request)
        if method not in _READS and not _is_document(path) and not path.endswith(_TELL):
            await _note(console, viewer, request, response)
        return response

    return served


def _is_document(path: str) -> bool:
    return path in _IN_HISTORY or path.removesuffix("/{slug}") in _IN_HISTORY


async def _note(
    console: Console, viewer: Viewer, request: web.Request, response: web.StreamResponse
) -> None:
    """Which verb on what; never what was sent."""
    named = request.match_info.get("slug") or request.match_info.get("id") or _made(response)
    resource = request.match_info.route.resource
    route = resource.canonical.removeprefix(PREFIX) if resource is not None else ""
    await console.note(viewer.name, "called", named, route=f"{request.method} {route}")


def _made(response: web.StreamResponse) -> str:
    """The id of what was made."""
    if not isinstance(response, web.Response) or not isinstance(response.body, bytes):
        return ""
    body = orjson.loads(response.body)
    return next((str(body[name]) for name in ("id", "return_id") if name in body), "")
