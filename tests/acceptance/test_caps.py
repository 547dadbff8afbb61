"""Caps under load from all sides: never one lead more than ordered."""

import asyncio
from collections import Counter
from dataclasses import replace
from decimal import Decimal

import aiohttp
import pytest

from tests.acceptance.conftest import OpenMarket
from tests.acceptance.markets import PATIENT, PERSON, WAITED_FOR, bids, buys

pytestmark = pytest.mark.acceptance


async def test_a_daily_cap_of_fifty_takes_fifty_of_four_hundred(open_market: OpenMarket) -> None:
    """Three workers, 400 leads at once: 50 in the buyer's own inbox, and the sums agree."""
    cap = [{"kind": "sales", "period": "day", "limit": 50}]
    market = await open_market(
        bids("capped", "10.00", caps=cap, endpoint=WAITED_FOR), tiers=PATIENT
    )
    answers = await asyncio.gather(*(market.post(max_wait_ms=30_000) for _ in range(400)))
    assert {200} == {one.status for one in answers}
    outcomes = Counter(one["outcome"] for one in answers)
    assert Counter(sold=50, unsold=350) == outcomes
    bought = await market.audit()
    assert 50 == len(market.book("capped").accepted()) == len(market.book("capped").posts)
    assert set(bought) == {one["lead_id"] for one in answers if one["outcome"] == "sold"}
    told = sum(Decimal(one["price"]) for one in answers if one["outcome"] == "sold")
    assert told == Decimal("8.00") * 50
    assert "no_eligible_buyers" == (await market.post())["reason"]
    assert "cap_sales" in await market.why((await market.post())["lead_id"])


async def test_what_a_full_buyer_leaves_goes_to_the_next(open_market: OpenMarket) -> None:
    """Spend, credit and concurrent caps hold alike; every lead is sold to somebody."""
    market = await open_market(
        bids(
            "spender",
            "10.00",
            caps=[{"kind": "spend", "period": "month", "limit": "95"}],
            endpoint=WAITED_FOR,
        ),
        bids("prepaid", "9.00", buyer={"credit": "63.00"}, endpoint=WAITED_FOR),
        bids(
            "narrow",
            "8.00",
            caps=[{"kind": "concurrent", "limit": 2}],
            temper={"post_delay_ms": 50},
            endpoint=WAITED_FOR,
        ),
        buys("rest", "1.00"),
        tiers=PATIENT,
    )
    quotes = [await market.ping() for _ in range(60)]
    answers = await asyncio.gather(*(market.post(one["ping_id"], PERSON) for one in quotes))
    assert {"sold"} == {one["outcome"] for one in answers}
    found = Counter((await market.audit()).values())
    assert (9, 7) == (found["spender"], found["prepaid"])
    assert 60 == found.total()
    assert 2 <= found["narrow"] < 44


async def test_a_rejected_lead_gives_its_unit_back(open_market: OpenMarket) -> None:
    """A cap of one is not used up by what was refused: the very next lead may have it, of the same
    worker; the others hear of it a moment later."""
    opened = await open_market(
        bids("one", caps=[{"kind": "sales", "period": "total", "limit": 1}], temper={"reject": 1.0})
    )
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as one_worker:
        market = replace(opened, session=one_worker)
        assert ["rejected_by_all"] * 3 == [(await market.post())["reason"] for _ in range(3)]
        market.change("one", reject=0.0)
        outcomes = [(await market.post())["outcome"] for _ in range(4)]
    assert ["sold", "unsold", "unsold", "unsold"] == outcomes
    assert 1 == len(await market.audit())
