"""Verticals as pages: the list, one with its fields, and the editor."""

import re
from html import unescape

import pytest

from tests.console.offices import ConsoleOffice
from tests.offices import VERTICAL


async def test_the_list_says_what_stands_on_each(desk: ConsoleOffice) -> None:
    """Fields, margin, plan, contracts, sellers; retired ones apart."""
    admin = await desk.signed_in("admin")
    page = await admin.get("/console/verticals")
    assert 200 == page.status
    assert "Roofing roofing 2 1 in the ping 20 % first price default 2 1" in page.words
    assert (
        201
        == (await admin.send("POST", "/console/v1/verticals", VERTICAL | {"slug": "old"})).status
    )
    assert 204 == (await admin.send("DELETE", "/console/v1/verticals/old")).status
    assert "old" not in (await admin.get("/console/verticals")).words.split()
    assert "old" in (await admin.get("/console/verticals?state=retired")).words.split()
    assert "Retired" in (await admin.get("/console/verticals/old")).words
    assert 404 == (await admin.get("/console/verticals/old/edit")).status


async def test_one_shows_its_fields_by_stage(desk: ConsoleOffice) -> None:
    """The person's beside what everybody is shown; and what changed."""
    page = await (await desk.signed_in("viewer")).get("/console/verticals/roofing")
    ping, post = page.text.index("Fields of the ping"), page.text.index("Fields of the post")
    assert (
        ping < page.text.index("<code>state</code>") < post < page.text.index("<code>phone</code>")
    )
    assert "The vertical is open, with 2 fields." in page.words
    assert "Edit" not in page.words


@pytest.mark.parametrize("role", ["viewer", "seller", "buyer"])
async def test_who_may_not_change_has_no_form(desk: ConsoleOffice, role: str) -> None:
    browser = await desk.signed_in(role)
    for path in ("/console/verticals/new", "/console/verticals/roofing/edit"):
        assert 404 == (await browser.get(path)).status


async def test_the_editor_holds_every_field_with_all_it_has(desk: ConsoleOffice) -> None:
    """Nested ones within theirs; values, limits, conditions."""
    inner = {"name": "age", "type": "integer", "required": True, "min": 16}
    fields = [
        *VERTICAL["fields"],
        {"name": "job", "type": "enum", "stage": "ping", "values": ["leak", "new"], "required_if": {"field": "state", "op": "in", "value": ["TX", "OK"]}},
        {"name": "people", "type": "array", "stage": "ping", "max": 3, "items": {"type": "object", "fields": [inner]}},
        {"name": "vin", "type": "string", "stage": "post", "pattern": "[A-Z]{2}"},
    ]  # fmt: skip
    admin = await desk.signed_in("admin")
    assert (
        200
        == (
            await admin.send("PUT", "/console/v1/verticals/roofing", VERTICAL | {"fields": fields})
        ).status
    )
    page = await admin.get("/console/verticals/roofing/edit")
    form = unescape(
        page.text.split("</form>")[1 if "sign-out" in page.text.split("</form>")[0] else 0]
    )
    names = re.findall(r'data-key="name" value="(\w*)"', form)

    assert ["state", "phone", "job", "people", "age", "vin"] == names
    assert "leak\nnew</textarea>" in form
    assert 'value="TX, OK"' in form
    assert 'value="[A-Z]{2}"' in form
    assert 'data-key="min" value="16"' in form
    assert 'data-api="PUT /console/v1/verticals/roofing"' in form


async def test_what_would_break_a_contract_is_refused_and_named(desk: ConsoleOffice) -> None:
    """As the API says it, for the summary on top of the form."""
    admin = await desk.signed_in("admin")
    filters = {"filters": [{"field": "state", "op": "eq", "value": "TX"}]}
    assert 200 == (await admin.send("PATCH", "/console/v1/contracts/acme-1", filters)).status
    answer = await admin.send(
        "PUT", "/console/v1/verticals/roofing", VERTICAL | {"fields": VERTICAL["fields"][1:]}
    )
    assert 422 == answer.status
    assert ["contract acme-1.filters.0.field"] == [one["path"] for one in answer.json["errors"]]
