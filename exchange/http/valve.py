"""Whom a worker lets in when more pings come than it can serve."""

import asyncio
import math
from collections.abc import Callable

from exchange.http.turnstile import Turnstile
from exchange.pressure import LOOK_EVERY_S, Gate, Pressure, after_look


class Valve:
    """Whom one worker lets in, by what it sees every 20 ms while pings come.

    `waits_s` tells how long a ping waits for others just now, besides the loop's own lateness.
    `target_s` 0: everybody.
    """

    def __init__(self, target_s: float, waits_s: Callable[[], float]) -> None:
        self._target_s = target_s
        self._waits_s = waits_s
        self._gate = Gate()
        self.pressure = Pressure()
        self.turnstile = Turnstile()  # of those that were let in
        self._under_way = 0
        self._answered = 0  # since the last look
        self.refused = 0  # not counted yet
        self.seen = 0  # not counted yet, refused or not
        self._next: asyncio.TimerHandle | None = None  # when it looks; None: nothing comes

    def _look(self) -> None:
        assert self._next is not None
        due_s, self._next = self._next.when(), None
        now_s = asyncio.get_running_loop().time()
        self.pressure = after_look(
            self.pressure,
            now_s=now_s,
            answered=self._answered,
            waits_s=max(now_s - due_s, self._waits_s(), self.turnstile.waits_s(now_s)),
            target_s=self._target_s,
        )
        if self._answered or self.pressure.rate < math.inf:
            self._look_later()
        self._answered = 0

    def _look_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._next = loop.call_at(loop.time() + LOOK_EVERY_S, self._look)

    def take_seen(self) -> tuple[int, int]:
        """How many pings were refused, of how many, since this was last asked."""
        found, self.refused, self.seen = (self.refused, self.seen), 0, 0
        return found

    def is_shut(self, now_s: float) -> bool:
        """Whether a ping that comes now is one too many."""
        if self._target_s == 0 or self._gate.has_room(now_s, self.pressure.rate):
            return False
        return self._under_way >= self.pressure.free

    def let_in(self) -> None:
        """One more is under way, until it is `done`."""
        self.seen += 1
        self._under_way += 1
        self._gate.take()
        if self._next is None and self._target_s:
            self._look_later()

    def done(self) -> None:
        """One that was let in has ended."""
        self._under_way -= 1
        self._answered += 1

    def refuse(self) -> None:
        self.seen += 1
        self.refused += 1
