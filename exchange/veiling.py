"""Takes a person out of somebody else's words. Pure.

A buyer who rejects a lead may say `duplicate of +12125550123`: that is kept, shown to people who may not
see persons, and outlives an erasure.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

HIDDEN: Final = "•••"
_SHORTEST: Final = 3  # characters: less is in every other word
_DIGITS_MIN: Final = 7  # of what may be written with other signs between: phones, dates
_VALUES_MAX: Final = 200
_BETWEEN: Final = r"[\s().\-/]{0,3}"


def veiled(text: str, fields: Mapping[str, Any], personal: Iterable[str]) -> str:
    """`text` with each of the person's values, as a word of its own, replaced by three dots; a phone
    also in other spellings. `personal`: names of fields. Of a person of very many values nothing is
    kept."""
    values = {one for name in personal for one in _words(fields.get(name))}
    if len(values) > _VALUES_MAX:
        return HIDDEN
    for value in sorted(values, key=lambda one: (-len(one), one)):
        text = re.sub(_pattern(value), HIDDEN, text, flags=re.IGNORECASE)
    return text


def _words(value: Any) -> Iterator[str]:
    """Everything that is said somewhere in a value."""
    if isinstance(value, Mapping):
        for one in value.values():
            yield from _words(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _words(one)
    elif not isinstance(value, bool | None) and len(str(value).strip()) >= _SHORTEST:
        yield str(value).strip()


def _pattern(value: str) -> str:
    digits = [one for one in value if one.isdigit()]
    if len(digits) >= _DIGITS_MIN and not any(one.isalpha() for one in value):
        national = _BETWEEN.join(digits[-10:])
        return rf"(?<!\d)(?:\+?\d{{1,3}}{_BETWEEN})?\(?{national}(?!\d)"
    return rf"(?<!\w){re.escape(value)}(?!\w)"
