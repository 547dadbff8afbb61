"""What certification sends, rightly and wrongly signed, and how it waits for the answer."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from buyers.certify.values import SHOWN_MAX, Exchange, readable
from buyers.envelope import write_request
from buyers.guard import Target
from buyers.signing import TOLERANCE_S
from buyers.wire import (
    Failure,
    Reply,
    Transport,
    finish_request,
    one_call,
    render_head,
    render_request,
)

_IDLE_MAX_S: Final = 5.0  # as for posts: no connection that may just be closing
_STALE_S: Final = TOLERANCE_S + 3300  # an hour: no clock is that wrong


class Interrupted(Exception):
    """The transport was closed: what was seen so far says nothing of the endpoint."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One request, its reply, and how long it was given."""

    payload: bytes
    reply: Reply
    allowed_ms: float

    def exchange(self, name: str) -> Exchange:
        return Exchange(
            name=name,
            request=readable(self.payload),
            status=self.reply.status,
            response=readable(self.reply.body, SHOWN_MAX),
            truncated=len(self.reply.body) > SHOWN_MAX,
            failure=self.reply.failure,
            elapsed_ms=self.reply.elapsed_ms,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The way to one endpoint, one call after the other: a small server may serve only one."""

    transport: Transport
    pool: str
    key: bytes  # signs
    wall_s: Callable[[], float]  # seconds since the epoch
    until_s: float  # loop time at which certification gives up

    async def post(self, target: Target, webhook_id: str, body: bytes, timeout_ms: int) -> Sent:
        now_s = int(self.wall_s())
        payload = write_request(target, self.key, webhook_id, now_s, body)
        return await self.call(target, payload, timeout_ms)

    async def get(self, target: Target, timeout_ms: int) -> Sent:
        payload = render_request(target, (), b"", method="GET", content_type=None)
        return await self.call(target, payload, timeout_ms)

    async def call(self, target: Target, payload: bytes, timeout_ms: int) -> Sent:
        """One call, awaited for at most so long. Cancelling the waiter abandons it. Raises
        Interrupted."""
        loop = asyncio.get_running_loop()
        deadline = min(loop.time() + timeout_ms / 1000, self.until_s)
        allowed_ms = max(0.0, (deadline - loop.time()) * 1000)
        reply = await one_call(
            self.transport,
            target,
            payload,
            pool=self.pool,
            deadline=deadline,
            idle_max_s=_IDLE_MAX_S,
        )
        if reply.failure is Failure.CANCELLED:
            raise Interrupted
        return Sent(payload, reply, allowed_ms)

    def forgeries(self, target: Target) -> tuple[tuple[str, "Forge"], ...]:
        """How to send what must be refused: with no signature, a wrong one, an old one."""
        wrong = bytes(255 - byte for byte in self.key)

        def unsigned(webhook_id: str, body: bytes) -> bytes:
            stamp = str(int(self.wall_s()))
            headers = (("webhook-id", webhook_id), ("webhook-timestamp", stamp))
            return finish_request(render_head(target), body, headers)

        def forged(webhook_id: str, body: bytes) -> bytes:
            return write_request(target, wrong, webhook_id, int(self.wall_s()), body)

        def stale(webhook_id: str, body: bytes) -> bytes:
            return write_request(target, self.key, webhook_id, int(self.wall_s()) - _STALE_S, body)

        return ((UNSIGNED, unsigned), (FORGED, forged), (STALE, stale))


Forge = Callable[[str, bytes], bytes]  # webhook-id and body to a whole request
UNSIGNED: Final = "unsigned"
FORGED: Final = "wrongly signed"
STALE: Final = "signed an hour ago"


def asking_for(target: Target, webhook_id: str) -> Target:
    """A status_url with its question: the place it leads to stays the same."""
    joint = "&" if "?" in target.path_and_query else "?"
    return replace(target, path_and_query=f"{target.path_and_query}{joint}webhook_id={webhook_id}")
