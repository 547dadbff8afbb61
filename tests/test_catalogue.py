"""The live catalogue: what is compiled again, what an auction sees, what is kept, what is merged."""

import asyncio
import io
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import asyncpg
import orjson
import pytest
from prometheus_client import CollectorRegistry

from exchange import geo
from exchange.apply import apply
from exchange.catalogue import Market
from exchange.deadline import Deadline
from exchange.http.requests import read_ping
from exchange.log import LogObserver, start_log
from exchange.metrics import Metrics
from exchange.pinging import hold_auction
from exchange.recalling import Kept, _market_then
from exchange.store.catalogue import LiveCatalogue
from exchange.store.pace import Pace
from exchange.store.stored import Listed, _slices, read_look
from exchange.watch import _FINGERPRINT, Watch
from tests.offices import GUARD, VERTICAL, Offices, a_buyer, a_contract, open_offices
from tests.test_sale import PING, Floor, Row, bids, trade

IN_TX = {"field": "state", "op": "in", "value": ["TX"]}


@pytest.fixture
async def offices(database: str) -> AsyncIterator[Offices]:
    async with open_offices(database) as found:
        yield found


class Live:
    """A live catalogue of the offices' database, loaded."""

    def __init__(self, offices: Offices) -> None:
        self.offices = offices
        self.broken: list[str] = []
        self.catalogue = LiveCatalogue(
            offices.store.db, offices.vault, lambda where, error: self.broken.append(f"{where} {error!r}")
        )  # fmt: skip

    @property
    def market(self) -> Market:
        return self.catalogue.snapshot.markets["roofing"]

    async def write(self, *wanted: tuple[str, dict[str, Any]]) -> None:
        await apply(self.offices.store.db, self.offices.vault, GUARD, list(wanted), by="test")

    async def execute(self, sql: str, *args: Any) -> None:
        await self.offices.store.db.execute(sql, *args)

    async def compiled(self) -> int:
        """Contracts that a refresh compiles."""
        before = self.catalogue.compiled
        await self.catalogue.refresh()
        return self.catalogue.compiled - before


@pytest.fixture
async def live(offices: Offices) -> AsyncIterator[Live]:
    made = Live(offices)
    await made.catalogue.refresh()
    yield made
    await made.catalogue.close()
    assert [] == made.broken


# --- only what changed -----------------------------------------------------------------------------


async def test_a_changed_contract_is_the_only_one_compiled(live: Live) -> None:
    """Everything else is the very same object: other contracts, checks, other verticals."""
    await live.write(("vertical", VERTICAL | {"slug": "solar"}))
    await live.catalogue.refresh()
    before, solar = live.market, live.catalogue.snapshot.markets["solar"]

    await live.write(("contract", a_contract("acme-1", "acme", priority=3, filters=[IN_TX])))

    assert 1 == await live.compiled()
    assert before.contract("zenith-1") is live.market.contract("zenith-1")
    assert before.checks is live.market.checks
    assert solar is live.catalogue.snapshot.markets["solar"]
    assert 3 == live.market.by_slug["acme-1"][0].priority


async def test_nothing_changed_costs_nothing(live: Live) -> None:
    """Even when everything is compared, because the database may be another one."""
    before = live.market
    live.catalogue.distrust()

    assert 0 == await live.compiled()
    assert before is live.market


async def test_contracts_stay_in_the_order_of_their_slugs(live: Live) -> None:
    """Wherever new ones come in, and whichever go."""
    names = ["m-1", "a-1", "zz-1", "m-0", "m_1", "m-10"]
    await live.write(*(("contract", a_contract(name, "acme")) for name in names))
    await live.catalogue.refresh()
    assert 204 == (await live.offices.admin("DELETE", "/v1/contracts/m-1")).status
    await live.catalogue.refresh()

    found = [contract.slug for contract, _ in live.market.contracts]
    assert sorted({*names, "acme-1", "zenith-1"} - {"m-1"}) == found
    assert set(found) == live.market.by_slug.keys()


