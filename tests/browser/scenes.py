"""Every page of the console in every state worth a picture; `python -m tests.browser.look --every` draws them."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

from playwright.async_api import Page

from tests.browser.stage import PASSWORD, Stage

Act = Callable[[Page], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One picture. `role` "nobody": signed out. `act`: what is done on the page before."""

    name: str
    role: str
    path: str
    act: Act | None = None


_ADMIN: Final = (
    "/console/", "/console/leads", "/console/leads?outcome=unsold&reason=below_floor", "/console/leads?vertical=none",
    "/console/buyers", "/console/buyers?search=nobody", "/console/buyers/new", "/console/buyers/acme",
    "/console/buyers/acme/edit", "/console/buyers/acme/sales", "/console/buyers/acme/versions",
    "/console/contracts", "/console/contracts/new", "/console/contracts/new?buyer=acme&vertical=roofing",
    "/console/contracts/acme-1", "/console/contracts/acme-1?version=5", "/console/contracts/acme-1/edit",
    "/console/contracts/acme-1/versions", "/console/contracts/top", "/console/contracts/top/certificate",
    "/console/contracts/off", "/console/sellers", "/console/sellers/new", "/console/sellers/roofquotes",
    "/console/sellers/roofquotes/edit", "/console/sellers/roofquotes/posting/roofing", "/console/plans",
    "/console/plans/roofing", "/console/plans/solar", "/console/verticals", "/console/verticals/new",
    "/console/verticals/roofing", "/console/verticals/roofing/edit", "/console/posting", "/console/money",
    "/console/money/statements", "/console/money/statements/buyers/acme",
    "/console/money/statements/sellers/roofquotes", "/console/money/open", "/console/money/returns",
    "/console/reports", "/console/reports?by=contract&range=7d", "/console/reports?by=hour&range=7d",
    "/console/reports?by=buyer&range=today", "/console/users", "/console/keys", "/console/keys?state=all",
    "/console/audit", "/console/audit/access", "/console/erasures", "/console/settings", "/console/account",
    "/console/account/totp",
    "/console/nowhere", "/console/leads?outcome=nonsense", "/console/contracts/unknown",
)  # fmt: skip
_BUYER: Final = (
    "/console/", "/console/leads", "/console/buyers/acme", "/console/buyers/acme/sales", "/console/contracts",
    "/console/contracts/new", "/console/contracts/new?vertical=roofing", "/console/contracts/acme-1",
    "/console/contracts/acme-1?version=5", "/console/contracts/acme-1/edit", "/console/contracts/acme-1/versions",
    "/console/contracts/top/certificate", "/console/money", "/console/money/open", "/console/money/returns",
    "/console/money/statements/buyers/acme", "/console/reports", "/console/account", "/console/users",
)  # fmt: skip
_SELLER: Final = (
    "/console/", "/console/leads", "/console/sellers/roofquotes", "/console/posting", "/console/posting/roofing",
    "/console/money", "/console/money/statements/sellers/roofquotes", "/console/reports", "/console/account",
)  # fmt: skip


def scenes_of(stage: Stage) -> list[Scene]:
    """All of them, staff first."""
    return [
        *(_plain("admin", path) for path in _ADMIN),
        *_leads(stage),
        *_accounts(stage),
        *_verbs(stage),
        *(_plain("buyer", path) for path in _BUYER),
        *(_plain("seller", path) for path in _SELLER),
        *_entering(stage),
    ]


def _plain(role: str, path: str) -> Scene:
    words = path.removeprefix("/console").strip("/") or "live"
    return Scene(name=f"{role}-{words}", role=role, path=path)


# An exchange in which nothing has happened yet.
_NEW: Final = (
    "/console/", "/console/leads", "/console/buyers", "/console/contracts", "/console/contracts/new",
    "/console/sellers", "/console/plans", "/console/verticals", "/console/posting", "/console/money",
    "/console/money/statements", "/console/money/open", "/console/money/returns", "/console/reports",
    "/console/users", "/console/keys", "/console/audit", "/console/audit/access", "/console/erasures",
)  # fmt: skip
EMPTY: Final = [replace(_plain("admin", path), name=_plain("new", path).name) for path in _NEW]


def _leads(stage: Stage) -> list[Scene]:
    found = []
    for name, id_ in stage.leads.items():
        path = f"/console/{id_.partition('_')[0]}s/{id_}"
        found.append(Scene(name=f"admin-lead-{name}", role="admin", path=path))
        if name in {"sold-by-auction", "sold-shared", "unconfirmed", "returned", "unsold-no-bids"}:
            found.append(Scene(name=f"seller-lead-{name}", role="seller", path=path))
        if name in {"sold-by-auction", "unsold-rejected-by-all", "returned"}:
            role = "buyer" if name == "unsold-rejected-by-all" else "other_buyer"
            found.append(Scene(name=f"buyer-lead-{name}", role=role, path=path))
    return found


def _accounts(stage: Stage) -> list[Scene]:
    role = {"acme": "buyer", "roofquotes": "seller"}
    found = []
    for name, id_ in stage.accounts.items():
        path = f"/console/money/accounts/{id_}"
        found.append(Scene(name=f"admin-account-{name}", role="admin", path=path))
        if whose := role.get(name.partition(" ")[0]):
            found.append(Scene(name=f"{whose}-account-{name}", role=whose, path=path))
    return found


