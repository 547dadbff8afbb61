"""How many pings a worker lets in when more come than it can serve.

What is served late is served for nothing: buyers' bids miss their window and sellers hang up. So
what every ping has to wait decides, not how many are under way: how many are too many depends on how
fast the buyers are. While the wait stays above its target (as in CoDel, RFC 8289, a moment is no
queue), a little less is let in than was answered lately, for that is what can be served; when it is
below, the rate doubles within a second until it is above again, or binds nobody.

A few are let in whatever the rate says: as many as are answered within a tenth of a second when
those under way are (Little's law). They are no queue, and without them the worker would run dry each
time the rate has fallen too far.
"""

import math
from dataclasses import dataclass
from typing import Final

LOOK_EVERY_S: Final = 0.02
_LATELY_S: Final = 0.5  # how far back the rate of answers looks
_STAYS_S: Final = 0.1  # above the target for so long, it is a queue
_DRAIN: Final = 0.95  # of what is answered is let in while there is too much of it
_SHRINKS: Final = 0.8  # the rate, at most, from look to look
_FORGETS: Final = 0.05  # of what it has been able to do, per second
_GROWTH: Final = 1.0  # of the rate, per second
_AT_HAND_S: Final = 0.1  # under way for so long is no queue
_FEW: Final = 16  # pings that may be under way in any case
# In pings a second: trusted with, until the worker has shown what it can; always let in, or nobody
# would see that it is over.
_FIRST: Final = 500.0
_LEAST: Final = 20.0
_BURST_S: Final = 0.1  # of the rate that may come at once
# Let in within one turn of the loop, before any wait can have been seen.
_TURN_MAX: Final = 400


@dataclass(frozen=True, slots=True)
class Pressure:
    """What one worker knows since its last look."""

    rate: float = math.inf  # pings a second to let in
    answered: float = 0.0  # a second, lately
    best: float = 0.0  # that it has been, forgotten by and by
    above_since_s: float | None = None  # since when pings wait longer than they should
    at_s: float = 0.0  # when it looked

    @property
    def free(self) -> float:
        """So many pings may be under way, whatever the rate."""
        return max(_FEW, self.answered * _AT_HAND_S)


def after_look(
    before: Pressure, *, now_s: float, answered: int, waits_s: float, target_s: float
) -> Pressure:
    """`answered`: pings since the last look; `waits_s`: what a ping has to wait for others now."""
    passed_s = max(now_s - before.at_s, 0.001)
    weight = 1 - math.exp(-passed_s / _LATELY_S)
    lately = before.answered + weight * (answered / passed_s - before.answered)
    forgets = _FORGETS if waits_s <= target_s else _FORGETS / 5
    best = max(lately, before.best * (1 - min(1.0, forgets * passed_s)))
    rate, since_s = before.rate, before.above_since_s
    if waits_s <= target_s:
        since_s = None
        rate *= 1 + _GROWTH * passed_s
        if rate > 4 * max(lately, _LEAST):
            rate = math.inf  # by far not reached any more
    elif since_s is None:
        since_s = now_s - waits_s
    if since_s is not None and now_s - since_s >= _STAYS_S:
        bound = max(best, _FIRST) if rate == math.inf else max(lately * _DRAIN, rate * _SHRINKS)
        # When others take the core we are late whatever we refuse: not more than half of our best.
        rate = min(rate, max(bound, best / 2, _LEAST))
    return Pressure(rate=rate, answered=lately, best=best, above_since_s=since_s, at_s=now_s)


class Gate:
    """Lets pings in at a rate; what was not used before may be used at once, for a tenth of a second.

    `now_s` does not change within a turn of the loop, however many pings it brings.
    """

    __slots__ = ("_at_s", "_left", "_turn")

    def __init__(self) -> None:
        self._at_s = 0.0
        self._left = 0.0
        self._turn = 0

    def has_room(self, now_s: float, rate: float) -> bool:
        """Whether one more may come in."""
        if now_s != self._at_s:
            burst = rate * _BURST_S
            self._left = min(burst, self._left + rate * (now_s - self._at_s))
            self._at_s, self._turn = now_s, 0
        return self._left >= 1 and self._turn < _TURN_MAX

    def take(self) -> None:
        """One came in, perhaps without room."""
        self._left = max(0.0, self._left - 1)
        self._turn += 1
