"""GET /v1/spec: this seller's posting instructions, always as they are in force."""

from dataclasses import asdict
from typing import Any

from aiohttp import web

from exchange.catalogue import Market
from exchange.errors import Refusal
from exchange.http.desk import Desk
from exchange.http.problems import json_response
from exchange.posting_guide import Limits, callback_guide
from exchange.posting_guide.callbacks import PAUSES
from exchange.samples import example
from exchange.sellers import Seller
from exchange.settings import Settings


class SpecDesk:
    """The handlers of posting instructions."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._house = desk.house

    async def get_specs(self, request: web.Request) -> web.Response:
        seller = await self._desk.seller(request)
        names = sorted(seller.verticals & self._house.catalogue.markets.keys())
        return json_response({"items": [self._spec(name, seller) for name in names], "next": None})

    async def get_spec(self, request: web.Request) -> web.Response:
        seller = await self._desk.seller(request)
        name = request.match_info["vertical"]
        if name not in seller.verticals or name not in self._house.catalogue.markets:
            raise Refusal(404, "not_found", "there is no such vertical for this seller")
        return json_response(self._spec(name, seller))

    def _spec(self, name: str, seller: Seller) -> dict[str, Any]:
        market = self._house.catalogue.markets[name]
        vertical = market.vertical
        sample, _ = example(vertical, market.checks)
        return {
            "vertical": vertical.slug,
            "name": vertical.name,
            "currency": vertical.currency,
            "on_personal_data_in_ping": vertical.on_personal_data_in_ping,
            "fields": [described(field) for field in vertical.fields],
            "example": {"ping": sample.ping_fields, "lead": sample.fields},
            "limits": asdict(limits_of(self._house.settings, seller.rate_per_s)),
            "callback": self._callback(market, seller),
        }

    def _callback(self, market: Market, seller: Seller) -> dict[str, Any]:
        own = self._house.settings.callback
        vertical = market.vertical
        guide = callback_guide(
            vertical.slug, vertical.currency, timeout_s=own.timeout_s, hours=own.hours
        )
        return {
            "url": seller.callback_url,
            "signature": "Standard Webhooks, v1",
            "headers": dict(guide.headers),
            "example": dict(guide.example),
            "timeout_s": guide.timeout_s,
            "retries": PAUSES,
            "hours": guide.hours,
        }


def limits_of(settings: Settings, rate_per_s: int) -> Limits:
    """What a seller of this rate has to keep to."""
    ping, post = settings.ping, settings.post
    return Limits(
        rate_per_s=rate_per_s,
        body_bytes=settings.http.body_bytes_max,
        ping_wait_ms=ping.max_wait_ms,
        ping_wait_most_ms=ping.max_wait_limit_ms,
        lead_wait_ms=post.max_wait_ms,
        lead_wait_most_ms=post.max_wait_limit_ms,
        quote_s=ping.quote_ttl_s,
    )


def described(field: Any) -> dict[str, Any]:
    """A field as posting instructions show it; what does not apply is left out."""
    shown: dict[str, Any] = {
        "name": field.name,
        "type": field.type,
        "stage": field.stage,
        "required": field.required,
    }
    if field.values:
        shown["values"] = list(field.values)
    for limit in ("min", "max", "pattern"):
        if getattr(field, limit) is not None:
            shown[limit] = getattr(field, limit)
    if field.required_if is not None:
        condition = field.required_if
        shown["required_if"] = {
            "field": condition.field,
            "op": condition.op,
            "value": condition.value,
        }
    if field.fields:
        shown["fields"] = [described(one) for one in field.fields]
    if field.items is not None:
        shown["items"] = described(field.items)
    return {name: value for name, value in shown.items() if value not in (None, "")}
