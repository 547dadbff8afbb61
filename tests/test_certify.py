"""Certification against real servers on loopback: every check passed, and failed by its own fault."""

import asyncio
import base64
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from ipaddress import ip_network
from itertools import count
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from buyers.__main__ import main
from buyers.certify import Interrupted, Repeats, Report, TestLead, Verdict, certify, endpoint_digest
from buyers.contract import Contract, Pricing, PricingMode
from buyers.guard import Guard
from buyers.money import MICROS
from buyers.reference.server import ReferenceBuyers
from buyers.reference.temper import Temper
from buyers.signing import read_secret, verify
from buyers.wire import Wire, WireLimits
from tests.making import SECRET, a_contract, an_endpoint, fixed

GUARD = Guard(allowed_networks=(ip_network("127.0.0.0/8"),))
NOW = 1_800_000_000.0
LEAD = TestLead(ping={"state": "CA"}, lead={"state": "CA", "phone": "+12135550142"})
HARE = Temper(name="hare", secret=SECRET, price_min_micros=8 * MICROS, price_max_micros=8 * MICROS)
PING_CHECKS = ["ping_url", "ping_in_time", "bid_usable", "ping_signature", "ping_timestamp"]
POST_CHECKS = [
    "post_url", "post_in_time", "answer_readable", "repeat", "post_signature", "post_timestamp",
]  # fmt: skip
STATUS_CHECKS = ["status_url", "status_known", "status_unknown"]


@dataclass
class Bench:
    """Certifies through a real wire."""

    wire: Wire
    guard: Guard = GUARD

    async def certify(self, contract: Contract, limit_s: float = 60.0) -> Report:
        numbers = count(1)
        return await certify(
            contract,
            LEAD,
            transport=self.wire,
            guard=self.guard,
            wall_s=lambda: NOW,
            new_id=lambda kind: f"{kind}_test_{next(numbers):032x}",
            limit_s=limit_s,
        )


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    wire = Wire(guard=GUARD, limits=WireLimits())
    yield Bench(wire)
    await wire.close()


@pytest.fixture
async def buyers() -> AsyncIterator[Callable[[Temper], Awaitable[ReferenceBuyers]]]:
    """Serves one buyer of a temper."""
    serving = []

    async def serve(temper: Temper) -> ReferenceBuyers:
        served = ReferenceBuyers([temper], clock=lambda: NOW)
        await served.start()
        serving.append(served)
        return served

    yield serve
    for one in serving:
        await one.stop()


Answer = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Answer], Awaitable[str]]]:
    """Serves one answer to signed messages of any path; others get 401. Gives the base URL."""
    servers = []

    async def start(answer: Answer) -> str:
        async def handle(request: web.Request) -> web.StreamResponse:
            raw = await request.read()
            if request.method == "GET":
                return await answer(request, {})
            try:
                verify(read_secret(SECRET), request.headers, raw, NOW)
            except ValueError:
                return web.Response(status=401)
            return await answer(request, orjson.loads(raw))

        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", handle)
        server = TestServer(app)
        await server.start_server()
        servers.append(server)
        return str(server.make_url("")).rstrip("/")

    yield start
    for server in servers:
        await server.close()


def at(base: str, *, status: bool = True, **more: Any) -> Contract:
    endpoint = {
        "ping_url": f"{base}/ping", "post_url": f"{base}/post",
        "status_url": f"{base}/status" if status else None,
        "ping_timeout_ms": 2000, "post_timeout_ms": 2000, "idempotent": True,
    }  # fmt: skip
    asked = more.pop("endpoint", {})
    usual = {"secret": read_secret(SECRET), "endpoint": an_endpoint(**(endpoint | asked))}
    return a_contract("acme-1", **(usual | more))


def verdicts(report: Report) -> dict[str, str]:
    return {check.name: check.verdict.value for check in report.checks}


def text_of(report: Report, name: str) -> str:
    return next(check.text for check in report.checks if check.name == name)


def odd(report: Report) -> dict[str, str]:
    """Every check that did not simply pass."""
    return {name: verdict for name, verdict in verdicts(report).items() if verdict != "passed"}


# --- one that does everything right ----------------------------------------------------------------


async def test_a_good_endpoint_passes_every_check(bench: Bench, buyers: Any) -> None:
    """And sees nothing but tests of somebody made up."""
    served = await buyers(HARE)

    report = await bench.certify(at(f"{served.base_url}/hare"))

    assert dict.fromkeys(PING_CHECKS + POST_CHECKS + STATUS_CHECKS, "passed") == verdicts(report)
    assert (report.passed, report.repeats) == (True, Repeats.SAME_ANSWER)
    book = served.books["hare"]
    assert (0, []) == (book.pings, book.posts)  # the real book


