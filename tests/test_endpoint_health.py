"""Endpoints that fail: left alone, tried again, told to other workers, shown, and nobody else's loss.

Auctions run in simulated time on the real handlers; what workers tell each other goes through a real
Postgres; the bulkhead is tried with real sockets.
"""

import asyncio
import math
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from buyers.contract import Contract
from buyers.health import Standing
from buyers.messages import Accepted, Bid, Missed, NotSent, PingResult, Unconfirmed
from buyers.reasons import BuyerReason
from buyers.throttle import Throttle
from buyers.wire import Failure, Reply, WireLimits, render_request
from exchange.hearsay import ROWS_MAX, Hearsay
from exchange.house import House
from exchange.ids import read_id
from exchange.metrics import Metrics
from exchange.observe import Silent
from exchange.plan import Tier, TierMode
from exchange.receipt import dump, read
from exchange.recovery import beat, one_round
from exchange.settings import HealthSettings, PingSettings, Settings
from exchange.store.database import Database
from exchange.store.health import HealthRow, HealthRows
from exchange.store.memory import MemoryStore
from exchange.vigil import Call, Vigil
from tests.making import a_contract, an_endpoint, fixed
from tests.offices import Offices, open_offices
from tests.test_sale import REFUSED, SILENT, Floor, Row, accepts, bids, rejects, trade
from tests.test_wire import Bench, Peer
from tests.virtual import Says, now_ms, pass_ms

DEAD = Missed(reason=BuyerReason.UNREACHABLE, elapsed_ms=1)
ERROR_500 = Says(5, 500, b"")


class Noting(Silent):
    """Keeps receipts and the ways breakers went."""

    def __init__(self) -> None:
        self.receipts: list[Any] = []
        self.breakers: list[tuple[str, str, str]] = []

    def pinged(self, receipt: Any) -> None:
        self.receipts.append(read(dump(receipt)))  # as it is stored

    def breaker(self, contract: str, call: str, to: str) -> None:
        self.breakers.append((contract, call, to))

    @property
    def asked(self) -> list[str]:
        """By the last ping."""
        return [one["contract"] for one in self.receipts[-1]["asked"]]

    @property
    def skipped(self) -> list[tuple[str, str, str | None]]:
        return [(s["contract"], s["reason"], s["detail"]) for s in self.receipts[-1]["skipped"]]


# One bad moment is enough here, so that the stories are short; SPREAD is what that costs otherwise.
QUICK: dict[str, Any] = {"spread_min": 1, "post_results_min": 10}


def watch(floor: Floor, **health: Any) -> Noting:
    """Let the floor be watched under these settings; what happens is noted."""
    house, noting = floor.house, Noting()
    house.observer = noting
    house.vigil = Vigil(
        HealthSettings(**(QUICK | health)), PingSettings(), noting, house.now_s, house.store.now
    )
    return noting


def says(floor: Floor, name: str, how: Says) -> None:
    """From now on."""
    floor.transport.script = {**floor.transport.script, name: how}


# --- in auctions --------------------------------------------------------------------------------


def test_a_dead_buyer_is_left_alone_tried_and_taken_back() -> None:
    """Twenty failures, 5 s of rest, one failed probe, 10 s of rest, three good probes."""

    async def story(floor: Floor) -> None:
        noting = watch(floor)
        for _ in range(20):
            await floor.ping()
            assert ["ann", "bob"] == noting.asked
        opened_ms = now_ms()
        await floor.ping()
        assert (["ann"], [("bob", "breaker_open", "ping")]) == (noting.asked, noting.skipped)

        await pass_ms(opened_ms + 4990 - now_ms())
        await floor.ping()
        assert ["ann"] == noting.asked
        await floor.ping()  # more than 5 s after it opened
        assert ["ann", "bob"] == noting.asked
        await floor.ping()
        assert ["ann"] == noting.asked

        says(floor, "bob", bids("12"))
        await pass_ms(10_000)
        for _ in range(4):
            assert "12.00" == (await floor.ping())["price"]
        assert [("bob", "ping", to) for to in ("open", "open", "closed")] == noting.breakers

    trade(story, Row("ann", bids("9")), Row("bob", REFUSED))


