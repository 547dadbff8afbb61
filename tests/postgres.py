"""One embedded Postgres for a test session, and a fresh migrated database for each test.

Each xdist worker is a session of its own and has its own server. A server lost in a hard kill of
pytest is found by nobody but the operating system; all else stops it.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from exchange.store.embedded import EmbeddedPostgres
from exchange.store.migrate import migrate
from tests.places import open_folder

_TEMPLATE = "template_exchange"
_SMALL = {"max_wal_size": "128MB"}  # it is written to memory
_numbers = itertools.count(1)


def dsn_of(server_dsn: str, database: str) -> str:
    """The address of another database of the same server."""
    return urlunsplit(urlsplit(server_dsn)._replace(path=f"/{database}"))


@pytest.fixture(scope="session")
def postgres_dsn() -> Iterator[str]:
    """A running server; the address is that of its own, empty database."""
    with open_folder("xt-") as made:
        server = EmbeddedPostgres(made / "d", durable=False, settings=_SMALL)
        try:
            yield server.start()
        finally:
            server.stop()


@pytest.fixture(scope="session")
def migrated_template(postgres_dsn: str) -> str:
    """The name of a database with the whole schema, made once and never connected to again."""
    # In a thread: a session's fixture may be made while some test's event loop is set.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, _make_template(postgres_dsn)).result()
    return _TEMPLATE


@pytest.fixture
async def database(postgres_dsn: str, migrated_template: str) -> AsyncIterator[str]:
    """The address of a migrated database for one test, dropped after it."""
    name = f"test_{next(_numbers)}"
    owner = await asyncpg.connect(postgres_dsn)
    try:
        # Copying files is quicker than logging every page; the word came with Postgres 15.
        strategy = "STRATEGY file_copy" if owner.get_server_version().major >= 15 else ""
        await owner.execute(f"CREATE DATABASE {name} TEMPLATE {migrated_template} {strategy}")
        yield dsn_of(postgres_dsn, name)
    finally:
        await owner.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await owner.close()


async def _make_template(server_dsn: str) -> None:
    owner = await asyncpg.connect(server_dsn)
    try:
        await owner.execute(f"CREATE DATABASE {_TEMPLATE}")
    finally:
        await owner.close()
    await migrate(dsn_of(server_dsn, _TEMPLATE))
