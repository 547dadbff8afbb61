"""Sales whose database, worker or buyer fails at the worst moment: nobody gets a lead twice."""

import asyncio
from typing import Any

import asyncpg
import pytest

from exchange.errors import StoreUnavailable
from exchange.ids import read_id
from exchange.recovery import beat, one_round
from exchange.store.rows import AttemptState
from tests.test_sale import SILENT, Floor, Row, accepts, bids, rejects, trade
from tests.virtual import Says, pass_ms


async def watch(floor: Floor, seconds: float) -> None:
    """Let the watch look after things for a while, sweeping every time."""
    for _ in range(round(seconds * 2)):
        await beat(floor.house)
        await one_round(floor.house, sweep=True)
        await pass_ms(500)


async def states(floor: Floor, lead_id: str) -> list[tuple[str, str]]:
    found = read_id("lead", lead_id)
    assert found is not None
    return [(one.contract, one.state.value) for one in await floor.store.attempts(found[0])]


def test_an_accepted_post_whose_booking_broke_is_never_taken_for_unsent() -> None:
    """Ann has the lead; a fault in our books must not send it to Bob as well."""

    async def story(floor: Floor) -> None:
        honest, floor.house.observer = floor.store.settle, Quiet()

        async def settle(settlement: Any) -> Any:
            if settlement.outcome is AttemptState.ACCEPTED:
                raise RuntimeError("a bug")
            return await honest(settlement)

        floor.store.settle = settle  # type: ignore[method-assign]
        pending = await floor.lead()
        await watch(floor, 30)

        assert (pending["status"], floor.posted_to) == (202, ["ann"])
        assert await states(floor, pending["lead_id"]) == [("ann", "unconfirmed")]

    trade(story, Row("ann", bids("9")), Row("bob", bids("5")))


class Quiet:
    """An observer for tests that break things on purpose."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_facts: None


def test_an_award_given_up_unheard_is_released() -> None:
    """It stood in the books after all: nothing was sent, so its cap and credit come back."""

    async def story(floor: Floor) -> None:
        honest = floor.store.award

        async def award(order: Any) -> Any:
            await honest(order)
            raise StoreUnavailable("the answer was lost")

        floor.store.award = award  # type: ignore[method-assign]
        pending = await floor.lead(max_wait_ms=2000)
        assert pending["status"] == 202
        await watch(floor, 30)

        final = await floor.look(pending["lead_id"])
        assert (final["outcome"], final["reason"], floor.posted_to) == ("unsold", "deadline", [])
        assert await states(floor, pending["lead_id"]) == [("ann", "not_sent")]

    trade(story, Row("ann", bids("9")), Row("bob", bids("5")))


def test_a_lead_answered_as_pending_comes_to_an_end() -> None:
    """The award was never reached: later it is unsold, and its key says so too."""

    async def story(floor: Floor) -> None:
        honest = floor.store.award

        async def award(_order: Any) -> Any:
            raise StoreUnavailable("away")

        floor.store.award = award  # type: ignore[method-assign]
        pending = await floor.lead("k1", max_wait_ms=2000)
        floor.store.award = honest  # type: ignore[method-assign]
        await watch(floor, 20)

        again = await floor.lead("k1", max_wait_ms=2000)
        assert (pending["status"], again["outcome"]) == (202, "unsold")
        assert (again["lead_id"], floor.posted_to) == (pending["lead_id"], [])

    trade(story, Row("ann", bids("9")))


def test_an_award_that_came_late_is_not_delivered() -> None:
    """No post starts after the seller's deadline; what was held is released."""

    async def story(floor: Floor) -> None:
        honest = floor.store.award

        async def award(order: Any) -> Any:
            await pass_ms(4000)
            return await honest(order)

        floor.store.award = award  # type: ignore[method-assign]
        pending = await floor.lead(max_wait_ms=2000)
        await pass_ms(5000)

        final = await floor.look(pending["lead_id"])
        assert (pending["status"], final["reason"], floor.posted_to) == (202, "deadline", [])
        assert await states(floor, pending["lead_id"]) == [("ann", "not_sent")]

    trade(story, Row("ann", bids("9")))


def test_a_word_heard_first_hand_beats_the_fence() -> None:
    """Another worker took the attempt for interrupted; Ann accepted to us, and that is the truth."""

    async def story(floor: Floor) -> None:
        await floor.store.beat(1)
        request = asyncio.create_task(floor.lead())
        await pass_ms(100)
        floor.store.crash(1)  # the database forgot our session; we live
        await floor.store.beat(2)
        await pass_ms(1500)
        assert (await floor.store.adopt(2)).interrupted == 1

        answer = await request
        assert await states(floor, answer["lead_id"]) == [("ann", "accepted")]
        assert (answer["outcome"], floor.posted_to) == ("sold", ["ann"])

    trade(story, Row("ann", bids("9"), accepts(3000)), Row("bob", bids("5")))


