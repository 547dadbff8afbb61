"""The envelope of what sellers send."""

from typing import Any

import pytest

from exchange.errors import Problem, Refusal
from exchange.http.requests import PingEnvelope, read_model, read_post


@pytest.mark.parametrize("fields", [None, 5, True, "zip", [], [["zip", "10001"]]])
def test_fields_are_an_object(fields: Any) -> None:
    """As if pydantic had looked into it."""
    with pytest.raises(Refusal) as caught:
        read_post({"ping_id": "ping_1", "fields": fields})

    assert caught.value.problems == (
        Problem("fields", "invalid_type", "Input should be a valid dictionary"),
    )


def test_fields_are_left_to_the_vertical() -> None:
    fields = {"zip": "10001", "drivers": [{"age": 30}]}

    assert fields is read_post({"ping_id": "ping_1", "fields": fields}).fields


def test_what_a_ping_leaves_out_is_not_shared_with_others() -> None:
    one, other = (read_model(PingEnvelope, {"vertical": "auto", "fields": {}}) for _ in range(2))

    assert ([], [], False, None) == (
        one.exclude_buyers, other.exclude_buyers, one.test, one.max_wait_ms,
    )  # fmt: skip
    assert one.exclude_buyers is not other.exclude_buyers


def test_all_that_is_wrong_is_told_in_order() -> None:
    body = {"ping": 1, "fields": 5, "max_wait_ms": "9", "exclude_buyers": ["x" * 201], "test": 1}
    with pytest.raises(Refusal) as caught:
        read_model(PingEnvelope, body)

    assert [
        ("fields", "invalid_type"), ("max_wait_ms", "invalid_type"), ("vertical", "required"),
        ("exclude_buyers.0", "too_long"), ("test", "invalid_type"), ("ping", "unknown_field"),
    ] == [(one.path, one.code) for one in caught.value.problems]  # fmt: skip
