"""Scrapes of real processes: nothing is lost at an orderly end, and who is removed is gone."""

import os
import signal
from collections.abc import Iterator

import pytest

from tests.acceptance.exchanges import Exchange, an_exchange, eventually
from tests.acceptance.markets import Market, a_market, bids, buys

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    with an_exchange(workers=1) as started:
        yield started


async def scrape(market: Market) -> dict[str, float]:
    async with market.session.get(f"{market.exchange.office_url}/metrics") as response:
        lines = (await response.text()).splitlines()
    samples = [line.rpartition(" ") for line in lines if not line.startswith("#")]
    return {name: float(value) for name, _, value in samples}


async def test_an_orderly_end_loses_no_count(exchange: Exchange) -> None:
    """What was gathered in a worker's last second is written before it ends, and its follower goes on."""
    async with a_market(exchange, bids("ann"), buys("rest")) as market:
        buyer, vertical = market.slug("ann"), market.vertical
        for _ in range(7):
            await market.ping()
        assert "sold" == (await market.post())["outcome"]
        (worker,) = exchange.children("exchange.app")
        os.kill(worker, signal.SIGTERM)
        await eventually(lambda: set(exchange.children("exchange.app")) - {worker})
        assert 200 == (await eventually(lambda: _pinged(market))).status

        async def counted() -> bool:
            found = await scrape(market)
            pings = found[f'exchange_pings_total{{vertical="{vertical}",outcome="bid",reason=""}}']
            won = found[f'exchange_buyer_pings_total{{buyer="{buyer}",result="bid",reason=""}}']
            sold = found[f'exchange_leads_total{{vertical="{vertical}",outcome="sold",reason="",tier="auction"}}']  # fmt: skip
            ended = found['exchange_lead_seconds_count{outcome="sold"}']
            return (9, 9, 1, 1) == (pings, won, sold, ended)

        await eventually(counted)


async def _pinged(market: Market) -> object:
    """The first answer of the follower."""
    try:
        return await market.ping()
    except OSError:
        return None


async def test_money_is_the_ledgers(exchange: Exchange) -> None:
    """To the micro, at once, without any worker counting it."""
    async with a_market(exchange, bids("ann", "12.34")) as market:
        for _ in range(3):
            assert "sold" == (await market.post())["outcome"]
        attempts = await market.attempts()
        labels = f'{{vertical="{market.vertical}",currency="USD"}}'
        revenue = sum(one["price"] for one in attempts)
        payout = sum(one["payout"] for one in attempts)

        async def told() -> bool:
            found = await scrape(market)
            return (3, revenue, payout, revenue - payout) == tuple(
                found.get(f"exchange_{name}_total{labels}")
                for name in ("sales", "revenue_micros", "payout_micros", "margin_micros")
            )

        await eventually(told)


async def test_a_removed_buyer_takes_its_series_along(exchange: Exchange) -> None:
    """From the very next scrape; the others stay."""
    async with a_market(exchange, bids("ann"), bids("bob", "9.00")) as market:
        await market.ping()
        ann, bob = market.slug("ann"), market.slug("bob")

        async def both() -> bool:
            text = "".join(await scrape(market))
            return f'"{ann}"' in text and f'"{bob}"' in text

        await eventually(both)
        for kind, slug in (("contract", ann), ("buyer", ann)):
            await market.db.execute(
                "UPDATE document SET deleted = true WHERE kind = $1 AND slug = $2", kind, slug
            )

        async def one() -> bool:
            text = "".join(await scrape(market))
            return f'"{ann}"' not in text and f'"{bob}"' in text

        await eventually(one)
