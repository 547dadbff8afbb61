"""A lead's journey over HTTP, as a seller sees it."""

import asyncio
import re
from collections import Counter
from typing import Any

import aiohttp
import pytest

from tests.acceptance.conftest import OpenMarket
from tests.acceptance.exchanges import eventually
from tests.acceptance.markets import FIELDS, PERSON, PING, Answer, Market, bids, buys
from tests.making import SECRET

pytestmark = pytest.mark.acceptance


async def test_a_ping_is_quoted_posted_and_sold(open_market: OpenMarket) -> None:
    """The best bid less the margin is quoted; the post sells to that buyer at that price."""
    market = await open_market(bids("high", "10.00"), bids("low", "6.00"))
    quote = await market.ping(external_id="q-1")
    assert (200, "bid", "8.00", "USD", True, 1) == (
        quote.status, *(quote[name] for name in ("outcome", "price", "currency", "exclusive", "shares"))
    )  # fmt: skip
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", quote["expires_at"])

    sold = await market.post(quote["ping_id"], PERSON)
    assert (200, "sold", "8.00", None) == (
        sold.status, *(sold[name] for name in ("outcome", "price", "redirect_url"))
    )  # fmt: skip
    assert ["8.00"] == [sale["price"] for sale in sold["sales"]]
    assert {sold["lead_id"]: "high"} == await market.audit()
    assert [("10.00", FIELDS)] == [
        (entry.price, entry.body["fields"]) for entry in market.book("high").posts
    ]

    seen = await market.lead(sold["lead_id"])
    assert sold.json.items() <= seen.json.items()
    assert ["received", "posted", "accepted", "sold"] == [one["event"] for one in seen["timeline"]]
    pinged = await market.call("GET", f"/v1/pings/{quote['ping_id']}")
    assert quote.json.items() <= pinged.json.items()
    assert {"received", "asked", "closed"} == {one["event"] for one in pinged["timeline"]}
    found = await market.call("GET", "/v1/leads?external_id=q-1")
    assert [sold["lead_id"]] == [one["lead_id"] for one in found["items"]]


async def test_a_lead_in_one_step_is_sold(open_market: OpenMarket) -> None:
    """Ping and post in one request, with an id for each."""
    market = await open_market(bids("one", "5.00"), margin="0")
    sold = await market.post()
    assert (200, "sold", "5.00") == (sold.status, sold["outcome"], sold["price"])
    assert 200 == (await market.call("GET", f"/v1/pings/{sold['ping_id']}")).status
    hidden = (await market.lead(sold["lead_id"])).raw + sold.raw
    assert b"one-" not in hidden


async def test_a_repeated_key_gets_the_same_bytes(open_market: OpenMarket) -> None:
    """One run per key: a hundred repeats, at once and later, and nobody is asked twice."""
    market = await open_market(bids("one", temper={"post_delay_ms": 200}))
    first = await asyncio.gather(*(market.post(once="k") for _ in range(20)))
    later = await market.post(once="k")
    reordered = await market.post(fields=dict(reversed(list(FIELDS.items()))), once="k")
    assert {(200, later.raw)} == {(one.status, one.raw) for one in (*first, reordered)}
    assert (1, 1) == (market.book("one").pings, len(market.book("one").posts))

    quotes = [await market.ping(once="k") for _ in range(3)]
    assert 1 == len({one.raw for one in quotes})
    assert 2 == market.book("one").pings
    sold = [await market.post(quotes[0]["ping_id"], once="post") for _ in range(2)]
    assert sold[0].raw == sold[1].raw

    other = await market.post(fields=FIELDS | {"age": 41}, once="k")
    assert (422, "idempotency_mismatch") == (other.status, other["code"])
    assert 422 == (await market.post(once="ä")).status
    assert 422 == (await market.post(once="k" * 256)).status


async def test_a_refusal_leaves_the_key_free(open_market: OpenMarket) -> None:
    """After a 422 the same key may carry the right body."""
    market = await open_market(bids("one"))
    assert 422 == (await market.post(fields=PING, once="k")).status
    assert "sold" == (await market.post(once="k"))["outcome"]


async def test_a_ping_posted_twice_gets_its_first_answer(open_market: OpenMarket) -> None:
    """Whatever the second body says, also after expiry, also when it was not sold."""
    market = await open_market(bids("one"))
    quote = await market.ping()
    first = await market.post(quote["ping_id"], once="a")
    await market.db.execute("UPDATE ping SET expires_at = now() - interval '1 s'")
    for repeat in (
        await market.post(quote["ping_id"], PERSON, once="b"),
        await market.post(quote["ping_id"], {"nonsense": True}),
        await market.post(quote["ping_id"], once="b", fields=PERSON),
    ):
        assert (200, first.raw) == (repeat.status, repeat.raw)

    market.change("one", reject=1.0)
    quote = await market.ping()
    unsold = await market.post(quote["ping_id"])
    assert ("unsold", "rejected_by_all") == (unsold["outcome"], unsold["reason"])
    assert unsold.raw == (await market.post(quote["ping_id"])).raw
    assert 2 == len(market.book("one").posts)


