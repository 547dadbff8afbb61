"""Workers killed at any moment, and at named ones: no sale is lost, none is made twice.

`make crash KILLS=50` is the long form.
"""

import asyncio
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.acceptance.exchanges import Exchange, an_exchange, eventually
from tests.acceptance.markets import Answer, Market, Stand, a_market, bids, buys

KILLS = int(os.environ.get("KILLS", "4"))
_LEADS = 100  # about as many are posted at least: more than the cap takes

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240 + 10 * KILLS)]

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


@dataclass(frozen=True)
class Mine:
    """A file that tells a worker which starts where it will die."""

    file: Path

    def lay(self, point: str) -> None:
        """Each worker that starts from now on dies at its fifth passage; "": it lives."""
        self.file.write_text(f"{point}:5" if point else "")


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Mine:
    found = Mine(tmp_path_factory.mktemp("crashes") / "point")
    found.lay("")
    return found


@pytest.fixture(scope="module")
def exchange(mine: Mine) -> Iterator[Exchange]:
    with an_exchange(workers=2, environment={"EXCHANGE_FAILPOINT": f"@{mine.file}"}) as started:
        yield started


async def test_kills_of_all_workers_lose_and_double_nothing(exchange: Exchange) -> None:
    """Eight sellers trade and retry while every worker is killed time and again."""
    async with a_market(exchange, *usual_stands()) as market:
        stop = asyncio.Event()
        trading = asyncio.create_task(trade(market, 8, stop, 10_000))
        for number in range(KILLS):
            enough = _posts(market) + max(8, _LEADS // KILLS) + number % 3
            await eventually(lambda e=enough: _posts(market) >= e, 30)  # type: ignore[misc]
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


async def test_a_kill_at_a_named_point_harms_nothing(exchange: Exchange, mine: Mine) -> None:
    """Each worker dies at its fifth passage of the point; retries and recovery end every lead. Who
    follows it will die at the next point."""
    mine.lay(POINTS[0])
    exchange.kill_workers()
    for name, following in itertools.pairwise((*POINTS, "")):
        async with a_market(exchange, *usual_stands()) as market:
            doomed = exchange.children("exchange.app")
            mine.lay(following)
            stop = asyncio.Event()
            trading = asyncio.create_task(trade(market, 4, stop, 10_000))
            await eventually(lambda pids=doomed: not any(map(_is_there, pids)), 30)  # type: ignore[misc]
            stop.set()
            answered = await trading
            assert 2 == len(doomed), name
            assert 0 < len(answered) == await check(market, answered), name


def _is_there(pid: int) -> bool:
    """Cheaper than `runs`; nobody else has the number within a test."""
    return Path(f"/proc/{pid}").exists()
