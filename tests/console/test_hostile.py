"""What nobody would write in good faith: addresses, names, words and endpoints that mean harm."""

import re
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from exchange.office.console.demand.certificate import pretty
from exchange.office.console.entering import totp
from exchange.office.console.leads.listing import PATH
from exchange.office.console.money import periods
from exchange.store.views import walk
from exchange.store.views.leads import Found, Names, find_leads
from exchange.store.views.reports import Question, answer
from exchange.store.views.walk import Cursor, Filters
from tests.console import trading
from tests.console.offices import ConsoleOffice
from tests.console.trading import PERSON, Trade, a_temper, open_trade

NATIONAL = PERSON["phone"][2:]
_ID = "0" * 32
EDGES = (
    f"0001-01-01T00:00:00%2B14:00 {_ID}",
    f"0001-01-01T00:00:00%2B14:00 {_ID} sale",
    f"9999-12-31T23:59:59-14:00 {_ID} sale",
)


@pytest.fixture
async def trade(desk: ConsoleOffice, monkeypatch: Any) -> AsyncIterator[Trade]:
    """The best buyer rejects and says whom."""
    words = (f"duplicate of {NATIONAL}",)
    top = a_temper("top", 20, reject=1, reject_reasons=words)
    monkeypatch.setattr(trading, "TEMPERS", (top, *trading.TEMPERS[1:]))
    async with open_trade(desk) as found:
        yield found


async def test_the_edges_of_the_calendar_are_no_fault_of_ours(desk: ConsoleOffice) -> None:
    admin = await desk.signed_in("admin")
    account = await desk.office.db.fetchval("SELECT id FROM account WHERE kind = 'available'")
    for path in ("/console/money/open", f"/console/money/accounts/{account}"):
        for edge in EDGES:
            found = await admin.get(f"{path}?after={edge.replace(' ', '%20')}")
            assert 200 == found.status, (path, edge)
    for path in ("/console/audit", "/console/audit/access"):
        assert 422 == (await admin.get(f"{path}?to=9999-12-31")).status
        assert 200 == (await admin.get(f"{path}?from=9999-12-30&to=9999-12-30")).status


async def test_a_buyers_words_are_kept_without_the_person(
    desk: ConsoleOffice, trade: Trade
) -> None:
    lead = await trade.lead()

    for path in (f"{PATH}/{lead}", "/console/contracts/top", f"/console/v1/leads/{lead}"):
        found = await (await desk.signed_in("viewer")).get(path)
        assert 200 == found.status
        assert "duplicate of •••" in found.text, path
        assert NATIONAL not in found.text, path
    rows = await desk.office.db.fetch(
        "SELECT detail::text AS said FROM attempt WHERE detail IS NOT NULL"
    )
    assert not any(NATIONAL in row["said"] for row in rows), "it would outlive an erasure"


async def test_a_buyer_is_told_neither_a_waterfall_nor_its_rank(
    desk: ConsoleOffice, trade: Trade
) -> None:
    """zenith won after the best one had rejected."""
    page = await (await desk.signed_in("other_buyer")).get(f"{PATH}/{await trade.lead()}")

    assert "zenith bought it at 12.00 USD." in page.words
    assert "waterfall" not in page.words


@pytest.mark.parametrize("said", ["Jane Doe", "555-0123", "123-45-6789", f"{NATIONAL} ext 4"])
async def test_what_is_searched_for_stands_in_no_address(desk: ConsoleOffice, said: str) -> None:
    for role in ("admin", "buyer", "seller"):
        found = await (await desk.signed_in(role)).post(f"{PATH}/search", {"q": said})
        assert PATH == found.to
        assert said not in str(found.headers)


async def test_a_sellers_own_id_does(desk: ConsoleOffice) -> None:
    await desk.market.lead(external_id="form 7")
    for role, to in (("admin", f"{PATH}?external_id=form+7"), ("buyer", PATH)):
        found = await (await desk.signed_in(role)).post(f"{PATH}/search", {"q": "form 7"})
        assert to == found.to


