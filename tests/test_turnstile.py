"""A few pings begin in each turn of the loop: in their order, and none for whom it is too late."""

import asyncio
import math

from exchange.http.access import KeyRing
from exchange.http.sellers import SellerDesk
from exchange.http.turnstile import EACH_TURN, Turnstile
from exchange.http.valve import Valve
from tests.simulation.world import Keys, _Netted
from tests.test_sale import Floor, Row, bids, trade
from tests.virtual import pass_ms, run


class Street:
    """Pings that want to begin, and what else the loop has to do, by the turn."""

    def __init__(self) -> None:
        self.turnstile = Turnstile()
        self.turn_no = 0
        self.begun: list[tuple[int, int]] = []  # (number of the ping, turn)
        self._counter = asyncio.get_running_loop().call_soon(self._count)

    def _count(self) -> None:
        self.turn_no += 1
        self._counter = asyncio.get_running_loop().call_soon(self._count)

    def close(self) -> None:
        self._counter.cancel()

    def come(self, first: int, count: int) -> list[asyncio.Task[None]]:
        return [asyncio.create_task(self._ping(first + place)) for place in range(count)]

    async def _ping(self, number: int) -> None:
        await self.turnstile.turn(asyncio.get_running_loop().time())
        self.begun.append((number, self.turn_no))

    def by_turn(self) -> list[int]:
        """How many began in each turn in which any did."""
        turns = [turn for _, turn in self.begun]
        return [turns.count(turn) for turn in sorted(set(turns))]


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_what_comes_at_once_begins_a_few_a_turn_and_in_order() -> None:
    """And who comes while others wait is behind them."""

    async def story() -> None:
        street = Street()
        tasks = street.come(0, 3 * EACH_TURN + 5)
        await turns(2)
        assert 0 < len(street.begun) < len(tasks)
        tasks += street.come(1000, 4)
        await asyncio.wait(tasks)
        street.close()

        numbers = [number for number, _ in street.begun]
        assert numbers == [*range(3 * EACH_TURN + 5), *range(1000, 1004)]
        assert street.by_turn() == [EACH_TURN, EACH_TURN, EACH_TURN, 9]

    run(story())


def test_a_few_never_wait() -> None:
    """Turn after turn, each as many as may begin in one."""

    async def story() -> None:
        street = Street()
        for number in range(5):
            await asyncio.wait(street.come(number, EACH_TURN))
        street.close()

        assert street.by_turn() == [EACH_TURN] * 5

    run(story())


def test_who_gives_up_waiting_takes_nobodys_place() -> None:
    async def story() -> None:
        street = Street()
        tasks = street.come(0, 3 * EACH_TURN)
        await turns(1)
        for task in tasks[EACH_TURN : 2 * EACH_TURN]:
            task.cancel()
        await asyncio.wait(tasks)
        street.close()

        assert street.by_turn() == [EACH_TURN, EACH_TURN]
        assert street.begun[-1][0] == 3 * EACH_TURN - 1

    run(story())


def test_it_tells_how_long_the_first_has_waited() -> None:
    turnstile = Turnstile()

    async def story() -> None:
        assert turnstile.waits_s(50.0) == 0
        tasks = [asyncio.create_task(turnstile.turn(7.0)) for _ in range(EACH_TURN + 1)]
        await turns(1)
        assert turnstile.waits_s(7.5) == 0.5
        await asyncio.wait(tasks)
        assert turnstile.waits_s(50.0) == 0

    run(story())


def test_the_valve_sees_who_waits_for_his_turn() -> None:
    """Nothing waits to be written, and in virtual time the loop itself is never late."""

    class Crowded(Turnstile):
        def waits_s(self, now_s: float) -> float:
            del now_s
            return 1.0

    async def story() -> None:
        for turnstile, sees in (Turnstile(), False), (Crowded(), True):
            valve = Valve(0.025, lambda: 0.0)
            valve.turnstile = turnstile
            valve.let_in()
            await pass_ms(30)
            assert sees is (valve.pressure.rate < math.inf)
        await pass_ms(5000)

    run(story())


def desk(floor: Floor, waits_ms: float) -> None:
    """The floor's sellers, each of whose pings must wait so long for its turn."""

    class Slow(Turnstile):
        async def turn(self, now_s: float) -> None:
            del now_s
            await pass_ms(waits_ms)

    house, valve = floor.house, Valve(0, lambda: 0.0)
    valve.turnstile = Slow()
    floor.answers = _Netted(SellerDesk(house, KeyRing(Keys(house.vault), house.vault), valve))


def test_the_wait_for_a_turn_is_the_sellers_time() -> None:
    """Of 1,000 ms 700 are gone, and 20 are for the answer: the slow bid is out."""

    async def story(floor: Floor) -> None:
        desk(floor, 700)
        quote = await floor.ping(max_wait_ms=1000)

        assert (quote["price"], quote["at_ms"], quote["elapsed_ms"]) == ("4.00", 980, 980)

    trade(story, Row("ann", bids("9", 290)), Row("bob", bids("4", 30)))


def test_no_buyer_is_asked_when_the_time_is_over() -> None:
    async def story(floor: Floor) -> None:
        desk(floor, 985)
        refused = await floor.ping(max_wait_ms=1000)

        assert (refused["status"], refused["code"]) == (503, "unavailable")
        assert floor.transport.calls == {}

    trade(story, Row("ann", bids("9")))
