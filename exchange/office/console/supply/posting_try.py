"""What the form on posting instructions sends: a test, to a worker of this machine, as that seller.

The office does not trade. It asks the sellers' own listener, with a key of that seller's that lives for
the one request; and whatever the browser sent, it is a test.
"""

import asyncio
from collections import defaultdict
from typing import Any, Final

import aiohttp
import orjson
from aiohttp import web

from exchange.errors import Refusal
from exchange.http.limits import read_object
from exchange.office.console.frame import Console, Viewer, command
from exchange.office.console.viewer import Role
from exchange.settings import split_address
from exchange.store.keys import passing_key
from exchange.store.views.sellers import one_seller

ROLES: Final[tuple[Role, ...]] = ("admin", "operator", "seller")
_ANYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "[::]": "::1"}
_BEYOND_S: Final = 5.0  # what a request may take beyond the seller's own time
_NOT_A_TEST: Final = ("external_id", "sub_id")  # nothing of a test is to be found by them


def routes(console: Console) -> list[web.RouteDef]:
    tries: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)  # one at a time of each seller

    async def ping(request: web.Request, viewer: Viewer) -> web.StreamResponse:
        return await _try(console, request, viewer, tries, "/v1/pings")

    async def lead(request: web.Request, viewer: Viewer) -> web.StreamResponse:
        return await _try(console, request, viewer, tries, "/v1/leads")

    async def look(request: web.Request, viewer: Viewer) -> web.StreamResponse:
        slug = await _whose(console, request, viewer)
        return await _forward(console, slug, "GET", f"/v1/leads/{_test_lead(request)}")

    base = "/console/v1/sellers/{slug}/try"
    return [
        command("POST", f"{base}/pings", ping, *ROLES),
        command("POST", f"{base}/leads", lead, *ROLES),
        command("GET", f"{base}/leads/{{id}}", look, *ROLES),
    ]


async def _try(
    console: Console,
    request: web.Request,
    viewer: Viewer,
    tries: dict[str, asyncio.Lock],
    path: str,
) -> web.StreamResponse:
    slug = await _whose(console, request, viewer)
    body = await read_object(request, console.settings.http)
    sent = {name: value for name, value in body.items() if name not in _NOT_A_TEST}
    async with tries[slug]:
        answer = await _forward(console, slug, "POST", path, sent | {"test": True})
    await console.note(viewer.name, "tried_posting", slug, path=path, status=answer.status)
    return answer


async def _whose(console: Console, request: web.Request, viewer: Viewer) -> str:
    """The seller in the address; a seller's login has its own only. Refuses with 404."""
    slug = request.match_info["slug"]
    if viewer.seller not in {None, slug} or "\0" in slug:
        raise Refusal(404, "not_found", "there is no such seller")
    found = await one_seller(console.db, slug)
    if found is None or found.deleted:
        raise Refusal(404, "not_found", "there is no such seller")
    return slug


def _test_lead(request: web.Request) -> str:
    text = request.match_info["id"]
    if not (text.startswith("lead_test_") and text.isascii() and text.isidentifier()):
        raise Refusal(404, "not_found", "there is no such test lead")
    return text


async def _forward(
    console: Console, seller: str, method: str, path: str, body: dict[str, Any] | None = None
) -> web.Response:
    """The worker's answer as it is. Refuses with 503 when no worker answers."""
    host, port = split_address(console.listen)
    host = _ANYWHERE.get(host, host)
    url = f"http://[{host}]:{port}{path}" if ":" in host else f"http://{host}:{port}{path}"
    limit_s = console.settings.post.max_wait_limit_ms / 1000 + _BEYOND_S
    async with passing_key(console.db, console.vault, "seller", seller) as key:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        data = None if body is None else orjson.dumps(body)
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(limit_s)) as session,
                session.request(method, url, data=data, headers=headers) as response,
            ):
                raw, status = await response.read(), response.status
                kind = response.content_type
        except (aiohttp.ClientError, TimeoutError):
            raise Refusal(503, "unavailable", "no worker answered", retry_after_s=1) from None
    if status == 401:  # to the browser it would mean that its session is over
        raise Refusal(503, "unavailable", "the worker did not know the key yet", retry_after_s=1)
    return web.Response(body=raw, status=status, content_type=kind)
