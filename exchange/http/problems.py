"""Refusals as RFC 9457 problems, and the last net under every handler."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import web

from exchange.errors import Refusal, StoreUnavailable
from exchange.observe import Observer
from exchange.reasons import REASONS

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a seller is answered, before it is HTTP."""

    body: bytes
    status: int = 200
    retry_after_s: int | None = None

    @property
    def headers(self) -> dict[str, str]:
        return {} if self.retry_after_s is None else {"Retry-After": str(self.retry_after_s)}

    def response(self) -> web.Response:
        return json_response(self.body, self.status, self.headers)


def json_response(
    body: Any, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """JSON; bytes are taken as they are: a stored answer is given byte for byte."""
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return web.Response(body=raw, status=status, content_type="application/json", headers=headers)


def problem_body(refusal: Refusal) -> dict[str, Any]:
    """The document: a stable code, what is wrong, and every field error at once."""
    reason = REASONS.get(refusal.code)
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(refusal.status).phrase,
        "status": refusal.status,
        "code": refusal.code,
        "detail": refusal.detail or (reason.text if reason else ""),
    }
    if refusal.problems:
        body["errors"] = [
            {"path": p.path, "code": p.code, "message": p.message} for p in refusal.problems
        ]
    return body | refusal.extra


def problem_headers(refusal: Refusal) -> dict[str, str]:
    """What HTTP wants beside the document."""
    headers = {}
    if refusal.retry_after_s is not None:
        headers["Retry-After"] = str(refusal.retry_after_s)
    if refusal.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return headers


def problem_response(refusal: Refusal) -> web.Response:
    return web.Response(
        body=orjson.dumps(problem_body(refusal)),
        status=refusal.status,
        content_type="application/problem+json",
        headers=problem_headers(refusal),
    )


def unavailable() -> Refusal:
    return Refusal(503, "unavailable", retry_after_s=1)


def net_under(observer: Observer) -> Any:
    """Middleware: turns refusals, a database that is away, and bugs into problems."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        allowed = None  # methods, where another one was used
        try:
            return await handler(request)
        except web.HTTPException as error:
            found = _of_router(error)
            allowed = error.headers.get("Allow")
        except Exception as error:  # noqa: BLE001 - the last net: told, counted, answered
            found = refusal_of(error, observer, f"{request.method} {_route(request)}")
        observer.refused(found.code)
        response = problem_response(found)
        if allowed is not None:
            response.headers["Allow"] = allowed
        return response

    return middleware


def refusal_of(error: Exception, observer: Observer, where: str) -> Refusal:
    """What is answered after an error; a bug is told."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, StoreUnavailable):
        return unavailable()
    observer.broke(where, error)
    return Refusal(500, "internal", "a fault of the exchange; it has been recorded")


def _of_router(error: web.HTTPException) -> Refusal:
    """What aiohttp itself refuses: unknown path, wrong method, bad expectation."""
    codes = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}
    return Refusal(error.status, codes.get(error.status, "bad_request"), error.reason or "")


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "unknown"
