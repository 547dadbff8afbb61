"""Who may be asked: every reason in its order, every operator, and a naive evaluator beside it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buyers.contract import AnyOf, Condition, Contract, Filter, Not, Op, Schedule
from exchange import story
from exchange.eligibility import (
    Asker,
    Usage,
    compile_filter,
    compile_filters,
    first_failing,
    screen,
    why_unsuited,
)
from exchange.geo import Places
from exchange.plan import default_plan
from exchange.reasons import SkipReason
from exchange.receipt.writing import told_skipped
from tests.making import a_buyer, a_contract, an_endpoint, fixed

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
    "seen": "2026-01-31T07:30:00.5Z",  # an instant too
    "garage": None,
    "wealth": "NaN",  # kept from before it was a decimal
    "debts": "sNaN",
    "drivers": [{"age": 34, "sr22": False}, {"age": 17}],
    "roof": {"kind": "tile", "slope": {"degrees": 30}},
}

NOW = datetime(2026, 11, 25, 15, 0, tzinfo=UTC)  # a Wednesday


def has(field: str, op: Op, value: Any) -> Condition:
    return Condition(field=field, op=op, value=value)


def everything(_field: str) -> bool:
    return True


def nothing(_field: str) -> bool:
    return False


def judged(
    contract: Contract,
    asker: Asker = ASKER,
    usage: Usage | None = None,
    known: Callable[[str], bool] = everything,
) -> tuple[SkipReason, str | None] | None:
    """The verdict when the receipt keeps every field; with none kept only a pause or an exclusion may
    come before it."""
    entries = [(contract, compile_filters(contract.filters))]
    verdicts = []
    for kept in (everything, nothing):
        found = screen(
            entries, FIELDS, asker, PLAN, usage or Usage(), now=NOW, known=known, kept=kept
        )
        told = list(found.skipped)
        if found.unsuited:
            told += why_unsuited(entries, FIELDS, asker, PLAN, known=known)
        assert 1 == len(found.eligible) + len(told), "exactly one verdict per contract"
        verdicts += [(one.reason, one.detail) for one in told] or [None]
    of_kept, of_none = verdicts
    assert of_none in {of_kept, (SkipReason.PAUSED, None), (SkipReason.EXCLUDED, None)}
    return of_kept


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
    "schedule": SHUT,
    **DENIED,
}
TIERED: dict[str, Any] = {"tier": "auction"}
ALLOWED: dict[str, Any] = {"sellers_deny": frozenset()}
STOPPED = WRONG | TIERED | ALLOWED | {"filters": ()}

VERDICTS = [
    # (contract, asker, usage, why it is skipped), in order of precedence
    (WRONG | {"retired": True}, EXCLUDED, FULL, (SkipReason.PAUSED, None)),  # no order any more
    (WRONG, EXCLUDED, FULL, (SkipReason.NO_TIER, None)),
    (WRONG | TIERED, TEST, FULL, (SkipReason.NO_TEST, None)),
    (WRONG | TIERED, EXCLUDED, FULL, (SkipReason.SELLER_NOT_ALLOWED, None)),
    (
        WRONG | TIERED | {"sellers_deny": frozenset(), "sellers_allow": frozenset({"other"})},
        EXCLUDED,
        FULL,
        (SkipReason.SELLER_NOT_ALLOWED, None),
    ),
    (WRONG | TIERED | ALLOWED, EXCLUDED, FULL, (SkipReason.FILTERED, "filters.0: age gte")),
    # so far what lasts, and from here what may be otherwise a moment later
    (STOPPED, EXCLUDED, FULL, (SkipReason.PAUSED, None)),  # contract and buyer
    (STOPPED | {"active": True}, EXCLUDED, FULL, (SkipReason.PAUSED, None)),  # the buyer
    (STOPPED | {"buyer": a_buyer()}, EXCLUDED, FULL, (SkipReason.PAUSED, None)),  # the contract
    ({"schedule": SHUT}, EXCLUDED, FULL, (SkipReason.EXCLUDED, None)),
    # a seller both allowed and denied is denied
    (
        {"sellers_allow": frozenset({"quoteform"}), **DENIED},
        ASKER,
        Usage(),
        (SkipReason.SELLER_NOT_ALLOWED, None),
    ),
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
    """Tier, test, seller, filters; pause, exclusion, hours, room: in this order."""
    assert verdict == judged(a_contract(**contract), asker, usage)


KEPT = FIELDS.keys() - {"income", "phone"}
LATE = (has("phone", Op.EXISTS, True), has("income", Op.GT, Decimal(1_000_000)))
UNKEPT = [
    # (contract, asker, verdict of a lead whose income and phone the receipt does not keep)
    ({"filters": (*LATE, *OLD)}, ASKER, None),  # a filter that it keeps rules it out: only counted
    ({"filters": LATE, "active": False}, ASKER, (SkipReason.PAUSED, None)),
    ({"filters": LATE}, EXCLUDED, (SkipReason.EXCLUDED, None)),
    ({"filters": LATE, "schedule": SHUT}, ASKER, (SkipReason.FILTERED, "filters.0: phone exists")),
    ({"filters": LATE[1:]}, ASKER, (SkipReason.FILTERED, "filters.0: income gt")),
    ({"schedule": SHUT}, ASKER, (SkipReason.CLOSED, None)),
]


@pytest.mark.parametrize(("contract", "asker", "verdict"), UNKEPT, ids=range(len(UNKEPT)))
def test_a_filter_on_a_field_that_is_not_kept_is_named(
    contract: dict[str, Any], asker: Asker, verdict: tuple[SkipReason, str | None] | None
) -> None:
    """Between exclusion and hours, by the first such filter; those on fields that are kept come first."""
    entries = [(a_contract(**contract), compile_filters(contract.get("filters", ())))]
    found = screen(
        entries, FIELDS, asker, PLAN, FULL, now=NOW, known=everything, kept=KEPT.__contains__
    )

    assert [verdict] * (verdict is not None) == [(s.reason, s.detail) for s in found.skipped]
    assert (verdict is None) is bool(found.unsuited)


def test_a_paused_exchange_names_who_would_have_been_asked() -> None:
    """As if every contract were paused; whom the lead does not suit is counted as ever."""
    entries = [(a_contract(slug), compile_filters(f)) for slug, f in (("a", ()), ("b", OLD))]
    asked = entries, FIELDS, ASKER, PLAN, FULL
    found = screen(*asked, now=NOW, known=everything, kept=everything, paused=True)

    assert ((), 1) == (found.eligible, found.unsuited)
    assert [("a", SkipReason.PAUSED)] == [(s.contract, s.reason) for s in found.skipped]


def test_only_the_tiers_asked_for_are_judged() -> None:
    """Contracts of others, and of none, are neither named nor counted."""
    entries = [
        (a_contract("a"), ()), (a_contract("b", tier="gone"), ()),
        (a_contract("c", tier="waterfall"), ()), (a_contract("d", tier="x", pricing=fixed(5)), ()),
    ]  # fmt: skip
    asked = entries, FIELDS, ASKER, PLAN, Usage()
    found = screen(*asked, now=NOW, known=everything, kept=nothing, tiers=PLAN.waterfall)

    assert ["c", "d"] == [contract.slug for contract in found.eligible]
    assert ((), 0) == (found.skipped, found.unsuited)


def test_the_verdicts_keep_the_order_of_the_contracts() -> None:
    """Eligible and skipped contracts are told in the order they were given."""
    contracts = [a_contract(slug, active=slug in "bd") for slug in "abcd"]

    found = screen(
        [(c, ()) for c in contracts],
        FIELDS,
        ASKER,
        PLAN,
        Usage(),
        now=NOW,
        known=everything,
        kept=nothing,
    )

    assert ["b", "d"] == [contract.slug for contract in found.eligible]
    assert ["a", "c"] == [one.contract for one in found.skipped]


D = Decimal
MADRID = datetime(2026, 1, 31, 8, 30, tzinfo=timezone(timedelta(hours=1)))
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
    ("zip", Op.ZIP_WITHIN, frozenset({"78704", "78705"}), True),
    ("zip", Op.ZIP_WITHIN, frozenset({"78705"}), False),
    ("seen", Op.GT, MADRID, True),  # as moments; as texts "…:00.5Z" < "…:00Z"
    ("seen", Op.BETWEEN, (MADRID, MADRID.replace(second=1)), True),
    ("seen", Op.EQ, MADRID.replace(microsecond=500_000), True),
    ("credit", Op.IN, frozenset({3, "good"}), True),  # an enum of texts and integers
    ("credit", Op.NE, 3, True),
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
        for field in ("boat", "garage", "drivers.2.age", "drivers.x.age", "roof.colour", "age.years")
        for op, value in [
            (Op.EQ, 1), (Op.NE, 1), (Op.IN, frozenset({1})), (Op.NOT_IN, frozenset({1})),
            (Op.LT, 1), (Op.LTE, 1), (Op.GT, 1), (Op.GTE, 1), (Op.BETWEEN, (1, 2)),
            (Op.PREFIX, "1"), (Op.EXISTS, True), (Op.NE, D(1)), (Op.NOT_IN, frozenset({D(1)})),
            (Op.ZIP_WITHIN, frozenset({"78704"})),
        ]
    ],
    ("boat", Op.EXISTS, False, True),
    ("garage", Op.EXISTS, False, True),  # null
    ("drivers.2", Op.EXISTS, False, True),
    # values of another kind than the condition's, kept from before the vertical changed
    ("state", Op.LT, 5, False),
    ("age", Op.PREFIX, "3", False),
    ("state", Op.GT, D(5), False),
    ("drivers", Op.IN, frozenset({"x"}), False),
    ("drivers", Op.NOT_IN, frozenset({"x"}), True),  # it is there, and not equal
    ("age", Op.NE, "34", True),
    ("insured", Op.EQ, 1, False),  # true is not 1
    ("insured", Op.IN, frozenset({1}), False),
    ("insured", Op.NE, 1, True),
    ("insured", Op.LT, 5, False),
    # what cannot be read as a number or a moment is absent
    ("state", Op.NE, D(5), False),
    *[
        (field, op, value, False)
        for field in ("wealth", "debts")
        for op, value in [(Op.LT, D(5)), (Op.NE, D(5)), (Op.NOT_IN, frozenset({D(5)}))]
    ],
    ("state", Op.NOT_IN, frozenset({MADRID}), False),
    ("born", Op.NE, MADRID, False),  # a day is no moment
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
    ((has("phone_type", Op.EQ, "mobile"),), None, "filters.0: phone_type eq"),
    ((Not(has("phone_type", Op.EQ, "fixed")),), None, None),
    # a part that could be judged waits with the part that cannot
    (
        (AnyOf((CALIFORNIAN, has("phone_type", Op.EQ, "mobile"))),),
        None,
        "filters.0.any: state eq, phone_type eq",
    ),
    (
        (has("phone_type", Op.EQ, "mobile"), CALIFORNIAN),
        "filters.1: state eq",
        "filters.0: phone_type eq",
    ),
    ((TEXAN, ADULT), None, None),
]


@pytest.mark.parametrize(("filters", "at_ping", "at_post"), DEFERRED, ids=range(len(DEFERRED)))
def test_conditions_on_post_stage_fields_are_judged_at_the_post(
    filters: tuple[Filter, ...], at_ping: str | None, at_post: str | None
) -> None:
    """At the ping such a field is not absent: it is not known yet."""
    compiled = compile_filters(filters)

    failed = (
        first_failing(compiled, FIELDS, known_at_ping),
        first_failing(compiled, FIELDS, everything),
    )
    assert (at_ping, at_post) == tuple(one and one.told for one in failed)


NEAR = has("zip", Op.ZIP_WITHIN, Places({"90210": (34.09, -118.41)}).within("90210", Decimal(5)))
TOLD: list[tuple[Filter, str]] = [
    # (the filter that fails, third of its contract; what is told)
    (CALIFORNIAN, "filters.2: state eq"),
    (NEAR, "filters.2: zip zip_within"),
    (has("drivers.1.age", Op.BETWEEN, (25, 65)), "filters.2: drivers.1.age between"),
    (has("zip", Op.IN, frozenset(f"{n:05}" for n in range(40_000))), "filters.2: zip in"),
    (Not(TEXAN), "filters.2.not: state eq"),
    (Not(Not(CALIFORNIAN)), "filters.2.not.not: state eq"),
    (AnyOf((CALIFORNIAN, NEAR)), "filters.2.any: state eq, zip zip_within"),
    (AnyOf((Not(TEXAN), AnyOf((BOATER, NEAR)))), "filters.2.any: not state eq, any of 2"),
    (AnyOf((BOATER,) * 4), "filters.2.any: boat eq, boat eq, boat eq, …"),
    (Not(AnyOf((TEXAN, BOATER))), "filters.2.not.any: state eq, boat eq"),
    (has(f"{'x' * 64}.{'y' * 64}.{'z' * 64}", Op.EQ, 1), f"filters.2: {'x' * 64}.{'y' * 64}.{'z' * 18}…"),
]  # fmt: skip


@pytest.mark.parametrize(("filter_", "told"), TOLD, ids=range(len(TOLD)))
def test_a_receipt_says_which_condition_failed(filter_: Filter, told: str) -> None:
    """Its place in the contract, field and op; no value, neither the lead's nor the contract's."""
    contract = a_contract(filters=(TEXAN, ADULT, filter_, CALIFORNIAN))

    assert (SkipReason.FILTERED, told) == judged(contract)


def test_why_says_it_too() -> None:
    """The same words in the receipt and in what `exchange why` prints."""
    filters = compile_filters((TEXAN, NEAR))
    skipped = screen(
        [(a_contract(), filters)],
        FIELDS,
        ASKER,
        PLAN,
        Usage(),
        now=NOW,
        known=everything,
        kept=nothing,
    ).skipped

    lines = [story.lines._skipped(story.telling._skipped(told_skipped(one))) for one in skipped]
    assert ["skipped acme-ca-auto filtered (filters.1: zip zip_within)"] == [
        " ".join(line.split()) for line in lines
    ]


def test_a_filter_judged_late_keeps_its_place() -> None:
    """The post judges some of a contract's filters; they are still called by their places."""
    late = compile_filters((TEXAN, ADULT, BOATER))[2:]

    failed = first_failing(late, FIELDS, everything)
    assert failed is not None
    assert "filters.2: boat eq" == failed.told


