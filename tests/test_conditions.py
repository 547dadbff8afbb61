"""Filters of ZIP codes: distances, and lists as long as the country."""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from buyers.contract import Condition, Not, Op
from exchange.apply import apply
from exchange.conditions import VALUES_MAX, filter_problems, filter_value
from exchange.eligibility import compile_filter
from exchange.errors import PlacesMissing, PlacesNotLoaded
from exchange.geo import Circle, Places
from exchange.verticals import compile_fields, read_vertical
from tests.offices import GUARD, Offices, a_contract, open_offices

VERTICAL = read_vertical(
    {
        "slug": "solar",
        "name": "Solar",
        "fields": [
            {"name": "zip", "type": "zip", "stage": "ping"},
            {"name": "state", "type": "state", "stage": "ping"},
            {"name": "kwh", "type": "integer", "stage": "ping"},
            {"name": "bill", "type": "decimal", "stage": "ping"},
            {"name": "homes", "type": "array", "stage": "ping",
             "items": {"type": "object", "fields": [{"name": "zip", "type": "zip"}]}},
        ],
    }
)  # fmt: skip
PLACES = Places(
    {"90210": (34.0901, -118.4065), "90211": (34.0645, -118.3830), "10001": (40.7506, -73.9972)}
)


def near(code: str, miles: Decimal) -> Circle | None:
    """Around Beverly Hills and one neighbour; every other place is unknown."""
    return PLACES.within(code, miles)


def cond(field: str, op: str, value: Any) -> dict[str, Any]:
    return {"field": field, "op": op, "value": value}


def around(code: Any, miles: Any, field: str = "zip") -> dict[str, Any]:
    return cond(field, "zip_within", {"zip": code, "miles": miles})


def told(document: dict[str, Any]) -> dict[str, str]:
    return {one.path: one.message for one in filter_problems([document], VERTICAL, "filters", near)}


# --- zip_within ------------------------------------------------------------------------------------

MILES = "must be above 0 and at most 500"
NUMBER = "must be a number or a decimal string"
FORM = 'must be like {"zip": "90210", "miles": 25}'
FIVE = "must be five digits, or five and four"
CIRCLES: list[tuple[dict[str, Any], dict[str, str]]] = [
    # (condition, problems by path)
    (around("90210", 25), {}),
    (around("90210-1234", "25.0"), {}),
    (around("10001", 25), {}),
    (around("90210", 25.0, field="homes.0.zip"), {}),
    (around("90210", 25, field="state"), {"op": "needs a field of type zip"}),
    (around("90210", 25, field="homes"), {"op": "an object or array can only be tested with exists"}),
    (cond("zip", "zip_within", "90210"), {"value": FORM}),
    (cond("zip", "zip_within", {"zip": "90210"}), {"value": FORM}),
    (cond("zip", "zip_within", {"zip": "90210", "miles": 5, "km": 8}), {"value": FORM}),
    (around("9021", 25), {"value.zip": FIVE}),
    (around(90210, 25), {"value.zip": "Input should be a valid string"}),
    (around("00000", 25), {"value.zip": "is not a ZIP code whose place is known: take one nearby"}),
    (around("90210", 0), {"value.miles": MILES}),
    (around("90210", -5), {"value.miles": MILES}),
    (around("90210", "500.01"), {"value.miles": MILES}),
    (around("90210", True), {"value.miles": NUMBER}),
    (around("90210", None), {"value.miles": NUMBER}),
    (around("90210", "far"), {"value.miles": NUMBER}),
    (around("90210", "NaN"), {"value.miles": "must be finite"}),
    (around("x", "x"), {"value.zip": FIVE, "value.miles": NUMBER}),  # both at once
]  # fmt: skip


@pytest.mark.parametrize(("document", "expected"), CIRCLES, ids=range(len(CIRCLES)))
def test_a_circle_is_checked_when_it_is_written(
    document: dict[str, Any], expected: dict[str, str]
) -> None:
    """The fault is named by its place, with what would be right."""
    assert {f"filters.0.{path}": text for path, text in expected.items()} == told(document)


@pytest.mark.parametrize("miles", ["0.01", 500, "5e2", 12.5])
def test_up_to_500_miles_and_decimals(miles: Any) -> None:
    """Both ends of what is allowed."""
    asked: list[Decimal] = []

    def listen(code: str, wanted: Decimal) -> Circle | None:
        asked.append(wanted)
        return near(code, wanted)

    assert () == filter_problems([around("90210", miles)], VERTICAL, "filters", listen)
    assert [Decimal(str(miles))] == asked


