"""Holds real answers against the API's description."""

import re
from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from exchange.http.openapi.document import Listener, describe

_ROOT = "urn:described"


class Description:
    """The OpenAPI document of one listener, to look answers up in."""

    def __init__(self, listener: Listener) -> None:
        self.document = describe(listener)
        resource = Resource(contents=self.document, specification=DRAFT202012)
        self._registry: Registry[Any] = Registry().with_resource(_ROOT, resource)
        self._paths = [
            (re.compile("^" + re.sub(r"\{\w+\}", "[^/]+", path) + "$"), path)
            for path in sorted(self.document["paths"], key=lambda one: one.count("{"))
        ]

    def operations(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Method, path, and what is said of it."""
        return [
            (method.upper(), path, one)
            for path, methods in self.document["paths"].items()
            for method, one in methods.items()
        ]

    def of(self, method: str, path: str) -> dict[str, Any]:
        """The operation of a request."""
        plain = path.partition("?")[0]
        for shape, name in self._paths:
            if shape.match(plain) and method.lower() in self.document["paths"][name]:
                found: dict[str, Any] = self.document["paths"][name][method.lower()]
                return found
        raise AssertionError(f"{method} {path} is not described")

    def faults(self, schema: Mapping[str, Any], value: Any) -> list[str]:
        """What is wrong with a value, by a schema of this document."""
        absolute = _absolute(schema)
        checks = Draft202012Validator(
            absolute, registry=self._registry, format_checker=FormatChecker()
        )
        return [
            f"{'.'.join(map(str, one.path))}: {one.message}" for one in checks.iter_errors(value)
        ]

    def check(
        self, method: str, path: str, status: int, body: Any, headers: Mapping[str, str]
    ) -> None:
        """Fails where an answer is another than the description says."""
        told = self.of(method, path)["responses"].get(str(status))
        assert told is not None, f"{method} {path} answers {status}: not described; {body}"
        kind = headers.get("Content-Type", "").partition(";")[0]
        contents = told.get("content")
        if contents is None:
            assert body is None, f"{method} {path} {status} has a body"
            return
        assert kind in contents, f"{method} {path} {status} is {kind}: {list(contents)}"
        faults = self.faults(contents[kind]["schema"], body)
        assert [] == faults, f"{method} {path} {status}: {faults} in {body}"
        for name in told.get("headers", {}):
            assert name in headers, f"{method} {path} {status} lacks {name}"


def _absolute(value: Any) -> Any:
    if isinstance(value, list):
        return [_absolute(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        name: _ROOT + inner if name == "$ref" else _absolute(inner) for name, inner in value.items()
    }
