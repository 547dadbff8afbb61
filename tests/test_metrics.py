"""What workers count, as one scrape tells it: sums, workers' names, bounds, and nobody who is gone."""

import itertools
import math
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, values
from prometheus_client.parser import text_string_to_metric_families

from buyers.reasons import BuyerReason
from buyers.wire import WireStats
from exchange.metrics import Metrics, series
from exchange.metrics.exposition import GONE_S, WorkerFiles
from exchange.metrics.office import BooksSeen, HouseSeen, OfficeMetrics
from exchange.metrics.workers import count_as
from exchange.observe import Vitals
from exchange.reasons import AuctionReason

SAMPLED = 16
HOUSE = HouseSeen(workers=2, disk=(5, 9), audit=None)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where workers count."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)
    return tmp_path


def worker(name: str) -> Metrics:
    """As it begins, or begins again."""
    count_as(name)
    return Metrics(CollectorRegistry())


def said(buyer: str, result: str = "bid", reason: str | None = None, ms: float | None = 5.0) -> Any:
    return buyer, 1, buyer, ms, result, reason, None


def receipt(*asked: Any, elapsed_ms: float = 20.0, window_ms: int = 500, **more: Any) -> Any:
    usual = {
        "test": False, "vertical": "auto", "seller": "form", "answer": {"outcome": "bid"},
        "elapsed_ms": elapsed_ms, "window_ms": window_ms, "asked": list(asked),
    }  # fmt: skip
    return usual | more


def vitals(**more: Any) -> Vitals:
    wire = WireStats(
        open=3, idle=2, dialling=1, in_flight=1, opened=7, resumed=1, reused=20, waited=5, waited_s=0.5,
    )  # fmt: skip
    usual: dict[str, Any] = {
        "wire": wire, "lag_s": 0.001, "tasks": 9, "catalogue": 4, "left_alone": {"ping": 1, "post": 0},
        "refused": 2, "seen": 10, "waiting": {"quotes": 3}, "quote_waits_s": 0.002,
        "connections": {"open": 2, "idle": 1, "max": 4}, "database_away": False, "cpu_s": 1.5,
        "resident_bytes": 1000,
    }  # fmt: skip
    return Vitals(**(usual | more))


def scraped(folder: Path, **known: list[str]) -> dict[str, float]:
    """Every sample by its line."""
    slugs = {label: frozenset(found) for label, found in known.items()}
    text = WorkerFiles(folder).render(slugs)
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    assert len(lines) == len({name for name, _, _ in lines}), "a sample comes twice"
    return {name: float(value) for name, _, value in lines}


def test_workers_are_summed_and_a_restarted_one_goes_on(folder: Path) -> None:
    """w0 counts 2, dies, counts 1 more; w1 counts 4: seven."""
    for name, pings in (("w0", 2), ("w1", 4), ("w0", 1)):
        metrics = worker(name)
        for _ in range(pings):
            metrics.pinged(receipt(said("ann"), said("bob", "bid", "outbid")))
        metrics.write()
    found = scraped(folder)

    assert 7 == found['exchange_pings_total{vertical="auto",outcome="bid",reason=""}']
    assert 7 == found['exchange_seller_pings_total{seller="form",outcome="bid"}']
    assert 7 == found['exchange_buyer_pings_total{buyer="ann",result="bid",reason=""}']
    assert 7 == found['exchange_buyer_pings_total{buyer="bob",result="bid",reason="outbid"}']


def test_histograms_are_cumulative_and_have_all_their_parts(folder: Path) -> None:
    """As Prometheus wants them: every bucket holds those below it, +Inf all, sum and count agree."""
    for name in ("w0", "w1"):
        metrics = worker(name)
        for ms in (0.4, 15.0, 99_000.0):
            metrics.pinged(receipt(said("ann", ms=0.1), elapsed_ms=ms, window_ms=100_000))
        metrics.write()
    text = WorkerFiles(folder).render({})
    family = next(
        one
        for one in text_string_to_metric_families(text)
        if one.name == "exchange_auction_seconds"
    )
    of = [one for one in family.samples if one.labels["end"] == "answered"]
    buckets = {float(one.labels["le"]): one.value for one in of if one.name.endswith("_bucket")}

    assert [*series.SECONDS, math.inf] == list(buckets)
    assert (2, 2, 4, 6) == (buckets[0.001], buckets[0.01], buckets[0.02], buckets[math.inf])
    assert {"_count": 6, "_sum": pytest.approx(2 * 99.0154)} == {
        one.name.removeprefix("exchange_auction_seconds"): one.value
        for one in of
        if not one.name.endswith("_bucket")
    }


