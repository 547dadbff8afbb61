"""One lead's page: what became of it and why, as far as each role may know; `exchange why` says the same."""

import re
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest

from exchange.ids import read_id, write_id
from exchange.operating import explain
from exchange.recalling import recall
from exchange.store.rows import AttemptState, Settlement
from exchange.store.views.leads import look_up
from tests.console.offices import DEVICE, ConsoleOffice, Page
from tests.console.trading import LEAD, PERSON, Trade, open_trade

PHONE = PERSON["phone"]
# Gross prices, bids that lost, and the margin of a sale at 12.00.
SECRETS = ("12.00", "20.00", "7.00", "2.40")
BUYERS = ("acme", "zenith", "lowell", "shyly", "slowly", "top", "good", "shy")


@pytest.fixture
async def trade(desk: ConsoleOffice) -> AsyncIterator[Trade]:
    async with open_trade(desk) as found:
        yield found


async def page_of(desk: ConsoleOffice, role: str, text: str) -> Page:
    kind = text.partition("_")[0]
    return await (await desk.signed_in(role)).get(f"/console/{kind}s/{text}")


async def why(desk: ConsoleOffice, text: str) -> list[str]:
    """What `exchange why` prints."""
    db = desk.market.store.db
    return await explain(desk.market.store, text, partial(recall, db), partial(look_up, db))


def contracts(page: Page) -> set[str]:
    """Every contract that the page leads to."""
    return set(re.findall(r'href="/console/contracts/([a-z0-9_-]+)', page.text))


async def test_an_operator_sees_why_it_sold_where_it_did(desk: ConsoleOffice, trade: Trade) -> None:
    page = await page_of(desk, "operator", await trade.lead())

    assert 200 == page.status
    assert (
        "zenith bought it at 12.00 USD: the 2nd of 3 usable bids, 7 asked, 5.00 USD ahead of the next. "
        "Before: acme rejected." in page.words
    )
    for words in (
        "bid 20.00 · won · 1st", "bid 12.00 · outbid · 2nd", "no bid", "timed out", "dns failed",
        "rejected · 20.00", "accepted · 12.00", "deadline 4,000 ms",
        "filtered A condition of the contract does not hold. filters.0: state eq", "no capacity",
        "paused",
    ):  # fmt: skip
        assert words in page.words or words in page.text, words
    assert "sub id fb-7".lower() in page.words.lower()


async def test_the_page_and_the_terminal_tell_the_same(desk: ConsoleOffice, trade: Trade) -> None:
    """Contracts, prices, reasons, transfers, late bids and returns."""
    lead = await trade.lead()
    await until_late_bid(desk, lead)
    asked = {"lead_id": lead, "reason": "invalid_phone", "note": "no such number"}
    policy = {"window_days": 7, "percent": "100", "reasons": ["invalid_phone"]}
    changed = await desk.market.admin("PATCH", "/v1/contracts/good", {"returns": policy})
    assert 200 == changed.status, changed.body
    back = await desk.market.zenith("POST", "/v1/returns", asked)
    assert 201 == back.status, back.body
    approve = f"/v1/returns/{back.body['return_id']}/approve"
    assert 200 == (await desk.market.admin("POST", approve, {})).status

    page, lines = await page_of(desk, "admin", lead), await why(desk, lead)

    told = "\n".join(lines)
    named = {line.split()[1] for line in lines if line.split()[0] in {"asked", "fixed", "skipped"}}
    named |= {line.split()[1] for line in lines if line.split()[0] == "post"}
    assert named == contracts(page)
    moved = [line.split() for line in lines if line.startswith("  moved")]
    assert ["hold", "release", "hold", "margin", "sale", "return", "return_margin"] == [
        one[1] for one in moved
    ]
    for line in lines:
        for amount in re.findall(r"\b\d+\.\d\d\b(?! ms)", line):
            assert amount in page.words, line
        for reason in re.findall(r"\(([a-z_]+)\)|^  skipped \S+ +([a-z_]+)", line):
            assert "".join(reason).replace("_", " ") in page.words, line
    for one in moved:
        assert one[1].replace("_", " ") in page.words
    assert "approved (invalid_phone): 12.00 · payout reversed" in told
    assert "The telephone number cannot exist." in page.words
    assert "payout reversed" in page.words
    assert "18.00" in told
    assert "too late: void" in page.words


async def until_late_bid(desk: ConsoleOffice, lead: str) -> None:
    """The slow buyer's bid comes after the lead is sold."""
    found = await desk.market.store.lead(id_of(lead))
    assert found is not None
    while not await desk.market.store.late_bids(found.ping_id):
        pass


def id_of(text: str) -> Any:
    found = read_id(text.partition("_")[0], text)
    assert found is not None
    return found[0]


