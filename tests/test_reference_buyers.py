"""Reference buyers: every kind of temper as the exchange would meet it, and the demo's documents."""

import asyncio
import signal
import sys
import tomllib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import orjson
import pytest

from buyers import strict_json
from buyers.money import MICROS
from buyers.reference.book import PINGS_SEEN_MAX, Book, take_ping, take_post
from buyers.reference.reading import TempersInvalid, patch_temper, read_tempers
from buyers.reference.running import read_listen
from buyers.reference.server import ReferenceBuyers
from buyers.reference.temper import (
    PingKind,
    PostKind,
    Temper,
    Verdict,
    on_ping,
    on_post,
)
from buyers.signing import new_secret, read_secret, sign

SECRET = new_secret(b"0123456789abcdef01234567")
NOW = 1_800_000_000.0
ROOT = Path(__file__).parents[1]
HARE = Temper(
    name="hare", secret=SECRET, seed=7, price_min_micros=8 * MICROS, price_max_micros=9 * MICROS
)
PING = {
    "type": "ping",
    "ping_id": "ping_1",
    "test": False,
    "fields": {"state": "CA", "zip": "90001"},
}
POST = {
    "type": "post",
    "lead_id": "lead_1",
    "price": "8.50",
    "test": False,
    "fields": {"email": "a@example.org"},
}


@dataclass
class Client:
    """The exchange's side, as small as it gets."""

    base: str
    http: aiohttp.ClientSession

    async def send(
        self, what: str, message: dict[str, Any], *, webhook_id: str = "wh_1", secret: str = SECRET
    ) -> tuple[int, bytes]:
        body = orjson.dumps(message)
        headers = {
            "webhook-id": webhook_id,
            "webhook-timestamp": str(int(NOW)),
            "webhook-signature": sign(read_secret(secret), webhook_id, int(NOW), body),
        }
        async with self.http.post(f"{self.base}/hare/{what}", data=body, headers=headers) as answer:
            return answer.status, await answer.read()

    async def ask(self, what: str, message: dict[str, Any], **options: Any) -> dict[str, Any]:
        status, body = await self.send(what, message, **options)
        assert status == 200, body
        return strict_json.loads_object(body)

    async def get(
        self, path: str, *, method: str = "GET", expect: int = 200, **options: Any
    ) -> Any:
        async with self.http.request(method, f"{self.base}/hare/{path}", **options) as answer:
            assert answer.status == expect
            body = await answer.read()
            return orjson.loads(body) if body else None

    async def change(self, expect: int = 200, **changes: Any) -> Any:
        return await self.get("temper", method="PATCH", expect=expect, json=changes)


@pytest.fixture
async def buyers() -> AsyncIterator[ReferenceBuyers]:
    served = ReferenceBuyers([HARE, replace(HARE, name="fox")], clock=lambda: NOW)
    await served.start("127.0.0.1", 0)
    yield served
    await served.stop()


@pytest.fixture
async def client(buyers: ReferenceBuyers) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as http:
        yield Client(base=buyers.base_url, http=http)


# --- decisions -----------------------------------------------------------------------------------


def test_bids_are_whole_cents_within_the_range() -> None:
    odd = replace(HARE, price_min_micros=1_001_000, price_max_micros=1_049_999)
    prices = {on_ping(odd, Random(i), PING).price_micros for i in range(200)}
    assert prices == {1_010_000, 1_020_000, 1_030_000, 1_040_000}


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, PingKind.BID),
        ({"decline": 1}, PingKind.DECLINE),
        ({"ping_stall": 1}, PingKind.STALL),
        ({"ping_garble": 1}, PingKind.GARBLE),
        ({"ping_reset": 1}, PingKind.RESET),
        ({"ping_error": 1}, PingKind.ERROR),
        ({"likes": {"state": ["CA", "TX"]}}, PingKind.BID),
        ({"likes": {"state": ["TX"]}}, PingKind.DECLINE),
        ({"likes": {"home_owner": ["own"]}}, PingKind.DECLINE),
    ],
)
def test_each_ping_mood(changes: dict[str, Any], kind: PingKind) -> None:
    assert on_ping(replace(HARE, **changes), Random(1), PING).kind is kind


