"""What is asked of the exchange, and what the answers must add up to."""

from dataclasses import dataclass

import aiohttp
import orjson

from benchmarks import rig
from benchmarks.findings import Findings
from benchmarks.load import Tally, fire, percentile, poisson, work_hash
from benchmarks.market import BuyerSpec, Market, ping_bodies
from benchmarks.rig import Rig


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much of a scenario."""

    pings: int
    rate_per_s: float


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