def test_one_bad_moment_opens_nothing() -> None:
    """A hundred failures within a second are a burst; a few more over some seconds are a dead endpoint."""

    async def story(floor: Floor) -> None:
        noting = watch(floor, spread_min=3)
        await asyncio.gather(*(floor.ping() for _ in range(100)))
        await floor.ping()
        assert ["ann", "bob"] == noting.asked
        for _ in range(20):
            await pass_ms(400)
            await floor.ping()
        assert (["ann"], [("bob", "breaker_open", "ping")]) == (noting.asked, noting.skipped)

    trade(story, Row("ann", bids("9")), Row("bob", ERROR_500))


def test_a_hung_buyer_costs_the_window_only_until_it_is_left_alone() -> None:
    """Twenty auctions of 400 ms, then they end when Ann has answered."""

    async def story(floor: Floor) -> None:
        watch(floor)
        took = []
        for _ in range(22):
            before = now_ms()
            await floor.ping()
            took.append(now_ms() - before)

        assert [400] * 20 + [10, 10] == took

    trade(story, Row("ann", bids("9")), Row("bob", SILENT))


def test_many_pings_at_once_send_a_few_probes() -> None:
    """Half-open lets three through, however many ask in the same millisecond."""

    async def story(floor: Floor) -> None:
        watch(floor)
        for _ in range(20):
            await floor.ping()
        await pass_ms(6000)
        says(floor, "bob", SILENT)
        before = len(floor.transport.sent["bob"])

        await asyncio.gather(*(floor.ping() for _ in range(30)))

        assert 3 == len(floor.transport.sent["bob"]) - before

    trade(story, Row("ann", bids("9")), Row("bob", REFUSED))


@pytest.mark.parametrize(
    ("bob", "opens"),
    [
        (ERROR_500, True),
        (Says(5, 200, b"<html>"), True),
        (Says(5, None, failure=Failure.OVERSIZED), True),
        (Says(5, None, failure=Failure.DNS), True),
        (Says(5, None, failure=Failure.POOL_FULL), False),  # ours
        (Says(5, None, failure=Failure.BLOCKED), False),  # ours
        (Says(5, 429, b""), False),  # it works
        (Says(5, 204, b""), False),
        (bids("-3"), False),  # nonsense, and a working endpoint
    ],
)
def test_only_what_is_the_endpoints_fault_opens(bob: Says, opens: bool) -> None:
    async def story(floor: Floor) -> None:
        noting = watch(floor)
        for _ in range(25):
            await floor.ping()

        assert opens is ("bob" not in noting.asked)

    trade(story, Row("ann", bids("9")), Row("bob", bob))


def test_a_seller_in_a_hurry_makes_nobody_look_dead() -> None:
    """Who had 30 ms of his usual 400 was not given a chance."""

    async def story(floor: Floor) -> None:
        noting = watch(floor)
        for _ in range(40):
            await floor.ping(max_wait_ms=50)

        assert (["ann", "bob"], []) == (noting.asked, noting.breakers)

    trade(story, Row("ann", bids("9")), Row("bob", bids("12", after_ms=200)))


def test_tests_are_neither_skipped_nor_counted() -> None:
    async def story(floor: Floor) -> None:
        noting = watch(floor)
        for _ in range(30):
            await floor.ping(test=True)
        assert {} == floor.house.vigil.watched[Call.PING]

        for _ in range(21):
            await floor.ping()
        assert [] == noting.asked
        await floor.ping(test=True)
        assert ["bob"] == noting.asked

    trade(story, Row("bob", REFUSED, endpoint={"accepts_test": True}))


def test_a_new_address_begins_anew() -> None:
    """The buyer has corrected its endpoint: nobody waits for the old one's cool-down."""

    async def story(floor: Floor) -> None:
        noting = watch(floor)
        for _ in range(21):
            await floor.ping()
        assert [] == noting.asked
        contract = floor.house.catalogue.markets["loans"].contracts[0][0]
        moved = an_endpoint(ping_url="http://127.0.0.1:9/new", post_url="http://127.0.0.1:9/new")

        (before,) = floor.house.vigil.watched[Call.PING].values()
        found, _ = floor.house.vigil.admit([_with(contract, endpoint=moved)], "ping_1")

        assert 1 == len(found)
        (after,) = floor.house.vigil.watched[Call.PING].values()
        assert before.since is not None
        assert after.since is not None
        assert before.since <= after.since, "the others hear of it"
        assert {"ping": 0, "post": 0} == floor.house.vigil.left_alone()

    trade(story, Row("bob", REFUSED))


