"""The market behind the pictures: one in which each outcome of a lead has happened."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from buyers.reference.server import ReferenceBuyers
from exchange.chores.rollup import RollUp
from exchange.ids import write_id
from exchange.office.console.entering import totp
from exchange.office.console.supply.posting_links import PostingLinks
from exchange.store.database import connect
from exchange.store.views.money import accounts_of
from tests.console.offices import ConsoleOffice
from tests.console.trading import LEAD, SECRET, Trade, a_temper, open_trade
from tests.offices import VERTICAL, a_contract
from tests.trading import begin_trade

PASSWORD: Final = "owl lamp river"
SEED: Final = b"12345678901234567890"


@dataclass
class Stage:
    """The market, with what its scenes need to name."""

    desk: ConsoleOffice
    trade: Trade
    leads: dict[str, str] = field(default_factory=dict)  # by what has become of each
    accounts: dict[str, int] = field(default_factory=dict)  # ids, by owner and kind
    shared: str = ""  # the token of a link to posting instructions


# Verticals beside roofing, each with a market that can end in one way only.
_BIDDER: Final = ("auction", {"mode": "bid"})
_REST: Final = ("rest", {"mode": "fixed", "price": "4.00"})
_MARKETS: Final[dict[str, list[tuple[str, str, tuple[str, dict[str, str]], dict[str, Any]]]]] = {
    "solar": [("shyly", "shy", _BIDDER, {}), ("lowell", "rest", _REST, {})],
    "gutters": [
        ("zenith", "half", _BIDDER, {"exclusivity": "shared", "max_shares": 2}),
        ("lowell", "other", _BIDDER, {"exclusivity": "shared", "max_shares": 2}),
    ],
    "siding": [],
    "windows": [("shyly", "shy", _BIDDER, {})],
    "doors": [("slowly", "slow", _BIDDER, {})],
    "floors": [("acme", "top", _BIDDER, {})],
    "pools": [("zenith", "mute", _BIDDER, {})],
    "sheds": [("lowell", "late", _BIDDER, {})],
}
_TEMPERS: Final = (
    a_temper("rest", 4), a_temper("half", 9), a_temper("other", 8), a_temper("shy", 9, decline=1),
    a_temper("slow", 9, delay_ms=(400, 400)), a_temper("top", 20, reject=1, reject_reasons=("no capacity",)),
    a_temper("mute", 11, post_stall=1), a_temper("late", 11, post_delay_ms=(1_500, 1_500), reject=1),
)  # fmt: skip
# The outcome, its vertical, and what else the seller says.
_SALES: Final[tuple[tuple[str, str, dict[str, Any]], ...]] = (
    ("sold-by-auction", "roofing", {"external_id": "crm-4711"}),
    ("sold-by-waterfall", "solar", {}),
    ("sold-shared", "gutters", {}),
    ("unsold-no-eligible-buyers", "siding", {}),
    ("unsold-no-bids", "windows", {}),
    ("unsold-all-missed", "doors", {}),
    ("unsold-below-floor", "roofing", {"floor": "50.00"}),
    ("unsold-rejected-by-all", "floors", {}),
    ("unsold-deadline", "sheds", {"max_wait_ms": 700}),
    ("unconfirmed", "pools", {"max_wait_ms": 700}),
    ("test", "roofing", {"test": True}),
    ("returned", "roofing", {}),
    ("erased", "roofing", {}),
)


@asynccontextmanager
async def open_stage(desk: ConsoleOffice) -> AsyncIterator[Stage]:
    async with open_trade(desk) as trade:
        buyers = ReferenceBuyers(_TEMPERS)
        url = await buyers.start()
        await _markets(desk, url)
        await _known(desk, trade)
        stage = Stage(desk, trade)
        await _sell(stage)
        await (await begin_trade(desk.market)).some()
        connection = await connect(desk.market.store.db.dsn)
        await RollUp(120, rest=0).turn(connection)
        await connection.close()
        await _people(stage)
        yield stage
        await buyers.stop()


async def _known(desk: ConsoleOffice, trade: Trade) -> None:
    """The worker knows the markets that were just made."""
    trade.house.catalogue = await desk.market.catalogue()


async def _ok(desk: ConsoleOffice, method: str, path: str, body: Any = None) -> Any:
    answer = await desk.market.admin(method, path, body)
    assert answer.status < 300, (path, answer.body)
    return answer.body


async def _markets(desk: ConsoleOffice, url: str) -> None:
    for slug, contracts in _MARKETS.items():
        await _ok(desk, "POST", "/v1/verticals", VERTICAL | {"slug": slug, "name": slug.title()})
        auction = {
            "name": "auction",
            "mode": "auction",
            "window_ms": 300 if slug == "doors" else 4_000,
        }
        tiers = [auction, {"name": "rest", "mode": "priority"}]
        await _ok(desk, "POST", "/v1/plans", {"vertical": slug, "tiers": tiers})
        for owner, temper, (tier, pricing), more in contracts:
            endpoint = {
                "ping_url": f"{url}/{temper}/ping", "post_url": f"{url}/{temper}/post", "secret": SECRET,
                "ping_timeout_ms": 150 if slug == "doors" else 4_000, "post_timeout_ms": 2_000,
                "accepts_test": True,
            }  # fmt: skip
            body = a_contract(f"{owner}-{slug}", owner, endpoint=endpoint, **more)
            body |= {"vertical": slug, "tier": tier, "pricing": pricing}
            await _ok(desk, "POST", "/v1/contracts", body)
    await _ok(desk, "PATCH", "/v1/sellers/roofquotes", {"verticals": ["roofing", *_MARKETS]})
    policy = {"window_days": 7, "percent": "100", "reasons": ["invalid_phone", "wrong_person"]}
    await _ok(desk, "PATCH", "/v1/contracts/good", {"returns": policy})
    await _ok(desk, "PATCH", "/v1/contracts/acme-1", {"returns": policy | {"window_days": 14}})
    await _ok(desk, "PATCH", "/v1/buyers/acme", {"name": "Acme Leads"})
    change = {"filters": [{"field": "state", "op": "in", "value": ["CA", "TX"]}], "priority": 5}
    await _ok(desk, "PATCH", "/v1/contracts/acme-1", change)


async def _sell(stage: Stage) -> None:
    """A lead of each outcome; those that wait for a person stay as they are."""
    desk = stage.desk
    for name, vertical, more in _SALES:
        answer = await stage.trade.sell("POST", "/v1/leads", LEAD | {"vertical": vertical} | more)
        assert answer.status in {200, 202}, answer.body
        stage.leads[name] = answer.body["lead_id"]
    stage.leads["pending"] = write_id("lead", (await desk.market.lead(external_id="crm-4712"))[0])
    await _ok(desk, "POST", f"/v1/leads/{stage.leads['erased']}/erase")
    await _ok(desk, "POST", f"/v1/leads/{stage.leads['pending']}/erase")  # it waits
    asked = {
        "lead_id": stage.leads["returned"],
        "reason": "invalid_phone",
        "note": "no such number",
    }
    back = await desk.market.zenith("POST", "/v1/returns", asked)
    assert back.status == 201, back.body
    await _ok(desk, "POST", f"/v1/returns/{back.body['return_id']}/approve", {})
    again = {"lead_id": stage.leads["sold-by-auction"], "reason": "wrong_person", "note": ""}
    assert (await desk.market.zenith("POST", "/v1/returns", again)).status == 201
    quote = await stage.trade.sell("POST", "/v1/pings", {**LEAD, "fields": {"state": "TX"}})
    stage.leads["quote"] = quote.body["ping_id"]


async def _people(stage: Stage) -> None:
    """Users in each state of signing in, and the accounts that have a page."""
    desk = stage.desk
    for login in ("ann", "bob", "eve"):
        await desk.people.add(login, "operator", None)
    for login in ("ann", "bob"):
        await desk.people.set_password(login, PASSWORD)
    await desk.people.begin_totp("bob", SEED, totp.code_at(SEED, int(time.time() // 30) - 1))
    links = PostingLinks(desk.office.db, desk.office.console.vault)
    stage.shared = await links.make("roofquotes", "roofing", "user:ann")
    for kind, slug in (("buyer", "acme"), ("buyer", "zenith"), ("seller", "roofquotes")):
        for id_, name, _ in await accounts_of(desk.office.db, kind, slug):
            stage.accounts[f"{slug} {name}"] = id_
