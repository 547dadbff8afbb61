"""The front door: usual pings and leads are served here, everything else is aiohttp's."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, cast

import orjson
import pytest
from aiohttp import web

from exchange.errors import Refusal
from exchange.house import House
from exchange.http.door import Front
from exchange.http.problems import Answer
from exchange.http.sellers import SellerDesk
from exchange.http.usual import Framing, Usual, is_one_ping, usual_request
from exchange.http.valve import Valve
from exchange.observe import Silent
from exchange.pressure import Pressure
from exchange.settings import Settings
from tests.virtual import pass_ms, run

BODY = b'{"vertical":"auto_insurance"}'


def a_request(path: str = "/v1/pings", body: bytes = BODY, *headers: bytes) -> bytes:
    lines = (b"POST %b HTTP/1.1" % path.encode(), b"Host: x", *headers)
    return b"\r\n".join((*lines, b"Content-Length: %d" % len(body), b"", b"")) + body


USUAL = [
    # (bytes, whether they are one ping or lead in the usual form)
    (a_request(), True),
    (a_request(body=b""), True),
    (a_request().replace(b"Content-Length", b"CONTENT-LENGTH"), True),
    (a_request().replace(b"Length: ", b"Length:\t "), True),
    (a_request("/v1/pings", BODY, b"Connection: Keep-Alive"), True),
    (a_request("/v1/pings", BODY, b"X-Forwarded-For: 192.0.2.1", b"Accept: */*"), True),
    (a_request()[:-1], False),  # the rest of its body is to come
    (a_request() + b"P", False),  # the next request has begun
    (a_request()[:40], False),
    (a_request("/v1/leads"), True),
    (a_request("/v1/leads", BODY, b"Idempotency-Key: 1"), False),
    (a_request("/v1/leads/"), False),
    (a_request("/v1/pings?x=1"), False),
    (a_request("/v1/pings/ping_1"), False),
    (a_request().replace(b"POST", b"post"), False),
    (a_request().replace(b"1.1", b"1.0"), False),
    (a_request("/v1/pings", BODY, b"Transfer-Encoding: chunked"), False),
    (a_request("/v1/pings", BODY, b"Connection: close"), False),
    (a_request("/v1/pings", BODY, b"Connection: upgrade"), False),
    (a_request("/v1/pings", BODY, b"Expect: 100-continue"), False),
    (a_request("/v1/pings", BODY, b"Content-Encoding: gzip"), False),
    (a_request("/v1/pings", BODY, b"Idempotency-Key: 1"), False),
    (a_request("/v1/pings", BODY, b"Content-Length: 29"), False),  # twice, even alike
    (a_request("/v1/pings", BODY, b"Authorization: a", b"authorization: b"), False),
    (a_request("/v1/pings", BODY, b" folded: line"), False),
    (a_request("/v1/pings", BODY, b"Name : x"), False),
    (a_request("/v1/pings", BODY, b"no colon"), False),
    (a_request("/v1/pings", BODY, b"X: a\nb"), False),
    (a_request("/v1/pings", BODY, b"X: a\x00b"), False),
    (a_request().replace(b"Host", b"Hast"), False),
    (b"POST /v1/pings HTTP/1.1\r\nHost: x\r\n\r\n", False),  # no length
    (a_request().replace(b"Length: 29", b"Length: 2x"), False),
    (a_request().replace(b"Length: 29", b"Length: -1"), False),
    (a_request().replace(b"Length: 29", b"Length: +29"), False),
    (a_request("/v1/pings", BODY, b"X: " + b"y" * 9000), False),
    (b"", False),
]


@pytest.mark.parametrize(("data", "usual"), USUAL, ids=range(len(USUAL)))
def test_only_one_whole_request_in_the_usual_form_is_known_as_one(data: bytes, usual: bool) -> None:
    """What is unusual is read like any other request."""
    found = usual_request(data)

    assert usual is (found is not None)
    if found is not None:
        assert found.is_lead is not is_one_ping(data)
        assert found.body == data.partition(b"\r\n\r\n")[2]


FRAMED = [
    # (bytes, whether they are surely one ping, and the connection stays)
    (a_request(), True),
    (a_request("/v1/pings", BODY, b"Idempotency-Key: 1"), True),
    (a_request("/v1/pings", BODY, b"Expect: 100-continue"), True),  # its body is there
    (a_request()[:-1], False),
    (a_request() + b"P", False),
    (a_request()[:40], False),
    (a_request("/v1/leads"), False),
    (a_request("/v1/pings/ping_1"), False),
    (a_request("/v1/pings", BODY, b"Transfer-Encoding: chunked"), False),
    (a_request("/v1/pings", BODY, b"Connection: close"), False),
    (a_request("/v1/pings", BODY, b"Content-Length: 29"), False),
    (a_request("/v1/pings", BODY, b"Content-Length: 5"), False),
    (a_request("/v1/pings", BODY, b"Content-Length : 5"), False),
    (a_request().replace(b"Length: 29", b"Length: 2x"), False),
    (a_request().replace(b"Length: 29", b"Length: -1"), False),
    (a_request().replace(b"Length: 29", b"Length: "), False),
    (b"POST /v1/pings HTTP/1.1\r\nHost: x\r\n\r\n", False),
    (b"POST /v1/pings HTTP/1.1\r\n\r\nContent-Length: 0\r\n\r\n", False),
    (b"", False),
]


@pytest.mark.parametrize(("data", "framed"), FRAMED, ids=range(len(FRAMED)))
def test_the_quick_look_is_sure_where_a_ping_ends(data: bytes, framed: bool) -> None:
    """A refusal for half of a request, or for two, would be taken for another's answer."""
    assert framed is is_one_ping(data)


