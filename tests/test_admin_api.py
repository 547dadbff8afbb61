"""The administrators' and the buyers' API, over real handlers and a real database."""

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest

from exchange.apply import apply
from exchange.books import broken_invariants
from exchange.documents import MASK
from exchange.errors import DocumentsInvalid
from exchange.operating import settle_by_hand
from exchange.store.audit import read_snapshot
from exchange.store.keys import Key, find_key, set_key
from exchange.watch import Watch
from tests.making import SECRET
from tests.offices import GUARD, Offices, a_buyer, a_contract, open_offices


@pytest.fixture
async def offices(database: str) -> AsyncIterator[Offices]:
    async with open_offices(database) as found:
        yield found


# --- who may ask ----------------------------------------------------------------------------------

ADMIN_ROUTES = [
    ("GET", "/v1/verticals"), ("POST", "/v1/plans"), ("GET", "/v1/sellers/roofquotes"),
    ("PUT", "/v1/buyers/acme"), ("PATCH", "/v1/contracts/acme-1"), ("DELETE", "/v1/contracts/acme-1"),
    ("GET", "/v1/contracts/acme-1/usage"), ("GET", "/v1/buyers/acme/usage"),
    ("POST", "/v1/contracts/acme-1/test"), ("GET", "/v1/contracts/acme-1/certificate"),
    ("POST", "/v1/buyers/acme/deposits"), ("GET", "/v1/keys"), ("POST", "/v1/keys"),
    ("DELETE", "/v1/keys/x"), ("GET", "/v1/leads"), ("GET", "/v1/leads/x"), ("GET", "/v1/pings/x"),
    ("POST", "/v1/leads/x/outcome"), ("GET", "/v1/sales"), ("GET", "/v1/audit"),
]  # fmt: skip
BUYER_ROUTES = [
    ("GET", "/v1/contracts"), ("POST", "/v1/contracts"), ("GET", "/v1/contracts/acme-1"),
    ("PUT", "/v1/contracts/acme-1"), ("PATCH", "/v1/contracts/acme-1"), ("DELETE", "/v1/contracts/acme-1"),
    ("POST", "/v1/contracts/acme-1/test"), ("GET", "/v1/contracts/acme-1/certificate"),
    ("GET", "/v1/contracts/acme-1/usage"), ("GET", "/v1/sales"), ("POST", "/v1/leads/x/outcome"),
]  # fmt: skip


async def test_each_route_wants_a_key_of_its_role(offices: Offices) -> None:
    """401 without one or with an unknown one, 403 with another role's, before anything else."""
    for side, routes, others in (
        (offices.admin, ADMIN_ROUTES, ("acme", "roofquotes")),
        (offices.acme, BUYER_ROUTES, ("admin", "roofquotes")),
    ):
        for method, path in routes:
            for key in (None, "lx_admin_00_guessed"):
                answer = await side.with_key(key)(method, path, b"not json")
                assert (401, "unauthenticated") == (answer.status, answer.code), (method, path)
            for name in others:
                answer = await side.with_key(offices.keys[name])(method, path, b"not json")
                assert (403, "wrong_role") == (answer.status, answer.code), (method, path)


async def test_a_buyer_sees_and_touches_only_its_own(offices: Offices) -> None:
    """Every endpoint and method: what is another's is answered as what never was."""
    text = await offices.sale("acme-1")
    body = a_contract("acme-1")
    requests: list[tuple[str, str, Any]] = [
        ("GET", "/v1/contracts/{}", None), ("PUT", "/v1/contracts/{}", body | {"slug": "{}"}),
        ("PATCH", "/v1/contracts/{}", {"priority": 1}), ("DELETE", "/v1/contracts/{}", None),
        ("GET", "/v1/contracts/{}/usage", None),
    ]  # fmt: skip
    for method, path, sent in requests:
        foreign = await offices.zenith(
            method,
            path.format("acme-1"),
            sent and {**sent, **({"slug": "acme-1"} if "slug" in sent else {})},
        )
        assert (404, "not_found") == (foreign.status, foreign.code), (method, path)
        if method != "PUT":
            unknown = await offices.zenith(method, path.format("nothing"), sent)
            assert (unknown.status, unknown.body) == (foreign.status, foreign.body)
    for lead in (text, "lead_" + "0" * 32, "lead_test_" + "0" * 32, "nonsense", "ping_" + "0" * 32):
        for status in ("accepted", "rejected"):
            answer = await offices.zenith("POST", f"/v1/leads/{lead}/outcome", {"status": status})
            assert (404, "not_found") == (answer.status, answer.code)
    assert [] == (await offices.zenith("GET", "/v1/sales")).body["items"]
    assert ["zenith-1"] == [
        one["slug"] for one in (await offices.zenith("GET", "/v1/contracts")).body["items"]
    ]
    assert (await offices.admin("GET", "/v1/contracts/acme-1")).body["priority"] == 10


async def test_a_key_lives_from_its_creation_to_its_revocation(offices: Offices) -> None:
    """Shown once, listed without it, refused at once when it is revoked."""
    made = await offices.admin("POST", "/v1/keys", {"role": "buyer", "owner": "acme"})
    assert 201 == made.status
    assert {"id", "key"} == made.body.keys()
    buyer = offices.acme.with_key(made.body["key"])
    assert 200 == (await buyer("GET", "/v1/contracts")).status
    listed = await offices.admin("GET", "/v1/keys")
    assert {"id", "role", "owner", "created_at", "revoked_at"} == listed.body["items"][0].keys()
    assert made.body["key"] not in str(listed.body)
    assert 204 == (await offices.admin("DELETE", f"/v1/keys/{made.body['id']}")).status
    assert 401 == (await buyer("GET", "/v1/contracts")).status
    assert 404 == (await offices.admin("DELETE", f"/v1/keys/{made.body['id']}")).status
    walked, path = [], "/v1/keys?limit=2"
    while path:
        page = (await offices.admin("GET", path)).body
        walked += [one["id"] for one in page["items"]]
        path = page["next"] and f"/v1/keys?limit=2&cursor={page['next']}"
    assert 5 == len(walked) == len(set(walked))


