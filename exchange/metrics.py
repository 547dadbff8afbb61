"""Every Prometheus series of the exchange. No other module knows a metric's name.

Workers count into files under PROMETHEUS_MULTIPROC_DIR, each under its stable name (w0, w1, …), so
that a restarted worker goes on counting where it was; the office reads them all for one scrape.

What every ping counts is gathered in plain numbers and written once a second: finding a labelled
series and writing it costs two microseconds, a ping of ten buyers a dozen of them. A worker that is
killed takes its last second of these with it.
"""

from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector

from buyers.wire import WireStats

_SECONDS: Final = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0,
)  # fmt: skip
_FANOUT: Final = (0, 1, 2, 5, 10, 20, 50, 100, 200)


def count_as(process: str) -> None:
    """Name this process's files. Before any metric is declared."""
    values.ValueClass = values.MultiProcessValue(process_identifier=lambda: process)  # type: ignore[no-untyped-call]


_Mode = Literal["livesum", "livemax", "livemin"]


def _counter(to: CollectorRegistry, name: str, text: str, *labels: str) -> Counter:
    return Counter(name, text, labels, registry=to)


def _gauge(to: CollectorRegistry, name: str, text: str, mode: _Mode, *labels: str) -> Gauge:
    return Gauge(name, text, labels, multiprocess_mode=mode, registry=to)


class _Gathered(Histogram):
    """A histogram without labels whose observations are gathered and written together."""

    def __init__(
        self, name: str, text: str, buckets: tuple[float, ...], registry: CollectorRegistry
    ) -> None:
        super().__init__(name, text, buckets=buckets, registry=registry)
        self._gathered = [0] * len(self._upper_bounds)
        self._gathered_sum = 0.0

    def gather(self, amount: float) -> None:
        self._gathered[bisect_left(self._upper_bounds, amount)] += 1
        self._gathered_sum += amount

    def write(self) -> None:
        for place, count in enumerate(self._gathered):
            if count:
                self._buckets[place].inc(count)
        self._sum.inc(self._gathered_sum)
        self._gathered = [0] * len(self._upper_bounds)
        self._gathered_sum = 0.0


