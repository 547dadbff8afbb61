"""A post that hangs is neither sold nor lost: nobody else gets the lead until somebody knows."""

import asyncio
import time

import pytest

from tests.acceptance.conftest import OpenMarket
from tests.acceptance.exchanges import eventually
from tests.acceptance.markets import PERSON, bids, buys

pytestmark = pytest.mark.acceptance


async def test_a_late_accepted_settles_the_sale(open_market: OpenMarket) -> None:
    """202 at the seller's deadline, nobody else is offered the lead, and the late word books it."""
    market = await open_market(
        bids("slow", endpoint={"post_timeout_ms": 5000}, temper={"post_delay_ms": 1800}),
        bids("next", "9.00"),
        buys("rest"),
    )
    began = time.monotonic()
    pending = await market.post(max_wait_ms=600, once="k")
    took = time.monotonic() - began
    assert (202, "pending", "2") == (
        pending.status, pending["outcome"], pending.headers["Retry-After"]
    )  # fmt: skip
    print(f"202 after {took * 1000:.0f} ms of 600")
    assert 0.5 < took < 0.9
    again = await market.post(max_wait_ms=600, once="k")
    assert (202, pending["lead_id"]) == (again.status, again["lead_id"])
    sold = await market.ended(pending["lead_id"])
    assert ("sold", "8.00") == (sold["outcome"], sold["price"])
    assert {pending["lead_id"]: "slow"} == await market.audit()
    assert ([], []) == (market.book("next").posts, market.book("rest").posts)
    final = [await market.post(max_wait_ms=600, once="k") for _ in range(2)]
    assert (200, "sold") == (final[0].status, final[0]["outcome"])
    assert final[0].raw == final[1].raw


async def test_a_late_rejected_ends_the_lead(open_market: OpenMarket) -> None:
    """No new post starts after the deadline: unsold, reason deadline."""
    market = await open_market(
        bids("slow", temper={"post_delay_ms": 1200, "reject": 1.0}), bids("next", "9.00")
    )
    pending = await market.post(max_wait_ms=600)
    assert 202 == pending.status
    ended = await market.ended(pending["lead_id"])
    assert ("unsold", "deadline") == (ended["outcome"], ended["reason"])
    assert [] == market.book("next").posts
    assert {} == await market.audit()


async def test_a_stalled_idempotent_buyer_is_sent_the_lead_again(open_market: OpenMarket) -> None:
    """The same webhook-id and body at once, and the answer then is the outcome."""
    market = await open_market(
        bids(
            "again",
            endpoint={"post_timeout_ms": 400, "idempotent": True},
            temper={"post_stall": 1.0, "books_when_stalling": True},
        ),
        buys("rest"),
    )
    sold = await market.post(max_wait_ms=5000)
    assert (200, "sold") == (sold.status, sold["outcome"])
    (entry,) = market.book("again").posts
    assert (2, 0) == (entry.received_times, entry.bodies_differed)
    assert {sold["lead_id"]: "again"} == await market.audit()


@pytest.mark.parametrize("verdict", ["accepted", "rejected"])
async def test_a_status_url_resolves(open_market: OpenMarket, verdict: str) -> None:
    """Asked at once while there is time; a rejection lets the next one have the lead."""
    temper = {"post_stall": 1.0, "books_when_stalling": True}
    if verdict == "rejected":
        temper = {"reject": 1.0, "post_delay_ms": 1000}
    market = await open_market(
        bids("asked", endpoint={"post_timeout_ms": 300, "status_url": "yes"}, temper=temper),
        bids("next", "9.00"),
    )
    sold = await market.post(max_wait_ms=5000)
    assert (200, "sold") == (sold.status, sold["outcome"])
    expected = "asked" if verdict == "accepted" else "next"
    assert {sold["lead_id"]: expected} == await market.audit()
    assert 1 == market.book("asked").posts[0].received_times