async def test_both_exchanges_are_shown_as_they_were(bench: Bench, buyers: Any) -> None:
    """Head, signature and body of the request; status and body of the answer; JSON all through."""
    served = await buyers(HARE)

    shown = (await bench.certify(at(f"{served.base_url}/hare"))).show()

    assert ["ping", "post", "repeat", "status"] == [one["name"] for one in shown["exchanges"]]
    ping, post, repeat, _status = shown["exchanges"]
    assert ping["request"].startswith("POST /hare/ping HTTP/1.1\r\nHost: 127.0.0.1")
    assert "webhook-signature: v1," in ping["request"]
    told = orjson.loads(ping["request"].partition("\r\n\r\n")[2])
    assert (True, {"state": "CA"}) == (told["test"], told["fields"])
    assert (200, "8.00") == (ping["status"], orjson.loads(ping["response"])["bid"])
    sold = orjson.loads(post["request"].partition("\r\n\r\n")[2])
    assert (told["ping_id"], "8.00", True) == (sold["ping_id"], sold["price"], sold["test"])
    assert orjson.loads(ping["response"])["bid_id"] == sold["bid_id"]
    assert LEAD.lead == sold["fields"]
    assert post["request"] == repeat["request"]  # the clock stands still: not a byte differs
    assert {"name", "verdict", "text"} == set(shown["checks"][0])
    assert orjson.loads(orjson.dumps(shown)) == shown


async def test_a_fixed_price_is_never_pinged(bench: Bench, buyers: Any) -> None:
    """Its checks begin with the post, at its price."""
    served = await buyers(HARE)
    contract = at(f"{served.base_url}/hare", status=False, pricing=fixed(3 * MICROS))

    report = await bench.certify(contract)

    skipped = dict.fromkeys(["status_known", "status_unknown"], "skipped")
    assert skipped == odd(report)
    assert [*POST_CHECKS, *skipped] == [check.name for check in report.checks]
    assert '"price":"3.00"' in report.exchanges[0].request


# --- one fault each --------------------------------------------------------------------------------

FAULTS: list[Any] = [
    # (temper, endpoint, checks that did not pass, how repeats are answered)
    ({"decline": 1}, {}, {}, "same_answer"),  # a readable no-bid is fine
    ({"ping_garble": 1}, {}, {"bid_usable": "failed"}, "same_answer"),
    ({"ping_error": 1}, {}, {"bid_usable": "failed", "ping_signature": "skipped", "ping_timestamp": "skipped"}, "same_answer"),
    ({"ping_reset": 1}, {}, {"ping_in_time": "failed", "bid_usable": "skipped", "ping_signature": "skipped", "ping_timestamp": "skipped"}, "same_answer"),
    ({"ignores_signature": True}, {}, {"ping_signature": "warning", "ping_timestamp": "warning", "post_signature": "warning", "post_timestamp": "warning"}, "same_answer"),
    ({"ignores_timestamp": True}, {}, {"ping_timestamp": "warning", "post_timestamp": "warning"}, "same_answer"),
    ({"conflict_on_repeat": True}, {}, {}, "conflict"),
    ({"dedupes": False}, {}, {"repeat": "failed"}, "sold_twice"),
    ({"dedupes": False}, {"idempotent": False}, {"repeat": "warning"}, "sold_twice"),
    ({"reject": 1}, {}, {"repeat": "warning"}, "unknown"),
    ({"post_garble": 1}, {}, {"answer_readable": "failed", "repeat": "warning", "status_known": "skipped"}, "unknown"),
    ({"post_error": 1}, {}, {"answer_readable": "failed", "repeat": "warning", "post_signature": "skipped", "post_timestamp": "skipped", "status_known": "skipped"}, "unknown"),
    ({"post_reset": 1}, {}, {"post_in_time": "failed", "answer_readable": "skipped", "repeat": "skipped", "post_signature": "skipped", "post_timestamp": "skipped", "status_known": "skipped"}, "unknown"),
    ({"knows_status": False}, {}, {"status_known": "failed", "status_unknown": "failed"}, "same_answer"),
]  # fmt: skip