# --- the oracle ------------------------------------------------------------------------------------

ORDER: dict[Op, Callable[[Any, Any], bool]] = {
    Op.LT: lambda found, value: found < value,
    Op.LTE: lambda found, value: found <= value,
    Op.GT: lambda found, value: found > value,
    Op.GTE: lambda found, value: found >= value,
    Op.BETWEEN: lambda found, value: value[0] <= found <= value[1],
}


def plain(filter_: Filter, fields: dict[str, Any]) -> bool:
    """The definition at compile_filter, word by word."""
    if isinstance(filter_, AnyOf):
        results = [plain(inner, fields) for inner in filter_.filters]
        return True in results
    if isinstance(filter_, Not):
        return plain(filter_.filter, fields) is False
    found: Any = fields
    for part in filter_.field.split("."):
        if isinstance(found, dict):
            found = found.get(part)
        elif isinstance(found, list) and part in {"0", "1"} and int(part) < len(found):
            found = found[int(part)]
        else:
            found = None
    op, value = filter_.op, filter_.value
    if op is Op.EXISTS:
        return (found is not None) == value
    values = list(value) if isinstance(value, (tuple, frozenset)) else [value]
    found = readable(found, values[0])
    if found is None:
        return False
    same = [one for one in values if type(one) is type(found) and one == found]
    if op in {Op.EQ, Op.IN, Op.ZIP_WITHIN}:
        return same != []
    if op in {Op.NE, Op.NOT_IN}:
        return same == []
    if type(found) is not type(values[0]):
        return False
    if op is Op.PREFIX:
        return bool(found[: len(value)] == value)
    return ORDER[op](found, value)


