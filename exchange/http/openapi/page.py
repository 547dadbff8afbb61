"""The description as a page: server-rendered, whole in itself, one style and one script by digest."""

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from exchange.http.openapi.document import reason_text
from exchange.http.openapi.operation import Role

Schema = Mapping[str, Any]
_FOLDER: Final = Path(__file__).parent
_REF: Final = "#/components/schemas/"
_TOKENS: Final = re.compile(r'("(?:[^"\\]|\\.)*")(\s*:)?|\b(true|false|null)\b|(-?\d+(?:\.\d+)?)')


@dataclass(frozen=True, slots=True)
class Row:
    """One property or parameter."""

    name: str
    kind: Markup
    required: bool
    text: Markup


@dataclass(frozen=True, slots=True)
class Outcome:
    """One status an operation may answer with."""

    status: str
    text: Markup
    kind: Markup
    codes: tuple[tuple[str, str], ...]  # of a problem, with what each means
    headers: tuple[str, ...]
    example: Markup | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One operation."""

    id: str
    method: str
    path: str
    summary: str
    text: Markup
    roles: tuple[Role, ...]
    parameters: tuple[Row, ...]
    body: Markup | None  # what it is
    rows: tuple[Row, ...]  # its properties, where it is one object
    examples: tuple[tuple[str, Markup], ...]
    curl: str
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, slots=True)
class Shape:
    name: str
    text: Markup
    kind: Markup
    rows: tuple[Row, ...]


def render(document: Schema, other: str) -> tuple[str, str]:
    """The page and its Content-Security-Policy. `other` says what the other listener is for."""
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = ((_FOLDER / name).read_text("utf-8") for name in ("page.css", "page.js"))
    entries = [
        (operation["tags"][0], _entry(method.upper(), path, operation, document))
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]
    groups = [
        (tag["name"], [entry for name, entry in entries if name == tag["name"]])
        for tag in document["tags"]
    ]
    shapes = [_shape(name, schema) for name, schema in document["components"]["schemas"].items()]
    html = environment.get_template("page.html").render(
        info=document["info"], text=_words(document["info"]["description"]), groups=groups,
        shapes=shapes, other=other, style=Markup(style), script=Markup(script),  # noqa: S704 - our own files
    )  # fmt: skip
    return html, _policy(style, script)


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _entry(method: str, path: str, one: Schema, document: Schema) -> Entry:
    content = one.get("requestBody", {}).get("content", {}).get("application/json", {})
    schema = content.get("schema")
    rows: tuple[Row, ...] = ()
    if schema and "$ref" in schema:
        shape = document["components"]["schemas"][schema["$ref"].removeprefix(_REF)]
        rows = _rows(shape)
    examples = list(content.get("examples", {}).values())
    parameters = tuple(
        Row(each["name"], kind_of(each["schema"]), each.get("required", False), _placed(each))
        for each in one.get("parameters", ())
    )
    return Entry(
        id=one["operationId"], method=method, path=path, summary=one["summary"],
        text=_words(one.get("description", "")), roles=tuple(one.get("x-roles", ())),
        parameters=parameters, body=None if schema is None else kind_of(schema), rows=rows,
        examples=tuple((each["summary"], colour(each["value"])) for each in examples),
        curl=_curl(method, path, one, examples),
        outcomes=tuple(_outcome(status, told) for status, told in one["responses"].items()),
    )  # fmt: skip


def _placed(parameter: Schema) -> Markup:
    place = {"path": "In the path. ", "header": "Header. ", "query": ""}[parameter["in"]]
    return _words(place + parameter["description"])


def _curl(method: str, path: str, one: Schema, examples: list[Any]) -> str:
    for each in one.get("parameters", ()):
        if each["in"] == "path":
            path = path.replace(f"{{{each['name']}}}", each["example"])
    needed = [
        f"{each['name']}={each.get('example', '…')}"
        for each in one.get("parameters", ())
        if each["in"] == "query" and each.get("required")
    ]
    target = f'"$URL{path}{"?" + "&".join(needed) if needed else ""}"'
    words = ["curl -sS", target] if method == "GET" else ["curl -sS -X", method, target]
    lines = [" ".join(words)]
    if one["security"]:
        lines.append('-H "Authorization: Bearer $KEY"')
    if examples:
        body = orjson.dumps(examples[0]["value"]).decode().replace("'", "'\\''")
        lines.append(f"-d '{body}'")
    return " \\\n  ".join(lines)


def _outcome(status: str, told: Schema) -> Outcome:
    contents = told.get("content", {})
    problem = contents.get("application/problem+json")
    kinds = [
        kind_of(content["schema"]) if media == "application/json" else escape(media)
        for media, content in contents.items()
        if media != "application/problem+json"
    ]
    example = next((one["example"] for one in contents.values() if "example" in one), None)
    codes: tuple[tuple[str, str], ...] = ()
    text = told["description"]
    if problem:
        listed = problem["schema"]["allOf"][1]["properties"]["code"]["enum"]
        codes = tuple((code, reason_text(code)) for code in listed)
        text = "" if not kinds else text.partition("\n\n")[0]
    return Outcome(
        status, _words(text), Markup(" or ").join(kinds), codes, tuple(told.get("headers", ())),
        None if example is None or problem else colour(example),
    )  # fmt: skip


def _shape(name: str, schema: Schema) -> Shape:
    rows = _rows(schema)
    kind = Markup("") if rows else kind_of(schema)
    return Shape(name, _words(schema.get("description", "")), kind, rows)


def _rows(schema: Schema) -> tuple[Row, ...]:
    needed = schema.get("required", ())
    return tuple(
        Row(name, kind_of(inner), name in needed, _about(inner))
        for name, inner in schema.get("properties", {}).items()
    )


def _about(schema: Schema) -> Markup:
    said = [_words(schema.get("description", ""))] if "description" in schema else []
    if schema.get("default") is not None:
        said.append(Markup("Default <code>{}</code>.").format(_plain(schema["default"])))
    return Markup(" ").join(said)


def kind_of(schema: Schema) -> Markup:
    """A schema in a few words, with links to shapes."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(_REF)
        return Markup('<a href="#shape-{0}">{0}</a>').format(name)
    for several in ("anyOf", "oneOf"):
        if several in schema:
            kinds = [kind_of(one) for one in schema[several]]
            return Markup(" or ").join(dict.fromkeys(kinds))
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return Markup(" · ").join(Markup("<code>{}</code>").format(_plain(one)) for one in values)
    kind = schema.get("type", "any")
    if isinstance(kind, list):
        return escape(" or ".join(kind))
    if kind == "array":
        return Markup("list of ") + kind_of(schema.get("items", {}))
    if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        return Markup("object of ") + kind_of(schema["additionalProperties"])
    return escape(kind) + _bounds(schema)


