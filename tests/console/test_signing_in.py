"""Signing in and out: passwords, keys, links, codes; what a cookie is; how long a session lives."""

import time

import pytest

from exchange.office.console.entering import totp
from exchange.office.console.frame import safe_next
from exchange.store.keys import revoke_key
from tests.console.offices import DEVICE, Browser, ConsoleOffice, Page

PASSWORD = "owl lamp river"
SECRET = b"12345678901234567890"


async def _ann(desk: ConsoleOffice, *, role: str = "admin") -> None:
    await desk.people.add("ann", role, None)
    await desk.people.set_password("ann", PASSWORD)


async def _enter(
    browser: Browser, login: str = "ann", password: str = PASSWORD, to: str = ""
) -> Page:
    form = {"login": login, "password": password, "next": to}
    return await browser.post("/console/sign-in", form)


async def _is_in(browser: Browser) -> bool:
    return (await browser.get("/console/account")).status == 200


# --- who gets in ----------------------------------------------------------------------------------


async def test_signed_out_goes_to_the_sign_in_and_back(desk: ConsoleOffice) -> None:
    await _ann(desk)
    browser = desk.nobody()
    found = await browser.get("/console/settings?q=ping")
    assert (303, "/console/sign-in?next=%2Fconsole%2Fsettings%3Fq%3Dping") == (
        found.status,
        found.to,
    )

    form = await browser.get(found.to)
    assert 'name="next" value="/console/settings?q=ping"' in form.text
    back = await _enter(browser, to="/console/settings?q=ping")
    assert (303, "/console/settings?q=ping") == (back.status, back.to)
    assert await _is_in(browser)


async def test_a_wrong_login_and_a_wrong_password_are_told_alike(desk: ConsoleOffice) -> None:
    await _ann(desk)
    found = [
        await _enter(desk.nobody(), login, password)
        for login, password in (("ann", "not it at all"), ("nobody", PASSWORD), ("", ""))
    ]

    assert {403} == {one.status for one in found}
    assert all("This login and password do not belong together." in one.words for one in found)
    assert not any("Set-Cookie" in one.headers for one in found)


async def test_a_user_without_a_password_enters_with_none(desk: ConsoleOffice) -> None:
    await desk.people.add("ann", "admin", None)

    assert 403 == (await _enter(desk.nobody(), "ann", "")).status


async def test_a_key_enters_in_its_role(desk: ConsoleOffice) -> None:
    table = [("admin", "admin", 200), ("acme", "buyer", 404), ("roofquotes", "seller", 404)]
    for key, role, sees in table:
        browser = desk.nobody()
        page = await browser.post("/console/sign-in", {"key": f"  {desk.market.keys[key]}\n"})
        assert (303, "/console/") == (page.status, page.to)

        account = await browser.get("/console/account")
        assert f", {role}" in account.words
        assert "Signed in with an API key" in account.words
        assert sees == (await browser.get("/console/users")).status


async def test_a_session_ends_with_its_key(desk: ConsoleOffice) -> None:
    browser = desk.nobody()
    await browser.post("/console/sign-in", {"key": desk.market.keys["acme"]})
    assert await _is_in(browser)

    rows = await desk.office.db.fetch("SELECT id FROM api_key WHERE owner = 'acme'")
    assert await revoke_key(desk.office.db, rows[0][0])
    assert 303 == (await browser.get("/console/account")).status
    assert 401 == (await browser.get("/console/v1/contracts")).status


async def test_an_unknown_key_is_refused(desk: ConsoleOffice) -> None:
    page = await desk.nobody().post("/console/sign-in", {"key": "lx_admin_0000_nothing"})

    assert 403 == page.status
    assert "unknown or revoked" in page.words
    assert "lx_admin_0000" not in page.text, "a key is not echoed"


