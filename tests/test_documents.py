"""Documents of contracts, buyers, sellers and plans: defaults, refusals, every problem at once."""

import copy
from datetime import UTC, date, datetime
from typing import Any

import pytest
from pydantic import BaseModel

from buyers.contract import (
    AnyOf,
    Cap,
    CapKind,
    Condition,
    Contract,
    Endpoint,
    Not,
    Op,
    Pricing,
    PricingMode,
)
from exchange.checking import _canonical
from exchange.conditions import CONDITIONS_MAX, filter_problems, filter_value
from exchange.documents import (
    MASK,
    BuyerDocument,
    ContractDocument,
    PlanDocument,
    SellerDocument,
    buyer_value,
    canonical,
    check_seller,
    contract_value,
    plan_value,
    seller_value,
)
from exchange.errors import DocumentsInvalid
from exchange.plan import Tier, TierMode
from exchange.verticals import Margin, read_vertical
from tests.making import SECRET, a_buyer

VERTICAL = read_vertical(
    {
        "slug": "auto_insurance",
        "name": "Auto insurance",
        "fields": [
            {"name": "state", "type": "state", "stage": "ping"},
            {"name": "zip", "type": "zip", "stage": "ping"},
            {"name": "age", "type": "integer", "min": 16, "max": 110, "stage": "ping"},
            {"name": "income", "type": "decimal", "stage": "ping"},
            {"name": "insured", "type": "boolean", "stage": "ping"},
            {"name": "credit", "type": "enum", "values": ["good", "fair", 3], "stage": "ping"},
            {"name": "moved", "type": "date", "stage": "ping"},
            {"name": "seen", "type": "datetime", "stage": "ping"},
            {"name": "make", "type": "string", "stage": "ping"},
            {"name": "phone", "type": "phone", "stage": "post"},
            {
                "name": "drivers",
                "type": "array",
                "stage": "ping",
                "items": {
                    "type": "object",
                    "fields": [{"name": "age", "type": "integer", "required": True}],
                },
            },
        ],
    }
)
LEAST = {
    "slug": "acme-ca-auto",
    "buyer": "acme",
    "vertical": "auto_insurance",
    "endpoint": {"ping_url": "https://acme.example/ping", "post_url": "https://acme.example/post"},
    "pricing": {"mode": "bid"},
}
# contract.md's example without what this version does not enforce.
EXAMPLE: dict[str, Any] = {
    "slug": "acme-ca-auto", "buyer": "acme", "vertical": "auto_insurance", "active": True,
    "tier": "auction", "priority": 10, "weight": 100,
    "endpoint": {"dialect": "standard_v1", "ping_url": "https://acme.example/ping",
                 "post_url": "https://acme.example/post", "status_url": None, "secret": SECRET,
                 "ping_timeout_ms": 400, "post_timeout_ms": 5000, "idempotent": True,
                 "accepts_test": False},
    "pricing": {"mode": "bid", "min": "2.00", "max": "80.00"},
    "filters": [{"field": "state", "op": "in", "value": ["CA", "TX"]},
                {"field": "age", "op": "between", "value": [25, 65]},
                {"any": [{"field": "credit", "op": "eq", "value": "good"}]},
                {"not": {"field": "insured", "op": "eq", "value": False}}],
    "caps": [{"kind": "sales", "period": "day", "limit": 100},
             {"kind": "spend", "period": "month", "limit": "5000.00"},
             {"kind": "concurrent", "limit": 5}],
    "exclusivity": "exclusive", "max_shares": 1, "dedupe_days": 0,
    "sellers": {"allow": [], "deny": ["bad-source"]},
}  # fmt: skip


