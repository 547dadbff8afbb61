"""Buyers that cost next to nothing, so that the one who asks them is what is measured.

One uvloop process, a raw protocol, answers rendered once. What a buyer does stands in its path,
`/{manner}/{price}/{name}/{ping|post}`:

    now          answers at once
    after-5      answers after 5 ms
    decline      says no
    hang         never answers
    drip         a byte each 20 ms, for ever
    reset        sends a RST
    huge         200 and 20 MB
    redirect     302 to somebody who would bid

The price is a bid (`10.00`) or a range (`10.00~40.00`), of which each answer has another. Posts are
accepted at once by everybody. Signatures are not looked at, ids neither: the reference buyers do
both (`python -m buyers run`); here they would be most of the cost.

Started by benchmarks.rig with one line of JSON, `{"cert": path|null}`; with a certificate there is a
second listener that speaks TLS. Ends when its standard input does.
"""

import asyncio
import gc
import resource
import socket
import ssl
import struct
import sys
import threading
from collections.abc import Callable
from itertools import cycle
from random import Random
from typing import Final, cast

import orjson
import uvloop

_PATHS_MAX: Final = 10_000
_HUGE: Final = b"x" * 20_000_000
_DRIP_S: Final = 0.02
_PRICES: Final = 256  # different answers of a range
_RESET: Final = struct.pack("ii", 1, 0)  # linger for no time

Act = Callable[["Connection"], None]


class Connection(asyncio.Protocol):
    """Reads requests by their Content-Length, one at a time, and does what the path says."""

    __slots__ = ("_acts", "_left", "loop", "transport")

    def __init__(self, loop: asyncio.AbstractEventLoop, acts: dict[bytes, Act]) -> None:
        self.loop = loop
        self._acts = acts
        self._left = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._left:
            data = self._left + data
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._left = data
            return
        head = data[:end].lower()
        at = head.find(b"content-length:")
        size = end + 4 + (int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0)
        if len(data) < size:
            self._left = data
            return
        self._left = data[size:]
        path = data[data.find(b" ") + 1 : data.find(b" HTTP/")]
        act = self._acts.get(path)
        if act is None:
            if len(self._acts) >= _PATHS_MAX:
                self._acts.clear()
            act = self._acts[path] = act_of(path.decode("ascii"))
        act(self)


def act_of(path: str) -> Act:
    """What is done about every request to this path; 404 for those that mean nothing."""
    match path.strip("/").split("/"):
        case [_, price, _, "post"]:
            del price
            return writes(_answer({"status": "accepted"}))
        case [manner, price, name, "ping"]:
            return _manner(manner, price, name)
        case _:
            return writes(_rendered(b"404 Not Found", b"{}"))


def _manner(manner: str, price: str, name: str) -> Act:
    kind, _, text = manner.partition("-")
    if kind == "now":
        return _bids(price)
    if kind == "after":
        return _later(_bids(price), int(text) / 1000)
    if kind == "redirect":
        return writes(_rendered(b"302 Found", b"", b"Location: /now/%b/%b/ping\r\n" % (
            price.encode(), name.encode())))  # fmt: skip
    answers: dict[str, Act] = {
        "decline": writes(_answer({"bid": None, "reason": "not today"})),
        "hang": _hang,
        "drip": _drip,
        "reset": _reset,
        "huge": writes(_rendered(b"200 OK", _HUGE)),
    }
    return answers.get(kind) or writes(_rendered(b"404 Not Found", b"{}"))


def _rendered(status: bytes, body: bytes, headers: bytes = b"") -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n%b" % (
        status, headers, len(body), body,
    )  # fmt: skip


def _answer(said: dict[str, object]) -> bytes:
    return _rendered(b"200 OK", orjson.dumps(said))


def writes(answer: bytes) -> Act:
    def act(connection: Connection) -> None:
        connection.transport.write(answer)

    return act


def _bids(price: str) -> Act:
    """The bid, or one of a seeded row of bids after the other."""
    least, _, most = price.partition("~")
    if not most:
        return writes(_answer({"bid": price}))
    rng = Random(price)
    low, high = round(float(least) * 100), round(float(most) * 100)
    drawn = [f"{rng.randint(low, high) / 100:.2f}" for _ in range(_PRICES)]
    answers = cycle([_answer({"bid": one}) for one in drawn])

    def act(connection: Connection) -> None:
        connection.transport.write(next(answers))

    return act


def _later(then: Act, after_s: float) -> Act:
    def act(connection: Connection) -> None:
        connection.loop.call_later(after_s, then, connection)

    return act


def _hang(_connection: Connection) -> None:
    """Says nothing, for as long as the other side cares to wait."""


def _drip(connection: Connection) -> None:
    transport = connection.transport
    transport.write(b"HTTP/1.1 200 OK\r\nX-Drip: ")

    def drop() -> None:
        if not transport.is_closing():
            transport.write(b"x")
            connection.loop.call_later(_DRIP_S, drop)

    drop()


def _reset(connection: Connection) -> None:
    sock = connection.transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    connection.transport.abort()


async def main(certificate: str | None) -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    acts: dict[bytes, Act] = {}

    async def listen(context: ssl.SSLContext | None) -> tuple[asyncio.Server, str]:
        server = await loop.create_server(
            lambda: Connection(loop, acts), "127.0.0.1", 0, ssl=context, backlog=4096
        )
        scheme = "http" if context is None else "https"
        return server, f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    listening = [await listen(None)]
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
        listening.append(await listen(context))
    print("buyers listening on", *(url for _, url in listening), flush=True)
    threading.Thread(
        target=lambda: (sys.stdin.buffer.read(), loop.call_soon_threadsafe(stop.set)), daemon=True
    ).start()
    gc.freeze()
    await stop.wait()
    for server, _ in listening:
        server.close()


if __name__ == "__main__":
    uvloop.run(main(orjson.loads(sys.stdin.buffer.readline())["cert"]))
