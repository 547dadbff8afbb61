"""The pages of money: they say what the ledger says, each to whom it concerns."""

import csv
import io
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from exchange.chores.balances import Balances
from exchange.office.console.money.booking import booked, kinds_of, merged, place_after
from exchange.office.console.money.periods import read_period
from exchange.store.database import connect
from exchange.store.views import money as view
from tests.console.offices import ConsoleOffice

PAGES = (
    "/console/money",
    "/console/money/statements",
    "/console/money/open",
    "/console/money/returns",
)


async def accounts(desk: ConsoleOffice, slug: str) -> dict[str, int]:
    """Ids by kind."""
    kind = "seller" if slug == "roofquotes" else "buyer"
    return {kind: id_ for id_, kind, _ in await view.accounts_of(desk.office.db, kind, slug)}


def figures(text: str) -> list[str]:
    """Every amount on a page."""
    return re.findall(r'<span class="money"[^>]*>([^ <]+)', text)


# --- who sees what --------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["admin", "operator", "viewer"])
async def test_staff_see_every_page(desk: ConsoleOffice, role: str) -> None:
    browser = await desk.signed_in(role)
    for path in PAGES:
        page = await browser.get(path)
        assert page.status == 200, path
        assert ("data-api" in page.text) <= (role != "viewer"), path


async def test_a_buyer_sees_its_own_only(desk: ConsoleOffice) -> None:
    """Its account and statement; another's are not there, as if there had never been any."""
    browser = await desk.signed_in("buyer")
    own, other = await accounts(desk, "acme"), await accounts(desk, "zenith")
    seller = await accounts(desk, "roofquotes")

    assert (await browser.get("/console/money")).status == 200
    assert (await browser.get("/console/money/statements/buyers/acme")).status == 200
    for id_ in own.values():
        assert (await browser.get(f"/console/money/accounts/{id_}")).status == 200
    hidden = [*other.values(), *seller.values(), 999_999]
    for path in [f"accounts/{id_}" for id_ in hidden] + [f"accounts/{id_}.csv" for id_ in hidden] + [
        "statements/buyers/zenith", "statements/buyers/zenith.csv", "statements/sellers/roofquotes", "statements/sellers/acme",
        "statements", "statements/buyers/nobody",
    ]:  # fmt: skip
        assert (await browser.get(f"/console/money/{path}")).status == 404, path


async def test_a_buyer_is_never_told_how_its_price_was_shared(desk: ConsoleOffice) -> None:
    """A purchase is one line of the whole price; payout, margin and seller are nowhere."""
    lead, _ = await desk.market.lead()
    await desk.market.settle(await desk.market.attempt(lead, "acme-1", 10), "accepted")
    browser = await desk.signed_in("buyer")
    own = await accounts(desk, "acme")
    pages = ["", "/statements/buyers/acme.csv", "/open", "/returns"]
    pages += [f"/accounts/{id_}{end}" for id_ in own.values() for end in ("", ".csv")]

    for path in pages:
        page = await browser.get(f"/console/money{path}")
        for word in ("8.00", "2.00", "margin", "payout", "roofquotes", "Roof Quotes", "zenith"):
            assert word.lower() not in page.words.lower(), (path, word)
    held = await browser.get(f"/console/money/accounts/{own['held']}?kind=sale")
    assert set(figures(held.text)) >= {"−10.00"}


async def test_a_seller_sees_what_it_earned_and_no_buyer(desk: ConsoleOffice) -> None:
    browser = await desk.signed_in("seller")
    own = await accounts(desk, "roofquotes")

    money = await browser.get("/console/money")
    transfers = await browser.get(f"/console/money/accounts/{own['payable']}")
    lines = await browser.get("/console/money/statements/sellers/roofquotes.csv")

    assert "24.00" in money.words  # three sales at 10.00, less a fifth
    assert ["24.00", "8.00", "24.00", "8.00", "16.00", "8.00", "8.00"] == figures(transfers.text)
    for page in (money, transfers, lines):
        for word in ("acme", "zenith", "10.00", "margin"):
            assert word not in page.words.lower(), word
    buyer = await accounts(desk, "acme")
    for path in (
        f"accounts/{buyer['available']}",
        "open",
        "returns",
        "statements",
        "statements/buyers/acme",
    ):
        assert (await browser.get(f"/console/money/{path}")).status == 404, path


# --- what is said ---------------------------------------------------------------------------------


async def test_the_trial_balance_is_zero_and_says_when_it_is_not(desk: ConsoleOffice) -> None:
    """Before and after what was added up; a transfer that lost its other side shows."""
    browser = await desk.signed_in("admin")
    for _ in range(2):
        page = await browser.get("/console/money")
        assert "balanced" in page.words
        assert "−100.00" in figures(page.text)  # outside: acme's deposit
        await roll_up(desk)
    await desk.office.db.execute(
        "UPDATE ledger_sum SET credited = credited + 1 WHERE ctid = (SELECT ctid FROM ledger_sum WHERE span = 'total' LIMIT 1)"
    )

    assert "broken" in (await browser.get("/console/money")).words


