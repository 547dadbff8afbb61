"""Sellers' callbacks, against processes and a real receiver: who was answered 202 is told the end."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.acceptance.exchanges import Exchange, an_exchange, eventually, kill
from tests.acceptance.markets import FIELDS, Market, Stand, a_market, bids
from tests.making import SECRET
from tests.receiving import Receiver, a_receiver

pytestmark = pytest.mark.acceptance

MUTE = {"post_stall": 1.0, "books_when_stalling": True}
SLOW: dict[str, Any] = {"endpoint": {"post_timeout_ms": 5000}, "temper": {"post_delay_ms": 1200}}


@dataclass(frozen=True)
class Mine:
    """A file that tells each process that starts where it will die; "": it lives."""

    file: Path

    def lay(self, point: str) -> None:
        self.file.write_text(point)


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Mine:
    found = Mine(tmp_path_factory.mktemp("callbacks") / "point")
    found.lay("")
    return found


@pytest.fixture(scope="module")
def exchange(mine: Mine) -> Iterator[Exchange]:
    where = {"EXCHANGE_FAILPOINT": f"@{mine.file}"}
    with an_exchange(workers=2, environment=where, callback_timeout_s=1) as started:
        yield started


@asynccontextmanager
async def called_back(
    exchange: Exchange, *stands: Stand, **how: Any
) -> AsyncIterator[tuple[Market, Receiver]]:
    """A market whose seller has a callback_url."""
    async with a_receiver(**how) as receiver:
        seller = {"callback_url": receiver.url, "callback_secret": SECRET}
        async with a_market(exchange, *stands, seller=seller) as market:
            yield market, receiver


async def row_of(market: Market, lead_id: str) -> dict[str, Any]:
    rows = await market.db.fetch(
        "SELECT * FROM callback WHERE lead_id = $1", lead_id.rpartition("_")[2]
    )
    return dict(rows[0]) if rows else {}


async def stands(market: Market, lead_id: str, state: str) -> dict[str, Any]:
    """Its row once it is in that state."""

    async def look() -> dict[str, Any] | None:
        row = await row_of(market, lead_id)
        return row if row.get("state") == state else None

    found: dict[str, Any] = await eventually(look, 20)
    return found


async def make_due(market: Market, lead_id: str) -> None:
    """As if the pause were over."""
    await market.db.execute(
        "UPDATE callback SET due_at = now(), last_at = NULL WHERE lead_id = $1",
        lead_id.rpartition("_")[2],
    )


async def tried(market: Market, lead_id: str, tries: int) -> dict[str, Any]:
    """Its row once so many tries, or more, have been made and booked."""

    async def look() -> dict[str, Any] | None:
        row = await row_of(market, lead_id)
        return row if row.get("tries", 0) >= tries and row["last_at"] else None

    found: dict[str, Any] = await eventually(look, 20)
    return found


async def test_a_pending_lead_is_told_once_as_it_ended(exchange: Exchange) -> None:
    """The body is what GET answers, without the timeline; it is signed; nothing of the person is in it."""
    async with called_back(exchange, bids("slow", **SLOW)) as (market, receiver):
        pending = await market.post(max_wait_ms=600, external_id="mine-7")
        assert 202 == pending.status
        await stands(market, pending["lead_id"], "open")  # a slow disk does not hold up the 202
        assert [] == receiver.heard
        await stands(market, pending["lead_id"], "delivered")
        (told,) = receiver.heard
        seen = (await market.lead(pending["lead_id"])).json
        del seen["timeline"]
        assert {"type": "lead", "test": False, **seen} == told.json
        assert ("sold", "8.00", "mine-7") == (seen["outcome"], seen["price"], seen["external_id"])
        assert told.is_signed(SECRET)
        assert not told.is_signed("whsec_" + "A" * 43 + "=")
        assert f"{pending['lead_id']}.final" == told.id
        assert "application/json" == told.headers["content-type"]
        assert not any(str(value).encode() in told.raw for value in (FIELDS["phone"], "ada@"))


async def test_who_is_answered_on_the_line_is_not_called(exchange: Exchange) -> None:
    async with called_back(exchange, bids("quick")) as (market, receiver):
        sold = await market.post()
        unsold = await market.post(min_price="99.00")
        assert ("sold", "unsold") == (sold["outcome"], unsold["outcome"])
        assert (
            {} == await row_of(market, sold["lead_id"]) == await row_of(market, unsold["lead_id"])
        )
        assert [] == receiver.heard


async def test_a_seller_who_hung_up_is_told(exchange: Exchange) -> None:
    """After the intent the lead goes on to its end, and he has heard nothing of it."""
    async with called_back(exchange, bids("slow", **SLOW)) as (market, receiver):
        posting = asyncio.create_task(market.post())
        await eventually(lambda: market.book("slow").posts)
        posting.cancel()
        await asyncio.gather(posting, return_exceptions=True)
        (told,) = await eventually(lambda: receiver.heard)
        assert "sold" == told.json["outcome"]
        assert {told.json["lead_id"]: "slow"} == await market.audit()


async def test_an_unsold_one_and_a_test_are_told_too(exchange: Exchange) -> None:
    late: dict[str, Any] = {"temper": {"post_delay_ms": 1200, "reject": 1.0}}
    accepts = {"endpoint": {"accepts_test": True}}
    async with called_back(exchange, bids("slow", **late, **accepts)) as (market, receiver):
        for test in (False, True):
            pending = await market.post(max_wait_ms=600, test=test)
            assert 202 == pending.status
            await stands(market, pending["lead_id"], "delivered")
            (told,) = receiver.of(pending["lead_id"])
            assert ("unsold", "deadline", test) == (
                told.json["outcome"], told.json["reason"], told.json["test"]
            )  # fmt: skip


async def test_a_person_s_word_is_passed_on(exchange: Exchange) -> None:
    """202 because nobody knows; days later somebody says: then the seller is told."""
    mute = bids("mute", endpoint={"post_timeout_ms": 300}, temper=MUTE)
    async with called_back(exchange, mute) as (market, receiver):
        lead_id = (await market.post(max_wait_ms=1500))["lead_id"]
        assert "pending" == (await market.lead(lead_id))["outcome"]
        assert [] == receiver.heard
        await market.exchange.command("unconfirmed", "settle", lead_id, "accepted")
        await stands(market, lead_id, "delivered")
        assert ["sold"] == [one.json["outcome"] for one in receiver.heard]


async def test_it_is_tried_again_until_it_is_taken(exchange: Exchange) -> None:
    """500, 302, then 204: the id and the body stay, the timestamp is that of the sending."""
    slow = bids("slow", **SLOW)
    async with called_back(exchange, slow, statuses=[500, 302, 204]) as (market, receiver):
        lead_id = (await market.post(max_wait_ms=600))["lead_id"]
        pauses = []
        for tries, status in ((1, 500), (2, 302)):
            row = await tried(market, lead_id, tries)
            assert ("open", status, f"http_{status}") == (
                row["state"], row["last_status"], row["last_reason"]
            )  # fmt: skip
            pauses.append(round((row["due_at"] - row["last_at"]).total_seconds()))
            await make_due(market, lead_id)
        row = await stands(market, lead_id, "delivered")
        assert (204, None) == (row["last_status"], row["last_reason"])
        assert [5, 30] == pauses
        assert 3 == len(receiver.heard)
        assert 1 == len({(one.id, one.raw) for one in receiver.heard})
        assert all(one.is_signed(SECRET) for one in receiver.heard)


async def test_410_ends_it_and_again_begins_it(exchange: Exchange) -> None:
    """An endpoint that says that it is gone is not asked again, but for an operator's word."""
    slow = bids("slow", **SLOW)
    async with called_back(exchange, slow, statuses=[410, 200]) as (market, receiver):
        lead_id = (await market.post(max_wait_ms=600))["lead_id"]
        assert 410 == (await stands(market, lead_id, "given_up"))["last_status"]
        assert "called back: given_up (HTTP 410, try 1)" in await market.why(lead_id)
        key = (await exchange.command("keys", "create", "--role", "admin")).stdout.split()[-1]
        sent = await office_call(exchange, "POST", f"/v1/leads/{lead_id}/callback", key)
        assert 202 == sent[0], sent
        await stands(market, lead_id, "delivered")
        assert 2 == len(receiver.heard)