NOBODYS_KEYS: list[Any] = [
    ({}, {("role", "required")}),
    ({"role": "king", "x": 1}, {("role", "not_allowed"), ("x", "unknown_field")}),
    ({"role": "admin", "owner": "acme"}, {("owner", "not_allowed")}),
    ({"role": "buyer"}, {("owner", "required")}),
    ({"role": "buyer", "owner": "roofquotes"}, {("owner", "not_found")}),
    ({"role": "seller", "owner": "a\0b"}, {("owner", "not_found")}),
]


async def test_a_setting_has_one_key_at_a_time(offices: Offices) -> None:
    """Given another, the one before is none any more; the same again changes nothing."""
    db, key = offices.store.db, Key("admin", "admin", None)
    for digest in (b"first", b"second", b"second"):
        await set_key(db, key, digest)
    assert key == await find_key(db, b"second")
    assert await find_key(db, b"first") is None


async def test_a_key_for_nobody_is_refused(offices: Offices) -> None:
    """Role and owner must fit."""
    for body, errors in NOBODYS_KEYS:
        answer = await offices.admin("POST", "/v1/keys", body)

        assert (422, "invalid_request", errors) == (answer.status, answer.code, answer.errors)


# --- documents ------------------------------------------------------------------------------------

NEW = {
    "vertical": {"slug": "solar", "name": "Solar", "fields": [{"name": "zip", "type": "zip", "stage": "ping"}]},
    "plan": {"vertical": "roofing", "tiers": [{"name": "auction", "mode": "auction", "window_ms": 300}]},
    "seller": {"slug": "fb-leads", "name": "FB", "verticals": ["roofing"]},
    "buyer": {"slug": "owl", "name": "Owl", "credit": "12"},
    "contract": a_contract("acme-2", "acme"),
}  # fmt: skip
CHANGES = {
    "vertical": {"name": "Sun"}, "plan": {"tiers": [{"name": "auction", "mode": "auction"}]},
    "seller": {"rate_per_s": 7}, "buyer": {"timezone": "America/New_York"}, "contract": {"priority": 3},
}  # fmt: skip


@pytest.mark.parametrize("kind", NEW)
async def test_the_life_of_a_document(offices: Offices, kind: str) -> None:
    """Created, read, listed, patched, replaced, retired; its slug is never used again."""
    ask, body = offices.admin, NEW[kind]
    slug = body["vertical" if kind == "plan" else "slug"]
    one = f"/v1/{kind}s/{slug}"
    assert 404 == (await ask("GET", one)).status
    made = await ask("POST", f"/v1/{kind}s", body)
    assert (201, one) == (made.status, made.headers["Location"])
    assert (409, "exists") == (
        (again := await ask("POST", f"/v1/{kind}s", body)).status,
        again.code,
    )

    read = await ask("GET", one)
    assert (200, made.etag) == (read.status, read.etag)
    assert read.body in (await ask("GET", f"/v1/{kind}s")).body["items"]
    same = await ask("PUT", one, read.body)
    assert (200, read.body, read.etag) == (same.status, same.body, same.etag)
    assert (200, read.etag) == ((same := await ask("PATCH", one, {})).status, same.etag)

    patched = await ask("PATCH", one, CHANGES[kind], If_Match=read.etag)
    assert 200 == patched.status
    assert int(patched.etag.strip('"')) > int(read.etag.strip('"'))
    for name, value in CHANGES[kind].items():
        assert kind == "plan" or patched.body[name] == value
    for stale in (read.etag, f"W/{patched.etag}", '"0"', "nonsense"):
        for method, sent in (("PUT", body), ("PATCH", {}), ("DELETE", None)):
            answer = await ask(method, one, sent, If_Match=stale)
            assert (412, "etag_mismatch") == (answer.status, answer.code)
    assert 200 == (await ask("PUT", one, body, If_Match=f'"1", {patched.etag}')).status

    assert 204 == (await ask("DELETE", one)).status
    assert [404, 404, 404] == [(await ask(m, one, {})).status for m in ("GET", "PATCH", "DELETE")]
    codes = [(await ask(m, p, body)) for m, p in (("PUT", one), ("POST", f"/v1/{kind}s"))]
    if kind == "plan":  # it has no slug of its own
        assert [201, 409] == [one.status for one in codes]
        return
    assert [(409, "slug_retired")] * 2 == [(one.status, one.code) for one in codes]
    with pytest.raises(DocumentsInvalid, match="was retired"):
        await apply(offices.store.db, offices.vault, GUARD, [(kind, body)], by="apply")


@pytest.mark.parametrize("kind", NEW)
async def test_put_creates_what_is_not_there(offices: Offices, kind: str) -> None:
    """The name is taken from the address; a body that names another is refused."""
    key = "vertical" if kind == "plan" else "slug"
    body = {name: value for name, value in NEW[kind].items() if name != key}
    one = f"/v1/{kind}s/{NEW[kind][key]}"
    assert 412 == (await offices.admin("PUT", one, body, If_Match="*")).status
    wrong = await offices.admin("PUT", one, body | {key: "acme"})
    assert 422 == wrong.status
    assert (key, "not_allowed") in wrong.errors
    made = await offices.admin("PUT", one, body)
    assert (201, NEW[kind][key]) == (made.status, made.body[key])
    assert 200 == (await offices.admin("PUT", one, body)).status


