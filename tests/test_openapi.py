"""The API's description: complete, valid, true of what is answered, and no burden to a worker."""

import ast
import base64
import hashlib
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from openapi_spec_validator import validate

from exchange.app import Worker
from exchange.errors import Refusal
from exchange.http.docs import DocsDesk
from exchange.http.openapi.about import ABOUT
from exchange.http.openapi.document import Listener, describe
from exchange.http.openapi.page import colour, render
from exchange.office.server import Office
from exchange.process import Orders
from exchange.reasons import REASONS
from exchange.settings import Settings
from tests.described import Description
from tests.offices import Offices, a_buyer, a_contract, open_offices
from tests.test_house import ROOT, modules, tree_of

LISTENERS: list[Listener] = ["public", "office"]


@cache
def description(listener: Listener) -> Description:
    return Description(listener)


@pytest.fixture
async def offices(database: str) -> AsyncIterator[Offices]:
    async with open_offices(database) as found:
        yield found


def orders(folder: Path) -> Orders:
    return Orders(
        name="w0", dsn="postgresql://nobody@127.0.0.1:9/none", master_key="5a" * 32, listen="127.0.0.1:18080",
        office_listen="127.0.0.1:18081", metrics_dir=str(folder), workers=1,
    )  # fmt: skip


def application(listener: Listener, folder: Path) -> web.Application:
    """What a process serves."""
    if listener == "public":
        return Worker(Settings(), orders(folder), {}).application()
    from exchange.log import LogObserver

    return Office(Settings(), orders(folder)).application(LogObserver())


# --- the document ---------------------------------------------------------------------------------


@pytest.mark.parametrize("listener", LISTENERS)
def test_it_is_valid_openapi(listener: Listener) -> None:
    """By a validator that is not ours."""
    validate(describe(listener))


