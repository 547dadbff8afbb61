"""What goes wrong on a page, as a page; and the headers that every answer of the office has."""

from typing import Any, Final

from aiohttp import web

from exchange.errors import Refusal, StoreUnavailable
from exchange.http.problems import Handler, problem_headers, refusal_of
from exchange.observe import Observer
from exchange.office.console.frame import SEEN, Console, console_of

CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_WORDS: Final = {
    400: ("This was not understood", "The browser sent something that no page of ours sends."),
    403: ("This is not allowed here", "The request did not come from a page of this console."),
    404: ("There is no such page", "It does not exist, or your login does not open it."),
    405: ("This cannot be done that way", "Go back and use the page's own buttons."),
    413: ("This is too large", "Send less at once."),
    422: ("This address has a fault", "A filter in the address is not one of this page's."),
    500: ("A fault of the exchange", "It has been recorded with its details. Trading is not affected."),
    503: ("The database is away", "Pages come back by themselves as soon as it answers."),
}  # fmt: skip


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Signal of every answer: nothing is framed, sniffed, or kept by a cache."""
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Cache-Control", "no-store")
    console = console_of(request)
    if console.is_https(request):
        response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")


def pages_net(observer: Observer) -> Any:
    """Middleware: under /console a refusal is a page in the same frame; JSON stays JSON."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not request.path.startswith("/console") or request.path.startswith("/console/v1/"):
            return await handler(request)
        console = console_of(request)
        try:
            return await handler(request)
        except web.HTTPException as error:
            found = Refusal(error.status, "not_found" if error.status == 404 else "bad_request")
        except Exception as error:  # noqa: BLE001 - the net under the pages: told, counted, shown
            found = refusal_of(error, observer, f"{request.method} a page of the console")
        observer.refused(found.code)
        return await mishap(console, request, found)

    return middleware


async def mishap(console: Console, request: web.Request, refusal: Refusal) -> web.Response:
    """The page of a refusal, with the sidebar of whoever is signed in."""
    try:
        await console.viewer(request)
    except StoreUnavailable:
        request[SEEN] = None  # who it is cannot be said just now
    title, words = _WORDS.get(refusal.status, _WORDS[400])
    response = console.render(
        request,
        "frame/mishap.html",
        status=refusal.status,
        title=title,
        words=words,
        refusal=refusal,
    )
    response.headers.update(problem_headers(refusal))
    return response
