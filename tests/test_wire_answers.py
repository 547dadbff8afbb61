"""The reader of answers against an obvious one, which is told of every header."""

import httptools
from hypothesis import given, settings
from hypothesis import strategies as st

from buyers.wire import Failure, WireLimits
from buyers.wire.answer import AnswerReader

LIMITS = WireLimits(body_max=64, informational_max=2)


class _Stop(Exception):
    pass


class PlainReader:
    """What the wire's reader must come to, without its economies; bounds of the head left out."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.failure: Failure | None = None
        self.complete = False
        self.reusable = False
        self.body = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.interim = 0
        self.parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            if not isinstance(error.__context__, _Stop):
                raise
            self.reusable = False
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.reusable = False
            if not self.complete:
                self.failure = self.failure or Failure.GARBLED

    def feed_eof(self) -> None:
        if self.status is not None and self.failure is None and not self.lengths + self.codings:
            self.complete = True

    @property
    def lengths(self) -> list[bytes]:
        return [value for name, value in self.headers if name.lower() == b"content-length"]

    @property
    def codings(self) -> list[bytes]:
        return [value for name, value in self.headers if name.lower() == b"transfer-encoding"]

    def fail(self, failure: Failure) -> None:
        self.failure = failure
        raise _Stop

    def on_message_begin(self) -> None:
        if self.complete:
            raise _Stop
        self.headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.status is None:  # else a trailer
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self.parser.get_http_version() not in {"1.0", "1.1"}:
            self.fail(Failure.GARBLED)
        status = self.parser.get_status_code()
        if status < 200:
            self.interim += 1
            if status < 100 or status == 101 or self.interim > 2 or self.lengths + self.codings:
                self.fail(Failure.GARBLED)
            return
        self.status = status
        if status in {204, 304}:
            return
        if self.codings and [value.strip().lower() for value in self.codings] != [b"chunked"]:
            self.fail(Failure.GARBLED)
        if any(int(length) > LIMITS.body_max for length in self.lengths):
            self.fail(Failure.OVERSIZED)

    def on_body(self, data: bytes) -> None:
        self.body += data
        if len(self.body) > LIMITS.body_max:
            self.fail(Failure.OVERSIZED)

    def on_message_complete(self) -> None:
        if self.status is not None:
            self.complete = True
            self.reusable = bool(self.parser.should_keep_alive())


STARTS = [b"HTTP/1.1 200 OK\r\n"] * 4 + [
    b"HTTP/1.0 200 OK\r\n",
    b"HTTP/1.1 204 No Content\r\n",
    b"HTTP/1.1 304 Not Modified\r\n",
    b"HTTP/1.1 404\r\n",
    b"HTTP/1.1 100 Continue\r\n",
    b"HTTP/1.1 103 Early Hints\r\n",
    b"HTTP/1.1 101 Switching\r\n",
    b"HTTP/2.0 200 OK\r\n",
    b"\r\n\r\nHTTP/1.1 200 OK\r\n",
    b"\nHTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 099 X\r\n",
    b"HTTP/1.1 200 Transfer-Encoding: gzip\r\n",
    b"garbage\r\n",
]
HEADERS = [
    b"Content-Length: 2\r\n",
    b"content-LENGTH:2 \r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: 64\r\n",
    b"Content-Length: 65\r\n",
    b"Content-Length: 00002\r\n",
    b"Content-Length:\r\n",
    b"Content-Length: 2, 2\r\n",
    b"Content-Length : 2\r\n",
    b"Content-Length: \r\n 2\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"TRANSFER-ENCODING:\tChunked \r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Transfer-Encoding: gzip\r\n",
    b"Transfer-Encoding: chunked, x\r\n",
    b"Transfer-Encoding:\r\n",
    b"Transfer-Encodings: gzip\r\n",
    b"X-Transfer-Encoding: gzip\r\n",
    b"X: \xff Content-Length: 65\r\n",
    b"X:\r\n",
    b"X\r\n",
    b"X: y\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"Upgrade: h2c\r\nConnection: upgrade\r\n",
]
BODIES = [
    b"",
    b"hi",
    b"hi\r\n",
    b"2\r\nhi\r\n0\r\n\r\n",
    b"0\r\n\r\n",
    b"1;e=1\r\nh\r\n0\r\nTransfer-Encoding: gzip\r\n\r\n",
    b"41\r\n" + b"x" * 65 + b"\r\n0\r\n\r\n",
    b"40\r\n" + b"x" * 64 + b"\r\n0\r\n\r\n",
    b"zz\r\n",
    b"x" * 64,
    b"x" * 65,
]
heads = st.tuples(
    st.sampled_from(STARTS),
    st.lists(st.sampled_from(HEADERS), max_size=3).map(b"".join),
    st.sampled_from([b"\r\n"] * 8 + [b"\n", b"", b"\r"]),
).map(b"".join)
answers = st.tuples(heads, st.sampled_from(BODIES)).map(b"".join)


@settings(max_examples=1500)
@given(st.lists(answers, min_size=1, max_size=3).map(b"".join), st.data())
def test_it_comes_to_the_same_as_a_reader_told_of_every_header(
    raw: bytes, data: st.DataObject
) -> None:
    """However the bytes are cut, and whatever is ambiguous about them."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=4)))
    fast, plain = AnswerReader(LIMITS), PlainReader()
    for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        for reader in (fast, plain):
            if not (reader.complete or reader.failure):
                reader.feed(raw[start:end])
        assert (fast.complete, fast.reusable) == (plain.complete, plain.reusable)
    for reader in (fast, plain):
        if not reader.complete:
            reader.feed_eof()

    assert (plain.status, plain.failure, plain.complete) == (
        fast.status,
        fast.failure,
        fast.complete,
    )
    if plain.complete:
        assert plain.body == fast.body


