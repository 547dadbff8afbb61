"""Keys and rates: who is let in, and how often."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, cast

import pytest

from exchange.errors import Refusal
from exchange.house import House
from exchange.http.access import KeyRing, spend_rate
from exchange.rates import Leases
from exchange.sealing import Vault
from exchange.sellers import Seller


def seller(rate_per_s: int) -> Seller:
    return Seller(
        id=1, slug="lead-mill", name="Lead Mill", verticals=frozenset(), margin=None,
        rate_per_s=rate_per_s, active=True,
    )  # fmt: skip


class Shared:
    """One count for all workers, as the database keeps it; it answers after a turn of the loop."""

    def __init__(self) -> None:
        self.used: dict[int, int] = {}
        self.second = 0
        self.asked = 0

    async def lease_pings(self, contract: int, want: int) -> tuple[int, float]:
        raise AssertionError("nobody pings here")

    async def lease_rate(self, owner: int, rate: int, want: int, second: int) -> int:
        self.asked += 1
        await asyncio.sleep(0)
        granted = min(want, rate - self.used.get(second, 0))
        self.used[second] = self.used.get(second, 0) + granted
        return granted


@dataclass
class Door:
    """What the door needs of a house; here nothing takes too long."""

    leases: Leases

    async def within(self, work: Coroutine[Any, Any, bool], _timeout_s: float, _name: str) -> bool:
        return await work


async def spend(rates: Leases, who: Seller) -> bool:
    try:
        await spend_rate(cast("House", Door(rates)), who)
    except Refusal as refusal:
        return (refusal.status, refusal.retry_after_s) != (429, 1)  # anything else is no answer
    return True


@pytest.mark.parametrize("rate_per_s", [1, 3, 10, 25, 1000])
async def test_a_burst_gets_exactly_the_rate(rate_per_s: int) -> None:
    """Requests that arrive together share one lease: none is refused while units are left."""
    shared = Shared()
    workers = [Leases(shared, lambda: float(shared.second)) for _ in range(3)]
    who = seller(rate_per_s)

    passed = await asyncio.gather(*(spend(workers[n % 3], who) for n in range(rate_per_s * 2 + 30)))

    assert sum(passed) <= rate_per_s
    # What one worker has leased, another cannot spend: at most a lease each is stranded.
    assert sum(passed) >= rate_per_s - 3 * max(1, rate_per_s // 10)


async def test_one_worker_strands_nothing() -> None:
    """Alone, the whole rate is spent, and asked for in few leases."""
    shared = Shared()
    rates = Leases(shared, lambda: float(shared.second))

    passed = await asyncio.gather(*(spend(rates, seller(100)) for _ in range(300)))

    assert sum(passed) == 100
    assert shared.asked <= 12


async def test_the_next_second_brings_new_units() -> None:
    """A refusal holds for its second only."""
    shared = Shared()
    rates = Leases(shared, lambda: float(shared.second))
    who = seller(1)

    assert [await spend(rates, who), await spend(rates, who)] == [True, False]
    shared.second += 1
    assert await spend(rates, who)


async def test_no_ping_waits_for_a_lease_that_was_fetched_ahead() -> None:
    """More of this second before it is used up, and of the next before it begins; none too many."""
    shared, clock, tasks = Shared(), [50.0], set()
    leases = Leases(
        shared, lambda: clock[0], lambda work, _: tasks.add(asyncio.ensure_future(work))
    )
    who = seller(100)
    assert await leases.take_rate(who.id, who.rate_per_s)

    async def passed(at_s: float, requests: int) -> list[bool | None]:
        clock[0], found = at_s, []
        for _ in range(requests):
            found.append(leases.rate_at_hand(who.id, who.rate_per_s))
            if tasks:
                await asyncio.wait(tasks)
        return found

    assert [True] * 60 == await passed(50.1, 60)
    assert [True] * 30 == await passed(50.8, 30)
    assert [True] * 99 + [True, False, False] == await passed(51.0, 102)
    assert {50: 100, 51: 100} == shared.used
    assert [None] == await passed(52.0, 1)  # in the last quarter of that second nobody asked


async def test_after_a_pause_it_is_fetched_ahead_again() -> None:
    """What was leased for a second that nobody used is forgotten, and stands in nothing's way."""
    shared, clock, tasks = Shared(), [50.8], set()
    leases = Leases(
        shared, lambda: clock[0], lambda work, _: tasks.add(asyncio.ensure_future(work))
    )
    assert await leases.take_rate(1, 100)
    assert leases.rate_at_hand(1, 100)
    await asyncio.wait(tasks)
    clock[0] = 55.8
    assert leases.rate_at_hand(1, 100) is None
    assert await leases.take_rate(1, 100)
    assert leases.rate_at_hand(1, 100)
    await asyncio.wait(tasks)
    clock[0] = 56.0

    assert leases.rate_at_hand(1, 100)


async def test_a_key_that_no_key_can_be_is_unknown() -> None:
    """Bytes that are no ASCII come as lone surrogates: they are no fault of ours."""
    ring = KeyRing(cast("Any", None), Vault(b"k" * 32, bytes))
    for given in ("Bearer \udcff", "Bearer ü", "Bearer ", "Basic abc", ""):
        with pytest.raises(Refusal) as refused:
            await ring.holder(given)
        assert 401 == refused.value.status


async def test_of_a_small_rate_nothing_is_fetched_ahead() -> None:
    """What one worker held back for the next second, another could not spend."""
    shared, clock, tasks = Shared(), [50.8], set()
    leases = Leases(
        shared, lambda: clock[0], lambda work, _: tasks.add(asyncio.ensure_future(work))
    )

    assert await leases.take_rate(1, 99)
    assert [True] * 8 == [leases.rate_at_hand(1, 99) for _ in range(8)]
    assert leases.rate_at_hand(1, 99) is None
    assert (set(), 1) == (tasks, shared.asked)


async def test_hundreds_who_wait_for_one_lease_go_on_together() -> None:
    """Not one after the other, a turn of the loop each: under load a turn is long."""
    leases = Leases(Shared(), lambda: 50.0)
    asked = asyncio.gather(*(leases.take_rate(1, 10_000) for _ in range(300)))
    turns = 0
    while not asked.done():
        await asyncio.sleep(0)
        turns += 1

    assert all(await asked)
    assert turns < 15