async def office_call(exchange: Exchange, method: str, path: str, key: str) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.request(method, exchange.office_url + path) as response,
    ):
        return response.status, await response.json()


async def test_who_hangs_holds_up_only_himself(exchange: Exchange) -> None:
    """More leads than he has places: his tries time out, another seller's go through meanwhile."""
    slow = bids("slow", **SLOW)
    async with (
        called_back(exchange, slow, hangs=True) as (market, hanging),
        called_back(exchange, slow) as (other, quick),
    ):
        mine = await asyncio.gather(*(market.post(max_wait_ms=600) for _ in range(8)))
        theirs = await other.post(max_wait_ms=600)
        assert {202} == {one.status for one in (*mine, theirs)}
        await stands(other, theirs["lead_id"], "delivered")
        assert 1 == len(quick.heard)
        await eventually(lambda: len({one.id for one in hanging.heard}) == 8, 20)
        row = await tried(market, hanging.heard[0].json["lead_id"], 1)
        assert ("open", None, "timed_out") == (row["state"], row["last_status"], row["last_reason"])
        hanging.hangs = False
        for one in mine:
            await tried(market, one["lead_id"], 1)
            await make_due(market, one["lead_id"])
            await stands(market, one["lead_id"], "delivered")


async def test_a_killed_worker_owes_what_it_had_begun(exchange: Exchange, mine: Mine) -> None:
    """`kill -9` right after the intent, and right after the end: nobody could answer, so he is told."""
    again = {"idempotent": True, "post_timeout_ms": 1000, "status_url": "yes"}
    for point in ("after_intent", "after_close"):
        mine.lay(f"{point}:1")
        doomed = exchange.children("exchange.app")
        for pid in doomed:
            kill(pid)
        await eventually(lambda d=doomed: set(exchange.children("exchange.app")).isdisjoint(d))  # type: ignore[misc]
        async with called_back(exchange, bids("again", endpoint=again)) as (market, receiver):
            mine.lay("")
            with pytest.raises(aiohttp.ClientError):
                await market.post()
            (told,) = await eventually(lambda r=receiver: r.heard, 30)  # type: ignore[misc]
            assert told.is_signed(SECRET)
            assert told.json["outcome"] == (await market.ended(told.json["lead_id"]))["outcome"]
            await stands(market, told.json["lead_id"], "delivered")
        for pid in exchange.children("exchange.app"):  # who has not died yet never will
            kill(pid)


