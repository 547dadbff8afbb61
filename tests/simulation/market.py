"""The buyers and the network between: requests arrive, are played by a temper, and come back or not."""

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

import orjson

from buyers.guard import Target
from buyers.money import format_micros
from buyers.reference.book import Book, take_ping, take_post
from buyers.reference.temper import PingKind, PostKind, Temper
from buyers.signing import read_secret, verify
from buyers.wire import Done, Failure


@dataclass
class Faults:
    """Probabilities per call; all zero once the world is quiet."""

    refused: float = 0.0  # no connection: not a byte left
    cut: float = 0.0  # written, and the answer lost
    slow: float = 0.0  # the answer takes seconds


@dataclass
class Market:
    """A Transport whose buyers live in this process and in simulated time."""

    tempers: dict[str, Temper]
    rng: Random
    wall_s: Callable[[], float]
    faults: Faults
    books: dict[str, Book] = field(default_factory=dict)
    on_post: Callable[[str, Mapping[str, Any]], None] = lambda _id, _body: None

    def __post_init__(self) -> None:
        self.books = {name: Book() for name in self.tempers}

    def send(
        self,
        target: Target,
        payload: bytes,
        done: Done,
        pool: str,
        deadline: float,
        tag: int = 0,
        idle_max_s: float | None = None,
    ) -> "Flight":
        del target, pool, idle_max_s
        return Flight(self, payload, partial(done, tag), deadline)

    def answer(self, payload: bytes) -> tuple[int, bytes, float] | None:
        """What a buyer says to a request that reached it: status, body, delay; None: silence."""
        method, path, headers, body = read_request(payload)
        _, name, verb, *_ = path.partition("?")[0].split("/")
        temper, book = self.tempers[name], self.books[name]
        if method == "GET":
            status = book.status(path.partition("webhook_id=")[2])
            return 200, orjson.dumps({"status": status}), 0.01
        webhook_id = verify(read_secret(temper.secret), headers, body, self.wall_s())
        message = orjson.loads(body)
        if verb == "ping":
            return _ping(book, temper, webhook_id, message)
        self.on_post(webhook_id, message)
        entry, plan = take_post(book, temper, webhook_id, message, at=self.wall_s())
        said = {PostKind.ACCEPT: "accepted", PostKind.REJECT: "rejected"}.get(plan.kind)
        if plan.kind is PostKind.ERROR:
            return 500, b"", plan.delay_ms / 1000
        if said is None:
            return None if plan.kind is PostKind.STALL else (200, b"<html>", plan.delay_ms / 1000)
        return 200, orjson.dumps({"status": said, "buyer_ref": entry.number}), plan.delay_ms / 1000


def _ping(
    book: Book, temper: Temper, webhook_id: str, message: dict[str, Any]
) -> tuple[int, bytes, float] | None:
    plan = take_ping(book, temper, webhook_id, message)
    delay_s = plan.delay_ms / 1000
    match plan.kind:
        case PingKind.BID:
            bid = {"bid": format_micros(plan.price_micros), "ping_id": message["ping_id"]}
            return 200, orjson.dumps(bid), delay_s
        case PingKind.DECLINE:
            return 200, b'{"bid":null}', delay_s
        case PingKind.ERROR:
            return 500, b"", delay_s
        case PingKind.GARBLE:
            return 200, b'{"bid":1,"bid":99}', delay_s
        case _:
            return None


class Flight:
    """One call: it arrives after a while, is answered after a while, and may be lost on both ways."""

    def __init__(
        self, market: Market, payload: bytes, done: Callable[..., None], deadline: float
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._market = market
        self._payload = payload
        self._done: Callable[..., None] | None = done
        self._began = self._loop.time()
        rng, faults = market.rng, market.faults
        self._cut = rng.random() < faults.cut
        self._slow_s = rng.uniform(2, 12) if rng.random() < faults.slow else 0.0
        self._timer = None
        if deadline < math.inf:
            self._timer = self._loop.call_at(
                deadline, self._end, None, b"", Failure.TIMED_OUT, True
            )
        if rng.random() < faults.refused:
            self._loop.call_later(0.002, self._end, None, b"", Failure.UNREACHABLE, False)
        else:
            self._loop.call_later(rng.uniform(0.0005, 0.01), self._arrive)

    def abandon(self) -> None:
        self._done = None
        if self._timer is not None:
            self._timer.cancel()

    def extend(self, deadline: float) -> None:
        del deadline

    def _arrive(self) -> None:
        # What was written arrives, whether or not anybody still waits for the answer.
        answer = self._market.answer(self._payload)
        if self._cut:
            self._loop.call_later(0.005, self._end, None, b"", Failure.RESET, True)
        elif answer is not None:
            status, body, delay_s = answer
            self._loop.call_later(delay_s + self._slow_s, self._end, status, body, None, True)

    def _end(self, status: int | None, body: bytes, failure: Failure | None, written: bool) -> None:
        done, self._done = self._done, None
        if self._timer is not None:
            self._timer.cancel()
        if done is not None:
            elapsed_ms = (self._loop.time() - self._began) * 1000
            done(status, body, failure, written, elapsed_ms)


def read_request(payload: bytes) -> tuple[str, str, dict[str, str], bytes]:
    """Method, path, headers by lower-case name, body."""
    head, _, body = payload.partition(b"\r\n\r\n")
    first, *lines = head.decode("ascii").split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return method, path, headers, body
