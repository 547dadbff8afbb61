"""What a worker counts. The methods are those of exchange.observe.Observer, and its vitals.

Workers count into files under PROMETHEUS_MULTIPROC_DIR, each under its stable name (w0, w1, …), so
that a restarted worker goes on counting where it was; the office reads them all for one scrape.
"""

import collections
import time
from collections.abc import Iterator, Mapping
from operator import itemgetter
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values

from buyers.wire import WireStats
from exchange.metrics import series
from exchange.metrics.gathering import Spread
from exchange.metrics.series import Series
from exchange.observe import Vitals

_SAMPLED: Final = 16  # of so many auctions one is looked at for its buyers' times
_SLICE: Final = 500  # series written in one turn of the loop: half a millisecond
_NEW: Final = 50  # times as long takes one that was never there before
_TOLD: Final = 200  # buyers asked, whose receipts are counted together: a tenth of a millisecond
_Result = tuple[str, str, str | None]  # buyer, result, reason
# Of who was asked, as a receipt has it. These are mapped: nothing here is run for each buyer but C.
_RESULT: Final = itemgetter(2, 4, 5)
_MS: Final = itemgetter(3)
_WORD: Final = itemgetter(4)


def count_as(process: str) -> None:
    """Name this process's files. Before any metric is declared."""
    values.ValueClass = values.MultiProcessValue(process_identifier=lambda: process)  # type: ignore[no-untyped-call]


