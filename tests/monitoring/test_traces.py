"""Spans of a real exchange, sent by OTLP to a real listener."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

pytest.importorskip(
    "opentelemetry.exporter.otlp.proto.http", reason="the extra otel is not installed"
)

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from exchange.ids import read_id
from tests.acceptance.exchanges import an_exchange, eventually
from tests.acceptance.markets import FIELDS, a_market, bids

pytestmark = pytest.mark.acceptance


@pytest.fixture
async def heard() -> AsyncIterator[tuple[str, list[Span]]]:
    """A collector's address, and every span it was sent."""
    spans: list[Span] = []

    async def take(request: web.Request) -> web.Response:
        asked = ExportTraceServiceRequest.FromString(await request.read())
        spans.extend(
            span for one in asked.resource_spans for part in one.scope_spans for span in part.spans
        )
        return web.Response(content_type="application/x-protobuf")

    app = web.Application()
    app.router.add_post("/v1/traces", take)
    async with TestServer(app) as server:
        yield str(server.make_url("/")), spans


async def test_a_sale_is_one_trace_with_the_pings_id(heard: tuple[str, list[Span]]) -> None:
    """From the ping by way of its auction and questions to the award and the post; no person in it."""
    url, spans = heard
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_EXPORTER_OTLP_COMPRESSION": "none"}
    with an_exchange(workers=2, environment=environment, trace_share="1.0") as exchange:
        async with a_market(exchange, bids("ann"), bids("bob", "9.00")) as market:
            ping_id = (await market.ping())["ping_id"]
            assert "sold" == (await market.post(ping_id))["outcome"]
            ids = read_id("ping", ping_id)
            assert ids is not None

            def traced() -> set[str]:
                return {one.name for one in spans if one.trace_id == ids[0].bytes}

            ann, bob = market.slug("ann"), market.slug("bob")
            whole = {
                "ping",
                "auction",
                f"ask {ann}",
                f"ask {bob}",
                "lead",
                f"award {ann}",
                f"post {ann}",
            }
            await eventually(lambda: traced() == whole, 20)
    said = "".join(map(str, spans))
    assert [] == [name for name in ("first_name", "phone", "email") if str(FIELDS[name]) in said]
