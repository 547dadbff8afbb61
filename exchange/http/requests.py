"""Reads what sellers send: every problem of envelope and fields at once, or an asking."""

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError
from pydantic_core import PydanticKnownError

from buyers.money import parse_micros
from buyers.value import maker
from exchange.catalogue import Catalogue, Market
from exchange.documents import Money
from exchange.errors import Problem, Refusal, problems_of
from exchange.http.limits import read_object
from exchange.lead import Asking
from exchange.sealing import Vault
from exchange.sellers import Seller
from exchange.settings import HttpSettings

Model = TypeVar("Model", bound=BaseModel)


def _object(value: object) -> object:
    """What is in it, its vertical knows; pydantic would go through it, and make another."""
    if isinstance(value, dict):
        return value
    raise PydanticKnownError("dict_type")


Fields = Annotated[dict[str, Any], PlainValidator(_object, json_schema_input_type=dict[str, Any])]
Name = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Wait = Annotated[int, Field(ge=50, le=120_000)]


class _Envelope(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    fields: Fields
    max_wait_ms: Wait | None = None
    external_id: Name | None = None


class PingEnvelope(_Envelope):
    vertical: str
    floor: Money | None = None
    sub_id: Name | None = None
    # A factory: pydantic would copy a list deeply, each time.
    exclude_buyers: Annotated[list[Name], Field(max_length=1000, default_factory=list)]
    test: bool = False


class LeadEnvelope(PingEnvelope):
    """One step: a lead that is pinged and posted by us."""

    min_price: Money | None = None


class PostEnvelope(_Envelope):
    """Two steps: the post of a ping."""

    ping_id: str
    min_price: Money | None = None
    test: bool | None = None


_make_asking = maker(Asking)


class ReadPing(NamedTuple):
    asking: Asking
    max_wait_ms: int | None
    min_price_micros: int  # of a one-step lead; the floor where it names none


def find_market(body: Mapping[str, Any], seller: Seller, catalogue: Catalogue) -> Market | None:
    """The vertical's market; None when the body names none that exists. Refuses with 403."""
    slug = body.get("vertical")
    market = catalogue.markets.get(slug) if isinstance(slug, str) else None
    if market is not None and market.vertical.slug not in seller.verticals:
        raise Refusal(403, "vertical_not_allowed")
    return market


def read_ping(
    body: Mapping[str, Any],
    seller: Seller,
    catalogue: Catalogue,
    vault: Vault,
    *,
    one_step: bool,
) -> ReadPing:
    """A ping, or a one-step lead. Refuses with 422 and every problem."""
    seller = catalogue.sellers.get(seller.id, seller)  # as this snapshot has him
    market = find_market(body, seller, catalogue)
    model = LeadEnvelope if one_step else PingEnvelope
    envelope, problems = _check(model, body)
    if market is None and isinstance(body.get("vertical"), str):
        problems.append(Problem("vertical", "unknown_vertical", "there is no such vertical"))
    fields: dict[str, Any] = {}
    raw = body.get("fields")
    if market is not None and isinstance(raw, dict):
        checked = market.checks.lead(raw) if one_step else market.checks.ping(raw)
        problems += checked.problems
        fields = checked.values
    if problems or envelope is None or market is None:
        raise invalid(problems)
    floor = parse_micros(envelope.floor) if envelope.floor else 0
    min_price = envelope.min_price if type(envelope) is LeadEnvelope else None
    return ReadPing(
        _make_asking(
            seller=seller,
            catalogue=catalogue,
            market=market,
            fields=fields,
            whole=one_step,
            floor_micros=floor,
            sub_id=envelope.sub_id,
            external_id=envelope.external_id,
            excluded=excluded_buyers(envelope.exclude_buyers, seller, catalogue, vault),
            test=envelope.test,
        ),
        envelope.max_wait_ms,
        floor if min_price is None else parse_micros(min_price),
    )


def read_post(body: Mapping[str, Any]) -> PostEnvelope:
    """The envelope of a two-step post. Refuses with 422."""
    envelope, problems = _check(PostEnvelope, body)
    if problems or envelope is None:
        raise invalid(problems)
    return envelope


def read_post_fields(
    market: Market, given: dict[str, Any], inherited: Mapping[str, Any]
) -> dict[str, Any]:
    """All fields of a two-step lead: the ping's are inherited, those repeated must be equal.

    Refuses with 422: first every field error, then `ping_mismatch`.
    """
    checked = market.checks.lead({**inherited, **given})
    if checked.problems:
        raise invalid(list(checked.problems))
    differing = [
        Problem(f"fields.{name}", "ping_mismatch", "differs from what the ping said")
        for name, value in inherited.items()
        if name in given and checked.values.get(name) != value
    ]
    if differing:
        raise Refusal(422, "ping_mismatch", problems=tuple(differing))
    return checked.values


def excluded_buyers(
    refs: list[str], seller: Seller, catalogue: Catalogue, vault: Vault
) -> frozenset[str]:
    """The buyers behind a seller's opaque names; unknown ones are ignored silently."""
    if not refs:
        return frozenset()
    wanted = set(refs)
    return frozenset(
        buyer.slug
        for buyer in catalogue.buyers.values()
        if vault.opaque("buyer", seller.slug, buyer.slug) in wanted
    )


def invalid(problems: list[Problem]) -> Refusal:
    """422: personal data in a ping is named as what it is; the rest is one code with a list."""
    codes = {problem.code for problem in problems}
    only = next(iter(codes)) if len(codes) == 1 else None
    code = (
        only
        if only in {"personal_data_in_ping", "not_supported", "not_certified"}
        else "invalid_request"
    )
    return Refusal(422, code, problems=tuple(problems))


def read_model(model: type[Model], body: Mapping[str, Any]) -> Model:
    """A body of one of our models. Refuses with 422 and every problem."""
    found, problems = _check(model, body)
    if found is None:
        raise invalid(problems)
    return found


async def read_nothing(request: web.Request, http: HttpSettings) -> None:
    """No body, or an empty object. Refuses with 422 what nobody would look at."""
    body = await read_object(request, http) if request.can_read_body else {}
    if body:
        raise invalid([Problem(name, "unknown_field", "is not a property here") for name in body])


def _check(model: type[Model], body: Mapping[str, Any]) -> tuple[Model | None, list[Problem]]:
    try:
        return model.model_validate(body), []
    except ValidationError as error:
        return None, list(problems_of(error))
