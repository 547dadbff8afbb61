"""An open-loop load: arrivals follow a seeded Poisson process and never wait for an answer.

Latency counts from the *scheduled* arrival, so that a stall is charged to every request it
delays, not only to the one that met it.
"""

import asyncio
import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import aiohttp
import orjson

_ANSWER_S = 10.0  # an answer that takes longer counts as none


@dataclass(frozen=True, slots=True)
class Arrival:
    at_s: float  # from the start of the round
    body: bytes


@dataclass(slots=True)
class Tally:
    """What came of a round; offered = answered + failed + dropped."""

    offered: int = 0
    answered: int = 0  # 200 with a JSON object
    failed: int = 0  # another status, or none
    dropped: int = 0  # not sent: too many were under way
    took_s: float = 0.0  # from the first scheduled arrival to the last answer
    latencies_ms: list[float] = field(default_factory=list)
    sent_late_ms: list[float] = field(default_factory=list)  # the generator's own lateness
    outcomes: Counter[str] = field(default_factory=Counter)
    answers: list[dict[str, Any]] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        self.offered += other.offered
        self.answered += other.answered
        self.failed += other.failed
        self.dropped += other.dropped
        self.took_s += other.took_s
        self.latencies_ms += other.latencies_ms
        self.sent_late_ms += other.sent_late_ms
        self.outcomes += other.outcomes
        self.answers += other.answers

    @property
    def adds_up(self) -> bool:
        return self.offered == self.answered + self.failed + self.dropped


def poisson(bodies: Sequence[bytes], *, rate_per_s: float, seed: int) -> list[Arrival]:
    """One arrival for each body, `rate_per_s` on average."""
    rng = Random(seed)
    at_s = 0.0
    arrivals = []
    for body in bodies:
        at_s += rng.expovariate(rate_per_s)
        arrivals.append(Arrival(at_s, body))
    return arrivals


def work_hash(arrivals: Sequence[Arrival]) -> str:
    """The same work has the same hash, on any machine."""
    digest = hashlib.sha256()
    for arrival in arrivals:
        digest.update(b"%.6f " % arrival.at_s + arrival.body)
    return digest.hexdigest()[:16]


async def fire(
    url: str, headers: Mapping[str, str], arrivals: Sequence[Arrival], *, under_way_max: int = 2000
) -> Tally:
    """Send each arrival at its time, whatever became of those before it."""
    tally = Tally(offered=len(arrivals))
    under_way: set[asyncio.Task[None]] = set()
    loop = asyncio.get_running_loop()
    timeout = aiohttp.ClientTimeout(total=_ANSWER_S)
    connector = aiohttp.TCPConnector(limit=0)
    sent_headers = {**headers, "Content-Type": "application/json"}
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, headers=sent_headers
    ) as session:
        start_s = loop.time() + 0.05
        for arrival in arrivals:
            due_s = start_s + arrival.at_s
            if (left_s := due_s - loop.time()) > 0:
                await asyncio.sleep(left_s)
            if len(under_way) >= under_way_max:
                tally.dropped += 1
                continue
            task = asyncio.create_task(_one(session, url, arrival.body, due_s, tally))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        if under_way:
            await asyncio.wait(under_way)
        tally.took_s = loop.time() - start_s
    return tally


async def _one(
    session: aiohttp.ClientSession, url: str, body: bytes, due_s: float, tally: Tally
) -> None:
    loop = asyncio.get_running_loop()
    tally.sent_late_ms.append((loop.time() - due_s) * 1000)
    try:
        async with session.post(url, data=body) as response:
            answer = orjson.loads(await response.read())
            status = response.status
    except (aiohttp.ClientError, TimeoutError, ValueError):
        tally.failed += 1
        tally.outcomes["no answer"] += 1
        return
    if status != 200:
        tally.failed += 1
        tally.outcomes[f"{status} {answer.get('code', '')}"] += 1
        return
    tally.latencies_ms.append((loop.time() - due_s) * 1000)
    tally.answered += 1
    tally.outcomes[answer["outcome"]] += 1
    tally.answers.append(answer)


def percentile(values: Sequence[float], percent: float) -> float:
    """By nearest rank; NaN of nothing."""
    if not values:
        return math.nan
    place = math.ceil(len(values) * percent / 100)
    return sorted(values)[max(0, place - 1)]
