"""Who trades in a benchmark: the buyers that are asked, a thousand contracts that are not, and leads
that suit the ones and none of the others.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from random import Random
from typing import Any, Final

import orjson

from exchange.demo import samples
from exchange.samples import SampleLead

SECRET: Final = "whsec_YmVuY2htYXJrcyBvbmx5LCBsb29wYmFjaw=="
SELLER: Final = "bench"
HOME: Final = ("CA", "NY", "IL", "TX", "PA", "MO", "OH", "MN", "AL", "NC", "IN", "MI")
_AWAY: Final = ("AZ", "AR", "CO", "CT", "DE", "GA", "IA", "ID", "KS", "KY", "LA", "MA", "MD", "ME", "MS",
                "MT", "ND", "NE", "NH", "NJ", "NM", "NV", "OK", "OR", "SC", "SD", "TN", "UT", "VA", "VT",
                "WA", "WI", "WV", "WY")  # fmt: skip
_AGE: Final = (25, 64)  # of the consumers whose leads are sent
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True, kw_only=True)
class BuyerSpec:
    """One buyer and its contract.

    With a `manner` it is one of benchmarks.quick_buyers; else a reference buyer, and `temper` any
    further property of its temper. its contract takes leads from `min_age` to `max_age`. `apart`:
    it lives in a process of its own kind, so that what it does holds up no honest buyer.
    """

    name: str
    price: str
    manner: str = ""
    temper: str = ""
    min_age: int = 18
    max_age: int = 75
    apart: bool = False

    @property
    def path(self) -> str:
        return f"/{self.manner}/{self.price}/{self.name}" if self.manner else f"/{self.name}"


@dataclass(frozen=True, slots=True)
class Homes:
    """Base URLs of the buyers' processes."""

    usual: str
    apart: str = ""

    def of(self, buyer: BuyerSpec) -> str:
        return (self.apart if buyer.apart else self.usual) + buyer.path


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """Who is asked, for how long, and how many contracts beside them are looked at in vain."""

    buyers: tuple[BuyerSpec, ...]
    others: int = 0
    window_ms: int = 500
    ping_timeout_ms: int = 2000
    tls: bool = False  # towards the buyers
    filtered: bool = False  # those who are asked are, too, without any others

    @property
    def is_quick(self) -> bool:
        return all(buyer.manner for buyer in self.buyers)


def quick(count: int, manner: str = "now", *, first: int = 0, price: str = "") -> list[BuyerSpec]:
    """b0, b1, … with bids from 10.00 up, or with the price given."""
    return [
        BuyerSpec(name=f"b{n}", price=price or f"{10 + n % 90}.00", manner=manner)
        for n in range(first, first + count)
    ]


# --- documents ------------------------------------------------------------------------------------


def tempers(market: Market) -> str:
    """What the reference buyers are told."""
    return "\n".join(
        f'[[tempers]]\nname = "{buyer.name}"\nsecret = "{SECRET}"\n'
        f'price_min = "{buyer.price}"\nprice_max = "{buyer.price}"\n{buyer.temper}\n'
        for buyer in market.buyers
    )


def documents(market: Market, homes: Homes) -> dict[str, Any]:
    """For `exchange apply`, beside the vertical."""
    tiers = [{"name": "auction", "mode": "auction", "window_ms": market.window_ms}]
    seller = {"slug": SELLER, "name": "Bench", "verticals": ["auto_insurance"]}
    owners = sorted({one["buyer"] for one in _others(market.others, homes)})
    return {
        "plans": [{"vertical": "auto_insurance", "tiers": tiers}],
        "sellers": [seller | {"rate_per_s": 100_000}],
        "buyers": [{"slug": name, "name": name} for name in (*_names(market), *owners)],
        "contracts": [
            *(_contract(buyer, market, homes) for buyer in market.buyers),
            *_others(market.others, homes),
        ],
    }


def _names(market: Market) -> list[str]:
    return [buyer.name for buyer in market.buyers]


def _contract(buyer: BuyerSpec, market: Market, homes: Homes) -> dict[str, Any]:
    """Takes every lead that is sent, if its age is right; is sold to within a cap."""
    ping_timeout = {"ping_timeout_ms": market.ping_timeout_ms}
    return {
        "slug": f"{buyer.name}-auto",
        "buyer": buyer.name,
        "vertical": "auto_insurance",
        "pricing": {"mode": "bid"},
        "endpoint": _endpoint(homes.of(buyer)) | ping_timeout,
        "filters": [
            {"field": "state", "op": "in", "value": sorted((*HOME, "FL", "WA"))},
            {"field": "age", "op": "between", "value": [buyer.min_age, buyer.max_age]},
        ]
        if market.others or market.filtered
        else [],
        "caps": [{"kind": "sales", "period": "day", "limit": 100_000_000}],
    }