async def test_a_retired_user_is_out_at_once(desk: ConsoleOffice) -> None:
    await _ann(desk)
    browser = desk.nobody()
    await _enter(browser)
    assert await _is_in(browser)

    assert await desk.people.retire("ann")
    assert not await _is_in(browser)
    assert 403 == (await _enter(desk.nobody())).status
    late = await desk.office.console.sessions.begin(DEVICE, login="ann")
    browser.put_cookie("exchange", late)
    assert not await _is_in(browser), "a sign-in that was under way"


# --- codes ----------------------------------------------------------------------------------------


async def test_with_codes_a_password_is_half_of_it(desk: ConsoleOffice) -> None:
    await _ann(desk)
    step = int(time.time() // 30)
    await desk.people.begin_totp("ann", SECRET, totp.code_at(SECRET, step - 1))
    browser = desk.nobody()
    half = await _enter(browser, to="/console/keys")
    assert 200 == half.status
    assert browser.cookie() is None, "half a sign-in is none"
    pending = half.text.split('name="pending" value="')[1].split('"')[0]

    wrong = await browser.post("/console/sign-in/code", {"pending": pending, "code": "000000"})
    assert 403 == wrong.status
    code = totp.code_at(SECRET, step)
    form = {"pending": pending, "code": code, "next": "/console/keys"}
    done = await browser.post("/console/sign-in/code", form)
    assert (303, "/console/keys") == (done.status, done.to)
    assert await _is_in(browser)

    again = desk.nobody()
    assert 403 == (await again.post("/console/sign-in/code", form)).status, "the half is used up"
    other = await _enter(again)
    pending = other.text.split('name="pending" value="')[1].split('"')[0]
    replay = await again.post("/console/sign-in/code", {"pending": pending, "code": code})
    assert 403 == replay.status, "a code works once"


async def test_codes_are_set_up_by_proving_the_device(desk: ConsoleOffice) -> None:
    await _ann(desk)
    browser = desk.nobody()
    await _enter(browser)
    offer = await browser.get("/console/account/totp")
    assert 'src="data:image/svg+xml' in offer.text
    sealed = offer.text.split('name="sealed" value="')[1].split('"')[0]
    secret = _secret_in(offer)

    wrong = await browser.post("/console/account/totp", {"sealed": sealed, "code": "123"})
    assert (422, secret) == (wrong.status, _secret_in(wrong)), "the same secret, to try again"
    code = totp.code_at(secret, int(time.time() // 30))
    done = await browser.post("/console/account/totp", {"sealed": sealed, "code": code})
    assert 200 == done.status
    assert 10 == done.text.count("<li>") - _in_nav(done)
    account = await browser.get("/console/account")
    assert "Signing in asks for a code of your authenticator." in account.words


def _secret_in(page: Page) -> bytes:
    import base64

    text = page.text.split('secret"><code>')[1].split("<")[0].replace(" ", "")
    return base64.b32decode(text)


def _in_nav(page: Page) -> int:
    return page.text.split("<main")[0].count("<li>")


async def test_an_offer_is_bound_to_its_session(desk: ConsoleOffice) -> None:
    """Else somebody could have another one set up a secret that he knows."""
    await _ann(desk)
    mine, theirs = desk.nobody(), await desk.signed_in("operator")
    await _enter(mine)
    offer = await theirs.get("/console/account/totp")
    sealed = offer.text.split('name="sealed" value="')[1].split('"')[0]
    code = totp.code_at(_secret_in(offer), int(time.time() // 30))

    assert (
        400 == (await mine.post("/console/account/totp", {"sealed": sealed, "code": code})).status
    )


async def test_codes_are_turned_off_by_the_password(desk: ConsoleOffice) -> None:
    await _ann(desk)
    browser = desk.nobody()
    await _enter(browser)
    await desk.people.begin_totp("ann", SECRET, totp.code_at(SECRET, int(time.time() // 30)))

    assert 403 == (await browser.post("/console/account/totp/end", {"present": "no"})).status
    assert 303 == (await browser.post("/console/account/totp/end", {"present": PASSWORD})).status
    assert (await desk.people.find("ann")).has_totp is False  # type: ignore[union-attr]


# --- links ----------------------------------------------------------------------------------------


async def test_a_link_lets_in_once_and_looking_at_it_costs_nothing(desk: ConsoleOffice) -> None:
    await desk.people.add("ann", "viewer", None)
    path = f"/console/enter/{await desk.office.console.sessions.make_once('enter', 'ann')}"
    for _ in range(3):  # previews of a chat
        page = await desk.nobody().get(path)
        assert (200, None) == (page.status, page.headers.get("Set-Cookie"))
        assert "Hello, ann" in page.words

    browser = desk.nobody()
    entered = await browser.post(path)
    assert (303, "/console/account") == (entered.status, entered.to), "to set a password"
    assert await _is_in(browser)
    late = desk.nobody()
    assert 404 == (await late.post(path)).status
    assert 404 == (await late.get(path)).status
    assert not await _is_in(late)


async def test_a_link_is_over_after_its_minutes(desk: ConsoleOffice) -> None:
    await desk.people.add("ann", "viewer", None)
    path = f"/console/enter/{await desk.office.console.sessions.make_once('enter', 'ann')}"
    await desk.office.db.execute("UPDATE console_once SET ends_at = now() - interval '1 s'")

    assert 404 == (await desk.nobody().get(path)).status
    assert 404 == (await desk.nobody().post(path)).status


async def test_the_half_of_a_sign_in_is_no_link(desk: ConsoleOffice) -> None:
    await _ann(desk)
    token = await desk.office.console.sessions.make_once("code", "ann")

    assert 404 == (await desk.nobody().post(f"/console/enter/{token}")).status


# --- cookies and where a form comes from ----------------------------------------------------------


async def test_the_cookie_is_kept_from_scripts_and_other_sites(desk: ConsoleOffice) -> None:
    await _ann(desk)
    plain = (await _enter(desk.nobody())).headers["Set-Cookie"]
    assert plain.startswith("exchange=")
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(plain.split("; "))
    assert "Secure" not in plain

    form = {"login": "ann", "password": PASSWORD}
    sent = await desk.nobody().post("/console/sign-in", form, X_Forwarded_Proto="https")
    secure = sent.headers["Set-Cookie"]
    assert secure.startswith("__Host-exchange=")
    assert {"HttpOnly", "SameSite=Lax", "Path=/", "Secure"} <= set(secure.split("; "))
    assert "Domain" not in secure


async def test_over_tls_a_plain_cookie_counts_for_nothing(desk: ConsoleOffice) -> None:
    """Any http page of the host, or a sister domain, could have set it."""
    browser = await desk.signed_in("admin")

    assert 200 == (await browser.get("/console/account")).status
    assert 303 == (await browser.get("/console/account", X_Forwarded_Proto="https")).status


async def test_a_session_from_before_the_sign_in_is_over(desk: ConsoleOffice) -> None:
    """Nobody is let in by a cookie that he was given before."""
    await _ann(desk)
    browser = await desk.signed_in("viewer")
    planted = browser.cookie()
    await _enter(browser)
    assert browser.cookie() != planted

    other = desk.nobody()
    other.put_cookie("exchange", planted or "")
    assert not await _is_in(other)


FOREIGN = (
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Sec_Fetch_Site": "cross-site"},
    {"Sec_Fetch_Site": "same-site"},
    {"Sec_Fetch_Site": "none"},
)
CHANGES = (
    ("POST", "/console/sign-in"),
    ("POST", "/console/sign-in/code"),
    ("POST", "/console/sign-out"),
    ("POST", "/console/users"),
    ("POST", "/console/account/sessions/end"),
    ("POST", "/console/v1/keys"),
    ("PATCH", "/console/v1/buyers/acme"),
    ("DELETE", "/console/v1/contracts/acme-1"),
)


async def test_a_change_comes_from_our_own_pages(desk: ConsoleOffice) -> None:
    browser = await desk.signed_in("admin")
    for method, path in CHANGES:
        for headers in FOREIGN:
            found = await browser.call(method, path, **headers)
            assert (403, True) == (found.status, "wrong_origin" in found.text), (path, headers)
    assert await _is_in(browser)
    ours = await browser.call("POST", "/console/account/sessions/end", Sec_Fetch_Site="same-origin")
    assert 303 == ours.status


async def test_nothing_says_where_a_change_comes_from(desk: ConsoleOffice) -> None:
    browser = await desk.signed_in("admin")

    assert 403 == (await browser.call("POST", "/console/sign-out")).status


@pytest.mark.parametrize(
    ("said", "goes"),
    [
        ("/console/leads?x=1", "/console/leads?x=1"),
        ("", "/console/"),
        ("https://evil.example/console/", "/console/"),
        ("//evil.example/console/", "/console/"),
        ("/console/../evil\\", "/console/"),
        ("/console/\r\nSet-Cookie: a=b", "/console/"),
        ("/v1/keys", "/console/"),
        ("/console/sign-in?next=/console/sign-in", "/console/"),
    ],
)
def test_next_stays_in_the_console(said: str, goes: str) -> None:
    assert goes == safe_next(said)


# --- tries ----------------------------------------------------------------------------------------


async def test_many_tries_have_to_wait_even_with_the_right_password(desk: ConsoleOffice) -> None:
    await _ann(desk)
    await _bob(desk)
    for _ in range(9):
        await desk.office.console.sessions.count_try("ann", "127.0.0.1")
    assert 403 == (await _enter(desk.nobody(), "ann", "the tenth slip")).status

    page = await _enter(desk.nobody())
    assert (429, "60") == (page.status, page.headers["Retry-After"])
    assert "Too many tries. Wait 15 minutes and try again." in page.words
    assert 303 == (await _enter(desk.nobody(), "bob")).status, "another login goes on"
    await desk.office.db.execute("UPDATE console_try SET since = since - interval '16 minutes'")
    assert 303 == (await _enter(desk.nobody())).status


async def _bob(desk: ConsoleOffice) -> None:
    await desk.people.add("bob", "admin", None)
    await desk.people.set_password("bob", PASSWORD)


async def test_a_success_forgets_the_slips_before(desk: ConsoleOffice) -> None:
    await _ann(desk)
    browser = desk.nobody()
    for _ in range(9):
        await desk.office.console.sessions.count_try("ann", "127.0.0.1")
    assert 303 == (await _enter(browser)).status
    assert 403 == (await _enter(browser, "ann", "a slip of the pen")).status


async def test_an_address_has_fifty_tries_for_any_login(desk: ConsoleOffice) -> None:
    sessions = desk.office.console.sessions
    waits = [await sessions.count_try(f"login{n}", "10.0.0.1") for n in range(51)]

    assert [0] * 50 == waits[:50]
    assert waits[50] > 0
    assert 0 == await sessions.count_try("login0", "10.0.0.2")


async def test_a_login_has_fifty_tries_from_anywhere(desk: ConsoleOffice) -> None:
    sessions = desk.office.console.sessions
    waits = [await sessions.count_try("ann", f"10.0.0.{n}") for n in range(51)]

    assert [0] * 50 == waits[:50]
    assert waits[50] > 0


async def test_codes_are_counted_too(desk: ConsoleOffice) -> None:
    await _ann(desk)
    await desk.people.begin_totp("ann", SECRET, totp.code_at(SECRET, int(time.time() // 30)))
    browser = desk.nobody()
    pending = (await _enter(browser)).text.split('name="pending" value="')[1].split('"')[0]
    form = {"pending": pending, "code": "000000"}
    found = [(await browser.post("/console/sign-in/code", form)).status for _ in range(12)]

    assert [403] * 9 == found[:9], "the password was the first try"
    assert [429] * 3 == found[9:]


# --- how long, and how many -----------------------------------------------------------------------


async def test_a_session_is_over_when_idle_and_in_any_case(desk: ConsoleOffice) -> None:
    for column, ago, lives in (
        ("seen_at", "11 hours", True),
        ("seen_at", "13 hours", False),
        ("ends_at", "167 hours", True),
        ("ends_at", "169 hours", False),
    ):
        browser = await desk.signed_in("admin")
        await desk.office.db.execute(
            f"UPDATE console_session SET {column} = {column} - interval '{ago}'"
        )
        assert lives is await _is_in(browser), (column, ago)


async def test_being_seen_keeps_it_alive(desk: ConsoleOffice) -> None:
    browser = await desk.signed_in("admin")
    for _ in range(3):
        await desk.office.db.execute(
            "UPDATE console_session SET seen_at = seen_at - interval '11 hours'"
        )
        assert await _is_in(browser)


async def test_a_page_left_open_does_not_keep_it_alive(desk: ConsoleOffice) -> None:
    browser = await desk.signed_in("admin")
    token, sessions = browser.cookie() or "", desk.office.console.sessions
    for alive in (True, False):
        await desk.office.db.execute(
            "UPDATE console_session SET seen_at = seen_at - interval '7 hours'"
        )
        assert alive is (await sessions.find(token, touches=False) is not None)


async def test_signing_out_ends_the_session_itself(desk: ConsoleOffice) -> None:
    browser = await desk.signed_in("admin")
    token = browser.cookie()
    left = await browser.post("/console/sign-out")
    assert (303, "/console/sign-in") == (left.status, left.to)
    assert "You are signed out." in (await browser.get("/console/sign-in")).words
    assert "You are signed out." not in (await browser.get("/console/sign-in")).words

    browser.put_cookie("exchange", token or "")
    assert not await _is_in(browser)


async def test_ending_the_others_leaves_this_one_and_other_people(desk: ConsoleOffice) -> None:
    first, second, third = [await desk.signed_in("admin") for _ in range(3)]
    other = await desk.signed_in("viewer")
    page = await first.get("/console/account")
    assert "End the other 2 sessions" in page.words

    assert 303 == (await first.post("/console/account/sessions/end")).status
    assert [True, False, False, True] == [
        await _is_in(one) for one in (first, second, third, other)
    ]


async def test_a_new_password_ends_the_others(desk: ConsoleOffice) -> None:
    await _ann(desk)
    one, other = desk.nobody(), desk.nobody()
    await _enter(one)
    await _enter(other)
    new = {"password": "lamp river stone", "again": "lamp river stone"}
    wrong = await one.post("/console/account/password", new | {"present": "not it"})
    assert (403, "The present password is wrong.") == (wrong.status, _alert(wrong))
    differing = new | {"present": PASSWORD, "again": "something else"}
    assert 422 == (await one.post("/console/account/password", differing)).status
    assert await _is_in(other)

    assert 303 == (await one.post("/console/account/password", new | {"present": PASSWORD})).status
    assert [True, False] == [await _is_in(one), await _is_in(other)]
    assert 403 == (await _enter(desk.nobody())).status
    assert 303 == (await _enter(desk.nobody(), password="lamp river stone")).status


def _alert(page: Page) -> str:
    return page.text.split('role="alert"')[1].split("<div>")[1].split("<")[0]


async def test_tokens_are_nowhere_in_the_database(desk: ConsoleOffice) -> None:
    browser = await desk.signed_in("admin")
    link = await desk.office.console.sessions.make_once("enter", "r-admin")
    token = (browser.cookie() or "").encode()
    rows = [
        *await desk.office.db.fetch("SELECT s::text FROM console_session s"),
        *await desk.office.db.fetch("SELECT o::text FROM console_once o"),
        *await desk.office.db.fetch("SELECT e::text FROM console_event e"),
    ]

    assert rows
    stored = "".join(row[0] for row in rows)
    for secret in (token, link.encode()):
        assert secret.decode() not in stored
        assert secret.hex() not in stored