async def test_an_expired_ping_is_gone(open_market: OpenMarket) -> None:
    """410 once its time is over, before the body's own faults are told."""
    market = await open_market(bids("one"))
    quote = await market.ping()
    await market.db.execute("UPDATE ping SET expires_at = now()")
    for fields in (FIELDS, {}):
        late = await market.post(quote["ping_id"], fields)
        assert (410, "ping_expired") == (late.status, late["code"])
    assert [] == market.book("one").posts


async def test_a_foreign_ping_looks_like_an_unknown_one(open_market: OpenMarket) -> None:
    """404, the same to the letter for another seller's, an unknown and a malformed id."""
    mine, theirs = await open_market(bids("one")), await open_market(bids("one"))
    foreign = (await theirs.ping())["ping_id"]
    unknown = ("ping_" + "0" * 32, "ping_x", "", foreign.replace("ping_", "ping_test_"))
    answers = [await mine.post(ping_id) for ping_id in (foreign, *unknown)]
    answers.append(await mine.call("POST", "/v1/leads", {"ping_id": 7}))
    assert {(404, answers[0].raw)} == {(one.status, one.raw) for one in answers}
    assert 404 == (await mine.call("GET", f"/v1/pings/{foreign}")).status
    lead_id = (await theirs.post(foreign))["lead_id"]
    assert 404 == (await mine.lead(lead_id)).status
    assert [] == (await mine.call("GET", "/v1/leads?external_id=x"))["items"]


async def test_what_the_ping_said_must_not_change(open_market: OpenMarket) -> None:
    """Ping fields may be left out or repeated alike; a refusal does not use the ping up."""
    market = await open_market(bids("one"))
    quote = await market.ping()
    differs = await market.post(quote["ping_id"], FIELDS | {"age": 41, "zip": "10001"})
    assert (422, "ping_mismatch", ["fields.age", "fields.zip"]) == (
        differs.status, differs["code"], sorted(one["path"] for one in differs["errors"])
    )  # fmt: skip
    lacking = await market.post(quote["ping_id"], {"email": "x"})
    assert (422, ["fields.email", "fields.first_name", "fields.phone"]) == (
        lacking.status, sorted(one["path"] for one in lacking["errors"])
    )  # fmt: skip
    repeated = await market.post(quote["ping_id"], FIELDS | {"state": "ca", "zip": " 90210"})
    assert (200, "sold") == (repeated.status, repeated["outcome"]), repeated.raw
    assert FIELDS == market.book("one").posts[0].body["fields"]


async def test_a_ping_without_bids_goes_to_the_waterfall(open_market: OpenMarket) -> None:
    """It says that there is one; a field added at the post counts there."""
    credit = [{"field": "credit", "op": "eq", "value": "good"}]
    market = await open_market(
        bids("no", temper={"decline": 1.0}),
        buys("picky", "4.00", filters=credit, priority=1),
        buys("rest", "3.00"),
    )
    answers = []
    for added in ({}, {"credit": "good"}):
        quote = await market.ping()
        assert ("no_bid", "no_bids", True) == tuple(
            quote[name] for name in ("outcome", "reason", "waterfall")
        )
        answers.append((await market.post(quote["ping_id"], PERSON | added))["price"])
    assert ["2.40", "3.20"] == answers
    assert ["picky", "rest"] == sorted((await market.audit()).values())


async def test_a_rejected_lead_fails_over_and_then_descends(open_market: OpenMarket) -> None:
    """Best bid, next bid, then the tiers in order, each buyer once; the receipt tells it all."""
    market = await open_market(
        bids("best", "10.00", temper={"reject": 1.0}),
        bids("next", "9.00", temper={"reject": 1.0}),
        buys("first", "3.00", priority=1, temper={"reject": 1.0}),
        buys("last", "2.00", priority=2),
    )
    sold = await market.post()
    assert ("sold", "1.60") == (sold["outcome"], sold["price"])
    assert {sold["lead_id"]: "last"} == await market.audit()
    posts = re.findall(r"post +(\w+)-\S+ .*: (\w+)", await market.why(sold["lead_id"]))
    assert [
        ("best", "rejected"),
        ("next", "rejected"),
        ("first", "rejected"),
        ("last", "accepted"),
    ] == posts


