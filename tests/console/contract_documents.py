"""Contracts of every shape, for tests of the form: each is one that the API takes."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exchange.conditions import filter_problems
from exchange.documents import ContractDocument, canonical
from exchange.errors import DocumentsInvalid
from exchange.fields import STATES
from exchange.verticals import read_vertical

VERTICAL = {
    "slug": "everything", "name": "Everything", "margin": {"percent": "20"},
    "fields": [
        {"name": "state", "type": "state", "stage": "ping", "required": True},
        {"name": "zip", "type": "zip", "stage": "ping"},
        {"name": "age", "type": "integer", "stage": "ping"},
        {"name": "income", "type": "decimal", "stage": "ping"},
        {"name": "insured", "type": "boolean", "stage": "ping"},
        {"name": "credit", "type": "enum", "stage": "ping", "values": ["good", "fair", 0, 500]},
        {"name": "make", "type": "string", "stage": "ping"},
        {"name": "born", "type": "date", "stage": "ping"},
        {"name": "seen_at", "type": "datetime", "stage": "ping"},
        {"name": "ip", "type": "ip", "stage": "ping"},
        {"name": "page", "type": "url", "stage": "ping"},
        {"name": "drivers", "type": "array", "stage": "ping", "items": {"type": "object", "fields": [
            {"name": "age", "type": "integer"},
            {"name": "tickets", "type": "array", "items": {"type": "integer"}}]}},
        {"name": "phone", "type": "phone", "stage": "post", "required": True},
        {"name": "email", "type": "email", "stage": "post"},
    ],
}  # fmt: skip
READ = read_vertical(VERTICAL)
_WHOLE = st.integers(-(2**53) + 1, 2**53 - 1)
_TEXT = st.text("abcXYZ 0-9,;é'\"<&>", min_size=1, max_size=12).filter(
    lambda one: one.strip() == one
)
_CENTS = st.integers(0, 10**8).map(lambda one: f"{one // 100}.{one % 100:02}")
_DATES = st.dates().filter(lambda one: one.year > 1000).map(lambda one: one.isoformat())
_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "state": st.sampled_from(sorted(STATES)) | st.sampled_from(["ca", "Tx"]),
    "zip": st.integers(501, 99950).map(lambda one: f"{one:05}") | st.sampled_from(["90210-1234"]),
    "age": _WHOLE,
    "income": _CENTS | st.integers(-(10**6), 10**6) | st.floats(-1e9, 1e9).map(lambda one: round(one, 3)),
    "insured": st.booleans(),
    "credit": st.sampled_from(["good", "fair", 0, 500]),
    "make": _TEXT,
    "born": _DATES,
    "seen_at": _DATES.map(lambda one: f"{one}T09:30:00Z") | _DATES.map(lambda one: f"{one} 09:30:00.5+02:00"),
    "ip": st.sampled_from(["10.0.0.1", "2001:db8::1"]),
    "page": st.sampled_from(["https://example.com/a,b;c?d=e f".replace(" ", "+"), "http://example.org"]),
    "drivers.0.age": _WHOLE,
    "drivers.17.tickets.3": _WHOLE,
    "phone": st.sampled_from(["+12125550123", "(212) 555-0124"]),
    "email": st.sampled_from(["ann@example.com", "bo.b+x@example.org"]),
}  # fmt: skip
_ORDERED = {"age", "income", "born", "seen_at", "drivers.0.age", "drivers.17.tickets.3"}
_PREFIXES = {"credit": st.just("go"), "make": _TEXT, "zip": st.sampled_from(["9", "902"]), "state": st.just("c"), "phone": st.just("+1212")}  # fmt: skip


@st.composite
def _condition(draw: st.DrawFn) -> dict[str, Any]:
    field = draw(st.sampled_from([*_VALUES, "drivers"]))
    if field == "drivers":
        return {"field": field, "op": "exists", "value": draw(st.booleans())}
    one = _VALUES[field]
    ops = {
        "eq": one, "ne": one, "in": st.lists(one, min_size=1, max_size=6),
        "not_in": st.lists(one, min_size=1, max_size=6), "exists": st.booleans(),
    }  # fmt: skip
    if field in _ORDERED:
        ops |= dict.fromkeys(("lt", "lte", "gt", "gte"), one)
        ops["between"] = st.lists(one, min_size=2, max_size=2)
    if field in _PREFIXES:
        ops["prefix"] = _PREFIXES[field]
    op = draw(st.sampled_from(list(ops)))
    return {"field": field, "op": op, "value": draw(ops[op])}


def _groups(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(inner, min_size=1, max_size=3)
    return several.map(lambda parts: {"any": parts}) | inner.map(lambda part: {"not": part})


FILTERS = st.lists(st.recursive(_condition(), _groups, max_leaves=4), max_size=5).filter(
    lambda found: not filter_problems(found, READ, "filters")
)
# What a stored contract may hold after its vertical changed: no input could show it.
FOREIGN = st.sampled_from([
    {"field": "gone", "op": "eq", "value": "x"},
    {"field": "credit", "op": "in", "value": ["good", "platinum"]},
    {"field": "state", "op": "eq", "value": "Ontario"},
    {"field": "make", "op": "lt", "value": "a"},
    {"field": "age", "op": "between", "value": [1, 2, 3]},
    {"field": "age", "op": "eq", "value": "many\nlines"},
    {"field": "zip", "op": "zip_within", "value": {"zip": "90210", "miles": 5, "of": "x"}},
    {"field": "drivers.200.age", "op": "eq", "value": 1},
    {"any": "not a list"},
    {"not": None},
    "no filter at all",
])  # fmt: skip
_CAP_KEYS = [(kind, period) for kind in ("sales", "spend", "pings") for period in ("hour", "day", "week", "month", "total")] + [("concurrent", None)]  # fmt: skip


@st.composite
def _cap(draw: st.DrawFn, kind: str, period: str | None) -> dict[str, Any]:
    cap: dict[str, Any] = {"kind": kind, "limit": draw(st.integers(0, 10**9))}
    if kind == "spend":
        cap["limit"] = draw(_CENTS)
    if period:
        cap["period"] = period
    if kind in {"sales", "spend"} and period == "day" and draw(st.booleans()):
        cap["pace"] = "even"
    return cap


_CAPS = st.lists(st.sampled_from(_CAP_KEYS), unique=True, max_size=5).flatmap(
    lambda keys: st.tuples(*(_cap(*key) for key in keys)).map(list)
)
_RANGES = st.lists(st.integers(0, 1440), unique=True, max_size=6).map(
    lambda minutes: [
        f"{a // 60:02}:{a % 60:02}-{b // 60:02}:{b % 60:02}"
        for a, b in zip(*[iter(sorted(minutes))] * 2, strict=False)
    ]
)
_SCHEDULE = st.none() | st.fixed_dictionaries(
    {"timezone": st.sampled_from(["UTC", "America/New_York", "Asia/Kathmandu"])},
    optional={
        "hours": st.none() | st.dictionaries(st.sampled_from(["mon", "wed", "sat", "sun"]), _RANGES),
        "holidays": st.lists(_DATES, max_size=3, unique=True),
    },
)  # fmt: skip
_RETURNS = st.none() | st.fixed_dictionaries(
    {"window_days": st.integers(1, 365)},
    optional={
        "percent": st.sampled_from(["10", "33.3333"]),
        "reasons": st.none() | st.lists(st.sampled_from(["duplicate", "fraud", "other"]), min_size=1, unique=True),
        "approval": st.sampled_from(["manual", "automatic"]),
        "reverse_payout": st.booleans(), "restore_cap": st.booleans(),
    },
)  # fmt: skip


@st.composite
def _contract(draw: st.DrawFn) -> dict[str, Any]:
    is_bid = draw(st.booleans())
    is_shared = draw(st.booleans())
    low, high = sorted(draw(st.tuples(st.integers(1, 100), st.integers(1, 100))))
    pricing = (
        {"mode": "bid", "min": draw(st.sampled_from([None, str(low)])), "max": draw(st.sampled_from([None, f"{high}.5"]))}
        if is_bid
        else {"mode": "fixed", "price": f"{high}.125"}
    )  # fmt: skip
    endpoint = {
        "ping_url": "https://acme.example/ping" if is_bid or draw(st.booleans()) else None,
        "post_url": "https://acme.example/post?a=b&c=%22",
        "status_url": draw(st.sampled_from([None, "https://acme.example/status"])),
        "ping_timeout_ms": draw(st.integers(10, 10_000)),
        "post_timeout_ms": draw(st.integers(100, 120_000)),
        "max_qps": draw(st.none() | st.integers(1, 1000)),
        "idempotent": draw(st.booleans()),
        "accepts_test": draw(st.booleans()),
    }
    return {
        "slug": "acme-all", "buyer": "acme", "vertical": "everything", "active": draw(st.booleans()),
        "tier": draw(st.sampled_from(["auction", "gone"])), "priority": draw(st.integers(0, 100)),
        "weight": draw(st.integers(0, 100)), "percent": draw(st.sampled_from([None, "12.5"])),
        "adjustment": draw(st.sampled_from(["1", "0.9512"])), "endpoint": endpoint, "pricing": pricing,
        "filters": draw(FILTERS), "caps": draw(_CAPS), "schedule": draw(_SCHEDULE),
        "exclusivity": "shared" if is_shared else "exclusive",
        "max_shares": draw(st.integers(1, 10)) if is_shared else 1,
        "dedupe_days": draw(st.integers(0, 90)), "returns": draw(_RETURNS),
        "sellers": {"allow": draw(st.lists(st.sampled_from(["roofquotes", "gone-seller"]), unique=True)),
                    "deny": draw(st.lists(st.sampled_from(["roofquotes", "other-gone"]), unique=True))},
    }  # fmt: skip


def is_valid(document: dict[str, Any]) -> bool:
    try:
        canonical(ContractDocument, document)
    except DocumentsInvalid:
        return False
    return True


CONTRACTS = _contract().filter(is_valid).map(lambda found: canonical(ContractDocument, found))


def several(strategy: st.SearchStrategy[Any], count: int) -> list[Any]:
    """So many examples, to be tried together."""
    found: list[Any] = []

    @settings(
        max_examples=count, database=None, suppress_health_check=list(HealthCheck), deadline=None
    )
    @given(strategy)
    def gather(one: Any) -> None:
        found.append(one)

    gather()
    return found
