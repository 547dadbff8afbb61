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
        "_timer",
        "connection",
        "payload",
        "started",
        "written",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pool: Pool | None,
        counters: Counters,
        payload: bytes,
        done: Done,
        started: float,
    ) -> None:
        self._loop = loop
        self._pool = pool
        self._counters = counters
        self._done: Done | None = done
        self._timer: asyncio.TimerHandle | None = None
        self.connection: Connection | None = None  # carries the request just now
        self.payload = payload
        self.started = started  # loop time
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
        done, connection = self._done, self.connection
        if done is None:
            return
        status = connection.status if connection else None
        self._detach()
        done(Reply(status, b"", failure, self.written, self._elapsed_ms()))

    def answer(self, status: int | None, body: bytes) -> None:
        """Ends the call, whose connection has let go of it, with a complete answer.

        The last thing its caller does, since `done` may send again.
        """
        done = self._done
        if done is None:
            return
        self._done = self._pool = None
        self._counters.in_flight -= 1
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        done(Reply(status, body, None, True, self._elapsed_ms()))

    def _elapsed_ms(self) -> float:
        return (self._loop.time() - self.started) * 1000.0

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