@pytest.mark.parametrize(
    ("changes", "kind", "verdict"),
    [
        ({}, PostKind.ACCEPT, Verdict.ACCEPTED),
        ({"reject": 1}, PostKind.REJECT, Verdict.REJECTED),
        ({"post_stall": 1}, PostKind.STALL, None),
        ({"post_stall": 1, "books_when_stalling": True}, PostKind.STALL_BOOKED, Verdict.ACCEPTED),
        ({"post_stall_then_accept": 1}, PostKind.STALL_BOOKED, Verdict.ACCEPTED),
        ({"post_garble": 1}, PostKind.GARBLE, None),
        ({"post_garble": 1, "books_when_stalling": True}, PostKind.GARBLE, Verdict.ACCEPTED),
        ({"post_reset": 1}, PostKind.RESET, None),
        ({"post_error": 1}, PostKind.ERROR, None),
        ({"post_error": 1, "books_when_stalling": True}, PostKind.ERROR, Verdict.ACCEPTED),
    ],
)
def test_each_post_mood(changes: dict[str, Any], kind: PostKind, verdict: Verdict | None) -> None:
    plan = on_post(replace(HARE, **changes), Random(1), POST)
    assert (plan.kind, plan.verdict) == (kind, verdict)


def test_probabilities_are_shares_of_all_messages() -> None:
    moody = replace(HARE, decline=0.2, ping_stall=0.1, ping_garble=0.3, delay_ms=(5, 9))
    rng = Random(3)
    plans = [on_ping(moody, rng, PING) for _ in range(4000)]
    seen = Counter(plan.kind for plan in plans)
    assert [
        round(seen[k] / 4000, 1)
        for k in (PingKind.DECLINE, PingKind.STALL, PingKind.GARBLE, PingKind.BID)
    ] == [
        0.2,
        0.1,
        0.3,
        0.4,
    ]
    assert {plan.delay_ms for plan in plans} == {5, 6, 7, 8, 9}
    assert {p.note for p in plans if p.kind is PingKind.GARBLE} == {
        "html",
        "broken",
        "duplicate_key",
    }


def test_the_order_of_arrival_changes_nothing() -> None:
    moody = replace(HARE, reject=0.5, reject_reasons=("duplicate", "bad phone"))
    ids = [f"att_{i}" for i in range(50)]

    def verdicts(order: list[str]) -> dict[str, str]:
        book = Book()
        return {i: str(take_post(book, moody, i, POST, at=NOW)[1]) for i in order}

    assert verdicts(ids) == verdicts(ids[::-1])
    assert take_ping(Book(), moody, "a", PING) == take_ping(Book(), moody, "a", PING)


# --- the book ------------------------------------------------------------------------------------


def test_a_repeat_is_one_entry_only_where_the_buyer_dedupes() -> None:
    book = Book()
    first = book.receive("a", POST, at=NOW, dedupes=True)
    assert book.receive("a", POST, at=NOW + 1, dedupes=True) is first
    assert book.receive("a", POST | {"price": "1"}, at=NOW, dedupes=True).bodies_differed == 1
    assert (first.received_times, first.at, first.price) == (3, NOW, "8.50")
    assert book.receive("a", POST, at=NOW + 2, dedupes=False) is not first
    assert (len(book.posts), book.received("a"), book.entry("a")) == (2, 4, first)


def test_an_undecided_stall_is_drawn_anew_until_it_is_decided() -> None:
    book, staller = Book(), replace(HARE, post_stall=0.5)
    kinds = [take_post(book, staller, "a", POST, at=NOW)[1].kind for _ in range(30)]
    assert PostKind.ACCEPT in kinds
    decided = kinds.index(PostKind.ACCEPT)
    assert set(kinds[decided:]) == {PostKind.ACCEPT}
    assert len(book.posts) == 1


def test_the_ring_of_pings_is_bounded() -> None:
    book = Book()
    for i in range(PINGS_SEEN_MAX + 5):
        book.see_ping({"fields": {"i": i}})
    assert (book.pings, len(book.pings_seen), book.pings_seen[0]) == (1005, 1000, {"i": 5})


# --- over HTTP -----------------------------------------------------------------------------------


