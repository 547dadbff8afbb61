"""Ids: sortable by time, told apart by kind, and nothing else passes for one."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.ids import new_uuid, read_id, write_id

MS = 1_790_000_000_123
ONE = UUID("0198c0ff-ee00-7abc-8def-0123456789ab")


def test_a_uuid_is_version_7_of_its_millisecond() -> None:
    """RFC 9562: 48 bits of time, version 7, variant 10, the rest random."""
    found = new_uuid(MS, lambda count: b"\xff" * count)

    assert MS == found.int >> 80
    assert (7, "specified in RFC 4122") == (found.version, found.variant)
    assert UUID(f"{MS:012x}7fffbfffffffffffffff") == found
    assert UUID(f"{MS:012x}70008000000000000000") == new_uuid(MS, bytes)


@given(st.integers(0, 2**48 - 2), st.binary(min_size=10, max_size=10))
def test_later_ids_sort_after_earlier_ones(ms: int, drawn: bytes) -> None:
    """As numbers and as text, whatever the random part."""
    earlier, later = new_uuid(ms, lambda _: b"\xff" * 10), new_uuid(ms + 1, lambda _: drawn)

    assert earlier < later
    assert write_id("ping", earlier) < write_id("ping", later)


@given(st.sampled_from(["ping", "lead", "att"]), st.uuids(), st.booleans())
def test_an_id_reads_as_it_was_written(kind: str, uuid: UUID, test: bool) -> None:
    """Kind, UUID, and whether it is a test's."""
    assert (uuid, test) == read_id(kind, write_id(kind, uuid, test=test))


def test_ids_say_their_kind_and_whether_they_are_tests() -> None:
    """The spelling that sellers and buyers see."""
    assert "ping_0198c0ffee007abc8def0123456789ab" == write_id("ping", ONE)
    assert "lead_test_0198c0ffee007abc8def0123456789ab" == write_id("lead", ONE, test=True)


HEX = ONE.hex
STRANGERS = [
    f"lead_{HEX}",  # another kind
    HEX,  # no kind
    f"ping_{ONE}",  # with hyphens
    f"ping_{HEX.upper()}",  # one spelling only, or a cursor would not find it
    f"ping_{HEX}\n",  # `$` would let it through
    f" ping_{HEX}",
    f"ping_{HEX[:-1]}",
    f"ping_{HEX}0",
    f"ping_live_{HEX}",
    f"ping_test_test_{HEX}",
    "ping_" + "０" * 32,  # full-width digits
    "ping_' OR 1=1 --",
    "",
    None,
    7,
    [f"ping_{HEX}"],
    {"id": HEX},
]


@pytest.mark.parametrize("text", STRANGERS, ids=range(len(STRANGERS)))
def test_anything_else_is_no_id(text: object) -> None:
    """None, which becomes the same 404 as an id that nobody has."""
    assert None is read_id("ping", text)
