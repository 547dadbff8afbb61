"""One exchange with three workers for all of these tests: each opens a market of its own on it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.acceptance.exchanges import Exchange, an_exchange
from tests.acceptance.markets import Market, Stand, a_market

OpenMarket = Callable[..., Awaitable[Market]]


@pytest.fixture(scope="package")  # an idle one costs a tenth of a core: it ends with them
def exchange() -> Iterator[Exchange]:
    with an_exchange(workers=3) as started:
        yield started


@pytest.fixture
async def open_market(exchange: Exchange) -> AsyncIterator[OpenMarket]:
    async with AsyncExitStack() as stack:

        async def _open(*stands: Stand, on: Exchange = exchange, **options: Any) -> Market:
            return await stack.enter_async_context(a_market(on, *stands, **options))

        yield _open
