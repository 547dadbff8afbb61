"""Every reason to skip a contract, reached by the road it takes in life and read back from the store.

One table, the verdict last. Sellers' handlers, auction, sale and books are real, in simulated time;
what only a database can do to a contract is done to a real Postgres.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from random import Random
from typing import Any

import asyncpg
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from buyers.contract import Cap, CapKind, Condition, Op, Schedule
from buyers.money import MICROS
from buyers.wire import Wire, WireLimits
from exchange import pinging
from exchange.catalogue import market_of
from exchange.house import House
from exchange.http.access import KeyRing, StoredKeys
from exchange.http.problems import net_under
from exchange.http.sellers import SellerDesk
from exchange.ids import read_id
from exchange.observe import Silent
from exchange.operating import explain
from exchange.plan import Tier, TierMode
from exchange.reasons import SkipReason
from exchange.recalling import recall
from exchange.receipt import read, with_unsuited
from exchange.settings import HealthSettings, PingSettings, Settings
from exchange.store.postgres import PostgresStore
from exchange.vigil import Vigil
from tests.clock import PostgresClock
from tests.making import fixed
from tests.offices import GUARD, NoNames, Offices, Side, a_contract, open_offices
from tests.test_sale import REFUSED, SILENT, Floor, Row, bids, rejects, trade
from tests.virtual import pass_ms

# Trades, and returns the ping or the lead whose account is read.
Tell = Callable[[Floor], Awaitable[str]]
LAST = (Tier(name="last", mode=TierMode.PRIORITY),)
BOB = Row("bob", bids("5"))


# --- what is told afterwards ----------------------------------------------------------------------


async def recalled(where: Any, record: Mapping[str, Any]) -> Mapping[str, Any]:
    """A ping's account with those named that it only counts."""
    if isinstance(where, Floor):
        market = where.house.catalogue.markets["loans"]
        return with_unsuited(record, market) if record["unsuited"] else record
    return await recall(where.db, record)


async def record_of(where: Any, told: str) -> Mapping[str, Any]:
    """The account of a ping or a lead as its bytes are stored; empty while a lead has none. `where`:
    a floor, or a store in Postgres."""
    store = where.store if isinstance(where, Floor) else where
    if (ping := read_id("ping", told)) is not None:
        return await recalled(where, read((await store.ping(ping[0])).row.receipt))
    raw = (await store.lead(lead_id(told))).receipt
    return read(raw) if raw else {}


async def why(where: Any, told: str) -> list[str]:
    """What `exchange why` prints of it; of a lead without the part that is its ping's."""
    store = where.store if isinstance(where, Floor) else where
    lines = await explain(store, told, lambda record: recalled(where, record))
    begins = next((n for n, line in enumerate(lines) if line.startswith(f"lead {told}")), 0)
    return lines[begins:]


def lead_id(text: str) -> Any:
    found = read_id("lead", text)
    assert found is not None
    return found[0]


async def check_skip(where: Any, told: str, contract: str, reason: str, detail: str | None) -> None:
    """The stored account names the contract once, and so does `exchange why`."""
    skipped = (await record_of(where, told))["skipped"]
    found = [(one["reason"], one["detail"]) for one in skipped if one["contract"] == contract]
    assert [(reason, detail)] == found
    words = reason if detail is None else f"{reason} ({detail})"
    lines = [line.split(maxsplit=2) for line in await why(where, told)]
    assert 1 == lines.count(["skipped", contract, words])


async def check_all_told(floor: Floor, ping: str) -> None:
    """Every contract is asked, competes at its price, is skipped or stands behind the auction."""
    record, market = await record_of(floor, ping), floor.house.catalogue.markets["loans"]
    told = [one["contract"] for one in (*record["asked"], *record["skipped"])]
    told += [one["contract"] for one in record["offers"] if one.get("fixed")]
    behind = {
        c.slug for c, _ in market.contracts if market.plan.tier_of(c) in market.plan.waterfall
    }
    assert sorted(told) == sorted(set(told))
    assert {contract.slug for contract, _ in market.contracts} - behind <= set(told)


# --- how it comes about ---------------------------------------------------------------------------


