"""Every way a bid, a lead or a call to a buyer ends, reached by the road it takes in life.

As in test_skips: one table for each family of reasons, the verdict last, read back from the store.
"""

import asyncio
from dataclasses import replace
from typing import Any

import orjson
import pytest

from buyers.contract import Pricing, PricingMode
from buyers.money import MICROS
from buyers.reasons import BuyerReason
from buyers.wire import Failure
from exchange.errors import StoreUnavailable
from exchange.ids import write_id
from exchange.reasons import AuctionReason
from exchange.resolving import book_word
from exchange.store.rows import AttemptState
from tests.making import fixed
from tests.test_sale import SILENT, Floor, Row, accepts, bids, rejects, trade
from tests.test_sale_faults import Quiet, watch
from tests.test_skips import (
    ANN_NO,
    BOB,
    DEAF,
    LAST,
    SICK,
    Tell,
    dedupe_vertical,
    given,
    has,
    lead,
    lead_id,
    pause_ann,
    ping,
    record_of,
    why,
)  # fmt: skip
from tests.virtual import Says, pass_ms

# --- why nothing was bid, won or sold -------------------------------------------------------------


async def hang_up(floor: Floor) -> str:
    """The seller is gone when the award has found that Ann, who bid most, is paused."""
    quote = await floor.ping()
    pause_ann(floor)
    honest = floor.store.award

    async def slow(order: Any) -> Any:
        await pass_ms(300)
        return await honest(order)

    floor.store.award = slow  # type: ignore[method-assign]
    request = asyncio.create_task(floor.lead(ping_id=quote["ping_id"]))
    await pass_ms(100)
    request.cancel()
    await asyncio.wait([request])
    await pass_ms(500)
    return write_id("lead", next(iter(floor.store._leads)))


A = AuctionReason
NO = Says(10, 204)
TEST = Row("ann", bids("9"), SILENT, endpoint={"accepts_test": True})
# The contract is None where the reason is that of the whole ping or lead.
OUTCOMES: list[tuple[tuple[Row, ...], Tell, str | None, AuctionReason]] = [
    ((has(active=False),), ping(), None, A.NO_ELIGIBLE_BUYERS),
    ((Row("ann", NO), Row("bob", bids("-1"))), ping(), None, A.NO_BIDS),
    ((SICK, Row("bob", SILENT)), ping(), None, A.ALL_MISSED),
    ((has(), BOB), ping(floor="10"), None, A.BELOW_FLOOR),
    ((has(), BOB), ping(floor="7"), "bob", A.BELOW_FLOOR),
    ((has(), BOB), ping(), "bob", A.OUTBID),
    ((has(), Row("bob", contract={"pricing": fixed(5 * MICROS)})), ping(), "bob", A.OUTBID),
    ((has(active=False),), lead(), None, A.NO_ELIGIBLE_BUYERS),
    ((Row("ann", NO),), lead(), None, A.NO_BIDS),
    ((SICK,), lead(), None, A.ALL_MISSED),
    ((has(),), lead(min_price="10"), None, A.BELOW_FLOOR),
    ((ANN_NO,), lead(), None, A.REJECTED_BY_ALL),
    ((has(), BOB), given(dedupe_vertical, lead(leads=2)), None, A.DUPLICATE_LEAD),
    ((Row("ann", bids("9"), rejects(400)), BOB), lead(max_wait_ms=600), None, A.DEADLINE),
    ((TEST,), lead(test=True), None, A.UNCONFIRMED),
    ((has(), BOB), hang_up, None, A.SELLER_GONE),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "tell", "contract", "reason"), OUTCOMES)
def test_what_became_of_it_is_told(
    rows: tuple[Row, ...], tell: Tell, contract: str | None, reason: AuctionReason
) -> None:
    """By the receipt, to the seller where it is the whole, and by `exchange why`."""

    async def story(floor: Floor) -> None:
        told = await tell(floor)
        record = await record_of(floor, told)
        said = record.get("reason") or record.get("answer", {}).get("reason")
        if told.startswith("lead"):
            row = await floor.store.lead(lead_id(told))
            assert {reason} == {row.reason, said or row.reason, (await floor.look(told))["reason"]}
        elif contract is None:
            assert reason == said
        else:
            rows = (*record["asked"], *(one for one in record["offers"] if one.get("fixed")))
            assert [reason] == [one["reason"] for one in rows if one["contract"] == contract]
        words = [reason.value] if contract is None else [reason.value, f" {contract} "]
        assert any(all(w in line for w in words) for line in await why(floor, told))

    trade(story, *rows, tiers=LAST)


def test_every_outcome_has_a_story() -> None:
    assert set(AuctionReason) == {row[-1] for row in OUTCOMES}


# --- what a buyer did -----------------------------------------------------------------------------


def fails(failure: Failure) -> Row:
    return Row("ann", Says(10, None, failure=failure))


def answers(post: Says, **endpoint: Any) -> Row:
    return Row("ann", bids("9"), post, endpoint={"post_timeout_ms": 1000, **endpoint})


async def too_late(floor: Floor) -> str:
    """An award of 4 s, of a lead whose seller waits for two."""
    honest = floor.store.award

    async def slow(order: Any) -> Any:
        await pass_ms(4000)
        return await honest(order)

    floor.store.award = slow  # type: ignore[method-assign]
    told = await lead(max_wait_ms=2000)(floor)
    await pass_ms(5000)
    return told


