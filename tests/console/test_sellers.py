"""Sellers as pages: the list, one seller's day and terms, the form, and what it may not see."""

from datetime import UTC, datetime

import pytest

from exchange.chores.rollup import RollUp
from exchange.office.console.supply.sellers import by_hour
from exchange.store.views.sellers import Hour
from tests.console.offices import ConsoleOffice

ONE = "/console/sellers/roofquotes"


async def count_up(desk: ConsoleOffice) -> None:
    """The office's chore for reports, as if a minute had gone by."""
    db = desk.market.store.db
    # The market of the tests settles posts and leaves their leads open.
    await db.execute(
        """UPDATE lead SET state = 'sold' WHERE state = 'open'
        AND EXISTS (SELECT 1 FROM attempt WHERE lead_id = lead.id AND state = 'accepted')"""
    )
    async with db.connection() as connection:
        await RollUp(120).turn(connection)


async def test_sellers_are_found_by_each_filter(desk: ConsoleOffice) -> None:
    """A part of the name, a vertical, a state; a retired one only when asked for."""
    admin = await desk.signed_in("admin")
    for body in (
        {"slug": "zoo", "name": "Zoo Leads", "verticals": []},
        {"slug": "gone", "name": "Gone", "verticals": ["roofing"]},
        {"slug": "off", "name": "Off", "verticals": ["roofing"], "active": False},
    ):
        assert 201 == (await admin.send("POST", "/console/v1/sellers", body)).status
    assert 204 == (await admin.send("DELETE", "/console/v1/sellers/gone")).status
    for query, expected in {
        "": ["off", "roofquotes", "zoo"], "search=LEADS": ["zoo"], "search=roof": ["roofquotes"],
        "vertical=roofing": ["off", "roofquotes"], "state=paused": ["off"], "state=retired": ["gone"],
        "state=live": ["roofquotes", "zoo"], "after=off": ["roofquotes", "zoo"], "search=nothing": [],
    }.items():  # fmt: skip
        page = await admin.get(f"/console/sellers?{query}")
        found = [
            part.split('"')[0]
            for part in page.text.split('<th scope="row"><a href="/console/sellers/')[1:]
        ]
        assert expected == found, query
    assert "No such seller" in (await admin.get("/console/sellers?search=nothing")).words


async def test_a_sellers_day(desk: ConsoleOffice) -> None:
    """What was posted and sold, what it earned and what the house kept; why the rest was not sold."""
    db = desk.market.store.db
    lead, _ = await desk.market.lead()
    await db.execute(
        "UPDATE lead SET state = 'unsold', reason = 'no_bids', closed_at = now() WHERE id = $1",
        lead,
    )
    await count_up(desk)
    page = await (await desk.signed_in("viewer")).get(ONE)

    assert 200 == page.status
    assert "60 % accepted" in page.words  # three of five, of which one is open
    assert "24.00 USD" in page.words  # three at 10.00, less a fifth
    assert "6.00 USD" in page.words
    assert "no bids" in page.words
    assert "Pause" not in page.words
    assert "Edit" not in page.words


async def test_a_seller_sees_itself_and_not_the_house(desk: ConsoleOffice) -> None:
    """Its earnings; neither margin nor gross price nor buyer."""
    await count_up(desk)
    page = await (await desk.signed_in("seller")).get(ONE)
    assert 200 == page.status
    assert "24.00 USD" in page.words
    for word in ("6.00 USD", "30.00", "Margin", "House", "acme", "zenith", "History"):
        assert word not in page.words, word
    assert 404 == (await (await desk.signed_in("buyer")).get(ONE)).status
    assert 404 == (await (await desk.signed_in("seller")).get("/console/sellers")).status


async def test_pausing_and_editing_go_through_the_api(desk: ConsoleOffice) -> None:
    """With the version the page was drawn from; the page then says so, and offers to resume."""
    admin = await desk.signed_in("admin")
    page = await admin.get(ONE)
    assert 'data-api="PATCH /console/v1/sellers/roofquotes"' in page.text
    etag = (
        page.text.split("PATCH /console/v1/sellers/roofquotes")[1]
        .split('data-etag="')[1]
        .split('"')[0]
    )
    body = {"active": False}
    done = await admin.send(
        "PATCH", "/console/v1/sellers/roofquotes", body, If_Match=etag.replace("&#34;", '"')
    )
    assert 200 == done.status
    stale = await admin.send(
        "PATCH",
        "/console/v1/sellers/roofquotes",
        {"active": True},
        If_Match=etag.replace("&#34;", '"'),
    )
    assert 412 == stale.status
    paused = await admin.get(ONE)
    assert "paused" in paused.words
    assert "Resume" in paused.words


@pytest.mark.parametrize("role", ["viewer", "seller", "buyer"])
async def test_who_may_not_change_has_no_form(desk: ConsoleOffice, role: str) -> None:
    browser = await desk.signed_in(role)
    for path in ("/console/sellers/new", f"{ONE}/edit"):
        assert 404 == (await browser.get(path)).status


async def test_the_form_has_what_the_document_has(desk: ConsoleOffice) -> None:
    """Every property of a seller by its name; written back as it is it changes nothing."""
    page = await (await desk.signed_in("operator")).get(f"{ONE}/edit")
    assert 200 == page.status
    for name in ("name", "verticals", "margin.percent", "margin.fixed", "rate_per_s", "active"):
        assert f'name="{name}"' in page.text
    new = await (await desk.signed_in("operator")).get("/console/sellers/new")
    assert 'name="slug"' in new.text
    assert 404 == (await (await desk.signed_in("admin")).get("/console/sellers/nobody")).status


def test_hours_without_anything_are_noughts() -> None:
    """24 of them, the last one this one."""
    now = datetime(2026, 5, 1, 12, 30, tzinfo=UTC)
    found = by_hour([Hour(datetime(2026, 5, 1, 11, tzinfo=UTC), 9, 5, 3)], now)

    assert (24, "13:00", "12:00") == (len(found["labels"]), found["labels"][0], found["labels"][-1])
    assert ([3, 0], [2, 0], [9, 0]) == (
        found["sold"][-2:],
        found["unsold"][-2:],
        found["pings"][-2:],
    )
    assert 3 == sum(found["sold"])
