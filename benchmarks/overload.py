"""Four times as much as it can do: what still gets a bid, how quickly the rest is refused, and how
soon it is as before.

Capacity is measured first, closed loop. Then one open loop: a calm, the flood, a calm again; its
arrivals wait for nobody. Then capacity once more: a machine's speed moves, and the flood is compared
with what there was on either side of it. Good is a ping that got a bid.
"""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Final

from benchmarks import rig
from benchmarks.findings import Findings, Goal, Row, shown
from benchmarks.market import Market, ping_bodies, quick
from benchmarks.pings import pinned, texts
from benchmarks.sides import all_complaints, exchange_side, facts_of, hash_of

_CALM: Final = 0.5  # of capacity
_NORMAL: Final = 2.0  # times the calm's p99, or …
_NORMAL_MS: Final = 25.0  # … so much more, whichever is larger
_BID_SHARE: Final = 0.99  # of the offered, at least
_FAST_MS: Final = 250.0  # a refusal, at p99


@dataclass(frozen=True, slots=True, kw_only=True)
class OverloadSize:
    pin: bool = True
    times: float = 4.0
    calm_s: float = 10.0
    flood_s: float = 60.0
    after_s: float = 20.0
    capacity_s: float = 6.0
    connections: int = 32  # of the closed loop
    connections_max: int = 8000  # of the open one
    others: int = 990
    bodies: int = 2000


QUICK: Final = OverloadSize(calm_s=3, flood_s=8, after_s=8, capacity_s=2)


async def overload(seed: int, size: OverloadSize = OverloadSize()) -> Findings:
    """One exchange; nothing to compare with but itself at its best."""
    market = Market(buyers=tuple(quick(10)), others=size.others)
    bodies = ping_bodies(size.bodies, seed)
    async with AsyncExitStack() as stack:
        gun = await stack.enter_async_context(rig.gun(pin=size.pin))
        house = await stack.enter_async_context(rig.started(market, pin=size.pin))
        side = exchange_side(house)
        closed = {"kind": "closed", "connections": size.connections, "bodies": texts(bodies)}
        await side.fire(gun, closed | {"seconds": min(1.0, size.capacity_s)})
        side.told["capacity"] = [await side.fire(gun, closed | {"seconds": size.capacity_s})]
        capacity = side.per_s("capacity") or 1.0
        phases = [(capacity * _CALM, size.calm_s), (capacity * size.times, size.flood_s),
                  (capacity * _CALM, size.after_s)]  # fmt: skip
        flood = {"kind": "open", "connections": size.connections_max, "phases": phases,
                 "seed": seed, "bodies": texts(bodies)}  # fmt: skip
        side.told["flood"] = [await side.fire(gun, flood)]
        side.told["capacity"].append(await side.fire(gun, closed | {"seconds": size.capacity_s}))
    said = side.told["flood"][0].said
    again_s = _normal_after_s(said, size)
    capacities = [told.per_s for told in side.told["capacity"]]
    return Findings(
        scenario="overload",
        about=f"{size.times:g} × capacity for {size.flood_s:g} s, open loop, before and after it "
        f"{_CALM:g} ×; {pinned(size.pin)}",
        columns=("calm", "flood", "after"),
        rows=_rows(said, capacities, again_s),
        work=hash_of(bodies, size),
        complaints=all_complaints([side]),
        notes=tuple(_notes(said)),
        facts={**facts_of([side]), "outcomes": said["outcomes"], "sent late, p99 ms":
               said["late_p99_ms"], "connections opened": said["opened"], "slices": said["slices"]},
        goals=_goals(said, fmean(capacities), again_s),
    )  # fmt: skip


def _rows(
    said: Mapping[str, Any], capacities: Sequence[float], again_s: float | None
) -> tuple[Row, ...]:
    phases, capacity = said["phases"], fmean(capacities)

    def each(of: str, per: float = 1.0) -> tuple[float | None, ...]:
        return tuple(None if one[of] is None else one[of] / per for one in phases)

    return (
        ("capacity, bids/s", (capacities[0], capacity, capacities[-1])),
        ("offered/s, meant", each("rate")),
        ("offered/s, really", tuple(one["offered"] / one["seconds"] for one in phases)),
        ("bids/s", tuple(one["good"] / one["seconds"] for one in phases)),
        ("bids of capacity", tuple(one["good"] / one["seconds"] / capacity for one in phases)),
        ("refused of offered", tuple(_share(one, "refused") for one in phases)),
        ("neither of offered", tuple(_share(one, "other") for one in phases)),
        ("not sent of offered", tuple(_share(one, "dropped") for one in phases)),
        ("bids: p50, ms", each("p50_ms")),
        ("bids: p99, ms", each("p99_ms")),
        ("refusals: p50, ms", each("refused_p50_ms")),
        ("refusals: p99, ms", each("refused_p99_ms")),
        ("normal again after, s", (None, None, again_s)),
    )


def _share(phase: Mapping[str, Any], of: str) -> float:
    return float(phase[of]) / max(1, int(phase["offered"]))


def _normal_after_s(said: Mapping[str, Any], size: OverloadSize) -> float | None:
    """Seconds from the flood's end to the end of the last second that was not as the calm: its p99
    too long, or more than one ping in a hundred without a bid. None: it never was again."""
    calm_ms = said["phases"][0]["p99_ms"]
    if calm_ms is None:
        return None
    most_ms = max(_NORMAL * calm_ms, calm_ms + _NORMAL_MS)
    ended_s = size.calm_s + size.flood_s
    slices = [one for one in said["slices"] if one[0] >= ended_s and one[1]]
    bad = [
        at
        for at, offered, good, p99 in slices
        if good < _BID_SHARE * offered or p99 is None or p99 > most_ms
    ]
    if not slices or (bad and bad[-1] == slices[-1][0]):
        return None
    return bad[-1] + said["slice_s"] - ended_s if bad else 0.0


def _notes(said: Mapping[str, Any]) -> list[str]:
    notes = []
    if said["dropped"]:
        notes.append(f"{said['dropped']} arrivals found no free connection and were not sent")
    if (said["late_p99_ms"] or 0) > 20:
        notes.append(f"the generator was late itself: p99 {said['late_p99_ms']:.0f} ms")
    return notes


def _goals(said: Mapping[str, Any], capacity: float, again_s: float | None) -> tuple[Goal, ...]:
    flood = said["phases"][1]
    goodput = flood["good"] / flood["seconds"] / capacity
    fast = flood["refused_p99_ms"]
    return (
        Goal(text="goodput in the flood, of capacity", target="≥ 0.9", figure=shown(goodput),
             met=goodput >= 0.9),
        Goal(text="p99 of refusals in the flood", target=f"≤ {_FAST_MS:g} ms", figure=shown(fast, " ms"),
             met=None if fast is None else fast <= _FAST_MS),
        Goal(text="normal again after", target="≤ 5 s", figure=shown(again_s, " s"),
             met=again_s is not None and again_s <= 5),
    )  # fmt: skip
