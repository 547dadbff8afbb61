"""Keys and rates: who is let in, and how often."""

import asyncio

import pytest

from exchange.errors import Refusal
from exchange.http.access import spend_rate
from exchange.rates import Leases
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

    async def lease_rate(self, owner: int, rate: int, want: int) -> int:
        self.asked += 1
        await asyncio.sleep(0)
        granted = min(want, rate - self.used.get(self.second, 0))
        self.used[self.second] = self.used.get(self.second, 0) + granted
        return granted


async def spend(rates: Leases, who: Seller) -> bool:
    try:
        await spend_rate(rates, who)
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