def _with(contract: Contract, **more: Any) -> Contract:
    return a_contract(contract.slug, id=contract.id, buyer=contract.buyer, **more)


def test_the_breaker_can_be_switched_off() -> None:
    async def story(floor: Floor) -> None:
        noting = watch(floor, breaker="off")
        for _ in range(30):
            await floor.ping()

        assert ["bob"] == noting.asked

    trade(story, Row("bob", REFUSED))


# --- throttling ---------------------------------------------------------------------------------


async def half_failing(floor: Floor, pings: int) -> list[bool]:
    """Whether Bob was asked, by ping; every second answer of his is a 500."""
    noting = floor.house.observer
    assert isinstance(noting, Noting)
    asked = []
    for number in range(pings):
        says(floor, "bob", ERROR_500 if number % 2 else bids("12"))
        await floor.ping()
        asked.append("bob" in noting.asked)
    return asked


def test_a_buyer_that_fails_half_the_time_is_spared_some_pings() -> None:
    """A score of 0.5 skips about a third; each skip is a reason in the receipt; the draw repeats."""
    runs = []

    async def story(floor: Floor) -> None:
        noting = watch(floor, throttle="on")
        runs.append(await half_failing(floor, 300))

        reasons = {s["reason"] for r in noting.receipts for s in r["skipped"]}
        assert {"throttled"} == reasons
        assert [True] * 50 == runs[-1][:50]  # too little was known
        assert 0.2 < runs[-1][50:].count(False) / 250 < 0.5
        assert runs[-1].count(False) == floor.house.vigil.held_back["bob", "throttled"]

    for _ in range(2):
        trade(story, Row("ann", bids("9")), Row("bob", bids("12")))
    assert runs[0] == runs[1]


def test_a_dry_run_skips_nothing_and_counts() -> None:
    """What would have been skipped is known before anybody loses a bid by it."""

    async def story(floor: Floor) -> None:
        noting = watch(floor, throttle="dry_run")
        asked = await half_failing(floor, 200)

        assert all(asked)
        assert [] == [s for r in noting.receipts for s in r["skipped"]]
        assert 20 < floor.house.vigil.held_back["bob", "dry_run"] < 100
        watched = floor.house.vigil.watched[Call.PING]
        assert 0.3 < max(floor.house.vigil.share(one) for one in watched.values()) < 0.4

    trade(story, Row("ann", bids("9")), Row("bob", bids("12")))


def test_a_tenth_always_goes_through() -> None:
    """Even with a score of 1 and no breaker: 429 for ever is asked less, never given up."""

    async def story(floor: Floor) -> None:
        noting = watch(floor, throttle="on")
        for _ in range(600):
            await floor.ping()

        asked = sum(bool(r["asked"]) for r in noting.receipts[-500:])
        assert 500 * 0.06 < asked < 500 * 0.15
        assert [] == noting.breakers

    trade(story, Row("bob", Says(1, 429, b"")))


# --- posts --------------------------------------------------------------------------------------

TIERS = (Tier(name="second", mode=TierMode.PRIORITY),)


def behind(price: int, **more: Any) -> dict[str, Any]:
    return {"tier": "second", "pricing": fixed(price * 1_000_000), **more}


def test_a_waterfall_contract_whose_posts_fail_is_passed_over() -> None:
    """Ten leads could not be sent; the eleventh goes to Cyd without trying Bob, until a probe."""

    async def story(floor: Floor) -> None:
        noting = watch(floor)
        for _ in range(10):
            assert "sold" == (await floor.lead())["outcome"]
        tried = len(floor.transport.sent["bob/post"])
        lead = await floor.lead()

        assert (10, 10, "sold") == (
            tried,
            len(floor.transport.sent["bob/post"]),
            lead["outcome"],
        )
        assert ("bob", "breaker_open", "post") in await skipped_of(floor, lead["lead_id"])
        assert [("bob", "post", "open")] == noting.breakers

        says(floor, "bob/post", accepts())
        await pass_ms(5000)
        for _ in range(4):
            await floor.lead()
        assert 14 == len(floor.transport.sent["bob/post"])
        assert ("bob", "post", "closed") == noting.breakers[-1]

    trade(
        story,
        Row("bob", post=REFUSED, contract=behind(9, priority=1)),
        Row("cyd", contract=behind(5, priority=2)),
        tiers=TIERS,
    )