WRONG_DOCUMENTS: list[Any] = [
        ("verticals", {"slug": "X", "colour": 1, "fields": [{"name": "a", "type": "word", "stage": "ping"}]},
         {("slug", "bad_format"), ("name", "required"), ("colour", "unknown_field"), ("fields.0.type", "not_allowed")}),
        ("plans", {"vertical": "roofing", "tiers": [{"name": "a", "mode": "price"}, {"name": "a", "mode": "auction"}]},
         {("tiers.1.name", "duplicate"), ("tiers.1.mode", "not_allowed")}),
        ("plans", {"vertical": "nowhere", "tiers": [{"name": "a", "mode": "price"}]}, {("vertical", "not_found")}),
        ("sellers", {"slug": "s", "name": "", "verticals": ["roofing"], "margin": {"percent": "x"}, "vip": True},
         {("name", "too_short"), ("margin.percent", "not_a_number"), ("vip", "unknown_field")}),
        ("sellers", {"slug": "s", "name": "S", "verticals": ["nowhere"]}, {("verticals", "not_found")}),
        ("buyers", {"slug": "b", "name": "a\0b"}, {("name", "bad_format")}),
        ("buyers", {"slug": "b", "name": "B", "credit": "-1", "timezone": "Mars", "caps": [{"kind": "sales", "limit": 1}]},
         {("credit", "negative"), ("timezone", "unknown_timezone"), ("caps.0.period", "required")}),
        ("contracts", a_contract("c", "nobody", vertical="nowhere"), {("buyer", "not_found"), ("vertical", "not_found")}),
        ("contracts", a_contract("c", "acme", tier="Bad", colour=1, pricing={"mode": "fixed"}),
         {("tier", "bad_format"), ("colour", "unknown_field"), ("pricing.price", "required")}),
        ("contracts", a_contract("c", "acme", filters=[{"field": "none", "op": "eq", "value": 1}],
                                 endpoint={"ping_url": "https://10.0.0.1/", "post_url": "https://a.example/#x"}),
         {("filters.0.field", "unknown_field"), ("endpoint.ping_url", "not_public"), ("endpoint.post_url", "fragment")}),
        # What is wrong by itself hides nothing of what is wrong together with the rest.
        ("contracts", a_contract("c", "nobody", tier="Bad", caps=[{"kind": "sales"}],
                                 filters=[{"field": "none", "op": "eq", "value": 1}],
                                 endpoint={"ping_url": "https://10.0.0.1/", "post_url": 7}),
         {("buyer", "not_found"), ("tier", "bad_format"), ("caps.0.limit", "required"),
          ("filters.0.field", "unknown_field"), ("endpoint.ping_url", "not_public"), ("endpoint.post_url", "invalid_type")}),
        ("contracts", {}, {("slug", "required"), ("buyer", "required"), ("vertical", "required"),
                           ("endpoint", "required"), ("pricing", "required")}),
        ("contracts", {"slug": ["a"]}, {("slug", "invalid_type"), ("buyer", "required"), ("vertical", "required"),
                                        ("endpoint", "required"), ("pricing", "required")}),
    ]  # fmt: skip


async def test_all_problems_at_once(offices: Offices) -> None:
    """With dotted paths relative to the document, and nothing is written."""
    for path, body, errors in WRONG_DOCUMENTS:
        answer = await offices.admin("POST", f"/v1/{path}", body)

        assert (422, "invalid_request") == (answer.status, answer.code), answer.body
        assert errors <= answer.errors if path == "verticals" else errors == answer.errors
        assert 0 == await offices.store.db.fetchval(
            "SELECT count(*) FROM document_history WHERE changed_by <> 'apply'"
        )


BEYOND_TIME = base64.urlsafe_b64encode(b"9999-12-31T23:59:59-23:59 " + b"0" * 32).decode()
UNANSWERABLE: list[Any] = [
        ("POST", "/v1/buyers", b'{"slug":"a","slug":"b"}', 400, "not_json"),
        ("POST", "/v1/buyers", b"[]", 400, "not_json"),
        ("POST", "/v1/buyers", b"{" + b" " * 1_010_000 + b"}", 413, "too_large"),
        ("POST", "/v1/buyers", b"{" + b" " * 300_000 + b"}", 422, "invalid_request"),
        ("POST", "/v1/keys", b"{" + b" " * 300_000 + b"}", 413, "too_large"),
        ("PATCH", "/v1/buyers/none", {}, 404, "not_found"),
        ("GET", "/v1/contracts/a%00b", None, 404, "not_found"),
        ("DELETE", "/v1/keys/a%00b", None, 404, "not_found"),
        ("GET", "/v1/leads/lead_x", None, 404, "not_found"),
        ("GET", "/v1/pings/ping_x", None, 404, "not_found"),
        ("GET", "/v1/buyers?limit=0", None, 422, "invalid_request"),
        ("GET", "/v1/buyers?limit=201", None, 422, "invalid_request"),
        ("GET", "/v1/buyers?limit=x&colour=1", None, 422, "invalid_request"),
        ("GET", "/v1/buyers?cursor=%21", None, 422, "invalid_request"),
        ("GET", "/v1/leads?cursor=YQ==", None, 422, "invalid_request"),
        ("GET", "/v1/audit?cursor=YQ==", None, 422, "invalid_request"),
        ("GET", "/v1/keys?cursor=AA==", None, 422, "invalid_request"),
        ("GET", "/v1/sales?buyer=acme&cursor=YQ==", None, 422, "invalid_request"),
        ("GET", "/v1/sales?buyer=acme&cursor=" + BEYOND_TIME, None, 422, "invalid_request"),
        ("GET", "/v1/sales", None, 422, "invalid_request"),
        ("GET", "/v1/leads?state=lost", None, 422, "invalid_request"),
        ("GET", "/v1/leads?seller=a%00b", None, 422, "invalid_request"),
        ("GET", "/v1/audit?kind=lead", None, 422, "invalid_request"),
        ("PATCH", "/v1/contracts/acme-1", {"slug": "other"}, 422, "invalid_request"),
        ("PATCH", "/v1/contracts/acme-1", {"buyer": "zenith"}, 422, "invalid_request"),
        ("PATCH", "/v1/sellers/roofquotes", {"callback_url": "https://s.example/#top"}, 422, "invalid_request"),
        ("PATCH", "/v1/buyers/acme", {"currency": "EUR"}, 422, "invalid_request"),
        ("POST", "/v1/buyers/none/deposits", {"amount": "1"}, 404, "not_found"),
        ("POST", "/v1/contracts/nobody-1/test", {}, 404, "not_found"),
        ("POST", "/v1/returns", {}, 422, "invalid_request"),
    ]  # fmt: skip


