"""The form of a contract loses nothing: what it shows, what it cannot show, what is typed anew."""

import shutil
import subprocess
from base64 import b64encode
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import strategies as st

import exchange.office.console
from exchange.conditions import filter_problems, filter_value, ops_of
from exchange.eligibility import compile_filter
from exchange.fields import Field
from exchange.office.console.demand.conditions_form import fields_of, is_exact
from tests.console.contract_documents import FILTERS, FOREIGN, READ, several

ASSETS = Path(exchange.office.console.__file__).parent / "assets"
# As a browser takes it: nothing near it says that it is a module.
MODEL = (
    "data:text/javascript;base64,"
    + b64encode((ASSETS / "conditions_model.js").read_bytes()).decode()
)
SCRIPT = Path(__file__).with_name("round_trip.mjs")


def node() -> str:
    """Of the machine, or the one that playwright brings along."""
    found = shutil.which("node")
    if found is None:
        driver = pytest.importorskip("playwright._impl._driver", reason="there is no node")
        found = driver.compute_driver_executable()[0]
    return str(found)


def through_the_model(cases: list[Any]) -> list[dict[str, Any]]:
    """What assets/conditions_model.js makes of lists of filters."""
    done = subprocess.run(
        [node(), str(SCRIPT), MODEL],
        input=orjson.dumps({"fields": fields_of(READ), "cases": cases}),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (0, b"") == (done.returncode, done.stderr)
    found: list[dict[str, Any]] = orjson.loads(done.stdout)
    return found


def _bytes(value: Any) -> bytes:
    """5.0 is 5, as browsers write it; true is not 1."""
    return orjson.dumps(_whole(value))


def _whole(value: Any) -> Any:
    match value:
        case float() if value.is_integer():
            return int(value)
        case list():
            return [_whole(one) for one in value]
        case dict():
            return {name: _whole(one) for name, one in value.items()}
        case _:
            return value


def test_filters_that_nobody_touched_come_back_to_the_letter() -> None:
    """Also those that no input could show: they are kept and counted."""
    mixed = st.lists(
        st.one_of(FOREIGN, FILTERS.map(lambda found: {"any": found or ["x"]})), max_size=4
    )
    cases = several(FILTERS, 150) + several(mixed, 60)
    for before, after in zip(cases, through_the_model(cases), strict=True):
        assert _bytes(before) == _bytes(after["untouched"])


def test_filters_typed_anew_mean_the_same() -> None:
    """Every value goes through its inputs' text; the judge must not see a difference."""
    cases = several(FILTERS, 200)
    for before, after in zip(cases, through_the_model(cases), strict=True):
        typed = after["retyped"]
        assert () == filter_problems(typed, READ, "filters"), (before, typed)
        assert [filter_value(one, READ) for one in before] == [
            filter_value(one, READ) for one in typed
        ]


def test_the_builder_has_inputs_for_whatever_the_api_takes() -> None:
    """Nothing that is valid is shown as `kept as it is`."""
    cases = several(FILTERS, 150)
    assert {0} == {one["kept"] for one in through_the_model(cases)}
    foreign = several(FOREIGN, 30)
    assert {1} == {one["kept"] for one in through_the_model([[one] for one in foreign])}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("90210", ["90210"]),
        ("90210, 10001;60601\n\n 73301\t90210", ["90210", "10001", "60601", "73301"]),
        ("90210-1234 9021", ["90210-1234", "9021"]),
    ],
)
def test_zip_codes_are_pasted_with_whatever_stands_between(given: str, expected: list[str]) -> None:
    """Each once, in order; what is none is left for the server to name."""
    call = f"m.linesOf({orjson.dumps(given).decode()}, {{type: 'zip'}})"
    script = f"import('{MODEL}').then((m) => console.log(JSON.stringify({call})))"
    done = subprocess.run([node(), "-e", script], capture_output=True, check=True)
    assert expected == orjson.loads(done.stdout)


def test_every_field_of_a_vertical_is_offered_with_its_ops() -> None:
    """Inside lists and objects too; the person's last, for it is known at the post only."""
    found = {one["path"]: one for one in fields_of(READ)}
    assert ["eq", "ne", "in", "not_in", "exists"] == found["insured"]["ops"]
    assert ["exists"] == found["drivers"]["ops"]
    assert ("drivers › tickets (one of them)", "integer") == (
        found["drivers.#.tickets.#"]["label"], found["drivers.#.tickets.#"]["type"],
    )  # fmt: skip
    stages = [one["stage"] for one in fields_of(READ)]
    assert stages == sorted(stages)
    assert "zip_within" in {op.value for op in ops_of(Field(type="zip"))}


@pytest.mark.parametrize(
    ("filters", "exact"),
    [
        ([], True),
        ([{"field": "age", "op": "eq", "value": 2**53 - 1}], True),
        ([{"any": [{"field": "age", "op": "in", "value": [1, 2**53]}]}], False),
        ([{"field": "insured", "op": "eq", "value": True}], True),
    ],
)
def test_numbers_that_a_browser_would_round_are_known(filters: list[Any], exact: bool) -> None:
    """Then the form leaves all filters alone."""
    assert exact is is_exact(filters)
    assert all(compile_filter(filter_value(one, READ)) for one in filters)
