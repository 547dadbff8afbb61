"""The same behaviours, honest and hostile, played to our wire and to aiohttp's client.

One table says what each makes of them, and explains every difference; the test fails if either
behaves otherwise than the table says. aiohttp is set up as a careful user would: no redirects, no
cookies, no decompression, the body cut off by hand after 64 KiB. It cannot tell whether a byte of
the request was written; ours does, and the table says so too.
"""

import asyncio
import io
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp
import pytest
import uvloop
from aiohttp.http_exceptions import TransferEncodingError

from buyers.guard import Target
from buyers.wire import Reply
from tests.test_wire import (
    BIG,
    CHUNKED,
    OK,
    SECONDS,
    Bench,
    Peer,
    Script,
    drips,
    drips_head,
    echo,
    floods,
    headed,
    saying,
    silent,
    slams,
    target,
)

BODY_MAX = 65536
BODY = b"{}"
ONE = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none"
TWO = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo"
CHUNKS = b"1\r\nh\r\n1\r\ni\r\n0\r\n\r\n"
CHUNKED_HI = headed(CHUNKED, body=CHUNKS)
INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"


def twice(first: bytes, second: bytes) -> Script:
    """Answers `first`, then `second` to the next request; another connection begins with that."""

    async def script(peer: Peer) -> None:
        if peer.number == 1:
            await peer.request()
            await peer.send(first)
        await peer.request()
        await peer.send(second)
        await peer.closed()

    return script


def then(first: bytes, unasked: bytes | None, second: bytes = TWO) -> Script:
    """Answers `first`; a while later sends `unasked` or, if None, closes.

    The next request, and every other connection, gets `second`.
    """

    async def script(peer: Peer) -> None:
        await peer.request()
        if peer.number > 1:
            await peer.send(second)
            await peer.closed()
            return
        await peer.send(first)
        await turns()
        if unasked is None:
            return
        await peer.send(unasked)
        await peer.request()
        await peer.send(second)
        await peer.closed()

    return script


async def half_closes(peer: Peer) -> None:
    """Answers, says that nothing more will come, and goes on reading."""
    await peer.request()
    await peer.send(ONE if peer.number == 1 else TWO)
    peer.writer.write_eof()
    await peer.closed()


async def lost_on_reuse(peer: Peer) -> None:
    await peer.request()
    await peer.send(ONE)
    await peer.request()
    peer.reset()


async def early(peer: Peer) -> None:
    """Answers before it has read the request's body."""
    await peer.reader.readuntil(b"\r\n\r\n")
    await peer.send(ONE)
    await peer.closed()


async def greets(peer: Peer) -> None:
    """Speaks before it was asked, in what looks like an answer."""
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON")
    await peer.closed()