def _endpoint(url: str) -> dict[str, Any]:
    return {"ping_url": f"{url}/ping", "post_url": f"{url}/post", "secret": SECRET}


@cache
def _others(count: int, homes: Homes) -> tuple[dict[str, Any], ...]:
    """Contracts that take none of our leads, each for a reason of every day."""
    rng = Random(count)
    zips = [code for code, state in _zips_by_state() if state not in HOME]
    now = datetime.now(UTC)
    closed = [_DAYS[(now + timedelta(days=days)).weekday()] for days in (2, 3, 4)]
    found = []
    for number in range(count):
        away = {"field": "state", "op": "in", "value": rng.sample(_AWAY, rng.randint(1, 12))}
        home = {"field": "state", "op": "in", "value": rng.sample(HOME, rng.randint(2, 12))}
        adult = {"field": "age", "op": "between", "value": [rng.randint(18, 25), 75]}
        contract: dict[str, Any] = {"filters": [away, adult]}
        match number % 20:
            case 0 | 1 | 2:
                senior = {"field": "age", "op": "between", "value": [rng.randint(66, 75), 99]}
                contract = {"filters": [home, senior]}
            case 3 | 4:
                young = {"field": "age", "op": "lt", "value": rng.randint(19, 24)}
                contract = {"filters": [home, young]}
            case 5 | 6 | 7:
                near = rng.sample(zips, min(len(zips), rng.choice((20, 100, 500))))
                contract = {"filters": [{"field": "zip", "op": "in", "value": near}, adult]}
            case 8:
                contract = {
                    "filters": [home, adult],
                    "schedule": {"hours": {day: ["09:00-17:00"] for day in closed}},
                }
            case 9:
                soldiers = {"field": "military", "op": "eq", "value": "active"}
                broke = {"field": "bankruptcy", "op": "eq", "value": True}
                contract = {"filters": [home, soldiers, {"not": broke}]}
            case 10 if number % 40 == 10:
                used_up = {"kind": "sales", "period": "day", "limit": 0}
                contract = {"filters": [home, adult], "caps": [used_up]}
            case 11:
                contract["filters"].append({"field": "home_owner", "op": "eq", "value": "own"})
        found.append(
            contract
            | {
                "slug": f"other-{number:04}",
                "buyer": f"away-{number % 100:02}",
                "vertical": "auto_insurance",
                "pricing": {"mode": "bid"},
                "endpoint": _endpoint(f"{homes.usual}/now/99.00/other-{number:04}"),
            }
        )
    return tuple(found)


def peer_orders(market: Market, homes: Homes) -> dict[str, Any]:
    """What benchmarks.bare_aiohttp is told: those that the exchange would ask, in its order."""
    return {
        "window_ms": market.window_ms,
        "buyers": [
            {
                "contract": f"{buyer.name}-auto",
                "url": f"{homes.of(buyer)}/ping",
                "secret": SECRET,
            }
            for buyer in market.buyers
        ],
    }


# --- leads ----------------------------------------------------------------------------------------


def ping_bodies(count: int, seed: int, *, age: int | None = None) -> list[bytes]:
    """Pings of people who cannot exist, at real places; no two alike."""
    return [
        orjson.dumps({"vertical": lead.vertical, "sub_id": lead.sub_id, "fields": fields})
        for lead, fields in _leads(count, seed, age)
    ]


def post_rests(count: int, seed: int) -> list[bytes]:
    """What follows `{"ping_id":"…",` in the post of each of `ping_bodies`, with the person."""
    return [orjson.dumps({"fields": lead.fields})[1:] for lead, _ in _leads(count, seed, None)]


def _leads(count: int, seed: int, age: int | None) -> Iterator[tuple[SampleLead, dict[str, Any]]]:
    for lead in _suited(count, seed):
        fields = dict(lead.ping_fields)
        yield lead, fields if age is None else fields | {"age": age}


@cache
def _suited(count: int, seed: int) -> Sequence[SampleLead]:
    """The leads of a stream that suit the buyers who are asked, and none of the others."""
    source = samples(seed)
    found: list[SampleLead] = []
    while len(found) < count:
        lead = source.lead("auto_insurance")
        seen = lead.ping_fields
        age = seen["age"]
        assert isinstance(age, int)
        at_home, right_age = seen["state"] in HOME, _AGE[0] <= age <= _AGE[1]
        if at_home and right_age and seen.get("military") != "active":
            found.append(lead)
    return found


@cache
def _zips_by_state() -> Sequence[tuple[str, str]]:
    from exchange.samples import places

    return [(place[0], place[2]) for place in places()]
