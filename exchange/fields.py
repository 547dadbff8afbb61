"""One field of a lead: its description, and the schema that checks and normalises its values."""

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import ConfigDict, PlainValidator, StrictBool
from pydantic import Field as Limits
from pydantic_core import CoreSchema, PydanticCustomError
from pydantic_core import core_schema as cs

FieldType = Literal[
    "string", "integer", "decimal", "boolean", "enum", "date", "datetime",
    "email", "phone", "zip", "state", "ip", "url", "object", "array",
]  # fmt: skip
Stage = Literal["ping", "post"]

_INTEGER_MAX: Final = 2**53 - 1  # beyond it a buyer's JSON parser may round
_DECIMAL_MAX: Final = 10**15
_DECIMAL_DIGITS: Final = 40  # as written without exponent
_STRING_MAX: Final = 1000
_ITEMS_MAX: Final = 50
_USPS: Final = """
    AL AK AZ AR CA CO CT DE FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY
    NC ND OH OK OR PA RI SC SD TN TX UT VT VA WA WV WI WY DC AS GU MP PR VI
"""
STATES: Final = frozenset(_USPS.split())
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_DECIMAL: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_CLOCK = r"[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)"
_DATETIME: Final = re.compile(_DATE.pattern + _CLOCK, re.ASCII)
_ZIP: Final = re.compile(r"(\d{5})(-?\d{4})?", re.ASCII)
_URL: Final = re.compile(  # as it begins
    r"(?i:https?://)(\[(?i:[0-9a-f:.]+)\]|\w[\w.-]*)(:\d{1,5})?(?=[/?#]|\Z)"
)


def _scalar(value: object) -> object:
    if type(value) in {str, int}:
        return value
    raise PydanticCustomError("invalid_type", "must be text or an integer")


def _bound(value: object) -> object:
    """A limit as int or text: TOML has dates, and a decimal may be written as a number."""
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, (float, Decimal)) else _scalar(value)


def _wanted(value: object) -> object:
    if isinstance(value, (list, tuple)):
        return tuple(item if isinstance(item, bool) else _scalar(item) for item in value)
    return value if isinstance(value, bool) or value is None else _scalar(value)