async def test_a_ping_and_its_lead_are_one_story(desk: ConsoleOffice, trade: Trade) -> None:
    """The page of the ping tells of the lead; a ping that was not posted has a page too."""
    quote = (await trade.sell("POST", "/v1/pings", {**LEAD, "fields": {"state": "TX"}})).body
    before = await page_of(desk, "viewer", quote["ping_id"])
    sold = await trade.sell("POST", "/v1/leads", {"ping_id": quote["ping_id"], "fields": PERSON})
    after = await page_of(desk, "viewer", quote["ping_id"])

    assert "The seller was quoted 16.00 USD; 3 of 7 asked have bid." in before.words
    assert f"/console/leads/{sold.body['lead_id']}" in after.text
    assert "zenith bought it" in after.words


async def test_a_test_lead_has_its_posts_although_the_books_have_none(
    desk: ConsoleOffice, trade: Trade
) -> None:
    lead = await trade.lead(test=True)
    page = await page_of(desk, "viewer", lead)

    assert lead.startswith("lead_test_")
    assert "test" in page.words
    assert "zenith bought it at 12.00 USD" in page.words
    assert contracts(page) >= {"good", "top", "west"}


# --- persons --------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["admin", "operator", "viewer", "seller", "other_buyer", "buyer"])
async def test_a_person_is_masked_for_everybody(
    desk: ConsoleOffice, trade: Trade, role: str
) -> None:
    page = await page_of(desk, role, await trade.lead())

    assert 200 == page.status
    assert "•••23" in page.words
    assert PHONE not in page.text
    assert "5550123" not in page.text


async def test_to_reveal_is_a_click_that_is_written_down(desk: ConsoleOffice, trade: Trade) -> None:
    lead = await trade.lead()
    admin = await desk.signed_in("admin")
    page = await admin.post(f"/console/leads/{lead}/reveal")

    assert 200 == page.status
    assert "no-store" == page.headers["Cache-Control"]
    assert PHONE in page.words
    assert f'"phone": "{PHONE}"' in page.text.replace("&#34;", '"')  # what was sent
    rows = await desk.office.db.fetch("SELECT by, what, subject FROM console_event")
    assert ("user:r-admin", "revealed", lead) in [tuple(row) for row in rows]
    assert PHONE not in str([tuple(row) for row in rows])


@pytest.mark.parametrize("role", ["operator", "viewer", "seller", "buyer"])
async def test_who_may_not_reveal_cannot(desk: ConsoleOffice, trade: Trade, role: str) -> None:
    """Acme rejected it: it is not one of the leads sold to it."""
    lead = await trade.lead()
    browser = await desk.signed_in(role)
    page = await browser.get(f"/console/leads/{lead}")

    assert "Reveal" not in page.words
    revealed = await browser.post(f"/console/leads/{lead}/reveal")
    assert 404 == revealed.status
    assert PHONE not in revealed.text


async def test_a_buyer_may_reveal_what_it_bought(desk: ConsoleOffice, trade: Trade) -> None:
    lead = await trade.lead()
    browser = await desk.signed_in("other_buyer")

    assert "Reveal" in (await browser.get(f"/console/leads/{lead}")).words
    assert PHONE in (await browser.post(f"/console/leads/{lead}/reveal")).words


async def test_a_reveal_must_come_from_a_page_of_ours(desk: ConsoleOffice, trade: Trade) -> None:
    lead = await trade.lead()
    browser = await desk.signed_in("admin")

    path = f"/console/leads/{lead}/reveal"
    assert 403 == (await browser.post(path, Origin="https://elsewhere.example")).status


async def test_a_person_that_was_erased_is_gone(desk: ConsoleOffice, trade: Trade) -> None:
    lead = await trade.lead()
    await desk.office.db.execute("UPDATE lead SET person_key = NULL WHERE id = $1", id_of(lead))
    page = await (await desk.signed_in("admin")).post(f"/console/leads/{lead}/reveal")

    assert "The person was erased" in page.words
    assert "•••" not in page.words
    assert PHONE not in page.text


# --- whom it does not concern ---------------------------------------------------------------------


async def test_a_seller_sees_neither_buyers_nor_bids_nor_margins(
    desk: ConsoleOffice, trade: Trade
) -> None:
    lead = await trade.lead()
    page = await page_of(desk, "seller", lead)

    assert "Sold for 9.60 USD." in page.words
    for one in (*BUYERS, *SECRETS, "no capacity", "outbid", "margin"):
        assert not re.search(rf"\b{re.escape(one)}\b", main_of(page)), one
    assert "fb-7" in page.words