async def test_a_changed_buyer_is_put_into_his_contracts(live: Live) -> None:
    """Nothing is compiled; another buyer's contracts are the same objects."""
    filters, zenith = live.market.by_slug["acme-1"][1], live.market.contract("zenith-1")
    await live.write(("buyer", a_buyer("acme", name="Acme & Sons", credit="100.00")))

    assert 0 == await live.compiled()
    contract, same = live.market.by_slug["acme-1"]
    assert "Acme & Sons" == contract.buyer.name
    assert same is filters
    assert zenith is live.market.contract("zenith-1")


@pytest.mark.parametrize(
    ("table", "slug", "compiled"), [("contract", "acme-1", 1), ("buyer", "acme", 0)]
)
async def test_a_pause_is_in_force_without_a_new_version(
    live: Live, table: str, slug: str, compiled: int
) -> None:
    """And so is its end."""
    version = live.catalogue.snapshot.version
    seen = []
    for paused in (True, False):
        await live.execute(f"UPDATE {table} SET paused = $1 WHERE slug = $2", paused, slug)
        assert compiled == await live.compiled()
        contract = live.market.by_slug["acme-1"][0]
        seen.append(contract.active and contract.buyer.active)

    assert [False, True] == seen
    assert version == live.catalogue.snapshot.version


async def test_a_pause_of_everything_is_in_force(live: Live) -> None:
    await live.execute("UPDATE house SET paused = true")
    await live.catalogue.refresh()

    assert live.catalogue.snapshot.paused


async def test_a_vertical_recompiles_its_contracts_when_its_fields_change(live: Live) -> None:
    """Not for another margin, and never those of another vertical."""
    await live.write(
        ("vertical", VERTICAL | {"slug": "solar"}),
        ("contract", a_contract("acme-sun", "acme", vertical="solar")),
    )
    await live.catalogue.refresh()
    await live.write(("vertical", VERTICAL | {"margin": {"percent": "7"}}))
    assert 0 == await live.compiled()
    assert 70_000 == live.market.vertical.margin.percent_ppm

    fields = [*VERTICAL["fields"], {"name": "age", "type": "integer", "stage": "ping"}]
    await live.write(("vertical", VERTICAL | {"fields": fields}))
    assert 2 == await live.compiled()
    assert "age" in live.market.checks.ping_field_names


async def test_a_contract_may_move_to_another_vertical(live: Live) -> None:
    """It is found in the new one only."""
    await live.write(("vertical", VERTICAL | {"slug": "solar"}))
    await live.write(("contract", a_contract("acme-1", "acme", vertical="solar")))
    await live.catalogue.refresh()

    assert live.market.contract("acme-1") is None
    found = live.catalogue.snapshot.contract("acme-1")
    assert found is not None
    assert "solar" == found.vertical


async def test_a_plan_a_seller_and_their_accounts_come_into_force(live: Live) -> None:
    """No contract is compiled for them; a new seller can be paid."""
    plan = {
        "vertical": "roofing",
        "tiers": [{"name": "auction", "mode": "auction", "window_ms": 77}],
    }
    seller = {"slug": "newcomer", "name": "Newcomer", "verticals": ["roofing"]}
    await live.write(("plan", plan), ("seller", seller))

    assert 0 == await live.compiled()
    assert live.market.plan.auction is not None
    assert 77 == live.market.plan.auction.window_ms
    found = live.catalogue.snapshot.sellers_by_slug["newcomer"]
    assert (found.id, "USD") in live.catalogue.snapshot.payable


async def test_a_new_certificate_is_noticed(live: Live) -> None:
    """It has no version: the contract it is of is read again, each time it is written."""
    insert = """INSERT INTO certificate (contract_id, endpoint, passed, repeats, report)
    SELECT id, 'x', true, 'unknown', '{}' FROM contract WHERE slug = 'acme-1'"""
    for sql in (insert, "UPDATE certificate SET passed = false", "DELETE FROM certificate"):
        await live.execute(sql)
        assert 1 == await live.compiled()
    assert 0 == await live.compiled()


