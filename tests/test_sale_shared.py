"""Shared leads on exact simulated milliseconds: who is posted to at once, who replaces whom."""

import asyncio
from dataclasses import replace
from typing import Any

import orjson
import pytest

from buyers.contract import Cap, CapKind
from exchange.errors import StoreUnavailable
from exchange.ids import read_id
from exchange.resolving import book_word
from exchange.store.rows import AttemptState, Verdict
from exchange.verticals import Margin
from tests.test_sale import SILENT, Floor, Row, accepts, bids, rejects, trade
from tests.test_sale_faults import states, watch
from tests.virtual import Says, pass_ms


def shares(name: str, price: str, post: Says | None = None, most: int = 2, **more: Any) -> Row:
    """A buyer that shares a lead with at most `most`, itself included."""
    contract = {"is_shared": True, "max_shares": most}
    return Row(name, bids(price), post or accepts(), contract=contract, **more)


def prices(answer: dict[str, Any]) -> list[str]:
    return [sale["price"] for sale in answer["sales"]]


def told(floor: Floor, name: str) -> tuple[bool, int]:
    """What a buyer was told of who else gets the lead."""
    body = orjson.loads(floor.transport.payloads[f"{name}/post"].partition(b"\r\n\r\n")[2])
    return body["exclusive"], body["shares"]


def test_members_of_the_best_set_are_posted_to_at_once() -> None:
    """The quote is the sum; each pays its bid and is told how many share the lead."""

    async def story(floor: Floor) -> None:
        quote = await floor.ping()
        assert (quote["price"], quote["exclusive"], quote["shares"]) == ("9.00", False, 2)
        sold = await floor.lead(ping_id=quote["ping_id"])

        assert (sold["outcome"], sold["price"], prices(sold)) == ("sold", "9.00", ["5.00", "4.00"])
        assert sold["at_ms"] == quote["at_ms"] + 40
        assert floor.transport.sent["ann/post"] == floor.transport.sent["bob/post"]
        assert [(False, 2)] * 2 == [told(floor, name) for name in ("ann", "bob")]
        assert "pending" not in sold
        assert sorted(floor.posted_to) == ["ann", "bob"]

    trade(
        story, shares("ann", "5"), shares("bob", "4", accepts(40)), Row("cyd", bids("8")),
        shares("dan", "3", most=3),
    )  # fmt: skip


def test_an_exclusive_bid_above_the_sum_wins_alone() -> None:
    """It is told that nobody else gets the lead."""

    async def story(floor: Floor) -> None:
        sold = await floor.lead()

        assert (sold["price"], floor.posted_to, told(floor, "cyd")) == ("10.00", ["cyd"], (True, 1))

    trade(story, shares("ann", "5"), shares("bob", "4"), Row("cyd", bids("10")))


def test_a_member_that_refuses_is_replaced_while_the_others_go_on() -> None:
    """Dan agrees to two; Eve, who bid more, wants the lead alone."""

    async def story(floor: Floor) -> None:
        sold = await floor.lead()

        assert (sold["price"], prices(sold)) == ("8.00", ["5.00", "3.00"])
        assert [10, 20] == [floor.transport.sent[f"{name}/post"][0] for name in ("bob", "dan")]
        assert (floor.posted_to, told(floor, "dan")) == (["ann", "bob", "dan"], (False, 2))

    trade(
        story, shares("ann", "5", accepts(50)), shares("bob", "4", rejects()), shares("dan", "3"),
        shares("eve", "3.5", most=1),
    )  # fmt: skip


def test_what_one_member_accepted_stands_though_nobody_replaces_the_other() -> None:
    """Sold at the sum accepted so far; the exclusive bid comes too late."""

    async def story(floor: Floor) -> None:
        sold = await floor.lead()

        assert (sold["price"], prices(sold), sorted(floor.posted_to)) == (
            "5.00",
            ["5.00"],
            ["ann", "bob"],
        )

    trade(story, shares("ann", "5"), shares("bob", "4", rejects()), Row("cyd", bids("8")))