@pytest.mark.parametrize(("temper", "endpoint", "not_passed", "repeats"), FAULTS)
async def test_each_fault_is_found_and_named(
    bench: Bench,
    buyers: Any,
    temper: dict[str, Any],
    endpoint: dict[str, Any],
    not_passed: dict[str, str],
    repeats: str,
) -> None:
    """By the check that is about it; the others do not suffer."""
    served = await buyers(replace(HARE, **temper))

    report = await bench.certify(at(f"{served.base_url}/hare", endpoint=endpoint))

    assert not_passed == odd(report)
    assert (repeats, "failed" not in not_passed.values()) == (report.repeats, report.passed)


async def test_a_silent_endpoint_is_late(bench: Bench, buyers: Any) -> None:
    """Three pings and a post go unanswered; nothing more is tried."""
    served = await buyers(replace(HARE, ping_stall=1, post_stall=1))
    quick = {"ping_timeout_ms": 20, "post_timeout_ms": 100}

    report = await bench.certify(at(f"{served.base_url}/hare", endpoint=quick), limit_s=2)

    failed = {check.name for check in report.checks if check.verdict is Verdict.FAILED}
    assert {"ping_in_time", "post_in_time"} <= failed
    assert "0 of 3 pings were answered within 20 ms" in text_of(report, "ping_in_time")
    assert "raise ping_timeout_ms" in text_of(report, "ping_in_time")


async def test_a_wrong_secret_is_told_as_such(bench: Bench, buyers: Any) -> None:
    """The endpoint answers 401 to us, so whether it verifies cannot be seen."""
    served = await buyers(HARE)
    contract = at(f"{served.base_url}/hare", secret=b"another secret of ours")

    report = await bench.certify(contract)

    assert {"bid_usable": "failed", "answer_readable": "failed"} == {
        name: verdict for name, verdict in verdicts(report).items() if verdict == "failed"
    }
    assert "refused our signature" in text_of(report, "bid_usable")
    assert "skipped" == verdicts(report)["ping_signature"]


BIDS: list[Any] = [
    # (answer to a ping, what the text says)
    ({"bid": "90.00"}, "at most the contract's pricing.max"),
    ({"bid": "1.00"}, "at least the contract's pricing.min"),
    ({"bid": "12.5000001"}, "at most 6 decimals"),
    ({"bid": "12,50"}, "a decimal text or a number"),
    ({"bid": -3}, "bid above 0"),
    ({"bid": "12.50", "currency": "EUR"}, "in the buyer's currency"),
    ({"bid": "12.50", "ping_id": "ping_of_somebody"}, "repeat the ping_id"),
    ({"bid": "12.50", "expires_in_s": "soon"}, "number of seconds"),
    ({"price": "12.50"}, "one JSON object"),
]


@pytest.mark.parametrize(("said", "remedy"), BIDS)
async def test_a_bid_that_cannot_be_used_says_why(
    bench: Bench, serve: Any, said: dict[str, Any], remedy: str
) -> None:
    """Every way a bid is invalid has its remedy."""

    async def answer(_request: web.Request, message: dict[str, Any]) -> web.Response:
        accepted = {"status": "accepted", "buyer_ref": message.get("lead_id")}
        return web.json_response(said if message["type"] == "ping" else accepted)

    bounds = Pricing(mode=PricingMode.BID, min_micros=2 * MICROS, max_micros=80 * MICROS)
    report = await bench.certify(at(await serve(answer), status=False, pricing=bounds))

    assert "failed" == verdicts(report)["bid_usable"]
    assert remedy in text_of(report, "bid_usable")


TWISTED: list[Any] = [
    # (answer to everything, what bid_usable or ping_in_time say)
    (lambda: web.Response(status=302, headers={"Location": "/"}), "bid_usable", "it redirects (302)"),
    (lambda: web.Response(body=b"x" * 70_000), "ping_in_time", "oversized"),
    (lambda: web.Response(status=404), "bid_usable", "nothing at this address"),
    (lambda: web.Response(status=429), "bid_usable", "takes no more requests"),
    (lambda: web.Response(status=201), "bid_usable", "HTTP status 201"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "name", "text"), TWISTED)
async def test_what_is_no_answer_is_told_as_what_it_is(
    bench: Bench, serve: Any, make: Callable[[], web.Response], name: str, text: str
) -> None:
    """Redirects, oversize, wrong places."""

    async def answer(_request: web.Request, _message: dict[str, Any]) -> web.Response:
        return make()

    report = await bench.certify(at(await serve(answer)))

    assert not report.passed
    assert text in text_of(report, name)


