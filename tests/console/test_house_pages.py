"""Users, keys, settings, audit: what admins do here, and what they read."""

import pytest

from exchange.settings import load_settings
from exchange.store.keys import create_key
from tests.console.offices import ConsoleOffice, Page


def _link(page: Page) -> str:
    return page.text.split('data-copy="')[1].split('"')[0]


# --- users ----------------------------------------------------------------------------------------


async def test_an_admin_makes_a_user_who_enters_and_sets_a_password(desk: ConsoleOffice) -> None:
    admin = await desk.signed_in("admin")
    made = await admin.post("/console/users", {"login": "Ann", "role": "buyer", "owner": "acme"})
    assert 200 == made.status
    assert "A link for ann." in made.words
    path = _link(made).removeprefix(desk.url)
    assert path.startswith("/console/enter/")

    ann = desk.nobody()
    await ann.post(path)
    assert "You have no password yet." in (await ann.get("/console/account")).words
    new = {"password": "owl lamp river", "again": "owl lamp river"}
    assert 303 == (await ann.post("/console/account/password", new)).status
    again = desk.nobody()
    entered = await again.post("/console/sign-in", {"login": "ANN", "password": "owl lamp river"})
    assert 303 == entered.status
    assert "buyer of acme" in (await again.get("/console/account")).words
    events = [tuple(row) for row in await desk.office.db.fetch(
        "SELECT by, what, subject FROM console_event ORDER BY id")]  # fmt: skip
    assert [
        ("user:r-admin", "user_created", "ann"),
        ("user:r-admin", "link_made", "ann"),
        ("user:ann", "signed_in", ""),
        ("user:ann", "password_changed", "ann"),
        ("user:ann", "signed_in", ""),
    ] == events


async def test_every_fault_of_a_new_user_is_told(desk: ConsoleOffice) -> None:
    admin = await desk.signed_in("admin")
    for form, said in (
        ({"login": "r-admin", "role": "viewer"}, "login exists, or existed"),
        ({"login": "Ann Bee", "role": "viewer"}, "login must be 1 to 64"),
        ({"login": "", "role": "viewer"}, "login must be 1 to 64"),
        ({"login": "ann", "role": "root"}, "role is one of admin, operator"),
        ({"login": "ann", "role": "buyer"}, "owner is the slug of the buyer"),
        ({"login": "ann", "role": "buyer", "owner": "nobody"}, "owner there is no such buyer"),
        ({"login": "ann", "role": "buyer", "owner": "roofquotes"}, "owner there is no such buyer"),
        ({"login": "ann", "role": "admin", "owner": "acme"}, "owner must be empty"),
    ):
        found = await admin.post("/console/users", form)
        assert (422, True) == (found.status, said in found.words), (form, found.words[-400:])


async def test_a_reset_takes_everything_away_but_the_login(desk: ConsoleOffice) -> None:
    admin, viewer = await desk.signed_in("admin"), await desk.signed_in("viewer")
    await desk.people.set_password("r-viewer", "owl lamp river")
    old = await desk.office.console.sessions.make_once("enter", "r-viewer")
    found = await admin.post("/console/users/r-viewer/reset")
    assert 200 == found.status

    assert 303 == (await viewer.get("/console/account")).status
    sign_in = {"login": "r-viewer", "password": "owl lamp river"}
    assert 403 == (await desk.nobody().post("/console/sign-in", sign_in)).status
    assert 404 == (await desk.nobody().post(f"/console/enter/{old}")).status
    assert 303 == (await viewer.post(_link(found).removeprefix(desk.url))).status


async def test_a_retired_login_is_never_used_again(desk: ConsoleOffice) -> None:
    admin, viewer = await desk.signed_in("admin"), await desk.signed_in("viewer")
    assert 303 == (await admin.post("/console/users/r-viewer/retire")).status
    assert "r-viewer is retired" in (await admin.get("/console/users")).words

    assert 303 == (await viewer.get("/console/account")).status
    assert 404 == (await admin.post("/console/users/r-viewer/link")).status
    assert 404 == (await admin.post("/console/users/r-viewer/retire")).status
    again = await admin.post("/console/users", {"login": "r-viewer", "role": "viewer"})
    assert 422 == again.status


async def test_nobody_locks_himself_out(desk: ConsoleOffice) -> None:
    admin = await desk.signed_in("admin")

    assert 422 == (await admin.post("/console/users/r-admin/retire")).status
    assert 422 == (await admin.post("/console/users/r-admin/reset")).status
    assert 200 == (await admin.get("/console/users")).status


async def test_only_admins_have_a_hand_in_users(desk: ConsoleOffice) -> None:
    for role in ("operator", "viewer", "buyer", "seller"):
        browser = await desk.signed_in(role)
        for path in ("", "/r-admin/link", "/r-admin/reset", "/r-admin/retire"):
            form = {"login": "ann", "role": "admin"}
            assert 404 == (await browser.post(f"/console/users{path}", form)).status, (role, path)
    assert await desk.people.find("ann") is None


# --- keys and settings ----------------------------------------------------------------------------


async def test_keys_are_listed_and_filtered_never_shown(desk: ConsoleOffice) -> None:
    admin = await desk.signed_in("admin")
    key_id, _ = await create_key(desk.office.db, desk.office.console.vault, "buyer", "zenith")
    await desk.office.db.execute("UPDATE api_key SET revoked_at = now() WHERE id = $1", key_id)
    page = await admin.get("/console/keys?owner=zenith")
    assert ("acme" in _table(page), key_id in page.text) == (False, False)
    assert key_id in (await admin.get("/console/keys?owner=zenith&state=all")).text
    assert "No such key" in (await admin.get("/console/keys?owner=nobody")).words

    whole = await admin.get("/console/keys")
    assert not any(key in whole.text for key in desk.market.keys.values())