async def unheard(floor: Floor) -> str:
    """An award that stands in the books, while its answer was lost."""
    honest = floor.store.award

    async def lose(order: Any) -> Any:
        await honest(order)
        raise StoreUnavailable("the answer was lost")

    floor.store.award = lose  # type: ignore[method-assign]
    told = await lead(max_wait_ms=2000)(floor)
    await watch(floor, 30)
    return told


async def by_hand(floor: Floor) -> str:
    """Nobody knows, until an operator says so."""
    told = await lead()(floor)
    (attempt,) = await floor.store.attempts(lead_id(told))
    await book_word(floor.store, attempt, AttemptState.REJECTED)
    await watch(floor, 5)
    return told


async def late(floor: Floor) -> str:
    told = await ping()(floor)
    await pass_ms(500)
    return told


def not_ours(floor: Floor) -> None:
    """A fault that a test makes on purpose is not reported."""
    floor.house.observer = Quiet()


B = BuyerReason
PRICED = {"pricing": Pricing(mode=PricingMode.BID, min_micros=2 * MICROS, max_micros=80 * MICROS)}
BROKEN = {"pricing": Pricing(mode=PricingMode.BID, max_micros="80")}  # type: ignore[arg-type]
ASKED = {"status_url": "http://127.0.0.1:9/s"}
CALLS: list[tuple[Row, Tell, str, BuyerReason]] = [
    (Row("ann", bids("much")), ping(), "invalid", B.BID_NOT_A_NUMBER),
    (Row("ann", bids("-1")), ping(), "invalid", B.BID_NEGATIVE),
    (Row("ann", bids("1.1234567")), ping(), "invalid", B.BID_TOO_PRECISE),
    (Row("ann", bids("81"), contract=PRICED), ping(), "invalid", B.BID_ABOVE_MAX),
    (Row("ann", bids("1"), contract=PRICED), ping(), "invalid", B.BID_BELOW_MIN),
    (Row("ann", bids("9", currency="EUR")), ping(), "invalid", B.BID_WRONG_CURRENCY),
    (Row("ann", bids("9", ping_id="ping_1")), ping(), "invalid", B.BID_WRONG_PING),
    (Row("ann", bids("9", expires_in_s="soon")), ping(), "invalid", B.BID_EXPIRY_INVALID),
    (Row("ann", NO), ping(), "no_bid", B.DECLINED),
    (Row("ann", SILENT), ping(), "missed", B.TIMED_OUT),
    (Row("ann", bids("9", 450)), late, "late", B.LATE),
    (SICK, ping(), "missed", B.UNREACHABLE),
    (fails(Failure.DNS), ping(), "missed", B.DNS_FAILED),
    (fails(Failure.TLS), ping(), "missed", B.TLS_FAILED),
    (fails(Failure.BLOCKED), ping(), "missed", B.ADDRESS_BLOCKED),
    (fails(Failure.RESET), ping(), "missed", B.CONNECTION_RESET),
    (fails(Failure.OVERSIZED), ping(), "missed", B.OVERSIZED),
    (fails(Failure.POOL_FULL), ping(), "missed", B.POOL_FULL),
    (Row("ann", Says(10, 200, b"{")), ping(), "missed", B.GARBLED),
    (Row("ann", Says(10, 500)), ping(), "missed", B.BUYER_HTTP_ERROR),
    (Row("ann", bids("9"), contract=BROKEN), given(not_ours, ping()), "missed", B.CALL_BROKE),
    (ANN_NO, lead(), "rejected", B.REJECTED),
    (answers(Says(10, 422)), lead(), "rejected", B.BUYER_HTTP_4XX),
    (answers(Says(10, 409)), lead(), "rejected", B.DUPLICATE_BUYER),
    (DEAF, lead(), "not_sent", B.UNREACHABLE),
    (answers(accepts()), too_late, "not_sent", B.TOO_LATE),
    (answers(accepts()), unheard, "not_sent", B.INTERRUPTED),
    (answers(SILENT), lead(), "unconfirmed", B.TIMED_OUT),
    (answers(Says(10, 500)), lead(), "unconfirmed", B.NO_DEFINITE_ANSWER),
    (replace(answers(SILENT, **ASKED), status=accepts()), lead(), "accepted", B.SAID_BY_STATUS),
    (answers(SILENT), by_hand, "rejected", B.SAID_BY_PERSON),
]  # fmt: skip


@pytest.mark.parametrize(("row", "tell", "result", "reason"), CALLS)
def test_what_a_buyer_did_is_told(row: Row, tell: Tell, result: str, reason: BuyerReason) -> None:
    """By what is stored of the call, and by `exchange why`."""

    async def story(floor: Floor) -> None:
        told = await tell(floor)
        assert [(result, reason)] == await calls(floor, told) or result == "late"
        lines = [line for line in await why(floor, told) if " ann " in line]
        assert any(result in line and reason.value in line for line in lines)

    trade(story, row)


async def calls(floor: Floor, told: str) -> list[tuple[str, str]]:
    """How each ping or post ended; of a lead that is still open its attempts tell."""
    record = await record_of(floor, told)
    if "asked" in record:
        return [(one["result"], one["reason"]) for one in record["asked"]]
    if record:
        return [(one["state"], one["reason"]) for one in record["attempts"]]
    found = await floor.store.attempts(lead_id(told))
    return [(one.state.value, orjson.loads(one.detail)["reason"]) for one in found]


def test_every_end_of_a_call_has_a_story() -> None:
    assert set(BuyerReason) == {row[-1] for row in CALLS}