Said = tuple[int | None, Failure | None, bool, bool, bytes]


def read(reader: AnswerReader, data: bytes) -> Said:
    """As a connection does; ready for the next answer where there may be one."""
    body = reader.body_of_known(data)
    if body is not None:
        return reader.known_status, None, True, True, body
    reader.feed(data)
    said = (reader.status, reader.failure, reader.complete, reader.reusable, reader.body)
    if reader.reusable:
        reader.reset()
    return said


@given(st.lists(answers, min_size=1, max_size=3))
def test_a_reader_used_again_is_as_good_as_new(told: list[bytes]) -> None:
    """Nothing of one answer is left for the next."""
    used = AnswerReader(LIMITS)
    for answer in told:
        said = read(used, answer)
        assert read(AnswerReader(LIMITS), answer) == said
        if not said[3]:
            break


@settings(max_examples=500)
@given(heads, st.lists(st.sampled_from([*BODIES, b"ho", b"hihi", b""]), min_size=2, max_size=5))
def test_the_same_head_again_is_read_as_the_first_time(head: bytes, bodies: list[bytes]) -> None:
    """Though the parser is not asked again: whatever follows it, and whatever its framing."""
    used = AnswerReader(LIMITS)
    for body in bodies:
        said = read(used, head + body)
        assert read(AnswerReader(LIMITS), head + body) == said
        if not said[3]:
            break


def test_a_head_that_is_known_costs_no_parsing() -> None:
    reader = AnswerReader(LIMITS)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
    read(reader, head + b"hi")
    reader.close()  # there is no parser any more
    for body in (b"ho", b"ha"):
        assert (200, None, True, True, body) == read(reader, head + body)


def test_a_known_head_in_the_middle_of_an_answer_is_none() -> None:
    known = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    reader = AnswerReader(LIMITS)
    read(reader, known)
    read(reader, b"HT")
    assert (None, Failure.GARBLED, False) == read(reader, known)[:3]