async def skipped_of(floor: Floor, lead_id: str) -> list[tuple[str, str, str | None]]:
    ids = read_id("lead", lead_id)
    row = await floor.store.lead(ids[0]) if ids else None
    assert row is not None
    assert row.receipt is not None
    record = read(row.receipt)
    return [(s["contract"], s["reason"], s["detail"]) for s in record["skipped"]]


def test_a_bidder_that_cannot_be_posted_to_is_not_asked() -> None:
    """A bid that cannot be delivered would win the auction and lose the lead."""

    async def story(floor: Floor) -> None:
        noting = watch(floor)
        for _ in range(10):
            await floor.lead()
        assert "9.00" == (await floor.ping())["price"]
        assert (["ann"], [("bob", "breaker_open", "post")]) == (noting.asked, noting.skipped)

    trade(story, Row("ann", bids("9")), Row("bob", bids("12"), post=REFUSED))


def test_a_fixed_price_in_the_auction_whose_posts_fail_makes_no_offer() -> None:
    """It is never pinged: its posts alone say how it is."""

    async def story(floor: Floor) -> None:
        noting = watch(floor)
        for _ in range(10):
            await floor.lead()

        assert "9.00" == (await floor.ping())["price"]
        assert [("bob", "breaker_open", "post")] == noting.skipped

    fixed_price = {"pricing": fixed(12_000_000)}
    trade(story, Row("ann", bids("9")), Row("bob", post=REFUSED, contract=fixed_price))


def test_many_leads_at_once_send_a_few_probes() -> None:
    """Three leads try a half-open endpoint; the others go to the next best bid at once."""

    async def story(floor: Floor) -> None:
        watch(floor)
        for _ in range(10):
            await floor.lead()
        await pass_ms(5000)
        says(floor, "bob/post", rejects(after_ms=1000))
        before = len(floor.transport.sent["bob/post"])

        sold = await asyncio.gather(*(floor.lead() for _ in range(20)))

        assert {"9.00"} == {one["price"] for one in sold}
        assert 3 == len(floor.transport.sent["bob/post"]) - before

    trade(story, Row("ann", bids("9")), Row("bob", bids("12"), post=REFUSED))


def test_a_quote_whose_buyer_failed_since_goes_to_the_next() -> None:
    """The breaker is looked at again when the lead is posted."""

    async def story(floor: Floor) -> None:
        watch(floor)
        quote = await floor.ping()
        for _ in range(10):
            await floor.lead()
        lead = await floor.lead(ping_id=quote["ping_id"])

        assert ("12.00", "9.00") == (quote["price"], lead["price"])
        assert ("bob", "breaker_open", "post") in await skipped_of(floor, lead["lead_id"])

    trade(story, Row("ann", bids("9")), Row("bob", bids("12"), post=REFUSED))


def test_rejections_are_answers() -> None:
    async def story(floor: Floor) -> None:
        noting = watch(floor)
        for _ in range(15):
            await floor.lead()

        assert [] == noting.breakers

    trade(story, Row("bob", bids("12"), post=rejects()))


def test_resends_are_not_counted() -> None:
    """One lead of a buyer that is away is one failure, however often it is asked about."""

    async def story(floor: Floor) -> None:
        watch(floor)
        await beat(floor.house)
        await floor.lead()
        for _ in range(30):
            await pass_ms(60_000)
            await one_round(floor.house, sweep=False)
            await pass_ms(6_000)

        (watched,) = floor.house.vigil.watched[Call.POST].values()
        assert 1 == len(watched.failures)
        assert len(floor.transport.sent["bob/post"]) > 4

    trade(story, Row("bob", bids("12"), post=ERROR_500, endpoint={"idempotent": True}))


# --- between workers, in a real database --------------------------------------------------------


@dataclass
class Clock:
    """Real time, and as much of it again as a test wants to have passed: at most a few seconds, as
    the database's own clock goes on as it was."""

    ahead_s: float = 0.0

    def wall_s(self) -> float:
        return time.time() + self.ahead_s


@dataclass(kw_only=True)
class AheadHouse(House):
    clock: Clock

    def now_s(self) -> float:
        return super().now_s() + self.clock.ahead_s