def but(document: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The document with dotted paths (`endpoint__max_qps`) set anew; `...` takes one out."""
    changed = copy.deepcopy(document)
    for path, value in changes.items():
        *outer, name = path.split("__")
        inner: dict[str, Any] = changed
        for part in outer:
            inner = inner[part]
        if value is ...:
            inner.pop(name)
        else:
            inner[name] = value
    return changed


def problems(model: type[BaseModel], document: Any, path: str = "") -> dict[str, str]:
    with pytest.raises(DocumentsInvalid) as caught:
        check_seller(document, path) if model is SellerDocument else canonical(
            model, document, path
        )
    return {problem.path: problem.code for problem in caught.value.problems}


# --- defaults --------------------------------------------------------------------------------------


def test_a_contract_has_the_defaults_of_the_contract_page() -> None:
    """What is left out is written out, exactly as contract.md §4 lists it."""
    expected = {
        "slug": "acme-ca-auto",
        "buyer": "acme",
        "vertical": "auto_insurance",
        "active": True,  # an admin's; a buyer's key creates it switched off
        "tier": "auction",
        "priority": 10,
        "weight": 100,
        "percent": None,
        "adjustment": "1.00",
        "endpoint": {
            "dialect": "standard_v1",
            "ping_url": "https://acme.example/ping",
            "post_url": "https://acme.example/post",
            "status_url": None,
            "secret": None,  # generated and shown once
            "ping_timeout_ms": 400,
            "post_timeout_ms": 5000,
            "max_qps": None,
            "idempotent": False,
            "accepts_test": False,
        },
        "pricing": {"mode": "bid", "min": None, "max": None, "price": None},
        "filters": [],
        "caps": [],
        "schedule": None,
        "exclusivity": "exclusive",
        "max_shares": 1,
        "dedupe_days": 0,
        "sellers": {"allow": [], "deny": []},
        "returns": None,
    }

    assert expected == canonical(ContractDocument, LEAST)


def test_a_buyer_a_seller_and_a_plan_have_their_defaults() -> None:
    """Postpaid in dollars and UTC; no verticals, the vertical's margin, 100 a second; all active."""
    buyer = {"slug": "acme", "name": "Acme", "currency": "USD", "credit": None,
             "low_balance_stop": "0.00", "timezone": "UTC", "caps": [], "active": True}  # fmt: skip
    seller = {"slug": "quoteform", "name": "Quoteform", "verticals": [], "margin": None,
              "rate_per_s": 100, "callback_url": None, "callback_secret": None, "active": True}  # fmt: skip
    plan = {
        "vertical": "solar",
        "tiers": [{"name": "auction", "mode": "auction", "window_ms": None, "period": None}],
    }

    assert buyer == canonical(BuyerDocument, {"slug": "acme", "name": "Acme"})
    assert seller == check_seller({"slug": "quoteform", "name": "Quoteform"})
    assert plan == canonical(
        PlanDocument, {"vertical": "solar", "tiers": [{"name": "auction", "mode": "auction"}]}
    )
    assert 500 == plan_value(plan).tiers[0].window_ms


@pytest.mark.parametrize("document", [LEAST, EXAMPLE])
def test_a_canonical_document_reads_as_itself(document: dict[str, Any]) -> None:
    """GET, then PUT of the same, changes nothing."""
    once = canonical(ContractDocument, document)

    assert once == canonical(ContractDocument, once)


def test_the_example_contract_is_read() -> None:
    """Every part of contract.md's example that this version enforces becomes a value."""
    document = canonical(ContractDocument, EXAMPLE)
    assert () == filter_problems(document["filters"], VERTICAL, "filters")

    expected = Contract(
        id=7,
        slug="acme-ca-auto",
        buyer=a_buyer(),
        vertical="auto_insurance",
        active=True,
        tier="auction",
        priority=10,
        weight=100,
        percent_ppm=None,
        adjustment_ppm=1_000_000,
        endpoint=Endpoint(
            dialect="standard_v1",
            ping_url="https://acme.example/ping",
            post_url="https://acme.example/post",
            status_url=None,
            ping_timeout_ms=400,
            post_timeout_ms=5000,
            idempotent=True,
            accepts_test=False,
        ),
        secret=b"acme-california-auto!",
        pricing=Pricing(mode=PricingMode.BID, min_micros=2_000_000, max_micros=80_000_000),
        filters=(
            Condition(field="state", op=Op.IN, value=frozenset({"CA", "TX"})),
            Condition(field="age", op=Op.BETWEEN, value=(25, 65)),
            AnyOf((Condition(field="credit", op=Op.EQ, value="good"),)),
            Not(Condition(field="insured", op=Op.EQ, value=False)),
        ),
        caps=(
            Cap(kind=CapKind.SALES, period="day", limit=100),
            Cap(kind=CapKind.SPEND, period="month", limit=5_000_000_000),
            Cap(kind=CapKind.CONCURRENT, period="total", limit=5),
        ),
        sellers_deny=frozenset({"bad-source"}),
    )
    assert expected == contract_value(7, document, a_buyer(), VERTICAL, SECRET, active=True)


def test_pausing_is_the_and_of_document_and_row() -> None:
    """A paused contract stays paused whatever its document says, and the other way round."""
    document = canonical(ContractDocument, LEAST)
    off = canonical(ContractDocument, LEAST | {"active": False})

    found = [
        contract_value(1, body, a_buyer(), VERTICAL, SECRET, active=active).active
        for body, active in ((document, True), (document, False), (off, True))
    ]
    assert [True, False, False] == found


def test_a_buyer_a_seller_and_a_plan_become_values() -> None:
    """Money as micros, percentages as parts per million."""
    buyer = canonical(
        BuyerDocument,
        {"slug": "acme", "name": "Acme", "credit": 1000, "timezone": "America/New_York",
         "caps": [{"kind": "spend", "period": "day", "limit": 12.5}]},
    )  # fmt: skip
    seller = check_seller(
        {"slug": "quoteform", "name": "Quoteform", "verticals": ["solar"],
         "margin": {"percent": "12.5", "fixed": "0.10"}, "rate_per_s": 5}
    )  # fmt: skip
    tiers = [{"name": "auction", "mode": "auction", "window_ms": 300},
             {"name": "shares", "mode": "percentage", "period": "week"}]  # fmt: skip
    plan = canonical(PlanDocument, {"vertical": "solar", "tiers": tiers})

    assert "1000.00" == buyer["credit"]
    assert (Cap(kind=CapKind.SPEND, period="day", limit=12_500_000),) == (
        buyer_value(1, buyer, active=True).caps
    )
    assert Margin(percent_ppm=125_000, fixed_micros=100_000) == (
        seller_value(1, seller, active=True).margin
    )
    assert (
        Tier(name="auction", mode=TierMode.AUCTION, window_ms=300),
        Tier(name="shares", mode=TierMode.PERCENTAGE, period="week"),
    ) == plan_value(plan).tiers


# --- problems --------------------------------------------------------------------------------------

BID_FIXED = {"mode": "fixed", "price": "5"}
WRONG: list[tuple[type[BaseModel], Any, dict[str, str]]] = [
    # (model, document, path and code of every problem)
    (SellerDocument, {"slug": "q", "name": "Q", "callback_url": "", "callback_secret": "sesame"},
     {"callback_url": "too_short", "callback_secret": "bad_format"}),
    (SellerDocument, {"slug": "q", "name": "Q", "callback_secret": SECRET}, {"callback_secret": "not_allowed"}),
    (ContractDocument, {}, {"slug": "required", "buyer": "required", "vertical": "required",
                            "endpoint": "required", "pricing": "required"}),
    (ContractDocument, but(LEAST, colour="red"), {"colour": "unknown_field"}),
    (ContractDocument, but(LEAST, max_shares=3), {"max_shares": "not_allowed"}),  # exclusive
    (ContractDocument, but(LEAST, exclusivity="shared", max_shares=0), {"max_shares": "out_of_range"}),
    (ContractDocument, but(LEAST, exclusivity="shared", max_shares=11), {"max_shares": "out_of_range"}),
    (ContractDocument, but(LEAST, caps=[{"kind": "sales", "period": "week", "limit": 5, "pace": "even"}]),
     {"caps.0.pace": "not_allowed"}),
    (ContractDocument, but(LEAST, caps=[{"kind": "sales", "period": "day", "limit": 5, "pace": "odd"}]),
     {"caps.0.pace": "not_allowed"}),
    (BuyerDocument, {"slug": "acme", "name": "Acme", "low_balance_stop": "-1",
                     "caps": [{"kind": "sales", "period": "day", "limit": 5, "pace": "even"}]},
     {"low_balance_stop": "negative"}),
    (BuyerDocument, {"slug": "acme", "name": "Acme",
                     "caps": [{"kind": "sales", "period": "day", "limit": 5, "pace": "even"}]},
     {"caps.0.pace": "not_allowed"}),
    (ContractDocument, but(LEAST, endpoint__colour=1), {"endpoint.colour": "unknown_field"}),
    (ContractDocument, but(LEAST, slug="Acme"), {"slug": "bad_format"}),
    (ContractDocument, but(LEAST, slug="acme\n"), {"slug": "bad_format"}),
    (ContractDocument, but(LEAST, slug="a" * 65), {"slug": "bad_format"}),
    (ContractDocument, but(LEAST, priority="10"), {"priority": "invalid_type"}),  # strict types
    (ContractDocument, but(LEAST, priority=True), {"priority": "invalid_type"}),
    (ContractDocument, but(LEAST, priority=-1), {"priority": "out_of_range"}),
    (ContractDocument, but(LEAST, active=1), {"active": "invalid_type"}),
    (ContractDocument, but(LEAST, weight=1.5), {"weight": "invalid_type"}),
    (ContractDocument, but(LEAST, percent="100.01"), {"percent": "out_of_range"}),
    (ContractDocument, but(LEAST, percent="33.33333"), {"percent": "too_precise"}),
    (ContractDocument, but(LEAST, adjustment="0"), {"adjustment": "out_of_range"}),
    (ContractDocument, but(LEAST, adjustment="NaN"), {"adjustment": "not_a_number"}),
    (ContractDocument, but(LEAST, endpoint__dialect="soap"), {"endpoint.dialect": "not_allowed"}),
    (ContractDocument, but(LEAST, endpoint__post_url=...), {"endpoint.post_url": "required"}),
    (ContractDocument, but(LEAST, endpoint__ping_url=...), {"endpoint.ping_url": "required"}),
    (ContractDocument, but(LEAST, endpoint__ping_url=None), {"endpoint.ping_url": "required"}),
    (ContractDocument, but(LEAST, endpoint__secret="acme"), {"endpoint.secret": "bad_format"}),
    (ContractDocument, but(LEAST, endpoint__secret="whsec_é"), {"endpoint.secret": "bad_format"}),
    (ContractDocument, but(LEAST, endpoint__ping_timeout_ms=0),
     {"endpoint.ping_timeout_ms": "out_of_range"}),
    (ContractDocument, but(LEAST, pricing__mode="auction"), {"pricing.mode": "not_allowed"}),
    (ContractDocument, but(LEAST, pricing__min="-1"), {"pricing.min": "negative"}),
    (ContractDocument, but(LEAST, pricing__max="1,50"), {"pricing.max": "not_a_number"}),
    (ContractDocument, but(LEAST, pricing__max=10**5000), {"pricing.max": "too_large"}),
    (ContractDocument, but(LEAST, pricing__min="5", pricing__max="4.99"),
     {"pricing.max": "out_of_range"}),
    (ContractDocument, but(LEAST, pricing__price="5"), {"pricing.price": "unknown_field"}),
    (ContractDocument, but(LEAST, pricing={"mode": "fixed"}), {"pricing.price": "required"}),
    (ContractDocument, but(LEAST, pricing={"mode": "fixed", "price": 0}),
     {"pricing.price": "out_of_range"}),
    (ContractDocument, but(LEAST, pricing=BID_FIXED | {"min": "1", "max": 2}),
     {"pricing.min": "unknown_field", "pricing.max": "unknown_field"}),
    (ContractDocument, but(LEAST, sellers={"deny": ["Bad!"]}), {"sellers.deny.0": "bad_format"}),
    (ContractDocument, but(LEAST, filters={}), {"filters": "invalid_type"}),
    # caps
    (ContractDocument, but(LEAST, caps=[{"kind": "leads", "period": "day", "limit": 1}]),
     {"caps.0.kind": "not_allowed"}),
    (ContractDocument, but(LEAST, caps=[{"kind": "sales", "limit": 1}]),
     {"caps.0.period": "required"}),
    (ContractDocument, but(LEAST, caps=[{"kind": "concurrent", "period": "day", "limit": 1}]),
     {"caps.0.period": "unknown_field"}),
    (ContractDocument, but(LEAST, caps=[{"kind": "sales", "period": "year", "limit": 1}]),
     {"caps.0.period": "not_allowed"}),
    (ContractDocument, but(LEAST, caps=[{"kind": "sales", "period": "day"}]),
     {"caps.0.limit": "required"}),
    (ContractDocument, but(LEAST, caps=[{"kind": "sales", "period": "day", "limit": "5"}]),
     {"caps.0.limit": "invalid_type"}),
    (ContractDocument, but(LEAST, caps=[{"kind": "sales", "period": "day", "limit": True}]),
     {"caps.0.limit": "invalid_type"}),
    (ContractDocument, but(LEAST, caps=[{"kind": "sales", "period": "day", "limit": -1}]),
     {"caps.0.limit": "out_of_range"}),
    (ContractDocument, but(LEAST, caps=[{"kind": "spend", "period": "day", "limit": "lots"}]),
     {"caps.0.limit": "not_a_number"}),
    (ContractDocument, but(LEAST, caps=[{"kind": "spend", "period": "day", "limit": "-5"}]),
     {"caps.0.limit": "negative"}),
    (ContractDocument, but(LEAST, caps=[{"kind": "sales", "period": "day", "limit": n}
                                        for n in (1, 2)]), {"caps": "duplicate"}),
    (ContractDocument, but(LEAST, caps=[{"kind": "sales"}, {"kind": "spend", "period": "day",
                                                            "limit": -1}]),
     {"caps.0.limit": "required", "caps.1.limit": "negative"}),
    # many at once
    (ContractDocument,
     but(LEAST, slug="!", buyer=5, weight=-1, dedupe_days=-1, endpoint__max_qps=0,
         endpoint__post_url="x", pricing__min="x", colour=1,
         caps=[{"kind": "pings", "limit": 1}]),
     {"slug": "bad_format", "buyer": "invalid_type", "weight": "out_of_range",
      "dedupe_days": "out_of_range", "endpoint.max_qps": "out_of_range",
      "endpoint.post_url": "too_short", "pricing.min": "not_a_number", "colour": "unknown_field",
      "caps.0.period": "required"}),
    # buyers and sellers
    (BuyerDocument, {"slug": "acme", "name": "", "currency": "usd", "credit": "-1",
                     "timezone": "Mars/Olympus"},
     {"name": "too_short", "currency": "bad_format", "credit": "negative",
      "timezone": "unknown_timezone"}),
    (BuyerDocument, {"slug": "acme", "name": "Acme", "timezone": "../../etc/passwd"},
     {"timezone": "unknown_timezone"}),
    (SellerDocument, {"slug": "q", "name": "Q", "verticals": ["Solar"], "rate_per_s": 0,
                      "margin": {"percent": "101", "fixed": "-1", "colour": 1}},
     {"verticals.0": "bad_format", "rate_per_s": "out_of_range",
      "margin.percent": "out_of_range", "margin.fixed": "negative",
      "margin.colour": "unknown_field"}),
    (SellerDocument, {"slug": "q", "name": "Q", "margin": "20"}, {"margin": "invalid_type"}),
    (SellerDocument, {"slug": "q", "name": "Q", "margin": {"percent": "x"}},
     {"margin.percent": "not_a_number"}),
    # plans
    (PlanDocument, {"vertical": "solar", "tiers": []}, {"tiers": "too_short"}),
    (PlanDocument, {"vertical": "solar", "tiers": [{"name": "a", "mode": "dutch"}]},
     {"tiers.0.mode": "not_allowed"}),
    (PlanDocument, {"vertical": "solar", "tiers": [{"name": "a", "mode": "price"},
                                                   {"name": "b", "mode": "auction"}]},
     {"tiers.1.mode": "not_allowed"}),
    (PlanDocument, {"vertical": "solar", "tiers": [{"name": "a", "mode": "auction"},
                                                   {"name": "a", "mode": "auction"}]},
     {"tiers.1.mode": "not_allowed", "tiers.1.name": "duplicate"}),
    (PlanDocument, {"vertical": "solar",
                    "tiers": [{"name": "a", "mode": "price", "window_ms": 500, "period": "day"},
                              {"name": "b", "mode": "percentage"}]},
     {"tiers.0.window_ms": "unknown_field", "tiers.0.period": "unknown_field",
      "tiers.1.period": "required"}),
    (PlanDocument, {"vertical": "solar",
                    "tiers": [{"name": "a", "mode": "auction", "window_ms": 9}]},
     {"tiers.0.window_ms": "out_of_range"}),
]  # fmt: skip


@pytest.mark.parametrize(("model", "document", "expected"), WRONG, ids=range(len(WRONG)))
def test_every_problem_is_told_at_once_where_it_is(
    model: type[BaseModel], document: Any, expected: dict[str, str]
) -> None:
    """By dotted path and stable code; faults between properties too, and nothing else is raised."""
    assert expected == problems(model, document)
    assert {f"contracts.0.{path}": code for path, code in expected.items()} == (
        problems(model, document, "contracts.0")
    )


def test_no_message_repeats_a_value() -> None:
    """A secret or a price sent in the wrong place is not echoed."""
    document = but(LEAST, endpoint__secret="hunter2", pricing__min="hunter2", slug="hunter2!")

    with pytest.raises(DocumentsInvalid) as caught:
        canonical(ContractDocument, document)

    assert "hunter2" not in str(caught.value)


def test_the_mask_of_a_secret_may_be_written_back() -> None:
    """It reads masked, and the mask passes."""
    document = canonical(ContractDocument, but(LEAST, endpoint__secret=MASK))

    assert MASK == document["endpoint"]["secret"]


@pytest.mark.parametrize("name", ["filters", "schedule"])
def test_a_document_without_end_is_refused(name: str) -> None:
    """Hundreds of levels are a problem like any other; pydantic would give up writing them."""
    deep: list[Any] = []
    for _ in range(400):
        deep = [deep]

    assert {"": "too_deep"} == problems(ContractDocument, but(LEAST, **{name: deep}))


# --- filters ---------------------------------------------------------------------------------------


def cond(field: Any, op: Any, value: Any) -> dict[str, Any]:
    return {"field": field, "op": op, "value": value}


def nested(levels: int) -> dict[str, Any]:
    filter_ = cond("age", "eq", 20)
    for _ in range(levels - 1):
        filter_ = {"not": filter_}
    return filter_


BAD_FILTERS: list[tuple[Any, dict[str, str]]] = [
    # (filter, path and code)
    ("state = CA", {"filters.0": "invalid_type"}),
    ({}, {"filters.0": "bad_format"}),
    ({"field": "state", "op": "eq"}, {"filters.0": "bad_format"}),
    (cond("state", "eq", "CA") | {"note": 1}, {"filters.0": "bad_format"}),
    ({"any": []}, {"filters.0": "bad_format"}),  # true for nobody
    ({"any": "state"}, {"filters.0": "bad_format"}),
    ({"any": [1], "not": {}}, {"filters.0": "bad_format"}),
    ({"not": []}, {"filters.0.not": "invalid_type"}),
    ({"any": [{"not": cond("boat", "eq", 1)}]}, {"filters.0.any.0.not.field": "unknown_field"}),
    (cond("boat", "eq", 1), {"filters.0.field": "unknown_field"}),
    (cond(5, "eq", 1), {"filters.0.field": "unknown_field"}),
    (cond("state.x", "eq", 1), {"filters.0.field": "unknown_field"}),
    (cond("drivers.age", "eq", 1), {"filters.0.field": "unknown_field"}),  # which driver?
    (cond("drivers.0.name", "eq", 1), {"filters.0.field": "unknown_field"}),
    (cond("drivers.-1.age", "eq", 1), {"filters.0.field": "unknown_field"}),
    (cond("drivers.０.age", "eq", 1), {"filters.0.field": "unknown_field"}),  # full-width
    (cond(f"drivers.{'9' * 5000}.age", "eq", 1), {"filters.0.field": "unknown_field"}),
    (cond("age", "like", 1), {"filters.0.op": "not_allowed"}),
    (cond("age", [], 1), {"filters.0.op": "not_allowed"}),
    (cond("state", "lt", "CA"), {"filters.0.op": "not_allowed"}),  # states have no order
    (cond("insured", "between", [False, True]), {"filters.0.op": "not_allowed"}),
    (cond("age", "prefix", "2"), {"filters.0.op": "not_allowed"}),
    (cond("drivers", "eq", []), {"filters.0.op": "not_allowed"}),
    (cond("age", "eq", "25"), {"filters.0.value": "invalid"}),
    (cond("age", "eq", 25.5), {"filters.0.value": "invalid"}),
    (cond("age", "eq", True), {"filters.0.value": "invalid"}),
    (cond("age", "eq", None), {"filters.0.value": "invalid"}),
    (cond("age", "in", 25), {"filters.0.value": "invalid"}),
    (cond("age", "in", []), {"filters.0.value": "invalid"}),
    (cond("age", "in", [25, "26"]), {"filters.0.value.1": "invalid"}),
    (cond("age", "between", [25]), {"filters.0.value": "invalid"}),
    (cond("age", "between", [65, 25]), {"filters.0.value": "invalid"}),
    (cond("income", "gt", "lots"), {"filters.0.value": "invalid"}),
    (cond("income", "gt", "NaN"), {"filters.0.value": "invalid"}),
    (cond("income", "gt", float("inf")), {"filters.0.value": "invalid"}),
    (cond("income", "gt", True), {"filters.0.value": "invalid"}),
    (cond("insured", "eq", 1), {"filters.0.value": "invalid"}),
    (cond("credit", "eq", "bad"), {"filters.0.value": "invalid"}),  # not one of its values
    (cond("credit", "in", [["good"]]), {"filters.0.value.0": "invalid"}),
    (cond("credit", "eq", 3.0), {"filters.0.value": "invalid"}),
    (cond("state", "eq", "XX"), {"filters.0.value": "invalid"}),
    (cond("zip", "in", ["787"]), {"filters.0.value.0": "invalid"}),  # that is a prefix
    (cond("zip", "prefix", ""), {"filters.0.value": "invalid"}),
    (cond("zip", "prefix", 787), {"filters.0.value": "invalid"}),
    (cond("zip", "prefix", "90210-1"), {"filters.0.value": "invalid"}),  # leads have five digits
    (cond("zip", "prefix", "TX"), {"filters.0.value": "invalid"}),
    (cond("phone", "prefix", "(512)"), {"filters.0.value": "invalid"}),  # leads have +1512…
    (cond("state", "prefix", "Cal"), {"filters.0.value": "invalid"}),
    (cond("drivers", "prefix", "x"), {"filters.0.op": "not_allowed"}),
    (cond("drivers.0", "eq", {}), {"filters.0.op": "not_allowed"}),
    (cond("moved", "gt", "yesterday"), {"filters.0.value": "invalid"}),
    (cond("moved", "gt", "2026-02-30"), {"filters.0.value": "invalid"}),
    (cond("age", "exists", "yes"), {"filters.0.value": "invalid"}),
    (cond("age", "exists", None), {"filters.0.value": "invalid"}),
    (nested(5), {"filters.0.not.not.not.not": "too_deep"}),
]


@pytest.mark.parametrize(("filter_", "expected"), BAD_FILTERS, ids=range(len(BAD_FILTERS)))
def test_a_filter_that_cannot_be_judged_is_a_problem(
    filter_: Any, expected: dict[str, str]
) -> None:
    """Checked against the vertical when it is written, so that no ping meets it."""
    found = filter_problems([filter_], VERTICAL, "filters")

    assert expected == {problem.path: problem.code for problem in found}


def test_the_problems_of_all_filters_are_told() -> None:
    """One wrong filter does not hide the next."""
    documents = [cond("boat", "eq", 1), cond("age", "eq", 20), cond("age", "eq", "x")]

    found = filter_problems(documents, VERTICAL, "contracts.3.filters")

    assert ["contracts.3.filters.0.field", "contracts.3.filters.2.value"] == [
        problem.path for problem in found
    ]


def test_a_filter_is_no_program() -> None:
    """200 conditions pass, 201 are too many, and nesting without end is no way around it."""
    one = cond("age", "eq", 20)
    assert () == filter_problems([one] * CONDITIONS_MAX, VERTICAL, "filters")

    many = filter_problems([{"any": [one] * CONDITIONS_MAX}, one], VERTICAL, "filters")
    assert [("filters", "too_long")] == [(problem.path, problem.code) for problem in many]

    deep = filter_problems([nested(900)], VERTICAL, "filters")
    assert ["too_deep"] == [problem.code for problem in deep]
    lists: list[Any] = []
    for _ in range(900):
        lists = [lists]
    assert ["invalid_type"] == [p.code for p in filter_problems(lists, VERTICAL, "filters")]


def test_four_levels_are_read() -> None:
    """The deepest filter that is allowed is a value."""
    assert () == filter_problems([nested(4)], VERTICAL, "filters")
    assert Not(Not(Not(Condition(field="age", op=Op.EQ, value=20)))) == (
        filter_value(nested(4), VERTICAL)
    )


NORMALISED = [
    # (field, op, as written, as compared)
    ("state", "in", ["ca", " TX "], frozenset({"CA", "TX"})),
    ("state", "prefix", "c", "C"),
    ("zip", "eq", "90210-1234", "90210"),
    ("zip", "in", ["90210-1234", "902101234", " 78704 "], frozenset({"90210", "78704"})),
    ("zip", "prefix", "902", "902"),
    ("phone", "prefix", "+1512", "+1512"),
    ("drivers.0.age", "gte", 18, 18),
    ("phone", "eq", "(512) 555-0147", "+15125550147"),
    ("make", "eq", " Ford ", "Ford"),
    ("moved", "lt", "2026-01-31", "2026-01-31"),
    # an instant, not its text: "…:00.5Z" would sort before "…:00Z"
    ("seen", "gte", "2026-01-31T09:30:00+02:00", datetime(2026, 1, 31, 7, 30, tzinfo=UTC)),
]


@pytest.mark.parametrize(("field", "op", "written", "compared"), NORMALISED)
def test_a_conditions_value_is_normalised_like_the_field(
    field: str, op: str, written: Any, compared: Any
) -> None:
    """Else `90210-1234` would be accepted and never match."""
    document = cond(field, op, written)
    assert () == filter_problems([document], VERTICAL, "filters")

    assert Condition(field=field, op=Op(op), value=compared) == filter_value(document, VERTICAL)


def test_toml_dates_are_read() -> None:
    """A TOML date in a filter is stored as text and compares as one."""
    document = canonical(
        ContractDocument, but(LEAST, filters=[cond("moved", "gt", date(2026, 1, 31))])
    )

    assert Condition(field="moved", op=Op.GT, value="2026-01-31") == (
        filter_value(document["filters"][0], VERTICAL)
    )


NUL: list[tuple[dict[str, Any], list[str]]] = [
    # (a document, where it holds NUL)
    ({"name": "a\0b"}, ["name"]),
    ({"filters": [{"value": ["x"] * 9 + ["\0"]}]}, ["filters.0.value.9"]),
    ({"fields": {"a\0": 1}}, ["fields"]),
    ({"number": 10**30, "name": "\0"}, ["name"]),  # too large a number to be written as text
    ({"half": "\ud800", "name": "\0"}, ["name"]),
    ({"name": "\\u0000", "number": 10**30}, []),  # six characters
    ({"name": "\\u0000"}, []),
    ({"name": "\\\0"}, ["name"]),
]


@pytest.mark.parametrize(("document", "expected"), NUL, ids=range(len(NUL)))
def test_nul_is_found_wherever_it_stands(document: dict[str, Any], expected: list[str]) -> None:
    """Postgres cannot keep it; each place is named."""
    with pytest.raises(DocumentsInvalid) as caught:
        _canonical("seller", document, "seller x")

    told = [one.path for one in caught.value.problems if "NUL" in one.message]
    assert [f"seller x.{path}" for path in expected] == told
