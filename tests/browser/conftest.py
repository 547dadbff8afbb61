"""Tests in a real browser; skipped where there is none."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="playwright is not installed")

from playwright.async_api import Browser

from tests.browser.chromium import CHROMIUM, chromium
from tests.console.offices import ConsoleOffice, open_console_office


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no chromium on the path")
    async with chromium() as found:
        yield found


@pytest.fixture
async def desk(database: str, tmp_path: Path) -> AsyncIterator[ConsoleOffice]:
    async with open_console_office(database, tmp_path) as found:
        yield found