class Keeper:
    """One worker's vigil over one contract, and what it hears."""

    def __init__(self, dsn: str, worker: int, clock: Clock | None = None) -> None:
        self.noting, self.clock = Noting(), clock or Clock()
        self.house = AheadHouse(
            clock=self.clock,
            settings=Settings(health=HealthSettings(**QUICK)),
            store=MemoryStore(self.clock.wall_s),  # type: ignore[arg-type]
            transport=SimpleNamespace(), vault=SimpleNamespace(), guard=SimpleNamespace(),  # type: ignore[arg-type]
            observer=self.noting, worker=worker, random_bytes=Random(worker).randbytes,
        )  # fmt: skip
        self.db = Database(dsn, connections_max=1)
        self.hearsay = Hearsay(self.house, HealthRows(self.db))
        self.contract = a_contract("acme-1", id=7)

    def hears(self, result: PingResult, times: int = 20) -> None:
        for _ in range(times):
            self.house.vigil.pinged([(self.contract, result)], 400, 400)

    @property
    def asks(self) -> bool:
        return bool(self.house.vigil.admit([self.contract], "ping_1")[0])

    @property
    def watched(self) -> Any:
        return self.house.vigil.watched[Call.PING][7]

    async def round(self) -> None:
        await self.hearsay.one_round()


@pytest.fixture
async def keepers(database: str) -> Any:
    """Makes keepers on one clock and closes their connections."""
    async with AsyncExitStack() as stack:
        clock = Clock()

        def keeper(worker: int) -> Keeper:
            made = Keeper(database, worker, clock)
            stack.push_async_callback(made.db.close)
            return made

        yield keeper


BID = Bid(price_micros=9_000_000, elapsed_ms=10)
Make = Callable[..., Keeper]


async def test_what_one_worker_learnt_the_others_know(keepers: Make) -> None:
    """Opened by one, closed by the other, both times for both."""
    one, two = keepers(1), keepers(2)
    await two.round()  # it is at work already
    one.hears(DEAD)
    await one.round()
    assert two.asks
    await two.round()
    assert not two.asks
    assert one.watched.since == two.watched.since
    assert [] == two.noting.breakers  # counted once, by who decided it

    two.clock.ahead_s = 5
    assert [True, True, True, False] == [two.asks for _ in range(4)]
    two.hears(BID, times=3)
    assert [("acme-1", "ping", "closed")] == two.noting.breakers
    await two.round()
    await one.round()

    assert Standing.CLOSED is one.watched.breaker.standing
    one.hears(DEAD, times=1)
    assert Standing.CLOSED is one.watched.breaker.standing, "what it had counted is history"


async def test_a_restart_opens_nothing(keepers: Make) -> None:
    """Openings, cool-down, score and last failures are those of the worker before."""
    before = keepers(1)
    before.hears(DEAD, times=60)
    before.hears(BID, times=5)
    await before.round()

    after = keepers(2)
    await after.hearsay.begin()

    assert not after.asks
    assert (1, Standing.OPEN) == (
        after.watched.breaker.openings,
        after.watched.breaker.standing,
    )
    left_s = [one.watched.breaker.retry_s - one.house.now_s() for one in (before, after)]
    assert left_s[0] == pytest.approx(left_s[1], abs=1.0)
    assert before.watched.throttle.score == pytest.approx(after.watched.throttle.score)
    assert before.watched.throttle.results == after.watched.throttle.results


async def test_what_is_ten_minutes_old_says_nothing(keepers: Make, database: str) -> None:
    before = keepers(1)
    before.hears(DEAD)
    await before.round()
    db = Database(database)
    await db.execute(
        "UPDATE endpoint_health SET at = at - interval '601 s', told_at = told_at - interval '601 s'"
    )

    after = keepers(2)
    await after.hearsay.begin()
    assert after.asks

    await db.execute("UPDATE endpoint_health SET at = at - interval '601 s'")
    await HealthRows(db).forget()
    assert 0 == await db.fetchval("SELECT count(*) FROM endpoint_health")
    await db.close()


