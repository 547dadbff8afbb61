"""What TLS to the buyers costs: the exchange and the peer, in plain and behind a local authority.

The authority's certificate is given as an operator with one of his own would: SSL_CERT_FILE.
"""

from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

from benchmarks import rig
from benchmarks.findings import Findings, Goal, Row, ratio, shown
from benchmarks.market import Market, ping_bodies, quick
from benchmarks.pings import fewest_asked, pinned, texts
from benchmarks.sides import (
    Side,
    all_complaints,
    all_notes,
    alternate,
    exchange_side,
    facts_of,
    hash_of,
    peer_side,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSize:
    pin: bool = True
    connections: int = 16
    seconds: float = 4.0
    rounds: int = 3
    others: int = 990
    bodies: int = 2000


QUICK: Final = TlsSize(seconds=1.5, rounds=2, bodies=500)


async def tls(seed: int, size: TlsSize = TlsSize()) -> Findings:
    """Four servers in turn, connections kept alive: handshakes are in the warm-up."""
    bodies = ping_bodies(size.bodies, seed)
    order = {"kind": "closed", "connections": size.connections, "bodies": texts(bodies)}
    sides: list[Side] = []
    async with AsyncExitStack() as stack:
        gun = await stack.enter_async_context(rig.gun(pin=size.pin))
        houses = []
        for kind in ("plain", "TLS"):
            market = Market(buyers=tuple(quick(10)), others=size.others, tls=kind == "TLS")
            house = await stack.enter_async_context(rig.started(market, pin=size.pin))
            start = rig.peer(market, house.homes, pin=size.pin, certificates=house.certificates)
            peer = await stack.enter_async_context(start)
            sides += [
                exchange_side(house, f"exchange, {kind}"),
                peer_side(peer, house, f"peer, {kind}"),
            ]
            houses.append(house)
        for side in sides:
            await side.fire(gun, order | {"seconds": min(1.0, size.seconds)})
        await alternate(gun, sides, "all", order | {"seconds": size.seconds}, rounds=size.rounds)
        asked = [await fewest_asked(house, bodies[:3]) for house in houses]
    complaints = [f"{count} were asked, not 10" for count in asked if count != 10]
    return _findings(size, sides, hash_of(bodies, size), complaints)


def _findings(size: TlsSize, sides: list[Side], work: str, complaints: list[str]) -> Findings:
    cpu = [side.cpu_ms("all") for side in sides]
    rows: list[Row] = [
        ("CPU per ping, ms", tuple(cpu)),
        ("  of which worker", tuple(side.cpu_ms("all", "worker") for side in sides)),
        ("pings/s", tuple(side.per_s("all") for side in sides)),
        ("p50, ms", tuple(side.said("all", "p50_ms") for side in sides)),
        ("p99, ms", tuple(side.said("all", "p99_ms") for side in sides)),
        ("CPU of plain", (None, None, ratio(cpu[2], cpu[0]), ratio(cpu[3], cpu[1]))),
    ]
    return Findings(
        scenario="tls",
        about=f"10 buyers at once, {size.connections} connections, median of {size.rounds} × "
        f"{size.seconds:g} s; {pinned(size.pin)}",
        columns=tuple(side.name for side in sides),
        rows=tuple(rows),
        work=work,
        complaints=(*all_complaints(sides), *complaints),
        notes=all_notes(sides),
        facts=facts_of(sides),
        goals=(
            Goal(text="CPU per ping with TLS to buyers, of plain", target="stated",
                 figure=shown(ratio(cpu[2], cpu[0])), met=None),
        ),
    )  # fmt: skip
