"""Personal data: sealed at rest, in the winner's inbox, and nowhere else."""

import asyncio
import base64
from urllib.parse import quote

import orjson
import pytest

from exchange.apply import read_files
from exchange.demo import CONFIG
from exchange.samples import Samples
from exchange.store.embedded import EmbeddedPostgres
from exchange.verticals import read_vertical
from tests.acceptance.conftest import OpenMarket
from tests.acceptance.exchanges import eventually
from tests.acceptance.hostile import hostile_buyers
from tests.acceptance.markets import PING, bids, buys

pytestmark = pytest.mark.acceptance

CANARY = {
    "first_name": "Zebulonqx",
    "phone": "+12025550187",
    "email": "canary.wharfqx@example.com",
    "income": 918273645,
}


def spellings(value: object) -> set[bytes]:
    """A value as it might be hidden somewhere."""
    text = str(value).lstrip("+")
    raw = text.encode()
    # Base64 of the middle reads the same whatever stands around it, in one of three ways.
    inner = {
        base64.b64encode(b"x" * shift + raw)[4 if shift else 0 : -4].strip(b"=")
        for shift in range(3)
    }
    return {
        raw, raw.upper(), raw.lower(), quote(text, safe="").encode(), raw.hex().encode(),
        raw.hex().upper().encode(), raw[::-1], *inner,
    }  # fmt: skip


def leaks(text: bytes) -> list[str]:
    return [name for name, value in CANARY.items() if any(one in text for one in spellings(value))]


def test_the_detector_finds_every_spelling() -> None:
    """A test of the test: it would have seen the person."""
    name = CANARY["first_name"]
    for hidden in (str(name).upper(), base64.b64encode(f"a {name} b".encode()).decode()):
        assert ["first_name"] == leaks(hidden.encode())
    assert ["email"] == leaks(quote(str(CANARY["email"]), safe="").encode())
    assert sorted(CANARY) == sorted(leaks(repr(CANARY).encode()))


async def test_only_the_winner_sees_the_person(open_market: OpenMarket) -> None:
    """The raw bytes at every buyer: head and body, ping and post."""
    async with hostile_buyers() as raw:
        at = {"at": f"{raw.base_url}/good"}
        market = await open_market(
            bids("winner", "9.00"),
            bids("loser", **at),
            bids("late", at=f"{raw.base_url}/silent"),
            buys("rest"),
        )
        sold = [await market.post(fields=PING | CANARY)]
        quote = await market.ping()
        sold.append(await market.post(quote["ping_id"], CANARY))
        assert ["sold", "sold"] == [one["outcome"] for one in sold]
        heard = b"".join(b"".join(found) for found in raw.heard.values())
    assert {"good/ping", "silent/ping"} == set(raw.heard)
    assert [] == leaks(heard)
    assert 2 == len(market.book("winner").posts)
    assert 0 == len(market.book("rest").posts)
    assert PING | CANARY == market.book("winner").posts[0].body["fields"]


async def test_no_ping_of_a_real_vertical_carries_a_post_stage_field(
    open_market: OpenMarket,
) -> None:
    """Thirty sample leads of each shipped vertical, in one step: pings show ping-stage fields only."""
    for _, document in read_files([CONFIG / "verticals"]):
        market = await open_market(bids("one"), bids("two", "9.00"), schema=document["fields"])
        vertical = read_vertical({**document, "slug": market.vertical})
        samples = Samples(3, {vertical.slug: vertical})
        leads = [samples.lead(vertical.slug) for _ in range(30)]
        answers = await asyncio.gather(*(market.post(fields=lead.fields) for lead in leads))
        assert {200} == {one.status for one in answers}, answers[0].raw
        late = {one.name for one in vertical.fields if one.stage == "post"}
        for name in ("one", "two"):
            assert 30 == market.book(name).pings
            for seen in market.book(name).pings_seen:
                assert set() == late & seen.keys()
        assert late & {key for entry in market.book("one").posts for key in entry.body["fields"]}


async def test_the_person_is_nowhere_but_sealed(open_market: OpenMarket) -> None:
    """Not in logs, metrics, answers or refusals, and nowhere readable in the database."""
    market = await open_market(
        bids("one", temper={"reject": 0.5}),
        bids("hangs", "9.00", temper={"post_error": 1.0}),
        buys("rest"),
    )
    seen = []
    for _ in range(6):
        seen.append(await market.post(fields=PING | CANARY))
        seen.append(await market.lead(seen[-1]["lead_id"]))
    wrong = {
        "first_name": "Zebulonqx" * 20, "phone": "+12025550187000", "email": "canary.wharfqx@example.com@",
        "income": "918273645", "unknown": "Zebulonqx",
    }  # fmt: skip
    refused = [
        await market.post(fields=PING | wrong),
        await market.ping(fields=PING | CANARY),
        await market.post(fields={**PING, **CANARY, "zip": "canary.wharfqx@example.com"}),
        await market.call("POST", "/v1/leads", b'{"first_name":"Zebulonqx",'),
        await market.call(
            "POST", "/v1/leads", {"first_name": "Zebulonqx", "vertical": "Zebulonqx"}
        ),
        await market.call("GET", "/v1/leads/Zebulonqx"),
        await market.call("GET", "/v1/Zebulonqx"),
        await market.call("GET", "/v1/leads?email=canary.wharfqx@example.com"),
    ]
    assert {True} == {400 <= one.status < 500 for one in refused}
    for one in (*seen, *refused):
        headers = repr(one.headers).encode()
        assert [] == leaks(one.raw + headers), one.raw

    exchange = market.exchange
    async with market.session.get(f"{exchange.office_url}/metrics") as response:
        assert 200 == response.status
        assert [] == leaks(await response.read())
    postgres = exchange.data_dir / "pg" / "postgres.log"
    for text in (exchange.log(), exchange.said(), postgres.read_text()):
        assert [] == leaks(text.encode())
    for command in (["unconfirmed"], ["why", seen[0]["lead_id"]], ["verify"]):
        done = await exchange.command(*command)
        assert [] == leaks((done.stdout + done.stderr).encode())
    dump = EmbeddedPostgres(exchange.data_dir).client("pg_dump", "--format=plain", "--inserts")
    assert 0 == dump.returncode
    assert market.vertical.encode() in dump.stdout
    assert [] == leaks(dump.stdout)


async def test_each_sale_is_one_line_of_the_log(open_market: OpenMarket) -> None:
    """JSON, by ids and slugs, without the person."""
    market = await open_market(bids("one"))
    sold = await market.post(fields=PING | CANARY)
    (line,) = await eventually(
        lambda: [one for one in market.exchange.log().splitlines() if sold["lead_id"] in one]
    )
    told = orjson.loads(line)
    assert ("sale", "sold", market.vertical, market.slug("one")) == tuple(
        told[name] for name in ("event", "outcome", "vertical", "contract")
    )
    assert [] == leaks(line.encode())
