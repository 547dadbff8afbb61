"""Certification over HTTP: asked for by its owner, and before a buyer's own contract goes live."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest

from buyers.money import MICROS
from buyers.reference.server import ReferenceBuyers
from buyers.reference.temper import Temper
from buyers.signing import new_secret
from buyers.wire import Wire, WireLimits
from exchange.apply import read_files
from exchange.books import broken_invariants
from exchange.documents import MASK
from exchange.http.certifying import (
    A_MINUTE_MAX,
    AT_ONCE_MAX,
    OF_ONE_BUYER_MAX,
    PAUSE_S,
    POST_TIMEOUT_MAX_MS,
    Certifier,
    Subject,
)
from exchange.made_up import PEOPLE, made_up_lead
from exchange.store.audit import read_snapshot
from exchange.store.catalogue import LiveCatalogue
from exchange.verticals import compile_fields, read_vertical
from tests import making
from tests.making import SECRET
from tests.offices import GUARD, VERTICAL, Offices, a_buyer, a_contract, open_offices

ROOT = Path(__file__).parents[1]
HARE = Temper(name="hare", secret=SECRET, price_min_micros=8 * MICROS, price_max_micros=8 * MICROS)


@pytest.fixture
async def offices(database: str) -> AsyncIterator[Offices]:
    async with open_offices(database) as found:
        yield found


@pytest.fixture
async def buyers() -> AsyncIterator[ReferenceBuyers]:
    served = ReferenceBuyers(
        [
            HARE,
            replace(HARE, name="conflicting", conflict_on_repeat=True),
            replace(HARE, name="broken", post_error=1),
            replace(HARE, name="silent", ping_stall=1, post_stall=1),
        ]
    )
    await served.start()
    yield served
    await served.stop()


def endpoint(buyers: ReferenceBuyers, name: str = "hare", **more: Any) -> dict[str, Any]:
    base = f"{buyers.base_url}/{name}"
    usual = {"ping_url": f"{base}/ping", "post_url": f"{base}/post", "status_url": f"{base}/status"}
    return {**usual, "secret": SECRET, "ping_timeout_ms": 2000, "post_timeout_ms": 2000} | more


def wanted(buyers: ReferenceBuyers, name: str = "hare", **more: Any) -> dict[str, Any]:
    return a_contract("acme-2", endpoint=endpoint(buyers, name), **more)


def messages_seen(buyers: ReferenceBuyers, name: str = "hare") -> int:
    """Messages of any kind that reached a buyer."""
    desk = buyers._desks[name]
    return desk.tests.pings + len(desk.tests.posts) + desk.book.pings + len(desk.book.posts)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 (books have no event to wait for)
            await asyncio.sleep(0.01)


async def later(offices: Offices) -> None:
    """The pause between two tests of a contract is over."""
    await offices.store.db.execute("UPDATE certificate SET at = at - $1 * interval '1 s'", PAUSE_S)


async def stored(offices: Offices, slug: str = "acme-2") -> Any:
    return await offices.admin("GET", f"/v1/contracts/{slug}")


# --- on request ------------------------------------------------------------------------------------


async def test_an_owner_tests_its_contract(offices: Offices, buyers: ReferenceBuyers) -> None:
    """The report at once and again later; not active, and it stays so."""
    await offices.acme("POST", "/v1/contracts", wanted(buyers))

    report = await offices.acme("POST", "/v1/contracts/acme-2/test")

    assert 200 == report.status
    assert {"contract", "passed", "at", "repeats", "checks", "exchanges"} == report.body.keys()
    assert ("acme-2", True, "same_answer") == tuple(
        report.body[name] for name in ("contract", "passed", "repeats")
    )
    assert {"passed"} == {check["verdict"] for check in report.body["checks"]}
    assert ["ping", "post", "repeat", "status"] == [one["name"] for one in report.body["exchanges"]]
    for side in (offices.acme, offices.admin):
        assert report.body == (await side("GET", "/v1/contracts/acme-2/certificate")).body
    assert not (await stored(offices)).body["active"]


async def test_a_test_touches_no_books(offices: Offices, buyers: ReferenceBuyers) -> None:
    """No lead, attempt, cap or transfer is written."""
    await offices.acme("POST", "/v1/contracts", wanted(buyers))
    tables = ("ping", "lead", "attempt", "transfer", "bucket")
    count = "SELECT " + ", ".join(f"(SELECT count(*) FROM {name})" for name in tables)
    before = await offices.store.db.fetchrow(count)

    await offices.admin("POST", "/v1/contracts/acme-2/test", {})

    assert before == await offices.store.db.fetchrow(count)
    assert [] == broken_invariants(await read_snapshot(offices.store.db.dsn))


async def test_a_failing_endpoint_is_reported_with_200(
    offices: Offices, buyers: ReferenceBuyers
) -> None:
    """What failed is in the report; it is kept in place of an earlier one."""
    await offices.acme("POST", "/v1/contracts", wanted(buyers))
    await offices.acme("POST", "/v1/contracts/acme-2/test")
    moved = endpoint(buyers, "broken")
    await offices.acme("PATCH", "/v1/contracts/acme-2", {"endpoint": moved})
    await later(offices)

    report = await offices.acme("POST", "/v1/contracts/acme-2/test")

    failed = [one["name"] for one in report.body["checks"] if one["verdict"] == "failed"]
    assert (200, False, ["answer_readable"]) == (report.status, report.body["passed"], failed)
    last = await offices.acme("GET", "/v1/contracts/acme-2/certificate")
    assert report.body == last.body


async def test_whose_contract_it_is(offices: Offices, buyers: ReferenceBuyers) -> None:
    """Another's, none and a retired one are 404; so is a certificate that was never made."""
    await offices.acme("POST", "/v1/contracts", wanted(buyers))
    for side, slug in ((offices.zenith, "acme-2"), (offices.acme, "none"), (offices.acme, "a%00b")):
        assert 404 == (await side("POST", f"/v1/contracts/{slug}/test")).status
        assert 404 == (await side("GET", f"/v1/contracts/{slug}/certificate")).status
    never = await offices.acme("GET", "/v1/contracts/acme-2/certificate")
    assert (404, "this contract was never certified: POST …/test") == (
        never.status, never.body["detail"],
    )  # fmt: skip
    await offices.acme("DELETE", "/v1/contracts/acme-2")
    assert 404 == (await offices.acme("POST", "/v1/contracts/acme-2/test")).status
    assert 0 == messages_seen(buyers)