# --- what an auction sees --------------------------------------------------------------------------


async def test_a_snapshot_never_changes(live: Live) -> None:
    """Who began with one ends with it, whatever is written meanwhile."""
    snapshot, market = live.catalogue.snapshot, live.market
    contracts, slugs = market.contracts, dict(market.by_slug)
    assert 204 == (await live.offices.admin("DELETE", "/v1/contracts/acme-1")).status
    await live.write(
        ("contract", a_contract("zenith-1", "zenith", priority=1)),
        ("contract", a_contract("acme-2", "acme")),
        ("seller", {"slug": "newcomer", "name": "Newcomer"}),
        ("buyer", a_buyer("owl")),
    )
    await live.catalogue.refresh()

    assert snapshot is not live.catalogue.snapshot
    assert snapshot.markets["roofing"] is market
    assert (contracts, slugs) == (market.contracts, dict(market.by_slug))
    assert 10 == market.by_slug["zenith-1"][0].priority
    assert {"roofquotes"} == snapshot.sellers_by_slug.keys()
    assert {"acme", "zenith"} == {one.slug for one in snapshot.buyers.values()}


def test_an_auction_knows_the_catalogue_it_was_read_with() -> None:
    """A change that comes into force in between, even a pause of everything, is for the next one."""

    async def story(floor: Floor) -> None:
        house, old = floor.house, floor.house.catalogue
        seller = old.sellers_by_slug["lead-mill"]
        read = read_ping(
            {"vertical": "loans", "fields": PING}, seller, old, house.vault, one_step=False
        )
        house.catalogue = replace(old, version=2, paused=True, markets={})
        auction = await hold_auction(house, read.asking, Deadline.after(house.now_s(), 500))

        assert 1 == auction.catalogue_version
        assert ["ann"] == [contract.slug for contract, _ in auction.results]
        assert 9_000_000 == auction.ranking.placed[0].net_micros

    trade(story, Row("ann", bids("9")))


async def test_a_refresh_that_fails_changes_nothing(live: Live) -> None:
    """The next one does it all."""
    before = live.catalogue.snapshot
    await live.write(("buyer", a_buyer("owl")), ("contract", a_contract("owl-1", "owl")))
    await live.execute("ALTER TABLE account RENAME TO hidden")
    with pytest.raises(asyncpg.UndefinedTableError):
        await live.catalogue.refresh()
    assert before is live.catalogue.snapshot
    await live.execute("ALTER TABLE hidden RENAME TO account")

    assert 1 == await live.compiled()
    assert live.market.contract("owl-1") is not None


# --- what is kept ----------------------------------------------------------------------------------


async def test_what_is_retired_stays_until_its_open_attempts_end(live: Live) -> None:
    """Inactive, but there; afterwards it is gone, also from a catalogue that was loaded meanwhile."""
    lead, _ = await live.offices.lead()
    attempt = await live.offices.attempt(lead)
    assert 204 == (await live.offices.admin("DELETE", "/v1/contracts/acme-1")).status
    late = Live(live.offices)
    for one in (live, late):
        await one.catalogue.refresh()
        assert not one.market.by_slug["acme-1"][0].active
        assert one.market.by_slug["acme-1"][0].retired

    await live.offices.settle(attempt, "accepted")
    for one in (live, late):
        await one.catalogue.refresh()
        assert one.market.contract("acme-1") is None


