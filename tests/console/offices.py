"""The real office over a real database with a small traded market, and a browser for each role."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from aiohttp import CookieJar
from aiohttp.test_utils import TestClient, TestServer
from multidict import CIMultiDictProxy

from exchange.observe import Silent
from exchange.office.console.entering.people import People
from exchange.office.console.entering.sessions import Device
from exchange.office.server import Office
from exchange.process import Orders
from exchange.settings import Settings
from tests.offices import Offices, open_offices

OWNERS = {"buyer": "acme", "other_buyer": "zenith", "seller": "roofquotes"}
ROLES = ("admin", "operator", "viewer", "buyer", "seller")
DEVICE = Device("127.0.0.1", "tests")


@dataclass(frozen=True, slots=True)
class Page:
    """What came back, redirects not followed."""

    status: int
    text: str
    headers: CIMultiDictProxy[str]

    @property
    def to(self) -> str:
        return self.headers.get("Location", "")

    @property
    def json(self) -> Any:
        return orjson.loads(self.text)

    @property
    def words(self) -> str:
        """The text without tags, blanks as one."""
        plain = re.sub(r"<(script|style|svg|head)\b.*?</\1>", " ", self.text, flags=re.DOTALL)
        return " ".join(re.sub(r"<[^>]+>", " ", plain).split())


class Browser:
    """One browser: its own cookies, and the headers that browsers send."""

    def __init__(self, server: TestServer) -> None:
        self._client = TestClient(server, cookie_jar=CookieJar(unsafe=True))
        self.origin = str(server.make_url("")).rstrip("/")

    async def get(self, path: str, **headers: str) -> Page:
        return await self.call("GET", path, **headers)

    async def post(self, path: str, form: Mapping[str, str] | None = None, **headers: str) -> Page:
        """A form of one of our pages."""
        return await self.call(
            "POST", path, data=dict(form or {}), **({"Origin": self.origin} | headers)
        )

    async def send(self, method: str, path: str, body: Any = None, **headers: str) -> Page:
        """JSON, as form.js sends it; `If_Match` is If-Match."""
        sent = {"Origin": self.origin, "Content-Type": "application/json"} | headers
        return await self.call(
            method, path, data=None if body is None else orjson.dumps(body), **sent
        )

    async def call(self, method: str, path: str, data: Any = None, **headers: str) -> Page:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self._client.request(
            method, path, data=data, headers=sent, allow_redirects=False
        ) as response:
            return Page(response.status, await response.text(), response.headers)

    def put_cookie(self, name: str, value: str) -> None:
        self._client.session.cookie_jar.update_cookies({name: value}, self._client.make_url("/"))

    def cookie(self, name: str = "exchange") -> str | None:
        found = self._client.session.cookie_jar.filter_cookies(self._client.make_url("/"))
        return found[name].value if name in found else None

    async def close(self) -> None:
        await self._client.session.close()


@dataclass
class ConsoleOffice:
    """`market` has the books, a key for everybody and verbs to trade; `office` is the process."""

    market: Offices
    office: Office
    server: TestServer
    sold: list[str] = field(default_factory=list)  # leads: two to acme, one to zenith
    opened: list[Browser] = field(default_factory=list)

    @property
    def people(self) -> People:
        return People(self.office.db, self.office.console.vault)

    @property
    def url(self) -> str:
        return str(self.server.make_url("")).rstrip("/")

    def nobody(self) -> Browser:
        """A browser that is not signed in."""
        self.opened.append(Browser(self.server))
        return self.opened[-1]

    async def signed_in(self, role: str) -> Browser:
        """A browser of a user `r-ROLE`: admin operator viewer buyer (acme) other_buyer (zenith)
        seller (roofquotes)."""
        browser = self.nobody()
        token = await self.session(role)
        browser.put_cookie("exchange", token)
        return browser

    async def session(self, role: str) -> str:
        """The token of a new session of that role's user."""
        login = f"r-{role.replace('_', '-')}"
        real = role.removeprefix("other_")
        if await self.people.find(login) is None:
            assert await self.people.add(login, real, OWNERS.get(role)) == []
        return await self.office.console.sessions.begin(DEVICE, login=login)


def an_office(dsn: str, scratch: Path, **settings: Any) -> Office:
    """The process that serves the console; `settings`: of [office]."""
    orders = Orders(
        name="office", dsn=dsn, master_key=(b"k" * 32).hex(), listen="127.0.0.1:1",
        office_listen="127.0.0.1:2", metrics_dir=str(scratch), workers=1,
    )  # fmt: skip
    chosen = Settings.model_validate(
        {"data_dir": scratch, "allowed_networks": ["127.0.0.0/8"], "office": settings}
    )
    return Office(chosen, orders)


@asynccontextmanager
async def open_console_office(
    dsn: str, scratch: Path, **settings: Any
) -> AsyncIterator[ConsoleOffice]:
    """A traded market (three sold leads, one open, one with a return asked) under the real office.
    `settings`: of [office]."""
    async with open_offices(dsn) as market:
        office = an_office(dsn, scratch, **settings)
        async with TestServer(office.application(Silent())) as server:
            found = ConsoleOffice(market, office, server)
            found.sold = [await market.sale(one) for one in ("acme-1", "acme-1", "zenith-1")]
            await market.lead()
            yield found
            for browser in found.opened:
                await browser.close()
        await office.to_sellers.close()
        await office.wire.close()
        await office.store.close()