def test_when_nobody_accepts_the_next_best_offer_is_tried() -> None:
    """A whole set refused: then the exclusive bid, exclusively."""

    async def story(floor: Floor) -> None:
        sold = await floor.lead()

        assert (sold["price"], floor.posted_to) == ("8.00", ["ann", "bob", "cyd"])
        assert told(floor, "cyd") == (True, 1)

    trade(
        story, shares("ann", "5", rejects()), shares("bob", "4", rejects()), Row("cyd", bids("8"))
    )


def test_two_contracts_of_one_buyer_never_share_a_lead() -> None:
    """Distinct buyers, also in a replacement."""

    async def story(floor: Floor) -> None:
        sold = await floor.lead()

        assert prices(sold) == ["5.00", "2.00"]
        assert sorted(floor.posted_to) == ["ann", "bob", "dan"]

    trade(
        story, shares("ann", "5"), shares("ann2", "4.5", buyer="ann"), shares("bob", "4", rejects()),
        shares("dan", "2"),
    )  # fmt: skip


def test_a_post_nobody_answers_is_pending_beside_the_sale() -> None:
    """Its place stays taken: it may be sold. What comes of it later is shown, and booked."""

    async def story(floor: Floor) -> None:
        sold = await floor.lead("key-1")
        assert (sold["price"], sold["pending"], sold["at_ms"]) == ("5.00", 1, 5010)
        assert floor.posted_to == ["ann", "bob"]

        attempt = next(
            one for one in await floor.store.attempts(_id(sold)) if one.contract == "bob"
        )
        await _say(floor, attempt, AttemptState.ACCEPTED)
        now = await floor.look(sold["lead_id"])
        again = await floor.lead("key-1")
        assert (now["price"], prices(now), "pending" in now) == ("9.00", ["5.00", "4.00"], False)
        assert (again["price"], again["pending"]) == ("5.00", 1)  # the final answer, byte for byte

    trade(story, shares("ann", "5"), shares("bob", "4", SILENT), shares("dan", "3"))


def test_the_seller_is_told_of_one_sale_when_his_time_is_over() -> None:
    """A slow member is not waited for beyond the deadline; its post comes to its own end."""

    async def story(floor: Floor) -> None:
        sold = await floor.lead(max_wait_ms=1000)
        assert (sold["status"], sold["price"], sold["pending"]) == (200, "5.00", 1)
        assert 900 < sold["at_ms"] <= 980

        await pass_ms(3000)
        now = await floor.look(sold["lead_id"])
        assert (now["price"], "pending" in now) == ("9.00", False)

    trade(story, shares("ann", "5"), shares("bob", "4", accepts(2000)))


def test_no_member_is_replaced_after_the_last_moment_for_a_post() -> None:
    """Less than 250 ms were left when Bob refused."""

    async def story(floor: Floor) -> None:
        sold = await floor.lead(max_wait_ms=600)

        assert (prices(sold), sorted(floor.posted_to)) == (["5.00"], ["ann", "bob"])

    trade(story, shares("ann", "5"), shares("bob", "4", rejects(400)), shares("dan", "3"))


def test_a_whole_set_without_an_answer_is_pending() -> None:
    """Nobody else gets the lead; the first word that comes makes the sale."""

    async def story(floor: Floor) -> None:
        pending = await floor.lead()
        assert (pending["status"], sorted(floor.posted_to)) == (202, ["ann", "bob"])

        ann, bob = sorted(await floor.store.attempts(_id(pending)), key=lambda one: one.contract)
        await _say(floor, bob, AttemptState.REJECTED)
        await watch(floor, 2)
        assert (await floor.look(pending["lead_id"]))["outcome"] == "pending"
        await _say(floor, ann, AttemptState.ACCEPTED)
        await watch(floor, 2)
        assert (await floor.look(pending["lead_id"]))["price"] == "5.00"

    trade(story, shares("ann", "5", SILENT), shares("bob", "4", SILENT), Row("cyd", bids("6")))


