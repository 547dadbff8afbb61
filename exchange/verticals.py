"""A vertical: the typed fields of one kind of lead, which of them a ping may show, the margin.

`read_vertical` reads a document; `compile_fields` makes of it what checks every ping and lead.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic import Field as Limits
from pydantic_core import PydanticCustomError, SchemaError, SchemaValidator

from buyers.money import MoneyInvalid, parse_micros
from exchange.errors import DocumentsInvalid, Problem, problems_of
from exchange.fields import Condition, Field, FieldType, Stage, bounds_of, object_schema, schema_of

__all__ = [
    "Checked", "Condition", "Field", "FieldChecks", "FieldType", "Margin", "Stage", "Vertical",
    "VerticalHead", "compile_fields", "read_margin", "read_vertical",
]  # fmt: skip

_DEPTH_MAX: Final = 6  # an array of objects is three
_RANGED: Final = frozenset({"string", "integer", "decimal", "date", "datetime", "array"})
_OPTIONS: Final = {
    "min": _RANGED, "max": _RANGED, "pattern": {"string"},
    "values": {"enum"}, "fields": {"object"}, "items": {"array"},
}  # fmt: skip
_CONDITION_VALUES: Final = {"eq": (str, int), "in": (tuple,), "exists": (bool, type(None))}
_NEEDED: Final = {"enum": "values", "object": "fields", "array": "items"}
# Findings of pydantic that exchange.errors has no stable name for.
_RECODED: Final = {
    "unexpected_keyword_argument": ("unknown_field", "is not a property here; remove it"),
    "invalid_key": ("unknown_field", "names must be text"),
    "string_unicode": ("bad_format", "must be Unicode text"),
    "recursion_loop": ("too_deep", "is nested too deeply"),
    "recursion_depth_exceeded": ("too_deep", "is nested too deeply"),
}
_PATH_MAX: Final = 320  # our own are shorter; a name that is no field's is the sender's text


@dataclass(frozen=True, slots=True, kw_only=True)
class Margin:
    """What the exchange keeps of a pay price: floor(pay × percent) + fixed."""

    percent_ppm: int = 0  # parts per million of the pay price: 20 % is 200_000
    fixed_micros: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Vertical:
    """A kind of lead. Every field has a stage; field names are unique."""

    slug: str
    name: str
    currency: str  # ISO 4217
    on_personal_data_in_ping: Literal["refuse", "strip"]
    margin: Margin
    auction: Literal["first_price", "second_price"]
    dedupe_days: int  # no second sale of a person within so many days; 0: no such rule
    fields: tuple[Field, ...]


class Checked(NamedTuple):
    """Normalised JSON-ready values; empty if there is any problem."""

    values: dict[str, object]
    problems: tuple[Problem, ...]


class FieldChecks:
    """Checks the fields of pings and leads of one vertical. Immutable; build once, use for all."""

    __slots__ = ("_lead", "_lead_rules", "_ping", "_ping_rules", "_strip",
                 "ping_field_names", "post_field_names")  # fmt: skip

    def __init__(self, vertical: Vertical) -> None:
        ping = tuple(field for field in vertical.fields if field.stage == "ping")
        self.ping_field_names = frozenset(field.name for field in ping)
        self.post_field_names = frozenset(f.name for f in vertical.fields) - self.ping_field_names
        self._strip = vertical.on_personal_data_in_ping == "strip"
        self._ping = SchemaValidator(object_schema(ping))
        self._lead = SchemaValidator(object_schema(vertical.fields))
        self._ping_rules = _rules(ping)
        self._lead_rules = _rules(vertical.fields)

    def ping(self, raw: Mapping[str, object]) -> Checked:
        """Ping-stage fields only; personal data is a problem, or dropped if the vertical says so."""
        if not isinstance(raw, dict) or self.post_field_names.isdisjoint(raw):
            return _judge(self._ping, self._ping_rules, raw)
        kept = {name: value for name, value in raw.items() if name not in self.post_field_names}
        checked = _judge(self._ping, self._ping_rules, kept)
        if self._strip:
            return checked
        return Checked({}, (*_personal(self.post_field_names.intersection(raw)), *checked.problems))

    def lead(self, raw: Mapping[str, object]) -> Checked:
        """Every field of both stages; values of a checked ping pass unchanged."""
        return _judge(self._lead, self._lead_rules, raw)


_Rules = tuple[tuple[str, Condition], ...]


def compile_fields(vertical: Vertical) -> FieldChecks:
    """About 1 ms for 30 fields; the caller keeps the result as long as the vertical."""
    return FieldChecks(vertical)


def _rules(fields: tuple[Field, ...]) -> _Rules:
    return tuple((field.name, field.required_if) for field in fields if field.required_if)


def _judge(validator: SchemaValidator, rules: _Rules, raw: Mapping[str, object]) -> Checked:
    try:
        values: dict[str, object] = validator.validate_python(raw)
    except ValidationError as error:
        # Nothing is normalised then; conditions are judged on what was sent, to tell all at once.
        missing = _missing(rules, raw) if isinstance(raw, Mapping) else ()
        return Checked({}, (*_findings(error, "fields"), *missing))
    missing = _missing(rules, values)
    return Checked({} if missing else values, missing)


def _missing(rules: _Rules, values: Mapping[str, object]) -> tuple[Problem, ...]:
    return tuple(
        Problem(f"fields.{name}", "required", f"is required because of {condition.field}")
        for name, condition in rules
        if name not in values and condition.holds(values)
    )


def _personal(names: frozenset[str]) -> Iterator[Problem]:
    text = "is personal data and must not be in a ping; send it with the lead"
    return (Problem(f"fields.{name}", "personal_data_in_ping", text) for name in sorted(names))


def _findings(error: ValidationError, prefix: str) -> tuple[Problem, ...]:
    found = []
    for problem in problems_of(error, prefix):
        code, message = _RECODED.get(problem.code, (problem.code, problem.message))
        found.append(Problem(_short(problem.path), code, message))
    return tuple(found)


def _short(path: str) -> str:
    return path.encode("utf-8", "replace").decode()[:_PATH_MAX]


class VerticalHead(BaseModel):
    """A vertical's document but for its margin and fields, which are read one by one."""

    model_config = ConfigDict(extra="forbid")
    slug: Annotated[str, Limits(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
    name: Annotated[str, Limits(min_length=1, max_length=200)]
    currency: Annotated[str, Limits(pattern=r"^[A-Z]{3}$")] = "USD"
    on_personal_data_in_ping: Literal["refuse", "strip"] = "refuse"
    margin: Any = None
    auction: Literal["first_price", "second_price"] = "first_price"
    dedupe_days: Annotated[int, Limits(ge=0, le=3650, strict=True)] = 0
    fields: Annotated[list[Any], Limits(min_length=1, max_length=200)]


_FIELD: Final = TypeAdapter(Field)


def read_vertical(document: Mapping[str, object]) -> Vertical:
    """The vertical a document describes; DocumentsInvalid with every problem of it."""
    problems: list[Problem] = []
    head: VerticalHead | None = None
    margin, fields = Margin(), tuple[Field, ...]()
    try:
        head = VerticalHead.model_validate(document)
    except ValidationError as error:
        problems += _findings(error, "")
    if isinstance(document, Mapping):
        margin = _collect_margin(document.get("margin"), problems)
        fields = _collect_fields(document.get("fields"), problems)
    if head and head.dedupe_days and not any(one.type in {"phone", "email"} for one in fields):
        text = "needs a field of type phone or email to know a person by"
        problems.append(Problem("dedupe_days", "not_allowed", text))
    if head is None or problems:
        raise DocumentsInvalid(tuple(problems))
    rest = head.model_dump(exclude={"margin", "fields"})
    return Vertical(margin=margin, fields=fields, **rest)


def read_margin(document: object, path: str = "margin") -> Margin:
    """Of `{"percent":"20","fixed":"0"}`, both optional; DocumentsInvalid with every problem."""
    if not isinstance(document, Mapping):
        raise DocumentsInvalid((Problem(path, "invalid_type", "must be an object"),))
    amounts = {"percent": 0, "fixed": 0}
    problems: list[Problem] = []
    for name, value in document.items():
        try:
            if name in amounts:
                amounts[name] = parse_micros(value)
            else:
                problems.append(_problem(path, name, "unknown_field", "is not a property here"))
        except MoneyInvalid as error:
            problems.append(_problem(path, name, error.code, str(error)))
    percent = amounts["percent"]
    if percent > 100_000_000 or percent % 100:
        text = "must be 0 to 100 with at most 4 decimals"
        problems.append(_problem(path, "percent", "out_of_range", text))
    if problems:
        raise DocumentsInvalid(tuple(problems))
    return Margin(percent_ppm=percent // 100, fixed_micros=amounts["fixed"])


def _collect_margin(raw: object, problems: list[Problem]) -> Margin:
    try:
        return Margin() if raw is None else read_margin(raw)
    except DocumentsInvalid as error:
        problems += error.problems
        return Margin()


def _collect_fields(raw: object, problems: list[Problem]) -> tuple[Field, ...]:
    """Each field on its own, so that a fault in one does not hide those of the others."""
    fields: dict[int, Field] = {}
    for at, item in enumerate(raw if isinstance(raw, (list, tuple)) else ()):
        try:
            fields[at] = _FIELD.validate_python(item)
        except ValidationError as error:
            problems += _findings(error, f"fields.{at}")
    others = {field.name: field for field in fields.values()}
    for at, field in fields.items():
        problems += _faults(field, f"fields.{at}", field.stage, 1)
        problems += _top_faults(field, f"fields.{at}", others)
    problems += _twice(fields, "fields")
    return tuple(fields.values())


def _top_faults(field: Field, path: str, others: Mapping[str, Field]) -> Iterator[Problem]:
    if field.stage is None:
        yield _problem(path, "stage", "required", "is required: ping or post")
    condition = field.required_if
    if condition is None:
        return
    other = others.get(condition.field)
    if other is None or other is field:
        yield _problem(path, "required_if.field", "not_allowed", "must name another field")
    elif field.stage == "ping" and other.stage == "post":
        text = "must not be a post-stage field: a ping cannot be judged by it"
        yield _problem(path, "required_if.field", "not_allowed", text)
    if not isinstance(condition.value, _CONDITION_VALUES[condition.op]):
        text = "must be a list for in, true or false for exists, else one value"
        yield _problem(path, "required_if.value", "invalid_type", text)


def _faults(field: Field, path: str, stage: str | None, depth: int) -> Iterator[Problem]:
    """What is wrong with a field of sound shape, and with the fields inside it."""
    if depth > _DEPTH_MAX:
        yield Problem(path, "too_deep", "is nested too deeply")
        return
    if field.type in {"email", "phone"} and stage == "ping":
        text = f"of type {field.type} is personal data: its stage must be post"
        yield Problem(path, "personal_data_in_ping", text)
    for option in ("stage", "required_if"):
        if depth > 1 and getattr(field, option) is not None:
            yield _problem(path, option, "not_supported", "is for top-level fields only")
    yield from _option_faults(field, path)
    yield from _twice(dict(enumerate(field.fields)), f"{path}.fields")
    for at, inner in enumerate(field.fields):
        yield from _faults(inner, f"{path}.fields.{at}", stage, depth + 1)
    if field.items:
        yield from _faults(field.items, f"{path}.items", stage, depth + 1)


def _option_faults(field: Field, path: str) -> Iterator[Problem]:
    if bool(field.name) is path.endswith(".items"):
        yield _problem(path, "name", "required", "every field has a name, items have none")
    for option, types in _OPTIONS.items():
        given = getattr(field, option) not in {None, ()}
        if given and field.type not in types:
            yield _problem(path, option, "not_supported", f"means nothing for type {field.type}")
        if not given and _NEEDED.get(field.type) == option:
            yield _problem(path, option, "required", f"is required for type {field.type}")
    yield from _unusable(field, path)


def _unusable(field: Field, path: str) -> Iterator[Problem]:
    try:
        if field.type in _RANGED:
            low, high = bounds_of(field)
            if low is not None and high is not None and low > high:
                yield _problem(path, "max", "out_of_range", "must not be below min")
        if field.type not in _NEEDED:  # what is inside objects and arrays has its own turn
            SchemaValidator(schema_of(field))
    except PydanticCustomError as error:
        yield Problem(path, error.type, f"min or max {error.message()}")
    except SchemaError:
        yield _problem(path, "pattern", "bad_format", "is not a regular expression of Rust's")


def _twice(fields: Mapping[int, Field], path: str) -> Iterator[Problem]:
    seen: set[str] = set()
    for at, field in fields.items():
        if field.name in seen:
            yield Problem(f"{path}.{at}.name", "duplicate", "is the name of an earlier field")
        seen.add(field.name)


def _problem(path: str, name: object, code: str, message: str) -> Problem:
    return Problem(_short(f"{path}.{name}"), code, message)
