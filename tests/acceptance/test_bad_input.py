"""Whatever a seller sends: a clear 4xx with every error, no value of his in it, nothing stored."""

import asyncio
import io
import json
import time
from typing import Any

import pytest

from exchange.store.keys import Key, put_key
from tests.acceptance.conftest import OpenMarket
from tests.acceptance.markets import FIELDS, PERSON, PING, Answer, Market, bids

pytestmark = pytest.mark.acceptance

SECRET_WORD = "Zanzibarqx"


def problem(answer: Answer, status: int, code: str | None = None) -> dict[str, Any]:
    """The problem document, after everything that all of them have was checked."""
    assert status == answer.status, answer.raw
    assert "application/problem+json" == answer.headers["Content-Type"]
    found: dict[str, Any] = answer.json
    assert {"type", "title", "status", "code", "detail"} <= found.keys()
    assert status == found["status"]
    if code is not None:
        assert code == found["code"]
    assert SECRET_WORD.encode() not in answer.raw
    return found


async def nothing_stored(market: Market) -> None:
    assert (0, 0) == (market.book("one").pings, len(market.book("one").posts))
    seller = await market.db.fetchval(
        "SELECT id FROM document WHERE kind = 'seller' AND slug = $1", f"s-{market.vertical}"
    )
    for table in ("ping", "lead"):
        assert 0 == await market.db.fetchval(
            f"SELECT count(*) FROM {table} WHERE seller = $1", seller
        )


NOT_JSON = [
    b"",
    b"{",
    b"Zanzibarqx",
    b"[]",
    b'"Zanzibarqx"',
    b"null",
    b"7",
    b'{"vertical":"x","vertical":"x","fields":{}}',
    b'{"vertical":"x","fields":{"age":1,"age":2}}',
    b'{"vertical":"x","fields":{"age":NaN}}',
    b'{"vertical":"x","fields":{"age":Infinity}}',
    b'{"vertical":"x","fields":{},}',
    b"{'vertical':'x'}",
    b'{"vertical":"\xff"}',
    b'{"vertical":"x"} trailing',
    b'{"vertical":"x","fields":' + b'{"a":' * 5000 + b"1" + b"}" * 5001,
    b"[" * 100_000,
    b"\x00\x01\x02",
    b"fields=1&vertical=2",
    b'{"vertical":"\\ud800","fields":{}}',
    b'{"vertical":"x","fields":{"age":1' + b"0" * 400 + b"}}",
]


@pytest.mark.parametrize("path", ["/v1/pings", "/v1/leads"])
async def test_what_is_not_one_json_object_is_400(open_market: OpenMarket, path: str) -> None:
    """Cut, doubled, trailing, NaN, deep, binary: each a 400 and never a 500."""
    market = await open_market(bids("one"))
    for raw in NOT_JSON:
        answer = await market.call("POST", path, raw, once="k")
        assert (400, "not_json") == (answer.status, answer["code"]), raw[:60]
        problem(answer, 400)
    await nothing_stored(market)


def wrong(**fields: Any) -> dict[str, Any]:
    return {"fields": FIELDS | fields}


