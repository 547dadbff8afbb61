"""The HTTP client against real, mostly hostile, local servers; on asyncio and on uvloop."""

import asyncio
import datetime as dt
import inspect
import math
import socket
import ssl
import struct
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import Any, Self, cast

import pytest
import trustme
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from buyers.guard import Guard, Target
from buyers.wire import (
    CachingResolver,
    Call,
    Failure,
    Reply,
    Wire,
    WireLimits,
    finish_request,
    render_head,
    render_request,
)
from buyers.wire.answer import AnswerReader
from buyers.wire.call import make_call
from buyers.wire.connection import Connection
from buyers.wire.dial import Dialler
from buyers.wire.pool import Pool
from buyers.wire.resuming import Resumptions

OPEN = Guard(allowed_networks=(ip_network("127.0.0.0/8"),))
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
SECONDS = 20.0  # a bound for the test itself, never waited for
LIMITS = WireLimits(connect_timeout_s=1.0, close_timeout_s=2.0)

Script = Callable[["Peer"], Awaitable[None]]


def on_both_loops(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Runs the coroutine test on plain asyncio and on uvloop."""

    def sync_test(run: Callable[[Coroutine[Any, Any, None]], None], **arguments: Any) -> None:
        run(test(**arguments))

    parameters = list(inspect.signature(test).parameters.values())
    run = inspect.Parameter("run", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    sync_test.__name__ = test.__name__
    sync_test.__doc__ = test.__doc__
    sync_test.__signature__ = inspect.Signature([run, *parameters])  # type: ignore[attr-defined]
    sync_test.pytestmark = list(getattr(test, "pytestmark", []))  # type: ignore[attr-defined]
    return pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])(
        sync_test
    )


@dataclass
class Peer:
    """The server's end of one connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int  # counts the server's connections from 1
    bench: "Bench"

    async def request(self) -> bytes:
        """The next request's body; IncompleteReadError once the client has closed."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        return await self.reader.readexactly(length)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def closed(self) -> None:
        """Until the client has closed."""
        with suppress(ConnectionError):
            while await self.reader.read(65536):
                pass

    def reset(self) -> None:
        """RST, not FIN."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@dataclass
class Asked:
    call: Call
    reply: "asyncio.Future[Reply]"
    count: int = 0


class Bench:
    """Servers, one wire, and the checks every test ends with."""

    def __init__(self, guard: Guard = OPEN, limits: WireLimits = LIMITS, **wire: Any) -> None:
        wire.setdefault("ssl_context", ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))  # quick to make
        self.wire = Wire(guard=guard, limits=limits, **wire)
        self.loop = asyncio.get_running_loop()
        self.peers = 0
        self.asked: list[Asked] = []
        self._servers: list[asyncio.Server] = []
        self._handlers: set[asyncio.Task[None]] = set()
        self._faults: list[dict[str, Any]] = []

    async def __aenter__(self) -> Self:
        self.loop.set_exception_handler(lambda _, context: self._faults.append(context))
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.wire.close()
        stats = self.wire.stats()
        for server in self._servers:
            server.close()
        for handler in self._handlers:
            handler.cancel()
        if self._handlers:
            await asyncio.wait(self._handlers, timeout=SECONDS)
        if error[0] is None:
            assert (stats.open, stats.idle, stats.dialling, stats.in_flight) == (0, 0, 0, 0)
            assert all(asked.count <= 1 for asked in self.asked)
            assert asyncio.all_tasks() == {asyncio.current_task()}
            assert self._faults == []

    async def serve(self, script: Script, port: int = 0, **options: Any) -> Target:
        server = await asyncio.start_server(
            lambda reader, writer: self._accept(script, reader, writer),
            "127.0.0.1",
            port,
            **options,
        )
        self._servers.append(server)
        return target(server.sockets[0].getsockname()[1])

    def _accept(
        self, script: Script, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.peers += 1
        peer = Peer(reader, writer, self.peers, self)
        task = self.loop.create_task(self._run(script, peer))
        self._handlers.add(task)
        task.add_done_callback(self._handlers.discard)

    async def _run(self, script: Script, peer: Peer) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            try:
                await script(peer)
            finally:
                peer.writer.close()

    def send(self, where: Target, body: bytes = b"{}", **options: Any) -> Asked:
        options = {"pool": "p", "deadline": self.loop.time() + SECONDS} | options
        payload = render_request(where, (), body)
        reply: asyncio.Future[Reply] = self.loop.create_future()

        def done(_tag: int, *result: Any) -> None:
            asked.count += 1
            if not reply.done():
                reply.set_result(Reply(*result))

        asked = Asked(None, reply)  # type: ignore[arg-type]
        asked.call = self.wire.send(where, payload, done, **options)
        assert asked.count == 0, "never synchronously"
        self.asked.append(asked)
        return asked

    async def ask(self, where: Target, body: bytes = b"{}", **options: Any) -> Reply:
        return await self.send(where, body, **options).reply

    async def turns(self, until: Callable[[], bool]) -> None:
        """Lets the loop turn until something has become true."""
        async with asyncio.timeout(SECONDS):
            while not until():  # noqa: ASYNC110 (counters have no event to wait for)
                await asyncio.sleep(0)


def target(port: int, host: str = "127.0.0.1", scheme: str = "http") -> Target:
    return Target(scheme=scheme, host=host, port=port, path_and_query="/ping", needs_allowed=True)


def saying(*parts: bytes, hang: bool = False, reset: bool = False) -> Script:
    """Answers every request on a connection with these bytes, then closes unless it hangs."""

    async def script(peer: Peer) -> None:
        await peer.request()
        for part in parts:
            await peer.send(part)
        if reset:
            peer.reset()
        elif hang:
            await peer.closed()

    return script


async def echo(peer: Peer) -> None:
    """A well-behaved server: the body comes back, the connection stays."""
    while True:
        body = await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


async def silent(peer: Peer) -> None:
    await peer.closed()


async def slams(peer: Peer) -> None:
    peer.reset()


async def drips(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        await peer.send(b"x")
        await asyncio.sleep(0.005)


async def drips_head(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        await peer.send(b"x")
        await asyncio.sleep(0.005)


async def floods(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: x\r\n\r\n")
    for _ in range(320):
        await peer.send(b"x" * 65536)


async def floods_interim(peer: Peer) -> None:
    await peer.request()
    for _ in range(200):
        await peer.send(b"HTTP/1.1 102 Processing\r\n\r\n" * 1000)


def headed(*lines: str, body: bytes = b"", status: str = "200 OK") -> bytes:
    head = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", *lines))
    return head.encode() + b"\r\n" + body


CHUNKED = "Transfer-Encoding: chunked"
BIG = b"x" * 65536
F = Failure

# name, server, status, body, failure; a deadline of 80 ms only where it must pass
TABLE: list[tuple[str, Script, int | None, bytes, Failure | None]] = [
    ("length", saying(OK), 200, b"hi", None),
    ("length 0", saying(headed("Content-Length: 0")), 200, b"", None),
    ("byte by byte", saying(*[OK[i : i + 1] for i in range(len(OK))]), 200, b"hi", None),
    ("empty header", saying(headed("X:", "Content-Length: 2", body=b"hi")), 200, b"hi", None),
    ("chunked", saying(headed(CHUNKED, body=b"1\r\nh\r\n1;e=1\r\ni\r\n0\r\n\r\n")), 200, b"hi", None),
    ("trailers", saying(headed(CHUNKED, body=b"2\r\nhi\r\n0\r\nT: x\r\n\r\n")), 200, b"hi", None),
    ("until close", saying(headed("X: y", body=b"hi")), 200, b"hi", None),
    ("http/1.0", saying(b"HTTP/1.0 200 OK\r\n\r\nhi"), 200, b"hi", None),
    ("204", saying(headed(status="204 No Content"), hang=True), 204, b"", None),
    ("304", saying(headed("Content-Length: 9", status="304 N"), hang=True), 304, b"", None),
    ("1xx", saying(b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 103 E\r\nLink: x\r\n\r\n" + OK), 200, b"hi", None),
    ("redirect", saying(headed("Location: http://169.254.169.254/", "Content-Length: 0", status="302 F")), 302, b"", None),
    ("500", saying(headed("Content-Length: 4", body=b"oops", status="500 E")), 500, b"oops", None),
    ("html", saying(headed("Content-Length: 6", body=b"<html>")), 200, b"<html>", None),
    ("64 KiB", saying(headed("Content-Length: 65536", body=BIG)), 200, BIG, None),
    ("gzip stays gzip", saying(headed("Content-Encoding: gzip", "Content-Length: 2", body=b"\x1f\x8b")), 200, b"\x1f\x8b", None),
    ("answer, then more", saying(OK + OK), 200, b"hi", None),
    ("answer, then junk", saying(OK + b"\x00junk"), 200, b"hi", None),
    ("answer, then a flood", saying(OK + b"x" * 500_000), 200, b"hi", None),
    ("close with more", saying(headed("Connection: close", "Content-Length: 2", body=b"hi" + OK)), 200, b"hi", None),
    ("hangs", silent, None, b"", F.TIMED_OUT),
    ("hangs after head", saying(headed("Content-Length: 9"), hang=True), 200, b"", F.TIMED_OUT),
    ("drips the body", drips, 200, b"", F.TIMED_OUT),
    ("drips the head", drips_head, None, b"", F.TIMED_OUT),
    ("resets after request", saying(reset=True), None, b"", F.RESET),
    ("closes after request", saying(), None, b"", F.RESET),
    ("closes in the head", saying(b"HTTP/1.1 200 OK\r\nX"), None, b"", F.RESET),
    ("closes after 100", saying(b"HTTP/1.1 100 C\r\n\r\n"), None, b"", F.RESET),
    ("closes in the body", saying(headed("Content-Length: 9", body=b"hi")), 200, b"", F.RESET),
    ("closes in a chunk", saying(headed(CHUNKED, body=b"9\r\nhi")), 200, b"", F.RESET),
    ("closes between chunks", saying(headed(CHUNKED, body=b"2\r\nhi\r\n")), 200, b"", F.RESET),
    ("closes before the last CRLF", saying(headed(CHUNKED, body=b"2\r\nhi\r\n0\r\n")), 200, b"", F.RESET),
    ("bad chunk", saying(headed(CHUNKED, body=b"zz\r\nhi\r\n")), 200, b"", F.GARBLED),
    ("negative chunk", saying(headed(CHUNKED, body=b"-1\r\nhi\r\n")), 200, b"", F.GARBLED),
    ("both lengths", saying(headed("Content-Length: 2", CHUNKED, body=b"hi")), None, b"", F.GARBLED),
    ("both lengths, reversed", saying(headed(CHUNKED, "Content-Length: 2")), None, b"", F.GARBLED),
    ("two lengths", saying(headed("Content-Length: 2", "Content-Length: 3")), None, b"", F.GARBLED),
    ("negative length", saying(headed("Content-Length: -2")), None, b"", F.GARBLED),
    ("huge length", saying(headed("Content-Length: " + "9" * 40)), None, b"", F.GARBLED),
    ("gzip transfer", saying(headed("Transfer-Encoding: gzip, chunked"), hang=True), 200, b"", F.GARBLED),
    ("gzip chunks", saying(headed("Transfer-Encoding: gzip, chunked", body=b"2\r\nhi\r\n0\r\n\r\n")), 200, b"", F.GARBLED),
    ("gzip until close", saying(headed("Transfer-Encoding: gzip", body=b"hi"), hang=True), 200, b"", F.GARBLED),
    ("1xx, then gzip chunks", saying(b"HTTP/1.1 103 E\r\n\r\n" + headed("Transfer-Encoding: gzip, chunked", body=b"2\r\nhi\r\n0\r\n\r\n")), 200, b"", F.GARBLED),
    ("1xx, then too much", saying(b"HTTP/1.1 103 E\r\n\r\n" + headed("Content-Length: 65537"), hang=True), 200, b"", F.OVERSIZED),
    ("1xx, then rtsp", saying(b"HTTP/1.1 103 E\r\n\r\nRTSP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi"), None, b"", F.GARBLED),
    ("chunked twice", saying(headed(CHUNKED, CHUNKED, body=b"2\r\nhi\r\n0\r\n\r\n")), 200, b"", F.GARBLED),
    ("lines before", saying(b"\r\n\r\n" + OK), 200, b"hi", None),
    ("rtsp", saying(b"RTSP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi"), None, b"", F.GARBLED),
    ("ice", saying(b"ICE/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi"), None, b"", F.GARBLED),
    ("16 KiB of head and body at once", saying(headed("X: " + "x" * 9000, "Content-Length: 9000", body=BIG[:9000])), 200, BIG[:9000], None),
    ("16 KiB of head, body at once", saying(headed("X: " + "x" * 17_000, "Content-Length: 2", body=b"hi")), None, b"", F.OVERSIZED),
    ("folded header", saying(headed("A: b", " c")), None, b"", F.GARBLED),
    ("101", saying(headed("Upgrade: x", "Connection: upgrade", status="101 S")), None, b"", F.GARBLED),
    ("bare 101", saying(headed(status="101 S")), None, b"", F.GARBLED),
    ("1xx with a body", saying(headed("Content-Length: 2", status="103 E") + OK), None, b"", F.GARBLED),
    ("200k x 1xx", floods_interim, None, b"", F.GARBLED),
    ("not http", saying(b"<html>hello</html>"), None, b"", F.GARBLED),
    ("http/2", saying(b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"), None, b"", F.GARBLED),
    ("tls bytes", saying(b"\x16\x03\x01\x00\x05hello"), None, b"", F.GARBLED),
    ("bad status", saying(b"HTTP/1.1 2x0 OK\r\n\r\n"), None, b"", F.GARBLED),
    ("65,537 bytes announced", saying(headed("Content-Length: 65537")), 200, b"", F.OVERSIZED),
    ("65,537 bytes chunked", saying(headed(CHUNKED, body=b"10001\r\n" + BIG + b"x\r\n0\r\n\r\n")), 200, b"", F.OVERSIZED),
    ("20 MB until close", floods, 200, b"", F.OVERSIZED),
    ("100 KB header", saying(headed("X: " + "x" * 100_000)), None, b"", F.OVERSIZED),
    ("1,000 cookies", saying(headed(*["Set-Cookie: a=bcdefghijkl"] * 1000)), None, b"", F.OVERSIZED),
    ("endless trailer", saying(headed(CHUNKED, body=b"0\r\nT: " + BIG * 5)), 200, b"", F.OVERSIZED),
    ("chunk extensions", saying(headed(CHUNKED, body=b"1;" + b"e" * 300_000)), 200, b"", F.OVERSIZED),
]  # fmt: skip


@on_both_loops
@pytest.mark.parametrize(
    ("script", "status", "body", "failure"),
    [row[1:] for row in TABLE],
    ids=[row[0] for row in TABLE],
)
async def test_one_result_whatever_the_buyer_does(
    script: Script, status: int | None, body: bytes, failure: Failure | None
) -> None:
    async with Bench() as bench:
        where = await bench.serve(script)
        allowed = 0.08 if failure is F.TIMED_OUT else SECONDS
        asked = bench.send(where, deadline=bench.loop.time() + allowed)
        reply = await asked.reply
        assert (reply.status, reply.body, reply.failure) == (status, body, failure)
        assert reply.written
        assert 0 <= reply.elapsed_ms < 2000
        await bench.wire.close()
        assert asked.count == 1


@on_both_loops
async def test_a_reset_cuts_a_body_without_length() -> None:
    go = asyncio.Event()

    async def cuts(peer: Peer) -> None:
        await peer.request()
        await peer.send(headed("X: y", body=b"hi"))
        await go.wait()
        peer.reset()

    async with Bench() as bench:
        asked = bench.send(await bench.serve(cuts))
        await bench.turns(lambda: bool(asked.call.connection and asked.call.connection.status))
        go.set()
        reply = await asked.reply
        assert (reply.status, reply.body, reply.failure) == (200, b"", F.RESET)


@on_both_loops
async def test_a_reset_on_accept_is_written_only_if_it_came_second() -> None:
    async with Bench() as bench:
        reply = await bench.ask(await bench.serve(slams))
        assert reply.failure in {F.RESET, F.UNREACHABLE}
        assert reply.written == (reply.failure is F.RESET)


@on_both_loops
async def test_a_connection_is_used_again() -> None:
    async with Bench() as bench:
        where = await bench.serve(echo)
        for number in range(20):
            reply = await bench.ask(where, b"%d" % number)
            assert (reply.body, reply.failure) == (b"%d" % number, None)
        stats = bench.wire.stats()
        assert (stats.opened, stats.reused, stats.open, stats.idle) == (1, 19, 1, 1)
        assert stats.waited == 1  # the first, for the dial
        assert 0 <= stats.waited_s < SECONDS
        assert bench.peers == 1


@on_both_loops
async def test_another_description_of_the_same_origin_finds_the_same_pool() -> None:
    async with Bench() as bench:
        where = await bench.serve(echo)
        for path in ("/ping", "/post", "/ping"):
            assert (await bench.ask(replace(where, path_and_query=path))).failure is None
        assert (bench.wire.stats().opened, bench.wire.stats().reused) == (1, 2)


@on_both_loops
async def test_a_burst_keeps_its_connections_for_the_next() -> None:
    async with Bench() as bench:
        where = await bench.serve(echo)
        for _ in range(3):
            for asked in [bench.send(where) for _ in range(64)]:
                await asked.reply
        assert (bench.wire.stats().opened, bench.wire.stats().idle) == (64, 64)


@on_both_loops
@pytest.mark.parametrize(
    "answer",
    [
        headed("Connection: close", "Content-Length: 2", body=b"hi"),
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        OK + OK,
        OK + b"H",
        headed("Content-Length: 2", body=b"hi", status="204 N"),
    ],
)
async def test_some_answers_end_the_connection(answer: bytes) -> None:
    async with Bench() as bench:
        where = await bench.serve(saying(answer, hang=True))
        assert (await bench.ask(where)).failure is None
        assert bench.wire.stats().idle == 0
        assert (await bench.ask(where)).failure is None
        assert bench.wire.stats().opened == 2


@on_both_loops
async def test_an_answer_before_the_whole_request_ends_the_connection() -> None:
    async def early(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(OK)
        await asyncio.Event().wait()  # never reads the rest

    async with Bench() as bench:
        where = await bench.serve(early)
        assert (await bench.ask(where, b"x" * 30_000_000)).body == b"hi"
        assert bench.wire.stats().idle == 0


@on_both_loops
@pytest.mark.parametrize("noticed", [True, False])
async def test_unsolicited_bytes_never_answer_the_next_request(noticed: bool) -> None:
    poisoned = asyncio.Event()

    async def poisons(peer: Peer) -> None:
        body = await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        if peer.number == 1:
            await poisoned.wait()
            peer.writer.write(headed("Content-Length: 6", body=b"POISON"))
        await peer.closed()

    async with Bench() as bench:
        where = await bench.serve(poisons)
        assert (await bench.ask(where, b"A")).body == b"A"
        poisoned.set()
        if noticed:
            await bench.turns(lambda: bench.wire.stats().open == 0)
        else:
            await _arrived_unread(bench)
        assert (await bench.ask(where, b"B")).body == b"B"
        assert bench.wire.stats().opened == 2


async def _arrived_unread(bench: Bench) -> None:
    """Until bytes are in the kernel, before the loop has read them."""
    (pool,) = bench.wire._pools.values()
    (connection,) = pool.connections
    assert connection._transport is not None
    connection._transport.pause_reading()
    await bench.turns(lambda: not connection.quiet())


@on_both_loops
@pytest.mark.parametrize("abruptly", [True, False])
async def test_a_connection_closed_while_idle_is_not_used(abruptly: bool) -> None:
    go = asyncio.Event()

    async def leaves(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await go.wait()
        if abruptly:
            peer.reset()

    async with Bench() as bench:
        where = await bench.serve(leaves)
        assert (await bench.ask(where)).body == b"hi"
        go.set()
        await bench.turns(lambda: bench.wire.stats().open == 0)
        assert (await bench.ask(where)).body == b"hi"
        assert bench.wire.stats().reused == 0


@on_both_loops
async def test_a_reused_connection_lost_before_the_answer_is_not_sent_again() -> None:
    async def once(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()
        peer.reset()

    async with Bench() as bench:
        where = await bench.serve(once)
        assert (await bench.ask(where)).failure is None
        reply = await bench.ask(where)
        assert (reply.failure, reply.written, reply.status) == (F.RESET, True, None)
        assert bench.peers == 1


@on_both_loops
async def test_a_post_takes_only_a_recently_used_connection() -> None:
    async with Bench() as bench:
        where = await bench.serve(echo)
        await bench.ask(where)
        await bench.ask(where, idle_max_s=5.0)
        assert bench.wire.stats().opened == 1
        await bench.ask(where, idle_max_s=0.0)
        assert bench.wire.stats().opened == 2
        assert bench.wire.stats().idle == 2  # a ping may still use the other


@on_both_loops
async def test_pools_are_not_shared() -> None:
    async with Bench() as bench:
        where = await bench.serve(echo)
        for pool in ("a", "b", "a", "b"):
            await bench.ask(where, pool=pool)
        assert (bench.wire.stats().opened, bench.peers) == (2, 2)


@on_both_loops
async def test_one_pool_name_never_mixes_origins() -> None:
    async with Bench() as bench:
        first, second = await bench.serve(echo), await bench.serve(saying(OK, hang=True))
        assert (await bench.ask(first, b"A")).body == b"A"
        assert (await bench.ask(second, b"B")).body == b"hi"
        assert (await bench.ask(first, b"C")).body == b"C"
        assert bench.wire.stats().opened == 2


@on_both_loops
async def test_calls_at_once_get_their_own_answers() -> None:
    async with Bench() as bench:
        where = await bench.serve(echo)
        for _ in range(3):
            asked = [bench.send(where, b"%d" % number) for number in range(30)]
            assert bench.wire.stats().in_flight == 30
            bodies = [(await one.reply).body for one in asked]
            assert bodies == [b"%d" % number for number in range(30)]
        assert bench.wire.stats().opened == 30


@on_both_loops
async def test_a_full_pool_says_so() -> None:
    async with Bench(limits=replace(LIMITS, max_open=2)) as bench:
        where = await bench.serve(silent)
        asked = [bench.send(where, deadline=math.inf) for _ in range(3)]
        reply = await asked[2].reply
        assert (reply.failure, reply.written) == (F.POOL_FULL, False)
        other = bench.send(where, pool="other", deadline=math.inf)
        await bench.turns(lambda: bench.wire.stats().open == 3)
        assert not other.reply.done()


@on_both_loops
async def test_idle_connections_are_few_and_go_after_a_while() -> None:
    limits = replace(LIMITS, max_idle=2, idle_timeout_s=0.04)
    async with Bench(limits=limits) as bench:
        where = await bench.serve(echo)
        for asked in [bench.send(where) for _ in range(5)]:
            await asked.reply
        assert bench.wire.stats().idle == 2
        await bench.turns(lambda: bench.wire.stats().open == 0)
        assert bench.wire._pools == {}


@on_both_loops
async def test_refused_is_not_written() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound and not listening: nobody else can take the port
        async with Bench() as bench:
            reply = await bench.ask(target(held.getsockname()[1]))
            assert (reply.failure, reply.written, reply.status) == (F.UNREACHABLE, False, None)


@on_both_loops
@pytest.mark.parametrize(
    ("addresses", "needs_allowed", "failure"),
    [
        (["127.0.0.1"], True, None),
        (["127.0.0.1"], False, None),
        (["10.0.0.1"], True, F.BLOCKED),
        (["169.254.169.254"], False, F.BLOCKED),
        (["127.0.0.1", "10.0.0.1"], False, F.BLOCKED),  # a mixed answer is refused whole
        (["127.0.0.1", "8.8.8.8"], True, F.BLOCKED),
        (["not an address"], False, F.BLOCKED),
        ([], False, F.DNS),
        (None, False, F.DNS),
    ],
)
async def test_every_resolved_address_is_judged(
    addresses: list[str] | None, needs_allowed: bool, failure: Failure | None
) -> None:
    class Fixed:
        async def resolve(self, host: str, port: int) -> list[str]:
            if addresses is None:
                raise OSError("no such name")
            return addresses

    async with Bench(resolver=Fixed()) as bench:
        where = await bench.serve(echo)
        named = replace(where, host="buyer.example", needs_allowed=needs_allowed)
        reply = await bench.ask(named)
        assert (reply.failure, reply.written) == (failure, failure is None)
        assert bench.peers == (failure is None)


@on_both_loops
async def test_addresses_are_judged_at_every_dial() -> None:
    """A name that led to us when it was registered may lead elsewhere later."""

    class Rebinds:
        address = "127.0.0.1"

        async def resolve(self, host: str, port: int) -> list[str]:
            return [self.address]

    resolver = Rebinds()
    async with Bench(resolver=resolver) as bench:
        where = replace(await bench.serve(echo), host="buyer.example")
        assert (await bench.ask(where)).failure is None
        resolver.address = "169.254.169.254"
        assert (await bench.ask(where)).failure is None  # the connection stays what it was
        reply = await bench.ask(where, idle_max_s=0.0)
        assert (reply.failure, reply.written) == (F.BLOCKED, False)


@on_both_loops
async def test_how_long_calls_waited_for_a_connection_is_told() -> None:
    class Slow:
        async def resolve(self, host: str, port: int) -> list[str]:
            began = bench.loop.time()
            await bench.turns(lambda: bench.loop.time() > began + 0.002)
            return ["127.0.0.1"]

    async with Bench(resolver=Slow()) as bench:
        where = replace(await bench.serve(echo), host="buyer.example")
        for asked in [bench.send(where), bench.send(where)]:
            await asked.reply
        await bench.ask(where)
        assert bench.wire.stats().waited == 2
        assert bench.wire.stats().waited_s >= 0.004


@on_both_loops
async def test_the_next_address_is_tried_when_one_refuses() -> None:
    class Two:
        async def resolve(self, host: str, port: int) -> list[str]:
            return ["127.0.0.2", "127.0.0.1"]

    async with Bench(resolver=Two()) as bench:
        where = await bench.serve(echo)
        assert (await bench.ask(replace(where, host="buyer.example"), b"A")).body == b"A"


@on_both_loops
@pytest.mark.parametrize("guard", [Guard(), Guard(allowed_networks=OPEN.allowed_networks)])
async def test_literals_and_own_listeners_are_judged_too(guard: Guard) -> None:
    async with Bench(guard=guard) as bench:
        where = await bench.serve(echo)
        own = frozenset({("127.0.0.1", where.port)})
        wire = Wire(guard=replace(guard, own_listeners=own), limits=LIMITS)
        bench.wire, old = wire, bench.wire
        await old.close()
        reply = await bench.ask(where)
        assert (reply.failure, reply.written, bench.peers) == (F.BLOCKED, False, 0)


@on_both_loops
async def test_a_hanging_resolver_is_bounded_by_the_call_and_by_the_dial() -> None:
    class Hangs:
        async def resolve(self, host: str, port: int) -> list[str]:
            await asyncio.Event().wait()
            return []

    limits = replace(LIMITS, connect_timeout_s=0.1)
    async with Bench(resolver=Hangs(), limits=limits) as bench:
        named = target(80, "buyer.example")
        first = await bench.ask(named, deadline=bench.loop.time() + 0.03)
        assert (first.failure, first.written) == (F.TIMED_OUT, False)
        second = await bench.ask(named)
        assert (second.failure, second.written) == (F.DNS, False)


@on_both_loops
async def test_a_resolver_with_a_bug_costs_one_call() -> None:
    class Broken:
        async def resolve(self, host: str, port: int) -> list[str]:
            raise ZeroDivisionError

    async with Bench(resolver=Broken()) as bench:
        reply = await bench.ask(target(80, "buyer.example"))
        assert (reply.failure, reply.written) == (F.UNREACHABLE, False)
        assert [type(fault["exception"]) for fault in bench._faults] == [ZeroDivisionError]
        bench._faults.clear()


@on_both_loops
async def test_a_deadline_in_the_past_sends_nothing() -> None:
    async with Bench() as bench:
        where = await bench.serve(echo)
        reply = await bench.ask(where, deadline=bench.loop.time() - 1)
        assert (reply.failure, reply.written, bench.peers) == (F.TIMED_OUT, False, 0)


@on_both_loops
async def test_the_deadline_can_be_moved() -> None:
    go = asyncio.Event()

    async def late(peer: Peer) -> None:
        await peer.request()
        await go.wait()
        await peer.send(OK)

    async with Bench() as bench:
        where = await bench.serve(late)
        started = bench.loop.time()
        longer = bench.send(where, deadline=started + 0.05)
        shorter = bench.send(where, deadline=math.inf)
        longer.call.extend(started + SECONDS)
        shorter.call.extend(started + 0.08)
        assert (await shorter.reply).failure is F.TIMED_OUT
        go.set()
        assert (await longer.reply).body == b"hi"
        longer.call.extend(started)
        longer.call.abandon()
        assert (longer.count, shorter.count) == (1, 1)


@on_both_loops
async def test_an_abandoned_call_closes_its_connection_and_stays_silent() -> None:
    arrived, gone = asyncio.Event(), asyncio.Event()

    async def watches(peer: Peer) -> None:
        await peer.request()
        arrived.set()
        await peer.closed()
        gone.set()

    async with Bench() as bench:
        asked = bench.send(await bench.serve(watches), deadline=math.inf)
        await arrived.wait()
        asked.call.abandon()
        asked.call.abandon()
        await gone.wait()
        assert asked.count == 0
        assert bench.wire.stats().in_flight == 0


@on_both_loops
async def test_a_dial_outlives_its_call_and_serves_the_next() -> None:
    async with Bench() as bench:
        where = await bench.serve(echo)
        bench.send(where, deadline=math.inf).call.abandon()
        assert bench.wire.stats().dialling == 1
        assert (await bench.ask(where, b"A")).body == b"A"
        bench.send(where, pool="warm", deadline=math.inf).call.abandon()
        await bench.turns(lambda: bench.wire.stats().idle == 2)
        assert (await bench.ask(where, pool="warm", idle_max_s=5.0)).failure is None
        assert (bench.wire.stats().opened, bench.wire.stats().reused) == (2, 1)
        assert sum(asked.count for asked in bench.asked) == 2


@on_both_loops
async def test_a_freed_connection_serves_whoever_waits_longest() -> None:
    async with Bench(limits=replace(LIMITS, max_idle=1)) as bench:
        where = await bench.serve(echo)
        await bench.ask(where)
        first, second = bench.send(where, b"A"), bench.send(where, b"B")
        assert {(await first.reply).body, (await second.reply).body} == {b"A", b"B"}


@on_both_loops
async def test_a_server_that_speaks_first_gets_no_request() -> None:
    heard: list[bytes] = []

    async def greets(peer: Peer) -> None:
        await peer.send(b"220 mail.example ESMTP\r\n")
        with suppress(ConnectionError):
            heard.append(await peer.reader.read(1000))

    async with Bench() as bench:
        reply = await bench.ask(await bench.serve(greets))
        assert reply.failure in {F.UNREACHABLE, F.GARBLED, F.RESET}
        assert reply.written == (reply.failure is not F.UNREACHABLE)


@on_both_loops
async def test_a_greeting_that_has_not_been_read_yet_is_noticed_too() -> None:
    async def greets(peer: Peer) -> None:
        await peer.send(headed("Content-Length: 6", body=b"POISON"))
        await peer.closed()

    async with Bench() as bench:
        where = await bench.serve(greets)

        class Slow(Dialler):
            async def dial(self, *told: Any) -> Any:
                made = await super().dial(*told)
                assert isinstance(made, Connection)
                assert made._transport is not None
                made._transport.pause_reading()
                await bench.turns(lambda: not made.quiet())
                return made

        usual = bench.wire._dialler
        bench.wire._dialler = Slow(guard=OPEN, resolver=usual.resolver, limits=LIMITS)
        reply = await bench.ask(where)
        assert (reply.failure, reply.written) == (F.UNREACHABLE, False)


@on_both_loops
async def test_a_call_that_comes_too_late_leaves_no_pool_behind() -> None:
    async with Bench() as bench:
        where = await bench.serve(echo)
        reply = await bench.ask(where, deadline=bench.loop.time() - 1)
        assert (reply.failure, reply.written) == (F.TIMED_OUT, False)
        assert {} == bench.wire._pools == bench.wire._last_used
        assert (await bench.ask(where, b"A")).body == b"A"


@on_both_loops
async def test_done_may_send_again_at_once() -> None:
    async with Bench() as bench:
        where = await bench.serve(echo)
        last: asyncio.Future[Reply] = bench.loop.create_future()
        replies: list[Reply] = []

        def again(_tag: int, *said: Any) -> None:
            reply = Reply(*said)
            replies.append(reply)
            if len(replies) == 50:
                last.set_result(reply)
                return
            request = render_request(where, (), b"%d" % len(replies))
            bench.wire.send(where, request, again, pool="p", deadline=math.inf)

        bench.wire.send(where, render_request(where, (), b"0"), again, pool="p", deadline=math.inf)
        await last
        assert [reply.body for reply in replies] == [b"%d" % number for number in range(50)]
        assert bench.wire.stats().opened == 1


@on_both_loops
async def test_closing_ends_every_call_once() -> None:
    async with Bench(limits=replace(LIMITS, close_timeout_s=0.2)) as bench:
        where, busy = await bench.serve(silent), await bench.serve(echo)
        await bench.ask(busy)
        flying = bench.send(where, deadline=math.inf)
        await bench.turns(lambda: flying.call.connection is not None)
        dialling = bench.send(where, pool="q", deadline=math.inf)
        abandoned = bench.send(where, deadline=math.inf)
        abandoned.call.abandon()
        await bench.wire.close()
        late = bench.send(where)
        for asked, written in ((flying, True), (dialling, False), (late, False)):
            reply = await asked.reply
            assert (reply.failure, reply.written) == (F.CANCELLED, written)
        assert [asked.count for asked in (flying, dialling, late, abandoned)] == [1, 1, 1, 0]


@on_both_loops
async def test_nodelay_is_set() -> None:
    async with Bench() as bench:
        await bench.ask(await bench.serve(echo))
        (pool,) = bench.wire._pools.values()
        (connection,) = pool.connections
        assert connection._transport is not None
        sock = connection._transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


# TLS ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Certificates:
    trusting: ssl.SSLContext  # what the wire is given
    good: ssl.SSLContext  # servers'
    wrong_host: ssl.SSLContext
    expired: ssl.SSLContext
    unknown: ssl.SSLContext


@pytest.fixture(scope="module")
def certificates() -> Certificates:
    authority, stranger = trustme.CA(), trustme.CA()
    past = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)

    def server(issuer: trustme.CA, name: str, until: dt.datetime | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        issuer.issue_cert(name, not_after=until).configure_cert(context)
        return context

    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    return Certificates(
        trusting=trusting,
        good=server(authority, "buyer.example"),
        wrong_host=server(authority, "other.example"),
        expired=server(authority, "buyer.example", past),
        unknown=server(stranger, "buyer.example"),
    )


class Loopback:
    async def resolve(self, host: str, port: int) -> list[str]:
        return ["127.0.0.1"]


@on_both_loops
@pytest.mark.parametrize("kind", ["good", "wrong_host", "expired", "unknown"])
async def test_tls_is_verified(certificates: Certificates, kind: str) -> None:
    async with Bench(resolver=Loopback(), ssl_context=certificates.trusting) as bench:
        where = await bench.serve(echo, ssl=getattr(certificates, kind))
        secure = replace(where, scheme="https", host="buyer.example")
        first = await bench.ask(secure, b"A")
        if kind == "good":
            assert (first.body, first.failure) == (b"A", None)
            assert (await bench.ask(secure, b"B")).body == b"B"
        else:
            assert (first.failure, first.written) == (F.TLS, False)
            bench._faults.clear()  # the server's own complaint about the handshake


def only(version: ssl.TLSVersion, context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = context.maximum_version = version
    return context


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def certified(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    """A server's context that remembers no other context's sessions."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


@on_both_loops
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_the_next_dial_resumes_the_tls_session(
    authority: trustme.CA, trusting: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    seen: list[bool] = []

    async def notes(peer: Peer) -> None:
        seen.append(peer.writer.get_extra_info("ssl_object").session_reused)
        await echo(peer)

    limits = replace(LIMITS, idle_timeout_s=0.02)
    async with Bench(resolver=Loopback(), ssl_context=trusting, limits=limits) as bench:
        server = only(version, certified(authority, "buyer.example"))
        plain = await bench.serve(notes, ssl=server)
        secure = replace(plain, scheme="https", host="buyer.example")
        for _ in range(3):
            assert (await bench.ask(secure)).failure is None
            await bench.turns(lambda: bench.wire._pools == {})  # a quiet time
        assert seen == [False, True, True]
        assert (bench.wire.stats().opened, bench.wire.stats().resumed) == (3, 2)


@on_both_loops
async def test_a_tls_session_is_of_one_pool_and_one_name(
    authority: trustme.CA, trusting: ssl.SSLContext
) -> None:
    async with Bench(resolver=Loopback(), ssl_context=trusting) as bench:
        names = ("buyer.example", "www.buyer.example")
        where = await bench.serve(echo, ssl=certified(authority, *names))
        first, second = (replace(where, scheme="https", host=name) for name in names)
        for secure, pool in ((first, "p"), (second, "p"), (first, "q")):
            assert (await bench.ask(secure, pool=pool)).failure is None
            assert bench.wire.stats().resumed == 0
        # the certificate does not name this one, whatever was verified before
        stranger = replace(first, host="other.example")
        assert (await bench.ask(stranger)).failure is F.TLS
        bench._faults.clear()  # the server's own complaint about the handshake
        assert (await bench.ask(first, idle_max_s=0.0)).failure is None
        assert bench.wire.stats().resumed == 1


@on_both_loops
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_server_that_does_not_resume_gets_a_full_handshake(
    authority: trustme.CA, trusting: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    async with Bench(resolver=Loopback(), ssl_context=trusting) as bench:
        first = only(version, certified(authority, "buyer.example"))
        where = await bench.serve(echo, ssl=first)
        secure = replace(where, scheme="https", host="buyer.example")
        assert (await bench.ask(secure)).failure is None
        for _ in range(2):  # another machine behind the same address, with ticket keys of its own
            bench._servers[-1].close()
            server = only(version, certified(authority, "buyer.example"))
            await bench.serve(echo, where.port, ssl=server)
            assert (await bench.ask(secure, idle_max_s=0.0)).failure is None
        assert (bench.wire.stats().opened, bench.wire.stats().resumed) == (3, 0)
        assert (await bench.ask(secure, idle_max_s=0.0)).failure is None
        assert (bench.wire.stats().opened, bench.wire.stats().resumed) == (4, 1)


@on_both_loops
async def test_a_server_without_tickets_gets_full_handshakes(
    authority: trustme.CA, trusting: ssl.SSLContext
) -> None:
    ticketless = certified(authority, "buyer.example")
    ticketless.num_tickets = 0
    async with Bench(resolver=Loopback(), ssl_context=trusting) as bench:
        where = await bench.serve(echo, ssl=ticketless)
        secure = replace(where, scheme="https", host="buyer.example")
        for _ in range(2):
            assert (await bench.ask(secure, idle_max_s=0.0)).failure is None
        assert (bench.wire.stats().opened, bench.wire.stats().resumed) == (2, 0)


@on_both_loops
async def test_a_certificate_is_looked_at_again_every_hour(
    authority: trustme.CA, trusting: ssl.SSLContext
) -> None:
    now = 0.0
    async with Bench(resolver=Loopback(), ssl_context=trusting) as bench:
        bench.wire._resumptions = Resumptions(trusting, lambda: now)
        where = await bench.serve(echo, ssl=certified(authority, "buyer.example"))
        secure = replace(where, scheme="https", host="buyer.example")
        resumed = []
        for now in (0.0, 1800.0, 3599.0, 3600.0, 3601.0):  # noqa: B007 (the clock's)
            await bench.ask(secure, idle_max_s=-1e9)
            resumed.append(bench.wire.stats().resumed)
        assert resumed == [0, 1, 2, 2, 3]


@on_both_loops
async def test_a_session_that_fails_is_not_offered_again(
    authority: trustme.CA, trusting: ssl.SSLContext
) -> None:
    async with Bench(resolver=Loopback(), ssl_context=trusting) as bench:

        def breaks(made: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> int | None:
            return ssl.ALERT_DESCRIPTION_HANDSHAKE_FAILURE if broken else None

        broken = False
        server = certified(authority, "buyer.example")
        server.sni_callback = breaks  # type: ignore[assignment]
        where = await bench.serve(echo, ssl=server)
        secure = replace(where, scheme="https", host="buyer.example")
        assert (await bench.ask(secure)).failure is None
        broken = True
        reply = await bench.ask(secure, idle_max_s=0.0)
        assert reply.failure in {F.TLS, F.UNREACHABLE}  # by alert, or cut off
        broken = False
        assert (await bench.ask(secure, idle_max_s=0.0)).failure is None
        assert bench.wire.stats().resumed == 0
        bench._faults.clear()  # the server's own complaint about the handshake


@on_both_loops
async def test_a_tls_client_meets_a_plain_server_and_one_that_stalls(
    certificates: Certificates,
) -> None:
    async def plain(peer: Peer) -> None:
        await peer.reader.read(1)
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    limits = replace(LIMITS, connect_timeout_s=0.1)
    options = {"resolver": Loopback(), "ssl_context": certificates.trusting, "limits": limits}
    async with Bench(**options) as bench:
        secure = replace(await bench.serve(plain), scheme="https", host="buyer.example")
        reply = await bench.ask(secure)
        assert (reply.failure, reply.written) == (F.TLS, False)
        stalling = replace(await bench.serve(silent), scheme="https", host="buyer.example")
        reply = await bench.ask(stalling)
        assert (reply.failure, reply.written) == (F.UNREACHABLE, False)


def test_the_default_context_verifies() -> None:
    context = Wire(guard=Guard(), limits=LIMITS)._resumptions._context
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


# the resolver ---------------------------------------------------------------------------------


async def test_lookups_are_shared_cached_and_refreshed_behind_the_back() -> None:
    gate, asked = threading.Event(), []

    def lookup(host: str, port: int) -> list[str]:
        asked.append(host)
        gate.wait(SECONDS)
        return [f"127.0.0.{len(asked)}"]

    resolver = CachingResolver(ttl_s=0.0, lookup=lookup)
    both = [asyncio.ensure_future(resolver.resolve("a.example", 80)) for _ in range(2)]
    await asyncio.sleep(0)
    both[0].cancel()  # a caller that gives up does not take the lookup with it
    gate.set()
    assert await both[1] == ["127.0.0.1"]
    assert asked == ["a.example"]
    gate.clear()
    assert await resolver.resolve("a.example", 80) == ["127.0.0.1"]  # stale, at once
    gate.set()
    await asyncio.wait(list(resolver._running.values()))
    assert await resolver.resolve("a.example", 80) == ["127.0.0.2"]
    await resolver.close()


async def test_failures_are_remembered_for_a_moment_and_do_not_replace_good_answers() -> None:
    answers: dict[str, list[str]] = {}
    count = 0

    def lookup(host: str, port: int) -> list[str]:
        nonlocal count
        count += 1
        if host not in answers:
            raise OSError("no such name")
        return answers[host]

    resolver = CachingResolver(ttl_s=0.0, error_ttl_s=60.0, lookup=lookup)
    for _ in range(3):
        with pytest.raises(OSError, match="no such name"):
            await resolver.resolve("bad.example", 80)
    assert count == 1
    answers["good.example"] = ["127.0.0.1"]
    assert await resolver.resolve("good.example", 80) == ["127.0.0.1"]
    answers.clear()
    assert await resolver.resolve("good.example", 80) == ["127.0.0.1"]
    await asyncio.wait(list(resolver._running.values()))
    assert await resolver.resolve("good.example", 80) == ["127.0.0.1"]
    await resolver.close()


async def test_localhost_is_resolved_by_the_system() -> None:
    async with Bench() as bench:
        where = await bench.serve(echo)
        guard = Guard(allowed_networks=(ip_network("127.0.0.0/8"), ip_network("::1/128")))
        await bench.wire.close()
        bench.wire = Wire(guard=guard, limits=LIMITS)
        assert (await bench.ask(replace(where, host="localhost"), b"A")).body == b"A"


# requests and answers, without sockets --------------------------------------------------------


def test_the_rendered_request() -> None:
    where = target(8443, "buyer.example", "https")
    assert render_request(where, [("webhook-id", "x")], b"{}") == (
        b"POST /ping HTTP/1.1\r\nHost: buyer.example:8443\r\nUser-Agent: ping-post-exchange\r\n"
        b"Accept-Encoding: identity\r\nContent-Type: application/json\r\nwebhook-id: x\r\n"
        b"Content-Length: 2\r\n\r\n{}"
    )
    head = render_head(where)
    assert finish_request(head, b"{}", [("webhook-id", "x")]) == render_request(
        where, [("webhook-id", "x")], b"{}"
    )


@pytest.mark.parametrize(
    "header",
    [
        ("x", "a\r\nEvil: y"),
        ("x", "a\nb"),
        ("x", "a\x00"),
        ("x", "ä"),
        ("x y", "a"),
        ("x:", "a"),
        ("", "a"),
        ("x\n", "a"),
        ("x", "a\n"),
        ("Host", "evil"),
        ("content-length", "5"),
        ("Transfer-Encoding", "chunked"),
        ("Cookie", "a"),
    ],
)
def test_headers_that_cannot_be_sent(header: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="header"):
        render_request(target(80), [header], b"")


@pytest.mark.parametrize("path", ["", "ping", "/a b", "/a\r\nX: y", "/ä", "/a\n"])
def test_paths_that_cannot_be_sent(path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        render_request(replace(target(80), path_and_query=path), (), b"")


ANSWERS = [
    OK,
    headed(CHUNKED, body=b"1\r\nh\r\n1\r\ni\r\n0\r\n\r\n"),
    b"HTTP/1.1 100 C\r\n\r\n" + OK,
    headed("Content-Length: 0", body=b""),
]


@given(st.lists(st.sampled_from(ANSWERS), min_size=1, max_size=4), st.randoms())
def test_however_the_bytes_are_cut_the_answers_are_the_same(answers: list[bytes], rng: Any) -> None:
    reader = AnswerReader(LIMITS)
    for answer in answers:
        reader.reset()
        cuts = sorted(rng.choices(range(len(answer) + 1), k=3))
        for start, end in zip([0, *cuts], [*cuts, len(answer)], strict=True):
            reader.feed(answer[start:end])
        expected = b"" if answer is ANSWERS[3] else b"hi"
        assert (reader.complete, reader.failure, reader.status) == (True, None, 200)
        assert (reader.body, reader.reusable) == (expected, True)


@settings(max_examples=300)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=30),
            st.sampled_from([*ANSWERS, b"HTTP/1.1 ", b"200 OK\r\n", b"\r\n", b"Content-Length: 3"]),
        ),
        max_size=8,
    )
)
def test_any_bytes_at_all_end_in_one_state(parts: list[bytes]) -> None:
    reader = AnswerReader(LIMITS)
    for part in parts:
        if reader.complete or reader.failure:
            break
        reader.feed(part)
    reader.feed_eof()
    assert not (reader.complete and reader.failure)
    assert not (reader.reusable and not reader.complete)


def test_a_call_does_not_tell_what_it_carries() -> None:
    """An event loop writes down whose callback broke, with its name: the payload may be a person."""
    call = make_call(cast("Pool", None), b"Ann", None, tag=0, started=0.0)
    assert "Ann" not in repr(call) + str(call) + f"{call.fail}"