async def slams_mid_head(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\nConte")
    peer.reset()


async def turns(count: int = 50) -> None:
    """Whatever is in the kernel by now will have been read, and acted on."""
    for _ in range(count):
        await asyncio.sleep(0)


async def endless_header(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\nX: ")
    for _ in range(320):
        await peer.send(b"x" * 65536)


async def cookies(peer: Peer) -> None:
    """Sets a cookie, and says whether one has come back."""
    while True:
        head = await peer.reader.readuntil(b"\r\n\r\n")
        await peer.reader.readexactly(len(BODY))
        came = b"yes" if b"\r\ncookie:" in head.lower() else b"no"
        lines = ("Set-Cookie: a=b", f"Content-Length: {len(came)}")
        await peer.send(headed(*lines, body=came))


@dataclass(frozen=True)
class Row:
    """A behaviour; what becomes of each request, by either client; and why they differ."""

    name: str
    script: Script | None  # None: nobody listens
    ours: str
    theirs: str
    why: str = ""  # "" only where they agree
    body: bytes = BODY


PLAY: list[Row] = [
    # honest
    Row("a length", saying(OK), "200 hi", "200 hi"),
    Row("chunked", saying(CHUNKED_HI), "200 hi", "200 hi"),
    Row("chunks with extensions, a trailer", saying(headed(CHUNKED, body=b"2;e=1\r\nhi\r\n0;f\r\nT: x\r\n\r\n")), "200 hi", "200 hi"),
    Row("cut at every byte", saying(*[OK[at : at + 1] for at in range(len(OK))]), "200 hi", "200 hi"),
    Row("chunked, cut at every byte", saying(*[CHUNKED_HI[at : at + 1] for at in range(len(CHUNKED_HI))]), "200 hi", "200 hi"),
    Row("two interim answers first", saying(b"HTTP/1.1 100 Continue\r\n\r\n" + INTERIM + OK), "200 hi", "200 hi"),
    Row("204", saying(headed(status="204 No Content"), hang=True), "204", "204"),
    Row("304 with a length", saying(headed("Content-Length: 9", status="304 Not Modified"), hang=True), "304", "304"),
    Row("500 with a body", saying(headed("Content-Length: 4", body=b"oops", status="500 E")), "500 oops", "500 oops"),
    Row("HTTP/1.0, until close", saying(b"HTTP/1.0 200 OK\r\n\r\nhi"), "200 hi", "200 hi"),
    Row("HTTP/1.1, until close", saying(headed(body=b"hi")), "200 hi", "200 hi"),
    Row("64 KiB", saying(headed("Content-Length: 65536", body=BIG)), "200 65536 bytes", "200 65536 bytes"),
    Row("64 KiB in chunks of 1 KiB", saying(headed(CHUNKED, body=(b"400\r\n" + BIG[:1024] + b"\r\n") * 64 + b"0\r\n\r\n")), "200 65536 bytes", "200 65536 bytes"),
    Row("kept alive", echo, "200 {}, 200 {}", "200 {}, 200 {}"),
    Row("chunked, kept alive", twice(CHUNKED_HI, TWO), "200 hi, 200 two", "200 hi, 200 two"),
    Row("interim, kept alive", twice(INTERIM + ONE, INTERIM + TWO), "200 one, 200 two", "200 one, 200 two"),
    Row("204, kept alive", twice(headed(status="204 No Content"), TWO), "204, 200 two", "204, 200 two"),
    Row("Connection: close", twice(headed("Connection: close", "Content-Length: 3", body=b"one"), TWO), "200 one, 200 two on 2", "200 one, 200 two on 2"),
    Row("HTTP/1.0 with a length", twice(b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\none", TWO), "200 one, 200 two on 2", "200 one, 200 two on 2"),
    Row("HTTP/1.0 keep-alive", twice(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\none", TWO), "200 one, 200 two", "200 one, 200 two"),
    Row("empty lines before the answer", saying(b"\r\n\r\n" + OK), "200 hi", "200 hi"),
    Row("an answer before all of the request", early, "200 one, 200 one on 2", "200 one, 200 one on 2", body=b"x" * 30_000_000),
    Row("redirect", saying(headed("Location: http://127.0.0.1:9/", "Content-Length: 0", status="302 Found")), "302", "302"),
    Row("Set-Cookie", cookies, "200 no, 200 no", "200 no, 200 no"),
    Row("gzip though we asked for identity", saying(headed("Content-Encoding: gzip", "Content-Length: 4", body=b"\x1f\x8bhi")), "200 \x1f\x8bhi", "200 \x1f\x8bhi"),
    # ends too early
    Row("nobody listens", None, "unreachable unwritten", "unreachable unwritten"),
    Row("RST on accept", slams, "reset or unreachable unwritten", "reset or unreachable unwritten"),
    Row("closes after the request", saying(), "reset", "reset"),
    Row("RST after the request", saying(reset=True), "reset", "reset"),
    Row("closes in the status line", saying(b"HTTP/1.1 20"), "reset", "reset"),
    Row("closes in the head", saying(b"HTTP/1.1 200 OK\r\nX: y\r\n"), "reset", "reset"),
    Row("RST in the head", slams_mid_head, "reset", "reset"),
    Row("closes after an interim answer", saying(INTERIM), "reset", "reset"),
    Row("closes in a body of known length", saying(headed("Content-Length: 9", body=b"hi")), "reset", "reset"),
    Row("closes in a chunk", saying(headed(CHUNKED, body=b"9\r\nhi")), "reset", "garbled", "the same to us: aiohttp tells a cut apart only with a length"),
    Row("closes between chunks", saying(headed(CHUNKED, body=b"2\r\nhi\r\n")), "reset", "garbled", "as above"),
    Row("closes before the last CR LF", saying(headed(CHUNKED, body=b"2\r\nhi\r\n0\r\n")), "reset", "garbled", "as above"),
    Row("half-closes after a complete answer", half_closes, "200 one, 200 two on 2", "200 one, 200 two on 2"),
    Row("closes while idle", then(ONE, None), "200 one, 200 two on 2", "200 one, 200 two on 2"),
    Row("RST instead of a second answer", lost_on_reuse, "200 one, reset", "200 one, reset"),
    # takes too long
    Row("hangs after accept", silent, "timed_out", "timed_out"),
    Row("hangs in the head", saying(b"HTTP/1.1 200 OK\r\nX", hang=True), "timed_out", "timed_out"),
    Row("hangs after the head", saying(headed("Content-Length: 9"), hang=True), "timed_out", "timed_out"),
    Row("hangs in the body", saying(headed("Content-Length: 9", body=b"hi"), hang=True), "timed_out", "timed_out"),
    Row("hangs without any length", saying(headed(body=b"hi"), hang=True), "timed_out", "timed_out"),
    Row("hangs before the last chunk", saying(headed(CHUNKED, body=b"2\r\nhi\r\n"), hang=True), "timed_out", "timed_out"),
    Row("hangs after interim answers", saying(INTERIM * 3, hang=True), "timed_out", "timed_out"),
    Row("drips the head", drips_head, "timed_out", "timed_out"),
    Row("drips the body", drips, "timed_out", "timed_out"),
    # says what it was not asked
    Row("speaks first", greets, "unreachable unwritten or 200 POISON", "200 POISON", "aiohttp takes bytes that came before the request for its answer; we close, unless the request has just left"),
    Row("two answers at once", twice(ONE + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON", TWO), "200 one, 200 two on 2", "200 one, 200 two on 2"),
    Row("an answer and half of another", twice(ONE + b"HTTP/1.1 200 OK\r\nContent-", TWO), "200 one, 200 two on 2", "200 one, 200 two", "aiohttp drops a beginning that came with the answer and goes on: the rest would spoil the next"),
    Row("an answer and junk", twice(ONE + b"\x00junk", TWO), "200 one, 200 two on 2", "garbled, 200 two on 2", "the answer was complete and stands; only the connection is spoilt"),
    Row("an answer and a CR LF", twice(ONE + b"\r\n", TWO), "200 one, 200 two", "200 one, 200 two"),
    Row("a second answer while idle", then(ONE, b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON"), "200 one, 200 two on 2", "200 one, 200 POISON", "aiohttp hands it to the next request: another lead's bid"),
    Row("half of an answer while idle", then(ONE, b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOI"), "200 one, 200 two on 2", "200 one, never ends", "as above, with the next answer for its end; and its total timeout does not end it"),
    Row("an interim answer while idle", then(ONE, INTERIM), "200 one, 200 two on 2", "200 one, 200 two", "nothing may come while idle: it would count as the next request's"),
    Row("junk while idle", then(ONE, b"\x00junk"), "200 one, 200 two on 2", "200 one, 200 two on 2"),
    Row("204 and a body", twice(headed("Content-Length: 3", body=b"one", status="204 N"), TWO), "204, 200 two on 2", "garbled, 200 two on 2", "the answer was complete and stands; only the connection is spoilt"),
    Row("more than the length", twice(headed("Content-Length: 3", body=b"oneMORE"), TWO), "200 one, 200 two on 2", "garbled, 200 two on 2", "the answer was complete and stands; only the connection is spoilt"),
    # ambiguous framing
    Row("two equal lengths", saying(headed("Content-Length: 2", "Content-Length: 2", body=b"hi")), "garbled", "garbled"),
    Row("two lengths", saying(headed("Content-Length: 2", "Content-Length: 3", body=b"hi")), "garbled", "garbled"),
    Row("a list of lengths", saying(headed("Content-Length: 2, 2", body=b"hi")), "garbled", "garbled"),
    Row("a negative length", saying(headed("Content-Length: -2", body=b"hi")), "garbled", "garbled"),
    Row("a signed length", saying(headed("Content-Length: +2", body=b"hi")), "garbled", "garbled"),
    Row("a hexadecimal length", saying(headed("Content-Length: 0x2", body=b"hi")), "garbled", "garbled"),
    Row("an empty length", saying(headed("Content-Length:", body=b"hi")), "garbled", "garbled"),
    Row("a length beyond 64 bits", saying(headed("Content-Length: " + "9" * 40, body=b"hi")), "garbled", "garbled"),
    Row("a length and chunks", saying(headed("Content-Length: 2", CHUNKED, body=CHUNKS)), "garbled", "garbled"),
    Row("chunks and a length", saying(headed(CHUNKED, "Content-Length: 2", body=CHUNKS)), "garbled", "garbled"),
    Row("chunked twice", saying(headed(CHUNKED, CHUNKED, body=CHUNKS)), "garbled", "200 hi", "two codings, one undone: what the body is depends on who reads"),
    Row("gzip, chunked", saying(headed("Transfer-Encoding: gzip, chunked", body=CHUNKS)), "garbled", "200 hi", "a transfer coding we never offered; aiohttp gives the coded bytes for the body"),
    Row("gzip as transfer coding", saying(headed("Transfer-Encoding: gzip", body=b"hi")), "garbled", "200 hi", "as above"),
    Row("chunked and something", saying(headed("Transfer-Encoding: chunked, x", body=CHUNKS)), "garbled", "200 1\r\nh\r\n1\r\ni\r\n0", "as above, chunk sizes included"),
    Row("a chunk size that is no number", saying(headed(CHUNKED, body=b"zz\r\nhi\r\n")), "garbled", "garbled"),
    Row("a negative chunk", saying(headed(CHUNKED, body=b"-1\r\nhi\r\n")), "garbled", "garbled"),
    Row("a chunk size beyond 64 bits", saying(headed(CHUNKED, body=b"f" * 17 + b"\r\nhi\r\n")), "garbled", "garbled"),
    Row("a chunk longer than it says", saying(headed(CHUNKED, body=b"1\r\nhi\r\n0\r\n\r\n")), "garbled", "garbled"),
    Row("chunks ended by LF alone", saying(headed(CHUNKED, body=b"2\nhi\n0\n\n")), "garbled", "garbled"),
    Row("lines ended by LF alone", saying(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nhi"), "garbled", "200 hi", "aiohttp's parser is lenient with servers; where readers differ on line ends, answers can be smuggled"),
    Row("a folded header", saying(headed("A: b", " c", "Content-Length: 2", body=b"hi")), "garbled", "200 hi", "obsolete since RFC 7230, and read differently by different readers"),
    Row("a blank before the colon", saying(headed("Content-Length : 2", body=b"hi")), "garbled", "200 hi", "RFC 9112 5.1: such a name can hide a length"),
    Row("a header without a colon", saying(headed("X", "Content-Length: 2", body=b"hi")), "garbled", "garbled"),
    Row("NUL in a header", saying(headed("X: a\0b", "Content-Length: 2", body=b"hi")), "garbled", "garbled"),
    Row("NUL in the reason", saying(headed("Content-Length: 2", body=b"hi", status="200 O\0K")), "200 hi", "200 hi"),
    Row("NUL in the body", saying(headed("Content-Length: 3", body=b"h\0i")), "200 h\0i", "200 h\0i"),
    Row("1xx with a body", saying(headed("Content-Length: 2", body=b"hi", status="103 E") + OK), "garbled", "garbled"),
    # another protocol
    Row("101", saying(headed("Upgrade: x", "Connection: upgrade", status="101 S") + OK), "garbled", "101", "nobody asked for an upgrade, and there is no answer"),
    Row("101 without Upgrade", saying(headed(status="101 S") + OK), "garbled", "101", "as above"),
    Row("HTTP/2 preface and settings", saying(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"), "garbled", "garbled"),
    Row("HTTP/2.0 in the status line", saying(b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nhi"), "garbled", "200 hi", "no HTTP/1 answer"),
    Row("HTTP/0.9", saying(b"<html>hello</html>"), "garbled", "garbled"),
    Row("HTTP/0.9 in the status line", saying(b"HTTP/0.9 200 OK\r\nContent-Length: 2\r\n\r\nhi"), "garbled", "200 hi", "no HTTP/1 answer: 0.9 has no status line"),
    Row("HTTP/1.9", saying(b"HTTP/1.9 200 OK\r\nContent-Length: 2\r\n\r\nhi"), "garbled", "garbled"),
    Row("RTSP", saying(b"RTSP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi"), "garbled", "200 hi", "no HTTP at all; llhttp takes it, we do not"),
    Row("TLS", saying(b"\x16\x03\x01\x00\x05hello"), "garbled", "garbled"),
    Row("a request", saying(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "garbled", "garbled"),
    Row("a status of two digits", saying(b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nhi"), "garbled", "garbled"),
    Row("a status of four digits", saying(b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nhi"), "garbled", "garbled"),
    Row("no status", saying(b"HTTP/1.1 OK\r\nContent-Length: 2\r\n\r\nhi"), "garbled", "garbled"),
    Row("no reason", saying(b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi"), "200 hi", "200 hi"),
    # too much
    Row("a byte too many, announced", saying(headed("Content-Length: 65537"), hang=True), "oversized", "timed_out", "a length over the cap is not waited for; aiohttp has no cap but its caller's"),
    Row("a byte too many, in chunks", saying(headed(CHUNKED, body=b"10001\r\n" + BIG + b"x\r\n0\r\n\r\n")), "oversized", "oversized"),
    Row("20 MB until close", floods, "oversized", "oversized"),
    Row("an endless header", endless_header, "oversized", "garbled", "both give up; we call it by its name"),
    Row("a header of 9 KB", saying(headed("X: " + "x" * 9_000, "Content-Length: 2", body=b"hi")), "200 hi", "garbled", "aiohttp allows a line 8,190 bytes, we allow the whole head 16 KiB"),
    Row("a header of 20 KB", saying(headed("X: " + "x" * 20_000, "Content-Length: 2", body=b"hi")), "oversized", "garbled", "both give up; we call it by its name"),
    Row("1,000 cookies", saying(headed(*["Set-Cookie: a=bcdefghijkl"] * 1000, "Content-Length: 2", body=b"hi")), "oversized", "garbled", "both give up; aiohttp counts headers, we count bytes"),
    Row("33 interim answers", saying(INTERIM * 33 + OK), "garbled", "200 hi", "aiohttp takes any number of them"),
    Row("5,000 interim answers", saying(INTERIM * 5000 + OK), "garbled", "200 hi", "as above"),
    Row("an endless trailer", saying(headed(CHUNKED, body=b"0\r\nT: " + BIG * 5)), "oversized", "garbled", "both give up; we call it by its name"),
    Row("an endless chunk extension", saying(headed(CHUNKED, body=b"1;" + BIG * 5)), "oversized", "garbled", "both give up; we call it by its name"),
]  # fmt: skip


def said(status: int, body: bytes) -> str:
    shown = body.decode("latin-1") if len(body) < 20 else f"{len(body)} bytes"
    return f"{status} {shown}".strip()


def our_outcome(reply: Reply) -> str:
    written = "" if reply.written else " unwritten"
    if reply.failure is not None:
        return f"{reply.failure}{written}"
    assert reply.status is not None
    return said(reply.status, reply.body)


async def ask_ours(bench: Bench, where: Target, row: Row, allowed_s: float) -> str:
    reply = await bench.ask(where, row.body, deadline=bench.loop.time() + allowed_s)
    return our_outcome(reply)


async def ask_theirs(
    session: aiohttp.ClientSession, where: Target, row: Row, allowed_s: float
) -> str:
    """The outcome in the wire's words."""
    url = f"http://127.0.0.1:{where.port}/ping"
    timeout = aiohttp.ClientTimeout(total=allowed_s)
    try:
        async with session.post(
            url, data=io.BytesIO(row.body), allow_redirects=False, timeout=timeout
        ) as response:
            body = b""
            async for piece in response.content.iter_any():
                body += piece
                if len(body) > BODY_MAX:
                    response.close()
                    return "oversized"
            return said(response.status, body)
    except TimeoutError:
        return "timed_out"
    except aiohttp.ClientConnectorError:
        return "unreachable unwritten"
    except aiohttp.ClientPayloadError as error:
        return "garbled" if isinstance(error.__cause__, TransferEncodingError) else "reset"
    except aiohttp.ClientResponseError:
        return "garbled"
    except aiohttp.ClientConnectionError:
        return "reset"


async def theirs_or_never(
    session: aiohttp.ClientSession, where: Target, row: Row, allowed_s: float
) -> str:
    """A second longer than aiohttp was told to take at most."""
    try:
        async with asyncio.timeout(allowed_s + 1.0):
            return await ask_theirs(session, where, row, allowed_s)
    except TimeoutError:
        return "never ends"


Ask = Callable[[Bench, Target, Row, float], Awaitable[str]]


async def played(row: Row, ask: Ask, told: str) -> str:
    """Every request's outcome, and on how many connections they went if on more than one.

    Only a request which the table tells to outlast its deadline is given a short one.
    """
    async with Bench() as bench:
        with socket.socket() as held:
            held.bind(("127.0.0.1", 0))  # bound and not listening
            where = await bench.serve(row.script) if row.script else target(held.getsockname()[1])
            outcomes = []
            for outcome in told.split(" or ", maxsplit=1)[0].split(", "):
                lasting = outcome.startswith(("timed_out", "never"))
                outcomes.append(await ask(bench, where, row, 0.1 if lasting else SECONDS))
                await turns(100)
    again = f" on {bench.peers}" if bench.peers > 1 else ""
    return ", ".join(outcomes) + again


async def with_aiohttp(row: Row) -> str:
    connector = aiohttp.TCPConnector(limit=0, force_close=False)
    async with aiohttp.ClientSession(
        connector=connector,
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept-Encoding": "identity", "Content-Type": "application/json"},
    ) as session:
        return await played(row, lambda _, *asked: theirs_or_never(session, *asked), row.theirs)


def expected(told: str) -> set[str]:
    """More than one only where it depends on which of two things the kernel did first."""
    return set(told.split(" or "))


@pytest.mark.parametrize("row", PLAY, ids=[row.name for row in PLAY])
def test_what_the_wire_makes_of_it(row: Row) -> None:
    """Strict, bounded, and never an answer of one request to another."""
    assert uvloop.run(played(row, ask_ours, row.ours)) in expected(row.ours)


@pytest.mark.parametrize("row", PLAY, ids=[row.name for row in PLAY])
def test_what_aiohttp_makes_of_it(row: Row) -> None:
    """If an upgrade changes it, the table and its reasons are read again."""
    assert uvloop.run(with_aiohttp(row)) in expected(row.theirs)


def test_every_difference_is_explained_and_nothing_else() -> None:
    assert [row.name for row in PLAY if bool(row.why) != (row.ours != row.theirs)] == []