async def test_bids_accepts_and_shows_it_in_the_inbox(
    buyers: ReferenceBuyers, client: Client
) -> None:
    bid = await client.ask("ping", PING)
    assert 8 <= float(bid["bid"]) <= 9
    assert bid["bid_id"] == "hare-ping_1"
    assert await client.ask("post", POST, webhook_id="att_1") == {
        "status": "accepted", "buyer_ref": "hare-1", "redirect_url": None,
    }  # fmt: skip
    inbox = await client.get("inbox")
    assert inbox["accepted"] == inbox["posts"]
    assert inbox["accepted"][0] | {"body": None} == {
        "webhook_id": "att_1", "lead_id": "lead_1", "price": "8.50", "fields": POST["fields"],
        "body": None, "received_times": 1, "bodies_differed": 0, "verdict": "accepted",
        "note": None, "at": NOW,
    }  # fmt: skip
    assert (inbox["pings"], inbox["pings_seen"]) == (1, [PING["fields"]])
    assert [entry.lead_id for entry in buyers.books["hare"].accepted()] == ["lead_1"]
    assert buyers.books["fox"].counts()["received"] == 0


async def test_declines_and_rejects_with_a_reason(client: Client) -> None:
    await client.change(decline=1, reject=1, reject_reasons=["bad phone"])
    assert await client.ask("ping", PING) == {"bid": None, "reason": "not interested"}
    assert await client.ask("post", POST) == {"status": "rejected", "reason": "bad phone"}
    await client.change(reject=0)
    assert (await client.ask("post", POST))["reason"] == "bad phone"  # out of the book
    assert await client.get("status?webhook_id=wh_1") == {"status": "rejected"}


async def test_garbled_answers_are_unreadable_in_three_ways(client: Client) -> None:
    await client.change(ping_garble=1, post_garble=1)
    bodies = set()
    for i in range(12):
        status, body = await client.send(("ping", "post")[i % 2], PING, webhook_id=f"wh_{i}")
        assert status == 200
        with pytest.raises(strict_json.JsonInvalid):
            strict_json.loads_object(body)
        bodies.add(body)
    assert len(bodies) == 3


@pytest.mark.parametrize("what", ["ping", "post"])
async def test_errors_and_resets(client: Client, what: str) -> None:
    await client.change(**{f"{what}_error": 1})
    assert (await client.send(what, PING))[0] == 500
    await client.change(**{f"{what}_error": 0, f"{what}_reset": 1})
    with pytest.raises((aiohttp.ClientConnectionError, ConnectionError)):
        await client.send(what, PING)


@pytest.mark.parametrize(("books", "status"), [(False, "unknown"), (True, "accepted")])
async def test_a_stalled_post_is_booked_before_anything_is_answered(
    buyers: ReferenceBuyers, client: Client, books: bool, status: str
) -> None:
    await client.change(post_stall=1, books_when_stalling=books)
    with pytest.raises(TimeoutError):
        await _within(0.1, client.send("post", POST))
    assert await client.get("status?webhook_id=wh_1") == {"status": status}
    assert len(buyers.books["hare"].accepted()) == books
    await client.change(post_stall=0)
    assert (await client.ask("post", POST))["status"] == "accepted"
    entry = buyers.books["hare"].entry("wh_1")
    assert entry is not None
    assert (entry.received_times, len(buyers.books["hare"].posts)) == (2, 1)


async def test_a_delayed_post_is_booked_at_once(client: Client) -> None:
    await client.change(post_delay_ms=60_000)
    with pytest.raises(TimeoutError):
        await _within(0.1, client.send("post", POST))
    assert await client.get("status?webhook_id=wh_1") == {"status": "accepted"}


async def test_stopping_hangs_up_on_the_stalled(buyers: ReferenceBuyers, client: Client) -> None:
    await client.change(ping_stall=1)
    stalled = asyncio.ensure_future(client.send("ping", PING))
    while not (await client.get("inbox"))["pings"]:
        pass
    await buyers.stop()
    with pytest.raises((aiohttp.ClientConnectionError, ConnectionError)):
        await stalled


async def test_a_buyer_without_dedupe_takes_a_repeat_for_another_lead(client: Client) -> None:
    await client.change(dedupes=False, knows_status=False)
    refs = [(await client.ask("post", POST))["buyer_ref"] for _ in range(2)]
    assert refs == ["hare-1", "hare-2"]
    assert len((await client.get("inbox"))["accepted"]) == 2
    await client.get("status?webhook_id=wh_1", expect=404)


async def test_status_of_a_stranger_is_unknown(client: Client) -> None:
    assert await client.get("status?webhook_id=nobody") == {"status": "unknown"}