async def test_only_what_changed_is_written(keepers: Make, database: str) -> None:
    """A second round without news writes nothing; a breaker's change does not wait ten seconds."""
    one = keepers(1)
    one.hears(BID, times=5)
    written = []
    put = one.hearsay._store.put

    async def note(rows: list[HealthRow]) -> None:
        written.append([(row.good, row.bad, row.open) for row in rows])
        await put(rows)

    one.hearsay._store.put = note  # type: ignore[method-assign]
    await one.round()
    one.hears(BID, times=5)
    await one.round()
    one.hears(DEAD, times=30)
    await one.round()

    assert [[(5, 0, False)], [(10, 24, True)]] == written
    one.hears(BID, times=5)  # answers to earlier questions; the score moves all the same
    one.clock.ahead_s = 10.1
    await one.round()
    assert [(10, 24, True)] == written[-1]
    assert 3 == len(written)


async def test_of_very_many_endpoints_each_is_told_of(keepers: Make) -> None:
    """A breaker's change at once, however many others have something to tell; counts in turn."""
    one = keepers(1)
    many = [a_contract(f"c{number}", id=100 + number) for number in range(3 * ROWS_MAX)]
    ids = {contract.id for contract in many}
    told: list[set[int]] = []

    async def note(rows: list[HealthRow]) -> None:
        told.append({row.contract for row in rows})

    one.hearsay._store.put = note  # type: ignore[method-assign]
    for _ in range(3):  # each of them has news again before all the others were told of
        one.house.vigil.pinged([(contract, BID) for contract in many], 400, 400)
        await one.round()
        one.clock.ahead_s += 10.1
    assert ids == set.union(*told)
    assert {ROWS_MAX} == {len(ids) for ids in told}

    one.house.vigil.pinged([(contract, BID) for contract in many], 400, 400)
    one.clock.ahead_s += 1.1
    one.contract = many[-1]
    one.hears(DEAD, times=100)
    await one.round()
    assert many[-1].id in told[-1]

    told.clear()
    for _ in range(40):  # an outage on our side: every breaker opens
        one.house.vigil.pinged([(contract, DEAD) for contract in many[:-1]], 400, 400)
    for _ in range(3):
        await one.round()
    assert ids - {many[-1].id} <= set.union(*told)


async def test_a_worker_that_starts_reads_page_by_page(keepers: Make) -> None:
    """Every open breaker and every score that has effect; what is sound is not even read."""
    writer, starting = keepers(1), keepers(2)
    dead = [a_contract(f"d{number}", id=100 + number) for number in range(230)]
    sound = [a_contract(f"s{number}", id=1000 + number) for number in range(5)]
    for _ in range(20):
        told = [*((contract, DEAD) for contract in dead), *((contract, BID) for contract in sound)]
        writer.house.vigil.pinged(told, 400, 400)
    halves = a_contract("halves", id=2000)
    for _ in range(10):
        for result in (BID, DEAD):
            writer.house.vigil.pinged([(halves, result)], 400, 400)
    await writer.round()

    pages = [page async for page in starting.hearsay._store.fresh()]
    await starting.hearsay.begin()

    assert [100, 100, 31] == [len(page) for page in pages]
    known = starting.house.vigil.watched[Call.PING]
    assert {*(contract.id for contract in dead), halves.id} == known.keys()
    assert {Standing.OPEN} == {known[contract.id].breaker.standing for contract in dead}
    of_halves = writer.house.vigil.watched[Call.PING][halves.id]
    assert Standing.CLOSED is of_halves.breaker.standing
    assert known[halves.id].throttle.score == pytest.approx(of_halves.throttle.score)


async def test_an_endpoint_nobody_calls_is_forgotten(keepers: Make) -> None:
    """After ten minutes without a result: memory stays bounded, and old faults do not count."""
    one = keepers(1)
    one.hears(DEAD)
    one.clock.ahead_s = 601
    one.hearsay.count()

    assert {} == one.house.vigil.watched[Call.PING]
    assert one.asks


async def test_a_worker_that_knows_better_is_not_overruled(keepers: Make) -> None:
    """The newest word counts: an opening heard late does not undo a closing."""
    one, two = keepers(1), keepers(2)
    one.hears(DEAD)
    two.hears(DEAD)
    await one.round()
    two.clock.ahead_s = 5
    assert two.asks
    two.hears(BID, times=3)
    await two.round()

    assert Standing.CLOSED is two.watched.breaker.standing
    await one.round()
    assert Standing.CLOSED is one.watched.breaker.standing