async def test_an_address_nobody_answers_at_is_unreachable(bench: Bench, buyers: Any) -> None:
    """Refused connections fail the addresses and skip the rest."""
    served = await buyers(HARE)
    base = served.base_url
    await served.stop()

    report = await bench.certify(at(f"{base}/hare"))

    failed = {name for name, verdict in verdicts(report).items() if verdict == "failed"}
    assert {"ping_url", "post_url", "status_url"} == failed
    assert {"failed", "skipped"} == set(verdicts(report).values())
    assert "no connection" in text_of(report, "post_url")


async def test_the_guard_is_asked_before_anything_is_sent(bench: Bench, buyers: Any) -> None:
    """Loopback is refused where the operator does not allow it."""
    served = await buyers(HARE)

    closed = replace(bench, guard=Guard())
    report = await closed.certify(at(f"{served.base_url}/hare"))

    assert {"ping_url", "post_url", "status_url"} == {check.name for check in report.failed}
    assert () == report.exchanges


async def test_a_repeat_that_is_taken_back_fails_where_repeats_are_promised(
    bench: Bench, serve: Any
) -> None:
    """Accepted, then "duplicate" for the same lead: a re-send would book it as rejected."""
    seen: set[str] = set()

    async def answer(request: web.Request, message: dict[str, Any]) -> web.Response:
        if message["type"] == "ping":
            return web.Response(status=204)
        known = request.headers["webhook-id"] in seen
        seen.add(request.headers["webhook-id"])
        return web.json_response({"status": "rejected" if known else "accepted"})

    base = await serve(answer)
    promised = await bench.certify(at(base, status=False))
    seen.clear()
    not_promised = await bench.certify(at(base, status=False, endpoint={"idempotent": False}))

    assert ("failed", "unknown") == (verdicts(promised)["repeat"], promised.repeats)
    assert "although the first was accepted" in text_of(promised, "repeat")
    assert ("warning", True) == (verdicts(not_promised)["repeat"], not_promised.passed)


async def test_without_a_buyer_ref_two_leads_look_like_one(bench: Bench, serve: Any) -> None:
    """That is said, and nothing is claimed."""

    async def answer(_request: web.Request, message: dict[str, Any]) -> web.Response:
        bid = {"bid": "4.00"}
        return web.json_response(bid if message["type"] == "ping" else {"status": "accepted"})

    report = await bench.certify(at(await serve(answer), status=False))

    assert ("warning", "same_answer") == (verdicts(report)["repeat"], report.repeats)
    assert "buyer_ref" in text_of(report, "repeat")


STATUSES: list[Any] = [
    # (what status_url says to everything, status_known, status_unknown)
    ({"status": "accepted"}, "passed", "failed"),  # would invent a sale
    ({"status": "unknown"}, "failed", "passed"),  # would take a sale back
    ({"status": "rejected"}, "failed", "failed"),
    ({"state": "accepted"}, "failed", "failed"),
]


@pytest.mark.parametrize(("said", "known", "unknown"), STATUSES)
async def test_a_status_url_that_lies_is_found_out(
    bench: Bench, serve: Any, said: dict[str, str], known: str, unknown: str
) -> None:
    """It is asked about what it has and about what it never had."""

    async def answer(request: web.Request, message: dict[str, Any]) -> web.Response:
        if request.method == "GET":
            return web.json_response(said)
        bid = {"bid": "4.00"}
        taken = {"status": "accepted", "buyer_ref": message.get("lead_id")}
        return web.json_response(bid if message["type"] == "ping" else taken)

    report = await bench.certify(at(await serve(answer)))

    found = verdicts(report)
    assert (known, unknown) == (found["status_known"], found["status_unknown"])


async def test_what_an_answer_holds_can_be_stored(bench: Bench, serve: Any) -> None:
    """2 KB at most, no NUL, no half characters."""

    async def answer(_request: web.Request, _message: dict[str, Any]) -> web.Response:
        return web.Response(body=b"\0\xff" + b"x" * 5000)

    report = await bench.certify(at(await serve(answer), status=False))

    shown = report.exchanges[0]
    assert (True, "\ufffd\ufffdx") == (shown.truncated, shown.response[:3])
    assert 2048 == len(shown.response)


async def test_certification_ends_at_its_limit(bench: Bench, buyers: Any) -> None:
    """However long the contract's own timeouts are."""
    served = await buyers(replace(HARE, ping_stall=1, post_stall=1))
    slow = {"ping_timeout_ms": 10_000, "post_timeout_ms": 120_000}
    contract = at(f"{served.base_url}/hare", endpoint=slow)

    async with asyncio.timeout(30):
        report = await bench.certify(contract, limit_s=0.2)

    assert not report.passed


