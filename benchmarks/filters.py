"""What screening costs: by the index and by the plain judge, and what one contract's change costs.

Of however many contracts, ten are eligible for each lead, and a few more suit it and are closed or
full; every other fails a filter. All figures are CPU time.
"""

import hashlib
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache, partial
from random import Random
from typing import Any, Final

from benchmarks.findings import Findings, Goal
from benchmarks.load import percentile
from buyers.contract import Buyer, Contract, Endpoint, Filter, Pricing, PricingMode, Schedule
from exchange.apply import read_files
from exchange.catalogue import Entry, Market, Shelf, entry_of, market_of
from exchange.conditions import filter_value
from exchange.demo import CONFIG, samples
from exchange.eligibility import Asker, Screening, Usage, compile_filters, first_failing, screen
from exchange.fields import STATES
from exchange.geo import load_places, within
from exchange.reasons import SkipReason
from exchange.verticals import Vertical, read_vertical

CONTRACTS: Final = 10_000
LEADS: Final = 10
ROUNDS: Final = 25
ELIGIBLE: Final = 10
_SPARED: Final = 3  # that suit and are closed, and as many that are full
_CIRCLES: Final = 500  # different ones
_LONG: Final = 40_000  # values of the longest sets
_CHANGED: Final = 50  # contracts, one after the other
_NOW: Final = datetime(2026, 11, 25, 15, tzinfo=UTC)  # a Wednesday
_ASKER: Final = Asker(seller="quoteform")
_NIGHTS: Final = Schedule(timezone="America/New_York", hours=(((0, 360),),) * 7)
_DAYS: Final = Schedule(timezone="America/New_York", hours=(((480, 1200),),) * 7)
_ZONES: Final = ("America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles")

Row = tuple[float | None, ...]