async def test_a_killed_office_sends_it_again(exchange: Exchange, mine: Mine) -> None:
    """Dead between the seller's 200 and the booking: sent twice, with one id, and booked once."""
    async with called_back(exchange, bids("slow", **SLOW)) as (market, receiver):
        mine.lay("after_callback:1")
        (office,) = exchange.children("exchange.office")
        kill(office)
        await eventually(lambda: set(exchange.children("exchange.office")) - {office})
        lead_id = (await market.post(max_wait_ms=600))["lead_id"]
        await eventually(lambda: receiver.heard, 20)
        mine.lay("")
        await eventually(lambda: len(receiver.heard) == 2, 30)  # the lease is over
        await stands(market, lead_id, "delivered")
        assert 1 == len({(one.id, one.raw) for one in receiver.heard})


async def test_a_shared_lead_is_told_when_nothing_is_open_any_more(exchange: Exchange) -> None:
    """Sold on the line with one post unconfirmed: called once, when that has an outcome. Answered 202:
    told that it is sold, and told once more."""
    shared = {"exclusivity": "shared", "max_shares": 2}
    mute = bids("mute", "9.00", endpoint={"post_timeout_ms": 300}, temper=MUTE, **shared)
    quick = bids("quick", temper={"post_delay_ms": (0, 0)}, **shared)
    async with called_back(exchange, quick, mute) as (market, receiver):
        answer = await market.post(max_wait_ms=3000)
        assert (200, "sold", 1) == (answer.status, answer["outcome"], answer["pending"])
        lead_id = answer["lead_id"]
        assert 1 == (await row_of(market, lead_id))["told"]
        assert [] == receiver.heard
        done = await exchange.command(
            "unconfirmed", "settle", lead_id, "accepted", "--contract", market.slug("mute")
        )
        assert 0 == done.returncode, done.stderr
        await stands(market, lead_id, "delivered")
        (told,) = receiver.heard
        assert f"{lead_id}.final" == told.id
        assert "pending" not in told.json
        assert 2 == len(told.json["sales"])


async def test_without_a_url_nothing_is_owed_and_a_dropped_one_gives_up(
    exchange: Exchange,
) -> None:
    """The address in force when it is sent counts."""
    mute = bids("mute", endpoint={"post_timeout_ms": 300}, temper=MUTE)
    async with a_market(exchange, mute) as plain:
        assert {} == await row_of(plain, (await plain.post(max_wait_ms=1500))["lead_id"])
    async with called_back(exchange, mute) as (market, receiver):
        lead_id = (await market.post(max_wait_ms=1500))["lead_id"]
        await market.db.execute(
            "UPDATE document SET body = body || '{\"callback_url\": null}' WHERE slug = $1",
            f"s-{market.vertical}",
        )
        await market.exchange.command("unconfirmed", "settle", lead_id, "rejected")
        row = await stands(market, lead_id, "given_up")
        assert "no_callback_url" == row["last_reason"]
        assert [] == receiver.heard
