"""JSON Schemas of the models that the operations name."""

import re
from collections.abc import Iterable
from types import UnionType
from typing import Any, Final, Literal, get_args

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from exchange.http.openapi.about import ABOUT
from exchange.http.openapi.answers import Problem
from exchange.http.openapi.operation import Operation

Schema = dict[str, Any]
Mode = Literal["validation", "serialization"]
_REF: Final = "#/components/schemas/"
# As they are called in Python, and as they read better.
_NAMES: Final = (
    ("Document", ""), ("Page_", "PageOf"), ("-Input", "Written"), ("-Output", ""), ("_", ""), ("Envelope", "Request"),
)  # fmt: skip


class _Plainly(GenerateJsonSchema):
    """Without titles that only repeat a name; what is answered has no defaults, it is there or not."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def default_schema(self, schema: Any) -> Any:
        if self.mode == "serialization" or schema.get("default") in ("", ()):
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)


class Schemas:
    """`ref(model, mode)` for every model of these operations, and all that they are made of."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        wanted: dict[tuple[type[BaseModel], Mode], None] = {(Problem, "serialization"): None}
        for one in operations:
            wanted |= dict.fromkeys((model, "validation") for model in models_of(one.body))
            for _status, told in one.answers:
                wanted |= dict.fromkeys((model, "serialization") for model in models_of(told.model))
        refs, found = models_json_schema(
            list(wanted), ref_template=_REF + "{model}", schema_generator=_Plainly
        )
        self._refs = refs
        defs = found["$defs"]
        self._renamed = _renamed(defs)
        self.components: Schema = {
            self._renamed[name]: self._in_other_words(schema) for name, schema in defs.items()
        }
        for name, schema in self.components.items():
            if schema.get("title") is not None:
                schema["title"] = name
            for part, text in ABOUT.get(name.removesuffix("Written"), {}).items():
                if part in schema["properties"]:
                    schema["properties"][part]["description"] = text

    def of(self, model: Any, mode: Mode) -> Schema:
        """A reference, or one of several."""
        if model == dict[str, Any]:
            return {"type": "object"}
        refs = [self._in_other_words(self._refs[one, mode]) for one in models_of(model)]
        return refs[0] if len(refs) == 1 else {"anyOf": refs}

    def patch_of(self, model: type[BaseModel]) -> Schema:
        """Of an RFC 7396 patch: nothing is required, and null takes away. Stored beside the model."""
        name = self.of(model, "validation")["$ref"].removeprefix(_REF)
        patch = f"{name.removesuffix('Written')}Patch"
        if patch not in self.components:
            whole = self.components[name]
            self.components[patch] = {
                "type": "object",
                "title": patch,
                "additionalProperties": False,
                "properties": {
                    one: _or_null(schema) for one, schema in whole["properties"].items()
                },
            }
        return {"$ref": _REF + patch}

    def _in_other_words(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._in_other_words(one) for one in value]
        if not isinstance(value, dict):
            return value
        return {
            name: _REF + self._renamed[inner.removeprefix(_REF)]
            if name == "$ref"
            else self._in_other_words(inner)
            for name, inner in value.items()
        }


def models_of(model: Any) -> tuple[type[BaseModel], ...]:
    """The models of a union, the model itself, or none."""
    if isinstance(model, UnionType):
        return tuple(inner for one in get_args(model) for inner in models_of(one))
    return (model,) if isinstance(model, type) and issubclass(model, BaseModel) else ()


def _renamed(names: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in names:
        better = re.sub(r"__.*?__", "", name)
        for theirs, ours in _NAMES:
            better = better.replace(theirs, ours)
        found[name] = better if better not in found.values() else name
    return found


def _or_null(schema: Schema) -> Schema:
    rest = {name: value for name, value in schema.items() if name != "default"}
    return {"anyOf": [rest, {"type": "null"}]}