def _bounds(schema: Schema) -> Markup:
    low, high = (schema.get(name) for name in ("minimum", "maximum"))
    if schema.get("type") == "string":
        low, high = (schema.get(name) for name in ("minLength", "maxLength"))
    said = Markup("")
    if low is not None or high is not None:
        span = f"{'' if low is None else low}–{'' if high is None else high}"
        said += Markup(" <small>{}{}</small>").format(span, " characters" * (schema.get("type") == "string"))  # fmt: skip
    if schema.get("format"):
        said += Markup(" <small>{}</small>").format(schema["format"])
    if schema.get("pattern"):
        said += Markup(" <small><code>{}</code></small>").format(schema["pattern"])
    return said


def _plain(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _words(text: str) -> Markup:
    """Paragraphs, `code` and **strong**: all the Markdown there is in it."""
    safe = str(escape(text))
    safe = re.sub(r"`([^`]+)`", r"<code>\1</code>", safe)
    safe = re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", safe)
    return Markup(safe.replace("\n\n", "<br><br>"))  # noqa: S704 - it was escaped


def colour(value: object) -> Markup:
    """JSON with its words marked."""
    text = orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    parts, last = [], 0
    for found in _TOKENS.finditer(text):
        parts.append(escape(text[last : found.start()]))
        kind = "k" if found[2] else "s" if found[1] else "b" if found[3] else "n"
        word = found[1] or found[0]
        parts.append(Markup('<span class="{}">{}</span>{}').format(kind, word, found[2] or ""))
        last = found.end()
    return Markup("").join([*parts, escape(text[last:])])
