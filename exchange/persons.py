"""How a person is found again by an e-mail address or a phone number, without either being kept. Pure."""

from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import ValidationError
from pydantic_core import SchemaValidator

from exchange.fields import Field, schema_of
from exchange.sealing import Vault

Kind = Literal["email", "phone"]
WHAT: Final = {"email": "an e-mail address", "phone": "a phone number such as +12125550123"}


def blind_index(vault: Vault, kind: str, value: str) -> bytes:
    """The index of a normalised value. The case of an e-mail address says nothing."""
    return vault.blind(kind, value.lower() if kind == "email" else value)


def find_by(vault: Vault, kind: Kind, text: str) -> tuple[bytes, ...]:
    """Every index that leads of this person may have, however the text is spelled; empty: it is no
    such value. The last one is that of leads from before case was left out."""
    try:
        value = str(SchemaValidator(schema_of(Field(type=kind))).validate_python(text))
    except ValidationError:
        return ()
    return tuple(dict.fromkeys((blind_index(vault, kind, value), vault.blind(kind, value))))


def without_case(vault: Vault, person: Mapping[str, Any], index: bytes) -> bytes | None:
    """The index of a person's address whose capitals counted in the one that is stored; None: they did not."""
    for value in person.values():
        cased = isinstance(value, str) and "@" in value and value != value.lower()
        if cased and vault.blind("email", value) == index:
            return blind_index(vault, "email", value)
    return None