def test_a_refusal_of_the_repeat_says_nothing_of_the_first_send() -> None:
    """Ann may have it; that she is now too busy to say so sells it to nobody else."""

    async def story(floor: Floor) -> None:
        script = dict(floor.transport.script)
        floor.transport.script = script
        request = asyncio.create_task(floor.lead())
        await pass_ms(500)
        script["ann/post"] = Says(10, 429, b"slow down")
        pending = await request

        assert (pending["status"], floor.posted_to) == (202, ["ann"])

    idempotent = {"post_timeout_ms": 1000, "idempotent": True}
    trade(story, Row("ann", bids("9"), SILENT, endpoint=idempotent), Row("bob", bids("5")))


@pytest.mark.parametrize("certified", [True, False])
def test_a_conflict_on_the_repeat_is_a_sale_only_where_certification_saw_it(
    *, certified: bool
) -> None:
    """409 to the re-send: Ann has the lead, if that is how Ann answers repeats; else nobody knows."""

    async def story(floor: Floor) -> None:
        script = dict(floor.transport.script)
        floor.transport.script = script
        request = asyncio.create_task(floor.lead())
        await pass_ms(500)
        script["ann/post"] = Says(10, 409, b"known")
        answer = await request

        assert floor.posted_to == ["ann"]
        state = "accepted" if certified else "unconfirmed"
        assert await states(floor, answer["lead_id"]) == [("ann", state)]
        assert answer["status"] == (200 if certified else 202)

    endpoint = {"post_timeout_ms": 1000, "idempotent": True, "conflict_means_accepted": certified}
    trade(story, Row("ann", bids("9"), SILENT, endpoint=endpoint), Row("bob", bids("5")))


def test_a_conflict_on_the_first_send_is_never_a_sale() -> None:
    """Ann has it from somebody else: the next one gets it, however Ann answers repeats."""

    async def story(floor: Floor) -> None:
        answer = await floor.lead()

        assert (answer["price"], floor.posted_to) == ("5.00", ["ann", "bob"])

    endpoint = {"idempotent": True, "conflict_means_accepted": True}
    known = Says(10, 409, b"known")
    trade(story, Row("ann", bids("9"), known, endpoint=endpoint), Row("bob", bids("5")))


def test_no_request_outlasts_its_deadline_while_the_database_hangs() -> None:
    """A claim that never answers, a lead that is never stored: 503 in time."""

    async def story(floor: Floor) -> None:
        async def hang(*_: Any) -> Any:
            await pass_ms(60_000)

        floor.store.open_lead = hang  # type: ignore[method-assign]
        refused = await floor.lead(max_wait_ms=1000)
        assert (refused["status"], refused["at_ms"]) == (503, 1030)

        floor.store.claim = hang  # type: ignore[method-assign]
        refused = await floor.lead("k1", max_wait_ms=1000)
        assert (refused["status"], refused["at_ms"]) == (503, 2060)

    trade(story, Row("ann", bids("9")))


def test_a_quote_at_second_price_stands_when_the_runner_up_expires() -> None:
    """Nobody failed over: the price is the one that was quoted."""

    async def story(floor: Floor) -> None:
        quote = await floor.ping(floor="2")
        await pass_ms(40_000)
        sold = await floor.lead(ping_id=quote["ping_id"])

        assert (quote["price"], sold["price"]) == ("9.00", "9.00")

    rows = (Row("ann", bids("10")), Row("bob", bids("9", expires_in_s=30)))
    trade(story, *rows, auction="second_price")


def test_a_bid_that_lives_no_time_at_all_is_not_taken() -> None:
    """In one step, too, its expiry is judged when its turn comes."""

    async def story(floor: Floor) -> None:
        assert (await floor.lead())["price"] == "5.00"

    trade(story, Row("ann", bids("10", expires_in_s=0)), Row("bob", bids("5")))


def test_a_lead_is_resumed_once_however_often_it_is_found() -> None:
    """Recovery's rounds overlap; the sale goes on in one task."""

    async def story(floor: Floor) -> None:
        honest = floor.store.attempts

        async def slow(lead_id: Any) -> Any:
            await pass_ms(700)
            return await honest(lead_id)

        script = dict(floor.transport.script)
        floor.transport.script = script
        floor.store.attempts = slow  # type: ignore[method-assign]
        pending = await floor.lead(max_wait_ms=30_000)
        script["ann/status"] = Says(5, 200, b'{"status":"rejected"}')
        await watch(floor, 20)

        assert pending["status"] == 202
        assert (await floor.look(pending["lead_id"]))["price"] == "4.00"
        assert {name: len(floor.transport.sent[f"{name}/post"]) for name in ("ann", "bob", "cyd")} == {
            "ann": 1, "bob": 1, "cyd": 1,
        }  # fmt: skip

    asked = {"post_timeout_ms": 1000, "status_url": "http://127.0.0.1:9/s"}
    trade(
        story,
        Row("ann", bids("9"), SILENT, endpoint=asked),
        Row("bob", bids("5"), rejects()),
        Row("cyd", bids("4")),
    )


def test_unexpected_errors_of_the_database_are_waited_out() -> None:
    """A standby that is still read-only, a full disk: the settlement is booked when they pass."""
    away = (asyncpg.ReadOnlySQLTransactionError, asyncpg.DiskFullError, asyncpg.InternalServerError)

    from exchange.store.database import AWAY

    assert all(issubclass(error, AWAY) for error in away)
