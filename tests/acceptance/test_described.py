"""What sellers are answered by a running exchange is what the API's description says."""

from typing import Any

import orjson
import pytest

from tests.acceptance.conftest import OpenMarket
from tests.acceptance.markets import FIELDS, PERSON, PING, Answer, Market, bids, buys
from tests.described import Description

DESCRIPTION = Description("public")


async def told(market: Market, method: str, path: str, body: Any = None, **more: Any) -> Answer:
    """One request; its answer has been held against the description."""
    answer = await market.call(method, path, body, **more)
    parsed = orjson.loads(answer.raw) if answer.raw else None
    DESCRIPTION.check(method, path, answer.status, parsed, answer.headers)
    return answer


async def test_pings_leads_and_instructions(open_market: OpenMarket) -> None:
    """Sold, unsold and pending, in two steps and in one, and how each looks afterwards."""
    market = await open_market(bids("one"), buys("rest"))
    of = {"vertical": market.vertical}
    ping = await told(market, "POST", "/v1/pings", of | {"fields": PING})
    await told(market, "GET", f"/v1/pings/{ping['ping_id']}")
    sold = await told(
        market, "POST", "/v1/leads", {"ping_id": ping["ping_id"], "fields": PERSON}, once="k"
    )
    assert "sold" == sold["outcome"]
    await told(market, "GET", f"/v1/leads/{sold['lead_id']}")
    lead = of | {"fields": FIELDS, "external_id": "mine"}
    await told(market, "POST", "/v1/leads", lead)
    await told(market, "GET", "/v1/leads?external_id=mine")
    market.change("one", decline=1.0)
    market.change("rest", reject=1.0)
    nothing = await told(market, "POST", "/v1/pings", of | {"fields": PING})
    assert "no_bid" == nothing["outcome"]
    await told(market, "GET", f"/v1/pings/{nothing['ping_id']}")
    unsold = await told(market, "POST", "/v1/leads", lead)
    assert "unsold" == unsold["outcome"]
    await told(market, "GET", f"/v1/leads/{unsold['lead_id']}")
    await told(market, "GET", "/v1/spec")
    shown = await told(market, "GET", f"/v1/spec/{market.vertical}")
    quoted = await told(
        market, "POST", "/v1/pings", of | {"fields": shown["example"]["ping"], "test": True}
    )
    assert quoted["ping_id"].startswith("ping_test_")


async def test_a_lead_that_waits_for_its_buyer(open_market: OpenMarket) -> None:
    """202, and as it is seen meanwhile."""
    market = await open_market(bids("slow", temper={"post_delay_ms": 3000}))
    lead = {"vertical": market.vertical, "fields": FIELDS, "max_wait_ms": 900}
    waiting = await told(market, "POST", "/v1/leads", lead)
    assert (202, "pending") == (waiting.status, waiting["outcome"])
    await told(market, "GET", f"/v1/leads/{waiting['lead_id']}")


REFUSED: list[tuple[str, str, Any, int]] = [
    ("POST", "/v1/pings", b"{", 400),
    ("POST", "/v1/pings", b'{"vertical":"' + b"x" * 300_000 + b'"}', 413),
    ("POST", "/v1/pings", {"fields": {}}, 422),
    ("POST", "/v1/pings", {"vertical": "none", "fields": {}}, 422),
    ("POST", "/v1/leads", {"ping_id": "ping_nothing", "fields": {}}, 404),
    ("GET", "/v1/leads/lead_nothing", None, 404),
    ("GET", "/v1/pings/ping_nothing", None, 404),
    ("GET", "/v1/leads", None, 422),
    ("GET", "/v1/leads?external_id=%00", None, 422),
    ("GET", "/v1/spec/none", None, 404),
    ("GET", "/v1/contracts", None, 403),
]


@pytest.mark.parametrize(("method", "path", "body", "status"), REFUSED)
async def test_refusals(
    open_market: OpenMarket, method: str, path: str, body: Any, status: int
) -> None:
    """With a code that is listed for it."""
    market = await open_market()
    assert status == (await told(market, method, path, body)).status
    assert 401 == (await told(market, "GET", "/v1/spec", key="nobody")).status
