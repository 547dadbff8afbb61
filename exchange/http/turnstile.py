"""How many pings begin in one turn of the event loop."""

import asyncio
from collections import deque
from typing import Final

EACH_TURN: Final = 16


class Turnstile:
    """A few pings begin in each turn of the loop; those that come with them wait, in their order.

    To begin is most of a ping's work: everybody who is asked is sent a request. All that comes
    meanwhile waits until the turn is over, buyers' answers, timers, and the pings that are to be
    refused. Were all begun at once that came in one turn, the next would bring the more.
    """

    __slots__ = ("_begun", "_waiting")

    def __init__(self) -> None:
        self._begun = 0  # in this turn
        self._waiting: deque[tuple[float, asyncio.Future[None]]] = deque()  # since when

    def waits_s(self, now_s: float) -> float:
        """How long the first of those who wait has waited."""
        return now_s - self._waiting[0][0] if self._waiting else 0.0

    async def turn(self, now_s: float) -> None:
        """Returns when this ping may begin."""
        loop = asyncio.get_running_loop()
        if self._begun == 0:
            loop.call_soon(self._next_turn, loop)
        if self._begun < EACH_TURN:  # then nobody waits
            self._begun += 1
            return
        mine = loop.create_future()
        self._waiting.append((now_s, mine))
        await mine

    def _next_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        self._begun = 0
        while self._waiting and self._begun < EACH_TURN:
            _, mine = self._waiting.popleft()
            if not mine.done():  # it may have been cancelled
                mine.set_result(None)
                self._begun += 1
        if self._begun:
            loop.call_soon(self._next_turn, loop)
