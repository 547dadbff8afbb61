"""Passwords at rest."""

import pytest

from exchange.office.console.entering.passwords import hash_password, is_password, password_problem


def test_a_password_is_known_by_its_salted_hash() -> None:
    stored = hash_password("owl lamp river")

    assert stored != hash_password("owl lamp river"), "the same salt twice"
    assert "owl" not in stored
    assert is_password("owl lamp river", stored)
    assert not is_password("owl lamp rivers", stored)
    assert not is_password("", stored)


@pytest.mark.parametrize("stored", [None, "", "plain", "scrypt$1$2"])
def test_nobody_enters_without_one(stored: str | None) -> None:
    assert not is_password("owl lamp river", stored)
    assert not is_password("", stored)


@pytest.mark.parametrize(
    ("password", "said"),
    [
        ("short", "at least"),
        ("a" * 12, "easy to guess"),
        ("ann-is-great-ann", "easy to guess"),
        ("x1y2" * 60, "at most"),
        ("owl lamp river", None),
        ("пароль-с-буквами", None),
    ],
)
def test_length_is_what_counts(password: str, said: str | None) -> None:
    found = password_problem(password, "ann")

    assert (said is None) is (found is None)
    assert said is None or said in str(found)
