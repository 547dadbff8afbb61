"""Who may be asked: every reason in its order, every operator, and a naive evaluator beside it."""

import operator
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buyers.contract import AnyOf, Condition, Contract, Filter, Not, Op, Schedule
from exchange.eligibility import Asker, Usage, compile_filter, first_failing, screen
from exchange.plan import default_plan
from exchange.reasons import SkipReason
from tests.making import a_buyer, a_contract, an_endpoint

PLAN = default_plan("auto_insurance")
ASKER = Asker(seller="quoteform")
FIELDS: dict[str, Any] = {
    "state": "TX",
    "zip": "78704",
    "age": 34,
    "insured": True,
    "credit": "good",
    "income": "52000.5",  # a decimal field travels as text
    "born": "1991-05-04",
    "drivers": [{"age": 34, "sr22": False}, {"age": 17}],
    "roof": {"kind": "tile", "slope": {"degrees": 30}},
}

NOW = datetime(2026, 11, 25, 15, 0, tzinfo=UTC)  # a Wednesday


def has(field: str, op: Op, value: Any) -> Condition:
    return Condition(field=field, op=op, value=value)


def everything(_field: str) -> bool:
    return True


def judged(
    contract: Contract,
    asker: Asker = ASKER,
    usage: Usage | None = None,
    known: Callable[[str], bool] = everything,
) -> tuple[SkipReason, str | None] | None:
    compiled = tuple(map(compile_filter, contract.filters))
    found = screen(
        [(contract, compiled)], FIELDS, asker, PLAN, usage or Usage(), now=NOW, known=known
    )
    assert 1 == len(found.eligible) + len(found.skipped), "exactly one verdict per contract"
    return (found.skipped[0].reason, found.skipped[0].detail) if found.skipped else None


OLD = (has("age", Op.GTE, 65),)
SHUT = Schedule(timezone="UTC", hours=((),) * 7)
FULL = Usage({1: SkipReason.CAP_SALES})
EXCLUDED = Asker(seller="quoteform", excluded=frozenset({"acme"}))
TEST = Asker(seller="quoteform", test=True)
DENIED = {"sellers_deny": frozenset({"quoteform"})}
# Everything is wrong with this contract at once; each row below mends one thing more.
WRONG: dict[str, Any] = {
    "active": False,
    "buyer": a_buyer(active=False),
    "tier": "silver",
    "filters": OLD,
    **DENIED,
}

VERDICTS = [
    # (contract, asker, usage, why it is skipped), in order of precedence
    (WRONG, EXCLUDED, FULL, (SkipReason.PAUSED, None)),  # contract and buyer
    (WRONG | {"active": True}, EXCLUDED, FULL, (SkipReason.PAUSED, None)),  # the buyer
    (WRONG | {"buyer": a_buyer()}, EXCLUDED, FULL, (SkipReason.PAUSED, None)),  # the contract
    (WRONG | {"active": True, "buyer": a_buyer()}, EXCLUDED, FULL, (SkipReason.NO_TIER, None)),
    ({"filters": OLD, **DENIED}, TEST, FULL, (SkipReason.NO_TEST, None)),
    ({"filters": OLD, **DENIED}, EXCLUDED, FULL, (SkipReason.EXCLUDED, None)),
    ({"filters": OLD, **DENIED}, ASKER, FULL, (SkipReason.SELLER_NOT_ALLOWED, None)),
    (
        {"filters": OLD, "sellers_allow": frozenset({"other"})},
        ASKER,
        FULL,
        (SkipReason.SELLER_NOT_ALLOWED, None),
    ),
    # a seller both allowed and denied is denied
    (
        {"sellers_allow": frozenset({"quoteform"}), **DENIED},
        ASKER,
        Usage(),
        (SkipReason.SELLER_NOT_ALLOWED, None),
    ),
    ({"filters": OLD}, ASKER, FULL, (SkipReason.FILTERED, "age")),
    ({"schedule": SHUT}, ASKER, FULL, (SkipReason.CLOSED, None)),  # before its caps are looked at
    ({}, ASKER, FULL, (SkipReason.CAP_SALES, None)),  # the cached use, last of all
    ({}, ASKER, Usage({1: SkipReason.CAP_SPEND}), (SkipReason.CAP_SPEND, None)),
    ({}, ASKER, Usage({1: SkipReason.CREDIT}), (SkipReason.CREDIT, None)),
    ({}, ASKER, Usage({1: SkipReason.CAP_CONCURRENT}), (SkipReason.CAP_CONCURRENT, None)),
    ({}, ASKER, Usage({2: SkipReason.CAP_SALES}), None),  # another contract's
    # a test touches no cap
    ({"endpoint": an_endpoint(accepts_test=True)}, TEST, FULL, None),
    ({"endpoint": an_endpoint(accepts_test=True)}, ASKER, Usage(), None),
    ({"sellers_allow": frozenset({"quoteform"})}, ASKER, Usage(), None),
    ({}, ASKER, Usage(), None),
]