async def test_one_contract_that_cannot_be_read_holds_nobody_up(live: Live) -> None:
    """It is out of force and told of, once; what else changed is in force; written again, it is back."""
    await live.execute(
        "UPDATE document SET secret = 'x', version = nextval('catalogue_version') WHERE slug = 'acme-1'"
    )
    await live.write(("contract", a_contract("zenith-1", "zenith", priority=1)))
    await live.catalogue.refresh()
    await live.catalogue.refresh()

    assert [
        "catalogue: contract acme-1 SealBroken('sealed under another master key')"
    ] == live.broken
    assert live.market.contract("acme-1") is None
    assert 1 == live.market.by_slug["zenith-1"][0].priority
    live.broken.clear()
    sealed = live.offices.vault.seal_text("contract:acme-1", "whsec_" + "A" * 32)
    await live.execute(
        "UPDATE document SET secret = $1, version = nextval('catalogue_version') WHERE slug = 'acme-1'",
        sealed,
    )
    assert 1 == await live.compiled()


def test_a_contract_that_cannot_be_read_is_named_in_the_log_and_no_series_of_its_own() -> None:
    """Nothing of the error's text: it may quote what was sent."""
    metrics, sink = Metrics(CollectorRegistry()), io.StringIO()
    listener = start_log(sink)
    for observer in (metrics, LogObserver()):
        for slug in ("acme-1", "acme-2"):
            observer.broke(f"catalogue: contract {slug}", ValueError("ann@example.com"))
    listener.stop()

    assert 2 == metrics.faults.labels("catalogue")._value.get()
    lines = sink.getvalue().splitlines()
    assert ["catalogue: contract acme-1", "catalogue: contract acme-2"] == [
        orjson.loads(line)["where"] for line in lines
    ]
    assert "ann" not in sink.getvalue()


OLD_PREFIX = {"not": {"field": "state", "op": "prefix", "value": "Cal"}}


async def test_a_prefix_stored_by_an_earlier_version_trades_on(live: Live) -> None:
    """It never matches, and `not` of it always does; its vertical can be changed; writing it is 422."""
    await live.execute(
        """UPDATE document SET body = jsonb_set(body, '{filters}', $1::text::jsonb),
        version = nextval('catalogue_version') WHERE slug = 'acme-1'""",
        orjson.dumps([OLD_PREFIX]).decode(),
    )
    await live.catalogue.refresh()
    (judge,) = live.market.by_slug["acme-1"][1]
    assert judge.test({"state": "CA"})

    fields = [*VERTICAL["fields"], {"name": "zip5", "type": "zip", "stage": "ping"}]
    patched = await live.offices.admin("PATCH", "/v1/verticals/roofing", {"fields": fields})
    assert 200 == patched.status, patched.body
    assert 2 == await live.compiled()
    assert live.market.contract("acme-1") is not None

    again = await live.offices.admin("PATCH", "/v1/contracts/zenith-1", {"filters": [OLD_PREFIX]})
    assert (422, {("filters.0.not.value", "invalid")}) == (again.status, again.errors)


CIRCLE = {"field": "zip5", "op": "zip_within", "value": {"zip": "90210", "miles": 5}}


