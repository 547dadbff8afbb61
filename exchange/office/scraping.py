"""Answers /metrics: reads the books, then writes the text in a thread. One scrape at a time, however
many ask, and none twice within half a second."""

import asyncio
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from aiohttp import web

from exchange.chores.counting import Counting
from exchange.errors import StoreUnavailable
from exchange.metrics import CONTENT_TYPE, OfficeMetrics
from exchange.metrics.office import BooksSeen, HouseSeen
from exchange.office.books_seen import read_books
from exchange.store.database import Database

_FRESH_S: Final = 0.5


class Scraping:
    """`data_dir`: where free space is looked for; `called`: callbacks that were made, by outcome."""

    def __init__(
        self,
        db: Database,
        files: Path,
        data_dir: Path,
        workers: int,
        counting: Counting,
        called: Mapping[str, int],
    ) -> None:
        self._db = db
        self._metrics = OfficeMetrics(files)
        self._data_dir = data_dir
        self._workers = workers
        self._counting = counting
        self._called = called
        self._one = asyncio.Lock()
        self._text, self._made_s = b"", -_FRESH_S

    async def scrape(self, _request: web.Request) -> web.Response:
        async with self._one:
            if time.monotonic() - self._made_s >= _FRESH_S:
                self._text = await self._make()
                self._made_s = time.monotonic()
        return web.Response(body=self._text, headers={"Content-Type": CONTENT_TYPE})

    async def _make(self) -> bytes:
        began_s = time.perf_counter()
        books = await self._read()
        books_s = time.perf_counter() - began_s
        return await asyncio.to_thread(self._metrics.scrape, books, self._look(), books_s)

    async def _read(self) -> BooksSeen | None:
        """None: the database is away; what the workers count is still worth having."""
        try:
            async with self._db.connection() as connection:
                return await read_books(connection)
        except StoreUnavailable:
            return None

    def _look(self) -> HouseSeen:
        return HouseSeen(
            workers=self._workers,
            disk=_disk(self._data_dir),
            audit=self._counting.audit,
            callbacks=dict(self._called),
        )


def _disk(folder: Path) -> tuple[int, int] | None:
    """Free and whole bytes of the disk that the folder is on, or will be."""
    for place in (folder, *folder.parents):
        try:
            found = shutil.disk_usage(place)
        except OSError:
            continue
        return found.free, found.total
    return None
