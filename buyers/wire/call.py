"""One call to a buyer: a payload, a deadline, and exactly one result."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from buyers.wire.values import Counters, Done, Failure, Reply

if TYPE_CHECKING:
    from buyers.wire.connection import Connection
    from buyers.wire.pool import Pool


class Call:
    """What `Wire.send` hands back. Its `done` is called once, or never after `abandon`."""

    __slots__ = (
        "_counters",
        "_done",
        "_loop",
        "_pool",
        "_started",
        "_timer",
        "connection",
        "payload",
        "written",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pool: Pool | None,
        counters: Counters,
        payload: bytes,
        done: Done,
    ) -> None:
        self._loop = loop
        self._pool = pool
        self._counters = counters
        self._done: Done | None = done
        self._started = loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self.connection: Connection | None = None  # carries the request just now
        self.payload = payload
        self.written = False
        counters.in_flight += 1

    def abandon(self) -> None:
        """The caller no longer cares: `done` is not called any more, a busy connection closes.

        A connection still being dialled is finished and kept for the next call.
        """
        if self._done is not None:
            self._detach()

    def extend(self, deadline: float) -> None:
        """Moves the deadline (loop time, `math.inf` for none); nothing once the call has ended."""
        if self._done is None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if deadline != math.inf:
            self._timer = self._loop.call_at(deadline, self.fail, Failure.TIMED_OUT)

    def fail(self, failure: Failure) -> None:
        """Ends the call without a complete answer and closes its connection."""
        if self._done is not None:
            connection = self.connection
            self.finish(connection.status if connection else None, b"", failure)

    def finish(self, status: int | None, body: bytes, failure: Failure | None) -> None:
        """Ends the call; the last thing its caller does, since `done` may send again."""
        done = self._done
        if done is None:
            return
        self._detach()
        elapsed_ms = (self._loop.time() - self._started) * 1000.0
        done(Reply(status, body, failure, self.written, elapsed_ms))

    def _detach(self) -> None:
        """Lets go of the timer, the place in the queue and the connection, if still held."""
        self._done = None
        self._counters.in_flight -= 1
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.connection is not None:
            self.connection.discard()  # mid-answer: it can serve nobody else
            self.connection = None
        elif self._pool is not None and not self.written:
            self._pool.leave(self)
        self._pool = None
