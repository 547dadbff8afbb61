"""Buyers as pages: the list, one buyer, deposits, returns, pauses, and a buyer's own portal."""

from typing import Any

import pytest

from exchange.apply import apply
from tests.console.offices import ConsoleOffice
from tests.offices import GUARD, a_buyer, a_contract

ACME = "/console/buyers/acme"
POLICY = {"window_days": 14, "percent": "100", "reasons": ["duplicate"]}


async def put(desk: ConsoleOffice, *documents: tuple[str, dict[str, Any]]) -> None:
    await apply(desk.market.store.db, desk.market.vault, GUARD, list(documents), by="test")


async def test_buyers_are_listed_with_their_day(desk: ConsoleOffice) -> None:
    """Credit left, sales and spend, the accept rate, what is unconfirmed, endpoints left alone."""
    lead, _ = await desk.market.lead()
    await desk.market.settle(await desk.market.attempt(lead), "unconfirmed")
    admin = await desk.signed_in("viewer")
    page = await admin.get("/console/buyers")
    assert "Acme acme · 1 contract live 70.00 USD 2 20.00 USD 100 % ok 1" in page.words
    assert "Zenith zenith · 1 contract live postpaid 1 10.00 USD 100 % ok 0" in page.words
    await desk.office.db.execute(
        """INSERT INTO endpoint_health (contract_id, call, worker, open, since, retry_at, openings, good, bad, score, results,
          share, dry_run, failures, at, told_at)
        SELECT id, 'ping', 1, true, now(), now() + interval '1 min', 1, 0, 20, 0, 0, 0, false, '[["timed_out", "2026-07-01T00:00:00+00:00"]]',
          now(), now() FROM contract WHERE slug = 'acme-1'"""
    )
    assert "1 left alone" in (await admin.get("/console/buyers")).words
    contract = (await admin.get("/console/contracts/acme-1")).words
    assert "Its endpoint is left alone." in contract
    assert "timed out" in contract


async def test_buyers_are_found_by_name_and_state(desk: ConsoleOffice) -> None:
    admin = await desk.signed_in("admin")
    await put(desk, ("buyer", a_buyer("third", name="Third Party", active=False)))
    await admin.send("POST", "/console/v1/buyers/zenith/pause", {"reason": "x"})
    for query, shown in {
        "": "acme third zenith",
        "search=PARTY": "third",
        "search=zen": "zenith",
        "state=live": "acme",
        "state=paused": "zenith",
        "state=off": "third",
        "state=retired": "",
    }.items():
        page = await admin.get(f"/console/buyers?{query}")
        found = [
            one for one in ("acme", "third", "zenith") if f'"/console/buyers/{one}"' in page.text
        ]
        assert shown.split() == found, query


async def test_one_buyer_is_told_whole(desk: ConsoleOffice) -> None:
    """Its money, caps, contracts, sales, returns, keys, and who did what."""
    await put(
        desk,
        ("buyer", a_buyer("acme", credit="100.00", caps=[{"kind": "spend", "period": "month", "limit": "500"}])),
        ("contract", a_contract("acme-1", "acme", returns=POLICY)),
    )  # fmt: skip
    admin = await desk.signed_in("admin")
    body = {"lead_id": desk.sold[0], "reason": "duplicate", "note": "We had it in March"}
    returned = (await admin.send("POST", "/console/v1/returns", body)).json["return_id"]
    await admin.send(
        "POST", f"/console/v1{ACME[8:]}/deposits", {"amount": "25", "note": "Wire 4711"}
    )
    page = await admin.get(ACME)
    for words in (
        "Credit left 105.00 USD",
        "Sold today 2",
        "Spend a month anew in",
        "20.00 USD of 500.00 USD",
        "acme-1 roofing · auction live",
        "duplicate We had it in March",
        "25.00 USD Wire 4711",
        "100.00 USD opening deposit",
        "1 live key",
        "cap on spend 500.00 USD spend a month",
    ):
        assert words in page.words, words
    assert f"POST /console/v1/returns/{returned}/approve" in page.text
    assert 200 == (await admin.send("POST", f"/console/v1/returns/{returned}/approve", {})).status
    page = await admin.get(ACME)
    assert "Credit left 115.00 USD" in page.words
    assert "/approve" not in page.text


async def test_a_pause_is_in_force_and_in_the_audit(desk: ConsoleOffice) -> None:
    """The award refuses at once; who paused it and why stands on the page until it is resumed."""
    operator = await desk.signed_in("operator")
    assert (
        200
        == (
            await operator.send("POST", "/console/v1/buyers/acme/pause", {"reason": "Owes us June"})
        ).status
    )
    lead, _ = await desk.market.lead()
    with pytest.raises(AssertionError):  # paused, not granted
        await desk.market.attempt(lead)
    page = await operator.get(ACME)
    assert "Paused by an operator." in page.words
    assert "Owes us June" in page.words
    assert "paused" in page.words
    assert 200 == (await operator.send("POST", "/console/v1/buyers/acme/resume")).status
    await desk.market.attempt(lead)
    page = await operator.get(ACME)
    assert "Paused by an operator." not in page.words
    assert "resumed" in page.words
    for role, status in (("viewer", 403), ("buyer", 403), ("seller", 403)):
        other = await desk.signed_in(role)
        assert status == (await other.send("POST", "/console/v1/buyers/acme/pause", {})).status
    assert 404 == (await operator.send("POST", "/console/v1/buyers/nobody/pause", {})).status
    assert (
        422 == (await operator.send("POST", "/console/v1/buyers/acme/pause", {"why": "x"})).status
    )


