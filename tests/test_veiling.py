"""A buyer's own words are kept without the person in them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange import veiling
from exchange.veiling import veiled

PERSON: dict[str, Any] = {
    "phone": "+15125550123", "email": "jane@example.com", "first_name": "Ann", "last_name": "O'Neil (jr",
    "born": "1980-05-17", "drivers": [{"name": "Robert", "licence": 4711}], "ok": True, "state": "TX",
    "credit": "good",
}  # fmt: skip
PERSONAL = ("phone", "email", "first_name", "last_name", "born", "drivers", "ok", "lacking")


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("duplicate of +15125550123", "duplicate of •••"),
        ("duplicate 15125550123, 5125550123", "duplicate •••, •••"),
        ("have (512) 555-0123 and +1 512.555.0123", "have ••• and •••"),
        ("(512) 555-0123 is known", "••• is known"),
        ("JANE@example.com is known", "••• is known"),
        ("Ann O'Neil (jr cannot pay", "••• ••• cannot pay"),
        ("robert, licence 4711, born 19800517", "•••, licence •••, born •••"),
        ("TX is closed, credit good, true", "TX is closed, credit good, true"),
        ("id 995125550123009 is ours", "id 995125550123009 is ours"),
    ],
)
def test_what_is_the_persons_is_hidden_and_nothing_else(said: str, kept: str) -> None:
    assert kept == veiled(said, PERSON, PERSONAL)


def test_of_very_many_values_nothing_is_kept() -> None:
    many = {"list": [f"value {n}" for n in range(201)]}

    assert "•••" == veiled("value 7 is known", many, ("list",))


WORDS = st.text("aA1230 -+().é•ıſK", max_size=12)


@given(st.lists(WORDS, max_size=6).map(" ".join), st.dictionaries(st.sampled_from("abcd"), WORDS))
def test_the_quick_look_changes_nothing(said: str, fields: dict[str, str]) -> None:
    for text in (said, " ".join([said, *fields.values()])):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(veiling, "_may_hold", lambda _text, _value: True)
            plain = veiled(text, fields, fields)
        assert plain == veiled(text, fields, fields)