async def test_a_database_that_is_away_is_waited_for(keepers: Make) -> None:
    """Decisions go on without it, and so does the start of a worker."""
    lost = Keeper("postgresql://nobody@127.0.0.1:1/none", 3)
    await lost.hearsay.begin()
    lost.hears(DEAD)

    assert not lost.asks
    running = asyncio.create_task(lost.hearsay.run())
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait([running])
    await lost.db.close()


# --- what it shows ------------------------------------------------------------------------------


async def id_of(offices: Offices, slug: str) -> int:
    found: int = await offices.store.db.fetchval("SELECT id FROM contract WHERE slug = $1", slug)
    return found


async def test_buyers_and_operators_see_an_endpoints_health(database: str) -> None:
    async with open_offices(database) as offices:
        nothing = (await offices.acme("GET", "/v1/contracts/acme-1/health")).body
        sound = {
            "state": "closed", "since": None, "failure_ratio": None, "results": 0, "retry_at": None,
            "failure_score": 0.0, "throttle_share": 0.0, "dry_run": None,
        }  # fmt: skip
        assert {"contract": "acme-1", "ping": sound, "post": sound, "last_failures": []} == nothing

        one, two = (Keeper(database, number) for number in (1, 2))
        one.contract = two.contract = a_contract("acme-1", id=await id_of(offices, "acme-1"))
        two.hears(BID, times=10)
        one.hears(DEAD, times=50)
        one.house.vigil.posted(one.contract, Accepted())
        one.house.vigil.posted(one.contract, NotSent(reason=BuyerReason.TLS_FAILED))
        await two.round()
        await one.round()
        seen = (await offices.admin("GET", "/v1/contracts/acme-1/health")).body

        ping, post = seen["ping"], seen["post"]
        assert ("open", 1.0, 20, True) == tuple(
            ping[name] for name in ("state", "failure_ratio", "results", "dry_run")
        )
        assert ping["since"] < ping["retry_at"]
        assert 0.833 == ping["failure_score"]  # 50 failures of 60 results
        assert ("closed", 0.5, 2) == (post["state"], post["failure_ratio"], post["results"])
        assert ("tls_failed", "post") == (
            seen["last_failures"][0]["reason"],
            seen["last_failures"][0]["call"],
        )
        assert ["unreachable"] * 5 == [one["reason"] for one in seen["last_failures"][1:]]

        own = await offices.acme("GET", "/v1/contracts/acme-1/health")
        assert seen == own.body
        assert 404 == (await offices.zenith("GET", "/v1/contracts/acme-1/health")).status
        assert 404 == (await offices.admin("GET", "/v1/contracts/nobody/health")).status
        assert (
            401 == (await offices.acme.with_key(None)("GET", "/v1/contracts/acme-1/health")).status
        )
        await one.db.close()
        await two.db.close()


async def test_an_operator_closes_a_breaker_for_everybody(database: str) -> None:
    async with open_offices(database) as offices:
        one, two = (Keeper(database, number) for number in (1, 2))
        one.contract = two.contract = a_contract("acme-1", id=await id_of(offices, "acme-1"))
        one.hears(DEAD, times=60)
        await one.round()
        await two.round()
        assert not one.asks
        assert not two.asks

        assert (await offices.acme("POST", "/v1/contracts/acme-1/health/reset")).status in {
            404,
            405,
        }
        odd = await offices.admin("POST", "/v1/contracts/acme-1/health/reset", {"call": "ping"})
        assert (422, {("call", "unknown_field")}) == (odd.status, odd.errors)
        await one.round()
        assert not one.asks
        reset = await offices.admin("POST", "/v1/contracts/acme-1/health/reset")

        assert (200, "closed", 0) == (
            reset.status,
            reset.body["ping"]["state"],
            reset.body["ping"]["results"],
        )
        await one.round()
        await two.round()
        assert one.asks
        assert two.asks
        (watched,) = one.house.vigil.watched[Call.PING].values()
        assert Throttle() == watched.throttle
        seen = await offices.admin("GET", "/v1/contracts/acme-1/health")
        assert ("closed", []) == (seen.body["ping"]["state"], seen.body["last_failures"])
        one.hears(DEAD, times=19)
        assert one.asks
        await one.db.close()
        await two.db.close()


async def test_operators_may_close_it_at_the_same_time(database: str) -> None:
    """Both say the same; none of them is a conflict."""
    db = Database(database, connections_max=8)
    rows = HealthRows(db)

    await asyncio.gather(*(rows.reset(7) for _ in range(40)))

    found, _ = await rows.of_contract(7)
    assert [("ping", False), ("post", False)] == sorted((one.call, one.open) for one in found)
    await db.close()