async def test_nobody_buys_below_the_minimum(open_market: OpenMarket) -> None:
    """`min_price` rules out bids and fixed prices, `floor` those of the ping."""
    market = await open_market(bids("one", "10.00", temper={"reject": 1.0}), buys("rest", "3.00"))
    quote = await market.ping(floor="8.01")
    assert ("no_bid", "below_floor") == (quote["outcome"], quote["reason"])
    quote = await market.ping(floor="2.00")
    unsold = await market.post(quote["ping_id"], min_price=quote["price"])
    assert ("unsold", "rejected_by_all") == (unsold["outcome"], unsold["reason"])
    assert [] == market.book("rest").posts
    assert "unsold" == (await market.post(floor="2.41"))["outcome"]
    assert "2.40" == (await market.post(floor="2.40"))["price"]
    assert "2.40" == (await market.post(floor="9.00", min_price="1"))["price"]


async def test_a_seller_can_leave_a_buyer_out(open_market: OpenMarket) -> None:
    """By the opaque name he was told; names he made up are ignored."""
    market = await open_market(bids("high", "10.00"), bids("low", "6.00"))
    sold = await market.post()
    ref = sold["sales"][0]["buyer_ref"]
    assert "high" not in ref
    again = await market.post(exclude_buyers=[ref, "no such buyer"])
    assert "4.80" == again["price"]
    assert (1, 2) == (market.book("high").pings, market.book("low").pings)


async def test_a_test_lead_touches_no_book(open_market: OpenMarket) -> None:
    """Ids say so, buyers are told so, nothing is booked, and only who accepts tests is asked."""
    cap = [{"kind": "sales", "period": "day", "limit": 1}]
    market = await open_market(
        bids("yes", "6.00", endpoint={"accepts_test": True}, caps=cap, buyer={"credit": "6.00"}),
        bids("no", "10.00"),
    )
    for _ in range(3):
        sold = await market.post(test=True)
        assert ("sold", "4.80") == (sold["outcome"], sold["price"])
        assert sold["lead_id"].startswith("lead_test_")
        assert sold["ping_id"].startswith("ping_test_")
    assert [] == await market.attempts()
    desk = market.reference._desks[market.slug("yes")]
    assert [True] * 3 == [entry.body["test"] for entry in desk.tests.posts]
    assert (0, 0) == (market.book("yes").pings, market.book("no").pings)
    assert 200 == (await market.lead(sold["lead_id"])).status

    quote = await market.ping(test=True)
    assert 422 == (await market.post(quote["ping_id"], test=False)).status
    assert "sold" == (await market.post(quote["ping_id"]))["outcome"]
    real = await market.ping()
    assert 422 == (await market.post(real["ping_id"], test=True)).status
    assert (await market.post(real["ping_id"]))["lead_id"].startswith("lead_0")


async def test_a_seller_who_hangs_up_leaves_his_key_free(open_market: OpenMarket) -> None:
    """Before the lead left nothing is sold, and a repeat with the key is a fresh run."""
    market = await open_market(bids("slow", temper={"delay_ms": 300}))
    with pytest.raises(TimeoutError):
        await market.call(
            "POST", "/v1/leads", {"vertical": market.vertical, "fields": FIELDS},
            once="k", seconds=0.15,
        )  # fmt: skip
    sold = await market.post(once="k")
    assert (200, "sold") == (sold.status, sold["outcome"])
    assert 1 == len(await market.audit())


async def test_a_seller_who_hangs_up_on_a_ping_finds_it_again(open_market: OpenMarket) -> None:
    """The auction goes on; the key has its answer."""
    market = await open_market(bids("slow", temper={"delay_ms": 300}))
    with pytest.raises(TimeoutError):
        await market.call(
            "POST", "/v1/pings", {"vertical": market.vertical, "fields": PING},
            once="k", seconds=0.15,
        )  # fmt: skip
    assert "bid" == (await market.ping(once="k"))["outcome"]
    assert 1 == market.book("slow").pings


async def test_a_seller_who_hangs_up_after_the_intent_has_sold(open_market: OpenMarket) -> None:
    """The lead goes on to its end; a repeat with the key gets that end."""
    market = await open_market(bids("slow", temper={"post_delay_ms": 600}))
    call = asyncio.create_task(market.post(once="k"))
    await eventually(lambda: market.book("slow").posts)
    call.cancel()
    sold = await market.post(once="k")
    assert (200, "sold") == (sold.status, sold["outcome"])
    assert {sold["lead_id"]: "slow"} == await market.audit()


