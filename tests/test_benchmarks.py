"""The benchmarks work, and their counts add up; how quick anything was is nobody's business here."""

from pathlib import Path

import orjson
import pytest

from benchmarks.catalogue import CatalogueSize, catalogue
from benchmarks.filters import filters
from benchmarks.load import Tally, percentile, poisson, work_hash
from benchmarks.report import append, machine, table
from benchmarks.scenarios import Findings, Size, pings, quote_deadline


def test_arrivals_follow_from_the_seed():
    """The same seed is the same work; another is another."""
    bodies = [b"a", b"b", b"c"]

    once, again = (poisson(bodies, rate_per_s=10, seed=7) for _ in range(2))

    assert once == again
    assert work_hash(once) != work_hash(poisson(bodies, rate_per_s=10, seed=8))
    assert sorted(one.at_s for one in once) == [one.at_s for one in once]


@pytest.mark.parametrize(("percent", "expected"), [(1, 1), (50, 2), (51, 3), (99, 4), (100, 4)])
def test_percentiles_are_by_nearest_rank(percent: float, expected: float):
    """A percentile is a value that was measured, never one between two."""
    assert expected == percentile([4, 1, 3, 2], percent)


def test_a_tally_that_lost_an_answer_does_not_add_up():
    """offered = answered + failed + dropped."""
    assert Tally(offered=3, answered=1, failed=1, dropped=1).adds_up
    assert not Tally(offered=3, answered=1, failed=1).adds_up


async def test_filters_runs_small(tmp_path: Path):
    """Every contract has a verdict, and the same seed has the same."""
    pytest.importorskip("zipcodes")
    found, again = [await filters(3, contracts=60, leads=5) for _ in range(2)]

    _check(found, tmp_path)
    assert found.work == again.work
    assert dict(found.rows)["eligible a lead"][0]


@pytest.mark.acceptance
async def test_quote_deadline_runs_small(tmp_path: Path):
    """Five buyers, one silent, a real exchange; a table and a line of results come out."""
    found = await quote_deadline(3, Size(pings=3, rate_per_s=5))

    _check(found, tmp_path)


@pytest.mark.acceptance
async def test_pings_runs_small(tmp_path: Path):
    """Ten buyers, the exchange and the peer asked the same."""
    found = await pings(3, Size(pings=10, rate_per_s=20, warm_up=2))

    _check(found, tmp_path)
    assert ("exchange", "bare aiohttp", "ratio") == found.columns


@pytest.mark.acceptance
async def test_catalogue_runs_small(tmp_path: Path):
    """Sixty contracts are loaded and changed in a worker's loop; nothing else is compiled again."""
    size = CatalogueSize(contracts=60, verticals=3, zips=500, changes=2, auctions_per_s=20)
    found = await catalogue(3, size)

    _check(found, tmp_path)
    assert {"load, s", "one contract, ms"} <= dict(found.rows).keys()


def _check(found: Findings, folder: Path) -> None:
    results = folder / "results.jsonl"
    for _ in range(2):
        append(found, 3, machine(), to=results)
    lines = [orjson.loads(line) for line in results.read_bytes().splitlines()]

    assert () == found.complaints
    assert found.work in table(found)
    assert [found.scenario] * 2 == [line["scenario"] for line in lines]
    assert {"date", "commit", "seed", "machine", "rows"} <= lines[0].keys()