def readable(found: Any, like: Any) -> Any:
    if isinstance(like, Decimal) and type(found) is int:  # of a field that was an integer
        return Decimal(found)
    if isinstance(like, Decimal):
        return READABLE_NUMBERS.get(found) if isinstance(found, str) else None
    if isinstance(like, datetime):
        return READABLE_MOMENTS.get(found) if isinstance(found, str) else None
    return found


UTC_2026 = datetime(2026, 1, 31, 7, 30, tzinfo=UTC)
READABLE_NUMBERS = {"1": D(1), "1.0": D(1), "1.50": D("1.5"), "2": D(2), "-3": D(-3)}
READABLE_MOMENTS = {
    "2026-01-31T07:30:00Z": UTC_2026,
    "2026-01-31T08:30:00+01:00": UTC_2026,
    "2026-01-31T07:30:00.5Z": UTC_2026.replace(microsecond=500_000),
}
small = st.integers(0, 3)
texts = st.sampled_from(["", "a", "ab", "b", "2026-01-31"])
numbers = st.sampled_from([D(1), D("1.5"), D(2)])
moments = st.sampled_from([UTC_2026, MADRID, UTC_2026.replace(second=1)])
ordered = (small, texts, numbers, moments)
paths = st.sampled_from(["a", "b", "c.x", "c.y", "c.x.y", "d.0", "d.0.x", "d.1.x", "d.x"])
conditions: st.SearchStrategy[Filter] = st.one_of(
    *(
        st.builds(has, paths, st.sampled_from([Op.EQ, Op.NE, Op.LT, Op.LTE, Op.GT, Op.GTE]), kind)
        for kind in ordered
    ),
    *(st.builds(has, paths, st.just(Op.BETWEEN), st.tuples(kind, kind)) for kind in ordered),
    *(
        st.builds(has, paths, st.sampled_from([Op.IN, Op.NOT_IN]), st.frozensets(kind, min_size=1))
        for kind in (*ordered, small | texts)
    ),
    st.builds(has, paths, st.sampled_from([Op.EQ, Op.NE]), st.booleans()),
    st.builds(has, paths, st.just(Op.EXISTS), st.booleans()),
    st.builds(has, paths, st.just(Op.PREFIX), st.sampled_from(["a", "ab", "2026"])),
    st.builds(has, paths, st.just(Op.ZIP_WITHIN), st.frozensets(texts, min_size=1)),
)
filters = st.recursive(
    conditions,
    lambda inner: (
        st.builds(Not, inner) | st.builds(AnyOf, st.lists(inner, min_size=1, max_size=3).map(tuple))
    ),
    max_leaves=8,
)
# Of every kind, whatever the condition expects: a vertical may have changed since.
odd = st.sampled_from(
    [None, True, False, "NaN", "sNaN", "Infinity", "x", "2026-01-31T07:30:00", [], {}, [1]]
)
plain_values = (
    small
    | texts
    | odd
    | st.sampled_from([*READABLE_NUMBERS])
    | st.sampled_from([*READABLE_MOMENTS])
)
inside = st.fixed_dictionaries({}, optional={"x": plain_values, "y": plain_values})
leads = st.fixed_dictionaries(
    {},
    optional={
        "a": plain_values,
        "b": plain_values,
        "c": inside | plain_values,
        "d": st.lists(inside | plain_values, max_size=2) | plain_values,
    },
)


@settings(max_examples=1500, deadline=None)
@given(filters, leads)
def test_a_compiled_filter_agrees_with_the_naive_evaluator(
    filter_: Filter, fields: dict[str, Any]
) -> None:
    """Whatever the nesting, whatever is absent, whatever the kinds."""
    assert plain(filter_, fields) is compile_filter(filter_).test(fields)
