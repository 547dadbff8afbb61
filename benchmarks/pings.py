"""What a ping costs, beside the peer: ten buyers that answer at once, and after 5 ms."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import orjson

from benchmarks import cost, rig
from benchmarks.findings import Findings, Goal, Row, ratio, row, shown
from benchmarks.market import Market, ping_bodies, quick
from benchmarks.rig import Gun, Rig
from benchmarks.sides import (
    Side,
    all_complaints,
    all_notes,
    alternate,
    exchange_side,
    facts_of,
    hash_of,
    peer_side,
)

OTHERS: Final = 990
_PARTS: Final = ("worker", "postgres", "office")


@dataclass(frozen=True, slots=True, kw_only=True)
class PingsSize:
    pin: bool = True
    connections: tuple[int, ...] = (1, 8, 16, 32, 64)
    manners: tuple[str, ...] = ("now", "after-5")
    seconds: float = 4.0  # of each round
    rounds: int = 3
    warm_up: int = 1000
    others: int = OTHERS
    bodies: int = 2000
    idle_s: float = 5.0


QUICK: Final = PingsSize(connections=(16,), manners=("now",), seconds=1.5, idle_s=1, bodies=500)


async def pings(seed: int, size: PingsSize = PingsSize()) -> Findings:
    """One worker and the peer in turn, closed loops of several widths."""
    bodies = ping_bodies(size.bodies, seed)
    pairs: dict[str, tuple[Side, Side]] = {}
    facts: dict[str, Any] = {}
    async with rig.gun(pin=size.pin) as gun:
        for manner in size.manners:
            pairs[manner], told = await _one_manner(gun, manner, bodies, size)
            facts |= {f"{manner}: {name}": value for name, value in told.items()}
    sides = [side for pair in pairs.values() for side in pair]
    wrong = [f"{name}: {value}, not 10" for name, value in facts.items() if _is_wrong(name, value)]
    return Findings(
        scenario="pings",
        about=f"10 of {10 + size.others} contracts eligible, 1 worker, closed loop, median of "
        f"{size.rounds} × {size.seconds:g} s; {pinned(size.pin)}",
        columns=("exchange", "bare aiohttp", "ratio"),
        rows=tuple(one for manner, pair in pairs.items() for one in _rows(manner, size, *pair)),
        work=hash_of(bodies, size),
        complaints=(*all_complaints(sides), *wrong),
        notes=all_notes(sides),
        facts=facts,
        goals=tuple(goal for manner, pair in pairs.items() for goal in _goals(manner, size, *pair)),
    )


async def _one_manner(
    gun: Gun, manner: str, bodies: list[bytes], size: PingsSize
) -> tuple[tuple[Side, Side], dict[str, Any]]:
    market = Market(buyers=tuple(quick(10, manner)), others=size.others)
    async with AsyncExitStack() as stack:
        house = await stack.enter_async_context(rig.started(market, pin=size.pin))
        peer = await stack.enter_async_context(rig.peer(market, house.homes, pin=size.pin))
        sides = (exchange_side(house), peer_side(peer, house))
        order = {"kind": "closed", "bodies": texts(bodies)}
        for side in sides:
            await side.fire(gun, order | {"connections": 16, "count": size.warm_up})
        facts: dict[str, Any] = await idle(sides, size.idle_s)
        for width in size.connections:
            round_ = order | {"connections": width, "seconds": size.seconds}
            await alternate(gun, sides, f"{width}", round_, rounds=size.rounds)
        facts["contracts asked"] = await fewest_asked(house, bodies[:5])
    return sides, facts | facts_of(sides)


def _is_wrong(name: str, value: object) -> bool:
    return name.endswith("contracts asked") and value != 10


def _rows(manner: str, size: PingsSize, ours: Side, theirs: Side) -> list[Row]:
    rows: list[Row] = []
    both = (ours, theirs)
    for width in size.connections:
        level = f"{width}"
        rows.append(row(f"{manner}, {width} conn.: CPU, ms", *(x.cpu_ms(level) for x in both)))
        rows += [(f"  of which {part}", (ours.cpu_ms(level, part), None, None)) for part in _PARTS]
        rows.append(row("  pings/s", *(x.per_s(level) for x in both)))
        rows.append(row("  p50, ms", *(x.said(level, "p50_ms") for x in both)))
        rows.append(row("  p99, ms", *(x.said(level, "p99_ms") for x in both)))
    return rows


def _goals(manner: str, size: PingsSize, ours: Side, theirs: Side) -> list[Goal]:
    found, both = [], (ours, theirs)
    if 16 in size.connections:
        cpu = ratio(*(side.cpu_ms("16") for side in both))
        text = f"CPU per ping of the peer's, 10 buyers ({manner}), 16 connections"
        met = cpu is not None and cpu <= 0.5
        found.append(Goal(text=text, target="≤ 0.5", figure=shown(cpu), met=met))
    if 32 in size.connections:
        per_s = ratio(*(side.per_s("32") for side in both))
        text = f"throughput of the peer's at 32 connections ({manner})"
        met = per_s is not None and per_s >= 2
        found.append(Goal(text=text, target="≥ 2", figure=shown(per_s), met=met))
    tails = [ratio(*(s.said(f"{width}", "p99_ms") for s in both)) for width in size.connections]
    widths = " ".join(map(str, size.connections))
    text = f"p99 of the peer's at {widths} connections ({manner})"
    met = all(tail is not None and tail < 1 for tail in tails)
    figure = " ".join(shown(tail) for tail in tails)
    return [*found, Goal(text=text, target="each < 1", figure=figure, met=met)]


def texts(bodies: Sequence[bytes]) -> list[str]:
    return [body.decode() for body in bodies]


def pinned(pin: bool) -> str:
    if not (pin and cost.can_pin()):
        return "not pinned to cores"
    return "exchange and Postgres on one core, buyers and load on the other"


async def idle(sides: Sequence[Side], idle_s: float) -> dict[str, float]:
    """CPU in ms a second of each side when nobody asks: beats, refreshes. Charged to nobody."""
    await asyncio.sleep(0.6)
    before = [side.cpu() for side in sides]
    await asyncio.sleep(idle_s)
    return {
        f"idle CPU of {side.name}, ms a second": 1000 * (side.cpu() - then).whole / idle_s
        for side, then in zip(sides, before, strict=True)
    }


async def fewest_asked(house: Rig, bodies: Sequence[bytes]) -> int:
    """The fewest contracts that one of these pings was put to, as its seller may see it."""
    ids = []
    async with aiohttp.ClientSession(headers=house.headers) as session:
        for body in bodies:
            async with session.post(f"{house.url}/v1/pings", data=body) as response:
                ids.append(orjson.loads(await response.read())["ping_id"])
    return min(int(timeline[1]["buyers"]) for timeline in await timelines(house, ids))


async def timelines(house: Rig, ids: Sequence[str]) -> list[list[dict[str, Any]]]:
    """What became of each of these pings, out of its receipt."""
    found = []
    async with aiohttp.ClientSession(headers=house.headers) as session:
        for ping_id in ids:
            async with session.get(f"{house.url}/v1/pings/{ping_id}") as response:
                found.append(orjson.loads(await response.read())["timeline"])
    return found
