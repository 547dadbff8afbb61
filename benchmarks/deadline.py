"""Five honest buyers beside a hung, a dripping, a resetting, a redirecting one and one that sends
20 MB: how late the answer is after the window, and whether an honest bid was lost.

The bad ones live in another process than the honest ones. A breaker would take them out of the
auction soon; so it is off, and on in a column of its own. Every ping lasts as long as the window, so
that sellers who begin at one instant stay in step for ever: they begin spread over a window, and all
at once in a column of its own.
"""

from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks import rig
from benchmarks.findings import Findings, Goal, Row, shown
from benchmarks.load import percentile
from benchmarks.market import BuyerSpec, Market, ping_bodies, quick
from benchmarks.pings import pinned, texts, timelines
from benchmarks.rig import Gun, Rig
from benchmarks.sides import (
    Side,
    all_complaints,
    all_notes,
    exchange_side,
    facts_of,
    hash_of,
    peer_side,
)

_BAD: Final = ("hang", "drip", "reset", "huge", "redirect")
_HONEST: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlineSize:
    pin: bool = True
    connections: int = 64
    seconds: float = 6.0  # of each round
    rounds: int = 2
    breakers: tuple[str, ...] = ("off", "on")
    others: int = 990
    window_ms: int = 500
    bodies: int = 1000
    receipts_max: int = 1000  # looked at for honest bids, of each round


QUICK: Final = DeadlineSize(seconds=3, rounds=1, receipts_max=300)


@dataclass(slots=True)
class _Late:
    """Of one side: milliseconds from the window's end to the answer, and bids that are missing."""

    side: Side
    house: Rig | None  # None: the peer
    seen: list[float] = field(default_factory=list)  # by the seller's clock
    told: list[float] = field(default_factory=list)  # by the answer's elapsed_ms
    looked: int = 0
    lost: int = 0


async def deadline(seed: int, size: DeadlineSize = DeadlineSize()) -> Findings:
    """The exchange without and with its breakers, and the peer."""
    bad = [BuyerSpec(name=name, price="99.00", manner=name, apart=True) for name in _BAD]
    market = Market(
        buyers=(*quick(_HONEST), *bad), others=size.others, window_ms=size.window_ms
    )  # fmt: skip
    bodies = ping_bodies(size.bodies, seed)
    order = {"kind": "closed", "connections": size.connections, "seconds": size.seconds,
             "ramp_s": size.window_ms / 1000, "keep": True, "bodies": texts(bodies)}  # fmt: skip
    found: list[_Late] = []
    async with rig.gun(pin=size.pin) as gun:
        for breaker in size.breakers:
            async with AsyncExitStack() as stack:
                environment = {"EXCHANGE_HEALTH_BREAKER": breaker}
                start = rig.started(market, pin=size.pin, environment=environment)
                house = await stack.enter_async_context(start)
                if breaker == "on":
                    found.append(_Late(exchange_side(house, "breakers on"), house))
                    await _measure(gun, found[-1:], order, size)
                    break
                peer = await stack.enter_async_context(rig.peer(market, house.homes, pin=size.pin))
                found += [_Late(exchange_side(house), house), _Late(peer_side(peer, house), None)]
                await _measure(gun, found, order, size)
                found.append(_Late(exchange_side(house, "all at once"), house))
                await _measure(gun, found[-1:], order | {"ramp_s": 0}, size)
    return _findings(size, found, hash_of(bodies, size))


async def _measure(gun: Gun, sides: list[_Late], order: dict[str, Any], size: DeadlineSize) -> None:
    """Each in turn; of the exchange's pings the receipts tell the bids, of the peer's its answers."""
    for late in sides:
        await late.side.fire(gun, order | {"seconds": size.window_ms / 1000})  # dials, first calls
    for number in range(size.rounds):
        for late in sides if number % 2 == 0 else sides[::-1]:
            told = await late.side.fire(gun, order)
            late.side.told.setdefault("all", []).append(told)
            late.seen += [ms - size.window_ms for ms in told.said["took_ms"]]
            late.told += [float(ms) - size.window_ms for ms in told.said["elapsed_ms"]]
            bids = told.said["bids"]
            if late.house is not None:
                ids = told.said["ids"][: size.receipts_max]
                bids = [timeline[-1]["bids"] for timeline in await timelines(late.house, ids)]
            late.looked += len(bids)
            late.lost += sum(max(0, _HONEST - count) for count in bids)


def _findings(size: DeadlineSize, found: list[_Late], work: str) -> Findings:
    sides = [late.side for late in found]
    rows: list[Row] = [
        (f"{clock}: {name}, ms", tuple(percentile(getattr(one, of), percent) for one in found))
        for clock, of in (("seller's clock", "seen"), ("elapsed_ms", "told"))
        for name, percent in (("p50", 50), ("p99", 99), ("max", 100))
    ]
    rows.append(("pings/s", tuple(side.per_s("all") for side in sides)))
    rows.append(("CPU per ping, ms", tuple(side.cpu_ms("all") for side in sides)))
    rows.append(("honest bids looked for", tuple(float(_HONEST * one.looked) for one in found)))
    rows.append(("honest bids lost", tuple(float(one.lost) for one in found)))
    p99, lost = percentile(found[0].seen, 99), found[0].lost
    return Findings(
        scenario="deadline",
        about=f"answer minus the {size.window_ms} ms window, 5 honest of 10 buyers, "
        f"{size.connections} connections, {size.rounds} × {size.seconds:g} s; {pinned(size.pin)}",
        columns=tuple(side.name for side in sides),
        rows=tuple(rows),
        work=work,
        complaints=all_complaints(sides),
        notes=all_notes(sides),
        facts=facts_of(sides),
        goals=(
            Goal(text="p99 of answer − deadline with five bad buyers, 64 connections",
                 target="≤ 10 ms", figure=shown(p99, " ms"), met=p99 <= 10),
            Goal(text="honest bids lost", target="0", figure=f"{lost}", met=lost == 0),
        ),
    )  # fmt: skip
