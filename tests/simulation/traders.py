"""The sellers: they ping and post, hang up, retry with the same key until they are answered."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import orjson
from aiohttp import StreamReader, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.test_utils import make_mocked_request

KEYS = {"lead-mill": "key-lead-mill", "form-farm": "key-form-farm"}


@dataclass
class Told:
    """What one seller was told about one thing it asked, in the order of the answers."""

    seller: str
    path: str
    key: str
    body: dict[str, Any]
    answers: list[tuple[int, bytes]] = field(default_factory=list)

    @property
    def last(self) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(self.answers[-1][1])
        return found


Handle = Callable[[web.Request], Any]


async def ask(
    desk: Any, method: str, path: str, seller: str, key: str | None, body: Any
) -> tuple[int, bytes]:
    """One request through the real handlers, without a socket."""
    raw = orjson.dumps(body) if body is not None else b""
    loop = asyncio.get_running_loop()
    content = StreamReader(BaseProtocol(loop), 2**16, loop=loop)
    content.feed_data(raw)
    content.feed_eof()
    headers = {"Authorization": f"Bearer {KEYS[seller]}", "Content-Length": str(len(raw))}
    if key is not None:
        headers["Idempotency-Key"] = key
    match_info = {}
    if method == "GET":
        match_info["id"] = path.rpartition("/")[2]
    request = make_mocked_request(
        method, path, headers=headers, payload=content, match_info=match_info, loop=loop
    )
    handler = {
        ("POST", "/v1/pings"): desk.answers.post_ping,
        ("POST", "/v1/leads"): desk.answers.post_lead,
    }.get((method, path), desk.answers.get_lead)
    response = await handler(request)
    return response.status, bytes(response.body)


@dataclass
class Trader:
    """One seller with some leads to sell. `world` gives it workers and draws its mood."""

    world: Any
    name: str
    rng: Random
    told: list[Told] = field(default_factory=list)

    async def trade(self, leads: int) -> None:
        for number in range(leads):
            await asyncio.sleep(self.rng.expovariate(3.0))
            await self._one(number)

    async def _one(self, number: int) -> None:
        fields = self.world.draw_fields(self.rng)
        options: dict[str, Any] = {"external_id": f"{self.name}-{number}"}
        if self.rng.random() < 0.4:
            options["floor"] = str(self.rng.randint(0, 9))
        if self.rng.random() < 0.3:
            options["max_wait_ms"] = self.rng.choice([300, 900, 2500])
        vertical = {"vertical": "loans", **options}
        if self.rng.random() < 0.5:
            shown = {name: fields[name] for name in ("state", "amount")}
            ping = await self._until_answered(
                "/v1/pings", f"p{number}", {**vertical, "fields": shown}
            )
            if ping is None or ping.answers[-1][0] != 200:
                return
            body: dict[str, Any] = {"ping_id": ping.last["ping_id"], "fields": fields}
            if self.rng.random() < 0.3 and ping.last["outcome"] == "bid":
                body["min_price"] = ping.last["price"]
        else:
            body = {**vertical, "fields": fields}
        await self._until_answered("/v1/leads", f"l{number}", body)
        if self.rng.random() < 0.2:  # somebody presses the button twice
            await self._until_answered("/v1/leads", f"l{number}", body)

    async def _until_answered(self, path: str, key: str, body: dict[str, Any]) -> Told | None:
        told = next((one for one in self.told if (one.path, one.key) == (path, key)), None)
        if told is None:
            told = Told(self.name, path, key, body)
            self.told.append(told)
        for _ in range(60):
            answer = await self._try(path, key, body)
            if answer is not None and answer[0] not in {409, 429, 503}:
                told.answers.append(answer)
                return told
            await asyncio.sleep(self.rng.uniform(0.1, 1.0))
        return None

    async def _try(self, path: str, key: str, body: dict[str, Any]) -> tuple[int, bytes] | None:
        """One request to some worker; None when it dies, or when we hang up."""
        worker = self.world.some_worker(self.rng)
        if worker is None:
            return None
        request = worker.take(ask(worker, "POST", path, self.name, key, body))
        if self.rng.random() < self.world.hang_up:
            asyncio.get_running_loop().call_later(self.rng.uniform(0.0, 0.6), request.cancel)
        await asyncio.wait([request])
        if request.cancelled():
            return None
        return request.result()
