"""The benchmarks work, and their counts add up; how quick anything was is nobody's business here."""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio

from benchmarks import cost, rig, sides
from benchmarks.catalogue import CatalogueSize, catalogue
from benchmarks.console import ConsoleSize, console
from benchmarks.deadline import DeadlineSize, deadline
from benchmarks.fanout import FanoutSize, fanout
from benchmarks.filters import filters
from benchmarks.findings import Findings, Goal, fit, middle, slope
from benchmarks.history import Past
from benchmarks.load import Tally, percentile, poisson, work_hash
from benchmarks.market import Homes, Market, documents, ping_bodies, post_rests, quick
from benchmarks.memory import MemorySize, memory
from benchmarks.overload import OverloadSize, overload
from benchmarks.pings import PingsSize, pings
from benchmarks.quick_load import arrivals
from benchmarks.report import append, machine, summary, table
from benchmarks.rig import Rig, gun
from benchmarks.round import number_of, value_of
from benchmarks.sales import SalesSize, sales
from benchmarks.scenarios import Size, quote_deadline
from benchmarks.scrape import ScrapeSize, scrape
from benchmarks.sides import complaints
from benchmarks.tls import TlsSize, tls
from tests.places import roomy

OTHERS = 40  # contracts beside those that are asked
USUAL = Market(buyers=tuple(quick(10)), others=OTHERS)
# For tests that share an exchange, which lives in the loop that it was started in.
shared = pytest.mark.asyncio(loop_scope="module")


# --- figures -------------------------------------------------------------------------------------


def test_arrivals_follow_from_the_seed():
    """The same seed is the same work; another is another."""
    bodies = [b"a", b"b", b"c"]

    once, again = (poisson(bodies, rate_per_s=10, seed=7) for _ in range(2))

    assert once == again
    assert work_hash(once) != work_hash(poisson(bodies, rate_per_s=10, seed=8))
    assert sorted(one.at_s for one in once) == [one.at_s for one in once]


def test_phases_have_their_own_rates():
    """A calm, then a flood: each arrival is in its phase, about as many as its rate says."""
    found = arrivals([(10, 10), (1000, 2)], seed=3)

    assert sorted(found) == found
    assert 60 < sum(at < 10 for at in found) < 140
    assert 1800 < sum(10 <= at < 12 for at in found) < 2200
    assert max(found) < 12


@pytest.mark.parametrize(("percent", "expected"), [(1, 1), (50, 2), (51, 3), (99, 4), (100, 4)])
def test_percentiles_are_by_nearest_rank(percent: float, expected: float):
    """A percentile is a value that was measured, never one between two."""
    assert expected == percentile([4, 1, 3, 2], percent)


def test_a_tally_that_lost_an_answer_does_not_add_up():
    """offered = answered + failed + dropped."""
    assert Tally(offered=3, answered=1, failed=1, dropped=1).adds_up
    assert not Tally(offered=3, answered=1, failed=1).adds_up


def test_a_slope_is_by_least_squares():
    """3 a step from 2 up, and how straight it is."""
    line = [(x, 2 + 3 * x) for x in range(5)]

    assert (3, 2) == pytest.approx(slope(line))
    assert 1 == pytest.approx(fit(line))
    assert fit([(0, 0), (1, 5), (2, 0), (3, 5)]) < 0.5


def test_the_median_leaves_out_what_is_not_known():
    """None is no zero."""
    assert 2 == middle([None, 3, 1])
    assert middle([None]) is None


def test_answers_are_read_without_a_parser():
    """Strings and integers of a flat object; what is not there is empty, or -1."""
    answer = b'{"ping_id":"ping_1","outcome":"bid","elapsed_ms":12,"bids":5}'

    assert (b"ping_1", b"") == (value_of(answer, b"ping_id"), value_of(answer, b"code"))
    assert (12, 5, -1) == tuple(number_of(answer, name) for name in (b"elapsed_ms", b"bids", b"x"))


def test_the_cpu_of_the_dead_is_kept():
    """A child that has ended is still in its parent's account."""
    before = cost.family_cpu_s(os.getpid())
    spend = "import time\nwhile time.process_time() < 0.2: pass"
    subprocess.run([sys.executable, "-c", spend], check=True)

    assert cost.family_cpu_s(os.getpid()) - before >= 0.15


def test_the_cpu_of_the_living_is_exact():
    """The scheduler's own clock of another process: it only grows, finer than a tick."""
    child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        before = cost.cpu_s(child.pid)
        while cost.cpu_s(child.pid) < before + 0.05:
            os.sched_yield()
        used = [cost.cpu_s(child.pid) for _ in range(3)]
    finally:
        child.kill()
        child.wait()

    assert sorted(used) == used
    with pytest.raises(OSError, match=r"."):
        cost.cpu_s(child.pid)