# As they may be written, for the API's description.
_Wanted = bool | str | int | list[bool | str | int] | None
_Bound = Annotated[
    int | str | None, PlainValidator(_bound, json_schema_input_type=int | float | str | None)
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """When a field is required: judged on the other top-level values of the same lead."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    field: str
    op: Literal["eq", "in", "exists"]
    value: Annotated[
        bool | str | int | tuple[bool | str | int, ...] | None,
        PlainValidator(_wanted, json_schema_input_type=_Wanted),
    ] = None

    def holds(self, values: Mapping[str, object]) -> bool:
        """An absent field makes every condition false, but `exists` with false."""
        if self.op == "exists":
            return (self.field in values) is (self.value is not False)
        if self.field not in values:
            return False
        wanted = self.value if isinstance(self.value, tuple) else (self.value,)
        found = values[self.field]
        # True == 1 in Python, not in JSON
        return any(type(found) is type(one) and found == one for one in wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """`min` and `max` bound a number or a date, the length of a text, the count of an array."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    name: Annotated[str, Limits(pattern=r"^[a-z][a-z0-9_]{0,63}$")] = ""  # "" for items only
    type: FieldType
    stage: Stage | None = None  # None inside objects and arrays: that of the top-level field
    required: StrictBool = False
    required_if: Condition | None = None
    values: tuple[
        Annotated[str | int, PlainValidator(_scalar, json_schema_input_type=str | int)], ...
    ] = ()
    min: _Bound = None
    max: _Bound = None
    pattern: Annotated[str, Limits(max_length=500)] | None = None  # of the whole text
    fields: "tuple[Field, ...]" = ()
    items: "Field | None" = None


def object_schema(fields: tuple[Field, ...]) -> CoreSchema:
    """Of a JSON object with exactly these fields; a plain dict comes out."""
    inner = {f.name: cs.typed_dict_field(schema_of(f), required=f.required) for f in fields}
    return cs.typed_dict_schema(inner, extra_behavior="forbid")


def schema_of(field: Field) -> CoreSchema:
    """Of one value; raises PydanticCustomError for a bound that cannot be read."""
    if field.type == "object":
        return object_schema(field.fields)
    return _SCHEMAS[field.type](field)


def bounds_of(field: Field, low: int | None = None, high: int | None = None) -> tuple[Any, Any]:
    """`min` and `max`, else the defaults, as what is compared: int, Decimal, date or datetime."""
    return _read_bound(field, field.min, low), _read_bound(field, field.max, high)


def _read_bound(field: Field, bound: int | str | None, default: int | None) -> Any:
    if bound is None:
        return default
    if field.type in _ORDERED:
        return _ORDERED[field.type](bound)[0]
    if not isinstance(bound, int) or abs(bound) > _INTEGER_MAX:
        raise PydanticCustomError("invalid_type", "must be an integer")
    if field.type != "integer" and bound < 0:
        raise PydanticCustomError("out_of_range", "must not be negative")
    return bound


def _integer(field: Field) -> CoreSchema:
    low, high = bounds_of(field, -_INTEGER_MAX, _INTEGER_MAX)
    return cs.int_schema(strict=True, ge=low, le=high)


def _string(field: Field) -> CoreSchema:
    low, high = bounds_of(field, int(field.required), _STRING_MAX)  # a required text is not ""
    pattern = None if field.pattern is None else f"^(?:{field.pattern})$"  # Rust's: linear time
    return _text(high, _clean, low, pattern)


def _text(
    longest: int, check: Callable[[str], object], shortest: int = 0, pattern: str | None = None
) -> CoreSchema:
    text = cs.str_schema(
        strict=True, strip_whitespace=True, min_length=shortest, max_length=longest, pattern=pattern
    )
    return cs.no_info_after_validator_function(check, text)


def _enum(field: Field) -> CoreSchema:
    some = ", ".join(str(value) for value in field.values[:20])
    context: dict[str, str | int | float] = {"some": some + ", …" * (len(field.values) > 20)}
    allowed: CoreSchema = cs.literal_schema(list(field.values))
    if int in map(type, field.values):  # True and 1.0 are 1 to a literal, not to JSON
        exact = cs.union_schema([cs.is_instance_schema(str), cs.int_schema(strict=True)])
        allowed = cs.chain_schema([exact, allowed])
    return cs.custom_error_schema(
        allowed,
        custom_error_type="not_allowed",
        custom_error_message="must be one of: {some}",
        custom_error_context=context,
    )


def _array(field: Field) -> CoreSchema:
    low, high = bounds_of(field, 0, _ITEMS_MAX)
    items = schema_of(field.items) if field.items else None
    return cs.list_schema(items, strict=True, min_length=low, max_length=high)


def _ordered(field: Field) -> CoreSchema:
    read = _ORDERED[field.type]
    low, high = bounds_of(field)

    def check(value: object) -> str:
        found, text = read(value)
        if (low is not None and found < low) or (high is not None and found > high):
            raise PydanticCustomError("out_of_range", "is outside the range of this field")
        return text

    return cs.no_info_plain_validator_function(check)


def _decimal(value: object) -> tuple[Decimal, str]:
    if isinstance(value, bool) or not isinstance(value, (str, int, float, Decimal)):
        raise PydanticCustomError("invalid_type", "must be a decimal text or a number")
    if isinstance(value, int) and abs(value) > _DECIMAL_MAX:  # str() of a huge int raises
        raise PydanticCustomError("out_of_range", "has too many digits")
    text = str(value).strip()
    if len(text) > _DECIMAL_DIGITS or not _DECIMAL.fullmatch(text):
        raise PydanticCustomError("bad_format", "must be a decimal such as 12.50")
    found = Decimal(text)
    text = f"{found:f}"
    if abs(found) > _DECIMAL_MAX or len(text) > _DECIMAL_DIGITS:
        raise PydanticCustomError("out_of_range", "has too many digits")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return found, "0" if text in {"-0", ""} else text


def _date(value: object) -> tuple[date, str]:
    text = _stripped(value)
    try:
        found = date.fromisoformat(text)  # reads more than the pattern
        if _DATE.fullmatch(text):
            return found, text
    except ValueError:  # the 30th of February
        pass
    raise PydanticCustomError("bad_format", "must be like 2026-01-31")


def _datetime(value: object) -> tuple[datetime, str]:
    text = _stripped(value)
    try:
        found = datetime.fromisoformat(text.upper())  # reads more than the pattern
        if _DATETIME.fullmatch(text):
            found = found.astimezone(UTC)
            return found, found.replace(tzinfo=None).isoformat() + "Z"
    except (ValueError, OverflowError):  # the 30th of February; a day before year 1
        pass
    raise PydanticCustomError("bad_format", "must be RFC 3339, like 2026-01-31T09:30:00Z")


def _stripped(value: object) -> str:
    if not isinstance(value, str):
        raise PydanticCustomError("invalid_type", "must be text")
    return value.strip()


def _clean(text: str) -> str:
    if not text.isprintable() and _CONTROL.search(text):  # printable texts have none
        raise PydanticCustomError("bad_format", "must not hold control characters")
    return text


def _form(longest: int, read: Callable[[str], str], form: str) -> Callable[[Field], CoreSchema]:
    """A text that `read` normalises, raising ValueError for what is not of the form."""

    def check(text: str) -> str:
        try:
            return read(text)
        except ValueError:  # its own words may repeat the value
            raise PydanticCustomError("bad_format", "must be {form}", {"form": form}) from None

    return lambda _: _text(longest, check)


def _zip(text: str) -> str:
    if not (found := _ZIP.fullmatch(text)):
        raise ValueError
    return found[1]


def _state(text: str) -> str:
    if not text.isascii() or (code := text.upper()) not in STATES:  # a ligature's capitals: FL
        raise ValueError
    return code


def _ip(text: str) -> str:
    if "%" in text:  # a zone names an interface of the sender's own machine
        raise ValueError
    return str(ipaddress.ip_address(text))


def _url(text: str) -> str:
    if not _URL.match(text) or text.split() != [text]:  # there is a blank in it
        raise ValueError
    return _clean(text)


def _email(field: Field) -> CoreSchema:
    # Imported when the first vertical needs it: no loop shall stop for it at the first lead.
    from email_validator import validate_email

    def read(text: str) -> str:
        return validate_email(text, check_deliverability=False).normalized

    return _form(254, read, "an e-mail address")(field)


def _phone(field: Field) -> CoreSchema:
    import phonenumbers

    def read(text: str) -> str:
        try:
            number = phonenumbers.parse(text, "US")
        except phonenumbers.NumberParseException:
            raise ValueError from None
        # 555-0100 to 555-0199 are fictional and valid here: samples use them
        if number.extension or not phonenumbers.is_valid_number(number):
            raise ValueError
        return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))

    return _form(40, read, "a phone number such as +12125550123")(field)


# A value as it is compared, and as it is written into values.
_ORDERED: Final[dict[str, Callable[[object], tuple[Any, str]]]] = {
    "decimal": _decimal, "date": _date, "datetime": _datetime,
}  # fmt: skip
_SCHEMAS: Final[dict[str, Callable[[Field], CoreSchema]]] = {
    "string": _string,
    "integer": _integer,
    "boolean": lambda _: cs.bool_schema(strict=True),
    "enum": _enum,
    "array": _array,
    **dict.fromkeys(_ORDERED, _ordered),
    "email": _email,
    "phone": _phone,
    "zip": _form(10, _zip, "five digits, or five and four"),
    "state": _form(2, _state, "the two letters of a state, such as CA"),
    "ip": _form(45, _ip, "an IPv4 or IPv6 address"),
    "url": _form(2048, _url, "an http or https URL with a host"),
}