@pytest.mark.parametrize("most", [1, 3])
def test_a_set_of_one_is_shared_with_nobody(most: int) -> None:
    """The only shared bid wins alone, told so, and fails over to the exclusive one."""

    async def story(floor: Floor) -> None:
        sold = await floor.lead()

        assert (sold["price"], told(floor, "ann"), floor.posted_to) == (
            "4.00",
            (False, 1),
            ["ann", "bob"],
        )

    trade(story, shares("ann", "5", rejects(), most=most), Row("bob", bids("4")))


def test_a_worker_that_died_after_one_sale_leaves_a_sold_lead() -> None:
    """Found by recovery: sold at what is known, though another post waits for a word."""

    async def story(floor: Floor) -> None:
        honest = floor.store.close_lead

        async def close_lead(_closing: Any) -> Any:
            raise RuntimeError("died here")

        floor.store.close_lead = close_lead  # type: ignore[method-assign]
        floor.house.observer = Quiet()
        lost = await floor.lead(max_wait_ms=6000)
        assert lost["status"] == 202
        floor.store.close_lead = honest  # type: ignore[method-assign]
        await watch(floor, 2)

        now = await floor.look(lost["lead_id"])
        assert (now["outcome"], now["price"], now["pending"]) == ("sold", "5.00", 1)
        assert await states(floor, lost["lead_id"]) == [("ann", "accepted"), ("bob", "unconfirmed")]

    trade(story, shares("ann", "5"), shares("bob", "4", SILENT))


def with_fixed_margin(floor: Floor, micros: int) -> None:
    catalogue = floor.house.catalogue
    seller = replace(catalogue.sellers[9001], margin=Margin(fixed_micros=micros))
    floor.house.catalogue = replace(
        catalogue, sellers={9001: seller}, sellers_by_slug={"lead-mill": seller}
    )


def test_a_buyer_that_refused_gets_no_share_under_another_contract() -> None:
    """It has seen the person once."""

    async def story(floor: Floor) -> None:
        sold = await floor.lead()

        assert (prices(sold), floor.posted_to) == (["4.00", "2.00"], ["ann", "bob", "dan"])

    trade(
        story, shares("ann", "5", rejects()), shares("ann2", "4.5", buyer="ann"),
        shares("bob", "4", accepts(50)), shares("dan", "2"),
    )  # fmt: skip


@pytest.mark.parametrize("low", ["1", "0.5"])
def test_nobody_replaces_a_member_for_nothing(low: str) -> None:
    """A margin of one dollar leaves the seller nothing of one dollar."""

    async def story(floor: Floor) -> None:
        with_fixed_margin(floor, 1_000_000)
        sold = await floor.lead()

        assert (prices(sold), floor.posted_to) == (["4.00"], ["ann", "bob"])

    trade(story, shares("ann", "5", accepts(50)), shares("bob", "4", rejects()), shares("cyd", low))


def test_a_test_is_answered_for_good() -> None:
    """Nobody will ever ask what became of its silent member."""

    async def story(floor: Floor) -> None:
        sold = await floor.lead(test=True)
        now = await floor.look(sold["lead_id"])

        assert (sold["price"], now["price"], now["sales"]) == ("5.00", "5.00", sold["sales"])
        assert "pending" not in sold

    ok = {"accepts_test": True}
    trade(story, shares("ann", "5", endpoint=ok), shares("bob", "4", SILENT, endpoint=ok))


def test_a_set_that_was_adopted_shows_what_the_books_know() -> None:
    """Another worker has Bob's post; Ann's yes was heard first-hand: sold, with one to come."""

    async def story(floor: Floor) -> None:
        await floor.store.beat(1)
        request = asyncio.create_task(floor.lead())
        await pass_ms(100)
        floor.store.crash(1)
        await floor.store.beat(2)
        await pass_ms(1500)
        assert (await floor.store.adopt(2)).interrupted == 2
        sold = await request
        assert (sold["price"], sold["pending"]) == ("5.00", 1)

        bob = next(o for o in await floor.store.attempts(_id(sold)) if o.contract == "bob")
        await _say(floor, bob, AttemptState.ACCEPTED)
        assert (await floor.look(sold["lead_id"]))["price"] == "9.00"

    trade(story, shares("ann", "5", accepts(3000)), shares("bob", "4", SILENT))