async def test_a_test_takes_no_options(offices: Offices, buyers: ReferenceBuyers) -> None:
    """What nobody would look at is refused, and nothing is sent."""
    await offices.acme("POST", "/v1/contracts", wanted(buyers))

    refused = await offices.acme("POST", "/v1/contracts/acme-2/test", {"vertical": "roofing"})

    assert (422, {("vertical", "unknown_field")}) == (refused.status, refused.errors)
    assert 0 == messages_seen(buyers)


async def hang(offices: Offices, buyers: ReferenceBuyers, owners: list[str]) -> list[Any]:
    """Tests that wait for an endpoint which says nothing, one for each name of a buyer."""
    silent = endpoint(buyers, "silent", ping_timeout_ms=10_000)
    for number, owner in enumerate(owners):
        made = a_contract(f"silent-{number}", owner, endpoint=silent)
        assert 201 == (await offices.admin("POST", "/v1/contracts", made)).status
    busy = [
        asyncio.create_task(offices.admin("POST", f"/v1/contracts/silent-{number}/test"))
        for number in range(len(owners))
    ]
    await until(lambda: buyers._desks["silent"].tests.pings >= len(owners))
    return busy


async def hang_up(busy: list[Any]) -> None:
    for one in busy:
        one.cancel()
    await asyncio.wait(busy)


