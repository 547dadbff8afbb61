"""What a scrape each second costs auctions, with a thousand buyers who all have series.

One open loop at half of what the exchange can do, in alternating rounds: nobody scrapes, somebody
does. Every buyer is asked by some pings (each takes leads of one age), 25 by each.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any, Final

import aiohttp

from benchmarks import rig
from benchmarks.findings import Findings, Goal, Row, middle, ratio, row, shown
from benchmarks.market import BuyerSpec, Market, ping_bodies, quick
from benchmarks.pings import pinned, texts
from benchmarks.rig import Rig
from benchmarks.round import percentile
from benchmarks.sides import Side, all_complaints, all_notes, exchange_side, facts_of, hash_of

_AGES: Final = range(25, 65)
_UNCHANGED: Final = 1.1  # times the other p99, or …
_UNCHANGED_MS: Final = 1.0  # … so much more: less than that is what two equal runs differ by


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrapeSize:
    pin: bool = True
    buyers: int = 1000
    load: float = 0.5  # of capacity
    every_s: float = 1.0
    seconds: float = 10.0  # of each round
    rounds: int = 3
    warm_up: int = 1500
    connections: int = 16
    bodies: int = 2000


QUICK: Final = ScrapeSize(seconds=4, rounds=2, warm_up=600)


@dataclass(slots=True)
class Scrapes:
    """What was seen of them."""

    took_s: list[float] = field(default_factory=list)
    size: int = 0  # bytes, of the last
    lines: int = 0
    office_s: float = 0.0  # CPU


async def scrape(seed: int, size: ScrapeSize = ScrapeSize()) -> Findings:
    """One exchange, with a scrape each second and without, in turn."""
    bodies = texts(ping_bodies(size.bodies, seed))
    seen = Scrapes()
    async with AsyncExitStack() as stack:
        gun = await stack.enter_async_context(rig.gun(pin=size.pin))
        house = await stack.enter_async_context(rig.started(_market(size.buyers), pin=size.pin))
        side = exchange_side(house)
        closed = {"kind": "closed", "connections": size.connections, "bodies": bodies}
        await side.fire(gun, closed | {"count": size.warm_up})
        brief = closed | {"seconds": min(2.0, size.seconds)}
        side.told["capacity"] = [await side.fire(gun, brief)]
        per_s = (side.per_s("capacity") or 1.0) * size.load
        steady = {
            "kind": "open",
            "connections": 2000,
            "phases": [(per_s, size.seconds)],
            "bodies": bodies,
        }
        for number in range(size.rounds):
            order = steady | {"seed": seed + number}
            side.told.setdefault("quiet", []).append(await side.fire(gun, order))
            async with _scraped(house, size.every_s, seen):
                side.told.setdefault("scraped", []).append(await side.fire(gun, order))
    return Findings(
        scenario="scrape",
        about=f"{size.buyers} buyers, {size.load:g} × capacity, open loop, median of {size.rounds} × "
        f"{size.seconds:g} s with a scrape every {size.every_s:g} s and without; {pinned(size.pin)}",
        columns=("scraped", "not scraped", "ratio"),
        rows=(*_rows(side), *_scrape_rows(seen)),
        work=hash_of([body.encode() for body in bodies], size),
        complaints=(*all_complaints([side]), *_complaints(seen, size)),
        notes=all_notes([side]),
        facts={**facts_of([side]), "scrapes": len(seen.took_s), "bytes": seen.size},
        goals=(_goal(side),),
    )  # fmt: skip


def _market(count: int) -> Market:
    """Each takes leads of one age, and every age has as many."""
    ages = [_AGES[number % len(_AGES)] for number in range(count)]
    made: list[BuyerSpec] = [
        replace(one, min_age=age, max_age=age) for one, age in zip(quick(count), ages, strict=True)
    ]
    return Market(buyers=tuple(made), filtered=True)


@asynccontextmanager
async def _scraped(house: Rig, every_s: float, seen: Scrapes) -> AsyncIterator[None]:
    """Somebody scrapes from here on, at the pace of a clock."""
    before = house.cpu()
    task = asyncio.create_task(_scrape(f"{house.office_url}/metrics", every_s, seen))
    try:
        yield
    finally:
        while not (seen.took_s or task.done()):  # noqa: ASYNC110 - a short round, a slow machine
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        seen.office_s += (house.cpu() - before).office


async def _scrape(url: str, every_s: float, seen: Scrapes) -> None:
    async with aiohttp.ClientSession() as session:
        due_s = monotonic()
        while True:
            await asyncio.sleep(max(0.0, due_s - monotonic()))
            due_s += every_s
            began_s = monotonic()
            async with session.get(url) as response:
                raw = await response.read()
            seen.took_s.append(monotonic() - began_s)
            seen.size = len(raw)
            seen.lines = sum(not line.startswith(b"#") for line in raw.splitlines())


def _rows(side: Side) -> list[Row]:
    both = ("scraped", "quiet")
    return [
        *(
            row(f"{name}, ms", *(side.said(level, f"{name}_ms") for level in both))
            for name in ("p50", "p99", "max")
        ),
        row("CPU per ping, ms", *(side.cpu_ms(level) for level in both)),
        row("  of which worker", *(side.cpu_ms(level, "worker") for level in both)),
        row("  of which office", *(side.cpu_ms(level, "office") for level in both)),
        row("bids/s", *(side.per_s(level) for level in both)),
    ]


def _scrape_rows(seen: Scrapes) -> list[Row]:
    count = max(1, len(seen.took_s))
    return [
        ("a scrape: p50, ms", (_ms(middle(seen.took_s)), None, None)),
        ("a scrape: max, ms", (_ms(percentile(seen.took_s, 100)), None, None)),
        ("a scrape: CPU of the office, ms", (1000 * seen.office_s / count, None, None)),
        ("a scrape: lines", (seen.lines, None, None)),
    ]


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000


def _complaints(seen: Scrapes, size: ScrapeSize) -> list[str]:
    """The buyers must be in it, or nothing was measured."""
    return [f"only {seen.lines} lines"] if seen.lines < 2 * size.buyers else []


def _goal(side: Side) -> Goal:
    scraped, quiet = (side.said(level, "p99_ms") for level in ("scraped", "quiet"))
    found: Any = ratio(scraped, quiet)
    met = None
    if scraped is not None and quiet is not None:
        met = scraped <= max(_UNCHANGED * quiet, quiet + _UNCHANGED_MS)
    text = "auction p99 with a scrape each second, 1,000 buyers, of that without"
    target = f"≤ {_UNCHANGED:g}, or {_UNCHANGED_MS:g} ms"
    return Goal(text=text, target=target, figure=shown(found), met=met)