async def test_a_wrong_signature_is_401_and_leaves_no_trace(
    buyers: ReferenceBuyers, client: Client
) -> None:
    other = new_secret(b"another secret altogether")
    for what in ("ping", "post"):
        assert (await client.send(what, POST, secret=other))[0] == 401
    await client.get("post", method="POST", expect=401, data=b"{}")
    assert buyers.books["hare"].counts() == dict.fromkeys(Book().counts(), 0)


async def test_bad_json_strange_paths_and_health(client: Client) -> None:
    body = b'{"a":1,"a":2}'
    headers = {
        "webhook-id": "x",
        "webhook-timestamp": str(int(NOW)),
        "webhook-signature": sign(read_secret(SECRET), "x", int(NOW), body),
    }
    await client.get("ping", method="POST", expect=400, data=body, headers=headers)
    for path in ("nothing", "ping/", "../nobody/ping"):
        await client.get(path, expect=404)
    assert await client.get("../healthz") == {"status": "ok"}


async def test_tests_are_answered_alike_and_kept_apart(
    buyers: ReferenceBuyers, client: Client
) -> None:
    assert (await client.ask("ping", PING | {"test": True}))["bid"]
    for _ in range(2):
        assert (await client.ask("post", POST | {"test": True}))["buyer_ref"] == "hare-1"
    inbox = await client.get("inbox")
    assert (inbox["posts"], inbox["pings"], inbox["test_pings"]) == ([], 0, 1)
    assert [one["received_times"] for one in inbox["tests"]] == [2]
    assert await client.get("status?webhook_id=wh_1") == {"status": "accepted"}
    assert buyers.books["hare"].posts == []


async def test_the_inbox_can_be_emptied(client: Client) -> None:
    await client.ask("post", POST)
    await client.get("inbox", method="DELETE", expect=204)
    assert (await client.get("inbox"))["posts"] == []
    assert await client.get("status?webhook_id=wh_1") == {"status": "unknown"}


async def test_patching_a_temper(buyers: ReferenceBuyers, client: Client) -> None:
    changed = await client.change(price_min="20.00", price_max=20, delay_ms=[1, 2])
    assert changed == await client.get("temper")
    assert changed["price_min_micros"] == 20 * MICROS
    assert (await client.ask("ping", PING))["bid"] == "20.00"
    assert (await client.change(delay_ms=None))["delay_ms"] == [0, 0]
    problems = await client.change(expect=422, name="fox", reject=2, post_sulk=1, price_min="x")
    assert len(problems["errors"]) == 3  # the name is judged once the rest can be read
    assert (await client.change(expect=422, name="fox"))["errors"] == [
        "temper.name: cannot be changed"
    ]
    await client.get("temper", method="PATCH", expect=400, data=b"[]")
    assert buyers.tempers["hare"].price_min_micros == 20 * MICROS
    await client.change(secret=new_secret(b"another secret altogether"))
    assert (await client.send("ping", PING))[0] == 401


async def _within(seconds: float, awaitable: Any) -> None:
    async with asyncio.timeout(seconds):
        await awaitable


# --- documents -----------------------------------------------------------------------------------


def test_all_problems_of_a_document_at_once() -> None:
    good = {"name": "hare", "secret": SECRET}
    with pytest.raises(TempersInvalid) as caught:
        read_tempers({
            "extra": 1,
            "tempers": [
                good,
                good,
                {"name": "Big Cat", "secret": "x", "decline": -1, "sulk": 1, "price_min": "1_0"},
                {**good, "name": "a", "price_min": "2", "price_max": "1", "delay_ms": [9, 1]},
                {**good, "name": "b", "reject": 0.6, "post_error": 0.6, "reject_reasons": []},
                {**good, "name": "c", "reject": 0.6, "post_error": 0.6},
                "cat",
            ],
        })  # fmt: skip
    assert [problem.split(": ")[0] for problem in caught.value.problems] == [
        "extra",
        "tempers.2.price_min", "tempers.2.name", "tempers.2.secret", "tempers.2.decline",
        "tempers.2.sulk",
        "tempers.3", "tempers.3",
        "tempers.4.reject_reasons",
        "tempers.5",
        "tempers.6",
        "tempers",
    ]  # fmt: skip
    empty: list[dict[str, Any]] = [{}, {"tempers": []}, {"tempers": {}}]
    for document in empty:
        with pytest.raises(TempersInvalid):
            read_tempers(document)