def test_a_fixed_price_contract_has_no_pings() -> None:
    """Only its posts are judged."""
    vigil = Vigil(
        HealthSettings(post_results_min=2, spread_min=1),
        PingSettings(),
        Silent(),
        lambda: 100.0,
        lambda: datetime.now(UTC),
    )
    contract = a_contract("cyd-1", pricing=fixed(5_000_000), endpoint=an_endpoint(ping_url=None))
    for _ in range(2):
        vigil.posted(contract, Unconfirmed(reason=BuyerReason.TIMED_OUT))

    found, skipped = vigil.admit([contract], "ping_1")
    assert ([], [("cyd-1", "breaker_open", "post")]) == (
        found,
        [(one.contract, one.reason.value, one.detail) for one in skipped],
    )
    assert {"ping": 0, "post": 1} == vigil.left_alone()


def test_metrics_count_changes_and_skips() -> None:
    """Series exist for contracts that ever failed, and for nobody else."""
    metrics = Metrics()
    metrics.breaker("acme-1", "ping", "open")
    metrics.held_back("acme-1", "throttled", 3)
    metrics.health({"ping": 2, "post": 0})

    assert 1 == metrics.breakers.labels("acme-1", "ping", "open")._value.get()
    assert 3 == metrics.held_backs.labels("acme-1", "throttled")._value.get()
    assert 2 == metrics.open_breakers.labels("ping")._value.get()


# --- the bulkhead: real sockets -----------------------------------------------------------------


async def test_a_hung_buyer_fills_its_own_pool_and_no_other() -> None:
    """Calls that hang use up the pool of one contract's pings. Its own posts and everybody else's
    pings have pools of their own: they are answered while the flood is still waiting."""

    async def hang(peer: Peer) -> None:
        await peer.closed()

    async def answer(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")

    limits = WireLimits(max_open=4, connect_timeout_s=5.0, close_timeout_s=2.0)
    async with Bench(limits=limits) as bench:
        hung, well = await bench.serve(hang), await bench.serve(answer)
        replies: dict[str, list[Any]] = {}

        def ask(name: str, target: Any, pool: str, times: int = 1) -> list[Any]:
            payload = render_request(target, (), b"{}")
            got = replies.setdefault(name, [])

            def done(_tag: int, *reply: Any) -> None:
                got.append(Reply(*reply))

            return [
                bench.wire.send(target, payload, done, pool=pool, deadline=math.inf)
                for _ in range(times)
            ]

        flood = ask("flood", hung, "bob", times=50)
        await bench.turns(lambda: len(replies["flood"]) == 46)  # refused at once, without a byte
        ask("post", well, "bob/post")
        ask("ann", well, "ann", times=4)
        await bench.turns(lambda: len(replies["post"]) + len(replies["ann"]) == 5)

        assert {(Failure.POOL_FULL, False)} == {(r.failure, r.written) for r in replies["flood"]}
        assert 46 == len(replies["flood"])  # four still wait, and cost nobody anything
        assert {200} == {r.status for r in (*replies["post"], *replies["ann"])}
        assert 4 == bench.wire.stats().in_flight
        for call in flood:
            call.abandon()


def test_a_dead_buyer_costs_the_others_nothing() -> None:
    """Ten buyers, then the same with one more that hangs: who is asked, what they bid and when they
    are answered stays the same; once it is left alone, so does the end of the auction."""
    told: list[list[Any]] = []

    def rows(*more: Row) -> list[Row]:
        return [*(Row(f"b{n}", bids(str(5 + n), after_ms=10 * n + 10)) for n in range(10)), *more]

    async def story(floor: Floor) -> None:
        noting = watch(floor)
        for _ in range(25):
            await floor.ping()
        told.append(
            [
                [
                    (one["contract"], one["price"], one["ms"])
                    for one in r["asked"]
                    if one["result"] == "bid"
                ]
                for r in noting.receipts
            ]
        )
        told.append([r["elapsed_ms"] for r in noting.receipts[20:]])

    trade(story, *rows())
    trade(story, *rows(Row("dead", SILENT)))

    assert told[0] == told[2]
    assert told[1] == told[3] == [100] * 5