def ping(*, pings: int = 1, after: int = 0, **options: Any) -> Tell:
    """The last of so many pings, when so many leads were posted and what they used is known."""

    async def tell(floor: Floor) -> str:
        for _ in range(after):
            await floor.lead()
        await floor.house.look_at_usage()
        quotes = [await floor.ping(**options) for _ in range(pings)]
        await check_all_told(floor, quotes[-1]["ping_id"])
        return str(quotes[-1]["ping_id"])

    return tell


def lead(*, leads: int = 1, **options: Any) -> Tell:
    """The last of so many leads of one person, sold in one step."""

    async def tell(floor: Floor) -> str:
        answers = [await floor.lead(**options) for _ in range(leads)]
        return str(answers[-1]["lead_id"])

    return tell


def post(between: Callable[[Floor], Any] = lambda _floor: None, wait_ms: int = 0) -> Tell:
    """A lead whose ping was answered before something happened."""

    async def tell(floor: Floor) -> str:
        quote = await floor.ping()
        if (work := between(floor)) is not None:
            await work
        await pass_ms(wait_ms)
        return str((await floor.lead(ping_id=quote["ping_id"]))["lead_id"])

    return tell


def given(happens: Callable[[Floor], Any], tell: Tell) -> Tell:
    async def both(floor: Floor) -> str:
        happens(floor)
        return await tell(floor)

    return both


def patiently(tell: Tell) -> Tell:
    """Once a second until somebody is skipped."""

    async def repeat(floor: Floor) -> str:
        for _ in range(200):
            told = await tell(floor)
            if (await record_of(floor, told))["skipped"]:
                break
            await pass_ms(1000)
        return told

    return repeat


def has(**contract: Any) -> Row:
    """Ann bids 9 under these terms."""
    return Row("ann", bids("9"), contract=contract)


def cap(kind: CapKind, limit: int, **more: Any) -> Row:
    return has(caps=(Cap(kind=kind, period="day", limit=limit, **more),))


def only(field: str, op: Op, value: Any) -> Row:
    return has(filters=(Condition(field=field, op=op, value=value),))


def behind(price: int, **more: Any) -> Row:
    """Ann has a fixed price in the tier behind the auction."""
    return has(tier="last", pricing=fixed(price * MICROS), **more)


def pause_everything(floor: Floor) -> None:
    floor.house.catalogue = replace(floor.house.catalogue, paused=True)


def pause_ann(floor: Floor) -> None:
    """In the books alone: the catalogue in memory has not heard of it."""
    floor.store.pause("contract", "ann")


def retire_ann(floor: Floor) -> None:
    old = floor.house.catalogue.markets["loans"]
    left = [contract for contract, _ in old.contracts if contract.slug != "ann"]
    market = market_of(old.vertical, old.plan, left)
    floor.house.catalogue = replace(floor.house.catalogue, markets={"loans": market})


def prepay(floor: Floor) -> None:
    """Ann's credit is 10 dollars."""
    floor.store.add_buyer(1, "ann", prepaid_credit_micros=10 * MICROS)
    floor.store.add_contract(101, "ann", 1)


def dedupe(floor: Floor) -> None:
    floor.store._contracts[101].dedupe_days = 30


def dedupe_vertical(floor: Floor) -> None:
    floor.store.dedupe_vertical("loans", 30)


async def wear_out(floor: Floor) -> None:
    """Leads until Ann's endpoint is left alone: the breaker's figures are tested elsewhere."""
    for _ in range(110):
        if floor.house.vigil.left_alone()["post"]:
            return
        await floor.lead()
        await pass_ms(1000)


async def exclude_ann(floor: Floor) -> str:
    ref = floor.house.vault.opaque("buyer", "lead-mill", "ann")
    return await ping(exclude_buyers=[ref])(floor)


def throttle(floor: Floor) -> None:
    house, how = floor.house, HealthSettings(breaker="off", throttle="on")
    house.vigil = Vigil(how, PingSettings(), house.observer, house.now_s, house.store.now)


# --- why a contract was skipped -------------------------------------------------------------------

