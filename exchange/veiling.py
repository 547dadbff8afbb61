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
        if _may_hold(text, value):
            text = re.sub(_pattern(value), HIDDEN, text, flags=re.IGNORECASE)
    return text


def _may_hold(text: str, value: str) -> bool:
    """A quick look: nearly no note names the person, and each value is a pattern of its own, which
    costs a hundred times as much to make. False only where the pattern finds nothing."""
    if not (text.isascii() and value.isascii()):  # two letters may be one without regard to case
        return True
    if _is_number(value):
        return _digits(value)[-10:] in _digits(text)
    return value.lower() in text.lower()


def _is_number(value: str) -> bool:
    """Whether it may be written with other signs between its digits."""
    return len(_digits(value)) >= _DIGITS_MIN and not any(one.isalpha() for one in value)


def _digits(text: str) -> str:
    return "".join(one for one in text if one.isdigit())


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
    if _is_number(value):
        national = _BETWEEN.join(_digits(value)[-10:])
        return rf"(?<!\d)(?:\+?\d{{1,3}}{_BETWEEN})?\(?{national}(?!\d)"
    return rf"(?<!\w){re.escape(value)}(?!\w)"