@pytest.mark.parametrize(
    ("contract", "asker", "usage", "verdict"), VERDICTS, ids=range(len(VERDICTS))
)
def test_the_first_reason_found_is_the_one_told(
    contract: dict[str, Any],
    asker: Asker,
    usage: Usage,
    verdict: tuple[SkipReason, str | None] | None,
) -> None:
    """Pause, tier, test, exclusion, seller, filters, room: in this order."""
    assert verdict == judged(a_contract(**contract), asker, usage)


def test_the_verdicts_keep_the_order_of_the_contracts() -> None:
    """Eligible and skipped contracts are told in the order they were given."""
    contracts = [a_contract(slug, active=slug in "bd") for slug in "abcd"]

    found = screen(
        [(c, ()) for c in contracts], FIELDS, ASKER, PLAN, Usage(), now=NOW, known=everything
    )

    assert ["b", "d"] == [contract.slug for contract in found.eligible]
    assert ["a", "c"] == [one.contract for one in found.skipped]


D = Decimal
CONDITIONS: list[tuple[str, Op, Any, bool]] = [
    # (field, op, value, holds)
    ("state", Op.EQ, "TX", True),
    ("state", Op.EQ, "CA", False),
    ("insured", Op.EQ, True, True),
    ("state", Op.NE, "CA", True),
    ("state", Op.NE, "TX", False),
    ("state", Op.IN, frozenset({"CA", "TX"}), True),
    ("state", Op.IN, frozenset({"CA"}), False),
    ("state", Op.NOT_IN, frozenset({"CA"}), True),
    ("state", Op.NOT_IN, frozenset({"TX"}), False),
    ("age", Op.LT, 35, True),
    ("age", Op.LT, 34, False),
    ("age", Op.LTE, 34, True),
    ("age", Op.GT, 34, False),
    ("age", Op.GTE, 34, True),
    ("age", Op.BETWEEN, (34, 40), True),  # both ends included
    ("age", Op.BETWEEN, (20, 34), True),
    ("age", Op.BETWEEN, (35, 40), False),
    ("zip", Op.PREFIX, "787", True),
    ("zip", Op.PREFIX, "788", False),
    ("born", Op.LT, "1992-01-01", True),  # dates are ISO: their order is that of the text
    ("income", Op.GT, D("9000"), True),  # as numbers; as texts "52000.5" < "9000"
    ("income", Op.EQ, D("52000.50"), True),
    ("income", Op.IN, frozenset({D("52000.500")}), True),
    ("income", Op.BETWEEN, (D("52000.5"), D("60000")), True),
    ("income", Op.LT, D("52000.5"), False),
    ("drivers.0.age", Op.EQ, 34, True),  # into lists and objects
    ("drivers.1.age", Op.LT, 18, True),
    ("drivers.0.sr22", Op.EQ, False, True),
    ("roof.slope.degrees", Op.GTE, 30, True),
    ("drivers", Op.EXISTS, True, True),
    ("drivers.1.sr22", Op.EXISTS, False, True),  # an object's absent property
    ("roof", Op.EXISTS, False, False),
    # absent, in every way: false for every op but exists false
    *[
        (field, op, value, False)
        for field in ("boat", "drivers.2.age", "drivers.x.age", "roof.colour", "age.years")
        for op, value in [
            (Op.EQ, 1), (Op.NE, 1), (Op.IN, frozenset({1})), (Op.NOT_IN, frozenset({1})),
            (Op.LT, 1), (Op.LTE, 1), (Op.GT, 1), (Op.GTE, 1), (Op.BETWEEN, (1, 2)),
            (Op.PREFIX, "1"), (Op.EXISTS, True), (Op.NE, D(1)), (Op.NOT_IN, frozenset({D(1)})),
        ]
    ],
    ("boat", Op.EXISTS, False, True),
    ("drivers.2", Op.EXISTS, False, True),
    # values of another kind than the condition's, kept from before the vertical changed
    ("state", Op.LT, 5, False),
    ("age", Op.PREFIX, "3", False),
    ("state", Op.GT, D(5), False),
    ("drivers", Op.IN, frozenset({"x"}), False),
]  # fmt: skip


@pytest.mark.parametrize(("field", "op", "value", "holds"), CONDITIONS, ids=range(len(CONDITIONS)))
def test_a_condition_holds_or_not(field: str, op: Op, value: Any, holds: bool) -> None:
    """On a present value as its op says; on an absent one only `exists: false` holds."""
    assert holds is compile_filter(has(field, op, value)).test(FIELDS)
    assert holds is not compile_filter(Not(has(field, op, value))).test(FIELDS)


