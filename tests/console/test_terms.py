"""Contracts in words, and what differs between two of them."""

from typing import Any

import pytest

from exchange.office.console.demand import terms
from exchange.office.console.demand.certificate import dialogue
from exchange.office.console.demand.week import week_grid
from exchange.office.console.parts.differences import changes


@pytest.mark.parametrize(
    ("filter_", "words"),
    [
        ({"field": "state", "op": "in", "value": ["CA", "TX"]}, "state is one of CA, TX"),
        ({"field": "home_owner", "op": "ne", "value": "rent"}, "home owner is given and not rent"),
        ({"field": "drivers.0.age", "op": "gte", "value": 25}, "drivers 1 › age is at least 25"),
        ({"field": "age", "op": "between", "value": [25, 65]}, "age is between 25 and 65"),
        ({"field": "email", "op": "exists", "value": False}, "email is not given"),
        ({"field": "insured", "op": "eq", "value": True}, "insured is yes"),
        ({"field": "zip", "op": "zip_within", "value": {"zip": "90210", "miles": 25}}, "zip is within 25 miles of 90210"),
        ({"field": "zip", "op": "in", "value": [f"{n:05}" for n in range(40_000)]},
         "zip is one of " + ", ".join(f"{n:05}" for n in range(12)) + " and 39,988 more"),
        ({"any": [{"field": "a", "op": "eq", "value": 1}, {"not": {"field": "b", "op": "lt", "value": 2}}]}, "(a is 1 or not (b is below 2))"),
        ({"field": "a", "op": "unheard", "value": 1}, "a unheard 1"),
        ({"any": "nonsense"}, "something that this version cannot read"),
        (7, "something that this version cannot read"),
    ],
)  # fmt: skip
def test_a_filter_is_a_sentence(filter_: Any, words: str) -> None:
    """Whatever is stored: a page never falls over a filter."""
    assert [words] == [str(one) for one in terms.sentences([filter_])]


@pytest.mark.parametrize(
    ("pricing", "words"),
    [
        ({"mode": "fixed", "price": "12.50"}, "fixed 12.50 USD"),
        ({"mode": "bid", "min": "2.00", "max": "80.00"}, "bids 2.00 to 80.00 USD"),
        ({"mode": "bid", "min": None, "max": "80.00"}, "bids up to 80.00 USD"),
        ({"mode": "bid", "min": "2.00", "max": None}, "bids from 2.00 USD"),
        ({"mode": "bid", "min": None, "max": None}, "bids freely"),
    ],
)
def test_a_price_is_a_line(pricing: dict[str, Any], words: str) -> None:
    assert words == terms.price_words(pricing, "USD")


def test_a_week_is_read_as_it_is_judged() -> None:
    """Without hours it is always open; with hours a day that is not named is closed."""
    assert [("Monday–Sunday", "all day")] == terms.week_words(terms.week_of(None))
    assert [("Monday–Sunday", "all day")] == terms.week_words(
        terms.week_of({"timezone": "UTC", "hours": None})
    )
    hours = {
        "mon": ["13:00-24:00", "09:00-12:30"],
        "tue": [],
        "sat": ["10:00-14:00"],
        "sun": ["10:00-14:00"],
    }
    days = terms.week_of({"timezone": "UTC", "hours": hours})
    assert [
        ("Monday", "09:00–12:30, 13:00–24:00"), ("Tuesday–Friday", "closed"), ("Saturday–Sunday", "10:00–14:00"),
    ] == terms.week_words(days)  # fmt: skip
    drawn = week_grid(days, (0, 600))
    assert 4 == drawn.count('class="opened"')
    assert "Monday: 09:00–12:30, 13:00–24:00; Tuesday: closed" in drawn


BEFORE = {
    "priority": 10, "pricing": {"mode": "bid", "min": "2.00", "max": None},
    "filters": [{"field": "age", "op": "gt", "value": 18}, {"field": "zip", "op": "in", "value": ["1", "2", "3"]}],
    "caps": [{"kind": "sales", "period": "day", "limit": 5}], "schedule": None, "sellers": {"allow": [], "deny": []},
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"priority": 3}, [("priority", "10", "3")]),
        ({"pricing": {"mode": "bid", "min": None, "max": "9.00"}}, [("pricing › min", "2.00", ""), ("pricing › max", "", "9.00")]),
        ({"filters": []}, [("filter", "age is above 18", ""), ("filter", "zip is one of 1, 2, 3", "")]),
        ({"filters": [*BEFORE["filters"][:1], {"field": "zip", "op": "in", "value": ["3", "4", "1"]}]}, [("zip is one of", "without 2", "with 4")]),
        ({"filters": BEFORE["filters"][::-1]}, [("filters", "in one order", "in another order")]),
        ({"caps": [{"kind": "sales", "period": "day", "limit": 7}, {"kind": "spend", "period": "month", "limit": "50.00", "pace": None}]},
         [("cap on sales", "5 sales a day", "7 sales a day"), ("cap on spend", "", "50.00 USD spend a month")]),
        ({"schedule": {"timezone": "UTC", "hours": {"mon": ["09:00-17:00"]}, "holidays": ["2026-12-25"]}},
         [("hours", "always open", "Monday 09:00–17:00; Tuesday–Sunday closed, closed on 1 holidays (UTC)")]),
        ({"sellers": {"allow": ["a", "b"], "deny": []}}, [("sellers › allow", "none", "a, b")]),
        ({}, [("endpoint › secret", "one secret", "another secret")]),
    ],
)  # fmt: skip
def test_what_differs_is_told_property_by_property(
    change: dict[str, Any], expected: list[tuple[str, str, str]]
) -> None:
    """And nothing that stayed as it was."""
    assert expected == [
        (o.name, o.before, o.after) for o in changes(BEFORE, BEFORE | change, "USD")
    ]


def test_what_did_not_stand_differs_from_nothing() -> None:
    """Created, retired: said by the version itself."""
    assert [] == changes(None, BEFORE) == changes(BEFORE, None)


def test_an_exchange_is_taken_apart() -> None:
    """Whatever came back: an answer that is no JSON stays as it was."""
    raw = {
        "name": "ping", "request": 'POST /p?a=1 HTTP/1.1\r\nHost: a.example:8443\r\nwebhook-id: x\r\n\r\n{"a":[1]}',
        "status": 500, "response": "<h1>no</h1>", "truncated": True, "failure": None, "elapsed_ms": 3.5,
    }  # fmt: skip
    found = dialogue(raw)
    assert ("Test ping", "POST /p?a=1 HTTP/1.1") == (found.name, found.line)
    assert (("Host", "a.example:8443"), ("webhook-id", "x")) == found.headers
    assert ('{\n  "a": [\n    1\n  ]\n}', "<h1>no</h1>") == (found.body, found.answer)
    assert "" == dialogue(raw | {"request": "GET /s HTTP/1.1\r\n\r\n", "response": ""}).answer