async def test_one_at_a_time(offices: Offices, buyers: ReferenceBuyers) -> None:
    """A contract is tested once at a time, and only so many in all: 429, and when to come again."""
    owners = [f"buyer-{number // OF_ONE_BUYER_MAX}" for number in range(AT_ONCE_MAX)]
    for owner in sorted(set(owners)):
        assert 201 == (await offices.admin("POST", "/v1/buyers", a_buyer(owner))).status
    busy = await hang(offices, buyers, owners)

    same = await offices.admin("POST", "/v1/contracts/silent-0/test")
    other = await offices.admin("POST", "/v1/contracts/zenith-1/test")

    assert (429, "rate_limited", 429, "overloaded") == (
        same.status, same.code, other.status, other.code,
    )  # fmt: skip
    assert int(same.headers["Retry-After"]) > 0
    assert int(other.headers["Retry-After"]) > 0
    await hang_up(busy)


async def test_a_buyer_whose_endpoints_hang_keeps_nobody_waiting(
    offices: Offices, buyers: ReferenceBuyers
) -> None:
    """A few places are one buyer's, the others are everybody else's."""
    busy = await hang(offices, buyers, ["acme"] * OF_ONE_BUYER_MAX)
    await offices.admin("POST", "/v1/contracts", wanted(buyers, buyer="acme"))
    body = a_contract("zenith-2", "zenith", endpoint=endpoint(buyers))
    await offices.admin("POST", "/v1/contracts", body)

    own = await offices.admin("POST", "/v1/contracts/acme-2/test")
    others = await offices.admin("POST", "/v1/contracts/zenith-2/test")

    assert (429, "rate_limited", 200) == (own.status, own.code, others.status)
    assert int(own.headers["Retry-After"]) > 0
    await hang_up(busy)