def test_a_thousand_contracts_are_ten_that_suit_and_990_that_do_not():
    """Each of the others has a reason of its own; the leads follow from the seed."""
    pytest.importorskip("zipcodes")
    made = documents(Market(buyers=tuple(quick(10)), others=990), Homes("http://127.0.0.1:1"))

    assert 1000 == len(made["contracts"]) == len({one["slug"] for one in made["contracts"]})
    assert any(one.get("schedule") for one in made["contracts"])
    assert any(cap["limit"] == 0 for one in made["contracts"] for cap in one.get("caps", []))
    assert ping_bodies(5, 7) == ping_bodies(5, 7) != ping_bodies(5, 8)
    assert all("phone" in orjson.loads(b"{" + rest)["fields"] for rest in post_rests(5, 7))


# --- the load generator --------------------------------------------------------------------------


def _order(port: int, **more: object) -> dict[str, object]:
    head = "POST /v1/pings HTTP/1.1\r\nHost: x\r\n"
    return {"host": "127.0.0.1", "port": port, "head": head, "bodies": ["{}"], **more}


async def _serve(answers: list[bytes]) -> asyncio.Server:
    """Answers one request of a connection after the other; an empty one hangs up."""
    left = iter(answers)

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readuntil(b"{}")
                answer = next(left, answers[-1])
                if not answer:
                    break
                writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    return await asyncio.start_server(one, "127.0.0.1", 0)


