"""What is asked of the exchange, and what the answers must add up to."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

from benchmarks import rig
from benchmarks.load import Tally, fire, percentile, poisson, work_hash
from benchmarks.rig import BuyerSpec, Market, Rig
from exchange.demo import samples


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much of a scenario."""

    pings: int
    rate_per_s: float
    rounds: int = 1
    warm_up: int = 0
    idle_s: float = 0.5  # how long it is watched doing nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a scenario found: rows for the table, everything for the results file."""

    scenario: str
    about: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[float | None, ...]], ...]
    work: str
    complaints: tuple[str, ...]  # counts that do not add up: a bug
    notes: tuple[str, ...]  # what was missed, refused or shed: a machine that was too busy
    facts: dict[str, Any] = field(default_factory=dict)


def ping_bodies(count: int, seed: int) -> list[bytes]:
    """Real places, people who cannot exist; no two alike."""
    source = samples(seed)
    leads = [source.lead("auto_insurance") for _ in range(count)]
    return [
        orjson.dumps({"vertical": lead.vertical, "sub_id": lead.sub_id, "fields": lead.ping_fields})
        for lead in leads
    ]


# --- 1: a silent buyer costs the window and no more -----------------------------------------------

QUOTE_DEADLINE = Size(pings=100, rate_per_s=5)
_FIVE = Market(
    buyers=(
        BuyerSpec(name="ann", price="9.00", temper="delay_ms = [0, 5]"),
        BuyerSpec(name="bob", price="10.00", temper="delay_ms = [5, 50]"),
        BuyerSpec(name="cyd", price="11.00", temper="delay_ms = [50, 200]"),
        BuyerSpec(name="dee", price="12.00", temper="delay_ms = [200, 400]"),
        BuyerSpec(name="eve", price="99.00", temper="ping_stall = 1.0"),
    )
)


async def quote_deadline(seed: int, size: Size = QUOTE_DEADLINE) -> Findings:
    """A 500 ms window, four buyers who bid in it and one who never answers."""
    arrivals = poisson(ping_bodies(size.pings, seed), rate_per_s=size.rate_per_s, seed=seed)
    async with rig.started(_FIVE) as house:
        tally = await fire(f"{house.url}/v1/pings", house.headers, arrivals)
        bids = await _bids_of(house, tally)
    window_ms = _FIVE.window_ms
    seen = [ms - window_ms for ms in tally.latencies_ms]
    told = [float(answer["elapsed_ms"]) - window_ms for answer in tally.answers]
    notes = _notes(tally, "exchange")
    if (fewer := tally.answered - bids.count(4)) > 0:
        notes.append(f"{fewer} quotes lack some of the other four bids: {sorted(set(bids))}")
    rows = [
        (f"{name}, ms", (percentile(seen, percent), percentile(told, percent)))
        for name, percent in (("p50", 50), ("p99", 99), ("max", 100))
    ]
    return Findings(
        scenario="quote_deadline",
        about=f"quote time minus the {window_ms} ms window, one silent buyer among five, "
        f"{tally.answered} pings, {size.rate_per_s:g} a second",
        columns=("seller's clock", "elapsed_ms"),
        rows=tuple(rows),
        work=work_hash(arrivals),
        complaints=tuple(_complaints(tally, "exchange")),
        notes=tuple(notes),
        facts={"generator_late_ms_p99": percentile(tally.sent_late_ms, 99)},
    )


async def _bids_of(house: Rig, tally: Tally) -> list[int]:
    """How many bids each quote was made of, as its seller may see it."""
    found = []
    async with aiohttp.ClientSession(headers=house.headers) as session:
        for answer in tally.answers:
            async with session.get(f"{house.url}/v1/pings/{answer['ping_id']}") as response:
                shown = orjson.loads(await response.read())
            found.append(shown["timeline"][-1]["bids"])
    return found


# --- 2: ten buyers who answer at once, beside a peer ----------------------------------------------

PINGS = Size(pings=600, rate_per_s=50, rounds=3, warm_up=200, idle_s=5)
_TEN = Market(buyers=tuple(BuyerSpec(name=f"b{n}", price=f"{10 + n}.00") for n in range(10)))


@dataclass(slots=True)
class _Side:
    """One of the two compared, over all rounds."""

    name: str
    url: str
    headers: dict[str, str]
    pid: int
    tally: Tally = field(default_factory=Tally)
    cpu_s: float = 0.0
    database_s: float = 0.0
    idle_ms: float = 0.0  # CPU a second without a ping: beats, refreshes

    @property
    def cpu_ms(self) -> float:
        return 1000 * self.cpu_s / max(1, self.tally.answered)