async def test_a_transport_that_closes_says_nothing_of_the_endpoint(
    bench: Bench, buyers: Any
) -> None:
    """The exchange stops in the middle: no report at all, rather than a bad one."""
    served = await buyers(replace(HARE, post_stall=1))
    under_way = asyncio.create_task(bench.certify(at(f"{served.base_url}/hare")))
    async with asyncio.timeout(10):
        while not served._desks["hare"].tests.posts:  # noqa: ASYNC110 (books have no event)
            await asyncio.sleep(0.01)

    await bench.wire.close()

    with pytest.raises(Interrupted):
        await under_way


def test_a_certificate_is_about_what_it_was_made_for() -> None:
    """Another address, secret, promise, price mode or vertical is another endpoint; a timeout is not."""
    one = at("https://acme.example")
    endpoint = one.endpoint
    others = [
        replace(one, secret=b"sixteen bytes or more"),
        replace(one, endpoint=replace(endpoint, ping_url="https://acme.example/p")),
        replace(one, endpoint=replace(endpoint, post_url="https://acme.example/p")),
        replace(one, endpoint=replace(endpoint, status_url=None)),
        replace(one, endpoint=replace(endpoint, idempotent=False)),
        replace(one, endpoint=replace(endpoint, dialect="another")),
        replace(one, pricing=fixed(MICROS)),
        replace(one, vertical="another"),
    ]

    digests = {endpoint_digest(other) for other in [one, *others]}
    patient = replace(one, priority=1, endpoint=replace(endpoint, ping_timeout_ms=900))

    assert len(others) + 1 == len(digests)
    assert endpoint_digest(one) == endpoint_digest(patient)


# --- the command -----------------------------------------------------------------------------------


async def run(*arguments: str) -> tuple[int, str, str]:
    """`python -m buyers check …` as somebody would type it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "buyers", "check", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@pytest.fixture
async def hare() -> AsyncIterator[str]:
    served = ReferenceBuyers([HARE, replace(HARE, name="fox", dedupes=False)])
    yield await served.start()
    await served.stop()


async def test_the_command_prints_checks_and_exchanges(hare: str) -> None:
    """On loopback, without being allowed anything; exit 0."""
    code, out, err = await run(
        f"{hare}/hare/ping", "--post-url", f"{hare}/hare/post", "--status-url", f"{hare}/hare/status",
        "--secret", SECRET, "--idempotent", "--timeout-ms", "2000",
    )  # fmt: skip

    assert (0, "") == (code, err)
    assert "passed   status_unknown" in out
    assert "> POST /hare/ping HTTP/1.1" in out
    assert '"status":"accepted"' in out
    assert out.endswith("passed; repeats: same_answer\n")


async def test_the_command_fails_what_sells_twice(hare: str, tmp_path: Path) -> None:
    """Exit 1, JSON when asked for, one's own fields."""
    fields = tmp_path / "fields.json"
    fields.write_bytes(orjson.dumps({"ping": {"state": "TX"}, "post": {"email": "a@example.com"}}))

    code, out, _ = await run(
        f"{hare}/fox/ping", "--post-url", f"{hare}/fox/post", "--secret", SECRET, "--idempotent",
        "--timeout-ms", "2000", "--fields", str(fields), "--json",
    )  # fmt: skip

    found = orjson.loads(out)
    assert (1, False, "sold_twice") == (code, found["passed"], found["repeats"])
    posted = orjson.loads(found["exchanges"][1]["request"].partition("\r\n\r\n")[2])
    assert {"state": "TX", "email": "a@example.com"} == posted["fields"]


async def test_the_command_without_a_secret_signs_with_one_it_tells(hare: str) -> None:
    """Which an endpoint that verifies refuses."""
    code, out, err = await run(f"{hare}/hare/post", "--fixed-price", "3")

    secret = err.split()[2]
    assert 16 <= len(base64.b64decode(secret.removeprefix("whsec_")))
    assert 1 == code
    assert "FAILED   answer_readable" in out
    assert "ping_url" not in out


WRONG = [
    ["http://127.0.0.1:9", "--secret", "guessed"],
    ["http://127.0.0.1:9", "--timeout-ms", "0"],
    ["http://127.0.0.1:9", "--fields", "no such file"],
    ["http://127.0.0.1:9", "--fields", __file__],
    ["http://127.0.0.1:9", "--max", "much"],
    ["http://127.0.0.1:9", "--allow", "everybody"],
]


@pytest.mark.parametrize("arguments", WRONG)
def test_wrong_usage_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """With a line that says what was wrong; nothing is sent."""
    assert 2 == main(["check", *arguments])
    assert capsys.readouterr().err.startswith("buyers check: ")
