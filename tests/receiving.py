"""A seller's endpoint for callbacks: a real server that does as it is told and keeps what it hears.

It proves signatures by the text of Standard Webhooks alone: none of the exchange's own code is used.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass(frozen=True)
class Called:
    """One request."""

    path: str
    id: str
    timestamp: str
    signature: str
    headers: dict[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.raw)

    def is_signed(self, secret: str) -> bool:
        """https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md"""
        key = base64.b64decode(secret.removeprefix("whsec_"))
        signed = f"{self.id}.{self.timestamp}.".encode() + self.raw
        right = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        fresh = abs(time.time() - int(self.timestamp)) < 300
        return fresh and f"v1,{right}" in self.signature.split(" ")


@dataclass
class Receiver:
    """`statuses` are answered one after the other, the last one for ever; `hangs`: nothing is; `hangs_on`: the
    head and `text` are, and the body does not end."""

    url: str = ""
    statuses: list[int] = field(default_factory=lambda: [200])
    hangs: bool = False
    hangs_on: bool = False
    text: str = "<p>not read</p>"
    heard: list[Called] = field(default_factory=list)
    _never: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.heard.append(
            Called(
                request.path, headers["webhook-id"], headers["webhook-timestamp"],
                headers["webhook-signature"], headers, await request.read(),
            )
        )  # fmt: skip
        status = self.statuses[0] if len(self.statuses) == 1 else self.statuses.pop(0)
        if self.hangs:
            await self._never.wait()
        if self.hangs_on:
            response = web.StreamResponse(status=status)
            await response.prepare(request)
            await response.write(self.text.encode())
            await self._never.wait()
            return response
        return web.Response(status=status, text=self.text)

    def of(self, lead_id: str) -> list[Called]:
        return [one for one in self.heard if one.json["lead_id"] == lead_id]


@asynccontextmanager
async def a_receiver(**how: Any) -> AsyncIterator[Receiver]:
    receiver = Receiver(**how)
    app = web.Application()
    app.router.add_post("/{tail:.*}", receiver.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        yield receiver
    finally:
        receiver._never.set()
        await runner.cleanup()
