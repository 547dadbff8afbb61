"""Whether a worker grows: resident memory, descriptors and tasks while pings go through it."""

from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

import aiohttp

from benchmarks import cost, rig
from benchmarks.findings import Findings, Goal, Row, shown, slope
from benchmarks.market import Market, ping_bodies, quick
from benchmarks.pings import pinned, texts
from benchmarks.rig import Rig
from benchmarks.sides import all_complaints, all_notes, exchange_side, facts_of, hash_of

_TASKS: Final = "exchange_tasks"  # a gauge, if this build has it


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySize:
    pin: bool = True
    pings: int = 1_000_000
    each: int = 10_000  # pings between two looks
    warm_up: int = 100_000
    connections: int = 32
    others: int = 990
    bodies: int = 2000


QUICK: Final = MemorySize(pings=20_000, each=2000, warm_up=4000)


@dataclass(frozen=True, slots=True)
class _Look:
    pings: int  # answered so far
    rss_mb: float
    descriptors: int
    tasks: float | None  # None: the build does not tell


async def memory(seed: int, size: MemorySize = MemorySize()) -> Findings:
    """A closed loop, stopped for each look."""
    market = Market(buyers=tuple(quick(10)), others=size.others)
    bodies = ping_bodies(size.bodies, seed)
    order = {"kind": "closed", "connections": size.connections, "count": size.each,
             "bodies": texts(bodies)}  # fmt: skip
    looks: list[_Look] = []
    async with AsyncExitStack() as stack:
        gun = await stack.enter_async_context(rig.gun(pin=size.pin))
        house = await stack.enter_async_context(rig.started(market, pin=size.pin))
        side = exchange_side(house)
        for place in range(size.pings // size.each):
            told = await side.fire(gun, order | {"first": place * size.each})
            side.told.setdefault("all", []).append(told)
            answered = sum(said["answered"] for said in side.all_said())
            looks.append(
                _Look(answered, cost.rss_mb(house.worker), cost.descriptors(house.worker),
                      await _tasks(house))
            )  # fmt: skip
    after = [look for look in looks if look.pings > size.warm_up] or looks
    rise = 100_000 * slope([(look.pings, look.rss_mb) for look in after])[0]
    return Findings(
        scenario="memory",
        about=f"{looks[-1].pings} pings, looked at each {size.each}, from {size.warm_up} on; "
        f"{pinned(size.pin)}",
        columns=("begin", "end", "most"),
        rows=_rows(after, rise),
        work=hash_of(bodies, size),
        complaints=all_complaints([side]),
        notes=(*all_notes([side]), *_untold(after)),
        facts={
            **facts_of([side]),
            "looks": [[x.pings, x.rss_mb, x.descriptors, x.tasks] for x in looks],
        },
        goals=_goals(after, rise, size),
    )


async def _tasks(house: Rig) -> float | None:
    """From the office's scrape, at most a second old."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{house.office_url}/metrics") as response,
    ):
        lines = (await response.text()).splitlines()
    values = [line.rpartition(" ")[2] for line in lines if line.startswith(_TASKS)]
    return float(values[0]) if values else None


def _rows(looks: list[_Look], rise: float) -> tuple[Row, ...]:
    known = [look.tasks for look in looks if look.tasks is not None]
    rss = [look.rss_mb for look in looks]
    open_now = [float(look.descriptors) for look in looks]
    return (
        ("worker's memory, MB", (rss[0], rss[-1], max(rss))),
        ("MB per 100,000 pings", (None, rise, None)),
        ("descriptors", (open_now[0], open_now[-1], max(open_now))),
        ("tasks", (known[0], known[-1], max(known)) if known else (None, None, None)),
    )


def _untold(looks: list[_Look]) -> list[str]:
    return [] if looks[0].tasks is not None else [f"no series {_TASKS}: tasks were not counted"]


def _goals(looks: list[_Look], rise: float, size: MemorySize) -> tuple[Goal, ...]:
    first, last = looks[0], looks[-1]
    counts = f"{first.descriptors} to {last.descriptors}"
    tasks = None if first.tasks is None or last.tasks is None else last.tasks - first.tasks
    return (
        Goal(text=f"memory per 100,000 pings, {size.pings} pings", target="< 1 MB",
             figure=shown(rise, " MB"), met=rise < 1),
        Goal(text="descriptors flat", target="flat", figure=counts,
             met=last.descriptors - first.descriptors <= size.connections),
        Goal(text="tasks flat", target="flat", figure=shown(tasks, " more"),
             met=None if tasks is None else tasks <= size.connections),
    )  # fmt: skip
