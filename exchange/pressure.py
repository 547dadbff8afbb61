"""How many pings to refuse when more come than can be served: by delay, not by count.

What is served late is served for nothing: buyers' bids miss their window and sellers hang up. So
the share refused follows the delay that every ping meets, as in PIE (RFC 8033): it grows with the
delay's distance from a target and with its rise, and settles where the delay stays at the target.
A limit by count cannot: how many auctions are too many depends on how fast the buyers are.
"""

from dataclasses import dataclass
from typing import Final

LOOK_EVERY_S: Final = 0.02
_BY_DISTANCE: Final = 1.0  # share per second of delay above the target, at each look
_BY_RISE: Final = 4.0  # share per second that the delay grew since the last look
_DECAY: Final = 0.95  # of the share, at each look without any delay
_MOST: Final = 0.98  # something is always let through, or nobody would see that it is over


@dataclass(frozen=True, slots=True)
class Pressure:
    """What one worker's last look found."""

    share: float = 0.0  # of the pings to refuse, 0 to 0.98
    delay_s: float = 0.0


def after_look(before: Pressure, delay_s: float, target_s: float) -> Pressure:
    """The share to refuse until the next look, `LOOK_EVERY_S` later."""
    by_distance = _BY_DISTANCE * (delay_s - target_s)
    change = by_distance + _BY_RISE * (delay_s - before.delay_s)
    # Far from full load the same change would be too much: RFC 8033 scales it with the share.
    scale = 1.0 if before.share >= 0.1 else 0.25 if before.share >= 0.01 else 0.125
    share = before.share + change * scale
    if delay_s < target_s / 2 and before.delay_s < target_s / 2:
        share = min(share, before.share * _DECAY)
    return Pressure(share=min(_MOST, max(0.0, share)), delay_s=delay_s)