R = SkipReason
SICK = Row("ann", REFUSED)
DEAF = Row("ann", bids("9"), REFUSED)  # bids, and cannot be posted to
ANN_NO = Row("ann", bids("9"), rejects())
NEVER = Schedule(timezone="UTC", hours=((),) * 7)
SKIPS: list[tuple[tuple[Row, ...], Tell, str, SkipReason, str | None]] = [
    # Judged before anybody is asked, in the order of the rules.
    ((has(active=False), BOB), ping(), "ann", R.PAUSED, None),
    ((has(), BOB), given(pause_everything, ping()), "ann", R.PAUSED, None),
    ((has(tier="gone"), BOB), ping(), "ann", R.NO_TIER, None),
    ((has(), BOB), ping(test=True), "ann", R.NO_TEST, None),
    ((has(), BOB), exclude_ann, "ann", R.EXCLUDED, None),
    ((has(sellers_deny=frozenset({"lead-mill"})), BOB), ping(), "ann", R.SELLER_NOT_ALLOWED, None),
    ((has(sellers_allow=frozenset({"other"})), BOB), ping(), "ann", R.SELLER_NOT_ALLOWED, None),
    ((only("state", Op.IN, frozenset({"TX"})), BOB), ping(), "ann", R.FILTERED, "filters.0: state in"),
    ((has(schedule=NEVER), BOB), ping(), "ann", R.CLOSED, None),
    ((cap(CapKind.SALES, 1), BOB), ping(after=1), "ann", R.CAP_SALES, None),
    ((cap(CapKind.SPEND, 9 * MICROS), BOB), ping(after=1), "ann", R.CAP_SPEND, None),
    ((Row("ann", bids("10")), BOB), given(prepay, ping(after=1)), "ann", R.CREDIT, None),
    ((replace(cap(CapKind.CONCURRENT, 1), post=SILENT), BOB), ping(after=1), "ann", R.CAP_CONCURRENT, None),
    ((cap(CapKind.SALES, 3, paced=True), BOB), ping(after=2), "ann", R.PACED, None),  # 13:33 UTC
    ((behind(2, active=False), BOB), ping(), "ann", R.PAUSED, None),
    # Eligible, but spared.
    ((SICK, BOB), patiently(ping()), "ann", R.BREAKER_OPEN, "ping"),
    ((DEAF, BOB), patiently(ping(after=1)), "ann", R.BREAKER_OPEN, "post"),
    ((SICK, BOB), given(throttle, patiently(ping())), "ann", R.THROTTLED, None),
    ((cap(CapKind.PINGS, 2), BOB), ping(pings=3), "ann", R.CAP_PINGS, None),
    ((Row("ann", bids("9"), endpoint={"max_qps": 1}), BOB), ping(pings=2), "ann", R.MAX_QPS, None),
    # At the post: passed over for what is known by then.
    ((has(), BOB), post(pause_everything), "ann", R.PAUSED, None),
    ((behind(2), BOB), post(pause_everything), "ann", R.PAUSED, None),
    ((has(), BOB), post(retire_ann), "ann", R.PAUSED, None),
    ((ANN_NO, Row("ann-2", bids("8"), buyer="ann"), BOB), post(), "ann-2", R.BUYER_ALREADY_TRIED, None),
    ((ANN_NO, replace(behind(2), name="ann-2", buyer="ann")), post(), "ann-2", R.BUYER_ALREADY_TRIED, None),
    ((DEAF, BOB), post(wear_out), "ann", R.BREAKER_OPEN, "post"),
    ((replace(behind(2), post=REFUSED),), patiently(lead()), "ann", R.BREAKER_OPEN, "post"),
    ((ANN_NO, Row("bob", bids("7", expires_in_s=10))), post(wait_ms=20_000), "bob", R.BID_EXPIRED, None),
    ((only("income", Op.GTE, 5000), BOB), post(), "ann", R.FILTERED, "filters.0: income gte"),
    ((behind(2, schedule=NEVER),), lead(), "ann", R.CLOSED, None),
    ((behind(2),), lead(min_price="3"), "ann", R.BELOW_MIN_PRICE, None),
    ((has(),), lead(min_price="10"), "ann", R.BELOW_MIN_PRICE, None),
    ((Row("ann", bids("9"), rejects(400)), BOB), lead(max_wait_ms=600), "bob", R.NO_TIME, None),
    # In the award, where nothing that was known before counts.
    ((has(), BOB), post(pause_ann), "ann", R.PAUSED, None),
    ((has(), BOB), given(dedupe, lead(leads=2)), "ann", R.DUPLICATE, None),
    ((has(), BOB), given(dedupe_vertical, lead(leads=2)), "ann", R.DUPLICATE_IN_VERTICAL, None),
    ((cap(CapKind.SALES, 1), BOB), lead(leads=2), "ann", R.CAP_SALES, None),
    ((cap(CapKind.SPEND, 10 * MICROS), BOB), lead(leads=2), "ann", R.CAP_SPEND, None),
    ((has(), BOB), given(prepay, lead(leads=2)), "ann", R.CREDIT, None),
    ((replace(cap(CapKind.CONCURRENT, 1), post=SILENT), BOB), lead(leads=2), "ann", R.CAP_CONCURRENT, None),
    ((cap(CapKind.SALES, 3, paced=True), BOB), lead(leads=3), "ann", R.PACED, None),
]  # fmt: skip
IN_POSTGRES = {R.BUSY, R.MAX_QPS}