async def test_a_seller_who_hangs_up_before_the_intent_has_sold_nothing(
    open_market: OpenMarket,
) -> None:
    """Without a key too; the next lead, whose auction ends after his would have, is the only one."""
    market = await open_market(bids("slow", temper={"delay_ms": 300}))
    async with aiohttp.ClientSession() as session:
        call = asyncio.create_task(on_kept(session, market, "/v1/leads", FIELDS))
        await eventually(lambda: market.book("slow").pings)
        call.cancel()
        sold = await market.post()
    assert {sold["lead_id"]: "slow"} == await market.audit()
    assert 1 == len(market.book("slow").posts)


async def test_posting_instructions_are_the_sellers_own(open_market: OpenMarket) -> None:
    """Each vertical he may sell in with its fields; others do not exist for him."""
    market, other = await open_market(), await open_market()
    listed = await market.call("GET", "/v1/spec")
    assert [market.vertical] == [one["vertical"] for one in listed["items"]]
    shown = await market.call("GET", f"/v1/spec/{market.vertical}")
    assert Counter({"ping": 4, "post": 4}) == Counter(one["stage"] for one in shown["fields"])
    assert 404 == (await market.call("GET", f"/v1/spec/{other.vertical}")).status


REFUSED = """
[[buyers]]
slug = "u"
name = "U"
caps = [{{ kind = "pings", period = "hour", limit = 5 }}]
[[contracts]]
slug = "u"
buyer = "u"
vertical = "{vertical}"
pricing = {{ mode = "bid" }}
dedupe_days = 30
[contracts.endpoint]
ping_url = "http://127.0.0.1:9/ping"
post_url = "http://127.0.0.1:9/post"
secret = "{secret}"
max_qps = 5
[[sellers]]
slug = "u"
name = "U"
callback_url = "http://169.254.169.254/latest"
"""


async def test_a_file_is_applied_as_a_whole_or_not_at_all(open_market: OpenMarket) -> None:
    """`exchange apply` names what is refused and writes nothing; what is sound it writes once."""
    market = await open_market(bids("one"))
    path = market.exchange.folder / f"{market.vertical}.toml"
    text = REFUSED.format(vertical=market.vertical, secret=SECRET)
    path.write_text(text)
    refused = await market.exchange.command("apply", str(path))
    assert 2 == refused.returncode
    assert "callback_url" in refused.stderr
    assert 0 == await market.db.fetchval("SELECT count(*) FROM document WHERE slug = 'u'")

    sound = text.split("[[contracts]]")[0].split("caps")[0]
    path.write_text(sound)
    tried = await market.exchange.command("apply", str(path), "--dry-run")
    assert (0, True) == (tried.returncode, "added" in tried.stdout)
    assert 0 == await market.db.fetchval("SELECT count(*) FROM document WHERE slug = 'u'")
    verbs = [(await market.exchange.command("apply", str(path))).stdout.split()[0] for _ in "ab"]
    assert ["added", "unchanged"] == verbs


async def on_kept(
    session: aiohttp.ClientSession, market: Market, path: str, fields: Any, **more: Any
) -> Answer:
    """A request in the usual form: the connection is to stay."""
    head = {} if "ping_id" in more else {"vertical": market.vertical}
    async with session.post(
        market.exchange.url + path,
        json=head | {"fields": fields} | more,
        headers={"Authorization": f"Bearer {market.key}"},
    ) as response:
        return Answer(response.status, dict(response.headers), await response.read())


async def test_every_answer_comes_on_a_kept_connection(open_market: OpenMarket) -> None:
    """A hundred pings and their posts over one; each answer as on a connection of its own."""
    market = await open_market(bids("one"))
    quote = await market.ping()
    sold = await market.post(quote["ping_id"], PERSON)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
        for _ in range(100):
            pinged = await on_kept(session, market, "/v1/pings", PING)
            ping_id = pinged["ping_id"]
            posted = await on_kept(session, market, "/v1/leads", PERSON, ping_id=ping_id)
            assert (shape(quote), shape(sold)) == (shape(pinged), shape(posted))
        again = await on_kept(session, market, "/v1/leads", PERSON, ping_id=ping_id)
        assert posted.raw == again.raw
        unknown = await on_kept(session, market, "/v1/leads", PERSON, ping_id="ping_0")
    assert shape(unknown) == shape(await market.post("ping_0", PERSON))
    assert 101 == len(await market.audit())


def shape(answer: Answer) -> tuple[int, set[str], str, set[str]]:
    """What is alike in answers of one kind."""
    names = set(answer.headers) - {"Server", "Connection"}
    return answer.status, names, answer.headers["Content-Type"].partition(";")[0], set(answer.json)