ENVELOPES: list[tuple[dict[str, Any], set[str]]] = [
    (wrong(age="40"), {"fields.age"}),
    (wrong(age=15), {"fields.age"}),
    (wrong(age=True), {"fields.age"}),
    (wrong(age=40.5), {"fields.age"}),
    (wrong(age=10**15), {"fields.age"}),
    (wrong(age=None), {"fields.age"}),
    (wrong(zip="9021"), {"fields.zip"}),
    (wrong(zip=90210), {"fields.zip"}),
    (wrong(zip={"a": [SECRET_WORD]}), {"fields.zip"}),
    (wrong(state="Zanzibarqx"), {"fields.state"}),
    (wrong(credit="Zanzibarqx"), {"fields.credit"}),
    (wrong(phone="Zanzibarqx"), {"fields.phone"}),
    (wrong(email="Zanzibarqx"), {"fields.email"}),
    (wrong(first_name="Zanzibarqx" * 100), {"fields.first_name"}),
    (wrong(first_name="a\x00b"), {"fields.first_name"}),
    (wrong(shoe="Zanzibarqx"), {"fields.shoe"}),
    (wrong(age="x", zip="x", phone="x"), {"fields.age", "fields.zip", "fields.phone"}),
    ({"fields": {}}, {"fields.zip", "fields.first_name", "fields.phone"}),
    ({"fields": "Zanzibarqx"}, {"fields"}),
    ({"fields": [1]}, {"fields"}),
    ({}, {"fields"}),
    (wrong() | {"vertical": "Zanzibarqx"}, {"vertical"}),
    (wrong() | {"vertical": 7}, {"vertical"}),
    (wrong() | {"vertical": None}, {"vertical"}),
    (wrong() | {"floor": "Zanzibarqx"}, {"floor"}),
    (wrong() | {"floor": -1}, {"floor"}),
    (wrong() | {"floor": "1.0000001"}, {"floor"}),
    (wrong() | {"floor": 10**18}, {"floor"}),
    (wrong() | {"floor": 1e308}, {"floor"}),
    (wrong() | {"floor": True}, {"floor"}),
    (wrong() | {"min_price": "1,00"}, {"min_price"}),
    (wrong() | {"max_wait_ms": 10**30}, {"max_wait_ms"}),
    (wrong() | {"sub_id": "x" * 201}, {"sub_id"}),
    (wrong() | {"external_id": "a\x00b"}, {"external_id"}),
    (wrong() | {"exclude_buyers": "Zanzibarqx"}, {"exclude_buyers"}),
    (wrong() | {"exclude_buyers": [7]}, {"exclude_buyers.0"}),
    (wrong() | {"test": "true"}, {"test"}),
    (wrong() | {"extra": "Zanzibarqx", "more": 1}, {"extra", "more"}),
    (wrong(age="x") | {"floor": "x", "extra": 1}, {"fields.age", "floor", "extra"}),
]


async def test_every_wrong_property_is_named_at_once(open_market: OpenMarket) -> None:
    """Wrong types, missing, extra, out of range, huge: 422 with a path, a code and a message each."""
    market = await open_market(bids("one"))
    for body, paths in ENVELOPES:
        answer = await market.call(
            "POST", "/v1/leads", _big({"vertical": market.vertical} | body), once="k"
        )
        assert 422 == answer.status, (body, answer.raw)
        found = problem(answer, 422)["errors"]
        assert paths == {one["path"] for one in found}, (body, found)
        assert all(one["code"] and one["message"] for one in found)
    await nothing_stored(market)
    assert "sold" == (await market.post(once="k"))["outcome"]