async def pings(seed: int, size: Size = PINGS) -> Findings:
    """One worker and the peer, in turn: the same asked by the same generator, the same buyers."""
    async with (
        rig.started(_TEN) as house,
        rig.peer(_TEN, house.buyers_url) as (peer_url, peer_pid),
    ):
        ours = _Side("exchange", house.url, house.headers, house.worker)
        theirs = _Side("bare aiohttp", peer_url, {}, peer_pid)
        work = await _rounds(seed, size, (ours, theirs), house.postmaster)
    return _compare(size, ours, theirs, work)


async def _rounds(seed: int, size: Size, sides: tuple[_Side, _Side], postmaster: int) -> str:
    hashes = []
    warm = poisson(ping_bodies(size.warm_up, seed), rate_per_s=size.rate_per_s, seed=seed)
    for side in sides:
        await fire(f"{side.url}/v1/pings", side.headers, warm)
    await _watch_idle(size.idle_s, sides)
    for number in range(size.rounds):
        bodies = ping_bodies(size.pings, seed + 1 + number)
        arrivals = poisson(bodies, rate_per_s=size.rate_per_s, seed=seed + 1 + number)
        hashes.append(work_hash(arrivals))
        for side in sides if number % 2 == 0 else reversed(sides):
            await asyncio.sleep(0.6)  # the calls of the other side have ended
            before_s, database_s = rig.cpu_s(side.pid), rig.family_cpu_s(postmaster)
            side.tally.add(await fire(f"{side.url}/v1/pings", side.headers, arrivals))
            side.cpu_s += rig.cpu_s(side.pid) - before_s
            side.database_s += rig.family_cpu_s(postmaster) - database_s
    return "-".join(hashes)


async def _watch_idle(idle_s: float, sides: tuple[_Side, _Side]) -> None:
    await asyncio.sleep(0.6)
    before_s = [rig.cpu_s(side.pid) for side in sides]
    await asyncio.sleep(idle_s)
    for side, cpu_s in zip(sides, before_s, strict=True):
        side.idle_ms = 1000 * (rig.cpu_s(side.pid) - cpu_s) / idle_s


def _compare(size: Size, ours: _Side, theirs: _Side, work: str) -> Findings:
    rows: list[tuple[str, tuple[float | None, ...]]] = [
        _row("answered", float(ours.tally.answered), float(theirs.tally.answered)),
        _row("pings/s", *(side.tally.answered / side.tally.took_s for side in (ours, theirs))),
    ]
    for percent in (50, 99):
        both = (percentile(side.tally.latencies_ms, percent) for side in (ours, theirs))
        rows.append(_row(f"p{percent}, ms", *both))
    rows.append(_row("CPU per ping, ms", ours.cpu_ms, theirs.cpu_ms))
    rows.append(("idle CPU, ms a second", (ours.idle_ms, theirs.idle_ms, None)))
    database_ms = 1000 * ours.database_s / max(1, ours.tally.answered)
    rows.append(("Postgres per ping, ms", (database_ms, None, None)))
    both_sides = [(ours.tally, ours.name), (theirs.tally, theirs.name)]
    return Findings(
        scenario="pings",
        about=f"10 buyers who answer at once, 1 worker, {size.rate_per_s:g} pings a second offered,"
        f" {size.rounds} × {size.pings} pings to each side in turn",
        columns=(ours.name, theirs.name, "ratio"),
        rows=tuple(rows),
        work=work,
        complaints=tuple(text for side in both_sides for text in _complaints(*side)),
        notes=tuple(text for side in both_sides for text in _notes(*side)),
        facts={
            "generator_late_ms_p99": percentile(
                ours.tally.sent_late_ms + theirs.tally.sent_late_ms, 99
            )
        },
    )


def _row(name: str, ours: float, theirs: float) -> tuple[str, tuple[float | None, ...]]:
    return name, (ours, theirs, ours / theirs if theirs else None)


def _complaints(tally: Tally, name: str) -> list[str]:
    found = []
    if not tally.adds_up:
        found.append(f"{name}: offered is not answered + failed + dropped")
    if tally.answered != len(tally.latencies_ms) or tally.answered != len(tally.answers):
        found.append(f"{name}: an answer was counted and not kept")
    if tally.outcomes.total() != tally.answered + tally.failed:
        found.append(f"{name}: the outcomes are not answered + failed")
    if len({answer["ping_id"] for answer in tally.answers}) != tally.answered:
        found.append(f"{name}: two pings have one id")
    return found


def _notes(tally: Tally, name: str) -> list[str]:
    bids = tally.outcomes["bid"]
    if bids == tally.offered:
        return []
    others = {outcome: count for outcome, count in tally.outcomes.items() if outcome != "bid"}
    return [f"{name}: {bids} of {tally.offered} were bid on; {tally.dropped} dropped, {others}"]


SCENARIOS = {"quote_deadline": quote_deadline, "pings": pings}
