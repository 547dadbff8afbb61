"""Buyers who do not keep to HTTP, or to anything: one server, a behaviour per path, all bytes kept."""

import asyncio
import socket
import struct
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Say = Callable[[asyncio.StreamWriter], Awaitable[None]]


def _answer(body: bytes, head: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return head + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body


async def _silent(writer: asyncio.StreamWriter) -> None:
    await writer.wait_closed()


async def _drip(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
    while not writer.is_closing():
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


async def _reset(writer: asyncio.StreamWriter) -> None:
    now = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, now)
    writer.transport.abort()


async def _flood(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 20000000\r\n\r\n")
    for _ in range(20):
        writer.write(b'{"bid":"9"' + b" " * 999_990)
        await writer.drain()


def _says(raw: bytes) -> Say:
    async def say(writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()

    return say


BEHAVIOURS: dict[str, Say] = {
    "silent": _silent,
    "drip": _drip,
    "reset": _reset,
    "flood": _flood,
    "html": _says(_answer(b"<!doctype html><p>Back soon")),
    "redirect": _says(_answer(b"", b"HTTP/1.1 302 Found\r\nLocation: /trap/ping")),
    "absurd": _says(_answer(b'{"bid":1e308}')),
    "twice": _says(_answer(b'{"bid":"1","bid":"2"}')),
    "good": _says(_answer(b'{"bid":"7.00"}')),
    "trap": _says(_answer(b'{"bid":"99.00"}')),
}


class Hostile:
    """`base_url`/NAME/… behaves as NAME says; `heard` has every request, head and body."""

    def __init__(self) -> None:
        self.heard: dict[str, list[bytes]] = defaultdict(list)
        self.base_url = ""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
                body = await reader.readexactly(int(length or 0))
                name, _, what = head.split()[1].decode()[1:].partition("/")
                self.heard[f"{name}/{what}"].append(head + body)
                if what == "post":
                    writer.write(_answer(b'{"status":"accepted"}'))
                    await writer.drain()
                else:
                    await BEHAVIOURS[name](writer)
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def hostile_buyers() -> AsyncIterator[Hostile]:
    hostile = Hostile()
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(hostile.handle(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    hostile.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield hostile
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