async def filters(seed: int, contracts: int = CONTRACTS, leads: int = LEADS) -> Findings:
    """The same leads against a hundredth, a tenth and all of the contracts; nobody is asked."""
    await load_places({"op": "zip_within"})
    vertical, source = _vertical("auto_insurance"), samples(seed)
    asked = [source.lead("auto_insurance").ping_fields for _ in range(leads)]
    made = _Maker(vertical, asked, Random(seed)).contracts(contracts)
    sizes = sorted({max(2 * ELIGIBLE, contracts // part) for part in (100, 10, 1)})
    found = [_measure(vertical, made[:size], asked) for size in sizes]
    plain, index = ([one[name][0] for one in found] for name in ("plain, p50", "index, p50"))
    return Findings(
        scenario="filters",
        about=f"{leads} leads, each against contracts with 1 to 5 filters, µs of CPU a lead; "
        f"{ELIGIBLE} contracts are eligible",
        columns=tuple(f"{size} contracts" for size in sizes),
        rows=tuple((name, tuple(one[name][0] for one in found)) for name in found[0]),
        work=_hash(made, asked, vertical),
        complaints=_complaints(vertical, made, asked),
        notes=(),
        facts={"plain_to_index": round(plain[-1] / index[-1], 1)},
        goals=(
            Goal(
                text=f"eligibility, µs at {sizes[-1]} contracts of which {ELIGIBLE} are eligible",
                target="<= 50", figure=f"{index[-1]:.1f}", met=index[-1] <= 50,
            ),
            Goal(
                text=f"eligibility, growth from {sizes[0]} to {sizes[-1]} contracts",
                target="<= 10 x", figure=f"{index[-1] / index[0]:.1f}", met=index[-1] <= 10 * index[0],
            ),
        ),
    )  # fmt: skip


def _measure(
    vertical: Vertical, made: list[Contract], asked: list[dict[str, Any]]
) -> dict[str, tuple[float]]:
    market, usage = market_of(vertical, None, made), _usage(made)
    by_index = _us(lambda: _by_index(market, usage, asked), ROUNDS)
    by_plain = _us(lambda: _by_plain(market, usage, asked), 3)
    usual = [entry_of(one) for one in made[-_CHANGED:]]
    long = [entry_of(_with_long_set(one, vertical)) for one in made[-_CHANGED:]]
    return {
        "index, p50": (percentile(by_index, 50) / len(asked),),
        "index, p99": (percentile(by_index, 99) / len(asked),),
        "plain, p50": (percentile(by_plain, 50) / len(asked),),
        "a contract put": (_put_us(market, usual),),
        f"one with {_LONG} ZIPs": (_put_us(market, long),),
        "and the next snapshot": (percentile(_us(lambda: Shelf(market).done(market), ROUNDS), 50),),
        "the whole index": (sum(_us(lambda: market_of(vertical, None, made, market), 1)),),
    }


def _us(work: Callable[[], object], rounds: int) -> list[float]:
    took = []
    for _ in range(rounds):
        began_ns = time.thread_time_ns()
        work()
        took.append((time.thread_time_ns() - began_ns) / 1000)
    return took


def _put_us(market: Market, entries: list[Entry]) -> float:
    """Each makes a snapshot of its own, as changes come; the one before is given up."""
    took = []
    for entry in entries:
        shelf = Shelf(market)
        took += _us(partial(shelf.put, entry), 1)
        market = shelf.done(market)
    return percentile(took, 50)


def _by_index(market: Market, usage: Usage, asked: list[dict[str, Any]]) -> list[Screening]:
    names = market.checks.ping_field_names.__contains__
    plan, judge = market.plan, market.index.screen
    return [
        judge(fields, _ASKER, plan, usage, now=_NOW, known=names, kept=names) for fields in asked
    ]


def _by_plain(market: Market, usage: Usage, asked: list[dict[str, Any]]) -> list[Screening]:
    names = market.checks.ping_field_names.__contains__
    plan, entries = market.plan, market.contracts
    return [
        screen(entries, fields, _ASKER, plan, usage, now=_NOW, known=names, kept=names)
        for fields in asked
    ]


def _complaints(
    vertical: Vertical, made: list[Contract], asked: list[dict[str, Any]]
) -> tuple[str, ...]:
    market, usage = market_of(vertical, None, made), _usage(made)
    quick, plain = _by_index(market, usage, asked), _by_plain(market, usage, asked)
    wrong = []
    if quick != plain:
        wrong.append("the index and the plain judge differ")
    if any(len(one.eligible) != ELIGIBLE for one in quick):
        wrong.append(f"{[len(one.eligible) for one in quick]} are eligible")
    if any(len(one.skipped) != 2 * _SPARED for one in quick):
        wrong.append("who is closed or full is not named")
    return tuple(wrong)


def _hash(made: list[Contract], asked: list[dict[str, Any]], vertical: Vertical) -> str:
    found = _by_index(market_of(vertical, None, made), _usage(made), asked)
    told = [(one.unsuited, [c.slug for c in one.eligible], len(one.skipped)) for one in found]
    return hashlib.blake2b(repr(told).encode(), digest_size=8).hexdigest()


# --- what is screened -----------------------------------------------------------------------------


class _Maker:
    """Contracts of which so many suit each of the leads, and no other suits any."""

    def __init__(self, vertical: Vertical, asked: list[dict[str, Any]], rng: Random) -> None:
        self._vertical = vertical
        self._asked = asked
        self._rng = rng
        codes = [code for center in ("10001", "60601", "90210") for code in _near(center)]
        self._circles = [
            {"zip": rng.choice(codes), "miles": rng.randint(5, 40)} for _ in range(_CIRCLES)
        ]
        self._long = [frozenset(rng.sample(_all_zips(), _LONG)) for _ in range(8)]

    def contracts(self, count: int) -> list[Contract]:
        spared = [_NIGHTS] * _SPARED + [None] * _SPARED
        found = [_contract(n, self._suiting(), _DAYS if n % 2 else None) for n in range(ELIGIBLE)]
        found += [_contract(ELIGIBLE + n, self._suiting(), hours) for n, hours in enumerate(spared)]
        while len(found) < count:
            wanted = self._unsuited()
            found.append(_contract(len(found), wanted, self._hours()))
        return found

    def _suiting(self) -> tuple[Filter, ...]:
        codes = sorted(STATES)
        every = [_cond("state", "in", codes), _cond("zip", "exists", True)]
        ages = [_cond("age", "between", [self._rng.randint(0, 17), 120])]
        return self._read(
            [*every, *ages, {"not": _cond("zip", "prefix", "zz")}][: 1 + self._rng.randint(1, 3)]
        )

    def _unsuited(self) -> tuple[Filter, ...]:
        while True:
            wanted = self._mix()
            compiled = compile_filters(wanted)
            if all(first_failing(compiled, fields, bool) for fields in self._asked):
                return wanted

    def _mix(self) -> tuple[Filter, ...]:
        """One to five conditions, as buyers write them; the place comes first."""
        rng, codes = self._rng, sorted(STATES)
        young = rng.randint(18, 60)
        place = rng.choice(
            [
                _cond("state", "in", rng.sample(codes, rng.randint(1, 3))),
                _cond("zip", "in", rng.sample(_all_zips(), 100)),
                _cond("zip", "zip_within", rng.choice(self._circles)),
                _cond("zip", "prefix", str(rng.randint(100, 999))),
                {"not": _cond("state", "in", rng.sample(codes, len(codes) - 2))},
                _cond("zip", "in", rng.choice(self._long)),
            ]
        )
        person = [
            _cond("age", "between", [young, young + rng.randint(2, 20)]),
            _cond("currently_insured", "eq", rng.random() < 0.5),
            {"any": [_cond("home_owner", "eq", "own"), _cond("military", "ne", "none")]},
            _cond("drivers.0.age", "gte", young),
            _cond("bankruptcy", "exists", False),
        ]
        return self._read([place, *rng.sample(person, rng.randint(0, 4))])

    def _read(self, documents: list[dict[str, Any]]) -> tuple[Filter, ...]:
        return tuple(filter_value(one, self._vertical, within) for one in documents)

    def _hours(self) -> Schedule | None:
        rng = self._rng
        if rng.random() < 0.7:
            return None
        begins = rng.randrange(0, 1200, 30)
        day = ((begins, begins + rng.randrange(60, 240, 30)),)
        return Schedule(timezone=rng.choice(_ZONES), hours=(day,) * 5 + ((), ()))


def _usage(made: list[Contract]) -> Usage:
    """A tenth has used up a cap; of those that suit, the last ones."""
    suiting = range(ELIGIBLE + _SPARED, ELIGIBLE + 2 * _SPARED)
    others = [one.id for one in made[suiting.stop :] if one.id % 10 == 0]
    return Usage(full=dict.fromkeys([*suiting, *others], SkipReason.CAP_SALES))


def _contract(number: int, wanted: tuple[Filter, ...], hours: Schedule | None) -> Contract:
    buyer = Buyer(id=1, slug="acme", name="Acme", currency="USD", timezone="UTC", active=True)
    endpoint = Endpoint(
        dialect="standard_v1", ping_url="https://acme.example/ping",
        post_url="https://acme.example/post", status_url=None, ping_timeout_ms=400,
        post_timeout_ms=5000, idempotent=True, accepts_test=False,
    )  # fmt: skip
    return Contract(
        id=number, slug=f"acme-{number:05}", buyer=buyer, vertical="auto_insurance", active=True,
        tier="auction", priority=10, weight=100, percent_ppm=None, adjustment_ppm=1_000_000,
        endpoint=endpoint, secret=b"", pricing=Pricing(mode=PricingMode.BID), filters=wanted,
        schedule=hours,
    )  # fmt: skip


def _with_long_set(contract: Contract, vertical: Vertical) -> Contract:
    long = filter_value(_cond("zip", "in", _all_zips()[:_LONG]), vertical)
    return _contract(contract.id, (long,), contract.schedule)


def _vertical(slug: str) -> Vertical:
    documents = read_files([CONFIG / "verticals"])
    return next(read_vertical(one) for kind, one in documents if one["slug"] == slug)


@cache
def _all_zips() -> list[str]:
    return [f"{n:05}" for n in range(100_000)]


def _near(code: str) -> list[str]:
    circle = within(code, Decimal(100))
    assert circle is not None, "its place is known"
    return [other for other in _all_zips() if other in circle]


def _cond(field: str, op: str, value: object) -> dict[str, Any]:
    return {"field": field, "op": op, "value": value}
