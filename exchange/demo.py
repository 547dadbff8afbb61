"""The demo: reference buyers, their contracts, sellers with known keys, and a stream of leads."""

import asyncio
import itertools
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson

from buyers.guard import Guard
from exchange.apply import apply, read_files
from exchange.samples import SampleLead, Samples
from exchange.sealing import Vault
from exchange.settings import Settings
from exchange.store.database import Database
from exchange.store.keys import Key, put_key
from exchange.supervisor import Child, Supervisor
from exchange.verticals import Vertical, read_vertical

CONFIG: Final = Path(__file__).resolve().parent.parent / "config"
SELLERS: Final = ("quoteform", "fb-leads")
_LOOPBACK: Final = "127.0.0.0/8"


def demo_settings(settings: Settings) -> Settings:
    """The same with loopback allowed for buyers' endpoints: the reference buyers live there."""
    networks = [*map(str, settings.allowed_networks), _LOOPBACK]
    return Settings.model_validate({**settings.model_dump(), "allowed_networks": networks})


def demo_environment(settings: Settings) -> dict[str, str]:
    """What children need to see the same settings."""
    return {"EXCHANGE_ALLOWED_NETWORKS": ",".join(map(str, settings.allowed_networks))}


async def start_buyers(supervisor: Supervisor) -> tuple[Child, str]:
    """Run the reference buyers; returns their base URL."""
    child = supervisor.add_child(
        "buyers",
        (
            sys.executable, "-m", "buyers", "run", str(CONFIG / "demo" / "buyers.toml"),
            "--listen", supervisor.settings.demo_listen, "--die-with-parent",
        ),
        b"",
    )  # fmt: skip
    await child.ready.wait()
    return child, child.said.rpartition(" ")[2]


async def apply_demo(db: Database, vault: Vault, guard: Guard, buyers_url: str) -> dict[str, str]:
    """Write the demo's documents and keys; returns each demo seller's key.

    The keys follow from the master key: they are the same at every start.
    """
    wanted = read_files(
        [CONFIG / "verticals", CONFIG / "demo" / "demo.toml"], {"demo_buyers": buyers_url}
    )
    await apply(db, vault, guard, wanted, by="demo")
    keys = {}
    for seller in SELLERS:
        keys[seller] = f"lx_seller_demo_{vault.derived_text(f'demo:{seller}')}"
        await put_key(db, Key(f"demo-{seller}", "seller", seller), vault.key_digest(keys[seller]))
    return keys


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one sample lead, as its seller was told."""

    seller: str
    sample: SampleLead
    status: int
    answer: Mapping[str, Any]


def samples(seed: int) -> Samples:
    return Samples(seed, {vertical.slug: vertical for vertical in _verticals()})


def _verticals() -> list[Vertical]:
    return [read_vertical(document) for _, document in read_files([CONFIG / "verticals"])]


async def stream(
    base_url: str, keys: Mapping[str, str], *, seed: int, per_s: float
) -> AsyncIterator[Outcome]:
    """Sell sample leads for ever: every third in two steps, several under way at once."""
    source = samples(seed)
    ended: asyncio.Queue[Outcome] = asyncio.Queue()
    under_way: set[asyncio.Task[None]] = set()
    async with aiohttp.ClientSession() as session:

        async def one(seller: str, sample: SampleLead, *, two_steps: bool) -> None:
            status, answer = await _sell(
                session, base_url, keys[seller], sample, two_steps=two_steps
            )
            await ended.put(Outcome(seller, sample, status, answer))

        async def feed() -> None:
            for number in itertools.count():
                seller = SELLERS[number % len(SELLERS)]
                task = asyncio.create_task(one(seller, source.lead(), two_steps=number % 3 == 2))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
                await asyncio.sleep(1 / per_s)

        feeder = asyncio.create_task(feed())
        try:
            while True:
                yield await ended.get()
        finally:
            for task in (feeder, *under_way):
                task.cancel()
            await asyncio.wait([feeder, *under_way], timeout=2)


async def _sell(
    session: aiohttp.ClientSession, base_url: str, key: str, sample: SampleLead, *, two_steps: bool
) -> tuple[int, Mapping[str, Any]]:
    common = {"sub_id": sample.sub_id, "external_id": sample.external_id}
    lead = {"vertical": sample.vertical, "fields": sample.fields, **common}
    try:
        if two_steps:
            ping = {"vertical": sample.vertical, "fields": sample.ping_fields, **common}
            status, answer = await _post(session, f"{base_url}/v1/pings", key, ping)
            if status != 200 or (answer["outcome"] == "no_bid" and not answer["waterfall"]):
                return status, answer
            lead = {"ping_id": answer["ping_id"], "fields": sample.fields}
        return await _post(session, f"{base_url}/v1/leads", key, lead)
    except aiohttp.ClientError as error:
        return 0, {"outcome": "no answer", "reason": type(error).__name__}


async def _post(
    session: aiohttp.ClientSession, url: str, key: str, body: Mapping[str, Any]
) -> tuple[int, dict[str, Any]]:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    async with session.post(url, data=orjson.dumps(body), headers=headers) as response:
        answer: dict[str, Any] = orjson.loads(await response.read())
        return response.status, answer


def curl_line(base_url: str, key: str) -> str:
    """A command that sells one more lead: a roof in Texas, with the required fields only."""
    verticals = {vertical.slug: vertical for vertical in _verticals()}
    source = Samples(2026, verticals)
    sample = source.lead("solar")
    while (sample.fields["state"], sample.fields["home_owner"]) != ("TX", "own"):
        sample = source.lead("solar")
    required = {field.name for field in verticals["solar"].fields if field.required}
    fields = {name: value for name, value in sample.fields.items() if name in required}
    body = orjson.dumps({"vertical": "solar", "fields": fields}).decode()
    quoted = body.replace("'", "'\\''")
    return (
        f"curl -sS {base_url}/v1/leads -H 'Authorization: Bearer {key}' "
        f"-H 'Content-Type: application/json' -d '{quoted}'"
    )