def _big(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode()  # unlike orjson, integers of any size


async def test_a_ping_carries_no_person(open_market: OpenMarket) -> None:
    """Refused by name; stripped where the vertical says so."""
    market = await open_market(bids("one"))
    found = problem(await market.ping(FIELDS), 422, "personal_data_in_ping")
    assert {f"fields.{name}" for name in PERSON} == {one["path"] for one in found["errors"]}
    await nothing_stored(market)

    strips = await open_market(bids("one"), on_personal_data_in_ping="strip")
    quote = await strips.ping(FIELDS)
    assert "bid" == quote["outcome"]
    assert [PING] == list(strips.book("one").pings_seen)


async def test_a_body_that_is_too_large_is_413(open_market: OpenMarket) -> None:
    """10 MB, announced or not; the connection of an honest one goes on."""
    market = await open_market(bids("one"))
    big = b'{"vertical":"' + b"x" * 10_000_000 + b'"}'
    async with market.session.post(
        f"{market.exchange.url}/v1/leads",
        data=io.BytesIO(big),
        headers={"Authorization": f"Bearer {market.key}"},
    ) as response:
        assert 413 == response.status

    async def pieces() -> Any:
        for _ in range(20):
            yield b" " * 500_000

    async with market.session.post(
        f"{market.exchange.url}/v1/leads",
        data=pieces(),
        headers={"Authorization": f"Bearer {market.key}"},
    ) as response:
        assert 413 == response.status
    assert (
        422 == (await market.call("POST", "/v1/leads", b'{"x":"' + b"y" * 200_000 + b'"}')).status
    )
    assert 400 == (await market.call("POST", "/v1/leads", b" " * 262_144)).status
    await nothing_stored(market)


async def test_wrong_paths_and_methods_are_problems(open_market: OpenMarket) -> None:
    """404 and 405 in the same shape."""
    market = await open_market(bids("one"))
    for path in (
        "/",
        "/v1",
        "/v1/nothing",
        "/v2/leads",
        "/v1/leads/x/y",
        "/%00",
        "/v1/leads/%2e%2e",
    ):
        problem(await market.call("GET", path), 404, "not_found")
    for method, path in (
        ("PUT", "/v1/leads"),
        ("DELETE", "/v1/pings"),
        ("GET", "/v1/pings"),
        ("POST", "/healthz"),
    ):
        answer = await market.call(method, path)
        problem(answer, 405, "method_not_allowed")
        assert answer.headers["Allow"]
    problem(await market.call("GET", "/v1/leads"), 422)
    problem(await market.call("GET", "/v1/leads?external_id="), 422)


async def test_who_may_not_sell_is_told_so_first(open_market: OpenMarket) -> None:
    """401 before 403 before 400; a vertical that is not his is 403."""
    market, other = await open_market(bids("one")), await open_market(bids("one"))
    for key in ("", "wrong", "lx_seller_" + "x" * 40, "x" * 1000, "ä"):
        answer = await market.call("POST", "/v1/leads", b"nonsense", key=key)
        problem(answer, 401, "unauthenticated")
        assert "Bearer" in answer.headers["WWW-Authenticate"]
    async with market.session.post(f"{market.exchange.url}/v1/leads", data=b"{}") as response:
        assert 401 == response.status
    for scheme in ("Basic abc", "Bearer", market.key):
        async with market.session.get(
            f"{market.exchange.url}/v1/spec", headers={"Authorization": scheme}
        ) as response:
            assert 401 == response.status

    for role, owner in (("admin", None), ("buyer", market.slug("one"))):
        key = f"lx_{role}_{market.vertical}_0123456789"
        digest = market.exchange.vault.key_digest(key)
        await put_key(market.db, Key(f"{role}-{market.vertical}", role, owner), digest)
        problem(await market.call("POST", "/v1/leads", b"nonsense", key=key), 403, "wrong_role")
    body = {"vertical": other.vertical, "fields": "whatever"}
    for path in ("/v1/leads", "/v1/pings"):
        problem(await market.call("POST", path, body, once="k"), 403, "vertical_not_allowed")
    await nothing_stored(market)


async def test_a_revoked_key_is_refused_within_a_second(open_market: OpenMarket) -> None:
    """On every worker, by the operator's command."""
    market = await open_market(bids("one"))
    done = await market.exchange.command(
        "keys", "create", "--role", "seller", "--owner", f"s-{market.vertical}"
    )
    key = done.stdout.strip()
    assert {200} == {(await market.ping(key=key)).status for _ in range(12)}
    key_id = key.split("_")[2]
    listed = (await market.exchange.command("keys", "list")).stdout
    assert (True, False) == (key_id in listed, key in listed)
    assert 0 == (await market.exchange.command("keys", "revoke", key_id)).returncode
    revoked = time.monotonic()
    while (await asyncio.gather(*(market.ping(key=key) for _ in range(12))))[0].status == 200:
        assert time.monotonic() - revoked < 1
    print(f"revoked for all after {time.monotonic() - revoked:.2f} s")
    while time.monotonic() - revoked < 1.2:
        answers = await asyncio.gather(*(market.ping(key=key) for _ in range(12)))
    assert {401} == {one.status for one in answers}
    assert 1 == (await market.exchange.command("keys", "revoke", key_id)).returncode


async def test_a_seller_who_is_too_fast_is_429(open_market: OpenMarket) -> None:
    """Three a second for all workers together, with Retry-After; the next second is free again."""
    market = await open_market(bids("one"), seller={"rate_per_s": 3})
    began = time.monotonic()
    answers = [await market.ping() for _ in range(4)]
    while not any(one.status == 429 for one in answers):
        answers = await asyncio.gather(*(market.ping() for _ in range(12)))
    refused = [one for one in answers if one.status == 429]
    problem(refused[0], 429, "rate_limited")
    assert 1 <= int(refused[0].headers["Retry-After"]) <= 2
    passed = market.book("one").pings
    assert passed <= 3 * (int(time.monotonic() - began) + 2)
    while (await market.ping()).status == 429:
        assert time.monotonic() - began < 10


async def test_refusals_are_counted_and_never_a_500(open_market: OpenMarket) -> None:
    """The whole table again, half of it at once, and an honest lead among it."""
    market = await open_market(bids("one"))
    bodies = [_big({"vertical": market.vertical} | body) for body, _ in ENVELOPES] + NOT_JSON
    calls = [market.call("POST", "/v1/leads", raw) for raw in bodies]
    *answers, honest = await asyncio.gather(*calls, market.post())
    assert {4} == {one.status // 100 for one in answers}
    assert "sold" == honest["outcome"]
    assert '"event":"fault"' not in market.exchange.log()