async def test_what_cannot_be_answered(offices: Offices) -> None:
    """A problem with a stable code, never a fault of ours."""
    for method, path, body, status, code in UNANSWERABLE:
        answer = await offices.admin(method, path, body)

        assert (status, code) == (answer.status, answer.code), answer.body


ODD: list[Any] = [None, True, -1, 10**30, "", "a\0b", "é" * 3000, [None], {"a": {"b": []}}]


def leaves(body: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of everything in a document."""
    inner = body.items() if isinstance(body, dict) else ()
    return [path, *(one for name, value in inner for one in leaves(value, (*path, name)))]


def at(path: tuple[Any, ...], value: Any) -> Any:
    return {path[0]: at(path[1:], value)} if path else value


async def test_odd_values_are_refused_not_stumbled_over(offices: Offices) -> None:
    """Whatever stands anywhere in a document: a problem, or a change that can be taken back."""
    for kind, body in NEW.items():
        name = body["vertical" if kind == "plan" else "slug"]
        await offices.admin("POST", f"/v1/{kind}s", body)
        for path in leaves((await offices.admin("GET", f"/v1/{kind}s/{name}")).body)[1:]:
            for value in ODD:
                answer = await offices.admin("PATCH", f"/v1/{kind}s/{name}", at(path, value))
                assert answer.status in {200, 422}, (kind, path, value)
                if answer.status == 200:
                    await offices.catalogue()
                    await offices.admin("PUT", f"/v1/{kind}s/{name}", body)


async def test_a_list_comes_in_pages(offices: Offices) -> None:
    """By slug; `next` leads through everything once, and ends with null."""
    for number in range(7):
        await offices.admin("PUT", f"/v1/buyers/b{number}", {"name": "B"})
    walked, path, pages = [], "/v1/buyers?limit=4", 0
    while path:
        page = (await offices.admin("GET", path)).body
        walked += [one["slug"] for one in page["items"]]
        path = page["next"] and f"/v1/buyers?limit=4&cursor={page['next']}"
        pages += 1
    assert (["acme", *(f"b{n}" for n in range(7)), "zenith"], 3) == (walked, pages)
    exact = (await offices.admin("GET", "/v1/buyers?limit=9")).body
    assert (9, None) == (len(exact["items"]), exact["next"])


async def test_null_in_a_patch_takes_away(offices: Offices) -> None:
    """RFC 7396: members are merged, null removes (the default comes back), a list is replaced."""
    one = "/v1/contracts/acme-1"
    await offices.admin(
        "PATCH", one, {"endpoint": {"status_url": "https://acme.example/s"}, "priority": 3}
    )
    body = (await offices.admin("GET", one)).body
    assert ("https://acme.example/s", "https://acme.example/post", 3) == (
        body["endpoint"]["status_url"], body["endpoint"]["post_url"], body["priority"],
    )  # fmt: skip
    gone = await offices.admin(
        "PATCH",
        one,
        {
            "endpoint": {"status_url": None},
            "priority": None,
            "caps": [{"kind": "concurrent", "limit": 1}],
        },
    )
    assert (None, 10, 1) == (
        gone.body["endpoint"]["status_url"],
        gone.body["priority"],
        len(gone.body["caps"]),
    )
    needed = await offices.admin("PATCH", one, {"pricing": None})
    assert {("pricing", "required")} == needed.errors


async def test_a_secret_is_shown_once_and_then_masked(offices: Offices) -> None:
    """A generated one in the answer that made it; the mask written back changes nothing."""
    made = await offices.admin("POST", "/v1/contracts", a_contract("acme-2", "acme"))
    secret = made.body["endpoint"]["secret"]
    assert secret.startswith("whsec_")
    assert secret != MASK
    one = "/v1/contracts/acme-2"
    read = await offices.admin("GET", one)
    assert MASK == read.body["endpoint"]["secret"]
    for method, body in (
        ("PUT", read.body), ("PUT", a_contract("acme-2", "acme")), ("PATCH", {"endpoint": {"secret": MASK}}),
        ("PATCH", {"endpoint": {"secret": None}}),
    ):  # fmt: skip
        same = await offices.admin(method, one, body)
        assert (200, MASK, made.etag) == (same.status, same.body["endpoint"]["secret"], same.etag)
    contract = (await offices.catalogue()).markets["roofing"].contract("acme-2")
    assert contract is not None
    kept = contract[0].secret

    own = await offices.admin("PATCH", one, {"endpoint": {"secret": SECRET}})
    assert (MASK, 200) == (own.body["endpoint"]["secret"], own.status)
    assert own.etag != made.etag
    contract = (await offices.catalogue()).markets["roofing"].contract("acme-2")
    assert contract is not None
    assert contract[0].secret != kept
    everything = str(
        [(await offices.admin("GET", p)).body for p in ("/v1/contracts", "/v1/audit", one)]
    )
    assert SECRET not in everything
    assert secret not in everything
    assert ["endpoint.secret"] == (await offices.admin("GET", "/v1/audit?slug=acme-2")).body[
        "items"
    ][0]["fields"]


@pytest.mark.parametrize(
    ("path", "needed_by"),
    [
        ("/v1/verticals/roofing", "seller roofquotes"),
        ("/v1/plans/roofing", "contract acme-2"),
        ("/v1/buyers/acme", "contract acme-1"),
        ("/v1/sellers/roofquotes", "contract acme-2"),
    ],
)
async def test_what_is_needed_cannot_be_retired(
    offices: Offices, path: str, needed_by: str
) -> None:
    """409, and it says by whom."""
    plan = {"vertical": "roofing", "tiers": [{"name": "gold", "mode": "price"}]}
    fixed = {"mode": "fixed", "price": "3"}
    await offices.admin("POST", "/v1/plans", plan)
    contract = a_contract(
        "acme-2", "acme", tier="gold", pricing=fixed, sellers={"allow": ["roofquotes"]}
    )
    assert 201 == (await offices.admin("POST", "/v1/contracts", contract)).status

    answer = await offices.admin("DELETE", path)
    assert (409, "in_use") == (answer.status, answer.code)
    assert needed_by in answer.body["detail"]


async def test_what_is_retired_comes_to_its_end(offices: Offices) -> None:
    """Nothing new is sold; an open attempt still finds its contract, and its word is booked."""
    lead, text = await offices.lead()
    await offices.settle(await offices.attempt(lead), "unconfirmed")
    assert 204 == (await offices.admin("DELETE", "/v1/contracts/acme-1")).status
    assert 204 == (await offices.admin("DELETE", "/v1/buyers/acme")).status

    catalogue = await offices.catalogue()
    found = catalogue.markets["roofing"].contract("acme-1")
    assert found is not None
    assert not found[0].active
    assert not found[0].buyer.active
    version = await offices.store.db.fetchval("SELECT max(version) FROM document")
    assert version == catalogue.version
    assert [] == (await offices.acme("GET", "/v1/contracts")).body["items"]
    new = await offices.acme("POST", "/v1/contracts", a_contract("acme-9"))
    assert {("buyer", "not_found")} == new.errors
    assert (
        200
        == (await offices.acme("POST", f"/v1/leads/{text}/outcome", {"status": "accepted"})).status
    )
    assert (await offices.catalogue()).markets["roofing"].contract("acme-1") is None


async def test_a_change_is_told_at_once(offices: Offices) -> None:
    """Whoever watches reloads within the second."""
    reloaded = asyncio.Event()

    async def reload() -> None:
        reloaded.set()

    watch = Watch(offices.store.db, reload)
    task = asyncio.create_task(watch.run(lambda _where, error: pytest.fail(str(error))))
    for method, path, body in (
        ("PUT", "/v1/buyers/owl", {"name": "O"}),
        ("DELETE", "/v1/buyers/owl", None),
    ):
        async with asyncio.timeout(5):
            await reloaded.wait()
        while watch._seen is None or reloaded.is_set():
            reloaded.clear()
            await asyncio.sleep(0.01)
        assert (await offices.admin(method, path, body)).status < 300
        async with asyncio.timeout(1):
            await reloaded.wait()
    task.cancel()
    await asyncio.wait([task])
    await watch.close()


async def test_writers_at_once_lose_nothing(offices: Offices) -> None:
    """Of patches with one ETag one wins; without, each is merged over what the others wrote."""
    one = "/v1/contracts/acme-1"
    tag = (await offices.admin("GET", one)).etag
    raced = await asyncio.gather(
        *(offices.admin("PATCH", one, {"priority": 20 + n}, If_Match=tag) for n in range(4))
    )
    assert [200, 412, 412, 412] == sorted(answer.status for answer in raced)
    await asyncio.gather(
        *(offices.admin("PATCH", one, patch) for patch in ({"weight": 7}, {"priority": 8}))
    )
    body = (await offices.admin("GET", one)).body
    assert (7, 8) == (body["weight"], body["priority"])
    made = await asyncio.gather(
        *(offices.admin("POST", "/v1/buyers", a_buyer("owl")) for _ in range(3))
    )
    assert [201, 409, 409] == sorted(answer.status for answer in made)


async def test_history_tells_who_changed_what(offices: Offices) -> None:
    """Newest first, with the key's id; `apply` stays `apply`."""
    admin_id, acme_id = (offices.keys[name].split("_")[2] for name in ("admin", "acme"))
    await offices.admin("PATCH", "/v1/contracts/acme-1", {"priority": 1, "weight": 2})
    await offices.acme("PATCH", "/v1/contracts/acme-1", {"priority": 4})
    await offices.admin("DELETE", "/v1/contracts/acme-1")
    items = (await offices.admin("GET", "/v1/audit?kind=contract&slug=acme-1")).body["items"]
    assert [
        (f"key:{admin_id}", "retired", []),
        (f"key:{acme_id}", "changed", ["priority"]),
        (f"key:{admin_id}", "changed", ["priority", "weight"]),
        ("apply", "created", []),
    ] == [(one["changed_by"], one["change"], one["fields"]) for one in items]
    page = (await offices.admin("GET", "/v1/audit?limit=3")).body
    rest = (await offices.admin("GET", f"/v1/audit?cursor={page['next']}")).body
    versions = [one["version"] for one in page["items"] + rest["items"]]
    assert versions == sorted(versions, reverse=True)
    assert 9 == len(set(versions))


# --- a buyer's own contracts ----------------------------------------------------------------------


async def test_a_buyers_contract_is_its_own_and_not_live(offices: Offices) -> None:
    """The buyer is understood, active is false, the admin's adjustment is neither seen nor lost."""
    made = await offices.acme("POST", "/v1/contracts", a_contract("acme-2"))
    assert (201, "acme", False) == (made.status, made.body["buyer"], made.body["active"])
    assert "adjustment" not in made.body
    one = "/v1/contracts/acme-2"
    assert 200 == (await offices.admin("PATCH", one, {"adjustment": "0.5", "active": True})).status
    read = await offices.acme("GET", one)
    assert "adjustment" not in read.body
    assert read.body["active"]
    same = await offices.acme("PUT", one, read.body)
    assert (200, read.etag) == (same.status, same.etag)
    changed = await offices.acme("PUT", one, a_contract("acme-2", priority=2))
    assert (200, True, 2) == (changed.status, changed.body["active"], changed.body["priority"])
    assert "0.50" == (await offices.admin("GET", one)).body["adjustment"]
    off = await offices.acme("PATCH", one, {"active": False})
    assert not off.body["active"]
    assert 204 == (await offices.acme("DELETE", one)).status
    retired = await offices.acme("POST", "/v1/contracts", a_contract("acme-2"))
    assert (409, "slug_retired") == (retired.status, retired.code)


MOVED = {"endpoint": {"post_url": "https://elsewhere.example/post"}}


NOT_A_BUYERS: list[Any] = [
        ("POST", "", a_contract("c", "zenith"), "invalid_request", {("buyer", "not_allowed")}),
        ("POST", "", a_contract("c", adjustment="2"), "invalid_request", {("adjustment", "not_allowed")}),
        ("POST", "", a_contract("c", active=True), "not_certified", {("active", "not_certified")}),
        ("PUT", "/acme-2", a_contract("acme-2", active=True), "not_certified", {("active", "not_certified")}),
        ("PATCH", "/acme-2", {"active": True}, "not_certified", {("active", "not_certified")}),
        ("PATCH", "/acme-1", MOVED, "not_certified", {("active", "not_certified")}),
        ("PATCH", "/acme-1", {"adjustment": "2"}, "invalid_request", {("adjustment", "not_allowed")}),
        ("PATCH", "/acme-1", {"adjustment": None}, "invalid_request", {("adjustment", "not_allowed")}),
        ("PATCH", "/acme-1", {"buyer": "zenith"}, "invalid_request", {("buyer", "not_allowed")}),
        ("POST", "", a_contract("c", "zenith", adjustment="2", active=True, tier="X", colour=1), "invalid_request",
         {("buyer", "not_allowed"), ("adjustment", "not_allowed"),
          ("tier", "bad_format"), ("colour", "unknown_field")}),
    ]  # fmt: skip


async def test_what_a_buyers_key_may_not_say(offices: Offices) -> None:
    """With every other problem, at once."""
    await offices.acme("POST", "/v1/contracts", a_contract("acme-2"))
    for method, path, body, code, errors in NOT_A_BUYERS:
        answer = await offices.acme(method, f"/v1/contracts{path}", body)

        assert (422, code, errors) == (answer.status, answer.code, answer.errors)


async def test_a_buyer_may_move_a_contract_that_is_off(offices: Offices) -> None:
    """Nothing is sent there before somebody sets it active."""
    answer = await offices.acme("PATCH", "/v1/contracts/acme-1", MOVED | {"active": False})

    assert 200 == answer.status


# --- money ----------------------------------------------------------------------------------------


async def test_usage_after_an_award_and_after_a_sale(offices: Offices) -> None:
    """Used, left, held; what is lowered below its use has nothing left, never less."""
    lead, _ = await offices.lead()
    attempt = await offices.attempt(lead)

    async def figures(side: Any) -> tuple[Any, ...]:
        body = (await side("GET", "/v1/contracts/acme-1/usage")).body
        caps = {cap["kind"]: (cap["limit"], cap["used"], cap["remaining"]) for cap in body["caps"]}
        return caps["sales"], caps["spend"], caps["concurrent"], body["credit"]

    credit = {"prepaid": True, "available": "90.00", "held": "10.00"}
    for side in (offices.admin, offices.acme):
        assert ((5, 1, 4), ("50.00", "10.00", "40.00"), (3, 1, 2), credit) == await figures(side)
    await offices.settle(attempt, "accepted")
    await offices.admin("PATCH", "/v1/contracts/acme-1", {"caps": [
        {"kind": "sales", "period": "day", "limit": 0}, {"kind": "spend", "period": "month", "limit": "4"},
        {"kind": "concurrent", "limit": 3}]})  # fmt: skip
    assert (
        (0, 1, 0),
        ("4.00", "10.00", "0.00"),
        (3, 0, 3),
        credit | {"held": "0.00"},
    ) == await figures(offices.acme)

    await offices.admin("PATCH", "/v1/buyers/acme", {"timezone": "Asia/Kolkata", "caps": [
        {"kind": "sales", "period": "month", "limit": 9}, {"kind": "spend", "period": "total", "limit": "9"}]})  # fmt: skip
    body = (await offices.admin("GET", "/v1/buyers/acme/usage")).body
    month, total = body["caps"]
    assert ("acme", "month", 1, 8) == (
        body["buyer"],
        month["period"],
        month["used"],
        month["remaining"],
    )
    assert month["period_start"].endswith("T18:30:00.000Z")  # midnight in Kolkata
    assert (None, "10.00", "0.00") == (total["period_start"], total["used"], total["remaining"])
    postpaid = (await offices.admin("GET", "/v1/buyers/zenith/usage")).body["credit"]
    assert {"prepaid": False, "available": None, "held": "0.00"} == postpaid


async def test_a_deposit_is_booked_once_for_its_key(offices: Offices, database: str) -> None:
    """The same again is the first answer, also when both come at once; another amount is refused."""
    path, body = "/v1/buyers/acme/deposits", {"amount": "25.5", "note": "wire 7"}
    first = await offices.admin("POST", path, body, Idempotency_Key="w7")
    assert (201, "25.50", "125.50") == (first.status, first.body["amount"], first.body["available"])
    assert "129.50" == (await offices.admin("POST", path, {"amount": 4})).body["available"]
    again = await offices.admin("POST", path, body, Idempotency_Key="w7")
    assert (201, first.body) == (again.status, again.body)
    for other in (body | {"amount": "26"}, body | {"note": "wire 8"}):
        refused = await offices.admin("POST", path, other, Idempotency_Key="w7")
        assert (422, "idempotency_mismatch") == (refused.status, refused.code)
    raced = await asyncio.gather(
        *(offices.admin("POST", path, {"amount": "1"}, Idempotency_Key="r") for _ in range(5))
    )
    assert {(201, "130.50")} == {(one.status, one.body["available"]) for one in raced}
    postpaid = await offices.admin("POST", "/v1/buyers/zenith/deposits", {"amount": "5"})
    assert (201, None) == (postpaid.status, postpaid.body["available"])
    assert (
        "130.50"
        == (await offices.admin("GET", "/v1/buyers/acme/usage")).body["credit"]["available"]
    )
    # Writing the document leaves credit alone.
    await offices.admin("PATCH", "/v1/buyers/acme", {"credit": "9999"})
    assert "100.00" == (await offices.admin("GET", "/v1/buyers/acme")).body["credit"]
    assert (
        "130.50"
        == (await offices.admin("GET", "/v1/buyers/acme/usage")).body["credit"]["available"]
    )
    assert [] == broken_invariants(await read_snapshot(database))


NO_DEPOSITS: list[Any] = [
    ({}, {("amount", "required")}),
    ({"amount": "0"}, {("amount", "out_of_range")}),
    ({"amount": "-5", "to": "me"}, {("amount", "negative"), ("to", "unknown_field")}),
    ({"amount": "1.0000001"}, {("amount", "too_precise")}),
    ({"amount": 1_000_001, "note": 7}, {("amount", "too_large"), ("note", "invalid_type")}),
    ({"amount": "1", "note": "a\0b"}, {("note", "bad_format")}),
]


async def test_what_is_no_deposit(offices: Offices) -> None:
    """Money above zero, and a note."""
    for body, errors in NO_DEPOSITS:
        answer = await offices.admin("POST", "/v1/buyers/acme/deposits", body)

        assert (422, errors) == (answer.status, answer.errors)


# --- leads ----------------------------------------------------------------------------------------


async def test_the_first_definite_word_wins(offices: Offices, database: str) -> None:
    """By the buyer or an admin; the same again is 200, a contrary one 409; books stay whole."""
    for first, side in (
        ("accepted", offices.acme),
        ("rejected", offices.acme),
        ("accepted", offices.admin),
        ("rejected", offices.admin),
    ):
        lead, text = await offices.lead()
        path = f"/v1/leads/{text}/outcome"
        attempt = await offices.attempt(lead)
        early = await side("POST", path, {"status": first})
        assert (409, "in_progress", "1") == (early.status, early.code, early.headers["Retry-After"])
        await offices.settle(attempt, "unconfirmed")
        for wrong in ({}, {"status": "unknown"}, {"status": first, "why": 1}):
            assert 422 == (await side("POST", path, wrong)).status
        told = await side("POST", path, {"status": first})
        assert (200, {"lead_id": text, "status": first}) == (told.status, told.body)
        contrary = "rejected" if first == "accepted" else "accepted"
        for again in (offices.acme, offices.admin):
            assert 200 == (await again("POST", path, {"status": first})).status
            refused = await again("POST", path, {"status": contrary})
            assert (409, "contrary_outcome") == (refused.status, refused.code)
    assert (
        404
        == (
            await offices.admin(
                "POST", f"/v1/leads/{(await offices.lead())[1]}/outcome", {"status": "accepted"}
            )
        ).status
    )
    sales = (
        (await offices.acme("GET", "/v1/usage")).status,
        len((await offices.acme("GET", "/v1/sales")).body["items"]),
    )
    assert (404, 2) == sales
    assert [] == broken_invariants(await read_snapshot(database))


async def test_a_word_on_a_shared_lead_names_whose_post_it_is_about(offices: Offices) -> None:
    """A buyer means his own; an admin must say, and so must an operator at the terminal."""
    lead, text = await offices.lead()
    for slot, contract in enumerate(("acme-1", "zenith-1"), 1):
        attempt = await offices.attempt(lead, contract, slot=slot, shares=2)
        await offices.settle(attempt, "unconfirmed")
    path, word = f"/v1/leads/{text}/outcome", {"status": "accepted"}

    vague = await offices.admin("POST", path, word)
    assert (422, {("contract", "required")}) == (vague.status, vague.errors)
    stray = await offices.admin("POST", path, word | {"contract": "nobody-1"})
    assert (422, {("contract", "not_found")}) == (stray.status, stray.errors)
    foreign = await offices.acme("POST", path, word | {"contract": "zenith-1"})
    assert (422, {("contract", "not_found")}) == (foreign.status, foreign.errors)
    said, done = await settle_by_hand(offices.store, text, "accepted")
    assert (False, "acme-1, zenith-1") == (done, said.rpartition(": ")[2])

    assert 200 == (await offices.acme("POST", path, word)).status
    _, done = await settle_by_hand(offices.store, text, "rejected", "zenith-1")
    assert done
    found = {one.contract: one.state.value for one in await offices.store.attempts(lead)}
    assert {"acme-1": "accepted", "zenith-1": "rejected"} == found


async def test_words_that_race_agree(offices: Offices) -> None:
    """One is booked; who said the same hears 200, the others 409."""
    lead, text = await offices.lead()
    await offices.settle(await offices.attempt(lead), "unconfirmed")
    words = ["accepted", "rejected"] * 4
    answers = await asyncio.gather(
        *(offices.admin("POST", f"/v1/leads/{text}/outcome", {"status": word}) for word in words)
    )
    winner = {word for word, one in zip(words, answers, strict=True) if one.status == 200}
    assert 1 == len(winner)
    assert [200, 409] * 4 == [one.status for one in answers] or [409, 200] * 4 == [
        one.status for one in answers
    ]


async def test_a_buyers_sales(offices: Offices) -> None:
    """Newest first, by pages, without the person; an admin names the buyer."""
    leads = [await offices.sale() for _ in range(3)]
    await offices.sale("zenith-1")
    walked: list[Any] = []
    path: str | None = "/v1/sales?limit=2"
    while path:
        page = (await offices.acme("GET", path)).body
        walked += page["items"]
        path = page["next"] and f"/v1/sales?limit=2&cursor={page['next']}"
    assert leads[::-1] == [one["lead_id"] for one in walked]
    sale = walked[0]
    assert ("acme-1", "10.00", "USD", "A-7", "roofing") == (
        sale["contract"], sale["price"], sale["currency"], sale["buyer_ref"], sale["vertical"],
    )  # fmt: skip
    assert sale["sale_id"].startswith("sale_")
    assert "512" not in str(
        {**sale, "at": 0, "sale_id": 0, "lead_id": 0, "ping_id": 0, "settled_at": 0}
    )
    assert walked == (await offices.admin("GET", "/v1/sales?buyer=acme")).body["items"]
    assert 422 == (await offices.acme("GET", "/v1/sales?buyer=zenith")).status


async def test_the_full_receipt_of_a_lead(offices: Offices) -> None:
    """Ping, attempts, what was said, transfers, late bids, money in words; never the person."""
    lead, text = await offices.lead(external_id="form-7")
    first = await offices.attempt(lead, "acme-1")
    await offices.settle(first, "rejected")
    await offices.settle(await offices.attempt(lead, "zenith-1", 9), "accepted")
    body = (await offices.admin("GET", f"/v1/leads/{text}")).body
    assert [("acme-1", "rejected", "10.00"), ("zenith-1", "accepted", "9.00")] == [
        (one["contract"], one["state"], one["price"]) for one in body["attempts"]
    ]
    assert {"buyer_ref": "A-7", "price_said": "9.00"} == body["attempts"][0]["said"]
    assert sorted(["hold", "release", "hold", "sale", "margin"]) == sorted(
        one["kind"] for one in body["transfers"]
    )
    sale = next(one for one in body["transfers"] if one["kind"] == "sale")
    assert ({"account": "held", "owner": "zenith"}, {"account": "payable", "owner": "roofquotes"}, "7.20") == (
        sale["from"], sale["to"], sale["amount"],
    )  # fmt: skip
    ping = body["ping"]
    assert ("2.00", "0.20", "10.00", "1.00") == (
        ping["floor"], ping["rules"]["margin"], ping["asked"][0]["price"], ping["offers"][0]["adjustment"],
    )  # fmt: skip
    assert {"state": "TX", "price": 7} == ping["fields"]  # a seller's own words stay as they are
    assert [{"contract": "zenith-1", "price": "9.00", "late_ms": 40}] == ping["late_bids"]
    assert ("********", "form-7", "open", "roofquotes") == (
        body["person"],
        body["external_id"],
        body["state"],
        body["seller"],
    )
    assert "5550123" not in str(body)
    alone = (await offices.admin("GET", f"/v1/pings/{body['ping_id']}")).body
    assert (text, ping["late_bids"]) == (alone["lead_id"], alone["late_bids"])
    assert (
        404
        == (await offices.admin("GET", f"/v1/leads/{text.replace('lead_', 'lead_test_')}")).status
    )


async def test_leads_are_found(offices: Offices) -> None:
    """By external id, state and seller, newest first, by pages."""
    texts = [(await offices.lead(external_id=f"form-{n % 2}"))[1] for n in range(5)]

    async def found(query: str) -> list[str]:
        return [
            one["lead_id"]
            for one in (await offices.admin("GET", f"/v1/leads{query}")).body["items"]
        ]

    newest = texts[::-1]
    assert newest == await found("") == await found("?state=open&seller=roofquotes")
    assert newest[1::2] == await found("?external_id=form-1")
    assert [] == await found("?state=sold") == await found("?seller=nobody")
    page = (await offices.admin("GET", "/v1/leads?limit=3&state=open")).body
    assert newest[3:] == await found(f"?limit=3&state=open&cursor={page['next']}")
