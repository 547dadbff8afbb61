"""One call to a buyer: a payload, a deadline, and exactly one result."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from buyers.value import maker
from buyers.wire.values import Done, Failure

if TYPE_CHECKING:
    from buyers.wire.connection import Connection
    from buyers.wire.pool import Pool


@dataclass(slots=True, eq=False, repr=False)
class Call:
    """What `Wire.send` hands back. Its `done` is called once, or never after `abandon`.

    It says nothing of itself: its payload may be a person, and an event loop writes whose callback
    broke.
    """

    pool: Pool  # where it waits until a connection takes it
    payload: bytes
    done: Done | None  # None: it has ended
    tag: int  # for `done`
    started: float  # loop time
    timer: asyncio.TimerHandle | None = None
    connection: Connection | None = None  # None: not a byte has been written

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
            self.timer = self.pool.loop.call_at(deadline, self.fail, Failure.TIMED_OUT)

    def fail(self, failure: Failure) -> None:
        """Ends the call without a complete answer and closes its connection."""
        done, connection = self.done, self.connection
        if done is None:
            return
        status = connection.status if connection else None
        self._detach()
        elapsed_ms = (self.pool.loop.time() - self.started) * 1000.0
        done(self.tag, status, b"", failure, connection is not None, elapsed_ms)

    def answer(self, status: int | None, body: bytes, now: float) -> None:
        """Ends the call, whose connection has let go of it, with a complete answer.

        The last thing its caller does, since `done` may send again.
        """
        done = self.done
        if done is None:
            return
        self.done = None
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        done(self.tag, status, body, None, True, (now - self.started) * 1000.0)

    def _detach(self) -> None:
        """Lets go of the timer, and of the place in the queue or the connection."""
        self.done = None
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if self.connection is None:
            self.pool.leave(self)
        else:
            self.connection.discard()  # mid-answer: it can serve nobody else


make_call = maker(Call)