def test_what_is_read_of_a_ping() -> None:
    """The key as it stands, and the body."""
    found = usual_request(a_request("/v1/pings", BODY, b"authorization:  Bearer Abc=  "))

    assert found == Usual("Bearer Abc=", BODY)


class Slow(Exception):
    """What a desk that breaks raises."""


@dataclass
class Desk:
    """Takes pings or leads as their desk does; what their bodies say is what becomes of them."""

    path: str = "/v1/pings"
    seen: list[bytes] = field(default_factory=list)
    go: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(
        self, authorization: str, raw: bytes, late: Callable[[], None] | None = None
    ) -> Answer:
        self.seen.append(raw)
        match orjson.loads(raw or b"null"):
            case "slow":
                await self.go.wait()
            case "late":
                assert late is not None
                late()
                await self.go.wait()
            case "late and refused":
                assert late is not None
                late()
                raise Refusal(503, "unavailable")
            case "pending":
                return Answer(b'{"outcome":"pending"}', 202, retry_after_s=2)
            case "refused":
                raise Refusal(401, "unauthenticated")
            case "broken":
                raise Slow
        said = orjson.loads(raw or b"null")
        return Answer(orjson.dumps({"served": self.path, "key": authorization, "said": said}))


class Faults(Silent):
    """Remembers what broke, and what was refused."""

    def __init__(self) -> None:
        self.broken: list[str] = []
        self.codes: list[str] = []

    def refused(self, code: str) -> None:
        self.codes.append(code)

    def broke(self, where: str, error: BaseException) -> None:
        self.broken.append(where)


class Tap(Valve):
    """Refuses as it is told, then nobody."""

    def __init__(self) -> None:
        super().__init__(0.025, lambda: 0.0)
        self.refusals: list[bool] = []

    def is_shut(self, now_s: float) -> bool:
        return bool(self.refusals) and self.refusals[0]

    def let_in(self) -> None:
        del self.refusals[:1]

    refuse = let_in