async def test_contracts_that_lack_the_places_come_back_when_they_are_there(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though nobody writes them again; a write meanwhile is 422 and says what to do."""
    pytest.importorskip("zipcodes")
    fields = [*VERTICAL["fields"], {"name": "zip5", "type": "zip", "stage": "ping"}]
    changed = VERTICAL | {"fields": fields}
    one = a_contract("acme-1", "acme", filters=[CIRCLE])
    await live.write(("vertical", changed), ("contract", one))
    monkeypatch.setattr(geo, "_HELD", geo._Held())
    with monkeypatch.context() as broken:
        broken.setattr(geo, "_PRINT", "raise SystemExit(1)")
        await live.catalogue.refresh()
    told = ["catalogue: contract acme-1 PlacesNotLoaded()"]
    assert told == live.broken
    assert live.market.contract("acme-1") is None
    assert not live.catalogue.is_behind
    assert 0 == await live.compiled()
    assert told == live.broken, "it is not tried each second"

    refused = await live.offices.admin("PATCH", "/v1/contracts/zenith-1", {"filters": [CIRCLE]})
    assert (422, {("filters.0.op", "not_supported")}) == (refused.status, refused.errors)

    version = (await read_look(live.offices.store.db)).version
    then = await _market_then(live.offices.store.db, "roofing", version, Kept())
    assert then is not None
    assert ["zenith-1"] == [contract.slug for contract, _ in then.contracts], (
        "a receipt can be read"
    )

    geo._HELD.again_s = 0
    reloaded = asyncio.Event()

    async def reload() -> None:
        await live.catalogue.refresh()
        reloaded.set()

    watch = Watch(live.offices.store.db, reload, is_behind=lambda: live.catalogue.is_behind)
    watch._seen = await live.offices.store.db.fetchval(_FINGERPRINT)
    await watch.look()
    assert reloaded.is_set()
    assert live.market.contract("acme-1") is not None
    assert not live.catalogue.is_behind
    live.broken.clear()


async def test_a_changed_vertical_is_judged_with_its_contracts_circles(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also by a process that has loaded nothing yet, as `exchange apply` is."""
    pytest.importorskip("zipcodes")
    fields = [*VERTICAL["fields"], {"name": "zip5", "type": "zip", "stage": "ping"}]
    changed = VERTICAL | {"fields": fields}
    await live.write(
        ("vertical", changed), ("contract", a_contract("acme-1", "acme", filters=[CIRCLE]))
    )
    monkeypatch.setattr(geo, "_HELD", geo._Held())

    await live.write(("vertical", changed | {"name": "Roofs"}))

    await live.catalogue.refresh()
    assert live.market.contract("acme-1") is not None


async def test_another_database_is_read_from_nothing(live: Live) -> None:
    """What it lacks is gone: after a failover a document may never have been."""
    await live.execute("DELETE FROM document WHERE slug = 'zenith-1'")
    live.catalogue.distrust()

    assert 1 == await live.compiled()
    assert ["acme-1"] == [contract.slug for contract, _ in live.market.contracts]


# --- slices ----------------------------------------------------------------------------------------


def test_a_slice_is_bounded_in_rows_and_in_bytes() -> None:
    """One document that is larger goes alone."""
    sizes = [10] * 150 + [40_000, 40_000, 500_000, 10]
    listed = [Listed(n, "contract", f"c{n}", 1, size, False) for n, size in enumerate(sizes)]
    parts = list(_slices(listed))

    assert [100, 51, 1, 1, 1] == list(map(len, parts))
    assert [one.id for one in listed] == [id_ for part in parts for id_ in part]


async def test_the_loop_has_its_turn_between_small_steps(offices: Offices) -> None:
    """A list of 5,000 values is read 200 at a time; with slices of no length others run in between."""
    live = Live(offices)
    await live.catalogue.refresh()
    fields = [*VERTICAL["fields"], {"name": "zip", "type": "zip", "stage": "ping"}]
    zips = [f"{n:05}" for n in range(5_000)]
    filters = [{"any": [{"not": {"field": "zip", "op": "in", "value": zips}}]}]
    await live.write(
        ("vertical", VERTICAL | {"fields": fields}),
        ("contract", a_contract("acme-1", "acme", filters=filters)),
    )
    live.catalogue.pace = Pace(slice_s=0)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    others = asyncio.create_task(count())
    await live.catalogue.refresh()
    others.cancel()

    assert turns >= 5_000 // 200
    (judge,) = live.market.by_slug["acme-1"][1]
    assert [False, True] == [judge.test({"zip": code}) for code in ("04999", "05000")]


async def test_pace_gives_way_when_a_slice_is_over_and_not_before() -> None:
    """By the clock it was given."""
    now_s = [0.0]
    pace = Pace(slice_s=1.0, now_s=lambda: now_s[0])
    others: list[float] = []
    await pace.breathe()
    for now_s[0] in (0.5, 0.9, 1.0, 1.5, 2.0):
        asyncio.get_running_loop().call_soon(others.append, now_s[0])
        await pace.breathe()

    assert [0.5, 0.9, 1.0, 1.5, 2.0] == others
    # Those of 0.5 and 0.9 had to wait until 1.0, the one of 1.5 until 2.0.
    now_s[0] = 2.5
    asyncio.get_running_loop().call_soon(others.append, 2.5)
    await pace.breathe()
    assert 2.5 not in others


# --- when ------------------------------------------------------------------------------------------


async def test_a_burst_is_one_reload(live: Live) -> None:
    """What is written while a reload runs is in force after the next one, however much it is."""
    begun, go_on, done = asyncio.Event(), asyncio.Event(), asyncio.Event()
    reloads = 0

    async def reload() -> None:
        nonlocal reloads
        reloads += 1
        begun.set()
        await go_on.wait()
        await live.catalogue.refresh()
        if reloads > 1:
            done.set()

    watch = Watch(live.offices.store.db, reload, live.catalogue.distrust)
    task = asyncio.create_task(watch.run(lambda _where, error: pytest.fail(str(error))))
    await begun.wait()
    for number in range(10):
        await live.write(("contract", a_contract(f"acme-{number}", "acme", priority=number)))
    version = (await read_look(live.offices.store.db)).version
    go_on.set()
    await done.wait()
    task.cancel()
    await asyncio.wait([task])
    await watch.close()

    assert 2 == reloads
    assert version == live.catalogue.snapshot.version
    assert 9 == live.market.by_slug["acme-9"][0].priority


async def test_a_lost_listener_looks_at_everything(live: Live) -> None:
    """A new connection may lead to another database than the one before."""
    distrusted, loaded = 0, asyncio.Event()

    def distrust() -> None:
        nonlocal distrusted
        distrusted += 1

    async def reload() -> None:
        loaded.set()

    watch = Watch(live.offices.store.db, reload, distrust)
    task = asyncio.create_task(watch.run(lambda _where, error: pytest.fail(str(error))))
    for times in (1, 2):
        await loaded.wait()
        loaded.clear()
        assert times == distrusted
        await live.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ILIKE 'LISTEN%'"
        )
        watch._told.set()
    task.cancel()
    await asyncio.wait([task])
    await watch.close()


