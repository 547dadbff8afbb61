"""A real Prometheus over a loaded exchange: every picture, rule and alert gets data."""

import asyncio
import re
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from exchange import monitor
from exchange.metrics.boards.__main__ import BOARDS
from exchange.metrics.boards.grafana import expressions
from tests.acceptance.exchanges import Exchange, an_exchange, eventually
from tests.acceptance.markets import Market, a_market, bids, buys
from tests.monitoring.test_rules import ALERTS, RULES

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.skipif(
        shutil.which("prometheus") is None,
        reason="prometheus is not installed: apt-get install prometheus",
    ),
]
# Without a bug, or hundreds of calls at once to one buyer, there is nothing to see, and no alert either.
_ABSENT = {"exchange_faults_total", 'exchange_buyer_pings_total{reason="pool_full"}'}


class Prometheus:
    """What is asked over its API."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self._session = session

    async def get(self, path: str, **query: str) -> Any:
        async with self._session.get(f"{self.url}/api/v1/{path}", params=query) as response:
            found = orjson.loads(await response.read())
            assert "success" == found["status"], (query, found)
            return found["data"]

    async def ask(self, expr: str) -> list[Any]:
        return (await self.get("query", query=expr))["result"]  # type: ignore[no-any-return]

    async def lacking(self, questions: list[str]) -> list[str]:
        """Those without an answer."""
        return [one for one in questions if not await self.ask(one)]


@contextmanager
def _running(folder: Path, office: str) -> Iterator[str]:
    """Its URL; what it says goes to a file. It scrapes every second."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{free.getsockname()[1]}"
    command = monitor.prometheus(folder, office, listen=listen, every_s=1)
    assert command is not None
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
    try:
        yield f"http://{listen}"
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
async def prometheus(tmp_path: Path) -> AsyncIterator[tuple[Prometheus, Market]]:
    """Prometheus, over an exchange with a market that trades while somebody looks."""
    quickly = {
        "health_window_s": 1,
        "health_results_min": 3,
        "health_spread_min": 1,
        "health_cool_s": 60,
    }
    async with AsyncExitStack() as stack:
        exchange = stack.enter_context(an_exchange(workers=2, **quickly))
        url = stack.enter_context(_running(tmp_path, exchange.office_url.removeprefix("http://")))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        market = await stack.enter_async_context(_a_market(exchange))
        trading = asyncio.create_task(_trade(market))
        try:
            yield Prometheus(url, session), market
        finally:
            trading.cancel()
            await asyncio.wait([trading])


def _a_market(exchange: Exchange) -> Any:
    """Who buys, who is full, who rejects, who hangs, who is dead, who is too late."""
    caps = [
        {"kind": "sales", "period": "day", "limit": 1000}, {"kind": "spend", "period": "hour", "limit": "9000"},
        {"kind": "concurrent", "limit": 50},
    ]  # fmt: skip
    return a_market(
        exchange,
        bids("ann", "10.00", buyer={"credit": "100000.00"}, caps=caps),
        bids("rex", "12.00", temper={"reject": 0.5}),
        bids("doe", "11.00", at="http://127.0.0.1:9"),
        bids("eve", "30.00", temper={"delay_ms": [150, 200]}, endpoint={"ping_timeout_ms": 100}),
        bids("mud", "13.00", temper={"post_error": 0.3}),
        buys("rest"),
    )


async def _trade(market: Market) -> None:
    """For ever, a few at a time; some pings are refused, some leads are not sold."""
    while True:
        pinged = [market.ping() for _ in range(6)]
        posted = [market.post(), market.post(), market.post(min_price="20.00")]
        await asyncio.gather(*pinged, *posted, market.ping({"nonsense": 1}))


async def test_every_picture_rule_and_alert_gets_data(
    prometheus: tuple[Prometheus, Market],
) -> None:
    """What does not parse, or asks for what nobody tells, is an empty picture in the one hour that
    somebody looks at it."""
    asked, market = prometheus
    await eventually(lambda: _is_up(asked), 30)
    buyer = market.slug("ann")
    pictures = {
        f"{board.uid}: {expr}": _filled(expr, buyer)
        for board in BOARDS
        for expr in expressions(board)
    }
    recorded = re.findall(r"- record: (\S+)", RULES.read_text("utf-8"))
    selectors = sorted(_selectors(ALERTS.read_text("utf-8")) - _ABSENT)
    questions = [*pictures.values(), *recorded, *selectors]

    async def all_are_answered() -> bool:
        return not await asked.lacking(questions)

    try:
        await eventually(all_are_answered, 40)
    except AssertionError:
        lacking = set(await asked.lacking(questions))
        names = [name for name, expr in pictures.items() if expr in lacking]
        pytest.fail("\n".join([*names, *(lacking - set(pictures.values()))]))
    await _rules_are_well(asked)
    print(f"{len(pictures)} pictures, {len(recorded)} rules, {len(selectors)} selectors of alerts")


async def _is_up(asked: Prometheus) -> bool:
    try:
        found = await asked.ask('up{job="exchange"}')
    except (aiohttp.ClientError, orjson.JSONDecodeError):  # it begins: "Service Unavailable"
        return False
    return [one["value"][1] for one in found] == ["1"]


async def _rules_are_well(asked: Prometheus) -> None:
    """Prometheus itself has found no fault in evaluating any of them, and none fires that must not."""
    groups = (await asked.get("rules"))["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert 40 < len(rules)
    assert {"ok"} == {rule["health"] for rule in rules}, [
        one for one in rules if one["health"] != "ok"
    ]
    firing = {rule["name"] for rule in rules if rule.get("state") == "firing"}
    assert set() == firing & {"ExchangeInvariantBroken", "ExchangeNoWorker", "ExchangeOfficeDown"}


def _filled(expr: str, buyer: str) -> str:
    """With the variables that Grafana puts in."""
    one = expr.replace('="$buyer"', f'="{buyer}"').replace("$rate", "1m")
    return re.sub(r"\$(buyer|seller|vertical)", ".*", one)


def _selectors(text: str) -> set[str]:
    """What alerts look at: series with the labels they are chosen by."""
    without_words = re.sub(r"(summary|description): .*|runbook: \|\n(\s{12}.*\n)+", "", text)
    return set(
        re.findall(r"\b(?:exchange|vertical|currency|buyer)[_:][\w:]+(?:\{[^}]*\})?", without_words)
    )
