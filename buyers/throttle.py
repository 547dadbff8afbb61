"""Graded throttling: an endpoint that fails often is asked less often, and always a little.

A moving failure score of 0 to 1; up to 0.2 nothing happens, above it the share of pings that are
skipped rises in a line to 0.9 at a score of 1: at least a tenth goes through, whatever happens, and
tells when the endpoint has recovered. Whether one ping is skipped is drawn by a hash of ping and
contract: the same ping is judged alike in a replay and in simulated time.

Prebid Server's health score weighs a result 1/1000, for thousands of requests a second. Leads are
fewer: 1/200 is quick enough to follow an endpoint that gets one ping a second within minutes, and at
a steady failure rate of 15 % the score is above 0.2 for one result in three hundred only.
"""

import hashlib
from dataclasses import dataclass
from typing import Final, NamedTuple

STARTS_AT: Final = 0.2  # scores up to this have no effect
SHARE_MAX: Final = 0.9  # at a score of 1
_DRAWS: Final = 1 << 53  # as many as a float tells apart


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How quickly the score follows; the same for every endpoint."""

    memory: int  # results: the newest weighs 1 in so many
    results_min: int  # with fewer results known the score has no effect


class Throttle(NamedTuple):
    """What one endpoint's results came to."""

    score: float = 0.0  # 0: all good, 1: all bad
    results: int = 0  # known so far; counted up to `memory`


def after_results(throttle: Throttle, pace: Pace, good: int, bad: int) -> Throttle:
    """So many good results, then so many bad ones. The first `memory` results weigh alike (the score
    is their plain mean), later ones 1/memory each."""
    for count, worth in ((good, 0.0), (bad, 1.0)):
        if count:
            throttle = _moved(throttle, pace, count, worth)
    return throttle


def share(throttle: Throttle, pace: Pace) -> float:
    """The share of pings to skip, 0 to 0.9."""
    if throttle.results < pace.results_min or throttle.score <= STARTS_AT:
        return 0.0
    return min(SHARE_MAX, (throttle.score - STARTS_AT) / (1 - STARTS_AT) * SHARE_MAX)


def draw(ping_id: str, contract: str) -> float:
    """A number of 0 to below 1 that ping and contract determine; skipped if it is below the share.

    Not the hash that settles ties: who loses ties must not be throttled more than others.
    """
    named = f"throttle|{ping_id}|{contract}".encode()
    found = int.from_bytes(hashlib.blake2b(named, digest_size=8).digest())
    return (found % _DRAWS) / _DRAWS


def _moved(throttle: Throttle, pace: Pace, count: int, worth: float) -> Throttle:
    score, known = throttle
    early = min(count, pace.memory - known)
    if early > 0:
        score = (score * known + worth * early) / (known + early)
        known, count = known + early, count - early
    keep = (1 - 1 / pace.memory) ** count
    return Throttle(min(1.0, max(0.0, score * keep + worth * (1 - keep))), known)