async def roll_up(desk: ConsoleOffice) -> None:
    """As though all of it had happened yesterday."""
    connection = await connect(desk.market.store.db.dsn)
    await connection.execute("UPDATE transfer SET at = at - interval '25 hours'")
    await connection.execute(
        "UPDATE ledger_state SET upto = upto - interval '30 hours', checked_upto = checked_upto - interval '30 hours'"
    )
    await Balances().turn(connection)
    assert await connection.fetchval("SELECT count(*) FROM ledger_sum") > 0
    await connection.close()


async def test_the_balance_runs_through_every_page(desk: ConsoleOffice, monkeypatch: Any) -> None:
    """Each line has the balance after it, also across pages, of ties, and for a buyer's merged lines."""
    monkeypatch.setattr("exchange.office.console.money.accounts.PAGE_SIZE", 3)
    for _ in range(3):
        await desk.market.sale("zenith-1")
    await desk.market.sale("acme-1")
    await desk.office.db.execute(
        "UPDATE transfer SET at = date_trunc('minute', at) WHERE kind <> 'deposit'"
    )
    for role, slug in (("admin", "zenith"), ("other_buyer", "zenith"), ("buyer", "acme")):
        browser = await desk.signed_in(role)
        for id_ in (await accounts(desk, slug)).values():
            path, shown = f"/console/money/accounts/{id_}", []
            while path:
                page = await browser.get(path)
                rows = re.findall(r"<tr><td class=\"nowrap\">.*?</tr>", page.text, re.DOTALL)
                shown += [
                    [float(one.replace("−", "-").replace(",", "")) for one in figures(row)]
                    for row in rows
                ]
                older = re.search(r'href="([^"]*after=[^"]*)"[^>]*>Older', page.text)
                path = older[1].replace("&amp;", "&") if older else ""
            running = 0.0
            for amount, balance in reversed(shown):
                running += amount
                assert running == pytest.approx(balance), (role, id_)
            total = view.net(await view.moved(desk.office.db, id_, None, view.END_OF_TIME)) / 1e6
            assert running == pytest.approx(total)
            assert len(shown) > 3


async def test_a_statement_adds_up(desk: ConsoleOffice) -> None:
    """Opening and what moved is the closing; what is held is part of it; yesterday there was nothing."""
    lead, _ = await desk.market.lead()
    await desk.market.attempt(lead, "acme-1", 7)
    browser = await desk.signed_in("buyer")

    today = await browser.get("/console/money?range=today")
    before = await browser.get("/console/money?range=yesterday")

    assert [
        "73.00",
        "7.00",
        "20.00",
        "0.00",
        "100.00",
        "−20.00",
        "0.00",
        "80.00",
        "7.00",
    ] == figures(today.text)
    assert {"0.00"} == set(figures(before.text))


async def test_csv_has_each_transfer_once_and_adds_up(desk: ConsoleOffice) -> None:
    browser = await desk.signed_in("buyer")
    page = await browser.get("/console/money/statements/buyers/acme.csv?range=today")
    rows = list(csv.DictReader(io.StringIO(page.text)))

    assert "attachment" in page.headers["Content-Disposition"]
    assert {"deposit", "hold", "sale"} == {row["kind"] for row in rows}
    assert 5 == len(rows)
    assert 80.0 == sum(float(row["amount"]) for row in rows if row["kind"] != "hold")
    leads = {row["lead_id"] for row in rows if row["kind"] == "sale"}
    assert leads == set(desk.sold[:2])


async def test_a_note_of_a_deposit_is_for_staff_and_never_a_formula(desk: ConsoleOffice) -> None:
    admin = await desk.signed_in("admin")
    sent = await admin.send(
        "POST", "/console/v1/buyers/acme/deposits", {"amount": "5.00", "note": "=1+1"}
    )
    assert sent.status == 201, sent.text
    id_ = (await accounts(desk, "acme"))["available"]

    staff = await admin.get(f"/console/money/accounts/{id_}.csv")
    own = await (await desk.signed_in("buyer")).get(f"/console/money/accounts/{id_}")

    assert "'=1+1" in staff.text
    assert "1+1" not in own.text
    assert "105.00" not in own.text
    assert "85.00" in own.words  # it has paid two leads


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("?kind=return", "No transfer fits"), ("?range=yesterday", "No transfer fits"), ("?kind=%00", "Balance after"),
        ("?after=nonsense", "Balance after"), ("?range=custom&from=2026-13-01", "Days are written as"),
        ("?range=today&zone=Mars/Olympus", "There is no such time zone"),
    ],
)  # fmt: skip
async def test_addresses_that_nobody_would_write(
    desk: ConsoleOffice, query: str, told: str
) -> None:
    """Filters that match nothing, cursors that are none, days that never were."""
    browser = await desk.signed_in("admin")
    id_ = (await accounts(desk, "acme"))["available"]
    page = await browser.get(f"/console/money/accounts/{id_}{query}")

    assert page.status == 200
    assert told in page.words


# --- what is decided ------------------------------------------------------------------------------


