"""A load generator of its own process: raw protocols on uvloop, 15 to 20 µs of CPU a request.

Each line of JSON on standard input is a round, each line of standard output what came of it.

    closed   `connections` ask one after the other, each the next as soon as it is answered:
             for `count` requests or `seconds`; they begin spread over `ramp_s`, else all at once
    open     seeded Poisson arrivals in `phases` of (rate, seconds); nobody waits for anybody: an
             idle connection is taken, else another opened, up to `connections`; what would need
             more is `dropped`. Latency counts from the scheduled instant.

An answer that takes longer than `answer_s` (10) counts as none. It is good if it is 200 with the
outcome that was wanted: `bid`, or `sold` where posts follow. An order has `host`, `port`, `head`
(request line and headers without Content-Length), `bodies`, and where a ping is followed by its post
`posts`: `[head, bodies]`, each body lacking `{"ping_id":"…",`.
"""

import asyncio
import gc
import math
import resource
import sys
from collections import deque
from collections.abc import Callable
from random import Random
from time import monotonic, process_time  # uvloop's own clock is 1 ms fine
from typing import Any, Final, cast

import orjson
import uvloop

from benchmarks.round import Round, number_of, told, value_of

_ANSWER_S: Final = 10.0  # an answer that takes longer counts as none


class Connection(asyncio.Protocol):
    """One request at a time; tells its round the whole answer, or that there is none."""

    __slots__ = ("_left", "_owner", "asked_at", "due", "lead", "transport")

    def __init__(self, owner: "Load") -> None:
        self._owner = owner
        self._left = b""
        self.due = -1.0  # when the request was to be sent; negative: there is none
        self.asked_at = 0.0
        self.lead: bytes | None = None  # the post that follows the ping
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def ask(self, request: bytes, due: float, now: float) -> None:
        self.due = due
        self.asked_at = now
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self._left:
            data = self._left + data
        end = data.find(b"\r\n\r\n")
        if end >= 0:
            at = data.find(b"Content-Length: ", 0, end)
            size = end + 4 + (int(data[at + 16 : data.find(b"\r\n", at)]) if at >= 0 else 0)
            if len(data) >= size:
                self._left = b""
                self._owner.answered(self, data[9:12], data[end + 4 : size])
                return
        self._left = data

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._owner.lost(self)


class Load:
    """What both kinds of round share."""

    def __init__(self, order: dict[str, Any], loop: asyncio.AbstractEventLoop) -> None:
        self.order = order
        self.loop = loop
        self.round = Round()
        self.done: asyncio.Future[None] = loop.create_future()
        self.connections: set[Connection] = set()
        self._keep = order.get("keep", False)
        self._pings: list[bytes] = [
            rendered(order["head"], body.encode()) for body in order["bodies"]
        ]
        posts: tuple[str, list[str]] = order.get("posts") or ("", [])
        self._post_head = posts[0]
        self._posts = [body.encode() for body in posts[1]]
        self._answer_s: float = order.get("answer_s", _ANSWER_S)
        self._wanted = b"sold" if self._posts else b"bid"
        self._place: int = order.get("first", 0) % len(self._pings)

    def next_request(self, connection: Connection) -> bytes:
        place = self._place
        self._place = place + 1 if place + 1 < len(self._pings) else 0
        if self._posts:
            connection.lead = self._posts[place]
        return self._pings[place]

    async def dial(self) -> Connection | None:
        try:
            _, made = await self.loop.create_connection(
                lambda: Connection(self), self.order["host"], self.order["port"]
            )
        except OSError:
            return None
        if made.transport.is_closing():
            return None
        self.round.opened += 1
        self.connections.add(made)
        return made

    def answered(self, connection: Connection, status: bytes, body: bytes) -> None:
        if connection.due < 0:
            return
        if connection.lead is not None and status == b"200" and b'"outcome":"bid"' in body:
            lead, connection.lead = connection.lead, None
            self._count_id(body)
            whole = b'{"ping_id":"' + value_of(body, b"ping_id") + b'",' + lead
            connection.transport.write(rendered(self._post_head, whole))
            return
        found = self.round
        now = monotonic()
        due, connection.due = connection.due, -1.0
        outcome = value_of(body, b"outcome") if status == b"200" else b""
        is_good = outcome == self._wanted
        found.good += is_good
        is_refusal = status in {b"503", b"429"}
        found.spans.append((due - found.began_s, now - due, is_good, is_refusal))
        if status == b"200":
            found.answered += 1
            found.outcomes[outcome.decode("latin-1")] += 1
            if not self._posts:
                self._count_id(body)
            if self._keep:
                found.elapsed_ms.append(number_of(body, b"elapsed_ms"))
                found.bids.append(number_of(body, b"bids"))
        else:
            found.failed += 1
            code = value_of(body, b"code")
            found.outcomes[(status + b" " + code).decode("latin-1")] += 1
        self.free(connection, now)

    def lost(self, connection: Connection) -> None:
        self.connections.discard(connection)
        if connection.due >= 0:
            connection.due = -1.0
            self.no_answer()
        self.gone(connection)

    def no_answer(self) -> None:
        self.round.failed += 1
        self.round.outcomes["no answer"] += 1

    def sweep(self) -> None:
        """Whoever has waited too long gets none."""
        if self.done.done():
            return
        oldest = monotonic() - self._answer_s
        for connection in [one for one in self.connections if 0 <= one.due < oldest]:
            connection.transport.abort()
        self.loop.call_later(min(1.0, self._answer_s), self.sweep)

    def free(self, connection: Connection, now: float) -> None:
        """It has been answered."""
        raise NotImplementedError

    def gone(self, connection: Connection) -> None:
        """It is closed; a request under way has been counted."""
        raise NotImplementedError

    def _count_id(self, body: bytes) -> None:
        self.round.ids.append(value_of(body, b"ping_id"))