async def test_an_unconfirmed_post_is_asked_again_after_five_seconds(
    open_market: OpenMarket,
) -> None:
    """Nobody knew at the deadline; the second try, 5 s later, finds out, unless the buyer knows no more."""
    market = await open_market(
        bids(
            "asked",
            endpoint={"post_timeout_ms": 300, "status_url": "yes"},
            temper={"post_stall": 1.0},
        )
    )
    found, unknown = await asyncio.gather(*(market.post(max_wait_ms=2000) for _ in range(2)))
    for one in (found, unknown):
        assert (202, "pending") == (one.status, one["outcome"])
    (entry,) = [one for one in market.book("asked").posts if one.lead_id == found["lead_id"]]
    entry.verdict = "accepted"  # type: ignore[assignment]
    # It takes its time on a busy machine, in which the first may be found out.
    listed = (await market.exchange.command("unconfirmed")).stdout
    (line,) = [text for text in listed.splitlines() if unknown["lead_id"] in text]
    assert "asked again in" in line
    assert "sold" == (await market.ended(found["lead_id"], 9))["outcome"]


async def test_a_person_settles_what_nobody_can_be_asked(open_market: OpenMarket) -> None:
    """`exchange unconfirmed` lists it; the first word wins, the same again is fine, a contrary one not."""
    market = await open_market(
        bids("mute", endpoint={"post_timeout_ms": 300}, temper={"post_stall": 1.0, "books_when_stalling": True}),
        buys("rest"),
    )  # fmt: skip
    command = market.exchange.command
    leads = [(await market.post(max_wait_ms=1500))["lead_id"] for _ in range(2)]
    assert {"pending"} == {(await market.lead(one))["outcome"] for one in leads}
    listed = (await command("unconfirmed")).stdout
    for one in leads:
        line = next(text for text in listed.splitlines() if one in text)
        assert "waits for a person" in line
        assert "10.00" in line
    accepted = await command("unconfirmed", "settle", leads[0], "accepted")
    assert 0 == accepted.returncode, accepted.stderr
    assert "sold" == (await market.ended(leads[0]))["outcome"]
    codes = [
        (await command("unconfirmed", "settle", leads[0], word)).returncode
        for word in ("accepted", "rejected")
    ]
    assert [0, 1] == codes
    market.book("mute").posts[1].verdict = "rejected"  # type: ignore[assignment]
    assert 0 == (await command("unconfirmed", "settle", leads[1], "rejected")).returncode
    ended = await market.ended(leads[1])
    assert ("unsold", "deadline") == (ended["outcome"], ended["reason"])
    assert [] == market.book("rest").posts
    assert {leads[0]: "mute"} == await market.audit()
    assert 1 == (await command("unconfirmed", "settle", "lead_" + "0" * 32, "accepted")).returncode
    assert 2 == (await command("unconfirmed", "settle", leads[0], "maybe")).returncode


@pytest.mark.parametrize("fault", ["post_garble", "post_reset", "post_error"])
async def test_what_is_no_definite_answer_is_unconfirmed(
    open_market: OpenMarket, fault: str
) -> None:
    """Garbled, cut or 5xx: it may have arrived, so nobody else gets it."""
    market = await open_market(
        bids("odd", temper={fault: 1.0, "books_when_stalling": True}), buys("rest")
    )
    pending = await market.post(max_wait_ms=1500)
    assert (202, "pending") == (pending.status, pending["outcome"])
    assert [] == market.book("rest").posts
    await market.exchange.command("unconfirmed", "settle", pending["lead_id"], "accepted")
    await market.ended(pending["lead_id"])
    assert {pending["lead_id"]: "odd"} == await market.audit()


async def test_what_was_never_sent_moves_on(open_market: OpenMarket) -> None:
    """Nobody listens at the post's address: the next one gets the lead at once."""
    market = await open_market(
        bids("gone", endpoint={"post_url": "http://127.0.0.1:9/post"}), bids("next", "9.00")
    )
    sold = await market.post()
    assert {sold["lead_id"]: "next"} == await market.audit()
    assert "not_sent" in await market.why(sold["lead_id"])


async def test_a_pending_ping_answers_its_repeats(open_market: OpenMarket) -> None:
    """Posting the ping of a hanging lead again shows the present state, asks nobody, sells once."""
    market = await open_market(bids("slow", temper={"post_delay_ms": 1500}))
    quote = await market.ping()
    first, again = await asyncio.gather(
        market.post(quote["ping_id"], PERSON, max_wait_ms=700),
        market.post(quote["ping_id"], PERSON, max_wait_ms=900),
    )
    assert (202, 202) == (first.status, again.status)
    assert first["lead_id"] == again["lead_id"]
    await eventually(lambda: market.book("slow").posts)
    assert "sold" == (await market.ended(first["lead_id"]))["outcome"]
    assert 1 == len(market.book("slow").posts)
