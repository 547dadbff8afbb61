"""The peer: what one writes in an afternoon. An aiohttp server that asks every buyer with a
ClientSession and returns the highest bid.

It does less than the exchange: no keys, no schema, no filters, caps or margins, no receipt, no
database. It does the same towards the buyers: the same ping, signed, to the same endpoints, with
one deadline for all. Started by benchmarks.rig, which writes one line of JSON to it:
`{"window_ms": …, "buyers": [{"contract": …, "url": …, "secret": …}, …]}`; `/first/N/v1/pings` asks
the first N of them only.
"""

import asyncio
import secrets
import sys
import threading
import time
from typing import Any

import aiohttp
import orjson
import uvloop
from aiohttp import web

from buyers.signing import read_secret, sign


class Peer:
    def __init__(self, orders: dict[str, Any], session: aiohttp.ClientSession) -> None:
        self._window_ms = orders["window_ms"]
        self._buyers = [
            (b["contract"], b["url"], read_secret(b["secret"])) for b in orders["buyers"]
        ]
        self._session = session

    async def ping(self, request: web.Request) -> web.Response:
        asked = orjson.loads(await request.read())
        ping_id = f"ping_{secrets.token_hex(16)}"
        began_s = time.monotonic()
        first = int(request.match_info.get("first", len(self._buyers)))
        calls = [
            asyncio.create_task(self._ask(contract, url, key, ping_id, asked))
            for contract, url, key in self._buyers[:first]
        ]
        done, silent = await asyncio.wait(calls, timeout=self._window_ms / 1000)
        for call in silent:
            call.cancel()
        bids = [bid for call in done if not call.exception() and (bid := call.result()) is not None]
        answer = {
            "ping_id": ping_id,
            "outcome": "bid" if bids else "no_bid",
            "price": str(max(bids, default=0)),
            "bids": len(bids),
            "elapsed_ms": round((time.monotonic() - began_s) * 1000),
        }
        return web.Response(body=orjson.dumps(answer), content_type="application/json")

    async def _ask(
        self, contract: str, url: str, key: bytes, ping_id: str, asked: dict[str, Any]
    ) -> float | None:
        head = {"type": "ping", "contract": contract, "deadline_ms": self._window_ms}
        body = orjson.dumps(head | {"ping_id": ping_id} | asked)
        webhook_id, now_s = f"{ping_id}.{contract}", int(time.time())
        headers = {
            "Content-Type": "application/json",
            "webhook-id": webhook_id,
            "webhook-timestamp": str(now_s),
            "webhook-signature": sign(key, webhook_id, now_s, body),
        }
        async with self._session.post(url, data=body, headers=headers) as response:
            if response.status != 200:
                return None
            bid = orjson.loads(await response.read()).get("bid")
            return float(bid) if bid else None


async def main(orders: dict[str, Any]) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    watch = threading.Thread(
        target=lambda: (sys.stdin.buffer.read(), loop.call_soon_threadsafe(stop.set)), daemon=True
    )
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        app = web.Application()
        peer = Peer(orders, session)
        app.router.add_post("/v1/pings", peer.ping)
        app.router.add_post(r"/first/{first:\d+}/v1/pings", peer.ping)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        print(f"peer listening on http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
        watch.start()
        await stop.wait()
        await runner.cleanup()


if __name__ == "__main__":
    uvloop.run(main(orjson.loads(sys.stdin.buffer.readline())))
