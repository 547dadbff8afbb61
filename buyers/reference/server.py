"""Reference buyers over HTTP, several in one process. For loopback: the inbox asks for no key."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

import orjson
from aiohttp import web

from buyers import strict_json
from buyers.money import format_micros
from buyers.reference.book import Book, Entry, take_ping, take_post
from buyers.reference.reading import TempersInvalid, patch_temper
from buyers.reference.temper import PingKind, PingPlan, PostKind, PostPlan, Temper
from buyers.signing import SignatureInvalid, read_secret, verify

_SHUTDOWN_S: Final = 1.0
_STAMP_MAX: Final = 12  # digits
_GARBLED: Final = {
    "html": b"<!doctype html><title>Maintenance</title><p>We are back soon.",
    "broken": b'{"bid":"12.50","bid_id":"x',
    "duplicate_key": b'{"bid":1,"bid":99,"status":"accepted","status":"rejected"}',
}

_Handler = Callable[["_Desk", web.BaseRequest], Awaitable[web.StreamResponse]]


class _Desk:
    """One buyer: its temper, its key and its books."""

    def __init__(self, temper: Temper) -> None:
        self.book = Book()
        self.tests = Book()  # test messages are answered alike and kept apart
        self.change(temper)

    def change(self, temper: Temper) -> None:
        self.temper = temper
        self.key = read_secret(temper.secret)

    def book_for(self, message: dict[str, Any]) -> Book:
        return self.tests if message.get("test") is True else self.book


class ReferenceBuyers:
    """The server. `books` are the buyers' books by name; `clock` gives seconds since the epoch."""

    def __init__(
        self, tempers: Iterable[Temper], *, clock: Callable[[], float] = time.time
    ) -> None:
        self._desks = {temper.name: _Desk(temper) for temper in tempers}
        self.books = {name: desk.book for name, desk in self._desks.items()}
        self.base_url = ""
        self._clock = clock
        self._closing = asyncio.Event()
        self._runner: web.ServerRunner | None = None
        self._routes: dict[tuple[str, str], _Handler] = {
            ("POST", "ping"): self._ping,
            ("POST", "post"): self._post,
            ("GET", "status"): self._status,
            ("GET", "inbox"): self._inbox,
            ("DELETE", "inbox"): self._clear,
            ("GET", "temper"): self._temper,
            ("PATCH", "temper"): self._change,
        }

    @property
    def tempers(self) -> dict[str, Temper]:
        """As they are now, changes included."""
        return {name: desk.temper for name, desk in self._desks.items()}

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen and return the base URL; port 0 takes a free one."""
        # The low-level server: no router, no middlewares, benchmarks run against it. A buyer that
        # stalls must notice when its client leaves, hence handler_cancellation.
        server = web.Server(self._handle, handler_cancellation=True, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=_SHUTDOWN_S)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port, backlog=1024).start()
        address = self._runner.addresses[0]
        name = f"[{address[0]}]" if ":" in address[0] else address[0]
        self.base_url = f"http://{name}:{address[1]}"
        return self.base_url

    async def stop(self) -> None:
        """Stop listening; whoever is stalled or delayed is hung up on."""
        self._closing.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        name, _, what = request.path[1:].partition("/")
        if name == "healthz" and not what:
            return _json({"status": "ok"})
        desk = self._desks.get(name)
        handler = self._routes.get((request.method, what))
        if desk is None or handler is None:
            return _problem(404, "no such buyer or path")
        return await handler(desk, request)

    async def _ping(self, desk: _Desk, request: web.BaseRequest) -> web.StreamResponse:
        try:
            webhook_id, ping = await self._read(desk, request)
        except _Refused as refused:
            return _problem(refused.status, str(refused))
        plan = take_ping(desk.book_for(ping), desk.temper, webhook_id, ping)
        await self._wait(plan.delay_ms)
        if plan.kind in {PingKind.STALL, PingKind.RESET}:
            return await self._say_nothing(request, stalls=plan.kind is PingKind.STALL)
        return _ping_answer(plan, f"{desk.temper.name}-{ping.get('ping_id')}")

    async def _post(self, desk: _Desk, request: web.BaseRequest) -> web.StreamResponse:
        try:
            webhook_id, post = await self._read(desk, request)
        except _Refused as refused:
            return _problem(refused.status, str(refused))
        book = desk.book_for(post)
        # Booked first, as a real CRM does: no delay, crash or hang-up unmakes it.
        entry, plan = take_post(book, desk.temper, webhook_id, post, at=self._clock())
        await self._wait(plan.delay_ms)
        if plan.kind in {PostKind.STALL, PostKind.STALL_BOOKED, PostKind.RESET}:
            return await self._say_nothing(request, stalls=plan.kind is not PostKind.RESET)
        return _post_answer(plan, entry, desk.temper)

    async def _read(self, desk: _Desk, request: web.BaseRequest) -> tuple[str, dict[str, Any]]:
        body = await request.read()
        try:
            webhook_id = _sender(desk, request, body, self._clock())
            return webhook_id, strict_json.loads_object(body)
        except SignatureInvalid as error:
            raise _Refused(401, str(error)) from None
        except strict_json.JsonInvalid as error:
            raise _Refused(400, str(error)) from None

    async def _wait(self, delay_ms: int) -> None:
        if delay_ms:
            await asyncio.sleep(delay_ms / 1000)

    async def _say_nothing(self, request: web.BaseRequest, *, stalls: bool) -> web.StreamResponse:
        if stalls:  # until the client leaves (this task is cancelled) or we close
            await self._closing.wait()
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)  # written to a closed connection: nobody reads it

    async def _status(self, desk: _Desk, request: web.BaseRequest) -> web.StreamResponse:
        if not desk.temper.knows_status:
            return _problem(404, "this buyer has no status")
        webhook_id = request.query.get("webhook_id", "")
        book = desk.tests if desk.tests.entry(webhook_id) else desk.book
        return _json({"status": book.status(webhook_id)})

    async def _inbox(self, desk: _Desk, _request: web.BaseRequest) -> web.StreamResponse:
        tests = [entry.show() for entry in desk.tests.posts]
        return _json(desk.book.show() | {"tests": tests, "test_pings": desk.tests.pings})

    async def _clear(self, desk: _Desk, _request: web.BaseRequest) -> web.StreamResponse:
        desk.book.clear()
        desk.tests.clear()
        return web.Response(status=204)

    async def _temper(self, desk: _Desk, _request: web.BaseRequest) -> web.StreamResponse:
        return _json(desk.temper)

    async def _change(self, desk: _Desk, request: web.BaseRequest) -> web.StreamResponse:
        try:
            desk.change(patch_temper(desk.temper, strict_json.loads_object(await request.read())))
        except strict_json.JsonInvalid as error:
            return _problem(400, str(error))
        except TempersInvalid as error:
            return _json({"detail": "invalid temper", "errors": error.problems}, status=422)
        return _json(desk.temper)


def _sender(desk: _Desk, request: web.BaseRequest, body: bytes, now_s: float) -> str:
    """The webhook-id. Raises SignatureInvalid as far as this buyer looks."""
    if desk.temper.ignores_signature:
        return request.headers.get("webhook-id", "")
    stamp = request.headers.get("webhook-timestamp", "")
    if desk.temper.ignores_timestamp and stamp.isdecimal() and len(stamp) <= _STAMP_MAX:
        now_s = int(stamp)
    return verify(desk.key, request.headers, body, now_s)


class _Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def _ping_answer(plan: PingPlan, bid_id: str) -> web.Response:
    match plan.kind:
        case PingKind.BID:
            return _json({"bid": format_micros(plan.price_micros), "bid_id": bid_id})
        case PingKind.DECLINE:
            return _json({"bid": None, "reason": plan.note})
        case PingKind.GARBLE:
            return _garbled(plan.note)
        case _:
            return _problem(500, "internal error")


def _post_answer(plan: PostPlan, entry: Entry, temper: Temper) -> web.Response:
    match plan.kind:
        case PostKind.ACCEPT:
            ref = f"{temper.name}-{entry.number}"
            return _json({"status": "accepted", "buyer_ref": ref, "redirect_url": None})
        case PostKind.REJECT:
            return _json({"status": "rejected", "reason": plan.note})
        case PostKind.CONFLICT:
            return _problem(409, "this lead is in our books already")
        case PostKind.GARBLE:
            return _garbled(plan.note)
        case _:
            return _problem(500, "internal error")


def _json(value: Any, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(value), content_type="application/json")


def _problem(status: int, detail: str) -> web.Response:
    return _json({"status_code": status, "detail": detail}, status=status)


def _garbled(which: str | None) -> web.Response:
    return web.Response(body=_GARBLED[which or "html"], content_type="text/html")
