"""Each role against each page; and what every page has, whoever wrote it."""

import re
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from exchange.office.console.api import may_call
from exchange.office.console.mishaps import CSP
from exchange.office.console.viewer import EVERYONE, Role, Viewer
from tests.console.offices import ROLES, ConsoleOffice

# Of the frame's own pages; every owner of pages has such a table beside his.
PAGES = {
    "/console/account": "admin operator viewer buyer seller",
    "/console/users": "admin",
    "/console/keys": "admin",
    "/console/settings": "admin operator viewer",
    "/console/audit": "admin operator viewer",
    "/console/audit/access": "admin operator viewer",
}


EXAMPLES = ("x", "1", "buyers", "sellers", "lead_" + "0" * 32, "ping_" + "0" * 32, "2026-07")


def addresses(desk: ConsoleOffice, *methods: str) -> Iterator[tuple[str, str]]:
    """Method and an address of every route of the console; what it names does not exist."""
    for route in desk.server.app.router.routes():  # type: ignore[attr-defined]
        path = route.resource.canonical if route.resource else ""
        if path.startswith("/console") and (route.method in methods or not methods):
            yield route.method, _filled(path, route.resource)


def _filled(path: str, resource: Any) -> str:
    pattern, holes = resource.get_info().get("pattern"), path.count("{")
    if pattern is None:
        return path
    for words in product(EXAMPLES, repeat=holes):
        left = iter(words)
        found = re.sub(r"\{[^}]+\}", lambda _: next(left), path)  # noqa: B023 - used at once
        if pattern.fullmatch(found):
            return found
    raise AssertionError(f"no example fits {path}: add one")


async def test_each_role_sees_its_pages_and_no_trace_of_the_others(desk: ConsoleOffice) -> None:
    for role in ROLES:
        browser = await desk.signed_in(role)
        unknown = await browser.get("/console/there-is-no-such-page")
        for path, allowed in PAGES.items():
            page = await browser.get(path)
            assert (200 if role in allowed.split() else 404) == page.status, (role, path)
            if page.status == 404:
                assert unknown.words == page.words, "a forbidden page looks like an unknown one"
            else:
                nav = page.text.split("<main")[0]
                for other, others in PAGES.items():
                    if other not in {"/console/account", "/console/audit/access"}:
                        assert (role in others.split()) is (f'href="{other}"' in nav), (role, other)


async def test_nobody_sees_any_page_signed_out(desk: ConsoleOffice) -> None:
    """Of every module, also those that will be added."""
    browser = desk.nobody()
    open_to_all = ("/console", "/console/sign-in", "/console/sign-in/code")
    for method, path in addresses(desk):
        if path in open_to_all or path.startswith(
            ("/console/enter/", "/console/shared/", "/console/assets/")
        ):
            continue
        found = await browser.call(method, path, Origin=browser.origin)
        told = (found.status, found.to.partition("?")[0])
        is_api = path.startswith("/console/v1/")
        assert told == ((401, "") if is_api else (303, "/console/sign-in")), (method, path)


async def test_every_answer_forbids_what_a_page_of_ours_never_does(desk: ConsoleOffice) -> None:
    browser = await desk.signed_in("admin")
    streams = {path for _, path in addresses(desk, "GET") if path.endswith("/stream")}
    beside = {"/", "/console/nothing", "/metrics", "/v1/keys", "/healthz"}
    for path in sorted({path for _, path in addresses(desk, "GET")} - streams | beside):
        found = await browser.get(path)
        assert "nosniff" == found.headers["X-Content-Type-Options"], path
        assert "frame-ancestors 'none'" in found.headers["Content-Security-Policy"], path
        if path.startswith("/console"):
            assert CSP == found.headers["Content-Security-Policy"], path
            assert found.status < 500, path
            assert "assets" in path or "no-store" == found.headers["Cache-Control"], path
        if found.headers.get("Content-Type", "").startswith("text/html") and "/console" in path:
            assert not re.search(r"<[^>]* (style|on\w+)=|<script>|<style", found.text), path


async def test_tls_is_kept_to_once_seen(desk: ConsoleOffice) -> None:
    browser = desk.nobody()

    assert "Strict-Transport-Security" not in (await browser.get("/console/sign-in")).headers
    said = await browser.get("/console/sign-in", X_Forwarded_Proto="https")
    assert "max-age=31536000" == said.headers["Strict-Transport-Security"]


@pytest.mark.parametrize(
    ("role", "method", "path", "may"),
    [
        ("admin", "POST", "/v1/keys", True),
        ("operator", "POST", "/v1/keys", False),
        ("operator", "GET", "/v1/keys", False),
        ("operator", "PATCH", "/v1/contracts/{slug}", True),
        ("operator", "POST", "/v1/buyers/{slug}/deposits", True),
        ("viewer", "GET", "/v1/contracts/{slug}", True),
        ("viewer", "PATCH", "/v1/contracts/{slug}", False),
        ("viewer", "POST", "/v1/contracts/{slug}/test", False),
        ("viewer", "GET", "/v1/keys", False),
        ("buyer", "PATCH", "/v1/contracts/{slug}", True),
        ("seller", "GET", "/v1/leads", False),
        ("seller", "POST", "/v1/returns", False),
    ],
)
def test_what_a_role_may_call(role: Role, method: str, path: str, may: bool) -> None:
    assert may is may_call(role, method, path)


@pytest.mark.parametrize(
    ("role", "staff", "may_change", "may_reveal"),
    [
        ("admin", True, True, True),
        ("operator", True, True, False),
        ("viewer", True, False, False),
        ("buyer", False, True, True),
        ("seller", False, False, False),
    ],
)
def test_what_a_viewer_is(role: Role, staff: bool, may_change: bool, may_reveal: bool) -> None:
    viewer = Viewer(login="ann", role=role, owner=None if staff else "acme", session="s")

    assert (staff, may_change, may_reveal) == (viewer.staff, viewer.may_change, viewer.may_reveal)
    assert ("user:ann", "ann", None) == (viewer.name, viewer.user, viewer.key_id)
    assert ("acme" if role == "buyer" else None) == viewer.buyer
    assert ("acme" if role == "seller" else None) == viewer.seller


def test_whoever_came_by_a_key_is_its_holder() -> None:
    viewer = Viewer(login="key 1a2b", role="admin", owner=None, session="s")

    assert ("key:1a2b", None, "1a2b") == (viewer.name, viewer.user, viewer.key_id)
    assert len(set(EVERYONE)) == 5