def test_a_seller_who_hangs_up_before_anything_left_stops_a_set() -> None:
    """Both members' caps were full after all; nobody replaces them."""

    async def story(floor: Floor) -> None:
        honest = floor.store.award

        async def award(order: Any) -> Any:
            await pass_ms(100)
            return Verdict.CAP_SALES if order.contract_id in {101, 102} else await honest(order)

        floor.store.award = award  # type: ignore[method-assign]
        request = asyncio.create_task(floor.lead("k"))
        await pass_ms(50)
        request.cancel()
        await pass_ms(2000)
        assert floor.posted_to == []

    trade(story, shares("ann", "5"), shares("bob", "4"), shares("cyd", "3"))


def test_an_award_given_up_for_one_member_leaves_the_others_sale() -> None:
    """Its answer was lost; what it held comes back, and nobody was sent anything for it."""

    async def story(floor: Floor) -> None:
        honest = floor.store.award

        async def award(order: Any) -> Any:
            verdict = await honest(order)
            if order.contract_id == 102:
                raise StoreUnavailable("the answer was lost")
            return verdict

        floor.store.award = award  # type: ignore[method-assign]
        sold = await floor.lead(max_wait_ms=2000)
        await watch(floor, 20)
        now = await floor.look(sold["lead_id"])
        assert (now["price"], sorted(floor.posted_to)) == ("5.00", ["ann"])
        assert ("bob", "not_sent") in await states(floor, sold["lead_id"])

    trade(story, shares("ann", "5", accepts(50)), shares("bob", "4"))


def test_a_repeat_while_a_set_is_sold_hears_the_same() -> None:
    """And so does one afterwards, byte for byte, whatever the slow member said since."""

    async def story(floor: Floor) -> None:
        first = asyncio.create_task(floor.lead("k", max_wait_ms=1000))
        await pass_ms(100)
        again = await floor.lead("k", max_wait_ms=1000)
        await pass_ms(3000)
        later = await floor.lead("k", max_wait_ms=1000)
        told = [
            {k: v for k, v in one.items() if k != "at_ms"} for one in (await first, again, later)
        ]
        assert told[0] == told[1] == told[2]

    trade(story, shares("ann", "5"), shares("bob", "4", accepts(2000)))


def test_a_paced_award_is_judged_by_the_day_it_is_made_in() -> None:
    """Asked again over midnight: a new day has just begun, and allows one."""

    async def story(floor: Floor) -> None:
        cap = floor.store._cap(101, CapKind.SALES, "day")
        assert cap is not None
        cap.paced = True
        midnight_s = 86_400 - 1_790_000_000 % 86_400
        await pass_ms((midnight_s - 1.5) * 1000)
        honest = floor.store.award

        async def award(order: Any) -> Any:
            if floor.house.now_s() < midnight_s + 0.5:
                raise StoreUnavailable("away")
            return await honest(order)

        floor.store.award = award  # type: ignore[method-assign]
        answers = await asyncio.gather(*(floor.lead(max_wait_ms=10_000) for _ in range(20)))
        assert [one["outcome"] for one in answers].count("sold") <= 1

    caps = (Cap(kind=CapKind.SALES, period="day", limit=100, paced=True),)
    trade(story, Row("ann", bids("9"), contract={"caps": caps}))


class Quiet:
    """An observer for tests that break things on purpose."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_facts: None


def _id(answer: dict[str, Any]) -> Any:
    found = read_id("lead", answer["lead_id"])
    assert found is not None
    return found[0]


async def _say(floor: Floor, attempt: Any, word: AttemptState) -> None:
    await book_word(floor.store, attempt, word)
