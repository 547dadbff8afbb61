"""Personal values as a page may show them: enough to tell two persons apart, too little to reach one. Pure."""

from collections.abc import Mapping
from typing import Any, Final

HIDDEN: Final = "•••"


def masked(kind: str, value: Any) -> Any:
    """`masked("email", "jane@example.com")`: j•••@•••. Lists and objects keep their shape, and the
    number of digits or letters is not told. `kind` is the field's type; of an unknown one nothing
    is shown."""
    if isinstance(value, Mapping):
        return {name: masked("", one) for name, one in value.items()}
    if isinstance(value, list):
        return [masked("", one) for one in value]
    text = str(value)
    if kind == "email" and "@" in text:
        return f"{text[0]}{HIDDEN}@{HIDDEN}"
    if kind == "phone" and len(text) > 6:
        return f"{HIDDEN}{text[-2:]}"
    if kind == "string" and len(text) > 3:
        return f"{text[0]}{HIDDEN}"
    return HIDDEN


def masked_person(fields: Mapping[str, Any], kinds: Mapping[str, str]) -> dict[str, Any]:
    """Every value masked by the type of its field; `kinds` by name."""
    return {name: masked(kinds.get(name, ""), value) for name, value in fields.items()}
