"""A person erased from the console: found, looked at, confirmed, told, and by nobody who may not."""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from exchange.ids import read_id, write_id
from tests.console.offices import DEVICE, ConsoleOffice
from tests.console.trading import PERSON, Trade, open_trade

PHONE = PERSON["phone"]
ERASE = "/console/leads/erase"
NOBODY = f"lead_{'0' * 32}"


@pytest.fixture
async def trade(desk: ConsoleOffice) -> AsyncIterator[Trade]:
    async with open_trade(desk) as found:
        yield found


async def has_person(desk: ConsoleOffice, lead: str) -> bool:
    ids = read_id("lead", lead)
    assert ids is not None
    row = await desk.market.store.lead(ids[0])
    assert row is not None
    return row.person.key is not None


async def found_by_phone(browser: Any) -> str:
    """The address that a search by phone leads to."""
    return str((await browser.post("/console/leads/search", {"q": "(512) 555-0123"})).to)


async def test_a_person_is_found_looked_at_and_erased(desk: ConsoleOffice, trade: Trade) -> None:
    lead, other = await trade.lead(), await trade.lead()
    browser = await desk.signed_in("operator")
    page = await browser.get(await found_by_phone(browser))
    (who,) = re.findall(r'<input type="hidden" name="who" value="([^"]+)"><button', page.text)
    assert "Erase this person" in page.words

    first = await browser.post(ERASE, {"who": who})
    assert (200, True) == (first.status, "Nothing is changed yet" in first.words)
    assert "acme, zenith received the person" in first.words
    assert 2 == first.words.count("would be erased")
    assert [True, True] == [await has_person(desk, one) for one in (lead, other)]
    (again,) = re.findall(r'name="who" value="([^"]+)"', first.text)

    done = await browser.post(ERASE, {"who": again, "sure": "yes"})
    assert "Erase for good" not in done.words
    assert [False, False] == [await has_person(desk, one) for one in (lead, other)]
    assert "Nothing to erase" in (await browser.post(ERASE, {"who": again})).words
    for one in (page, first, done):
        assert PHONE[2:] not in one.text + str(one.headers)
    shown = await browser.get(f"/console/leads/{lead}")
    assert "on request, r-operator" in shown.words
    assert "Received by acme, zenith: tell them" in shown.words
    assert "Erase the person" not in shown.words
    audit = await browser.get("/console/audit/access?kind=erased")
    assert 2 == audit.words.count("r-operator had erased the person of lead_")
    assert lead in audit.text
    listed = await browser.get("/console/erasures")
    assert 2 == listed.words.count("r-operator request")


async def test_one_lead_from_its_page(desk: ConsoleOffice, trade: Trade) -> None:
    lead, other = await trade.lead(), await trade.lead()
    browser = await desk.signed_in("admin")
    assert "Erase the person" in (await browser.get(f"/console/leads/{lead}")).words

    assert lead in (await browser.post(ERASE, {"lead_id": lead})).text
    await browser.post(ERASE, {"lead_id": lead, "sure": "yes"})
    assert [False, True] == [await has_person(desk, one) for one in (lead, other)]
    ping = re.search(r"ping_[0-9a-f]{32}", (await browser.get(f"/console/leads/{lead}")).text)
    assert ping is not None
    assert "TX" not in (await browser.get(f"/console/pings/{ping[0]}")).words.split()


async def test_what_waits_says_for_whom(desk: ConsoleOffice) -> None:
    lead, text = await desk.market.lead()
    await desk.market.settle(await desk.market.attempt(lead), "unconfirmed")
    browser = await desk.signed_in("admin")

    page = await browser.post(ERASE, {"lead_id": text, "sure": "yes"})
    assert "Nobody knows yet what became of its post to acme-1" in page.words
    assert await has_person(desk, text)
    assert "waits until every post has an outcome" in (await browser.get(f"/console/leads/{text}")).words  # fmt: skip
    assert text in (await browser.get("/console/erasures?state=waiting")).text


@pytest.mark.parametrize("role", ["viewer", "buyer", "other_buyer", "seller"])
async def test_nobody_else_may(desk: ConsoleOffice, trade: Trade, role: str) -> None:
    lead = await trade.lead()
    browser = await desk.signed_in(role)

    assert 404 == (await browser.post(ERASE, {"lead_id": lead, "sure": "yes"})).status
    api = await browser.send("POST", f"/console/v1/leads/{lead}/erase", {})
    assert 403 == api.status
    assert 403 == (await browser.send("POST", "/console/v1/erasures", {"phone": PHONE})).status
    assert await has_person(desk, lead)
    page = await browser.get(f"/console/leads/{lead}")
    assert (200, False) == (page.status, "Erase" in page.words)
    assert (200 if role == "viewer" else 404) == (await browser.get("/console/erasures")).status
    if role != "viewer":
        assert "/console/erasures" not in (await browser.get("/console/leads")).text


async def test_its_buyer_sees_that_it_is_gone_and_not_by_whom(
    desk: ConsoleOffice, trade: Trade
) -> None:
    lead = await trade.lead()
    await (await desk.signed_in("admin")).post(ERASE, {"lead_id": lead, "sure": "yes"})
    page = await (await desk.signed_in("other_buyer")).get(f"/console/leads/{lead}")

    assert "Person erased" in page.words
    assert "person erased request" in page.words, "what happened when"
    assert not any(one in page.words for one in ("r-admin", "tell them", "acme"))


async def test_who_was_only_asked_learns_nothing_of_it(desk: ConsoleOffice, trade: Trade) -> None:
    """That somebody else got it, and gave up the person, is not the outbid one's business."""
    lead = await trade.lead()
    await (await desk.signed_in("admin")).post(ERASE, {"lead_id": lead, "sure": "yes"})
    row = await desk.market.store.lead(read_id("lead", lead)[0])  # type: ignore[index]
    assert row is not None
    await desk.office.db.execute("INSERT INTO console_user (login, role, owner) VALUES ('o', 'buyer', 'lowell')")  # fmt: skip
    browser = desk.nobody()
    browser.put_cookie("exchange", await desk.office.console.sessions.begin(DEVICE, login="o"))

    page = await browser.get(f"/console/pings/{write_id('ping', row.ping_id)}")
    assert (200, False) == (page.status, "erased" in page.words)


async def test_the_api_under_a_session_writes_the_audit_once(
    desk: ConsoleOffice, trade: Trade
) -> None:
    lead = await trade.lead()
    browser = await desk.signed_in("operator")

    found = await browser.send("POST", "/console/v1/erasures", {"phone": PHONE})
    assert [lead] == [one["lead_id"] for one in found.json["erased"]]
    rows = await desk.office.db.fetch(
        "SELECT by, what, subject FROM console_event WHERE by <> 'demo'"
    )
    assert [("user:r-operator", "erased", lead)] == [tuple(one) for one in rows]


async def test_what_is_no_request(desk: ConsoleOffice) -> None:
    browser = await desk.signed_in("admin")

    for form, status in (({}, 404), ({"lead_id": NOBODY}, 404), ({"lead_id": "x"}, 404), ({"who": "x"}, 422)):  # fmt: skip
        assert status == (await browser.post(ERASE, form)).status, form
    assert 403 == (await browser.post(ERASE, {"lead_id": NOBODY}, Origin="https://elsewhere.example")).status  # fmt: skip
    assert 422 == (await browser.get("/console/erasures?after=x")).status
    assert "Nothing was erased" in (await browser.get("/console/erasures")).words