def _table(page: Page) -> str:
    return page.text.split("<tbody>")[1].split("</tbody>")[0]


async def test_settings_are_told_with_their_source_and_secrets_masked(
    desk: ConsoleOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "a-key-that-nobody-may-read"
    monkeypatch.setenv("EXCHANGE_OFFICE_TRIES_MAX", "12")
    desk.office.console.settings = load_settings(
        {"EXCHANGE_ADMIN_KEY": key, "EXCHANGE_OFFICE_TRIES_MAX": "12"}
    )
    viewer = await desk.signed_in("viewer")
    page = await viewer.get("/console/settings?q=tries_max")
    assert "office.tries_max" in page.words
    assert "12 10 3 to 1,000 environment" in page.words

    whole = await viewer.get("/console/settings")
    assert ("********" in whole.text, key in whole.text) == (True, False)
    assert "retention.pings_days" in whole.words

    assert "No setting is called so" in (await viewer.get("/console/settings?q=nonsense")).words


# --- audit ----------------------------------------------------------------------------------------


async def test_a_change_is_told_field_by_field(desk: ConsoleOffice) -> None:
    admin = await desk.signed_in("admin")
    body = {"priority": 3, "caps": [{"kind": "sales", "period": "day", "limit": 9}]}
    assert 200 == (await admin.send("PATCH", "/console/v1/contracts/acme-1", body)).status

    page = await admin.get("/console/audit?slug=acme-1")
    first = _events(page)[0]
    assert "r-admin" in first
    assert "<del>10</del>" in first
    assert "<ins>3</ins>" in first
    assert "created" in _events(page)[1]


def _events(page: Page) -> list[str]:
    return page.text.split('<ol class="events">')[1].split("</ol>")[0].split("<li>")[1:]


async def test_a_field_of_a_vertical_is_told_by_its_name(desk: ConsoleOffice) -> None:
    admin = await desk.signed_in("admin")
    vertical = (await admin.get("/console/v1/verticals/roofing")).json
    vertical["fields"].insert(0, {"name": "roof", "type": "string", "stage": "ping"})
    vertical["fields"][1]["required"] = False
    assert 200 == (await admin.send("PUT", "/console/v1/verticals/roofing", vertical)).status

    found = _events(await admin.get("/console/audit?kind=vertical"))[0]
    assert "fields › state › required" in found
    assert "fields › phone" not in found, "it moved, it did not change"


async def test_filters_are_in_the_address_and_lists_go_on(desk: ConsoleOffice) -> None:
    admin = await desk.signed_in("admin")
    for number in range(32):
        await admin.send("PATCH", "/console/v1/contracts/acme-1", {"priority": number + 20})
    newest = await admin.get("/console/audit?by=r-admin")
    assert 30 == len(_events(newest))
    assert "/console/audit?by=r-admin&amp;after=" in newest.text
    older = newest.text.split("/console/audit?by=r-admin&amp;after=")[1].split('"')[0]
    second = await admin.get(f"/console/audit?by=r-admin&after={older}")
    assert 2 == len(_events(second))
    assert "Newest" in second.words

    assert "Nothing was changed" in (await admin.get("/console/audit?by=user:nobody")).words
    assert 2 == len(_events(await admin.get("/console/audit?kind=contract&by=apply")))
    assert "Nothing was changed" in (await admin.get("/console/audit?to=2020-01-01")).words
    assert 30 == len(_events(await admin.get("/console/audit?from=2020-01-01")))


async def test_a_wrong_filter_is_told_not_thrown(desk: ConsoleOffice) -> None:
    admin = await desk.signed_in("admin")
    for query, field in (
        ("from=yesterday", "from"),
        ("after=x", "after"),
        ("slug=%00", "slug"),
        ("to=2020-13-01", "to"),
    ):
        found = await admin.get(f"/console/audit?{query}")
        assert (422, True) == (found.status, f"<code>{field}</code>" in found.text), query


async def test_who_signed_in_is_told(desk: ConsoleOffice) -> None:
    admin = await desk.signed_in("admin")
    await desk.nobody().post("/console/sign-in", {"login": "mallory", "password": "x"})
    await desk.nobody().post("/console/sign-in", {"key": desk.market.keys["acme"]})

    page = await admin.get("/console/audit/access")
    assert "nobody known failed to sign in" in page.words.replace("  ", " ")
    assert "mallory" not in page.text, "what stands there may be somebody's password"
    assert "signed in" in (await admin.get("/console/audit/access?kind=signed_in")).words
    assert "mallory" not in (await admin.get("/console/audit/access?kind=signed_in")).words


# --- when the house is not well -------------------------------------------------------------------


async def test_without_the_database_there_is_a_page_that_says_so(desk: ConsoleOffice) -> None:
    admin = await desk.signed_in("admin")
    db = desk.office.db
    kept, dsn = db._pool, db.dsn
    db._pool, db.dsn = None, "postgresql://127.0.0.1:1/nothing"
    page = await admin.get("/console/users")
    assert (503, "1") == (page.status, page.headers["Retry-After"])
    assert "The database is away" in page.words
    api = await admin.get("/console/v1/contracts")
    assert (503, "unavailable") == (api.status, api.json["code"])

    db._pool, db.dsn = kept, dsn
    assert 200 == (await admin.get("/console/users")).status
