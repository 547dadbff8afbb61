"""What carries a request to an endpoint, for who need not know that it is a Wire; and one call, awaited."""

import asyncio
from typing import Any, Protocol

from buyers.guard import Target
from buyers.wire.values import Done, Reply


class InFlight(Protocol):
    """A call that has not ended."""

    def abandon(self) -> None: ...


class Transport(Protocol):
    """A Wire, or a scripted market in simulated time."""

    def send(
        self,
        target: Target,
        payload: bytes,
        done: Done,
        pool: str,
        deadline: float,
        tag: int = 0,
        idle_max_s: float | None = None,
    ) -> InFlight: ...


async def one_call(
    transport: Transport,
    target: Target,
    payload: bytes,
    *,
    pool: str,
    deadline: float,
    idle_max_s: float | None = None,
) -> Reply:
    """One call as `Wire.send` makes it, awaited. Cancelling the waiter abandons it."""
    future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

    def done(_tag: int, *reply: Any) -> None:
        if not future.done():
            future.set_result(Reply(*reply))

    under_way = transport.send(
        target, payload, done, pool=pool, deadline=deadline, idle_max_s=idle_max_s
    )
    try:
        return await future
    except asyncio.CancelledError:
        under_way.abandon()
        raise
