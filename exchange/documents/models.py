"""What may be written of each kind of document, and its canonical form."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal, LiteralString

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from buyers.money import MICROS, MICROS_MAX, MoneyInvalid, format_micros, parse_micros
from buyers.signing import read_secret
from exchange.errors import DocumentsInvalid, Problem, problems_of
from exchange.returns import ReturnReason
from exchange.schedules import ScheduleDocument, check_timezone
from exchange.verticals import read_margin

SLUG: Final = r"^[a-z0-9][a-z0-9_-]{0,63}$"
_DEPTH_MAX: Final = 64  # levels; pydantic gives up writing what is 255 deep
MASK: Final = "whsec_********"  # what a stored secret reads as; written back it changes nothing


def _money(value: object) -> str:
    try:
        return format_micros(parse_micros(value))
    except MoneyInvalid as error:
        raise PydanticCustomError(error.code, str(error)) from None


def _decimal(value: object) -> str:
    """A plain decimal of up to 4 places; percentages and adjustments."""
    text = _money(value)
    if len(text.partition(".")[2]) > 4:
        raise PydanticCustomError("too_precise", "must have at most 4 decimals")
    return text


def _secret(value: str) -> str:
    if value != MASK:
        try:
            read_secret(value)
        except ValueError as error:
            raise PydanticCustomError("bad_format", "{why}", {"why": str(error)}) from None
    return value


def _written(decimals: int) -> WithJsonSchema:
    """Money as it may be written, for the API's description; it is answered as text."""
    text = {"type": "string", "pattern": rf"^\d{{1,7}}(\.\d{{1,{decimals}}})?$"}
    number = {"type": "number", "minimum": 0, "maximum": MICROS_MAX // MICROS}
    return WithJsonSchema({"anyOf": [text, number]}, mode="validation")


Slug = Annotated[str, Field(pattern=SLUG)]
Money = Annotated[str, BeforeValidator(_money), _written(6)]
Factor = Annotated[str, BeforeValidator(_decimal), _written(4)]
Url = Annotated[str, Field(min_length=8, max_length=2048)]
Secret = Annotated[str, AfterValidator(_secret)]
Period = Literal["hour", "day", "week", "month", "total"]


class _Document(BaseModel):
    """`faults` are those between properties: dotted path, code, message."""

    model_config = ConfigDict(extra="forbid", strict=True)

    def faults(self) -> Iterable[tuple[str, LiteralString, LiteralString]]:
        return ()

    def model_post_init(self, _context: object, /) -> None:
        found = [
            InitErrorDetails(
                type=PydanticCustomError(code, message), loc=tuple(path.split(".")), input=None
            )
            for path, code, message in self.faults()
        ]
        if found:
            raise ValidationError.from_exception_data(type(self).__name__, found)


def _limit(value: object, info: ValidationInfo) -> object:
    """Of a cap whose kind, read before it, says what it counts: money or leads."""
    if info.data.get("kind") == "spend":
        return _money(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise PydanticCustomError("invalid_type", "must be a whole number")
    if not 0 <= value <= 10**12:
        raise PydanticCustomError("out_of_range", "must be 0 to 1000000000000")
    return value


class CapDocument(_Document):
    kind: Literal["sales", "spend", "concurrent", "pings"]
    period: Period | None = None
    limit: Annotated[
        Any, AfterValidator(_limit), WithJsonSchema({"type": ["integer", "number", "string"]})
    ]
    pace: Literal["even"] | None = None  # spread over the open hours of the day

    def faults(self) -> Iterable[tuple[str, LiteralString, LiteralString]]:
        if self.kind == "concurrent" and self.period is not None:
            yield "period", "unknown_field", "a cap on open posts has no period"
        if self.kind != "concurrent" and self.period is None:
            yield "period", "required", "every cap but `concurrent` has a period"
        if self.pace and (self.kind not in {"sales", "spend"} or self.period != "day"):
            yield "pace", "not_allowed", "only a day's cap on sales or spend can be spread"


def _distinct_caps(caps: list[CapDocument]) -> list[CapDocument]:
    keys = [(cap.kind, cap.period) for cap in caps]
    if len(set(keys)) != len(keys):
        raise PydanticCustomError("duplicate", "each kind and period may stand once")
    return caps


Caps = Annotated[list[CapDocument], AfterValidator(_distinct_caps)]


class EndpointDocument(_Document):
    dialect: Literal["standard_v1"] = "standard_v1"
    ping_url: Url | None = None
    post_url: Url
    status_url: Url | None = None
    secret: Secret | None = None
    ping_timeout_ms: Annotated[int, Field(ge=10, le=10_000)] = 400
    post_timeout_ms: Annotated[int, Field(ge=100, le=120_000)] = 5000
    max_qps: Annotated[int, Field(ge=1, le=100_000)] | None = None
    idempotent: bool = False
    accepts_test: bool = False


class PricingDocument(_Document):
    mode: Literal["bid", "fixed"]
    min: Money | None = None
    max: Money | None = None
    price: Money | None = None

    def faults(self) -> Iterable[tuple[str, LiteralString, LiteralString]]:
        if self.mode == "bid":
            if self.price is not None:
                yield "price", "unknown_field", "a bidding contract has min and max, no price"
            if self.max is not None and parse_micros(self.max) < parse_micros(self.min or 0):
                yield "max", "out_of_range", "must not be below min"
            return
        if self.price is None:
            yield "price", "required", "a fixed contract needs a price"
        elif parse_micros(self.price) == 0:
            yield "price", "out_of_range", "must be above 0"
        if self.min is not None:
            yield "min", "unknown_field", "a fixed contract has a price, no min"
        if self.max is not None:
            yield "max", "unknown_field", "a fixed contract has a price, no max"


class SellersDocument(_Document):
    allow: list[Slug] = []
    deny: list[Slug] = []


def _return_reason(value: str) -> str:
    if value not in set(ReturnReason):
        known = ", ".join(ReturnReason)
        raise PydanticCustomError("not_allowed", "is one of {known}", {"known": known})
    return value


def _distinct_reasons(reasons: list[str]) -> list[str]:
    if len(set(reasons)) != len(reasons):
        raise PydanticCustomError("duplicate", "each reason may stand once")
    return reasons


KnownReason = Annotated[
    str,
    AfterValidator(_return_reason),
    WithJsonSchema({"enum": [str(one) for one in ReturnReason]}),
]
Reasons = Annotated[list[KnownReason], Field(min_length=1), AfterValidator(_distinct_reasons)]


class ReturnsDocument(_Document):
    """What the buyer may give back; `reasons` null: for every reason there is."""

    window_days: Annotated[int, Field(ge=1, le=365)]
    percent: Factor = "100.00"
    reasons: Reasons | None = None
    approval: Literal["manual", "automatic"] = "manual"
    reverse_payout: bool = True
    restore_cap: bool = False

    def faults(self) -> Iterable[tuple[str, LiteralString, LiteralString]]:
        if parse_micros(self.percent) > 100 * MICROS:
            yield "percent", "out_of_range", "must be 0 to 100"


class ContractDocument(_Document):
    slug: Slug
    buyer: Slug
    vertical: Slug
    active: bool = True
    tier: Annotated[str, Field(pattern=SLUG)] = "auction"
    priority: Annotated[int, Field(ge=0, le=1_000_000)] = 10
    weight: Annotated[int, Field(ge=0, le=1_000_000)] = 100
    percent: Factor | None = None
    adjustment: Factor = "1.00"
    endpoint: EndpointDocument
    pricing: PricingDocument
    filters: list[Any] = []
    caps: Caps = []
    schedule: ScheduleDocument | None = None
    exclusivity: Literal["exclusive", "shared"] = "exclusive"
    max_shares: Annotated[int, Field(ge=1, le=10)] = 1
    dedupe_days: Annotated[int, Field(ge=0, le=3650)] = 0
    sellers: SellersDocument = SellersDocument()
    returns: ReturnsDocument | None = None

    def faults(self) -> Iterable[tuple[str, LiteralString, LiteralString]]:
        if self.pricing.mode == "bid" and self.endpoint.ping_url is None:
            yield "endpoint.ping_url", "required", "a bidding contract is pinged"
        if self.exclusivity == "exclusive" and self.max_shares > 1:
            yield "max_shares", "not_allowed", "an exclusive lead is sold to one"
        if parse_micros(self.adjustment) == 0:
            yield "adjustment", "out_of_range", "must be above 0"
        if self.percent is not None and parse_micros(self.percent) > 100 * MICROS:
            yield "percent", "out_of_range", "must be 0 to 100"


class BuyerDocument(_Document):
    slug: Slug
    name: Annotated[str, Field(min_length=1, max_length=200)]
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] = "USD"
    credit: Money | None = None
    low_balance_stop: Money = "0.00"
    timezone: Annotated[str, AfterValidator(check_timezone)] = "UTC"
    caps: Caps = []
    active: bool = True

    def faults(self) -> Iterable[tuple[str, LiteralString, LiteralString]]:
        for place, cap in enumerate(self.caps):
            if cap.pace:  # a buyer has no hours to spread it over
                yield f"caps.{place}.pace", "not_allowed", "only a contract's cap can be spread"


class SellerDocument(_Document):
    slug: Slug
    name: Annotated[str, Field(min_length=1, max_length=200)]
    verticals: list[Slug] = []
    margin: dict[str, Any] | None = None
    rate_per_s: Annotated[int, Field(ge=1, le=100_000)] = 100
    callback_url: Url | None = None
    callback_secret: Secret | None = None
    active: bool = True

    def faults(self) -> Iterable[tuple[str, LiteralString, LiteralString]]:
        if self.callback_url is None and self.callback_secret not in {None, MASK}:
            yield "callback_secret", "not_allowed", "signs callbacks: set a callback_url with it"


class TierDocument(_Document):
    name: Slug
    mode: Literal["auction", "priority", "price", "round_robin", "weighted", "percentage"]
    window_ms: Annotated[int, Field(ge=10, le=5000)] | None = None
    period: Period | None = None

    def faults(self) -> Iterable[tuple[str, LiteralString, LiteralString]]:
        if self.window_ms is not None and self.mode != "auction":
            yield "window_ms", "unknown_field", "only an auction tier has it"
        if self.period is not None and self.mode != "percentage":
            yield "period", "unknown_field", "only a percentage tier has it"
        if self.period is None and self.mode == "percentage":
            yield "period", "required", "a percentage tier needs one"


class PlanDocument(_Document):
    vertical: Slug
    tiers: Annotated[list[TierDocument], Field(min_length=1, max_length=50)]

    def faults(self) -> Iterable[tuple[str, LiteralString, LiteralString]]:
        names = [tier.name for tier in self.tiers]
        for place, tier in enumerate(self.tiers):
            if tier.name in names[:place]:
                yield f"tiers.{place}.name", "duplicate", "is the name of an earlier tier"
            if place and tier.mode == "auction":
                yield f"tiers.{place}.mode", "not_allowed", "one auction at most, and it is first"


def canonical(
    model: type[BaseModel], document: Mapping[str, Any], path: str = ""
) -> dict[str, Any]:
    """The document with every default written out. Raises DocumentsInvalid with all problems."""
    if _is_deeper(document, _DEPTH_MAX):
        raise DocumentsInvalid((Problem(path, "too_deep", f"at most {_DEPTH_MAX} levels"),))
    try:
        return model.model_validate(dict(document)).model_dump(mode="json")
    except ValidationError as error:
        raise DocumentsInvalid(problems_of(error, path)) from None


def check_seller(document: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """As `canonical`; the margin, if any, is read with it."""
    problems: tuple[Problem, ...] = ()
    margin = document.get("margin")
    if isinstance(margin, Mapping):
        try:
            read_margin(margin, f"{path}.margin" if path else "margin")
        except DocumentsInvalid as error:
            problems = error.problems
    try:
        found = canonical(SellerDocument, document, path)
    except DocumentsInvalid as error:
        raise DocumentsInvalid((*error.problems, *problems)) from None
    if problems:
        raise DocumentsInvalid(problems)
    return found


def _is_deeper(value: object, levels: int) -> bool:
    if not isinstance(value, (Mapping, list)):
        return False
    inners = value.values() if isinstance(value, Mapping) else value
    return levels == 0 or any(_is_deeper(inner, levels - 1) for inner in inners)
