"""A text that a regular expression matches, for samples of fields that have one. Pure."""

import re
from collections.abc import Callable
from typing import Any, Final

Pick = Callable[[int], int]  # 0 to n - 1

_MORE: Final = 3  # of what may be repeated without end, beyond the least
_CLASSES: Final = {"digit": "0123456789", "word": "abcdefghijklmnop0123456789", "space": " "}


def matching(pattern: str, pick: Pick) -> str | None:
    """None: the pattern is beyond this simple reader, or not one of Python's."""
    try:
        parsed = re._parser.parse(pattern)  # type: ignore[attr-defined] # noqa: SLF001 - the one there is
        found = _all(parsed, pick)
        return found if re.fullmatch(pattern, found) else None
    except (re.error, ValueError, RecursionError, OverflowError):
        return None


def _all(parts: Any, pick: Pick) -> str:
    return "".join(_one(str(kind), given, pick) for kind, given in parts)


def _one(kind: str, given: Any, pick: Pick) -> str:
    match kind:
        case "LITERAL":
            return chr(given)
        case "IN":
            return _member(given, pick)
        case "ANY":
            return "x"
        case "MAX_REPEAT" | "MIN_REPEAT":
            least, most, inner = given
            times = least + pick(min(int(most) - least, _MORE) + 1)
            return "".join(_all(inner, pick) for _ in range(times))
        case "SUBPATTERN":
            return _all(given[3], pick)
        case "BRANCH":
            return _all(given[1][pick(len(given[1]))], pick)
        case "AT":
            return ""
    raise ValueError(kind)


def _member(listed: Any, pick: Pick) -> str:
    """One character of a class."""
    kind, given = listed[pick(len(listed))]
    match str(kind):
        case "LITERAL":
            return chr(given)
        case "RANGE":
            return chr(given[0] + pick(given[1] - given[0] + 1))
        case "CATEGORY":
            name = str(given).removeprefix("CATEGORY_").lower()
            if name in _CLASSES:
                return _CLASSES[name][pick(len(_CLASSES[name]))]
    raise ValueError(kind)
