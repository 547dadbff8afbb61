"""What a further buyer costs: from 1 to 200 asked, beside the peer. A lead's age decides how many
contracts take it, so that nothing but that changes between levels.
"""

from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any, Final

from benchmarks import rig
from benchmarks.findings import Findings, Goal, fit, row, shown, slope
from benchmarks.market import BuyerSpec, Market, ping_bodies, quick
from benchmarks.pings import fewest_asked, pinned, texts
from benchmarks.sides import (
    Side,
    all_complaints,
    all_notes,
    exchange_side,
    facts_of,
    hash_of,
    peer_side,
)

_YOUNGEST: Final = 30
_APART: Final = 5  # years between the levels


@dataclass(frozen=True, slots=True, kw_only=True)
class FanoutSize:
    pin: bool = True
    asked: tuple[int, ...] = (1, 10, 50, 100, 200)
    contracts: int = 1000
    connections: int = 4
    seconds: float = 3.0
    rounds: int = 3
    bodies: int = 500


QUICK: Final = FanoutSize(asked=(1, 10, 50, 100), seconds=1, rounds=1, bodies=200)


async def fanout(seed: int, size: FanoutSize = FanoutSize()) -> Findings:
    """CPU per ping at each level, and its rise per buyer."""
    ages = [_YOUNGEST + _APART * place for place in range(len(size.asked))]
    others = size.contracts - max(size.asked)
    market = Market(buyers=_buyers(size.asked, ages), others=others, window_ms=900)
    complaints: list[str] = []
    work = []
    async with AsyncExitStack() as stack:
        gun = await stack.enter_async_context(rig.gun(pin=size.pin))
        house = await stack.enter_async_context(rig.started(market, pin=size.pin))
        peer = await stack.enter_async_context(rig.peer(market, house.homes, pin=size.pin))
        ours, theirs = exchange_side(house), peer_side(peer, house)
        for asked, age in zip(size.asked, ages, strict=True):
            bodies = ping_bodies(size.bodies, seed, age=age)
            work.append(hash_of(bodies, asked))
            order = {"kind": "closed", "connections": size.connections, "bodies": texts(bodies)}
            paths = {ours.name: "/v1/pings", theirs.name: f"/first/{asked}/v1/pings"}
            for number in range(-1, size.rounds):  # the first warms up
                for side in (ours, theirs) if number % 2 == 0 else (theirs, ours):
                    seconds = size.seconds if number >= 0 else min(0.5, size.seconds)
                    told = await side.fire(gun, order | {"seconds": seconds}, paths[side.name])
                    if number >= 0:
                        side.told.setdefault(f"{asked}", []).append(told)
            if (really := await fewest_asked(house, bodies[:3])) != asked:
                complaints.append(f"{really} were asked, not {asked}")
    return _findings(size, (ours, theirs), "-".join(work), tuple(complaints))


def _buyers(levels: tuple[int, ...], ages: list[int]) -> tuple[BuyerSpec, ...]:
    """Each takes leads from the age of the least level that it belongs to."""
    found: list[BuyerSpec] = []
    for level, age in zip(levels, ages, strict=True):
        more = quick(level - len(found), first=len(found))
        found += [replace(buyer, min_age=age) for buyer in more]
    return tuple(found)


def _findings(
    size: FanoutSize, sides: tuple[Side, Side], work: str, complaints: tuple[str, ...]
) -> Findings:
    lines = [
        [(float(asked), 1000 * (side.cpu_ms(f"{asked}") or 0)) for asked in size.asked]
        for side in sides
    ]
    rises = [slope(line)[0] for line in lines]
    straight = [fit(line) for line in lines]
    rows = [row(f"{asked} asked: CPU, ms", *(side.cpu_ms(f"{asked}") for side in sides))
            for asked in size.asked]  # fmt: skip
    rows += [row(f"{asked} asked: p99, ms", *(side.said(f"{asked}", "p99_ms") for side in sides))
             for asked in size.asked]  # fmt: skip
    rows.append(row("a further buyer, µs", *rises))
    rows.append(row("straight line, R²", *straight))
    facts: dict[str, Any] = facts_of(sides)
    return Findings(
        scenario="fanout",
        about=f"{size.asked} of {size.contracts} contracts eligible, {size.connections} "
        f"connections, median of {size.rounds} × {size.seconds:g} s; {pinned(size.pin)}",
        columns=("exchange", "bare aiohttp", "ratio"),
        rows=tuple(rows),
        work=work,
        complaints=(*all_complaints(sides), *complaints),
        notes=all_notes(sides),
        facts=facts,
        goals=(
            Goal(text="CPU of each further buyer", target="≤ 25 µs", figure=shown(rises[0], " µs"),
                 met=rises[0] <= 25),
            Goal(text="linear from 1 to 200 buyers, R²", target="≥ 0.99",
                 figure=shown(straight[0]), met=straight[0] >= 0.99),
        ),
    )  # fmt: skip
