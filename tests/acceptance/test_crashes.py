"""Workers killed at any moment, and at named ones: no sale is lost, none is made twice."""

import asyncio
import itertools
from collections.abc import Iterator

import pytest

from tests.acceptance.exchanges import Exchange, an_exchange, eventually
from tests.acceptance.markets import Answer, Market, Stand, a_market, bids, buys

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(150)]

AGAIN = {"idempotent": True, "post_timeout_ms": 1000, "status_url": "yes"}
POINTS = (
    "after_open", "before_intent", "after_intent", "before_send", "after_answer", "before_settle", "after_settle",
    "before_close", "after_close",
)  # fmt: skip


def usual_stands() -> list[Stand]:
    """Buyers who may be sent a lead again; one rejects now and then, one has a cap."""
    cap = [{"kind": "sales", "period": "day", "limit": 60}]
    return [
        bids("capped", "12.00", endpoint=AGAIN, caps=cap),
        bids("fussy", "10.00", endpoint=AGAIN, temper={"reject": 0.3}, buyer={"credit": "5000.00"}),
        bids("slow", "9.00", endpoint=AGAIN, temper={"post_delay_ms": (0, 60)}),
        buys("rest", endpoint=AGAIN),
    ]


async def trade(market: Market, sellers: int, stop: asyncio.Event, most: int) -> dict[str, Answer]:
    """Sellers who sell one lead after the other, each with its key, and retry until answered."""
    answered: dict[str, Answer] = {}
    numbers: Iterator[int] = itertools.count()

    async def one() -> None:
        while not stop.is_set() and (number := next(numbers)) < most:
            key = f"k{number}"
            answered[key] = await market.persevere(key, fields={**_FIELDS, "income": number})

    await asyncio.gather(*(one() for _ in range(sellers)))
    return answered


_FIELDS = {"zip": "90210", "first_name": "Ada", "phone": "+12025550143"}


async def settled(market: Market) -> None:
    """Wait until nothing is open any more; who is left is told."""
    try:
        await eventually(lambda: _nothing_open(market), 30)
    except AssertionError:
        rows = await market.db.fetch(_OPEN)
        raise AssertionError("\n".join(str(dict(row)) for row in rows)) from None


_OPEN = """
SELECT a.id, a.contract, a.state, a.tries, a.fence, a.owner, a.next_try_at - now() AS next, now() - a.created_at AS age,
       convert_from(a.detail, 'UTF8') AS detail, w.name AS alive, l.state AS lead, l.owner = a.owner AS same_owner
FROM attempt a JOIN lead l ON l.id = a.lead_id LEFT JOIN worker w ON w.id = a.owner
WHERE a.state IN ('intent', 'unconfirmed')"""


async def _nothing_open(market: Market) -> bool:
    return not await market.db.fetch(_OPEN)


async def check(market: Market, answered: dict[str, Answer]) -> int:
    """Every acknowledged answer is what the books say; returns how many leads were sold."""
    await settled(market)
    finals = {}
    for key, answer in answered.items():
        assert answer.status in {200, 202}, answer.raw
        finals[key] = answer if answer.status == 200 else await market.ended(answer["lead_id"])
    bought = await market.audit()
    sold = {one["lead_id"] for one in finals.values() if one["outcome"] == "sold"}
    leads = [one["lead_id"] for one in finals.values()]
    assert len(leads) == len(set(leads)), "two keys, one lead"
    assert sold == bought.keys()
    for key, answer in list(answered.items())[::7]:
        number = int(key[1:])
        again = await market.persevere(key, fields={**_FIELDS, "income": number})
        assert again["lead_id"] == answer["lead_id"]
        assert again["outcome"] == finals[key]["outcome"]
    return len(sold)


async def test_ten_kills_of_all_workers_lose_and_double_nothing() -> None:
    """Eight sellers trade and retry while every worker is killed ten times."""
    with an_exchange(workers=3) as exchange:
        async with a_market(exchange, *usual_stands()) as market:
            stop = asyncio.Event()
            trading = asyncio.create_task(trade(market, 8, stop, 10_000))
            for number in range(10):
                enough = _posts(market) + 8 + number % 3
                await eventually(lambda e=enough: _posts(market) >= e)  # type: ignore[misc]
                exchange.kill_workers()
            stop.set()
            answered = await trading
            sold = await check(market, answered)
            print(f"{len(answered)} leads, {sold} sold, {_posts(market)} posts")
            assert 60 == len(market.book("capped").accepted())
            assert sold > 60
            await _all_workers(exchange)
            assert 0 == (await exchange.command("verify")).returncode


def _posts(market: Market) -> int:
    return sum(len(market.book(stand.name).posts) for stand in market.stands)


async def _all_workers(exchange: Exchange) -> None:
    await eventually(lambda: len(exchange.children("exchange.app")) == exchange.workers)


@pytest.mark.parametrize("point", POINTS)
async def test_a_kill_at_a_named_point_harms_nothing(database: str, point: str) -> None:
    """Each worker dies at its fifth passage of the point; retries and recovery end every lead."""
    environment = {"EXCHANGE_FAILPOINT": f"{point}:5"}
    with an_exchange(workers=2, database=database, environment=environment) as exchange:
        async with a_market(exchange, *usual_stands()) as market:
            answered = await trade(market, 4, asyncio.Event(), 24)
            sold = await check(market, answered)
            assert sold == len(answered) == 24
            assert exchange.log().count("process ended") >= 2