def _verbs(stage: Stage) -> list[Scene]:
    """Dialogs, what is shown once, and forms that were refused."""
    sold = stage.desk.sold[0]
    back = f"/console/buyers/acme/return?lead={sold}"
    lead = f"/console/leads/{sold}"

    async def new_key(page: Page) -> None:
        await page.get_by_role("button", name="New key").click()

    async def made_key(page: Page) -> None:
        await new_key(page)
        await page.locator("#n-owner").fill("roofquotes")
        await page.get_by_role("button", name="Make it").click()
        await page.get_by_text("Copy it now").wait_for()

    async def made_user(page: Page) -> None:
        await page.get_by_label("Login").fill(f"zoe{time.time_ns() % 10**9}")
        await page.get_by_role("button", name="Make the user").click()

    async def wrong_user(page: Page) -> None:
        await page.get_by_label("Login").fill("ann")
        await page.get_by_role("button", name="Make the user").click()

    async def refused_contract(page: Page) -> None:
        await page.locator("[name='endpoint.ping_timeout_ms']").fill("1")
        await page.locator(".form-actions .primary").click()
        await page.wait_for_load_state("networkidle")

    async def shared(page: Page) -> None:
        await page.get_by_role("button", name="Make a link").click()

    async def paused(page: Page) -> None:
        await page.get_by_role("button", name="Pause").first.click()

    async def revealed(page: Page) -> None:
        await page.get_by_role("button", name="Reveal the person").click()

    async def erasing(page: Page) -> None:
        await page.get_by_label("Search leads").fill("(512) 555-0123")
        await page.get_by_role("button", name="Find").click()
        await page.get_by_role("button", name="Erase this person").click()

    async def erasing_one(page: Page) -> None:
        await page.get_by_role("button", name="Erase the person").click()

    return [
        Scene(name="admin-erase-person", role="admin", path="/console/leads", act=erasing),
        Scene(name="admin-erase-waits", role="admin", path=f"/console/leads/{stage.leads['unconfirmed']}", act=erasing_one),
        Scene(name="admin-key-new", role="admin", path="/console/keys", act=new_key),
        Scene(name="admin-key-made", role="admin", path="/console/keys", act=made_key),
        Scene(name="admin-user-made", role="admin", path="/console/users", act=made_user),
        Scene(name="admin-user-refused", role="admin", path="/console/users", act=wrong_user),
        Scene(name="admin-return", role="admin", path=back),
        Scene(name="buyer-return", role="buyer", path=back),
        Scene(name="admin-contract-refused", role="admin", path="/console/contracts/acme-1/edit", act=refused_contract),
        Scene(name="admin-contract-pause", role="admin", path="/console/contracts/acme-1", act=paused),
        Scene(name="seller-link-made", role="seller", path="/console/posting/roofing", act=shared),
        Scene(name="admin-lead-revealed", role="admin", path=lead, act=revealed),
    ]  # fmt: skip


def _entering(stage: Stage) -> list[Scene]:
    """Signing in, in all its states."""

    def types(login: str, password: str) -> Act:
        async def act(page: Page) -> None:
            await page.get_by_label("Login").fill(login)
            await page.get_by_label("Password").fill(password)
            await page.get_by_role("button", name="Sign in", exact=True).click()

        return act

    async def wrong_code(page: Page) -> None:
        await types("bob", PASSWORD)(page)
        await page.get_by_label("Code of your authenticator").fill("000000")
        await page.get_by_role("button", name="Go on").click()

    async def wrong_key(page: Page) -> None:
        await page.get_by_text("Use an API key").click()
        await page.get_by_label("API key").fill("lx_admin_nothing")
        await page.get_by_role("button", name="Sign in with the key").click()

    async def locked(page: Page) -> None:
        for _ in range(12):
            await types("eve", "wrong again")(page)

    async def first_password(page: Page) -> None:
        token = await stage.desk.office.console.sessions.make_once("enter", "eve")
        await page.goto(f"{stage.desk.url}/console/enter/{token}")
        await page.get_by_role("button", name="Enter").click()
        await page.wait_for_load_state()

    async def link(page: Page) -> None:
        token = await stage.desk.office.console.sessions.make_once("enter", "eve")
        await page.goto(f"{stage.desk.url}/console/enter/{token}")

    where = "/console/sign-in"
    acts: dict[str, Act | None] = {
        "plain": None, "wrong-password": types("ann", "not it at all"), "code": types("bob", PASSWORD),
        "wrong-code": wrong_code, "wrong-key": wrong_key, "first-password": first_password, "link": link,
        "locked": locked,
    }  # fmt: skip

    return [
        Scene(name="shared-posting", role="nobody", path=f"/console/shared/{stage.shared}"),
        Scene(name="shared-ended", role="nobody", path=f"/console/shared/{'x' * 43}"),
        Scene(name="enter-link-expired", role="nobody", path=f"/console/enter/{'x' * 43}"),
        *(Scene(name=f"enter-{name}", role="nobody", path=where, act=act) for name, act in acts.items()),
    ]  # fmt: skip