def test_a_missed_buyer_is_no_success(folder: Path) -> None:
    """Auctions that somebody let run into a time-out are a histogram of their own, and his time is
    none of the answers'."""
    metrics = worker("w0")
    for _ in range(SAMPLED):
        metrics.pinged(
            receipt(
                said("ann", ms=7.0), said("eve", "missed", "timed_out", 500.2), elapsed_ms=500.9
            )
        )
    metrics.write()
    found = scraped(folder)

    assert 0 == found['exchange_auction_seconds_count{end="answered"}']
    assert SAMPLED == found['exchange_auction_seconds_count{end="missed"}']
    assert (1, pytest.approx(0.007)) == (
        found["exchange_answer_seconds_count"], found["exchange_answer_seconds_sum"],
    )  # fmt: skip
    assert SAMPLED == found["exchange_auction_overshoot_seconds_count"]
    assert pytest.approx(SAMPLED * 0.0009) == found["exchange_auction_overshoot_seconds_sum"]
    assert pytest.approx(SAMPLED * 0.0007) == found["exchange_auction_overhead_seconds_sum"]
    assert pytest.approx(SAMPLED * 0.5) == found["exchange_auction_budget_seconds_sum"]


@pytest.mark.parametrize("buyers", [0, 1, 3, 1000])
def test_receipts_wait_for_a_few_others_and_all_are_counted(folder: Path, buyers: int) -> None:
    """Few enough wait, also of auctions nobody was asked in, that to count them takes no time."""
    metrics = worker("w0")
    asked = [said(f"b{number}") for number in range(buyers)]
    waited = 0
    for _ in range(1001):
        metrics.pinged(receipt(*asked))
        waited = max(waited, len(metrics._told) * (1 + buyers))
    metrics.write()
    found = scraped(folder)

    assert waited <= 200
    assert 1001 == found['exchange_pings_total{vertical="auto",outcome="bid",reason=""}']
    assert 1001 == found['exchange_auction_seconds_count{end="answered"}']
    if buyers:
        assert 1001 == found['exchange_buyer_pings_total{buyer="b0",result="bid",reason=""}']


def test_tests_are_not_counted(folder: Path) -> None:
    """Neither their pings nor their leads."""
    metrics = worker("w0")
    metrics.pinged(receipt(said("ann"), test=True))
    metrics.closed({"test": True})
    metrics.write()

    assert [] == [name for name in scraped(folder) if "ann" in name or "auto" in name]


def test_what_is_one_per_worker_has_its_name(folder: Path) -> None:
    """And a worker that says nothing any more has no gauges; what it counted stays."""
    for name in ("w0", "w1"):
        worker(name).vitals(vitals())
    found = scraped(folder)
    seen_s = found['exchange_worker_seen_timestamp_seconds{worker="w1"}']
    files = WorkerFiles(folder)
    late = files.render({}, seen_s + GONE_S + 1)

    assert 3 == found['exchange_queue_items{queue="quotes",worker="w1"}']
    assert 0.2 == found['exchange_shed_share{worker="w0"}']
    assert 4 == found['exchange_door_pings_total{answer="refused"}']
    assert 4 == found['exchange_refusals_total{code="overloaded"}']
    assert 14 == found['exchange_wire_events_total{event="opened"}']
    assert 1 == found["exchange_wire_wait_seconds_total"]
    assert 'exchange_loop_lag_seconds{worker="w0"}' in files.render({}, seen_s)
    assert "exchange_loop_lag_seconds" not in late
    assert 'exchange_worker_seen_timestamp_seconds{worker="w1"}' in late
    assert 'exchange_worker_cpu_seconds_total{worker="w0"} 1.5' in late


def test_counts_that_only_grow_are_added_once(folder: Path) -> None:
    """A wire tells what it ever did; looked at twice, it did it once."""
    metrics = worker("w0")
    metrics.vitals(vitals())
    metrics.vitals(vitals(cpu_s=2.0))
    again = worker("w0")
    again.vitals(vitals())
    found = scraped(folder)

    assert 2 * 20 == found['exchange_wire_events_total{event="reused"}']  # of two lives
    assert 2.0 + 1.5 == found['exchange_worker_cpu_seconds_total{worker="w0"}']


def test_who_was_removed_takes_the_series_along(folder: Path) -> None:
    """Buyers, contracts and sellers that the catalogue no longer has; the others stay."""
    metrics = worker("w0")
    for buyer in ("ann", "bob"):
        metrics.pinged(receipt(said(buyer), seller=f"of-{buyer}"))
        metrics.posted(buyer, "accepted", None, 5.0)
        metrics.breaker(f"{buyer}-1", "ping", "open")
    metrics.write()
    found = scraped(folder, buyer=["bob"], contract=["bob-1"], seller=["of-bob"])

    assert not any("ann" in name for name in found)
    assert 4 == sum("bob" in name for name in found)


def test_a_name_is_escaped(folder: Path) -> None:
    """Whatever a code or a place is called, the text stays readable."""
    metrics = worker("w0")
    metrics.refused('a "b"\\\n')
    text = WorkerFiles(folder).render({})
    family = next(
        one for one in text_string_to_metric_families(text) if one.name == "exchange_refusals"
    )
    assert ['a "b"\\\n'] == [one.labels["code"] for one in family.samples]