class Metrics:
    """A worker's series."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._to = registry or CollectorRegistry()
        self._seen_wire: dict[str, float] = {}
        self._cpu_s = 0.0
        self._auctions = 0
        self._declare_trade()
        self._declare_buyers()
        self._declare_house()

    def _counter(self, one: Series) -> Counter:
        return Counter(one.name, one.text, one.labels, registry=self._to)

    def _gauge(self, one: Series) -> Gauge:
        return Gauge(one.name, one.text, one.labels, multiprocess_mode="all", registry=self._to)

    def _histogram(self, one: Series) -> Histogram:
        return Histogram(one.name, one.text, one.labels, buckets=one.buckets, registry=self._to)

    def _spread(self, one: Series) -> Spread:
        made = Spread(self._histogram(one))
        self._gathered.append(made)
        return made

    def _spreads(self, one: Series, *names: str) -> dict[str, Spread]:
        histogram = self._histogram(one)
        made = {name: Spread(histogram, name) for name in names}
        self._gathered += made.values()
        return made

    def _declare_trade(self) -> None:
        self.pings, self.seller_pings = (
            self._counter(series.PINGS), self._counter(series.SELLER_PINGS),
        )  # fmt: skip
        self.leads, self.seller_leads = (
            self._counter(series.LEADS), self._counter(series.SELLER_LEADS),
        )  # fmt: skip
        self._gathered: list[Spread] = []
        auctions = self._spreads(series.AUCTION, "answered", "missed")
        self._answered, self._missed = auctions["answered"], auctions["missed"]
        self._overhead = self._spread(series.OVERHEAD)
        self._overshoot = self._spread(series.OVERSHOOT)
        self._budget = self._spread(series.BUDGET)
        self._fanned = self._spread(series.FANNED)
        self._answer = self._spread(series.ANSWER)
        self._lead = self._spreads(series.LEAD, "sold", "unsold")
        self._award = self._spread(series.AWARD)
        self._post_budget = self._spread(series.POST_BUDGET)
        outcomes = ("accepted", "rejected", "not_sent", "unconfirmed")
        self._post = self._spreads(series.POST, *outcomes)

    def _declare_buyers(self) -> None:
        self.results = self._counter(series.BUYER_PINGS)
        self._pinged: dict[tuple[str, str, str, str], int] = {}  # not written yet
        self._results: collections.Counter[_Result] = collections.Counter()
        self._told: list[Mapping[str, Any]] = []  # receipts not counted yet
        self._told_asked = 0  # in them, and they themselves
        self._children: dict[_Result, Counter] = {}
        self.late_bids = self._counter(series.LATE_BIDS)
        self.posts = self._counter(series.BUYER_POSTS)
        self.breakers = self._counter(series.BREAKER_CHANGES)
        self.held_backs = self._counter(series.HEALTH_SKIPS)

    def _declare_house(self) -> None:
        self.refusals = self._counter(series.REFUSALS)
        self.door_pings = self._counter(series.DOOR)
        self.recovered_total = self._counter(series.RECOVERED)
        self.faults = self._counter(series.FAULTS)
        self.wire_events = self._counter(series.WIRE_CALLS)
        self.wire_wait = self._counter(series.WIRE_WAIT)
        self.cpu = self._counter(series.CPU)
        self.wire = self._gauge(series.WIRE)
        self.open_breakers = self._gauge(series.BREAKERS_OPEN)
        self.queue = self._gauge(series.QUEUE)
        self.quote_wait = self._gauge(series.QUOTE_WAIT)
        self.pool = self._gauge(series.DB_POOL)
        self.away = self._gauge(series.DB_AWAY)
        self.tasks = self._gauge(series.TASKS)
        self.lag = self._gauge(series.LAG)
        self.shed = self._gauge(series.SHED)
        self.catalogue = self._gauge(series.CATALOGUE)
        self.seen_at = self._gauge(series.SEEN_AT)
        self.resident = self._gauge(series.RESIDENT)

    # --- facts ------------------------------------------------------------------------------------

    def pinged(self, receipt: Mapping[str, Any]) -> None:
        if receipt["test"]:
            return
        self._told.append(receipt)
        self._told_asked += 1 + len(receipt["asked"])
        if self._told_asked >= _TOLD:
            self._count()

    def _count(self) -> None:
        """Several at a time: what one ping after another finds cold, the second here finds warm."""
        told, self._told, self._told_asked = self._told, [], 0
        for receipt in told:
            self._count_one(receipt)

    def _count_one(self, receipt: Mapping[str, Any]) -> None:
        answer = receipt["answer"]
        pinged = self._pinged
        ping = receipt["vertical"], receipt["seller"], answer["outcome"], answer.get("reason", "")
        pinged[ping] = pinged.get(ping, 0) + 1
        asked = receipt["asked"]
        self._results.update(map(_RESULT, asked))
        missed = "missed" in map(_WORD, asked)
        elapsed_ms, window_ms = receipt["elapsed_ms"], receipt["window_ms"]
        (self._missed if missed else self._answered).add(elapsed_ms / 1000)
        self._fanned.add(len(asked))
        if asked:
            self._asked(asked, elapsed_ms, window_ms)

    def _asked(self, asked: Any, elapsed_ms: float, window_ms: float) -> None:
        slowest_ms = max(filter(None, map(_MS, asked)), default=0.0)
        self._budget.add(window_ms / 1000)
        self._overhead.add(max(0.0, elapsed_ms - slowest_ms) / 1000)
        if elapsed_ms >= window_ms:
            self._overshoot.add((elapsed_ms - window_ms) / 1000)
        self._auctions += 1
        if self._auctions % _SAMPLED == 0:
            for _, _, _, ms, result, _, _ in asked:
                if result != "missed" and ms is not None:
                    self._answer.add(ms / 1000)

    def write(self) -> None:
        """Bring what was gathered into the series."""
        for _ in self.slices():
            pass

    def slices(self) -> Iterator[None]:
        """The same, some of it at a time: after a second of auctions with a thousand buyers there is
        more of it than one turn of the loop should do."""
        self._count()
        pinged, self._pinged = self._pinged, {}
        results, self._results = self._results, collections.Counter()
        for (vertical, seller, outcome, reason), count in pinged.items():
            self.pings.labels(vertical, outcome, reason).inc(count)
            self.seller_pings.labels(seller, outcome).inc(count)
        for one in self._gathered:
            one.write()
        done = 0
        try:
            while results:
                labels, count = results.popitem()
                child = self._children.get(labels)
                if child is None:
                    buyer, result, reason_ = labels  # a bid that won has none
                    child = self.results.labels(buyer, result, reason_ or "")
                    self._children[labels] = child
                    done += _NEW
                child.inc(count)
                done += 1
                if done >= _SLICE:
                    done = 0
                    yield
        finally:  # who is stopped in between loses nothing: the rest is written the next time
            self._results.update(results)

    def closed(self, record: Mapping[str, Any]) -> None:
        if record["test"]:
            return
        outcome = record["outcome"]
        self.leads.labels(
            record["vertical"], outcome, record["reason"] or "", record["tier"] or ""
        ).inc()
        self.seller_leads.labels(record["seller"], outcome).inc()
        self._lead[outcome].add(record["elapsed_ms"] / 1000)

    def sending(self, award_ms: float, left_ms: float) -> None:
        self._award.add(award_ms / 1000)
        self._post_budget.add(max(0.0, left_ms) / 1000)

    def posted(
        self, buyer: str, outcome: str, reason: str | None, elapsed_ms: float | None
    ) -> None:
        self.posts.labels(buyer, outcome, reason or "").inc()
        if elapsed_ms is not None:
            self._post[outcome].add(elapsed_ms / 1000)

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

    # --- vitals -----------------------------------------------------------------------------------

    def vitals(self, now: Vitals) -> None:
        """Set the gauges; called once a second."""
        self._wire(now.wire)
        self.health(now.left_alone)
        self.door(now.refused, now.seen)
        self.lag.set(now.lag_s)
        self.tasks.set(now.tasks)
        self.catalogue.set(now.catalogue)
        for queue, count in now.waiting.items():
            self.queue.labels(queue).set(count)
        self.quote_wait.set(now.quote_waits_s)
        for state, count in now.connections.items():
            self.pool.labels(state).set(count)
        self.away.set(now.database_away)
        self.cpu.inc(max(0.0, now.cpu_s - self._cpu_s))
        self._cpu_s = now.cpu_s
        self.resident.set(now.resident_bytes)
        self.seen_at.set(time.time())

    def _wire(self, now: WireStats) -> None:
        for state in ("open", "idle", "dialling", "in_flight"):
            self.wire.labels(state).set(getattr(now, state))
        for event in ("opened", "resumed", "reused", "waited"):
            self.wire_events.labels(event).inc(self._grown(event, getattr(now, event)))
        self.wire_wait.inc(self._grown("waited_s", now.waited_s))

    def _grown(self, name: str, value: float) -> float:
        """By how much a number that only grows has grown since it was last looked at."""
        before, self._seen_wire[name] = self._seen_wire.get(name, 0.0), value
        return max(0.0, value - before)

    def health(self, left_alone: Mapping[str, int]) -> None:
        """How many breakers are not closed, by call."""
        for call, count in left_alone.items():
            self.open_breakers.labels(call).set(count)

    def door(self, refused: int, seen: int) -> None:
        """How many pings the door refused, of how many."""
        self.shed.set(refused / seen if seen else 0.0)
        self.door_pings.labels("refused").inc(refused)
        self.door_pings.labels("let_in").inc(seen - refused)
        if refused:
            self.refusals.labels("overloaded").inc(refused)
