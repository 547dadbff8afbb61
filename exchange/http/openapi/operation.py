"""One operation of the API: what it takes, what it answers, and every way it can refuse."""

from dataclasses import dataclass
from typing import Any, Final, Literal

Role = Literal["seller", "buyer", "admin"]
Refused = tuple[int, str]  # status, code
Options = dict[str, Any]  # what several operations have in common

# --- what refuses where: the order is that of the answers ---------------------------------------------

KEY: Final[tuple[Refused, ...]] = ((401, "unauthenticated"), (403, "wrong_role"))
AS_SELLER: Final = (*KEY, (403, "seller_inactive"))
BODY: Final[tuple[Refused, ...]] = ((400, "not_json"), (408, "body_timeout"), (413, "too_large"))
CHECKED: Final[tuple[Refused, ...]] = (*BODY, (422, "invalid_request"))
MISSING: Final[tuple[Refused, ...]] = ((404, "not_found"),)
PAGED: Final[tuple[Refused, ...]] = ((422, "invalid_request"),)
ALWAYS: Final[tuple[Refused, ...]] = ((500, "internal"), (503, "unavailable"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An answer that is no refusal. `model` None: without a body."""

    text: str
    model: Any = None  # a model, or a union of models
    example: Any = None
    headers: tuple[str, ...] = ()  # ETag, Location, Retry-After
    kind: str = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    name: str
    text: str
    place: Literal["query", "path", "header"] = "query"
    schema: tuple[tuple[str, Any], ...] = (("type", "string"),)
    required: bool = False
    example: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """`method` and `path` are the route's; `roles` empty: no key is needed."""

    id: str  # stable: client libraries name their functions by it
    method: str
    path: str
    tag: str
    summary: str
    text: str = ""
    roles: tuple[Role, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    body: Any = None  # a model, or a union of models
    patch: bool = False  # the body is an RFC 7396 patch of that model
    optional_body: bool = False
    examples: tuple[tuple[str, Any], ...] = ()  # of the body: what it shows, and the body
    answers: tuple[tuple[int, Told], ...]
    refused: tuple[Refused, ...] = ()

    @property
    def problems(self) -> dict[int, list[str]]:
        """Codes by status."""
        found: dict[int, list[str]] = {}
        for status, code in (*self.refused, *(ALWAYS if self.roles else ())):
            if code not in found.setdefault(status, []):
                found[status].append(code)
        return dict(sorted(found.items()))


def _enum(*values: str) -> tuple[tuple[str, Any], ...]:
    return (("type", "string"), ("enum", list(values)))


SLUG: Final = (("type", "string"), ("pattern", "^[a-z0-9][a-z0-9_-]{0,63}$"))
LIMIT: Final = Parameter(
    name="limit", text="Items of one page.",
    schema=(("type", "integer"), ("minimum", 1), ("maximum", 200), ("default", 50)),
)  # fmt: skip
CURSOR: Final = Parameter(name="cursor", text="The `next` of the page before.")
PAGING: Final = (LIMIT, CURSOR)
IDEMPOTENCY: Final = Parameter(
    name="Idempotency-Key",
    place="header",
    text="Makes a retry safe for 24 h: the same key and body are answered alike, and run once. After "
    "no answer, 409, 429 or 503 send the same again. 1 to 255 visible ASCII characters.",
    schema=(("type", "string"), ("minLength", 1), ("maxLength", 255), ("pattern", "^[!-~]+$")),
    example="ann-1",
)
IF_MATCH: Final = Parameter(
    name="If-Match",
    place="header",
    text="The `ETag` that was read; 412 if the document was changed since.",
    example='"7"',
)


def in_path(name: str, text: str, example: str, schema: Any = SLUG) -> Parameter:
    return Parameter(
        name=name, text=text, place="path", schema=schema, required=True, example=example
    )


def one_of(name: str, text: str, *values: str) -> Parameter:
    """A filter of a list."""
    return Parameter(name=name, text=text, schema=_enum(*values))


def an_id(kind: str, example: str) -> Parameter:
    shape = (("type", "string"), ("pattern", rf"^{kind}_(test_)?[0-9a-f]{{32}}$"))
    return in_path("id", f"`{kind}_…`", example, shape)