def test_a_circle_is_one_value_that_is_asked() -> None:
    """Equal filters are equal values; the operation is called by its name."""
    found = filter_value(around("90210-1234", 25), VERTICAL, near)

    assert Condition(field="zip", op=Op.ZIP_WITHIN, value=near("90210", Decimal(25))) == found
    assert hash(found) == hash(filter_value(around("90210", "25.0"), VERTICAL, near))
    assert found != filter_value(around("90210", 26), VERTICAL, near)
    compiled = compile_filter(found)
    assert "filters.0: zip zip_within" == compiled.told
    assert compiled.test({"zip": "90211"})
    assert not compiled.test({"zip": "10001"})
    assert not compiled.test({})
    assert not compiled.test({"zip": None})
    assert not compiled.test({"zip": 90210})
    assert compile_filter(Not(found)).test({"zip": "09001"}), "at no place is outside"


def test_without_the_centres_a_circle_is_refused() -> None:
    """`not_supported`, naming what to install; never stored and ignored."""
    found = filter_problems([around("90210", 25)], VERTICAL, "filters")

    assert [("filters.0.op", "not_supported")] == [(one.path, one.code) for one in found]
    assert "pip install ping-post-exchange[geo]" in found[0].message
    with pytest.raises(PlacesMissing):
        filter_value(around("90210", 25), VERTICAL)


def test_a_load_that_failed_is_told_where_a_distance_is_asked() -> None:
    """422 with what to do, not a broken exchange."""

    def fails(_code: str, _miles: Decimal) -> Circle | None:
        raise PlacesNotLoaded

    found = filter_problems([around("90210", 25)], VERTICAL, "filters", fails)

    assert [("filters.0.op", "not_supported")] == [(one.path, one.code) for one in found]
    assert "cannot be loaded just now" in found[0].message


# --- prefixes --------------------------------------------------------------------------------------

NEVER: list[tuple[dict[str, Any], dict[str, Any]]] = [
    # (condition no lead can meet, a lead)
    (cond("zip", "prefix", "90210-1"), {"zip": "90210"}),
    (cond("zip", "prefix", "TX"), {"zip": "78704"}),
    (cond("state", "prefix", "Cal"), {"state": "CA"}),
]


@pytest.mark.parametrize(("document", "lead"), NEVER, ids=range(len(NEVER)))
@pytest.mark.parametrize("wrap", ["not", "any"])
def test_a_prefix_that_never_matches_is_judged_only_when_it_is_written(
    document: dict[str, Any], lead: dict[str, Any], wrap: str
) -> None:
    """Stored before there was such a rule, it is read and judged as it always was."""
    whole: dict[str, Any] = {wrap: document if wrap == "not" else [document]}

    assert ["invalid"] == [one.code for one in filter_problems([whole], VERTICAL, "filters")]
    assert () == filter_problems([whole], VERTICAL, "filters", is_stored=True)
    assert (wrap == "not") is compile_filter(filter_value(whole, VERTICAL)).test(lead)


def test_a_stored_prefix_must_still_be_one() -> None:
    """What could not be read is a problem wherever it stands."""
    for document in (
        cond("zip", "prefix", ""),
        cond("kwh", "prefix", "1"),
        cond("x", "prefix", "1"),
    ):
        assert filter_problems([document], VERTICAL, "filters", is_stored=True)


# --- long lists ------------------------------------------------------------------------------------

COUNTRY = [f"{number:05}" for number in range(41_000)]


def test_a_list_may_hold_every_zip_code() -> None:
    """50,000 values pass, one more is too many."""
    most = [f"{number:05}" for number in range(VALUES_MAX)]

    assert {} == told(cond("zip", "in", most))
    assert frozenset(most) == filter_value(cond("zip", "in", most), VERTICAL).value  # type: ignore[union-attr]
    assert {"filters.0.value": f"must be a list of 1 to {VALUES_MAX} values"} == (
        told(cond("zip", "in", [*most, "99999"]))
    )