@pytest.mark.parametrize(("rows", "tell", "contract", "reason", "detail"), SKIPS)
def test_a_skip_is_told(
    rows: tuple[Row, ...], tell: Tell, contract: str, reason: SkipReason, detail: str | None
) -> None:
    """By the receipt of the ping or the lead, and by `exchange why`."""

    async def story(floor: Floor) -> None:
        await check_skip(floor, await tell(floor), contract, reason, detail)

    trade(story, *rows, tiers=LAST)


def test_every_reason_to_skip_has_a_story() -> None:
    """A new one needs a line in the table."""
    assert set(SkipReason) == {row[3] for row in SKIPS} | IN_POSTGRES


# --- in a real Postgres ---------------------------------------------------------------------------


@dataclass
class Exchange:
    """Two workers of one database; a buyer's fixed contract, and a metered one that is pinged."""

    offices: Offices
    workers: tuple[Side, Side]
    locks: "asyncpg.Connection[asyncpg.Record]"

    async def shown(self, told: str) -> dict[str, Any]:
        """A ping or a lead as an operator sees it over HTTP."""
        kind = told.partition("_")[0]
        answer = await self.offices.admin("GET", f"/v1/{kind}s/{told}")
        return answer.body if kind == "ping" else answer.body["receipt"]


@pytest.fixture
async def exchange(database: str) -> AsyncIterator[Exchange]:
    async with open_offices(database) as offices:
        prices = {
            "pricing": {"mode": "fixed", "price": "10"},
            "caps": [{"kind": "sales", "period": "day", "limit": 5}],
        }
        for body in (
            a_contract("fixed", "acme", **prices),
            a_contract("metered", "zenith", endpoint=a_contract("")["endpoint"] | {"max_qps": 1}),
        ):
            assert 201 == (await offices.admin("POST", "/v1/contracts", body)).status
        clock = await PostgresClock.install(database, datetime.now(UTC))  # its second does not end
        locks = await asyncpg.connect(database)
        workers = [await a_worker(offices, number) for number in (1, 2)]
        async with workers[0][0], workers[1][0]:
            sides = [Side(client, offices.keys["roofquotes"]) for client, _ in workers]
            yield Exchange(offices, (sides[0], sides[1]), locks)
            for _, house in workers:
                assert 0 == await house.drain(10)
                await house.store.close()
                await house.transport.close()  # type: ignore[attr-defined]
        await locks.close()
        await clock.close()


async def a_worker(offices: Offices, number: int) -> tuple[TestClient, House]:
    store, rng = PostgresStore(offices.store.db.dsn, name=f"worker {number}"), Random(number)
    await store.warm()
    house = House(
        settings=Settings(), store=store, vault=offices.vault, guard=GUARD, observer=Silent(),
        transport=Wire(guard=GUARD, limits=WireLimits(), resolver=NoNames()), worker=number,
        random_bytes=rng.randbytes, catalogue=await offices.catalogue(), loaded=True,
    )  # fmt: skip
    desk = SellerDesk(house, KeyRing(StoredKeys(store.db), offices.vault, remembers=False))
    app = web.Application(middlewares=[net_under(Silent())])
    app.add_routes(desk.routes())
    return TestClient(TestServer(app)), house


PING = {"vertical": "roofing", "fields": {"state": "TX"}, "max_wait_ms": 5000}  # a slow machine too
LEAD = {"vertical": "roofing", "fields": {"state": "TX", "phone": "+15125550123"}}


