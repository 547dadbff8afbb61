"""A market with a past: a thousand contracts of a hundred buyers, twenty sellers, three verticals."""

from collections.abc import Iterator
from random import Random
from typing import Any, Final

from benchmarks.market import SECRET
from exchange.apply import read_files
from exchange.demo import CONFIG

VERTICALS: Final = ("auto_insurance", "personal_loan", "solar")
_SHARE: Final = (60, 25, 15)  # of contracts, and of leads
_AGES: Final = ((18, 44), (25, 64), (30, 75), (18, 99))
_STATES: Final = [
    "AL",
    "AK",
    "AZ",
    "AR",
    "CA",
    "CO",
    "CT",
    "DE",
    "FL",
    "GA",
    "HI",
    "ID",
    "IL",
    "IN",
    "IA",
    "KS",
    "KY",
    "LA",
    "ME",
    "MD",
    "MA",
    "MI",
    "MN",
    "MS",
    "MO",
    "MT",
    "NE",
    "NV",
    "NH",
    "NJ",
    "NM",
    "NY",
    "NC",
    "ND",
    "OH",
    "OK",
    "OR",
    "PA",
    "RI",
    "SC",
    "SD",
    "TN",
    "TX",
    "UT",
    "VT",
    "VA",
    "WA",
    "WV",
    "WI",
    "WY",
]
_NAMES: Final = (
    "Harbor",
    "Summit",
    "Beacon",
    "Cedar",
    "Granite",
    "Falcon",
    "Orchard",
    "Pioneer",
    "Liberty",
    "Keystone",
)
_TRADES: Final = (
    "Mutual",
    "Direct",
    "Lending",
    "Home",
    "Agency",
    "Partners",
    "Group",
    "Solar",
    "Quotes",
    "Financial",
)
_TIERS: Final = [
    {"name": "auction", "mode": "auction", "window_ms": 500},
    {"name": "remnant", "mode": "priority"},
]  # fmt: skip


def vertical_of(rng: Random) -> str:
    return rng.choices(VERTICALS, _SHARE)[0]


def documents(
    contracts: int, buyers: int, sellers: int, seed: int
) -> list[tuple[str, dict[str, Any]]]:
    """For exchange.apply; without caps, which are added once there is a past to count."""
    rng = Random(seed)
    return [
        *read_files([CONFIG / "verticals"]),
        *(("plan", {"vertical": vertical, "tiers": _TIERS}) for vertical in VERTICALS),
        *(("seller", _seller(number)) for number in range(sellers)),
        *(("buyer", _buyer(number)) for number in range(buyers)),
        *(("contract", _contract(number, buyers, rng)) for number in range(contracts)),
    ]


def caps(contracts: int, buyers: int, seed: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every fifth contract again, with limits."""
    rng = Random(seed)
    for number in range(contracts):
        contract = _contract(number, buyers, rng)
        if number % 5 == 0:
            contract["caps"] = [
                {"kind": "sales", "period": "day", "limit": 40 + number % 7 * 10},
                {"kind": "spend", "period": "month", "limit": f"{20_000 + number % 9 * 5000}.00"},
            ]
            yield "contract", contract


def _seller(number: int) -> dict[str, Any]:
    return {
        "slug": f"source-{number:02}", "name": f"Source {number:02}", "verticals": list(VERTICALS),
        "margin": {"percent": str(15 + number % 4 * 5), "fixed": "0.10" if number % 3 == 0 else "0"},
        "rate_per_s": 1000,
    }  # fmt: skip


def _buyer(number: int) -> dict[str, Any]:
    """Every third one pays ahead."""
    name = f"{_NAMES[number // 10 % 10]} {_TRADES[number % 10]}"
    slug = f"{name.lower().replace(' ', '-')}{'' if number < 100 else f'-{number // 100}'}"
    return {"slug": slug, "name": name, "credit": "10000.00" if number % 3 == 0 else None}


def _contract(number: int, buyers: int, rng: Random) -> dict[str, Any]:
    """Of one vertical; wants leads of one to three states; one in twenty has a fixed price and waits
    behind the auction, one in ten shares its leads."""
    owner = _buyer(number % buyers)["slug"]
    vertical = VERTICALS[(0, 0, 0, 1, 0, 2, 0, 1, 0, 1, 0, 0, 0, 2, 0, 1, 0, 2, 0, 1)[number % 20]]
    states = rng.sample(_STATES, 1 if vertical == "auto_insurance" else 2)
    filters: list[dict[str, Any]] = [{"field": "state", "op": "in", "value": states}]
    if vertical == "auto_insurance":
        filters.append({"field": "age", "op": "between", "value": list(rng.choice(_AGES))})
    more: dict[str, Any] = {"pricing": {"mode": "bid", "min": "1.00", "max": "150.00"}}
    if number % 20 == 4:
        filters = [{"field": "state", "op": "in", "value": rng.sample(_STATES, 20)}]
        more = {"pricing": {"mode": "fixed", "price": f"{2 + number % 5}.50"}, "tier": "remnant"}
    elif number % 10 == 6:
        more |= {"exclusivity": "shared", "max_shares": 3}
    path = f"http://127.0.0.1:9/{number}"  # nobody is there: history is not to be repeated
    return {
        "slug": f"{owner}-{number:04}", "buyer": owner, "vertical": vertical, "filters": filters,
        "endpoint": {"ping_url": f"{path}/ping", "post_url": f"{path}/post", "secret": SECRET},
        **more,
    }  # fmt: skip