async def test_a_pause_by_key_is_the_same(desk: ConsoleOffice) -> None:
    """POST /v1/buyers/{slug}/pause with an admin's key; the same again is 200."""
    for _ in range(2):
        done = await desk.market.admin("POST", "/v1/buyers/acme/pause", {"reason": "by key"})
        assert (200, {"buyer": "acme", "paused": True}) == (done.status, done.body)
    assert "Paused by an operator." in (await (await desk.signed_in("admin")).get(ACME)).words


async def test_a_buyer_is_made_and_changed_by_its_form(desk: ConsoleOffice) -> None:
    """The form's own addresses; a change is made under the version that was seen."""
    admin = await desk.signed_in("admin")
    assert 'data-api="POST /console/v1/buyers"' in (await admin.get("/console/buyers/new")).text
    made = await admin.send(
        "POST",
        "/console/v1/buyers",
        {"slug": "new-one", "name": "New One", "credit": None, "caps": []},
    )
    assert 201 == made.status
    form = await admin.get("/console/buyers/new-one/edit")
    assert made.headers["ETag"].strip('"') in form.text
    assert 'name="credit"' not in form.text
    versions = await admin.get("/console/buyers/new-one/versions")
    assert "created" in versions.words


async def test_a_buyer_has_its_own_portal(desk: ConsoleOffice) -> None:
    """Its page instead of the list; its sales; nothing of the house, nothing of others."""
    await put(desk, ("contract", a_contract("acme-1", "acme", returns=POLICY)))
    buyer = await desk.signed_in("buyer")
    assert ACME == (await buyer.get("/console/buyers")).to
    page = await buyer.get(ACME)
    assert "acme-1" in page.words
    for hidden in ("API keys", "Audit", "zenith", "roofquotes", "Book a deposit", "/pause", "8.00"):
        assert hidden not in page.text, hidden
    sales = await buyer.get(f"{ACME}/sales")
    assert all(lead in sales.text for lead in desk.sold[:2])
    assert desk.sold[2] not in sales.text
    for path in (
        "/console/buyers/zenith",
        "/console/buyers/zenith/sales",
        f"{ACME}/edit",
        f"{ACME}/versions",
        "/console/buyers/new",
    ):
        assert 404 == (await buyer.get(path)).status, path
    assert 404 == (await (await desk.signed_in("seller")).get("/console/buyers")).status


async def test_a_buyer_asks_for_a_return_with_a_reason(desk: ConsoleOffice) -> None:
    """Of its own sale, for what the contract's policy names; asked once."""
    buyer, other = await desk.signed_in("buyer"), await desk.signed_in("other_buyer")
    lead = desk.sold[0]
    at = f"{ACME}/return?lead={lead}"
    assert "takes nothing back" in (await buyer.get(at)).words
    await put(desk, ("contract", a_contract("acme-1", "acme", returns=POLICY)))
    form = await buyer.get(at)
    assert '<option value="duplicate"' in form.text
    assert '<option value="fraud"' not in form.text
    assert 404 == (await other.get(at)).status
    assert 404 == (await buyer.get(f"{ACME}/return?lead={desk.sold[2]}")).status
    assert 404 == (await buyer.get(f"{ACME}/return?lead=nonsense")).status
    asked = await buyer.send(
        "POST", "/console/v1/returns", {"lead_id": lead, "reason": "duplicate", "note": ""}
    )
    assert 201 == asked.status
    assert "asked for already" in (await buyer.get(at)).words
    page = await buyer.get(ACME)
    assert "pending" in page.words
    assert "/approve" not in page.text


async def test_sales_are_turned_page_by_page(
    desk: ConsoleOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exchange.office.console.demand.buyers._SALES_PAGE", 1)
    admin = await desk.signed_in("admin")
    first = await admin.get(f"{ACME}/sales")
    assert (True, False) == (desk.sold[1] in first.text, desk.sold[0] in first.text)
    older = (
        first.text.split('class="pager"')[1].split('href="')[1].split('"')[0].replace("&amp;", "&")
    )
    second = await admin.get(older)
    assert (False, True) == (desk.sold[1] in second.text, desk.sold[0] in second.text)
    assert 422 == (await admin.get(f"{ACME}/sales?after=nonsense")).status


async def test_very_many_posts_are_taken_from_the_reports_sums(
    desk: ConsoleOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And said to be about; what is unconfirmed is counted all the same."""
    db = desk.office.db
    state = ("pings quotes leads sold asked bids fixed no_bids invalid timed_out unreachable garbled failed won bid_sum "
             + " ".join(f"t{n}" for n in range(1, 21)) + " not_sent waiting payout returned returned_revenue returned_payout").split()  # fmt: skip
    await db.execute(
        f"""INSERT INTO report_sum (span, by, start, vertical, currency, seller, contract, posts, accepted, rejected, revenue, {", ".join(state)})
        SELECT 'hour', 'contract', date_trunc('hour', now()), 'roofing', 'USD', 0, id, 70000, 40000, 30000, 90000000, {", ".join("0" * len(state))}
        FROM contract WHERE slug = 'acme-1'"""
    )
    viewer = await desk.signed_in("viewer")
    for path in ("/console/buyers", "/console/buyers/acme", "/console/contracts/acme-1"):
        words = (await viewer.get(path)).words
        assert "40,000" in words, path
        assert "90.00 USD" in words, path
        assert "about 40,000" in words, path
        assert "about 90.00 USD" in words, path
    monkeypatch.setattr("exchange.store.views.figures.MANY", 10**6)
    assert "about" not in (await viewer.get("/console/buyers")).words
