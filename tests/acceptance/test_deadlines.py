"""The window holds whatever buyers do, and each of them has his reason."""

import asyncio
import re
import time

import pytest

from tests.acceptance.conftest import OpenMarket
from tests.acceptance.exchanges import eventually
from tests.acceptance.hostile import hostile_buyers
from tests.acceptance.markets import bids, buys

pytestmark = pytest.mark.acceptance

SLOW = {"ping_timeout_ms": 5000}
HOSTILE = {
    "silent": "missed (timed_out)",
    "drip": "missed (timed_out)",
    "reset": "missed (connection_reset)",
    "flood": "missed (oversized)",
    "html": "missed (garbled)",
    "redirect": "missed (buyer_http_error)",
    "absurd": "invalid (bid_above_max)",
    "twice": "missed (garbled)",
}


async def test_a_silent_buyer_costs_the_window_and_not_more(open_market: OpenMarket) -> None:
    """500 ms: everybody else's bids are in the quote, which comes then."""
    async with hostile_buyers() as raw:
        market = await open_market(
            bids("silent", at=f"{raw.base_url}/silent", endpoint=SLOW),
            bids("just", "9.00", temper={"delay_ms": 350}, endpoint=SLOW),
            *(bids(f"b{number}", f"{number}.00") for number in range(1, 8)),
            tiers=[{"name": "auction", "mode": "auction", "window_ms": 500}],
        )
        took = []
        for _ in range(5):
            began = time.monotonic()
            quote = await market.ping(max_wait_ms=2000)
            took.append((time.monotonic() - began) * 1000)
            assert ("bid", "7.20") == (quote["outcome"], quote["price"])
    print("quotes after", *(f"{one:.0f}" for one in took), "ms of 500")
    assert min(took) >= 495
    assert sorted(took)[2] < 900
    said = await market.why(quote["ping_id"])
    assert 8 == len(re.findall(r"asked .* bid ", said))


async def test_a_ping_without_silence_is_answered_at_once(open_market: OpenMarket) -> None:
    """An auction closes when everyone asked has answered."""
    market = await open_market(*(bids(f"b{number}") for number in range(8)))
    began = time.monotonic()
    assert 200 == (await market.ping()).status
    took = (time.monotonic() - began) * 1000
    print(f"quote of eight quick buyers after {took:.0f} ms")
    assert took < 450


async def test_every_hostile_buyer_has_his_reason(open_market: OpenMarket) -> None:
    """Drip, reset, flood, HTML, redirect, 1e308: the others' bids and the timing are untouched."""
    async with hostile_buyers() as raw:
        market = await open_market(
            *(bids(name, at=f"{raw.base_url}/{name}", endpoint=SLOW) for name in HOSTILE),
            bids("honest", "4.00", temper={"delay_ms": 100}),
            bids("second", "3.00"),
            tiers=[{"name": "auction", "mode": "auction", "window_ms": 500}],
        )
        for _ in range(3):
            began = time.monotonic()
            quote = await market.ping(max_wait_ms=3000)
            took = (time.monotonic() - began) * 1000
            print(f"quote among hostile buyers after {took:.0f} ms of 500")
            assert took < 1200
            assert ("bid", "3.20") == (quote["outcome"], quote["price"])
            said = await market.why(quote["ping_id"])
            for name, reason in HOSTILE.items():
                line = next(text for text in said.splitlines() if f" {market.slug(name)} " in text)
                assert reason in line
        assert "trap/ping" not in raw.heard
        sold = await market.post(quote["ping_id"], {"first_name": "A", "phone": "+12025550143"})
        assert {sold["lead_id"]: "honest"} == await market.audit()
        assert {"sold"} == {
            one["outcome"] for one in await asyncio.gather(*(market.post() for _ in range(20)))
        }


async def test_a_bid_after_the_close_is_void_and_noted(open_market: OpenMarket) -> None:
    """Read for a grace time, kept beside the receipt, never used."""
    market = await open_market(
        bids("late", "50.00", temper={"delay_ms": 450}, endpoint={"ping_timeout_ms": 200}),
        bids("prompt", "5.00"),
    )
    quote = await market.ping()
    assert "4.00" == quote["price"]

    async def told() -> str | None:
        found = await market.why(quote["ping_id"])
        return found if "void" in found else None

    said = await eventually(told)
    assert re.search(rf"late +{market.slug('late')} +50.00, \d+ ms after the close: void", said)


@pytest.mark.parametrize(("asked_ms", "quote"), [(50, "no_bid"), (3000, "bid")])
async def test_the_sellers_own_time_bounds_the_auction(
    open_market: OpenMarket, asked_ms: int, quote: str
) -> None:
    """`max_wait_ms` is kept, also when it is the least allowed."""
    market = await open_market(bids("one", temper={"delay_ms": 200}), buys("rest"))
    began = time.monotonic()
    answer = await market.ping(max_wait_ms=asked_ms)
    took = (time.monotonic() - began) * 1000
    print(f"{quote} after {took:.0f} ms of {asked_ms}")
    assert (200, quote) == (answer.status, answer["outcome"])
    assert took < asked_ms + 300
    for wrong in (49, 120_001, 0, -1, 1.5, "100", True):
        assert 422 == (await market.ping(max_wait_ms=wrong)).status
