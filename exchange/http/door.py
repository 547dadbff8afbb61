"""The front door of a worker: usual pings and leads are served without being read twice.

Every connection is aiohttp's. Before it reads what came in, the door has a look: a ping or a lead in the
usual form goes straight to its desk, and is answered here; everything else goes on to aiohttp. It is
the same desk and the same answer, at a third of the cost. And when more pings come than can be
served in time, the refusals must cost next to nothing, or they would be what the time is spent on.
Leads are never refused here: a quote was given for them.
"""

import asyncio
from collections.abc import Coroutine, Mapping
from email.utils import formatdate
from functools import partial
from http import HTTPStatus
from typing import Any, Final

import orjson
from aiohttp import web

from exchange.errors import Refusal
from exchange.house import House
from exchange.http.problems import Answer, problem_body, problem_headers, refusal_of, unavailable
from exchange.http.sellers import SellerDesk
from exchange.http.usual import Framing, Usual, is_one_ping, usual_request
from exchange.http.valve import Valve

_PINGS: Final = "POST /v1/pings"
_LEADS: Final = "POST /v1/leads"
_LISTENERS: Final = 64
_BACKLOG: Final = 128  # connections that wait to be accepted, for each of them


class Front:
    """What all doors of a worker share."""

    def __init__(self, house: House, desk: SellerDesk, valve: Valve, keepalive_s: float) -> None:
        self.house = house
        self.desk = desk
        self.valve = valve
        self.keepalive_s = keepalive_s
        # A connection that waits for an answer is not idle.
        waits = house.settings.ping.max_wait_limit_ms, house.settings.post.max_wait_limit_ms
        self.patience_s = max(waits) / 1000 + keepalive_s
        self._date: tuple[int, bytes] = (0, b"")
        self._overloaded: tuple[int, bytes] = (0, b"")

    async def listen(self, runner: web.AppRunner, host: str, port: int) -> list[asyncio.Server]:
        """Serve a runner that was set up, as aiohttp's own site would. Several processes may listen
        on one port.

        libuv accepts one connection of a listening socket in each turn of the loop. A seller who
        opens one for every ping would wait in the kernel for many turns, so we listen several times.
        """
        server, loop = runner.server, asyncio.get_running_loop()
        assert server is not None
        options = {"loop": loop, "keepalive_timeout": self.keepalive_s, "access_log": None}

        def door() -> Door:
            return Door(server, self, **options)

        found: list[asyncio.Server] = []
        for _ in range(_LISTENERS):
            found.append(
                await loop.create_server(door, host, port, reuse_port=True, backlog=_BACKLOG)
            )
            port = found[0].sockets[0].getsockname()[1]  # where it was 0
        return found

    async def serve_ping(self, ping: Usual, door: "Door") -> None:
        """Run a ping to its end, whether or not its seller stays."""
        late = partial(door.answer_late, ping)
        work = self.desk.pings.answer(ping.authorization, ping.body, late)
        try:
            door.answer(ping, await self._answered(_PINGS, work))
        finally:
            self.valve.done()

    async def serve_lead(self, lead: Usual, door: "Door") -> None:
        """Until it is answered. To be cancelled when its seller hangs up."""
        work = self.desk.leads.answer(lead.authorization, lead.body)
        door.answer(lead, await self._answered(_LEADS, work))

    async def _answered(self, route: str, work: Coroutine[Any, Any, Answer]) -> Answer | Refusal:
        """What became of it, as under the net."""
        try:
            return await work
        except Exception as error:  # noqa: BLE001 - told and answered
            return refusal_of(error, self.house.observer, route)

    def response(self, done: Answer | Refusal) -> bytes:
        """The response to a request that still waits for it; a refusal is counted."""
        if isinstance(done, Answer):
            return self.render(done.status, done.body, _lines(done.headers))
        self.house.observer.refused(done.code)
        return self._problem(done)

    def _problem(self, refusal: Refusal) -> bytes:
        document = orjson.dumps(problem_body(refusal))
        return self.render(refusal.status, document, _lines(problem_headers(refusal)))

    def overloaded(self) -> bytes:
        """The response to a ping that is one too many; made once a second."""
        now_s = int(self.house.wall_s())
        if self._overloaded[0] != now_s:
            self._overloaded = now_s, self._problem(Refusal(503, "overloaded", retry_after_s=1))
        return self._overloaded[1]

    def render(self, status: int, body: bytes, headers: str) -> bytes:
        """A whole response."""
        now_s = int(self.house.wall_s())
        if self._date[0] != now_s:
            self._date = now_s, formatdate(now_s, usegmt=True).encode()
        kind = b"application/json" if status < 300 else b"application/problem+json"
        return b"%bContent-Type: %b\r\nDate: %b\r\n%bContent-Length: %d\r\n\r\n%b" % (
            _STATUS_LINES[status],
            kind,
            self._date[1],
            headers.encode(),
            len(body),
            body,
        )


