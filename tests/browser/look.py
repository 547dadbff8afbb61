"""Screenshots of pages as they are: light and dark, 1440 and 390 pixels wide, and what axe says.

    python -m tests.browser.look /console/leads /console/contracts            a small market of its own
    python -m tests.browser.look --role buyer /console/leads                  as another role sees it
    python -m tests.browser.look --base http://127.0.0.1:8081 --key lx_… URL  a running office
    python -m tests.browser.look --base http://127.0.0.1:8081 --link http://…/console/enter/… URL
    python -m tests.browser.look --every [--only REGEX]                       every page in every state

`--base` takes the embedded Postgres of nobody; without it one is started for the pictures. They go
into `--out` (default /tmp/look), named by path, width and theme. `--once` takes one light wide one.
"""

import argparse
import asyncio
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urljoin

from aiohttp.test_utils import TestServer
from playwright.async_api import Browser, Page
from playwright.async_api import Error as PlaywrightError

from exchange.observe import Silent
from exchange.office.console.entering.people import People
from exchange.store.embedded import EmbeddedPostgres
from exchange.store.migrate import migrate
from tests.browser.chromium import WIDTHS, axe, chromium, open_page, too_wide
from tests.browser.scenes import EMPTY, Act, Scene, scenes_of
from tests.browser.stage import open_stage
from tests.console.offices import DEVICE, an_office, open_console_office


async def look(base: str, token: str, wanted: argparse.Namespace) -> None:
    async with chromium() as browser:
        for width, theme in kinds(wanted):
            page = await open_page(browser, width=width, theme=theme, url=base, token=token)
            for url in wanted.urls:
                await picture(
                    page,
                    urljoin(base, url),
                    Path(wanted.out) / f"{name_of(url)}-{width}-{theme}.png",
                )


def kinds(wanted: argparse.Namespace) -> list[tuple[str, str]]:
    """Widths and themes."""
    if wanted.once:
        return [("wide", "light")]
    return [(width, theme) for width in WIDTHS for theme in ("light", "dark")]


async def picture(page: Page, url: str, file: Path, act: Act | None = None) -> None:
    answer = await page.goto(url, wait_until="load")
    if act is not None:
        await act(page)
    await page.evaluate("document.fonts.ready")
    await page.screenshot(path=str(file), full_page=True)
    faults: list[str] = page.faults  # type: ignore[attr-defined]
    told = [
        *(f"axe {one}" for one in await axe(page)),
        *(f"wide {one}" for one in await too_wide(page)),
        *faults,
    ]
    faults.clear()
    status = answer.status if answer else "?"
    print(f"{status} {file}", *(f"    {one}" for one in told), sep="\n", flush=True)


def name_of(url: str) -> str:
    path = re.sub(r"^https?://[^/]+", "", url).removeprefix("/console").strip("/")
    return re.sub(r"[^A-Za-z0-9]+", "-", path).strip("-")[:80] or "start"


async def signed_in(browser: Browser, base: str, key: str, link: str) -> str:
    """The token of a session, by the sign-in page or a link."""
    page = await open_page(browser)
    if link:
        await page.goto(link)
        await page.get_by_role("button", name="Enter").click()
    elif key:
        await page.goto(urljoin(base, "/console/sign-in"))
        await page.get_by_text("Use an API key").click()
        await page.get_by_label("API key").fill(key)
        await page.get_by_role("button", name="Sign in with the key").click()
    cookies = await page.context.cookies()
    return next((one["value"] for one in cookies if one["name"] == "exchange"), "")


async def look_at_every(
    base: str, tokens: Mapping[str, str], scenes: list[Scene], wanted: argparse.Namespace
) -> None:
    """A browser for each role; who is signed out begins anew. `tokens` of sessions by role."""
    async with chromium() as browser:
        for width, theme in kinds(wanted):
            pages: dict[str, Page] = {}
            for one in scenes:
                if one.role not in pages or one.role == "nobody":
                    token = tokens.get(one.role, "")
                    pages[one.role] = await open_page(
                        browser, width=width, theme=theme, url=base, token=token
                    )
                file = Path(wanted.out) / f"{name_of(one.name)}-{width}-{theme}.png"
                try:
                    await picture(pages[one.role], urljoin(base, one.path), file, one.act)
                except PlaywrightError as error:
                    print(f"no picture of {one.name}: {error}", flush=True)
            for page in pages.values():
                await page.context.close()


async def every_state(dsn: str, made: Path, wanted: argparse.Namespace) -> None:
    async with open_console_office(dsn, made) as desk, open_stage(desk) as stage:
        scenes = [one for one in scenes_of(stage) if re.search(wanted.only, one.name)]
        roles = {one.role for one in scenes} - {"nobody"}
        tokens = {role: await desk.session(role) for role in roles}
        await look_at_every(desk.url, tokens, scenes, wanted)


async def brand_new(dsn: str, made: Path, wanted: argparse.Namespace) -> None:
    """Nothing is there but who looks."""
    scenes = [one for one in EMPTY if re.search(wanted.only, one.name)]
    office = an_office(dsn, made)
    async with TestServer(office.application(Silent())) as server:
        assert await People(office.db, office.console.vault).add("ann", "admin", None) == []
        token = await office.console.sessions.begin(DEVICE, login="ann")
        await look_at_every(str(server.make_url("/")), {"admin": token}, scenes, wanted)
    await office.wire.close()
    await office.store.close()


async def small_market(dsn: str, made: Path, wanted: argparse.Namespace) -> None:
    async with open_console_office(dsn, made) as desk:
        token = "" if wanted.role == "nobody" else await desk.session(wanted.role)
        await look(desk.url, token, wanted)


async def main(wanted: argparse.Namespace) -> None:
    if wanted.base:
        async with chromium() as browser:
            token = await signed_in(browser, wanted.base, wanted.key, wanted.link)
        await look(wanted.base, token, wanted)
        return
    for show in (brand_new, every_state) if wanted.every else (small_market,):
        made = scratch()
        server = EmbeddedPostgres(made / "d", durable=False)
        try:
            dsn = await asyncio.to_thread(server.start)
            await migrate(dsn)
            await show(dsn, made, wanted)
        finally:
            await asyncio.to_thread(server.stop)
            shutil.rmtree(made)


def scratch() -> Path:
    """A folder that Postgres's own user may pass."""
    made = Path(tempfile.mkdtemp(prefix="look-", dir="/tmp"))
    made.chmod(0o711)
    return made


if __name__ == "__main__":
    said = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    said.add_argument("urls", nargs="*")
    said.add_argument("--base", default="")
    said.add_argument("--key", default="")
    said.add_argument("--link", default="")
    said.add_argument("--role", default="admin")
    said.add_argument("--out", default="/tmp/look")
    said.add_argument("--once", action="store_true")
    said.add_argument("--every", action="store_true")
    said.add_argument("--only", default="")
    Path(said.parse_args().out).mkdir(parents=True, exist_ok=True)
    asyncio.run(main(said.parse_args()))