WRONG: list[tuple[str, Any, str]] = [
    # (field, the value at place 30,000; what is told of it)
    ("zip", "9021", FIVE),
    ("zip", 90210, "Input should be a valid string"),
    ("zip", "90210\n90211", "String should have at most 10 characters"),  # one value, not two
    ("zip", "９０２１０", FIVE),  # full-width
    ("zip", "", FIVE),
    ("zip", None, "Input should be a valid string"),
    ("kwh", "many", "must be a whole number"),
    ("bill", "lots", NUMBER),
]


@pytest.mark.parametrize(("field", "value", "expected"), WRONG, ids=range(len(WRONG)))
def test_a_wrong_value_is_named_by_its_place(field: str, value: Any, expected: str) -> None:
    """In a list of thousands, and without repeating it."""
    values: list[Any] = list(range(41_000)) if field != "zip" else list(COUNTRY)
    values[30_000] = value

    assert {"filters.0.value.30000": expected} == told(cond(field, "in", values))


def test_of_a_wrong_list_twenty_are_told() -> None:
    """An answer is no copy of the list."""
    found = told(cond("zip", "not_in", ["x"] * 41_000))

    assert [f"filters.0.value.{place}" for place in range(20)] == list(found)


FORMS = ["90210", "90210-1234", "902101234", " 90210 "]


@pytest.mark.parametrize("written", FORMS)
@pytest.mark.parametrize("sent", FORMS)
@pytest.mark.parametrize("others", [0, 41_000])
def test_a_zip_code_matches_in_each_of_its_forms(written: str, sent: str, others: int) -> None:
    """Kept as five digits on both sides: 90210-1234 is somewhere in 90210."""
    document = cond("zip", "in", [*COUNTRY[:others], written])
    lead = compile_fields(VERTICAL).lead({"zip": sent})

    assert () == lead.problems
    assert {} == told(document)
    assert compile_filter(filter_value(document, VERTICAL)).test(lead.values)


def test_a_list_that_was_read_is_taken_as_it_is() -> None:
    """The catalogue reads long ones in slices and shares them between contracts."""
    codes = frozenset({"90210"})

    found = filter_value(cond("zip", "in", codes), VERTICAL)

    assert isinstance(found, Condition)
    assert codes is found.value


# --- by HTTP, stored, read again --------------------------------------------------------------------


@pytest.fixture
async def offices(database: str) -> AsyncIterator[Offices]:
    async with open_offices(database) as found:
        yield found


async def test_a_circle_is_written_stored_and_judged(offices: Offices) -> None:
    """From the request to the verdict on a lead, with the real places of ZIP codes."""
    pytest.importorskip("zipcodes")
    solar = {"slug": "solar", "name": "Solar",
             "fields": [{"name": "zip", "type": "zip", "stage": "ping"}]}  # fmt: skip
    assert 201 == (await offices.admin("POST", "/v1/verticals", solar)).status
    body = a_contract("acme-solar", "acme", vertical="solar")
    hills = around("90210", "10.5")

    lost = await offices.admin("POST", "/v1/contracts", body | {"filters": [around("00000", 5)]})
    assert (422, {("filters.0.value.zip", "invalid")}) == (lost.status, lost.errors)
    made = await offices.admin("POST", "/v1/contracts", body | {"filters": [hills]})
    assert (201, [hills]) == (made.status, made.body["filters"])

    entry = (await offices.catalogue()).markets["solar"].contract("acme-solar")
    assert entry is not None
    (circle,) = entry[1]
    assert circle.test({"zip": "90024"}), "Westwood is 3 miles away"
    assert not circle.test({"zip": "90802"}), "Long Beach is 26"
    assert "filters.0: zip zip_within" == circle.told


async def test_a_long_list_is_written_stored_and_shared(offices: Offices) -> None:
    """The same list in two contracts is one set."""
    solar = {"slug": "solar", "name": "Solar",
             "fields": [{"name": "zip", "type": "zip", "stage": "ping"}]}  # fmt: skip
    codes = cond("zip", "in", COUNTRY[:30_000])
    wanted = [("vertical", solar)] + [
        ("contract", a_contract(slug, "acme", vertical="solar", filters=[codes]))
        for slug in ("acme-solar", "acme-more-solar")
    ]
    await apply(offices.store.db, offices.vault, GUARD, wanted, by="apply")

    contracts = (await offices.catalogue()).markets["solar"].contracts
    one, other = (contract.filters[0] for contract, _filters in contracts)
    assert isinstance(one, Condition)
    assert isinstance(other, Condition)
    assert frozenset(COUNTRY[:30_000]) == one.value
    assert one.value is other.value