@pytest.mark.parametrize("listener", LISTENERS)
async def test_every_route_is_in_it_and_nothing_else(listener: Listener, tmp_path: Path) -> None:
    """The console's pages are for browsers: they are no API."""
    served = {
        (route.method, route.resource.canonical)
        for route in application(listener, tmp_path).router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    pages = {one for one in served if one[1] == "/" or one[1].startswith("/console")}
    described = {(method, path) for method, path, _ in description(listener).operations()}

    assert served - pages == described


@pytest.mark.parametrize("listener", LISTENERS)
def test_every_example_is_valid(listener: Listener) -> None:
    """Of bodies, of answers and of parameters."""
    found = description(listener)
    wrong, seen = [], 0
    for method, path, one in found.operations():
        contents = list(one.get("requestBody", {}).get("content", {}).values())
        for told in one["responses"].values():
            contents += told.get("content", {}).values()
        for content in contents:
            examples = [each["value"] for each in content.get("examples", {}).values()]
            examples += [content["example"]] if "example" in content else []
            for example in examples:
                seen += 1
                wrong += [
                    (method, path, fault) for fault in found.faults(content["schema"], example)
                ]
        for each in one.get("parameters", ()):
            if "example" in each:
                wrong += [(each["name"], x) for x in found.faults(each["schema"], each["example"])]
    assert [] == wrong
    assert seen > 100


@pytest.mark.parametrize("listener", LISTENERS)
def test_operations_are_named_and_guarded(listener: Listener) -> None:
    """Every name is one of its own; what is below /v1 wants a key and says how it refuses."""
    operations = description(listener).operations()
    names = [one["operationId"] for _, _, one in operations]
    assert len(set(names)) == len(names)
    for method, path, one in operations:
        assert bool(one["security"]) is path.startswith("/v1/"), path
        if one["security"]:
            assert {"401", "403", "500", "503"} <= one["responses"].keys(), (method, path)
        if one.get("requestBody", {}).get("required"):
            assert {"400", "413", "422"} <= one["responses"].keys(), (method, path)
        for part in re.findall(r"\{(\w+)\}", path):
            listed = [each["name"] for each in one["parameters"] if each["in"] == "path"]
            assert part in listed, path


def test_what_is_explained_is_there() -> None:
    """Every sentence about a property belongs to one, of one listener at least."""
    known = {
        (name.removesuffix("Written"), one)
        for listener in LISTENERS
        for name, schema in description(listener).document["components"]["schemas"].items()
        for one in schema.get("properties", ())
    }
    envelopes = {"PingRequest", "LeadRequest", "PostRequest"}  # which share theirs
    told = {(shape, one) for shape, texts in ABOUT.items() for one in texts}
    assert set() == {pair for pair in told - known if pair[0] not in envelopes}


def refusals() -> set[tuple[int, str]]:
    """Every `Refusal(status, code…)` that the listeners' modules write out."""
    found = set()
    for path in modules("exchange/http"):
        for node in ast.walk(tree_of(path)):
            if not (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Refusal"):
                continue
            status, *rest = node.args
            if not (isinstance(status, ast.Constant) and rest):
                continue
            code = rest[0]
            if isinstance(code, ast.Constant):
                found.add((status.value, code.value))
            elif isinstance(code, ast.Attribute):
                found.add((status.value, code.attr.lower()))
    return found


def test_every_refusal_there_is_is_described_somewhere() -> None:
    """Those of the code, by reading it."""
    described = {
        (int(status), code)
        for listener in LISTENERS
        for _, _, one in description(listener).operations()
        for status, told in one["responses"].items()
        if "application/problem+json" in told.get("content", {})
        for code in told["content"]["application/problem+json"]["schema"]["allOf"][1]["properties"]["code"]["enum"]
    }  # fmt: skip

    assert len(refusals()) > 20
    assert set() == refusals() - described
    assert set() == {code for _, code in described} - REASONS.keys() - {"internal", "body_timeout"}


# --- what is really answered ----------------------------------------------------------------------


async def test_what_admins_and_buyers_are_answered_is_as_described(offices: Offices) -> None:
    """A walk through both sides: every answer against its schema."""
    lead = await offices.sale()
    hook = {"callback_url": "https://s.example/hook"}
    assert 200 == (await offices.admin("PATCH", "/v1/sellers/roofquotes", hook)).status
    owed, called = await offices.lead()
    await offices.store.owe_callback(owed)
    key = (await offices.admin("POST", "/v1/keys", {"role": "buyer", "owner": "acme"})).body["id"]
    policy = {"returns": {"window_days": 7, "percent": "100"}}
    back = {"lead_id": lead, "reason": "disconnected_phone"}
    walk: list[tuple[str, str, str, Any]] = [
        ("admin", "GET", f"/v1/{kind}s", None) for kind in ("vertical", "plan", "seller", "buyer", "contract")
    ] + [
        ("admin", "GET", "/v1/verticals/roofing", None), ("admin", "GET", "/v1/contracts?limit=1", None),
        ("admin", "PUT", "/v1/plans/roofing", {"tiers": [{"name": "auction", "mode": "auction"}]}),
        ("admin", "PATCH", "/v1/sellers/roofquotes", {"rate_per_s": 7}), ("admin", "POST", "/v1/buyers", a_buyer("new")),
        ("admin", "POST", "/v1/buyers", a_buyer("new")), ("admin", "POST", "/v1/buyers", b"{"),
        ("admin", "DELETE", "/v1/buyers/new", None), ("admin", "DELETE", "/v1/buyers/acme", None),
        ("admin", "PATCH", "/v1/contracts/acme-1", policy), ("admin", "GET", "/v1/contracts/acme-1/usage", None),
        ("admin", "GET", "/v1/contracts/acme-1/versions", None), ("admin", "GET", "/v1/contracts/acme-1/health", None),
        ("admin", "POST", "/v1/contracts/acme-1/health/reset", None), ("admin", "GET", "/v1/contracts/acme-1/certificate", None),
        ("admin", "POST", "/v1/contracts/acme-1/test", {}), ("admin", "GET", "/v1/contracts/acme-1/certificate", None),
        ("admin", "GET", "/v1/buyers/acme/usage", None), ("admin", "POST", "/v1/buyers/acme/deposits", {"amount": 5}),
        ("admin", "POST", "/v1/buyers/acme/pause", {"reason": "x"}), ("admin", "POST", "/v1/contracts/acme-1/resume", None),
        ("admin", "POST", "/v1/buyers/acme/deposits", {"amount": "-1"}), ("admin", "GET", "/v1/audit?limit=3", None),
        ("admin", "GET", "/v1/keys", None), ("admin", "DELETE", f"/v1/keys/{key}", None), ("admin", "DELETE", "/v1/keys/no", None),
        ("admin", "POST", "/v1/keys", {"role": "admin"}), ("admin", "GET", "/v1/leads", None), ("admin", "GET", f"/v1/leads/{lead}", None),
        ("admin", "GET", "/v1/sales?buyer=acme", None), ("admin", "GET", "/v1/sales", None),
        ("admin", "PATCH", "/v1/sellers/roofquotes", hook),
        ("admin", "GET", f"/v1/leads/{called}/callback", None), ("admin", "POST", f"/v1/leads/{called}/callback", None),
        ("admin", "GET", f"/v1/leads/{lead}/callback", None),
        ("admin", "POST", "/v1/erasures", {"lead_id": lead, "dry_run": True}), ("admin", "POST", "/v1/erasures", {}),
        ("admin", "POST", f"/v1/leads/{lead}/erase", None), ("admin", "GET", "/v1/erasures", None),
        ("acme", "GET", "/v1/contracts", None), ("acme", "GET", "/v1/contracts/acme-1", None), ("acme", "GET", "/v1/contracts/zenith-1", None),
        ("acme", "GET", "/v1/contracts/acme-1/versions", None), ("acme", "POST", "/v1/contracts", a_contract("acme-2")),
        ("acme", "POST", "/v1/contracts", a_contract("acme-2", filters=[{"field": "x"}])), ("acme", "GET", "/v1/sales", None),
        ("acme", "PATCH", "/v1/contracts/acme-2", {"active": True}), ("acme", "DELETE", "/v1/contracts/acme-2", None),
        ("acme", "POST", f"/v1/leads/{lead}/outcome", {"status": "accepted"}), ("acme", "POST", f"/v1/leads/{lead}/outcome", {"status": "rejected"}),
        ("acme", "POST", "/v1/returns", back), ("acme", "POST", "/v1/returns", back), ("acme", "POST", "/v1/returns", back | {"reason": "fraud"}),
        ("acme", "GET", "/v1/returns", None), ("admin", "GET", "/v1/returns?status=pending", None), ("admin", "GET", f"/v1/leads/{lead}", None),
    ]  # fmt: skip
    sides = {"admin": (offices.admin, "office"), "acme": (offices.acme, "public")}
    statuses = set()
    for side, method, path, body in walk:
        call, listener = sides[side]
        answer = await call(method, path, body)
        statuses.add(answer.status)
        description(listener).check(method, path, answer.status, answer.body, answer.headers)  # type: ignore[arg-type]
    assert {200, 201, 204, 400, 404, 409, 422} <= statuses
    (returned,) = (await offices.admin("GET", "/v1/returns")).body["items"]
    for verb, status in (("approve", 200), ("deny", 409)):
        path = f"/v1/returns/{returned['return_id']}/{verb}"
        answer = await offices.admin("POST", path, {"note": "so"})
        assert status == answer.status
        description("office").check("POST", path, status, answer.body, answer.headers)
    nobody = await offices.admin.with_key(None)("GET", "/v1/leads")
    description("office").check("GET", "/v1/leads", 401, nobody.body, nobody.headers)


# --- how it is served -----------------------------------------------------------------------------


@pytest.fixture(params=LISTENERS)
async def served(request: pytest.FixtureRequest) -> AsyncIterator[TestClient[Any, Any]]:
    app = web.Application()
    app.add_routes(DocsDesk(request.param).routes())
    async with TestClient(TestServer(app)) as client:
        yield client


async def test_both_are_served_and_say_the_same(served: TestClient[Any, Any]) -> None:
    """The JSON is the document; the page names every operation of it, and needs nothing else."""
    document = await (await served.get("/openapi.json")).json()
    answer = await served.get("/docs")
    html = await answer.text()

    validate(document)
    assert "text/html" == answer.content_type
    for path, methods in document["paths"].items():
        for one in methods.values():
            assert f'<article id="{one["operationId"]}">' in html
            assert path in html
    for name in document["components"]["schemas"]:
        assert f'id="shape-{name}"' in html
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', html)
    again = await served.get("/docs", headers={"If-None-Match": answer.headers["ETag"]})
    assert (304, b"") == (again.status, await again.read())


async def test_the_page_runs_nothing_but_its_own(served: TestClient[Any, Any]) -> None:
    """The policy allows one style and one script, by digest, and no attribute needs more."""
    answer = await served.get("/docs")
    html, policy = await answer.text(), answer.headers["Content-Security-Policy"]
    for tag in ("style", "script"):
        (inner,) = re.findall(rf"<{tag}[^>]*>(.*?)</{tag}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r'\s(style|on\w+)="', html)


async def test_one_process_makes_it_for_all_who_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once; and after a failure the next one who asks has another try."""
    from exchange.http import docs

    made: list[str] = []

    async def make(listener: str) -> Any:
        made.append(listener)
        if len(made) == 1:
            raise Refusal(500, "internal")
        return docs._Made(b"{}", b"<p>", "none", '"1"')

    monkeypatch.setattr(docs, "_make", make)
    desk = DocsDesk("public")
    with pytest.raises(Refusal):
        await desk._all()
    assert [await desk._all()] * 3 == [await desk._all() for _ in range(3)]
    assert ["public", "public"] == made


def test_no_worker_imports_what_makes_it() -> None:
    """Nor the templates' library: it is another process's work."""
    code = "import sys, exchange.app; print(*(m for m in sys.modules if 'openapi' in m or 'jinja2' in m))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=ROOT)

    assert b"\n" == done.stdout


def test_what_is_drawn_is_escaped() -> None:
    """A value is text wherever it stands."""
    document = describe("public")
    bad = "<script>x</script>"
    document["paths"]["/v1/pings"]["post"]["summary"] = bad
    document["components"]["schemas"]["Quote"]["description"] = bad
    document["paths"]["/v1/pings"]["post"]["responses"]["200"]["content"]["application/json"][
        "example"
    ] = {bad: bad}
    html, _ = render(document, bad)

    assert bad not in html
    assert '<span class="k">&#34;a&#34;</span>: <span class="n">1.5</span>' in colour({"a": 1.5})
