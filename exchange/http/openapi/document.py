"""The OpenAPI 3.1 document of one listener."""

from http import HTTPStatus
from importlib.metadata import version
from typing import Final, Literal

from pydantic import BaseModel

from exchange.http.openapi import office, public
from exchange.http.openapi.operation import Operation, Parameter, Told
from exchange.http.openapi.schemas import Schema, Schemas
from exchange.reasons import REASONS

Listener = Literal["public", "office"]
LISTENERS: Final = {"public": public, "office": office}
_ROLES: Final = {"seller": "A seller's key.", "buyer": "A buyer's key.", "admin": "An admin's key."}
_HEADERS: Final[dict[str, Schema]] = {
    "ETag": {"description": "For `If-Match`.", "schema": {"type": "string"}},
    "Location": {"description": "Where it is.", "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}},
    "WWW-Authenticate": {"description": "`Bearer`.", "schema": {"type": "string"}},
}
_CODES: Final = {
    "body_timeout": "The body did not arrive in time.",
    "internal": "A fault of the exchange; it has been recorded.",
}
_PROBLEM: Final = "application/problem+json"


def describe(listener: Listener) -> Schema:
    """All of it, ready to be written as JSON. The same for ever for one version of the code."""
    side = LISTENERS[listener]
    operations = side.operations()
    schemas = Schemas(operations)
    paths: dict[str, dict[str, Schema]] = {}
    for one in operations:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": side.TITLE,
            "version": version("ping-post-exchange"),
            "description": side.TEXT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(one.tag for one in operations)],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.components.items())),
            "securitySchemes": {
                "key": {
                    "type": "http", "scheme": "bearer", "bearerFormat": "lx_ROLE_…",
                    "description": "An API key: `exchange keys create`, or `POST /v1/keys` at the operators' listener.",
                }
            },
        },
    }  # fmt: skip


def reason_text(code: str) -> str:
    """What a problem's code means."""
    reason = REASONS.get(code)
    return reason.text if reason else _CODES[code]


def _operation(one: Operation, schemas: Schemas) -> Schema:
    shown: Schema = {"operationId": one.id, "tags": [one.tag], "summary": one.summary}
    if one.text:
        shown["description"] = one.text
    shown["security"] = [{"key": []}] if one.roles else []
    if one.roles:
        shown["x-roles"] = list(one.roles)
    if one.parameters:
        shown["parameters"] = [_parameter(each) for each in one.parameters]
    if one.body is not None or one.optional_body:
        shown["requestBody"] = _body(one, schemas)
    answers = {str(status): _told(told, schemas) for status, told in one.answers}
    for status, codes in one.problems.items():
        answers[str(status)] = _refusal(status, codes, answers.get(str(status)))
    shown["responses"] = dict(sorted(answers.items()))
    return shown


def _parameter(one: Parameter) -> Schema:
    shown: Schema = {"name": one.name, "in": one.place, "description": one.text}
    if one.required:
        shown["required"] = True
    shown["schema"] = dict(one.schema)
    if one.example is not None:
        shown["example"] = one.example
    return shown


def _body(one: Operation, schemas: Schemas) -> Schema:
    if one.body is None:  # nothing, or an empty object
        schema: Schema = {"type": "object", "additionalProperties": False, "maxProperties": 0}
    elif one.patch:
        assert issubclass(one.body, BaseModel)
        schema = schemas.patch_of(one.body)
    else:
        schema = schemas.of(one.body, "validation")
    content: Schema = {"schema": schema}
    if one.examples:
        content["examples"] = {
            name.lower().replace(" ", "_"): {"summary": name, "value": value}
            for name, value in one.examples
        }
    return {"required": not one.optional_body, "content": {"application/json": content}}


def _told(told: Told, schemas: Schemas) -> Schema:
    shown: Schema = {"description": told.text}
    if told.headers:
        shown["headers"] = {name: _HEADERS[name] for name in told.headers}
    if told.model is not None:
        content: Schema = {"schema": schemas.of(told.model, "serialization")}
        if told.example is not None:
            content["example"] = told.example
        shown["content"] = {told.kind: content}
    elif told.kind != "application/json":
        shown["content"] = {told.kind: {"schema": {"type": "string"}}}
    return shown


def _refusal(status: int, codes: list[str], beside: Schema | None) -> Schema:
    """A problem with one of these codes; `beside` is another answer of this status."""
    lines = [f"`{code}` {reason_text(code)}" for code in codes]
    coded = {"type": "object", "properties": {"status": {"const": status}, "code": {"enum": codes}}}
    problem = {"$ref": "#/components/schemas/Problem"}
    shown: Schema = {"description": "\n\n".join(lines)}
    headers = [*(["Retry-After"] * (status in {429, 503})), *(["WWW-Authenticate"] * (status == 401))]  # fmt: skip
    if headers:
        shown["headers"] = {name: _HEADERS[name] for name in headers}
    example = {
        "type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "code": codes[0],
        "detail": reason_text(codes[0]),
    }  # fmt: skip
    shown["content"] = {_PROBLEM: {"schema": {"allOf": [problem, coded]}, "example": example}}
    if beside is not None:
        shown["description"] = f"{beside['description']}\n\n{shown['description']}"
        shown["content"] |= beside["content"]
    return shown