async def check_shown(exchange: Exchange, told: str, contract: str, reason: SkipReason) -> None:
    await check_skip(exchange.offices.store, told, contract, reason, None)
    shown = {"contract": contract, "reason": reason.value, "detail": None}
    assert 1 == (await exchange.shown(told))["skipped"].count(shown)


async def test_a_rate_is_held_for_all_workers_together(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One ping a second: the other worker's is over it."""
    monkeypatch.setattr(pinging, "_LEASE_WITHIN_S", 10)  # a slow machine is no busy one
    now = datetime.now(UTC)  # a second does not end between the two
    monkeypatch.setattr(PostgresStore, "now", lambda _store: now)
    told = [(await one("POST", "/v1/pings", PING)).body["ping_id"] for one in exchange.workers]

    asked = [one["contract"] for one in (await record_of(exchange.offices.store, told[0]))["asked"]]
    assert "metered" in asked
    await check_shown(exchange, told[1], "metered", SkipReason.MAX_QPS)


async def test_a_lease_that_cannot_be_had_in_time_is_busy(exchange: Exchange) -> None:
    """Somebody holds the row of the rate: the ping goes on without that contract."""
    async with exchange.locks.transaction():
        await exchange.locks.execute(
            "SELECT lease_rate((SELECT id FROM contract WHERE slug = 'metered'), 1, 0)"
        )
        quote = (await exchange.workers[1]("POST", "/v1/pings", PING)).body

    assert "bid" == quote["outcome"]
    await check_shown(exchange, quote["ping_id"], "metered", SkipReason.BUSY)


async def test_books_that_stay_locked_are_busy(exchange: Exchange) -> None:
    """The award is asked again until the seller's time is over; then nothing is sold."""
    async with exchange.locks.transaction():
        await exchange.locks.execute("SELECT FROM bucket ORDER BY id FOR UPDATE")
        final: dict[str, Any] = {}
        while "outcome" not in final:  # 503 when its time ends between two tries: to be sent again
            lead = {**LEAD, "max_wait_ms": 1200}
            final = (await exchange.workers[0]("POST", "/v1/leads", lead)).body
        while final["outcome"] == "pending":  # the last try ends a second after it began
            final = (await exchange.workers[0]("GET", f"/v1/leads/{final['lead_id']}")).body

    assert ("unsold", "deadline") == (final["outcome"], final["reason"])
    await check_shown(exchange, final["lead_id"], "fixed", SkipReason.BUSY)


async def test_whom_a_version_ruled_out_is_named_by_that_version(exchange: Exchange) -> None:
    """The receipt only counts them; changed, retired and new contracts are judged as they were."""
    admin, both = exchange.offices.admin, {"endpoint": a_contract("")["endpoint"]}
    for slug, more in (
        ("other-state", {"filters": [{"field": "state", "op": "eq", "value": "CA"}]}),
        ("other-tier", {"tier": "nowhere"}),
        ("other-seller", {"sellers": {"deny": ["roofquotes"]}}),
    ):
        body = a_contract(slug, "acme", **both, **more)
        assert 201 == (await admin("POST", "/v1/contracts", body)).status
    worker = await a_worker(exchange.offices, 3)
    async with worker[0]:
        side = Side(worker[0], exchange.offices.keys["roofquotes"])
        told = (await side("POST", "/v1/pings", PING)).body["ping_id"]
        await worker[1].drain(10)
        await worker[1].store.close()
        await worker[1].transport.close()  # type: ignore[attr-defined]
    await admin("PATCH", "/v1/contracts/other-state", {"filters": []})
    await admin("DELETE", "/v1/contracts/other-tier")
    await admin("PATCH", "/v1/contracts/other-seller", {"sellers": {"deny": []}})
    late = a_contract("late", "acme", **both, tier="nowhere")
    await admin("POST", "/v1/contracts", late)

    raw = (await exchange.offices.store.ping(read_id("ping", told)[0])).row.receipt
    assert (3, []) == (read(raw)["unsuited"], read(raw)["skipped"])
    found = {(o["contract"], o["reason"]) for o in (await exchange.shown(told))["skipped"]}
    assert found == {
        ("other-state", "filtered"), ("other-tier", "no_tier"), ("other-seller", "seller_not_allowed"),
    }  # fmt: skip
    lines = [line.split() for line in await why(exchange.offices.store, told)]
    assert ["skipped", "other-state", "filtered", "(filters.0:", "state", "eq)"] in lines