# --- writing ---------------------------------------------------------------------------------------


async def test_who_writes_nothing_holds_up_no_award(live: Live) -> None:
    """A dry run, and documents that are there already, do not even ask for the awards' lock."""
    awards = await asyncpg.connect(live.offices.store.db.dsn)
    changed = ("contract", a_contract("acme-1", "acme", priority=77))
    same = ("buyer", a_buyer("zenith"))
    async with awards.transaction():
        await awards.execute("SELECT pg_advisory_xact_lock(7001, 0)")
        db, vault = live.offices.store.db, live.offices.vault
        (dry,) = await apply(db, vault, GUARD, [changed], by="test", dry_run=True)
        (kept,) = await apply(db, vault, GUARD, [same], by="test")
    await awards.close()

    assert ("changed", "unchanged") == (dry.verb, kept.verb)
    assert 0 == await live.compiled()


async def test_caps_that_stay_are_not_written_and_use_is_kept(live: Live) -> None:
    """Another limit keeps what is used; a new one begins with what was sold; one not listed goes."""
    await live.offices.sale()
    caps = [
        {"kind": "sales", "period": "day", "limit": 5},  # as it is
        {"kind": "spend", "period": "month", "limit": "70"},  # was 50
        {"kind": "sales", "period": "week", "limit": 9},  # new
    ]  # and no cap on open posts any more
    rows = """SELECT cap.kind, cap.period, cap.lim, b.lim, b.used, cap.xmin::text::bigint FROM cap
    JOIN contract c ON c.id = cap.owner JOIN bucket b ON b.cap_id = cap.id WHERE c.slug = 'acme-1' ORDER BY 1, 2"""
    before = {row[:2]: row[5] for row in map(tuple, await live.offices.store.db.fetch(rows))}
    await live.write(("contract", a_contract("acme-1", "acme", caps=caps)))
    after = list(map(tuple, await live.offices.store.db.fetch(rows)))

    assert [
        ("sales", "day", 5, 5, 1),
        ("sales", "week", 9, 9, 1),
        ("spend", "month", 70_000_000, 70_000_000, 10_000_000),
    ] == [row[:5] for row in after]
    assert before["sales", "day"] == after[0][5]