async def test_a_device_is_not_replaced_without_the_password(desk: ConsoleOffice) -> None:
    """Whoever finds a browser open would have the second factor for good."""
    browser, secret = await desk.signed_in("admin"), b"1" * 20
    page = await browser.get("/console/account/totp")
    sealed = re.search(r'name="sealed" value="([0-9a-f]+)"', page.text)
    assert sealed is not None
    step = int(time.time() // totp.STEP_S)
    assert await desk.people.begin_totp("r-admin", secret, totp.code_at(secret, step))

    other = {"sealed": sealed[1], "code": "000000"}
    assert 422 == (await browser.get("/console/account/totp")).status
    refused = await browser.post("/console/account/totp", other)
    assert "Turn the present one-time codes off first" in refused.words


async def test_a_password_in_the_wrong_field_is_written_nowhere(desk: ConsoleOffice) -> None:
    await desk.nobody().post("/console/sign-in", {"login": "My secret 99", "password": "x"})
    await desk.session("viewer")
    await desk.nobody().post("/console/sign-in", {"login": "r-viewer", "password": "x"})

    rows = await desk.office.db.fetch("SELECT by FROM console_event ORDER BY id")
    assert ["nobody known", "user:r-viewer"] == [row["by"] for row in rows]


async def test_keys_guessed_elsewhere_keep_nobodys_key_out(desk: ConsoleOffice) -> None:
    sessions = desk.office.console.sessions
    for number in range(60):
        await sessions.count_try("", f"10.0.0.{number}")

    assert 0 == await sessions.count_try("", "192.0.2.1")
    waits = [await sessions.count_try("", "192.0.2.7") for _ in range(20)]
    assert waits[-1] > 0, "one address has its tries"


async def test_names_are_no_formulas_in_a_report(desk: ConsoleOffice) -> None:
    await desk.market.admin("PATCH", "/v1/buyers/acme", {"name": '=HYPERLINK("//evil")'})
    await _counted(desk)

    found = await (await desk.signed_in("admin")).get("/console/reports.csv?by=buyer&range=today")

    assert "'=HYPERLINK" in found.text
    assert not re.search(r'^"?=', found.text, re.MULTILINE)


async def _counted(desk: ConsoleOffice) -> None:
    """Something of acme's in the sums of this hour."""
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    contract = await desk.office.db.fetchval("SELECT id FROM contract WHERE slug = 'acme-1'")
    await desk.office.db.execute(_A_SUM, hour, contract)


_COUNTS = (
    "pings quotes leads sold asked bids fixed no_bids invalid timed_out unreachable garbled failed won bid_sum "
    "posts accepted rejected not_sent waiting revenue payout returned returned_revenue returned_payout "
    + " ".join(f"t{number}" for number in range(1, 21))
).split()
_A_SUM = f"""INSERT INTO report_sum (span, by, start, vertical, currency, seller, contract, {", ".join(_COUNTS)})
VALUES ('hour', 'contract', $1, 'roofing', 'USD', 0, $2, {", ".join("1" for _ in _COUNTS)})"""


@pytest.mark.parametrize("forth", [True, False])
async def test_a_page_without_a_row_loses_none(
    desk: ConsoleOffice, monkeypatch: Any, forth: bool
) -> None:
    """A walk that stops before it has found anything leads back to the very lead it began at."""
    ids = sorted(row["id"] for row in await desk.office.db.fetch("SELECT id FROM lead"))
    began, beyond = (ids[1], ids[2]) if forth else (ids[2], ids[1])

    async def stops(*_: Any) -> tuple[list[UUID], UUID]:
        return [], beyond

    monkeypatch.setattr("exchange.store.views.leads.walk", stops)
    names = Names(sellers={}, buyers={}, currencies={}, told={})
    page: Found = await find_leads(
        desk.office.db, names, Filters(), Cursor(id=began, forth=forth), 10
    )

    back = page.older if forth else page.newer
    assert back is not None
    low, high = walk._bounds(Filters(), Cursor(id=back, forth=not forth))
    assert low < began < high


def test_an_answer_nested_too_deeply_is_shown_as_it_is() -> None:
    for depth in (254, 300, 900):
        text = "[" * depth + "]" * depth
        assert pretty(text).replace(" ", "").replace("\n", "") == text


async def test_time_zones_are_not_looked_for_on_the_disk_each_time(monkeypatch: Any) -> None:
    def never() -> None:
        raise AssertionError("12 ms of the loop, each time")

    monkeypatch.setattr(periods, "available_timezones", never)
    found, complaint = periods.read_period({"zone": "Mars/Olympus"}, datetime.now(UTC))
    assert ("UTC", True) == (found.zone, bool(complaint))


async def test_nothing_streams_behind_the_answer_to_a_head(desk: ConsoleOffice) -> None:
    """Through a proxy that keeps its connections, it would be read as somebody else's answer."""
    admin = await desk.signed_in("admin")
    for path in (
        "/console/live/stream",
        f"{PATH}.csv",
        "/console/money/statements/buyers/acme.csv",
    ):
        assert 405 == (await admin.call("HEAD", path)).status, path
        assert 200 == (await admin.get("/console/account")).status


@pytest.mark.parametrize(
    ("zone", "first"),
    [
        ("UTC", "2026-01-10T00:00+00:00"), ("Asia/Kolkata", "2026-01-09T18:30+00:00"),
        ("Asia/Kathmandu", "2026-01-09T18:15+00:00"), ("America/St_Johns", "2026-01-10T03:30+00:00"),
    ],
)  # fmt: skip
async def test_every_hour_of_a_period_belongs_to_its_days(
    desk: ConsoleOffice, zone: str, first: str
) -> None:
    """Also where midnight is within an hour: that hour is of the day in which it has begun or begins."""
    at = datetime.fromisoformat(first)
    hour = at.replace(minute=0)
    contract = await desk.office.db.fetchval("SELECT id FROM contract WHERE slug = 'acme-1'")
    await desk.office.db.execute(_A_SUM, hour, contract)
    asked = Question(
        by="day", start=hour, end=hour + timedelta(days=1), zone=zone, contract=contract
    )

    assert [at] == [line.key for line in await answer(desk.office.db, asked)]