async def test_a_person_settles_what_nobody_knows(desk: ConsoleOffice) -> None:
    """The button's own call, as the page says it; then it is gone from the list."""
    lead, text = await desk.market.lead()
    await desk.market.settle(await desk.market.attempt(lead, "acme-1", 9), "unconfirmed")
    browser = await desk.signed_in("operator")
    page = await browser.get("/console/money/open?waits=person")
    verbs = dict(re.findall(r'data-api="POST ([^"]+)"[^>]*data-body="([^"]+)"', page.text))

    assert "9.00" in figures(page.text)
    assert [f"/console/v1/leads/{text}/outcome"] == list(verbs)
    done = await browser.send(
        "POST", next(iter(verbs)), {"status": "accepted", "contract": "acme-1"}
    )
    assert done.status == 200, done.text
    assert "Nothing fits" in (await browser.get("/console/money/open?waits=person")).words
    viewer = await desk.signed_in("viewer")
    assert "/outcome" not in (await viewer.get("/console/money/open")).text


async def test_a_return_is_decided_in_its_dialog(desk: ConsoleOffice) -> None:
    """Asked for by the buyer, approved by an operator: the form's own address and fields."""
    admin = await desk.signed_in("admin")
    changed = await admin.send(
        "PATCH", "/console/v1/contracts/acme-1", {"returns": {"window_days": 7}}, If_Match="*"
    )
    assert changed.status == 200, changed.text
    buyer = await desk.signed_in("buyer")
    asked = await buyer.send(
        "POST", "/console/v1/returns", {"lead_id": desk.sold[0], "reason": "out_of_area"}
    )
    assert asked.status == 201, asked.text
    operator = await desk.signed_in("operator")
    page = await operator.get("/console/money/returns?status=pending")
    (api,) = re.findall(r'data-api="POST (/console/v1/returns/[^"]+/approve)"', page.text)

    done = await operator.send(
        "POST", api, {"reverse_payout": True, "restore_cap": True, "note": ""}
    )

    assert done.status == 200, done.text
    assert "approved" in (await buyer.get("/console/money/returns")).words
    assert "/approve" not in (await buyer.get("/console/money/returns")).text
    assert "r-operator" not in (await buyer.get("/console/money/returns")).words
    assert "90.00" in figures((await buyer.get("/console/money?range=today")).text)


# --- pure -----------------------------------------------------------------------------------------


def a_transfer(
    number: int, kind: str, amount: int, debit: int = 1, credit: int = 2
) -> view.Transfer:
    at = datetime(2026, 3, 1, tzinfo=UTC) - timedelta(seconds=number)
    return view.Transfer(
        ref=UUID(int=number), kind=kind, debit=debit, credit=credit, amount=amount, at=at, note=None
    )


def test_a_purchase_is_its_two_transfers_wherever_the_page_ends() -> None:
    """The next page begins after the second of them."""
    raw = [
        a_transfer(1, "sale", 8),
        a_transfer(1, "margin", 2),
        a_transfer(2, "sale", 4),
        a_transfer(2, "margin", 1),
    ]
    plain = merged(raw)

    assert [10, 5] == [one.amount for one in plain]
    assert raw[1] == place_after(raw, plain[0], "buyer")
    assert [(-10, 7), (-5, 17)] == [(one.amount, one.balance) for one in booked(plain, 1, 7)]
    assert ("sale", "margin") == kinds_of("sale", "buyer")
    assert "margin" not in kinds_of("", "seller")


@pytest.mark.parametrize(
    ("query", "first", "last"),
    [
        ({}, "2026-03-08", "2026-03-14"),
        ({"range": "month"}, "2026-03-01", "2026-03-14"),
        ({"range": "last_month"}, "2026-02-01", "2026-02-28"),
        ({"from": "2026-01-05", "to": "2026-01-06"}, "2026-01-05", "2026-01-06"),
        ({"range": "custom", "from": "2024-01-01", "to": "2026-01-01"}, "2024-11-28", "2026-01-01"),
        ({"range": "custom", "from": "2026-02-01", "to": "2026-01-01"}, "2026-03-08", "2026-03-14"),
        ({"range": "decade"}, "2026-03-08", "2026-03-14"),
    ],
)  # fmt: skip
def test_periods_are_days_of_a_zone(query: dict[str, str], first: str, last: str) -> None:
    """It is the 14th in New York still; the day before the clock is put forward has 24 hours, the next 23."""
    now = datetime(2026, 3, 15, 2, 0, tzinfo=UTC)
    period, _ = read_period({"zone": "America/New_York", **query}, now)

    assert (first, last) == (period.first.isoformat(), period.last.isoformat())
    eighth, _ = read_period(
        {"zone": "America/New_York", "from": "2026-03-08", "to": "2026-03-08"}, now
    )
    assert timedelta(hours=23) == eighth.end - eighth.start
    month, _ = read_period({"range": "last_month"}, now)
    assert ("2026-01-01", "2026-01-31") == (
        month.before().first.isoformat(),
        month.before().last.isoformat(),
    )
