"""The exchange and the peer, asked the same in turn by the same generator, and what each round cost."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final
from urllib.parse import urlsplit

from benchmarks import cost
from benchmarks.findings import middle
from benchmarks.rig import Cpu, Gun, Peer, Rig

_BETWEEN_S: Final = 0.6  # the calls of the other side have ended, late ones too
_SETTLE_S: Final = 0.2  # what a round leaves to be done belongs to it


@dataclass(frozen=True, slots=True)
class Told:
    """One round: what the generator said and what the server used."""

    said: Mapping[str, Any]
    cpu: Cpu
    took_s: float
    core_s: float  # that its core was used by anybody
    crew_s: float  # CPU of the buyers

    @property
    def others(self) -> float:
        """The share of their core that buyers and load generator needed."""
        return (self.crew_s + float(self.said["cpu_s"])) / self.took_s

    @property
    def foreign(self) -> float:
        """The share of its core that was used by somebody else: the rest of the machine."""
        return max(0.0, self.core_s - self.cpu.whole) / self.took_s

    @property
    def cpu_ms(self) -> float:
        """Per answer, everything of this side."""
        return self.part_ms("whole")

    def part_ms(self, part: str) -> float:
        """Per answer, of the worker, the office, Postgres, or the whole."""
        spent_s: float = getattr(self.cpu, part)
        return 1000 * spent_s / max(1, int(self.said["answered"]))

    @property
    def per_s(self) -> float:
        """Good answers."""
        took_s: float = self.said["took_s"]
        return int(self.said["good"]) / took_s if took_s else 0.0


@dataclass(slots=True)
class Side:
    """One that is asked."""

    name: str
    url: str
    headers: Mapping[str, str]
    cpu: Callable[[], Cpu]
    crew_s: Callable[[], float]
    extra: Mapping[str, Any] = field(default_factory=dict)  # of every order to this side
    told: dict[str, list[Told]] = field(default_factory=dict)  # by level

    def order(self, path: str = "/v1/pings") -> dict[str, Any]:
        parts = urlsplit(self.url)
        return {"host": parts.hostname, "port": parts.port, "head": self.head(path)}

    def head(self, path: str) -> str:
        lines = {
            "Host": urlsplit(self.url).netloc,
            "Content-Type": "application/json",
            **self.headers,
        }
        return f"POST {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items())

    async def fire(self, gun: Gun, order: Mapping[str, Any], path: str = "/v1/pings") -> Told:
        """One round and what it cost."""
        before, crew_s = self.cpu(), self.crew_s()
        core_s, began_s = cost.core_s(cost.EXCHANGE_CORE), monotonic()
        said = await gun.fire({**self.order(path), **self.extra, **order})
        await asyncio.sleep(_SETTLE_S)
        used, took_s = self.cpu() - before, monotonic() - began_s
        core_s = cost.core_s(cost.EXCHANGE_CORE) - core_s
        return Told(said, used, took_s, core_s, self.crew_s() - crew_s)

    def middle(self, level: str, of: Callable[[Told], float | None]) -> float | None:
        """The median over the rounds of a level."""
        return middle([of(told) for told in self.told.get(level, [])])

    def said(self, level: str, name: str) -> float | None:
        return self.middle(level, lambda told: told.said[name])

    def cpu_ms(self, level: str, part: str = "whole") -> float | None:
        return self.middle(level, lambda told: told.part_ms(part))

    def per_s(self, level: str) -> float | None:
        return self.middle(level, lambda told: told.per_s)

    def all_said(self) -> list[Mapping[str, Any]]:
        return [told.said for rounds in self.told.values() for told in rounds]


def exchange_side(rig: Rig, name: str = "exchange") -> Side:
    return Side(name, rig.url, rig.headers, rig.cpu, rig.crew_s)


def peer_side(peer: Peer, rig: Rig, name: str = "bare aiohttp") -> Side:
    def cpu() -> Cpu:
        used = cost.family_cpu_s(peer.pid)
        return Cpu(used, 0.0, 0.0, used)

    return Side(name, peer.url, {}, cpu, rig.crew_s)


async def alternate(
    gun: Gun,
    sides: Sequence[Side],
    level: str,
    order: Mapping[str, Any],
    *,
    rounds: int,
    path: str = "/v1/pings",
) -> None:
    """Each round asks every side, the next in the other order."""
    for number in range(rounds):
        for side in sides if number % 2 == 0 else tuple(reversed(sides)):
            await asyncio.sleep(_BETWEEN_S)
            told = await side.fire(gun, {**order, "first": number * 997}, path)
            side.told.setdefault(level, []).append(told)


def facts_of(sides: Sequence[Side]) -> dict[str, Any]:
    """What shows whether a round can be believed: the rest of the machine, and the generator."""
    rounds = [told for side in sides for found in side.told.values() for told in found]
    asked = sum(told.said["answered"] + told.said["failed"] for told in rounds)
    facts: dict[str, Any] = {
        f"core used by somebody else, {side.name}": middle(
            [told.foreign for found in side.told.values() for told in found]
        )
        for side in sides
    }
    facts["buyers and load, of their core, most"] = max(
        (told.others for told in rounds), default=None
    )
    spent_s = sum(told.said["cpu_s"] for told in rounds)
    return facts | {"load generator's CPU per request, ms": 1000 * spent_s / max(1, asked)}


def all_complaints(sides: Sequence[Side]) -> tuple[str, ...]:
    return tuple(text for side in sides for said in side.all_said()
                 for text in complaints(said, side.name))  # fmt: skip


def all_notes(sides: Sequence[Side], wanted: str = "bid") -> tuple[str, ...]:
    """What was not as wanted, of all rounds of a side: no bid, refused, not sent."""
    found = []
    for side in sides:
        outcomes: Counter[str] = Counter()
        offered = dropped = 0
        for said in side.all_said():
            outcomes.update(said["outcomes"])
            offered += said["offered"]
            dropped += said["dropped"]
        others = {outcome: count for outcome, count in outcomes.items() if outcome != wanted}
        if others or dropped:
            found.append(f"{side.name}: {offered} offered, {others}, {dropped} not sent")
    return tuple(found)


def hash_of(bodies: Sequence[bytes], *facts: object) -> str:
    """The same work has the same hash, on any machine."""
    digest = hashlib.sha256(repr(facts).encode())
    for body in bodies:
        digest.update(body)
    return digest.hexdigest()[:16]


def complaints(said: Mapping[str, Any], name: str) -> list[str]:
    """What does not add up in a round."""
    found = []
    if said["offered"] != said["answered"] + said["failed"] + said["dropped"]:
        found.append(f"{name}: offered is not answered + failed + dropped")
    if sum(said["outcomes"].values()) != said["answered"] + said["failed"]:
        found.append(f"{name}: the outcomes are not answered + failed")
    if said["twins"]:
        found.append(f"{name}: {said['twins']} pings have another's id")
    return found