def test_one_number_stands_for_both_ends_of_a_delay() -> None:
    (hare,) = read_tempers({"tempers": [{"name": "hare", "secret": SECRET, "delay_ms": 40}]})
    assert hare.delay_ms == (40, 40)
    assert patch_temper(hare, {"delay_ms": [1, 2]}) == replace(hare, delay_ms=(1, 2))


def _config(name: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / "config" / name).read_text(encoding="utf-8"))


def test_every_demo_contract_has_its_temper_and_its_secret() -> None:
    tempers = {temper.name: temper for temper in read_tempers(_config("demo/buyers.toml"))}
    demo = _config("demo/demo.toml")
    assert set(demo) == {"plans", "sellers", "buyers", "contracts"}
    assert {buyer["slug"] for buyer in demo["buyers"]} == set(tempers)
    for contract in demo["contracts"]:
        endpoint, name = contract["endpoint"], contract["buyer"]
        assert endpoint["secret"] == tempers[name].secret
        for key, what in (("ping_url", "ping"), ("post_url", "post"), ("status_url", "status")):
            if key in endpoint:
                assert endpoint[key] == f"${{demo_buyers}}/{name}/{what}"
        pricing = contract["pricing"]
        assert ("ping_url" in endpoint) == (pricing["mode"] == "bid")
        if pricing["mode"] == "bid":
            assert float(pricing["min"]) * MICROS <= tempers[name].price_min_micros
            assert tempers[name].price_max_micros <= float(pricing["max"]) * MICROS


def test_the_demo_is_whole() -> None:
    demo = _config("demo/demo.toml")
    verticals = {plan["vertical"] for plan in demo["plans"]}
    fields = {
        vertical: {field["name"] for field in _config(f"verticals/{vertical}.toml")["fields"]}
        for vertical in verticals
    }
    tiers = {
        (plan["vertical"], tier["name"]): tier["mode"]
        for plan in demo["plans"]
        for tier in plan["tiers"]
    }
    slugs = [contract["slug"] for contract in demo["contracts"]]
    assert len(slugs) == len(set(slugs))
    for contract in demo["contracts"]:
        mode = tiers[contract["vertical"], contract["tier"]]
        assert mode == "auction" or contract["pricing"]["mode"] == "fixed"
        assert {one["field"] for one in contract.get("filters", [])} <= fields[contract["vertical"]]
    assert {contract["vertical"] for contract in demo["contracts"]} == verticals
    assert all(set(seller["verticals"]) == verticals for seller in demo["sellers"])


# --- the process ---------------------------------------------------------------------------------


async def _start(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "buyers", *arguments, cwd=ROOT,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.parametrize("end", ["sigterm", "parent"])
async def test_the_process_says_where_it_listens_and_ends_when_told(end: str) -> None:
    process = await _start(
        "run", "config/demo/buyers.toml", "--listen", "127.0.0.1:0", "--die-with-parent"
    )
    try:
        assert process.stdout is not None
        assert process.stdin is not None
        words, _, base = (await process.stdout.readline()).decode().strip().rpartition(" ")
        assert words == "buyers listening on"
        async with aiohttp.ClientSession() as http, http.get(f"{base}/healthz") as answer:
            assert answer.status == 200
        if end == "sigterm":
            process.send_signal(signal.SIGTERM)
        else:
            process.stdin.close()
        async with asyncio.timeout(5):
            out, err = await process.communicate()
        assert (process.returncode, out, err) == (0, b"", b"")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "http://127.0.0.1:1/", "--timeout-ms", "0"),
        ("run", "no-such-file.toml"),
        ("run", "config/demo/demo.toml"),
        ("run", "config/demo/buyers.toml", "--listen", "here"),
    ],
)
async def test_the_process_refuses_with_two(arguments: tuple[str, ...]) -> None:
    out, err = await (process := await _start(*arguments)).communicate()
    assert (process.returncode, out) == (2, b"")
    assert err
    assert b"Traceback" not in err


def test_where_to_listen() -> None:
    assert read_listen("127.0.0.1:0") == ("127.0.0.1", 0)
    assert read_listen("[::1]:8090") == ("::1", 8090)
    for wrong in ("8090", ":8090", "host:", "host:x", "host:70000"):
        with pytest.raises(ValueError, match="HOST:PORT"):
            read_listen(wrong)