def main_of(page: Page) -> str:
    """The page without its frame, its addresses, and the places of what is drawn (`x="2.40%"`)."""
    found = page.text.split('<main id="main"', 1)[1].split("</main>")[0]
    found = re.sub(r'\b(class|id|href|for)="[^"]*"', "", found)
    return re.sub(r'\b[a-z0-9]+="[0-9.]+%"', "", found)


async def test_a_buyer_sees_its_own_part_alone(desk: ConsoleOffice, trade: Trade) -> None:
    """Zenith bought it, in whose second place it stood; of others it learns nothing."""
    page = await page_of(desk, "other_buyer", await trade.lead(external_id="ours-9"))

    text = main_of(page)
    assert "12.00" in text
    assert {"good", "zenith-1"} == contracts(page)
    for one in ("acme", "lowell", "top", "low", "roofquotes", "20.00", "7.00", "9.60", "2.40",
                "ours-9", "2nd", "filtered", "Margin", "Seller gets"):  # fmt: skip
        assert not re.search(rf"\b{re.escape(one)}\b", text), one
    # What the seller got and what the house kept are one to who paid both.
    assert ["hold", "sale"] == re.findall(r"<td>(hold|release|sale|margin)</td>", text)
    assert desk.market.vault.opaque("seller", "zenith", "roofquotes") in text


async def test_who_rejected_it_sees_that_and_no_sale(desk: ConsoleOffice, trade: Trade) -> None:
    page = await page_of(desk, "buyer", await trade.lead())

    text = main_of(page)
    assert "no capacity" in text
    for one in ("zenith", "good", "12.00", "9.60", "roofquotes"):
        assert not re.search(rf"\b{re.escape(one)}\b", text), one
    assert "sold" not in page.words.split()


async def test_another_ones_lead_looks_like_none(desk: ConsoleOffice, trade: Trade) -> None:
    """For the buyer that was outbid it is a ping, for one that was not asked nothing at all."""
    lead = await trade.lead()
    found = await desk.market.store.lead(id_of(lead))
    assert found is not None
    ping = write_id("ping", found.ping_id)
    nobody = f"lead_{'0' * 32}"
    people, sessions = desk.people, desk.office.console.sessions
    for login, role, owner in (
        ("o", "buyer", "lowell"),
        ("n", "buyer", "gone"),
        ("s", "seller", "x"),
    ):
        await desk.office.db.execute(
            "INSERT INTO console_user (login, role, owner) VALUES ($1, $2, $3)", login, role, owner
        )
        browser = desk.nobody()
        browser.put_cookie("exchange", await sessions.begin(DEVICE, login=login))
        page, none = (
            await browser.get(f"/console/leads/{lead}"),
            await browser.get(f"/console/leads/{nobody}"),
        )
        assert (404, 404) == (page.status, none.status), login
        assert page.words == none.words
        asked = await browser.get(f"/console/pings/{ping}")
        assert (200 if login == "o" else 404) == asked.status
        assert lead not in asked.text
        if login == "o":
            assert "Another bid ranked higher." in asked.words
            assert "•••" not in asked.words
    assert people is not None


@pytest.mark.parametrize("text", ["lead_1", "lead_test_" + "0" * 32, "lead_" + "0" * 32])
async def test_there_is_no_such_lead(desk: ConsoleOffice, text: str) -> None:
    assert 404 == (await page_of(desk, "admin", text)).status


async def test_an_id_says_whether_it_is_a_tests(desk: ConsoleOffice, trade: Trade) -> None:
    lead = await trade.lead(test=True)

    assert 404 == (await page_of(desk, "admin", lead.replace("_test", ""))).status


# --- what is not over -----------------------------------------------------------------------------


async def test_a_post_that_nobody_answered_waits_and_says_what_that_means(
    desk: ConsoleOffice,
) -> None:
    lead, text = await desk.market.lead()
    attempt = await desk.market.attempt(lead)
    word = Settlement(
        id=attempt, fence=0, outcome=AttemptState.UNCONFIRMED, detail=b'{"reason":"timed_out"}'
    )
    await desk.market.store.settle(word)
    page = await page_of(desk, "operator", text)

    assert "Nobody knows yet whether acme has it" in page.words
    assert "The price stays held and nobody else gets the lead" in page.words
    assert f"exchange unconfirmed settle {text} accepted" in page.words
    assert "unconfirmed" in "\n".join(await why(desk, text))


async def test_nobody_bid(desk: ConsoleOffice, trade: Trade) -> None:
    """Everyone is paused: who was kept out is counted by reason."""
    await desk.office.db.execute("UPDATE house SET paused = true")
    trade.house.catalogue = await desk.market.catalogue()
    page = await page_of(desk, "viewer", await trade.lead())

    assert "No contract was eligible." in page.words
    assert "paused 8" in page.words or "paused 9" in page.words
    assert "nobody was asked" in page.words