class Noting:
    """A wire that notes how long each call may take, in ms."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.allowed_ms: list[float] = []

    def send(self, *told: Any, deadline: float, **more: Any) -> Any:
        self.allowed_ms.append((deadline - asyncio.get_running_loop().time()) * 1000)
        return self._wire.send(*told, deadline=deadline, **more)


async def test_a_test_waits_less_long_than_a_sale(
    offices: Offices, buyers: ReferenceBuyers
) -> None:
    """However patient the contract is: places are few."""
    wire = Wire(guard=GUARD, limits=WireLimits())
    noting = Noting(wire)
    certifier = Certifier(
        db=offices.store.db, vault=offices.vault, guard=GUARD, transport=noting  # type: ignore[arg-type]
    )  # fmt: skip
    told = endpoint(buyers, post_timeout_ms=120_000)
    del told["secret"]
    contract = making.a_contract("acme-2", vertical="roofing", endpoint=making.an_endpoint(**told))

    report = await certifier.certify(Subject(contract, read_vertical(VERTICAL)))

    assert {"ping", "post", "repeat", "status"} == {one.name for one in report.exchanges}
    assert max(noting.allowed_ms) <= POST_TIMEOUT_MAX_MS
    await wire.close()


async def test_a_contract_is_not_tested_again_at_once(
    offices: Offices, buyers: ReferenceBuyers
) -> None:
    """Whichever process made the last test: 429, nothing is sent, and the report stays."""
    await offices.acme("POST", "/v1/contracts", wanted(buyers))
    one = "/v1/contracts/acme-2"
    first, seen = await offices.acme("POST", f"{one}/test"), messages_seen(buyers)

    for side in (offices.acme, offices.admin):
        hasty = await side("POST", f"{one}/test")
        assert (429, "rate_limited") == (hasty.status, hasty.code)
        assert 1 <= int(hasty.headers["Retry-After"]) <= PAUSE_S
    assert seen == messages_seen(buyers)
    assert first.body == (await offices.acme("GET", f"{one}/certificate")).body
    await later(offices)
    assert 200 == (await offices.acme("POST", f"{one}/test")).status


async def test_a_buyer_has_so_many_certifications_a_minute(
    offices: Offices, buyers: ReferenceBuyers
) -> None:
    """Counted before they begin, for all processes, whatever came of them; each buyer by itself."""
    db = offices.store.db
    for number in range(2):
        made = a_contract(f"acme-t{number}", endpoint=endpoint(buyers))
        await offices.acme("POST", "/v1/contracts", made)
    await offices.zenith("POST", "/v1/contracts", a_contract("z-2", endpoint=endpoint(buyers)))
    live = wanted(buyers, "broken", active=True)  # never stored, so no certificate tells of it
    assert 422 == (await offices.acme("POST", "/v1/contracts", live)).status
    assert 1 == await db.fetchval("SELECT used FROM rate_window")
    await db.execute("UPDATE rate_window SET used = $1", A_MINUTE_MAX - 1)
    assert 200 == (await offices.admin("POST", "/v1/contracts/acme-t0/test")).status  # the last

    seen = messages_seen(buyers) + messages_seen(buyers, "broken")
    for side, verb, path, body in (
        (offices.acme, "POST", "/v1/contracts/acme-t1/test", None),
        (offices.admin, "POST", "/v1/contracts/acme-t1/test", None),
        (offices.acme, "POST", "/v1/contracts", live),
        (offices.acme, "PATCH", "/v1/contracts/acme-t1", {"active": True}),
    ):
        refused = await side(verb, path, body)
        assert (429, "rate_limited") == (refused.status, refused.code)
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert seen == messages_seen(buyers) + messages_seen(buyers, "broken")

    assert 200 == (await offices.zenith("POST", "/v1/contracts/z-2/test")).status
    await db.execute("UPDATE rate_window SET second = second - 60")
    assert 200 == (await offices.acme("POST", "/v1/contracts/acme-t1/test")).status


# --- going live ------------------------------------------------------------------------------------


async def test_a_new_contract_goes_live_once_certified(
    offices: Offices, buyers: ReferenceBuyers
) -> None:
    """Created active: tested first, then stored with its certificate."""
    made = await offices.acme("POST", "/v1/contracts", wanted(buyers, active=True))

    assert (201, True) == (made.status, made.body["active"])
    assert 0 < messages_seen(buyers)
    kept = await offices.acme("GET", "/v1/contracts/acme-2/certificate")
    assert (200, True) == (kept.status, kept.body["passed"])
    found = (await offices.catalogue()).markets["roofing"].contract("acme-2")
    assert found is not None
    assert found[0].active


@pytest.mark.parametrize("verb", ["POST", "PUT", "PATCH"])
async def test_what_fails_its_certification_is_not_stored(
    offices: Offices, buyers: ReferenceBuyers, verb: str
) -> None:
    """422 says which checks failed and what to do; the contract is as it was."""
    body = wanted(buyers, "broken", active=True)
    path = "/v1/contracts" if verb == "POST" else "/v1/contracts/acme-2"
    if verb == "PATCH":
        await offices.acme("POST", "/v1/contracts", wanted(buyers, "broken"))
    before = await stored(offices)

    refused = await offices.acme(verb, path, {"active": True} if verb == "PATCH" else body)

    assert (422, "not_certified", {("active", "not_certified")}) == (
        refused.status, refused.code, refused.errors,
    )  # fmt: skip
    (error,) = refused.body["errors"]
    assert "answer_readable: it failed by itself (500): see its log" in error["message"]
    after = await stored(offices)
    assert (before.status, before.headers.get("ETag")) == (after.status, after.headers.get("ETag"))
    assert 404 == (await offices.acme("GET", "/v1/contracts/acme-2/certificate")).status


async def test_a_generated_secret_is_certified_and_shown_once(
    offices: Offices, buyers: ReferenceBuyers
) -> None:
    """Nobody can know it before, so only an endpoint that verifies nothing can pass with it."""
    buyers._desks["hare"].change(replace(HARE, ignores_signature=True))
    body = wanted(buyers, active=True)
    del body["endpoint"]["secret"]

    made = await offices.acme("POST", "/v1/contracts", body)

    secret = made.body["endpoint"]["secret"]
    assert (201, "whsec_") == (made.status, secret[:6])
    assert secret != MASK
    read = await offices.acme("GET", "/v1/contracts/acme-2")
    assert MASK == read.body["endpoint"]["secret"]
    found = (await offices.catalogue()).markets["roofing"].contract("acme-2")
    assert found is not None
    assert new_secret(found[0].secret) == secret
    again = await offices.acme("PUT", "/v1/contracts/acme-2", read.body)
    assert (200, read.etag) == (again.status, again.etag)
    seen = messages_seen(buyers)
    for active in (False, True):  # under the secret that was certified, so not again
        await offices.acme("PATCH", "/v1/contracts/acme-2", {"active": active})
    assert seen == messages_seen(buyers)


async def test_a_passed_test_is_not_repeated(offices: Offices, buyers: ReferenceBuyers) -> None:
    """Tested, then switched on, off and on: nothing more is sent until the endpoint changes."""
    await offices.acme("POST", "/v1/contracts", wanted(buyers))
    assert (await offices.acme("POST", "/v1/contracts/acme-2/test")).body["passed"]
    seen = messages_seen(buyers)

    one = "/v1/contracts/acme-2"
    for patch in ({"active": True}, {"active": False}, {"active": True}, {"priority": 3}):
        assert 200 == (await offices.acme("PATCH", one, patch)).status
    assert seen == messages_seen(buyers)
    assert (await stored(offices)).body["active"]

    promised = await offices.acme("PATCH", one, {"endpoint": {"idempotent": True}})
    assert 200 == promised.status
    assert seen < messages_seen(buyers)


async def test_a_failed_test_is_repeated(offices: Offices, buyers: ReferenceBuyers) -> None:
    """An old failure stands in nobody's way once the endpoint was mended; a fresh one for a moment,
    unless the contract has moved meanwhile."""
    await offices.acme("POST", "/v1/contracts", wanted(buyers, "broken"))
    assert not (await offices.acme("POST", "/v1/contracts/acme-2/test")).body["passed"]
    live, seen = {"active": True}, messages_seen(buyers, "broken")
    hasty = await offices.acme("PATCH", "/v1/contracts/acme-2", live)
    assert (429, "rate_limited") == (hasty.status, hasty.code)
    assert 1 <= int(hasty.headers["Retry-After"]) <= PAUSE_S
    assert seen == messages_seen(buyers, "broken")
    moved = live | {"endpoint": {"idempotent": True}}
    assert 422 == (await offices.acme("PATCH", "/v1/contracts/acme-2", moved)).status
    await later(offices)
    assert 422 == (await offices.acme("PATCH", "/v1/contracts/acme-2", live)).status
    buyers._desks["broken"].change(replace(HARE, name="broken"))

    assert 200 == (await offices.acme("PATCH", "/v1/contracts/acme-2", live)).status


async def test_a_live_contract_moves_only_where_it_would_trade(
    offices: Offices, buyers: ReferenceBuyers
) -> None:
    """Addresses, secret: certified first; what fails leaves it live where it was."""
    await offices.acme("POST", "/v1/contracts", wanted(buyers, active=True))
    one, before = "/v1/contracts/acme-2", await stored(offices)

    wrong = await offices.acme("PATCH", one, {"endpoint": {"secret": new_secret(b"x" * 24)}})
    broken = await offices.acme("PATCH", one, {"endpoint": endpoint(buyers, "broken")})
    assert (422, "not_certified") == (wrong.status, wrong.code)
    assert (422, "not_certified") == (broken.status, broken.code)
    assert before.etag == (await stored(offices)).etag

    moved = await offices.acme("PATCH", one, {"endpoint": endpoint(buyers, "conflicting")})
    assert 200 == moved.status
    kept = await offices.acme("GET", f"{one}/certificate")
    assert "conflict" == kept.body["repeats"]


async def test_what_is_wrong_otherwise_is_not_even_tested(
    offices: Offices, buyers: ReferenceBuyers
) -> None:
    """Every problem of the document comes first, and nothing is sent."""
    refused = await offices.acme("POST", "/v1/contracts", wanted(buyers, active=True, colour=1))
    stale = await offices.acme("PUT", "/v1/contracts/acme-1", wanted(buyers), If_Match='"1"')

    assert (422, {("colour", "unknown_field")}) == (refused.status, refused.errors)
    assert 412 == stale.status
    assert 0 == messages_seen(buyers)


async def test_an_admin_goes_live_at_once(offices: Offices, buyers: ReferenceBuyers) -> None:
    """And sends nothing."""
    made = await offices.admin("POST", "/v1/contracts", wanted(buyers, buyer="acme"))

    assert (201, True) == (made.status, made.body["active"])
    assert 0 == messages_seen(buyers)


@pytest.mark.parametrize(
    ("named", "refused"), [(False, (409, "changed_meanwhile")), (True, (412, "etag_mismatch"))]
)
async def test_what_was_certified_is_what_is_written(
    offices: Offices, buyers: ReferenceBuyers, named: bool, refused: tuple[int, str]
) -> None:
    """Moved by somebody else while its endpoint was talked to: 409, and it is not live. Who named the
    version that it was to be has the usual 412."""
    slow = replace(HARE, post_delay_ms=(200, 200))
    buyers._desks["hare"].change(slow)
    await offices.acme("POST", "/v1/contracts", wanted(buyers))
    one = "/v1/contracts/acme-2"
    version = {"If_Match": (await stored(offices)).etag} if named else {}
    going = asyncio.create_task(offices.acme("PATCH", one, {"active": True}, **version))
    await until(lambda: bool(buyers._desks["hare"].tests.posts))

    moved = await offices.acme("PATCH", one, {"endpoint": endpoint(buyers, "broken")})
    answer = await going

    assert (200, *refused) == (moved.status, answer.status, answer.code)
    assert not (await stored(offices)).body["active"]
    assert 404 == (await offices.acme("GET", f"{one}/certificate")).status


async def test_a_live_contract_changes_its_vertical_only_certified(
    offices: Offices, buyers: ReferenceBuyers
) -> None:
    """Its endpoint has never seen a lead of that kind."""
    assert (
        201 == (await offices.admin("POST", "/v1/verticals", VERTICAL | {"slug": "solar"})).status
    )
    await offices.acme("POST", "/v1/contracts", wanted(buyers, active=True))
    seen = messages_seen(buyers)
    buyers._desks["hare"].change(replace(HARE, post_error=1))
    one = "/v1/contracts/acme-2"

    refused = await offices.acme("PATCH", one, {"vertical": "solar"})
    assert (422, "not_certified") == (refused.status, refused.code)
    assert seen < messages_seen(buyers)
    buyers._desks["hare"].change(HARE)
    assert 200 == (await offices.acme("PATCH", one, {"vertical": "solar"})).status


async def test_nothing_is_locked_while_a_buyer_is_talked_to(
    offices: Offices, buyers: ReferenceBuyers
) -> None:
    """Documents are written meanwhile, even of the same contract."""
    await offices.acme("POST", "/v1/contracts", wanted(buyers, "silent"))
    going = asyncio.create_task(offices.acme("POST", "/v1/contracts/acme-2/test"))
    await until(lambda: bool(buyers._desks["silent"].tests.pings))

    one = await offices.acme("PATCH", "/v1/contracts/acme-2", {"priority": 3})
    other = await offices.admin("PATCH", "/v1/buyers/zenith", {"name": "Zenith Ltd"})

    assert (200, 200, False) == (one.status, other.status, going.done())
    going.cancel()
    await asyncio.wait([going])


# --- what a re-send's 409 means --------------------------------------------------------------------


async def test_a_409_counts_as_accepted_where_certification_saw_it(
    offices: Offices, buyers: ReferenceBuyers
) -> None:
    """As long as the endpoint is the one that was certified."""

    async def means_accepted() -> bool:
        found = (await offices.catalogue()).markets["roofing"].contract("acme-2")
        assert found is not None
        return found[0].endpoint.conflict_means_accepted

    await offices.admin("POST", "/v1/contracts", wanted(buyers, "conflicting", buyer="acme"))
    assert not await means_accepted()
    await offices.admin("POST", "/v1/contracts/acme-2/test")
    assert await means_accepted()
    await offices.admin("PATCH", "/v1/contracts/acme-2", {"endpoint": endpoint(buyers)})
    assert not await means_accepted()


async def test_a_worker_learns_of_a_certificate(offices: Offices, buyers: ReferenceBuyers) -> None:
    """Its catalogue is refreshed by what changed; a certificate is no document."""
    await offices.admin("POST", "/v1/contracts", wanted(buyers, "conflicting", buyer="acme"))

    def broke(where: str, error: BaseException) -> None:
        raise AssertionError(where) from error

    live = LiveCatalogue(offices.store.db, offices.vault, broke)
    told = []
    for _ in range(2):
        await live.refresh()
        found = live.snapshot.markets["roofing"].contract("acme-2")
        assert found is not None
        told.append(found[0].endpoint.conflict_means_accepted)
        await offices.admin("POST", "/v1/contracts/acme-2/test")
    await live.close()

    assert [False, True] == told


# --- the made-up lead ------------------------------------------------------------------------------


def shipped() -> list[dict[str, Any]]:
    return [body for _, body in read_files([ROOT / "config" / "verticals"])]


@pytest.mark.parametrize("document", shipped(), ids=lambda one: one["slug"])
def test_a_made_up_lead_fits_every_shipped_vertical(document: dict[str, Any]) -> None:
    """With every field, optional ones too."""
    vertical = read_vertical(document)
    checks = compile_fields(vertical)

    for number in (0, 7, PEOPLE - 1):
        made = made_up_lead(vertical, number)
        assert ((), ()) == (checks.ping(made.ping).problems, checks.lead(made.lead).problems)
        assert {field.name for field in vertical.fields} == made.lead.keys()
        assert checks.ping_field_names == made.ping.keys()
        assert made.lead["phone"].startswith("+121355501")
        assert made.lead["email"].endswith("@example.com")


def test_a_made_up_lead_stays_within_a_verticals_limits() -> None:
    """Bounds, choices and what is inside objects and lists."""
    vertical = read_vertical(
        {
            "slug": "odd", "name": "Odd",
            "fields": [
                {"name": "floors", "type": "integer", "stage": "ping", "min": 7, "max": 9},
                {"name": "rate", "type": "decimal", "stage": "ping", "max": "0.5"},
                {"name": "day", "type": "date", "stage": "ping", "min": "2030-01-01"},
                {"name": "at", "type": "datetime", "stage": "ping", "max": "2001-01-01T00:00:00Z"},
                {"name": "kind", "type": "enum", "stage": "ping", "values": [3, 4], "required": True},
                {"name": "code", "type": "string", "stage": "ping", "pattern": "[0-9]{6}", "required": True},
                {"name": "odd", "type": "string", "stage": "ping", "pattern": "Q{3}-%"},
                {"name": "word", "type": "string", "stage": "ping", "min": 9, "max": 9},
                {"name": "list", "type": "array", "stage": "post", "min": 2, "items": {
                    "type": "object", "fields": [{"name": "ok", "type": "boolean", "required": True}]}},
                {"name": "none", "type": "array", "stage": "post", "max": 0, "items": {"type": "string"}},
            ],
        }
    )  # fmt: skip

    made = made_up_lead(vertical, Random(1).randrange(10_000))

    assert {
        "floors": 7, "rate": "0.5", "day": "2030-01-01", "at": "2001-01-01T00:00:00Z", "kind": 3,
        "code": "123456", "word": "examplexx", "list": [{"ok": True}, {"ok": True}], "none": [],
    } == made.lead  # fmt: skip
    assert orjson.loads(orjson.dumps(made.lead)) == made.lead
