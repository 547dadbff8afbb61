"""GET /openapi.json and /docs: the API's description of one listener, as JSON and as a page."""

import asyncio
import hashlib
import sys
from dataclasses import dataclass
from typing import Final, Literal

import orjson
from aiohttp import web

from exchange.errors import Refusal

_MODULE: Final = "exchange.http.openapi"


@dataclass(frozen=True, slots=True)
class _Made:
    """What the other process wrote, as it is sent."""

    document: bytes
    page: bytes
    policy: str  # of the page's style and script
    tag: str


class DocsDesk:
    """Made once, by the first who asks, in a process of its own: it takes half a second of a core and
    some megabytes, which a worker has better use for."""

    def __init__(self, listener: Literal["public", "office"]) -> None:
        self._listener = listener
        self._made: asyncio.Task[_Made] | None = None

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/openapi.json", self.describe), web.get("/docs", self.page)]

    async def describe(self, request: web.Request) -> web.Response:
        made = await self._all()
        return _answer(request, made, made.document, "application/json", {})

    async def page(self, request: web.Request) -> web.Response:
        made = await self._all()
        headers = {"Content-Security-Policy": made.policy, "Referrer-Policy": "no-referrer"}
        return _answer(request, made, made.page, "text/html", headers)

    async def _all(self) -> _Made:
        if self._made is None or (self._made.done() and self._made.exception() is not None):
            self._made = asyncio.create_task(_make(self._listener), name="describe")
        return await asyncio.shield(self._made)


async def _make(listener: str) -> _Made:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", _MODULE, listener, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
    )  # fmt: skip
    written, _ = await process.communicate()
    if process.returncode:
        raise Refusal(500, "internal", "the description could not be made")
    made = orjson.loads(written)
    document, page = made["document"].encode(), made["page"].encode()
    tag = hashlib.sha256(document + page).hexdigest()[:16]
    return _Made(document, page, made["policy"], f'"{tag}"')


def _answer(
    request: web.Request, made: _Made, body: bytes, kind: str, more: dict[str, str]
) -> web.Response:
    headers = {"ETag": made.tag, "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
    if made.tag in request.headers.get("If-None-Match", ""):
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, content_type=kind, charset="utf-8", headers=headers | more)