class Metrics:
    """The series, and the methods of exchange.observe.Observer that feed them."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        to = registry or CollectorRegistry()
        self._pings: Tally[tuple[str, str, str]] = Tally()  # by labels, not written yet
        self._results: Tally[tuple[str, str, str]] = Tally()
        self._declare_trade(to)
        self._declare_buyers(to)
        self._declare_house(to)

    def _declare_trade(self, to: CollectorRegistry) -> None:
        money = ("vertical", "currency")
        self.pings = _counter(
            to, "exchange_pings", "Auctions by outcome.", "vertical", "outcome", "reason"
        )
        self.auction = _Gathered(
            "exchange_auction_seconds", "From the first question to the ranking.", _SECONDS, to
        )
        self.asked = _Gathered(
            "exchange_auction_buyers", "Contracts asked per auction.", _FANOUT, to
        )
        self.leads = _counter(
            to, "exchange_leads", "Leads that ended.", "vertical", "outcome", "reason", "tier"
        )
        self.lead = Histogram(
            "exchange_lead_seconds",
            "From a lead's arrival to its end.",
            buckets=_SECONDS,
            registry=to,
        )
        self.revenue = _counter(
            to, "exchange_revenue_micros", "What buyers pay for sold leads.", *money
        )
        self.payout = _counter(
            to, "exchange_payout_micros", "What sellers get for sold leads.", *money
        )

    def _declare_buyers(self, to: CollectorRegistry) -> None:
        self.results = _counter(
            to, "exchange_buyer_pings", "Results of pings by buyer.", "buyer", "result", "reason"
        )
        self.late_bids = _counter(
            to, "exchange_buyer_late_bids", "Bids after the close: void.", "buyer"
        )
        self.posts = _counter(
            to, "exchange_buyer_posts", "Deliveries by buyer.", "buyer", "outcome", "reason"
        )
        self.breakers = _counter(
            to,
            "exchange_breaker_changes",
            "Breakers that opened or closed; a contract that never failed has no series.",
            "contract",
            "call",
            "to",
        )
        self.held_backs = _counter(
            to,
            "exchange_health_skips",
            "Contracts skipped for their endpoint's health; dry_run: that would have been.",
            "contract",
            "reason",
        )

    def _declare_house(self, to: CollectorRegistry) -> None:
        self.refusals = _counter(to, "exchange_refusals", "Requests stopped at the door.", "code")
        self.recovered_total = _counter(
            to, "exchange_recovered", "Left by dead workers and taken over.", "what"
        )
        self.faults = _counter(to, "exchange_faults", "Bugs caught by a last net.", "where")
        self.wire = _gauge(
            to, "exchange_wire_connections", "Connections to buyers.", "livesum", "state"
        )
        self.open_breakers = _gauge(
            to, "exchange_breakers_open", "Endpoints that are left alone now.", "livemax", "call"
        )
        self.tasks = _gauge(to, "exchange_tasks", "Tasks in the event loops.", "livesum")
        self.lag = _gauge(to, "exchange_loop_lag_seconds", "How late the event loop is.", "livemax")
        self.shed = _gauge(
            to,
            "exchange_shed_share",
            "The share of pings that the most loaded worker refuses, since more come than it can serve.",
            "livemax",
        )
        self.catalogue = _gauge(
            to,
            "exchange_catalogue_version",
            "The oldest catalogue in force in any worker.",
            "livemin",
        )

    def pinged(self, receipt: Mapping[str, Any]) -> None:
        if receipt["test"]:
            return
        answer = receipt["answer"]
        self._pings[receipt["vertical"], answer["outcome"], answer.get("reason", "")] += 1
        self.auction.gather(receipt["elapsed_ms"] / 1000)
        asked = receipt["asked"]
        self.asked.gather(len(asked))
        for one in asked:
            result = one["result"]
            self._results[one["buyer"], result, "" if result == "bid" else one["reason"]] += 1

    def write(self) -> None:
        """Bring what was gathered into the series; called once a second and at the end."""
        for gathered, counter in ((self._pings, self.pings), (self._results, self.results)):
            for labels, count in gathered.items():
                counter.labels(*labels).inc(count)
            gathered.clear()
        self.auction.write()
        self.asked.write()

    def closed(self, record: Mapping[str, Any]) -> None:
        if record["test"]:
            return
        labels = (
            record["vertical"],
            record["outcome"],
            record["reason"] or "",
            record["tier"] or "",
        )
        self.leads.labels(*labels).inc()
        self.lead.observe(record["elapsed_ms"] / 1000)
        if record["outcome"] == "sold":
            money = (record["vertical"], record["currency"])
            self.revenue.labels(*money).inc(record["price_micros"])
            self.payout.labels(*money).inc(record["payout_micros"])

    def posted(
        self, buyer: str, outcome: str, reason: str | None, elapsed_ms: float | None
    ) -> None:
        del elapsed_ms  # per-buyer series are counters only: a scrape of 1,000 buyers stays small
        self.posts.labels(buyer, outcome, reason or "").inc()

    def late(self, buyer: str, late_ms: float) -> None:
        del late_ms
        self.late_bids.labels(buyer).inc()

    def breaker(self, contract: str, call: str, to: str) -> None:
        self.breakers.labels(contract, call, to).inc()

    def held_back(self, contract: str, reason: str, count: int) -> None:
        self.held_backs.labels(contract, reason).inc(count)

    def refused(self, code: str) -> None:
        self.refusals.labels(code).inc()

    def recovered(self, what: str, count: int) -> None:
        self.recovered_total.labels(what).inc(count)

    def broke(self, where: str, error: BaseException) -> None:
        del error
        self.faults.labels(where.partition(":")[0]).inc()  # what follows is a slug

    def vitals(self, wire: WireStats, lag_s: float, tasks: int, catalogue: int) -> None:
        """Set the gauges and write what was gathered; called once a second."""
        self.write()
        self.wire.labels("open").set(wire.open)
        self.wire.labels("idle").set(wire.idle)
        self.wire.labels("in_flight").set(wire.in_flight)
        self.lag.set(lag_s)
        self.tasks.set(tasks)
        self.catalogue.set(catalogue)

    def health(self, left_alone: Mapping[str, int]) -> None:
        """Set the gauge of breakers; called once a second."""
        for call, count in left_alone.items():
            self.open_breakers.labels(call).set(count)

    def door(self, refused: int, seen: int) -> None:
        """How many pings the door refused, of how many; called once a second."""
        self.shed.set(refused / seen if seen else 0.0)
        if refused:
            self.refusals.labels("overloaded").inc(refused)


class OfficeMetrics:
    """What the office adds to a scrape, read from the books."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._registry = CollectorRegistry()
        to = self._registry
        self.open_attempts = Gauge(
            "exchange_open_attempts", "Posts without an outcome.", ("state",), registry=to
        )
        self.oldest = Gauge(
            "exchange_unconfirmed_oldest_seconds",
            "Age of the oldest unconfirmed post.",
            registry=to,
        )
        self.waits = Gauge(
            "exchange_unconfirmed_waiting", "Unconfirmed posts that wait for a person.", registry=to
        )
        self.held = Gauge(
            "exchange_held_micros", "Money held for open posts.", ("currency",), registry=to
        )
        self.workers = Gauge("exchange_workers_alive", "Workers whose heart beats.", registry=to)
        self.returns = Gauge(
            "exchange_returns",
            "Returns asked for in the last 30 days, as they stand.",
            ("buyer", "status"),
            registry=to,
        )

    def scrape(self) -> bytes:
        """Every worker's series and the office's own, in the text format."""
        workers = CollectorRegistry()
        MultiProcessCollector(workers, path=str(self._folder))  # type: ignore[no-untyped-call]
        return generate_latest(workers) + generate_latest(self._registry)


CONTENT_TYPE: Final = prometheus_client.CONTENT_TYPE_PLAIN_0_0_4
