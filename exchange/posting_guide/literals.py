"""Values of JSON as each language writes them. Pure."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class _Style:
    words: Mapping[object, str]  # true, false, null
    opens: str
    closes: str
    pair: str
    text: Callable[[str], str]


INDENT: Final = "    "


def _json_text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _php_text(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


JSON: Final = _Style({True: "true", False: "false", None: "null"}, "{", "}", ": ", _json_text)
PYTHON: Final = _Style({True: "True", False: "False", None: "None"}, "{", "}", ": ", _json_text)
PHP: Final = _Style({True: "true", False: "false", None: "null"}, "[", "]", " => ", _php_text)


def written(value: object, style: _Style, indent: str = "") -> str:
    """A value of JSON as that language writes it."""
    if isinstance(value, bool) or value is None:
        return style.words[value]
    if isinstance(value, str):
        return style.text(value)
    if isinstance(value, dict):
        inner = indent + INDENT
        rows = [
            f"{inner}{style.text(name)}{style.pair}{written(one, style, inner)}"
            for name, one in value.items()
        ]
        if not rows:
            return style.opens + style.closes if style is not PHP else "new stdClass()"
        return f"{style.opens}\n" + ",\n".join(rows) + f"\n{indent}{style.closes}"
    if isinstance(value, list):
        return "[" + ", ".join(written(one, style, indent) for one in value) + "]"
    return str(value)


def shell(text: str) -> str:
    """Inside of single quotes."""
    return text.replace("'", "'\\''")