class ClosedLoop(Load):
    """As fast as it is answered."""

    def __init__(self, order: dict[str, Any], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(order, loop)
        self._left: float = order.get("count") or math.inf
        self._until = math.inf

    async def run(self) -> Round:
        found = self.round
        made = [await self.dial() for _ in range(self.order["connections"])]
        found.began_s = now = monotonic()
        self._until = now + self.order.get("seconds", math.inf)
        self.sweep()
        ramp_s = self.order.get("ramp_s", 0.0)
        for place, connection in enumerate(made):
            if connection is not None and ramp_s:
                self.loop.call_later(ramp_s * place / len(made), self._begin, connection)
            elif connection is not None:
                self.free(connection, now)
        self._check_done()
        await self.done
        return found

    def _begin(self, connection: Connection) -> None:
        if not connection.transport.is_closing():
            self.free(connection, monotonic())

    def free(self, connection: Connection, now: float) -> None:
        if self._left > 0 and now < self._until:
            self._left -= 1
            self.round.offered += 1
            connection.ask(self.next_request(connection), now, now)
        else:
            connection.transport.close()

    def gone(self, connection: Connection) -> None:
        del connection
        if self._left > 0 and monotonic() < self._until:  # the place of the one that was lost
            self.loop.create_task(self._replace())
        else:
            self._check_done()

    async def _replace(self) -> None:
        connection = await self.dial()
        if connection is not None:
            self.free(connection, monotonic())
        else:
            self._check_done()

    def _check_done(self) -> None:
        if not self.connections and not self.done.done():
            self.round.ended_s = monotonic()
            self.done.set_result(None)


class OpenLoop(Load):
    """At their own instants, whatever becomes of those before."""

    def __init__(self, order: dict[str, Any], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(order, loop)
        self._idle: list[Connection] = []
        self._dialling = 0
        self._waiting: deque[float] = deque()  # due, for a connection that is being opened
        self._over = False

    async def run(self) -> Round:
        found = self.round
        found.began_s = monotonic() + 0.05
        self._arrivals = iter(arrivals(self.order["phases"], self.order["seed"]))
        self._next_s = next(self._arrivals, math.inf)
        self.sweep()
        self._tick()
        await self.done
        for connection in list(self.connections):
            connection.transport.close()
        return found

    def _tick(self) -> None:
        """Send all that is due, then wait for the next."""
        now = monotonic()
        while (due := self.round.began_s + self._next_s) <= now:
            self._arrive(due, now)
            self._next_s = next(self._arrivals, math.inf)
        if self._next_s < math.inf:
            self.loop.call_later(due - now, self._tick)
        else:
            self._over = True
            self._check_done()

    def _arrive(self, due: float, now: float) -> None:
        self.round.offered += 1
        self.round.offered_at.append(due - self.round.began_s)
        self.round.late_s.append(now - due)
        if self._idle:
            self._send(self._idle.pop(), due, now)
        elif self._may_dial():
            self._waiting.append(due)
            self._dialling += 1
            self.loop.create_task(self._dial())
        else:
            self.round.dropped += 1
            self.round.dropped_at.append(due - self.round.began_s)

    def _may_dial(self) -> bool:
        most: int = self.order["connections"]
        return len(self.connections) + self._dialling < most

    async def _dial(self) -> None:
        connection = await self.dial()
        self._dialling -= 1
        if connection is not None:
            self.free(connection, monotonic())
        elif self._waiting:
            self._waiting.popleft()
            self.no_answer()
            self._check_done()

    def _send(self, connection: Connection, due: float, now: float) -> None:
        connection.ask(self.next_request(connection), due, now)

    def free(self, connection: Connection, now: float) -> None:
        if self._waiting:
            self._send(connection, self._waiting.popleft(), now)
        else:
            self._idle.append(connection)
            self._check_done()

    def gone(self, connection: Connection) -> None:
        if connection in self._idle:
            self._idle.remove(connection)
        self._check_done()

    def _check_done(self) -> None:
        if not self._over or self._waiting or self.done.done():
            return
        if all(one.due < 0 for one in self.connections):
            self.round.ended_s = monotonic()
            self.done.set_result(None)


def arrivals(phases: list[tuple[float, float]], seed: int) -> list[float]:
    """Instants in seconds from the start: Poisson, each phase at its own rate."""
    rng = Random(seed)
    found, began = [], 0.0
    for rate, seconds in phases:
        at = began
        while (at := at + rng.expovariate(rate)) < began + seconds:
            found.append(at)
        began += seconds
    return found


def rendered(head: str, body: bytes) -> bytes:
    return b"%bContent-Length: %d\r\n\r\n%b" % (head.encode("ascii"), len(body), body)


def main() -> None:
    """Rounds, until standard input ends."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    loop = uvloop.new_event_loop()
    print("load ready", flush=True)
    kinds: dict[str, Callable[..., ClosedLoop | OpenLoop]] = {
        "closed": ClosedLoop, "open": OpenLoop,
    }  # fmt: skip
    while line := sys.stdin.buffer.readline():
        order = orjson.loads(line)
        load = kinds[order["kind"]](order, loop)
        gc.collect()
        gc.disable()
        began_s = process_time()
        found = loop.run_until_complete(load.run())
        cpu_s = process_time() - began_s
        gc.enable()
        sys.stdout.buffer.write(orjson.dumps(told(found, order, cpu_s)) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
