"""Postgres killed under load: refused for a while, then as before, and nothing that was said is lost."""

import asyncio
import os
import signal
import time
from collections.abc import Mapping

import aiohttp
import orjson
import pytest

from exchange.store.embedded import EmbeddedPostgres
from tests.acceptance.exchanges import an_exchange, eventually, kill
from tests.acceptance.markets import Answer, Market, a_market
from tests.acceptance.test_crashes import settled, trade, usual_stands

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(150)]


async def readiness(market: Market, url: str) -> int:
    try:
        async with market.session.get(
            f"{url}/readyz", timeout=aiohttp.ClientTimeout(3)
        ) as response:
            return response.status
    except (aiohttp.ClientError, TimeoutError):
        return 0


async def test_postgres_killed_twice_under_load() -> None:
    """503 with Retry-After, /readyz red, recovery by itself, every acknowledged sale in the books."""
    with an_exchange(workers=2) as exchange:
        async with a_market(exchange, *usual_stands()) as market:
            stop = asyncio.Event()
            trading = asyncio.create_task(trade(market, 8, stop, 10_000))
            for _ in range(2):
                before = len(market.book("capped").posts) + len(market.book("slow").posts)
                await eventually(
                    lambda b=before: (
                        len(market.book("capped").posts) + len(market.book("slow").posts) > b + 20
                    )  # type: ignore[misc]
                )
                pid = EmbeddedPostgres(exchange.data_dir)._server_pid()
                assert pid is not None
                kill(pid)
                began = time.monotonic()
                await eventually(
                    lambda p=pid: EmbeddedPostgres(exchange.data_dir)._server_pid() not in {None, p}
                )  # type: ignore[misc]

                await eventually(lambda: sells(market), 30)
                print(f"sold again {time.monotonic() - began:.1f} s after the kill")
            await eventually(lambda: _is(market, 200), 10)
            stop.set()
            answered = await trading
            await check_all(market, answered)


async def _is(market: Market, status: int) -> bool:
    urls = (market.exchange.url, market.exchange.office_url)
    return all([await readiness(market, url) == status for url in urls])


async def sells(market: Market) -> bool:
    try:
        return (await market.post()).status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


async def check_all(market: Market, answered: Mapping[str, Answer]) -> None:
    """Every acknowledged answer stands; leads in the books that no answer tells of may be there."""
    await settled(market)
    bought = await market.audit()
    for answer in answered.values():
        final = answer if answer.status == 200 else await market.ended(answer["lead_id"])
        assert (final["outcome"] == "sold") == (final["lead_id"] in bought)


async def test_while_the_database_is_away_nobody_is_asked() -> None:
    """503 with Retry-After at once, /readyz red on both listeners; green again by itself."""
    with an_exchange(workers=1) as exchange:
        async with a_market(exchange, *usual_stands()) as market:
            assert 200 == (await market.post(once="before")).status
            pinged = market.book("slow").pings
            # Stopped, the supervisor cannot start it again.
            os.kill(exchange.pid, signal.SIGSTOP)
            try:
                pid = EmbeddedPostgres(exchange.data_dir)._server_pid()
                assert pid is not None
                kill(pid)
                await eventually(lambda: _is(market, 503), 10)
                for answer in (
                    await market.post(once="k"),
                    await market.ping(),
                    await market.post(),
                ):
                    assert (503, "unavailable") == (answer.status, answer["code"])
                    assert 1 <= int(answer.headers["Retry-After"]) <= 10
                    assert "application/problem+json" == answer.headers["Content-Type"]
                for path in ("/v1/leads/lead_" + "0" * 32, "/v1/pings/ping_" + "0" * 32):
                    assert 503 == (await market.call("GET", path)).status
                assert 503 == (await market.call("GET", "/v1/spec", key="unknown")).status
                async with market.session.get(f"{exchange.url}/healthz") as response:
                    assert "ok" == orjson.loads(await response.read())["status"]
                assert pinged == market.book("slow").pings
            finally:
                os.kill(exchange.pid, signal.SIGCONT)
            await eventually(lambda: _is(market, 200), 20)
            began = time.monotonic()
            answer = await market.persevere("k")
            assert "sold" == answer["outcome"]
            print(f"the key was answered {time.monotonic() - began:.1f} s after recovery")
            assert 2 == len(await market.audit())
