"""The office that the tests of pages ask for."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.console.offices import ConsoleOffice, open_console_office


@pytest.fixture
async def desk(database: str, tmp_path: Path) -> AsyncIterator[ConsoleOffice]:
    """The real office over a traded market: `await desk.signed_in("admin")` is a browser."""
    async with open_console_office(database, tmp_path) as found:
        yield found
