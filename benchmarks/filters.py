"""What screening costs: thousands of contracts with mixed filters, judged one after the other."""

import hashlib
import time
from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import Any, Final

from benchmarks.load import percentile
from benchmarks.scenarios import Findings
from buyers.contract import Buyer, Contract, Endpoint, Pricing, PricingMode
from exchange.apply import read_files
from exchange.catalogue import Market, market_of
from exchange.conditions import filter_value
from exchange.demo import CONFIG, samples
from exchange.eligibility import Asker, Screening, Usage, screen
from exchange.fields import STATES
from exchange.geo import load_places, within
from exchange.verticals import Vertical, read_vertical

CONTRACTS: Final = 10_000
LEADS: Final = 100
_CIRCLES: Final = 500  # different ones
_NOW: Final = datetime(2026, 11, 25, 15, tzinfo=UTC)
_ASKER: Final = Asker(seller="quoteform")


async def filters(seed: int, contracts: int = CONTRACTS, leads: int = LEADS) -> Findings:
    """Each lead against every contract with the plain evaluator, as it is; nobody is asked."""
    await load_places({"op": "zip_within"})
    vertical = _vertical("auto_insurance")
    made = _contracts(vertical, contracts, seed)
    began = time.perf_counter()
    market = market_of(vertical, None, made)
    compiled_s = time.perf_counter() - began
    source = samples(seed)
    took_us, verdicts = [], hashlib.blake2b(digest_size=8)
    eligible = judged = 0
    for _ in range(leads):
        fields = source.lead("auto_insurance").ping_fields
        began = time.perf_counter()
        found = _screen(market, fields)
        took_us.append(1e6 * (time.perf_counter() - began))
        eligible += len(found.eligible)
        judged += len(found.eligible) + len(found.skipped) + found.unsuited
        verdicts.update(" ".join(one.slug for one in found.eligible).encode())
    return Findings(
        scenario="filters",
        about=f"{contracts} contracts with 1 to 5 filters each, {leads} leads screened one by one",
        columns=("µs",),
        rows=(
            ("screen, p50", (percentile(took_us, 50),)),
            ("screen, p99", (percentile(took_us, 99),)),
            ("a contract, p50", (percentile(took_us, 50) / contracts,)),
            ("eligible a lead", (eligible / leads,)),
        ),
        work=verdicts.hexdigest(),
        complaints=() if judged == contracts * leads else ("a contract has no verdict",),
        notes=(),
        facts={"compile_s": round(compiled_s, 3)},
    )


def _screen(market: Market, fields: dict[str, Any]) -> Screening:
    names = market.checks.ping_field_names
    return screen(
        market.contracts,
        fields,
        _ASKER,
        market.plan,
        Usage(),
        now=_NOW,
        known=names.__contains__,
        kept=names.__contains__,
    )


def _vertical(slug: str) -> Vertical:
    documents = read_files([CONFIG / "verticals"])
    return next(read_vertical(one) for kind, one in documents if one["slug"] == slug)


def _contracts(vertical: Vertical, count: int, seed: int) -> list[Contract]:
    rng = Random(seed)
    codes = [code for center in ("10001", "60601", "90210") for code in _near(center)]
    circles = [{"zip": rng.choice(codes), "miles": rng.randint(5, 100)} for _ in range(_CIRCLES)]
    buyer = Buyer(id=1, slug="acme", name="Acme", currency="USD", timezone="UTC", active=True)
    endpoint = Endpoint(
        dialect="standard_v1", ping_url="https://acme.example/ping",
        post_url="https://acme.example/post", status_url=None, ping_timeout_ms=400,
        post_timeout_ms=5000, idempotent=True, accepts_test=False,
    )  # fmt: skip
    return [
        Contract(
            id=number, slug=f"acme-{number:05}", buyer=buyer, vertical=vertical.slug, active=True,
            tier="auction", priority=10, weight=100, percent_ppm=None, adjustment_ppm=1_000_000,
            endpoint=endpoint, secret=b"", pricing=Pricing(mode=PricingMode.BID),
            filters=tuple(filter_value(one, vertical, within) for one in _mix(rng, circles)),
        )
        for number in range(count)
    ]  # fmt: skip


def _near(code: str) -> list[str]:
    circle = within(code, Decimal(100))
    assert circle is not None, "its place is known"
    return [other for other in map("{:05}".format, range(100_000)) if other in circle]


def _mix(rng: Random, circles: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One to five conditions, as buyers write them; the place comes first."""
    young = rng.randint(18, 30)
    place = [
        _cond("state", "in", rng.sample(sorted(STATES), rng.randint(1, 20))),
        _cond("zip", "zip_within", rng.choice(circles)),
        _cond("zip", "prefix", str(rng.randint(10, 99))),
        {"not": _cond("state", "in", rng.sample(sorted(STATES), rng.randint(1, 10)))},
    ]
    person = [
        _cond("age", "between", [young, rng.randint(40, 80)]),
        _cond("currently_insured", "eq", rng.random() < 0.5),
        {"any": [_cond("home_owner", "eq", "own"), _cond("military", "ne", "none")]},
        _cond("drivers.0.age", "gte", young),
        _cond("bankruptcy", "exists", False),
    ]
    return [rng.choice(place), *rng.sample(person, rng.randint(0, 4))]


def _cond(field: str, op: str, value: object) -> dict[str, Any]:
    return {"field": field, "op": op, "value": value}
