"""One call to a buyer: a payload, a deadline, and exactly one result."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from buyers.value import maker
from buyers.wire.values import Counters, Done, Failure, make_reply

if TYPE_CHECKING:
    from buyers.wire.connection import Connection
    from buyers.wire.pool import Pool


@dataclass(slots=True, eq=False, repr=False)
class Call:
    """What `Wire.send` hands back. Its `done` is called once, or never after `abandon`.

    Whoever makes one counts it as in flight. It says nothing of itself: its payload may be a person,
    and an event loop writes whose callback broke.
    """

    loop: asyncio.AbstractEventLoop
    pool: Pool | None  # None: where it waits no more, or never did
    counters: Counters
    payload: bytes
    done: Done | None  # None: it has ended
    started: float  # loop time
    timer: asyncio.TimerHandle | None = None
    connection: Connection | None = None  # carries the request just now
    written: bool = False

    def abandon(self) -> None:
        """The caller no longer cares: `done` is not called any more, a busy connection closes.

        A connection still being dialled is finished and kept for the next call.
        """
        if self.done is not None:
            self._detach()

    def extend(self, deadline: float) -> None:
        """Moves the deadline (loop time, `math.inf` for none); nothing once the call has ended."""
        if self.done is None:
            return
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if deadline != math.inf:
            self.timer = self.loop.call_at(deadline, self.fail, Failure.TIMED_OUT)

    def fail(self, failure: Failure) -> None:
        """Ends the call without a complete answer and closes its connection."""
        done, connection = self.done, self.connection
        if done is None:
            return
        status = connection.status if connection else None
        self._detach()
        done(
            make_reply(
                status=status,
                body=b"",
                failure=failure,
                written=self.written,
                elapsed_ms=(self.loop.time() - self.started) * 1000.0,
            )
        )

    def answer(self, status: int | None, body: bytes) -> None:
        """Ends the call, whose connection has let go of it, with a complete answer.

        The last thing its caller does, since `done` may send again.
        """
        done = self.done
        if done is None:
            return
        self.done = self.pool = None
        self.counters.in_flight -= 1
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        done(
            make_reply(
                status=status,
                body=body,
                failure=None,
                written=True,
                elapsed_ms=(self.loop.time() - self.started) * 1000.0,
            )
        )

    def _detach(self) -> None:
        """Lets go of the timer, the place in the queue and the connection, if still held."""
        self.done = None
        self.counters.in_flight -= 1
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if self.connection is not None:
            self.connection.discard()  # mid-answer: it can serve nobody else
            self.connection = None
        elif self.pool is not None and not self.written:
            self.pool.leave(self)
        self.pool = None


make_call = maker(Call)