_STATUS_LINES: Final = {
    one.value: f"HTTP/1.1 {one.value} {one.phrase}\r\n".encode() for one in HTTPStatus
}


def _lines(headers: Mapping[str, str]) -> str:
    return "".join([f"{name}: {value}\r\n" for name, value in headers.items()])


class Door(web.RequestHandler):
    """One seller's connection."""

    __slots__ = ("_framing", "_front", "_held", "_lead", "_serving")

    def __init__(self, server: web.Server, front: Front, **options: Any) -> None:
        super().__init__(server, **options)
        self._front = front
        self._framing = Framing()  # of what aiohttp has been given
        self._serving: Usual | None = None  # that has not been answered
        self._lead: asyncio.Task[Any] | None = None  # that is stopped when its seller hangs up
        self._held: list[bytes] = []  # what came meanwhile

    def data_received(self, data: bytes) -> None:
        if self._serving is not None:
            # Not at the first: who reads no more does not hear either that the seller has hung up.
            if len(self._held) == 1 and self.transport is not None:
                self.transport.pause_reading()
            self._held.append(data)
            return
        front, now_s = self._front, self._loop.time()
        waits = self._waits()
        if waits and front.valve.is_shut(now_s) and is_one_ping(data):
            assert self.transport is not None
            front.valve.refuse()
            self._next_keepalive_close_time = now_s + front.keepalive_s
            self.transport.write(front.overloaded())
            return
        found = usual_request(data) if waits else None
        if found is None:
            self._framing.read(data)
            super().data_received(data)
            return
        self._next_keepalive_close_time = now_s + front.patience_s
        self._serving = found
        if found.is_lead:
            self._lead = front.house.own(front.serve_lead(found, self), "lead")
        else:
            front.valve.let_in()
            front.house.own(front.serve_ping(found, self), "ping")

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._lead is not None:
            self._lead.cancel()
        super().connection_lost(exc)

    def answer(self, found: Usual, done: Answer | Refusal) -> None:
        """Answer this request, if it still waits for it; what came meanwhile has its turn."""
        if self._serving is not found:  # it was answered late, and another may be waiting now
            return
        self._serving = self._lead = None
        response = self._front.response(done)
        transport = self.transport
        if transport is None:  # its seller has gone
            return
        transport.write(response)
        self._next_keepalive_close_time = self._loop.time() + self._front.keepalive_s
        if self._held:
            held, self._held = self._held, []
            if len(held) > 1:
                transport.resume_reading()
            self.data_received(b"".join(held))

    def answer_late(self, ping: Usual) -> None:
        """The seller's time is over, whatever becomes of his ping."""
        self.answer(ping, unavailable())

    def _waits(self) -> bool:
        """Whether the next bytes begin a request that may be answered at once: everything that
        aiohttp was given has been answered, and ended where a request ends. A worker that stops
        leaves them to aiohttp, which knows what it still has to answer."""
        waiter = self._waiter
        # On a new connection, whose task has not begun to wait yet, it has read nothing.
        idle = not self._request_count or (waiter is not None and not waiter.done())
        return (
            idle
            and self._framing.at_end
            and not (self._paused or self._force_close or self._front.house.stopping)
        )
