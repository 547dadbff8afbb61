"""One absolute deadline per request, only ever narrowed."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deadline:
    """An instant on the loop's monotonic clock, in seconds, by which the seller is answered."""

    at_s: float

    @classmethod
    def after(cls, now_s: float, window_ms: float) -> "Deadline":
        return cls(now_s + window_ms / 1000)

    def left_ms(self, now_s: float) -> float:
        """Milliseconds left; never below zero."""
        return max(0.0, (self.at_s - now_s) * 1000)

    def less(self, tail_ms: float) -> "Deadline":
        """The same with `tail_ms` kept back for the answer."""
        return Deadline(self.at_s - tail_ms / 1000)

    def narrowed(self, now_s: float, window_ms: float) -> "Deadline":
        """The earlier of this and a window from now: a deadline never widens."""
        return Deadline(min(self.at_s, now_s + window_ms / 1000))