TEXAN, CALIFORNIAN = has("state", Op.EQ, "TX"), has("state", Op.EQ, "CA")
ADULT, BOATER = has("age", Op.GTE, 18), has("boat", Op.EQ, 1)
NESTED: list[tuple[Filter, bool, set[str]]] = [
    # (filter, holds, the fields it reads)
    (AnyOf((TEXAN, CALIFORNIAN)), True, {"state"}),
    (AnyOf((CALIFORNIAN, BOATER)), False, {"state", "boat"}),
    (Not(AnyOf((CALIFORNIAN, BOATER))), True, {"state", "boat"}),
    (Not(Not(TEXAN)), True, {"state"}),
    (Not(BOATER), True, {"boat"}),  # `not` turns the false of an absent field round
    (AnyOf((Not(TEXAN), Not(ADULT))), False, {"state", "age"}),
    (Not(AnyOf((Not(TEXAN), Not(ADULT)))), True, {"state", "age"}),  # that is "and"
    (has("drivers.0.age", Op.GT, 1), True, {"drivers"}),  # by the top-level field
    (AnyOf(()), False, set()),
]


@pytest.mark.parametrize(("filter_", "holds", "reads"), NESTED, ids=range(len(NESTED)))
def test_any_and_not_nest(filter_: Filter, holds: bool, reads: set[str]) -> None:
    """A filter knows its verdict and the top-level fields that it reads."""
    compiled = compile_filter(filter_)

    assert holds is compiled.test(FIELDS)
    assert reads == compiled.fields


def known_at_ping(field: str) -> bool:
    return field != "phone_type"


DEFERRED = [
    # (filters, the first that failed at the ping, at the post)
    ((has("phone_type", Op.EQ, "mobile"),), None, "phone_type"),
    ((Not(has("phone_type", Op.EQ, "fixed")),), None, None),
    # a part that could be judged waits with the part that cannot
    ((AnyOf((CALIFORNIAN, has("phone_type", Op.EQ, "mobile"))),), None, "phone_type,state"),
    ((has("phone_type", Op.EQ, "mobile"), CALIFORNIAN), "state", "phone_type"),
    ((TEXAN, ADULT), None, None),
]


@pytest.mark.parametrize(("filters", "at_ping", "at_post"), DEFERRED, ids=range(len(DEFERRED)))
def test_conditions_on_post_stage_fields_are_judged_at_the_post(
    filters: tuple[Filter, ...], at_ping: str | None, at_post: str | None
) -> None:
    """At the ping such a field is not absent: it is not known yet."""
    compiled = tuple(map(compile_filter, filters))

    assert at_ping == first_failing(compiled, FIELDS, known_at_ping)
    assert at_post == first_failing(compiled, FIELDS, everything)


# --- the oracle ------------------------------------------------------------------------------------

ABSENT = object()
COMPARE = {"eq": operator.eq, "ne": operator.ne, "lt": operator.lt, "lte": operator.le,
           "gt": operator.gt, "gte": operator.ge}  # fmt: skip


def plain(filter_: Filter, fields: dict[str, Any]) -> bool:
    if isinstance(filter_, AnyOf):
        results = [plain(inner, fields) for inner in filter_.filters]
        return True in results
    if isinstance(filter_, Not):
        return plain(filter_.filter, fields) is False
    found: Any = fields
    for part in filter_.field.split("."):
        if isinstance(found, dict) and part in found:
            found = found[part]
        elif isinstance(found, list) and part in {"0", "1"} and int(part) < len(found):
            found = found[int(part)]
        else:
            found = ABSENT
    op, value = filter_.op.value, filter_.value
    if op == "exists":
        return (found is not ABSENT) == value
    if found is ABSENT:
        return False
    if op in {"in", "not_in"}:
        return (found in value) == (op == "in")
    if op == "between":
        return bool(value[0] <= found <= value[1])
    return bool(COMPARE[op](found, value))


small = st.integers(0, 3)
paths = st.sampled_from(["a", "b", "c.x", "c.y", "d.0.x", "d.1.x"])
conditions: st.SearchStrategy[Filter] = st.one_of(
    st.builds(has, paths, st.sampled_from([Op.EQ, Op.NE, Op.LT, Op.LTE, Op.GT, Op.GTE]), small),
    st.builds(has, paths, st.sampled_from([Op.IN, Op.NOT_IN]), st.frozensets(small, min_size=1)),
    st.builds(has, paths, st.just(Op.BETWEEN), st.tuples(small, small)),
    st.builds(has, paths, st.just(Op.EXISTS), st.booleans()),
)
filters = st.recursive(
    conditions,
    lambda inner: (
        st.builds(Not, inner) | st.builds(AnyOf, st.lists(inner, min_size=1, max_size=3).map(tuple))
    ),
    max_leaves=8,
)
inside = st.fixed_dictionaries({}, optional={"x": small, "y": small})
leads = st.fixed_dictionaries(
    {}, optional={"a": small, "b": small, "c": inside, "d": st.lists(inside, max_size=2)}
)


@settings(max_examples=600, deadline=None)
@given(filters, leads)
def test_a_compiled_filter_agrees_with_the_naive_evaluator(
    filter_: Filter, fields: dict[str, Any]
) -> None:
    """Whatever the nesting and whatever is absent."""
    assert plain(filter_, fields) is compile_filter(filter_).test(fields)