def test_much_to_write_is_written_in_slices(folder: Path) -> None:
    """After a second of auctions with 1,000 buyers: no more than 500 series in one turn, ten of those
    that are new; none is lost, and what is pinged between two of them is in the next second."""
    metrics = worker("w0")
    everybody = receipt(*[said(f"buyer-{number}") for number in range(1200)])
    metrics.pinged(everybody)
    first = sum(1 for _ in metrics.slices())
    metrics.pinged(everybody)
    turns = 0
    for _ in metrics.slices():
        turns += 1
        metrics.pinged(receipt(said("buyer-0")))
    metrics.write()
    found = scraped(folder)

    assert (120, 2) == (first, turns)
    counted = {name: value for name, value in found.items() if "exchange_buyer_pings" in name}
    assert (1200, 2402) == (len(counted), sum(counted.values()))


def test_who_is_stopped_while_he_writes_loses_nothing(folder: Path) -> None:
    """A worker that ends between two slices writes the rest as it leaves."""
    metrics = worker("w0")
    metrics.pinged(receipt(*[said(f"buyer-{number}") for number in range(1200)]))
    writing = metrics.slices()
    next(writing)
    metrics.pinged(receipt(said("buyer-0"), said("buyer-1199")))
    writing.close()
    metrics.write()

    found = scraped(folder)
    assert 1202 == sum(value for name, value in found.items() if "exchange_buyer_pings" in name)


BUYERS, CONTRACTS, SELLERS, VERTICALS, WORKERS = 40, 60, 5, 3, 2


def everything(metrics: Metrics) -> None:
    """One of all that can be counted, with every reason there is."""
    buyers = [f"buyer-{number}" for number in range(BUYERS)]
    reasons = list(BuyerReason)
    for buyer in buyers:
        results = [said(buyer, "bid", lost) for lost in (None, "outbid", "below_floor")]
        results += [said(buyer, "missed", reason) for reason in reasons]
        metrics.pinged(receipt(*results))
        metrics.late(buyer, 5.0)
        metrics.posted(buyer, "accepted", None, 4.0)
        for outcome, reason in itertools.product(("rejected", "unconfirmed"), reasons):
            metrics.posted(buyer, outcome, reason, 5.0)
    for number in range(CONTRACTS):
        for call, to in itertools.product(("ping", "post"), ("open", "closed", "half_open")):
            metrics.breaker(f"contract-{number}", call, to)
        for reason in ("breaker_open", "throttled", "dry_run"):
            metrics.held_back(f"contract-{number}", reason, 1)
    for seller, vertical in itertools.product(range(SELLERS), range(VERTICALS)):
        for answer in (
            {"outcome": "bid"},
            *({"outcome": "no_bid", "reason": x} for x in AuctionReason),
        ):
            metrics.pinged(
                receipt(answer=answer, seller=f"seller-{seller}", vertical=f"vertical-{vertical}")
            )
    metrics.vitals(vitals())
    metrics.write()


def test_a_scrape_is_no_larger_than_the_readme_says(folder: Path) -> None:
    """With every reason for every buyer; and next to nothing of it is left when they are gone."""
    for number in range(WORKERS):
        everything(worker(f"w{number}"))
    slugs = {
        "buyer": frozenset(f"buyer-{number}" for number in range(BUYERS)),
        "contract": frozenset(f"contract-{number}" for number in range(CONTRACTS)),
        "seller": frozenset(["form", *(f"seller-{number}" for number in range(SELLERS))]),
    }
    office = OfficeMetrics(folder)
    text = office.scrape(BooksSeen(known=slugs), HOUSE, 0.0).decode()
    most = series.lines_most(
        {
            "exchange": 1, "worker": WORKERS, "buyer": BUYERS, "contract": CONTRACTS, "cap": 0,
            "seller": SELLERS + 1, "vertical": VERTICALS + 1, "currency": 1,
        }
    )  # fmt: skip
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    nobody = {label: frozenset[str]() for label in slugs}
    left = office.scrape(BooksSeen(known=nobody), HOUSE, 0.0).decode().splitlines()

    assert 0.7 * most < len(lines) <= most
    of_one = [line for line in lines if 'buyer="buyer-7"' in line]
    assert len(of_one) <= series.lines_per()["buyer"]
    assert [] == [line for line in left if re.search("buyer-|contract-|seller-", line)]


def test_promtool_finds_nothing_to_say(folder: Path) -> None:
    """Names, units, help, types."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    for number in range(WORKERS):
        everything(worker(f"w{number}"))
    text = OfficeMetrics(folder).scrape(BooksSeen(), HOUSE, 0.0)
    done = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, check=False
    )

    assert (0, b"", b"") == (done.returncode, done.stdout, done.stderr)


def test_every_series_is_counted_or_read_by_somebody(folder: Path) -> None:
    """What is declared is there: no name without a sample."""
    everything(metrics := worker("w0"))
    metrics.closed(
        {"test": False, "vertical": "auto", "seller": "form", "outcome": "sold", "reason": None,
         "tier": "auction", "elapsed_ms": 20.0}
    )  # fmt: skip
    metrics.sending(2.0, 9000.0)
    metrics.recovered("leads", 1)
    metrics.broke("recovery: x", ValueError())
    text = WorkerFiles(folder).render({})

    assert [] == [one.name for one in series.WORKERS.values() if f"# TYPE {one.shown} " not in text]
