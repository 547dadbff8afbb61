"""Persons at rest: opened with the right key only, erased for good, found by blind index."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.sealing import SealBroken, Sealed, Vault

LEAD = "0198cafe-0000-7000-8000-000000000001"
ANN = {"first_name": "Añn", "phone": "+15125550147", "zip": "78704", "age": 34}


def counting() -> Callable[[int], bytes]:
    """Bytes that never repeat and are the same in every run."""
    drawn = 0

    def draw(count: int) -> bytes:
        nonlocal drawn
        drawn += 1
        return drawn.to_bytes(count, "big")

    return draw


def vault(master: bytes = b"m" * 32) -> Vault:
    return Vault(master, counting())


def flipped(raw: bytes, at: int) -> bytes:
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


def test_a_sealed_person_opens_again() -> None:
    """With the same master key, also in another process."""
    sealed = vault().seal(LEAD, ANN)

    assert ANN == vault().open(LEAD, sealed)


def test_nothing_of_a_person_shows() -> None:
    """Neither the body nor the wrapped key holds a readable part."""
    sealed = vault().seal(LEAD, ANN)

    assert sealed.key is not None
    assert not any(part in sealed.body + sealed.key for part in (b"5125550147", b"78704", b"zip"))


def test_each_lead_has_a_key_of_its_own() -> None:
    """The same person twice is sealed differently twice."""
    ours = vault()
    one, two = ours.seal(LEAD, ANN), ours.seal(LEAD, ANN)

    assert one.key != two.key
    assert one.body != two.body
    with pytest.raises(SealBroken):
        ours.open(LEAD, Sealed(one.key, two.body))


SEALED = vault().seal(LEAD, ANN)
assert SEALED.key is not None
BROKEN = [
    # (what became of it, vault, lead, sealed)
    ("erased", vault(), LEAD, replace(SEALED, key=None)),
    ("another master key", vault(b"o" * 32), LEAD, SEALED),
    ("another lead's row", vault(), "lead-2", SEALED),
    ("body changed", vault(), LEAD, replace(SEALED, body=flipped(SEALED.body, 20))),
    ("nonce changed", vault(), LEAD, replace(SEALED, body=flipped(SEALED.body, 0))),
    ("body cut", vault(), LEAD, replace(SEALED, body=SEALED.body[:-1])),
    ("body shorter than a nonce", vault(), LEAD, replace(SEALED, body=b"xyz")),
    ("body gone", vault(), LEAD, replace(SEALED, body=b"")),
    ("key changed", vault(), LEAD, replace(SEALED, key=flipped(SEALED.key, 20))),
    ("key of a later version", vault(), LEAD, replace(SEALED, key=b"\x02" + SEALED.key[1:])),
    ("key cut", vault(), LEAD, replace(SEALED, key=SEALED.key[:5])),
    ("key gone", vault(), LEAD, replace(SEALED, key=b"")),
]


@pytest.mark.parametrize(
    ("ours", "lead", "sealed"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN]
)
def test_what_was_erased_or_changed_does_not_open(ours: Vault, lead: str, sealed: Sealed) -> None:
    """SealBroken, whatever happened to it, and no other exception."""
    with pytest.raises(SealBroken):
        ours.open(lead, sealed)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text(max_size=5), st.text(max_size=20) | st.integers(0, 9), max_size=4))
def test_any_person_opens_as_it_was_sealed(person: dict[str, object]) -> None:
    """Whatever the fields hold."""
    assert person == vault().open(LEAD, vault().seal(LEAD, person))


def test_a_secret_opens_for_its_purpose_only() -> None:
    """A contract's signing key cannot be moved to another contract's row."""
    sealed = vault().seal_text("contract:acme", "whsec_YWNtZQ==")

    assert "whsec_YWNtZQ==" == vault().open_text("contract:acme", sealed)
    for ours, purpose, raw in (
        (vault(), "contract:bolt", sealed),
        (vault(b"o" * 32), "contract:acme", sealed),
        (vault(), "contract:acme", flipped(sealed, 20)),
        (vault(), "contract:acme", b"\x02" + sealed[1:]),
        (vault(), "contract:acme", b""),
    ):
        with pytest.raises(SealBroken):
            ours.open_text(purpose, raw)


def test_blind_indexes_meet_where_the_values_are_equal() -> None:
    """Keyed, so that nobody without the master key can try all phone numbers."""
    ours = vault()
    same = ours.blind("phone", "+15125550147")

    assert same == vault().blind("phone", "+15125550147")
    different = {
        ours.blind("phone", "+15125550148"),
        ours.blind("email", "+15125550147"),
        vault(b"o" * 32).blind("phone", "+15125550147"),
        ours.key_digest("+15125550147"),
    }
    assert 4 == len(different - {same})


def test_opaque_names_are_stable_and_per_pair() -> None:
    """A seller sees one name per buyer, and cannot compare it with another seller's."""
    ours = vault()
    name = ours.opaque("buyer", "quoteform", "acme")

    assert name == vault().opaque("buyer", "quoteform", "acme")
    assert 4 == len(
        {
            name,
            ours.opaque("buyer", "quoteform", "bolt"),
            ours.opaque("buyer", "other", "acme"),
            ours.opaque("seller", "quoteform", "acme"),
        }
    )
    assert (16, True) == (len(name), name.isalnum())


def test_a_derived_text_is_the_same_at_every_start() -> None:
    """Demo keys stay valid when the demo is started again."""
    assert vault().derived_text("demo") == vault().derived_text("demo")
    assert vault().derived_text("demo") != vault(b"o" * 32).derived_text("demo")


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_master_key_has_32_bytes(size: int) -> None:
    """Anything else is refused before it seals anything."""
    with pytest.raises(ValueError, match="32 bytes"):
        Vault(b"m" * size, counting())