async def test_the_caps_of_a_new_contract_have_their_buckets(live: Live) -> None:
    """In the order listed: of several full limits an award names the oldest."""
    caps = [
        {"kind": "spend", "period": "month", "limit": "7"},
        {"kind": "concurrent", "limit": 3},
        {"kind": "sales", "period": "hour", "limit": 5},
    ]
    await live.write(("contract", a_contract("acme-2", "acme", caps=caps)))
    rows = await live.offices.store.db.fetch(
        """SELECT cap.kind, b.lim, b.used, b.money, b.transient, b.start = bucket_start(cap.period, cap.tz)
        FROM cap JOIN contract c ON c.id = cap.owner JOIN bucket b ON b.cap_id = cap.id
        WHERE c.slug = 'acme-2' ORDER BY cap.id"""
    )

    assert [
        ("spend", 7_000_000, 0, True, False, True),
        ("concurrent", 3, 0, False, True, True),
        ("sales", 5, 0, False, False, True),
    ] == [tuple(row) for row in rows]


async def test_of_two_documents_of_one_name_the_last_counts(live: Live) -> None:
    """In one file, or in two that are applied together."""
    await live.write(
        ("contract", a_contract("acme-1", "acme", priority=1)),
        ("contract", a_contract("acme-1", "acme", priority=2)),
    )
    await live.catalogue.refresh()

    assert 2 == live.market.by_slug["acme-1"][0].priority


# --- versions --------------------------------------------------------------------------------------


async def test_a_contracts_versions_can_be_looked_up(live: Live) -> None:
    """Newest first, the retired one last of all; a contract in force names the version it is of."""
    one = "/v1/contracts/acme-1"
    await live.offices.admin("PATCH", one, {"priority": 3})
    await live.catalogue.refresh()
    assert 204 == (await live.offices.admin("DELETE", one)).status
    page = (await live.offices.admin("GET", f"{one}/versions")).body
    mine = (await live.offices.acme("GET", f"{one}/versions")).body

    assert [None, 3, 10] == [
        row["contract"] and row["contract"]["priority"] for row in page["items"]
    ]
    assert live.market.by_slug["acme-1"][0].version == page["items"][1]["version"]
    assert "apply" == page["items"][-1]["changed_by"]
    assert all("changed_by" not in row for row in mine["items"])
    assert "adjustment" not in mine["items"][1]["contract"]
    assert "whsec_********" == mine["items"][1]["contract"]["endpoint"]["secret"]
    assert "not_found" == (await live.offices.zenith("GET", f"{one}/versions")).code
    small = (await live.offices.admin("GET", f"{one}/versions?limit=1")).body
    rest = (await live.offices.admin("GET", f"{one}/versions?cursor={small['next']}")).body
    assert page["items"] == small["items"] + rest["items"]


async def test_a_seller_that_cannot_be_read_holds_nobody_up(live: Live) -> None:
    """He stays as he was; a pause of everything goes through all the same."""
    before = live.catalogue.snapshot.sellers_by_slug["roofquotes"]
    await live.execute(
        """UPDATE document SET body = body - 'margin', version = nextval('catalogue_version')
        WHERE kind = 'seller' AND slug = 'roofquotes'"""
    )
    await live.execute("UPDATE house SET paused = true")
    await live.catalogue.refresh()
    found = live.catalogue.snapshot

    assert found.paused
    assert before == found.sellers_by_slug["roofquotes"]
    assert ["catalogue: seller roofquotes KeyError('margin')"] == live.broken
    live.broken.clear()