@dataclass
class Street:
    """A door with its desks; aiohttp behind it answers everything at once, what is slow when let go."""

    port: int
    pings: Desk
    leads: Desk
    valve: Tap
    faults: Faults
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    stopping: bool = False
    settings: Settings = field(default_factory=Settings)

    @property
    def observer(self) -> Faults:
        return self.faults

    def wall_s(self) -> float:
        return 1_790_000_000.5

    def own(self, work: Coroutine[Any, Any, None], _name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        return task

    async def behind(self, request: web.Request) -> web.Response:
        await request.read()
        if request.path == "/v1/slow":
            await self.pings.go.wait()
        return web.json_response({"served": request.path})


@pytest.fixture
async def street() -> AsyncIterator[Street]:
    street = Street(0, Desk(), Desk("/v1/leads"), Tap(), Faults())
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", street.behind)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    front = Front(cast("House", street), cast("SellerDesk", street), street.valve, 30.0)
    listeners = await front.listen(runner, "127.0.0.1", 0)
    street.port = listeners[0].sockets[0].getsockname()[1]
    yield street
    for one in listeners:
        one.close()
    await runner.cleanup()
    street.pings.go.set()
    street.leads.go.set()
    if street.tasks:
        await asyncio.wait(street.tasks)


@dataclass
class Caller:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def hear(self) -> tuple[int, dict[str, Any]]:
        """The next answer: its status and its document."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
        return int(head.split(" ", 2)[1]), orjson.loads(await self.reader.readexactly(length))


@pytest.fixture
async def caller(street: Street) -> AsyncIterator[Caller]:
    reader, writer = await asyncio.open_connection("127.0.0.1", street.port)
    yield Caller(reader, writer)
    writer.close()


GOOD = {"served": "/v1/pings", "key": "Bearer k", "said": "good"}


def says(what: str, path: str = "/v1/pings") -> bytes:
    return a_request(path, orjson.dumps(what), b"Authorization: Bearer k")


async def test_a_usual_ping_is_served_by_its_desk(street: Street, caller: Caller) -> None:
    """Again and again on one connection, between requests that are aiohttp's."""
    for _ in range(3):
        caller.send(says("good"))
        assert (200, GOOD) == await caller.hear()
        caller.send(a_request("/v1/other"))
        assert (200, {"served": "/v1/other"}) == await caller.hear()
    assert 3 == len(street.pings.seen)


async def test_a_refusal_is_a_problem(street: Street, caller: Caller) -> None:
    """With what HTTP wants beside it."""
    caller.send(says("refused"))
    head = (await caller.reader.readuntil(b"\r\n\r\n")).decode()
    length = int(head.partition("Content-Length: ")[2].partition("\r\n")[0])
    document = orjson.loads(await caller.reader.readexactly(length))

    assert head.startswith("HTTP/1.1 401 Unauthorized\r\n")
    assert "\r\nContent-Type: application/problem+json\r\n" in head
    assert "\r\nDate: Mon, 21 Sep 2026 14:13:20 GMT\r\n" in head
    assert "\r\nWWW-Authenticate: Bearer\r\n" in head
    assert (401, "unauthenticated") == (document["status"], document["code"])


async def test_what_is_answered_is_counted(street: Street, caller: Caller) -> None:
    """Once, also where a ping is refused after its seller was told that his time is over."""
    for what in ("refused", "late and refused", "broken"):
        caller.send(says(what))
        await caller.hear()

    assert ["unauthenticated", "unavailable", "internal"] == street.faults.codes


async def test_a_bug_is_told_and_answered(street: Street, caller: Caller) -> None:
    """Without a word of what went wrong inside; the connection lives on."""
    caller.send(says("broken"))
    status, document = await caller.hear()
    caller.send(says("good"))

    assert (500, "internal", ["POST /v1/pings"]) == (
        status,
        document["code"],
        street.faults.broken,
    )
    assert 200 == (await caller.hear())[0]


async def test_a_seller_whose_time_is_over_is_answered_once(street: Street, caller: Caller) -> None:
    """The ping goes on, and its answer is nobody's."""
    caller.send(says("late"))
    status, document = await caller.hear()
    assert (503, "unavailable") == (status, document["code"])
    street.pings.go.set()
    await asyncio.wait(street.tasks)
    caller.send(says("good"))

    assert (200, GOOD) == await caller.hear()


async def test_a_late_answer_is_not_the_next_pings(street: Street, caller: Caller) -> None:
    """The ping that is served when it comes is another one."""
    caller.send(says("late"))
    assert 503 == (await caller.hear())[0]
    caller.send(says("slow"))
    await pass_through(street)
    street.pings.go.set()

    status, document = await caller.hear()
    caller.send(says("good"))

    assert (200, "slow") == (status, document["said"])
    assert "good" == (await caller.hear())[1]["said"]


async def test_who_pipelines_is_left_to_aiohttp(street: Street, caller: Caller) -> None:
    """A request and a half in one read: what ends the half may look like a ping."""
    caller.send(a_request("/v1/other") + b"GET /v1/victim HTTP/1.1\r\nX-Half: ")
    assert "/v1/other" == (await caller.hear())[1]["served"]
    caller.send(says("good"))
    assert "/v1/victim" == (await caller.hear())[1]["served"]
    caller.send(a_request("/v1/third"))

    assert "/v1/third" == (await caller.hear())[1]["served"]
    assert [] == street.pings.seen


async def test_a_worker_that_stops_serves_nobody_here(street: Street, caller: Caller) -> None:
    """aiohttp refuses, and waits for what it has to answer."""
    street.stopping = True
    caller.send(says("good"))

    assert (200, {"served": "/v1/pings"}) == await caller.hear()
    assert [] == street.pings.seen


READS = [
    # (reads, whether they end where a request ends)
    ((a_request(),), True),
    ((a_request(), a_request("/v1/leads")), True),
    ((b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",), True),
    ((a_request()[:70], a_request()[70:], b""), True),
    ((a_request()[:-5], a_request()[-5:-2], a_request()[-2:]), True),
    ((a_request()[:-5],), False),
    ((a_request()[:30], a_request()[30:]), False),  # nobody knows yet, and then never
    ((a_request() + a_request(),), False),
    ((a_request() + b"G", b"ET / HTTP/1.1\r\n\r\n"), False),
    ((a_request()[:-5], a_request()[-5:] + b"G"), False),
    ((a_request("/v1/pings", BODY, b"Transfer-Encoding: chunked"),), False),
    ((a_request("/v1/pings", BODY, b"Expect: 100-continue"),), False),
    ((b"GET / HTTP/1.1\nHost: x\r\n\r\n",), False),
]


@pytest.mark.parametrize(("reads", "ends"), READS, ids=range(len(READS)))
def test_the_door_knows_where_requests_end_or_that_it_does_not(
    reads: tuple[bytes, ...], ends: bool
) -> None:
    """Only at an end may it answer what comes next."""
    framing = Framing()
    for data in reads:
        framing.read(data)

    assert ends is framing.at_end


@pytest.mark.parametrize("before", [[], ["/v1/leads"]], ids=["at once", "after a lead"])
async def test_a_ping_goes_on_without_its_seller(
    street: Street, caller: Caller, before: list[str]
) -> None:
    """Buyers have been asked. Who has gone is not answered, and that is no fault."""
    for path in before:
        caller.send(says("good", path))
        await caller.hear()
    caller.send(says("slow"))
    await pass_through(street)
    caller.writer.transport.abort()
    await pass_through(street)
    street.pings.go.set()
    done, _ = await asyncio.wait(street.tasks)

    assert {None} == {task.exception() for task in done}
    assert [] == street.faults.broken


async def test_what_comes_while_a_ping_is_served_waits_its_turn(
    street: Street, caller: Caller
) -> None:
    """Whether it is aiohttp's or the door's, whole or in parts."""
    caller.send(says("slow"))
    await pass_through(street)
    for part in (a_request("/v1/other")[:30], a_request("/v1/other")[30:], says("good")):
        caller.send(part)
        await pass_through(street)
    street.pings.go.set()

    answers = [await caller.hear() for _ in range(3)]

    assert ["/v1/pings", "/v1/other", "/v1/pings"] == [one[1]["served"] for one in answers]


async def test_half_of_the_pings_are_refused_and_the_connection_lives_on(
    street: Street, caller: Caller
) -> None:
    """Refused as any 503: a problem with its code. The others are served, on the same connection."""
    street.valve.refusals = [False, True] * 3
    statuses = []
    for _ in range(6):
        caller.send(says("good"))
        status, document = await caller.hear()
        statuses.append(status)
        assert document.get("code") == ("overloaded" if status == 503 else None)

    assert [200, 503] * 3 == statuses
    assert 3 == len(street.pings.seen)


async def test_leads_are_never_refused_here(street: Street, caller: Caller) -> None:
    """A quote was given for them."""
    street.valve.refusals = [True] * 5
    for _ in range(5):
        caller.send(says("good", "/v1/leads"))
        assert (200, GOOD | {"served": "/v1/leads"}) == await caller.hear()
    assert 5 == len(street.leads.seen)


async def test_a_lead_whose_buyer_has_not_said_yet(street: Street, caller: Caller) -> None:
    caller.send(says("pending", "/v1/leads"))
    head = (await caller.reader.readuntil(b"\r\n\r\n")).decode()

    assert head.startswith("HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\n")
    assert "\r\nRetry-After: 2\r\n" in head


async def test_a_lead_is_stopped_when_its_seller_hangs_up(street: Street, caller: Caller) -> None:
    """Though he had sent the next one already: it is for the desk to say what can be stopped."""
    caller.send(says("slow", "/v1/leads"))
    await pass_through(street)
    caller.send(says("good", "/v1/leads"))
    await pass_through(street)
    caller.writer.transport.abort()
    done, _ = await asyncio.wait(street.tasks)

    assert [True] == [task.cancelled() for task in done]
    assert 1 == len(street.leads.seen)


async def test_no_refusal_overtakes_an_answer(street: Street, caller: Caller) -> None:
    """It would be taken for that answer."""
    street.valve.refusals = [True]
    caller.send(a_request("/v1/slow"))
    await pass_through(street)
    caller.send(says("good"))
    await pass_through(street)
    street.pings.go.set()

    answers = [await caller.hear() for _ in range(2)]

    assert [(200, "/v1/slow"), (200, "/v1/pings")] == [
        (status, document["served"]) for status, document in answers
    ]


async def test_what_ends_a_head_that_had_begun_is_no_ping(street: Street, caller: Caller) -> None:
    """However much it looks like one."""
    street.valve.refusals = [True]
    caller.send(b"GET /v1/other HTTP/1.1\r\nX-Half: ")
    await pass_through(street)
    caller.send(says("good"))

    status, _ = await caller.hear()

    assert (200, [True]) == (
        status,
        street.valve.refusals,
    )  # its first line became that header's value


async def pass_through(street: Street) -> None:
    """Another caller is served: by then what was sent before has been read."""
    reader, writer = await asyncio.open_connection("127.0.0.1", street.port)
    other = Caller(reader, writer)
    other.send(a_request("/v1/other"))
    await other.hear()
    writer.close()


async def test_the_valve_lets_in_as_its_pressure_says(street: Street) -> None:
    """And counts; with a target of zero everybody passes."""
    valve = Valve(0.025, lambda: 0.0)
    assert 100 == come_in(valve, 1.0, 100)
    valve.pressure = Pressure(rate=200.0)
    assert 20 == come_in(valve, 2.0, 50)
    assert (30, 150) == valve.take_seen()
    assert (0, 0) == valve.take_seen()
    leave(valve, 120)
    assert 16 == come_in(valve, 2.0, 50), "a few are no queue"
    leave(valve, 6)
    assert 6 == come_in(valve, 2.0, 50)
    valve.pressure = Pressure(rate=200.0, answered=900.0)
    assert 90 - 16 == come_in(valve, 2.0, 200), "those of a tenth of a second"
    free = Valve(0, lambda: 0.0)
    free.pressure = Pressure(rate=20.0)
    assert 1000 == come_in(free, 1.0, 1000)


def leave(valve: Valve, count: int) -> None:
    """So many pings have ended."""
    for _ in range(count):
        valve.done()


def come_in(valve: Valve, now_s: float, come: int) -> int:
    """How many of so many pings the valve lets in."""
    found = 0
    for _ in range(come):
        if valve.is_shut(now_s):
            valve.refuse()
        else:
            valve.let_in()
            found += 1
    return found


def test_the_valve_sees_what_waits_elsewhere() -> None:
    """In a queue to be written, say: the loop itself is not late, in virtual time it never is."""
    waits = [0.0]
    valve = Valve(0.025, lambda: waits[0])

    async def story() -> None:
        valve.let_in()
        await pass_ms(1000)
        assert math.inf == valve.pressure.rate
        assert valve.pressure.at_s < 0.1, "while nothing comes it does not look"
        waits[0] = 1.0
        valve.let_in()
        await pass_ms(30)
        assert valve.pressure.rate < math.inf
        waits[0] = 0.0
        await pass_ms(5000)
        assert math.inf == valve.pressure.rate, "while it is shut it looks, whether or not any come"

    run(story())