def _http(status: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


async def test_the_closed_loop_counts_every_answer():
    """Bids, refusals and hang-ups: offered is answered + failed, and the outcomes name them."""
    bid = _http(b"200 OK", b'{"ping_id":"ping_1","outcome":"bid"}')
    refusal = _http(b"503 Service Unavailable", b'{"code":"overloaded"}')
    async with await _serve([bid, refusal, b"", bid]) as server, gun() as load:
        port = server.sockets[0].getsockname()[1]
        said = await load.fire(_order(port, kind="closed", connections=1, count=6))

    assert (6, 4, 2, 4) == (said["offered"], said["answered"], said["failed"], said["good"])
    assert {"bid": 4, "503 overloaded": 1, "no answer": 1} == said["outcomes"]
    assert 3 == said["twins"]  # four bids with one id


async def test_the_open_loop_waits_for_nobody():
    """As many connections as need be, up to the bound; what would need more was not sent."""
    silent = [_http(b"200 OK", b"")[:-2]]  # the head does not end: no answer, ever
    async with await _serve(silent) as server, gun() as load:
        port = server.sockets[0].getsockname()[1]
        phases = [(200, 0.3)]
        order = _order(port, kind="open", connections=5, phases=phases, seed=1, answer_s=0.2)
        said = await load.fire(order)

    assert 5 == said["opened"]
    assert said["offered"] == said["dropped"] + 5
    assert {"no answer": 5} == said["outcomes"]
    assert [] == complaints(said, "load")
    assert said["phases"][0]["offered"] == said["offered"]


# --- scenarios -----------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def in_short(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Data folders where there is room for them, and no wait for late calls of the other side."""
    tmp_path_factory.getbasetemp()  # pytest's own stay where they are
    monkeypatch.setattr(tempfile, "tempdir", str(roomy()))
    monkeypatch.setattr(sides, "_BETWEEN_S", 0.1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house() -> AsyncIterator[Rig]:
    """The exchange that several scenarios ask for."""
    async with rig.started(USUAL) as found:
        yield found


@pytest.fixture
def one_house(house: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is started once for all who want such a market."""
    start = rig.started

    @asynccontextmanager
    async def started(market: Market, **options: Any) -> AsyncIterator[Rig]:
        if market == USUAL:
            yield house
        else:
            async with start(market, **options) as own:
                yield own

    monkeypatch.setattr(rig, "started", started)


async def test_filters_runs_small(tmp_path: Path):
    """Both judges say the same, and the same seed has the same work."""
    pytest.importorskip("zipcodes")
    found, again = [await filters(3, contracts=60, leads=5) for _ in range(2)]

    _check(found, tmp_path)
    assert found.work == again.work
    assert dict(found.rows)["index, p50"][0]


@pytest.mark.acceptance
async def test_quote_deadline_runs_small(tmp_path: Path):
    """Five buyers, one silent, a real exchange; a table and a line of results come out."""
    found = await quote_deadline(3, Size(pings=3, rate_per_s=5))

    _check(found, tmp_path)


@pytest.mark.acceptance
@shared
@pytest.mark.usefixtures("one_house")
async def test_pings_runs_small(tmp_path: Path):
    """Ten buyers, the exchange and the peer asked the same."""
    size = PingsSize(
        pin=False, connections=(2,), manners=("now",), seconds=0.3, rounds=1, warm_up=4,
        others=OTHERS, bodies=20, idle_s=0.1,
    )  # fmt: skip
    found = await pings(3, size)

    _check(found, tmp_path)
    assert ("exchange", "bare aiohttp", "ratio") == found.columns
    assert 10 == found.facts["now: contracts asked"]


@pytest.mark.acceptance
async def test_fanout_runs_small(tmp_path: Path):
    """The age of the lead decides how many are asked."""
    size = FanoutSize(pin=False, asked=(1, 3), contracts=20, seconds=0.3, rounds=1, bodies=10)
    found = await fanout(3, size)

    _check(found, tmp_path)
    assert {"1 asked: CPU, ms", "3 asked: CPU, ms"} <= dict(found.rows).keys()


@pytest.mark.acceptance
async def test_deadline_runs_small(tmp_path: Path):
    """Five bad buyers beside five honest ones; the honest ones' bids are counted in the receipts."""
    size = DeadlineSize(
        pin=False, connections=2, seconds=1.2, rounds=1, breakers=("off",), others=OTHERS, bodies=10
    )
    found = await deadline(3, size)

    _check(found, tmp_path)
    assert all(value for value in dict(found.rows)["honest bids looked for"])


@pytest.mark.acceptance
async def test_sales_runs_small(tmp_path: Path):
    """A ping and its post, sold, with batching and without."""
    size = SalesSize(pin=False, connections=(2,), seconds=0.5, rounds=1, others=OTHERS, bodies=20)
    found = await sales(3, size)

    _check(found, tmp_path)
    assert all(found.rows[0][1])  # some were sold on both sides


@pytest.mark.acceptance
@shared
@pytest.mark.usefixtures("one_house")
async def test_memory_runs_small(tmp_path: Path):
    """A look after each few pings."""
    size = MemorySize(
        pin=False, pings=30, each=10, warm_up=0, connections=2, others=OTHERS, bodies=20
    )
    found = await memory(3, size)

    _check(found, tmp_path)
    assert 3 == len(found.facts["looks"])


@pytest.mark.acceptance
async def test_overload_runs_small(tmp_path: Path):
    """A calm, a flood, a calm: every arrival is counted in its phase."""
    size = OverloadSize(
        pin=False, calm_s=0.5, flood_s=1, after_s=0.5, capacity_s=0.5, connections=2,
        connections_max=50, others=OTHERS, bodies=20,
    )  # fmt: skip
    found = await overload(3, size)

    _check(found, tmp_path)
    assert ("calm", "flood", "after") == found.columns


@pytest.mark.acceptance
@shared
@pytest.mark.usefixtures("one_house")
async def test_tls_runs_small(tmp_path: Path):
    """Buyers behind a local authority are asked like any other."""
    size = TlsSize(pin=False, connections=2, seconds=0.3, rounds=1, others=OTHERS, bodies=20)
    found = await tls(3, size)

    _check(found, tmp_path)
    assert 4 == len(found.columns)
    assert all(dict(found.rows)["pings/s"])  # of those that were bid on


@pytest.mark.acceptance
async def test_scrape_runs_small(tmp_path: Path):
    """Eighty buyers who all have series, with a scrape now and then and without."""
    size = ScrapeSize(
        pin=False,
        buyers=80,
        seconds=0.6,
        rounds=1,
        warm_up=200,
        every_s=0.6,
        connections=2,
        bodies=100,
    )
    found = await scrape(3, size)

    _check(found, tmp_path)
    assert found.facts["scrapes"]
    assert dict(found.rows)["a scrape: lines"][0] > 160


@pytest.mark.acceptance
async def test_catalogue_runs_small(tmp_path: Path):
    """Sixty contracts are loaded and changed in a worker's loop; nothing else is compiled again."""
    size = CatalogueSize(contracts=60, verticals=3, zips=500, changes=2, auctions_per_s=20)
    found = await catalogue(3, size)

    _check(found, tmp_path)
    assert {"load, s", "one contract, ms"} <= dict(found.rows).keys()


@pytest.mark.acceptance
async def test_console_runs_small(tmp_path: Path):
    """A past of three days is made and served; every page of every role is there."""
    past = Past(leads=300, days=3, contracts=40, buyers=8, sellers=3, stories=120)
    size = ConsoleSize(past=past, rounds=2, viewers=1, live_s=0.5, live_rounds=1)
    found = await console(3, size)

    _check(found, tmp_path)
    assert () == found.notes
    assert found.facts["live_chunks"] > 0


def test_the_summary_says_what_was_met():
    """A goal with a figure only is neither met nor missed."""
    goals = [
        Goal(text="quick", target="≤ 1", figure="0.5", met=True),
        Goal(text="small", target="≤ 1", figure="2", met=False),
        Goal(text="told", target="stated", figure="1.2", met=None),
    ]
    quickly, small, told = summary(goals).splitlines()[1:]

    assert quickly.endswith(" met")
    assert small.endswith("NOT MET")
    assert told.rstrip().endswith("1.2")


def _check(found: Findings, folder: Path) -> None:
    results = folder / "results.jsonl"
    for _ in range(2):
        append(found, 3, machine(), to=results)
    lines = [orjson.loads(line) for line in results.read_bytes().splitlines()]

    assert () == found.complaints
    assert found.work in table(found)
    assert [found.scenario] * 2 == [line["scenario"] for line in lines]
    assert {"date", "commit", "seed", "machine", "rows"} <= lines[0].keys()
