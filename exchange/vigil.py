"""One worker's watch over its buyers' endpoints: who is left alone for now, and why.

The decisions are pure and elsewhere (buyers/health.py, buyers/throttle.py); here their states are
kept, one for the pings and one for the posts of each contract. Nothing here waits for anything: what
other workers know arrives by exchange/hearsay.py. Tests are neither judged nor counted.
"""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from buyers import health, throttle
from buyers.contract import Contract
from buyers.health import Breaker, Rules, Sign, Standing
from buyers.messages import Missed, PingResult, PostResult
from buyers.throttle import Pace, Throttle
from exchange.eligibility import Skipped
from exchange.observe import Observer
from exchange.reasons import SkipReason
from exchange.settings import HealthSettings, PingSettings

_SOUND, _UNKNOWN = Breaker(), Throttle()
_FAILURES: Final = 5  # remembered of each endpoint
_GATHERED_S: Final = 1.0  # successes are counted by themselves for so long, then judged together


class Call(StrEnum):
    PING = "ping"
    POST = "post"


@dataclass(slots=True)
class Watched:
    """One endpoint of one contract."""

    url: str | None  # None: only heard of so far
    breaker: Breaker = _SOUND
    throttle: Throttle = _UNKNOWN
    since: datetime | None = None  # when the breaker opened or closed; None: it never opened
    good: int = 0  # successes not judged yet
    good_s: float = 0.0  # when the first of them came
    touched_s: float = 0.0  # when anything last happened
    failures: deque[tuple[str, datetime]] = field(default_factory=lambda: deque(maxlen=_FAILURES))


class Vigil:
    """The states of every endpoint that this worker has called or heard of.

    `now_s` is the monotonic clock of all decisions, `wall` the store's: instants that others read.
    """

    def __init__(
        self,
        settings: HealthSettings,
        ping: PingSettings,
        observer: Observer,
        now_s: Callable[[], float],
        wall: Callable[[], datetime],
    ) -> None:
        self._breaks = settings.breaker == "on"
        self._throttles = settings.throttle
        self._observer = observer
        self._now_s = now_s
        self._wall = wall
        self._usual_ms = min(ping.max_wait_ms, ping.max_wait_limit_ms) - ping.tail_ms
        self.rules = {
            Call.PING: _rules(settings, settings.window_s, settings.results_min),
            Call.POST: _rules(settings, settings.post_window_s, settings.post_results_min),
        }
        self.pace = Pace(memory=settings.throttle_memory, results_min=settings.throttle_results_min)
        self.watched: dict[Call, dict[int, Watched]] = {Call.PING: {}, Call.POST: {}}
        self._troubled: set[int] = set()  # contracts to be looked at before each call
        self.held_back: Counter[tuple[str, str]] = Counter()  # skipped, by contract and reason

    @property
    def dry_run(self) -> bool:
        return self._throttles == "dry_run"

    def share(self, watched: Watched) -> float:
        """The share of this endpoint's pings that is, or in a dry run would be, skipped."""
        return 0.0 if self._throttles == "off" else throttle.share(watched.throttle, self.pace)

    def left_alone(self) -> dict[str, int]:
        """How many breakers are not closed, by call."""
        return {
            call.value: sum(one.breaker.standing is not Standing.CLOSED for one in places.values())
            for call, places in self.watched.items()
        }

    def hear_of(self, call: Call, contract: int) -> Watched:
        """An endpoint that others know of and this worker has not called yet."""
        heard = self.watched[call][contract] = Watched(url=None, touched_s=self._now_s())
        return heard

    def look_at(self, contract: int) -> None:
        """Put a contract on the short list of those in trouble, or take it off."""
        both = (places.get(contract) for places in self.watched.values())
        if any(one is not None and _is_troubled(one) for one in both):
            self._troubled.add(contract)
        else:
            self._troubled.discard(contract)

    # --- before a call ----------------------------------------------------------------------------

    def admit(
        self, contracts: Sequence[Contract], ping_id: str
    ) -> tuple[list[Contract], list[Skipped]]:
        """Who may take part in this auction, and who is left alone. Who is admitted with a half-open
        breaker is its probe; should it not be asked after all, the breaker makes up for it."""
        troubled = self._troubled
        concerned = [one for one in contracts if one.id in troubled] if troubled else []
        if not concerned:
            return list(contracts), []
        now_s = self._now_s()
        skipped = {}
        for contract in concerned:
            found = self._left_alone(contract, ping_id, now_s)
            if found is not None:
                skipped[contract.slug] = found
                self.held_back[contract.slug, found.reason.value] += 1
        if not skipped:
            return list(contracts), []
        return [c for c in contracts if c.slug not in skipped], list(skipped.values())

    def refuses_post(self, contract: Contract) -> bool:
        """Whether its post's breaker is shut; nothing is changed by asking."""
        watched = self.watched[Call.POST].get(contract.id)
        if watched is None or not self._breaks:
            return False
        if watched.url != contract.endpoint.post_url and watched.url is not None:
            return False
        return not health.admits(watched.breaker, self.rules[Call.POST], self._now_s())

    def begin_post(self, contract: Contract) -> None:
        """A post that was not refused is going to be tried."""
        watched = self._known(Call.POST, contract, contract.endpoint.post_url)
        if watched is not None and watched.breaker.standing is not Standing.CLOSED:
            now_s = self._now_s()
            watched.breaker = health.after_call(watched.breaker, self.rules[Call.POST], now_s)

    def _left_alone(self, contract: Contract, ping_id: str, now_s: float) -> Skipped | None:
        if self.refuses_post(contract):  # a bid that could not be delivered is worth nothing
            return Skipped(contract.slug, SkipReason.BREAKER_OPEN, Call.POST.value)
        if not contract.is_pinged:
            return None
        watched = self._known(Call.PING, contract, contract.endpoint.ping_url)
        if watched is None:
            return None
        breaker = watched.breaker
        if self._breaks and breaker.standing is not Standing.CLOSED:
            rules = self.rules[Call.PING]
            if not health.admits(breaker, rules, now_s):
                return Skipped(contract.slug, SkipReason.BREAKER_OPEN, Call.PING.value)
            watched.breaker = health.after_call(breaker, rules, now_s)
            return None  # a probe
        if watched.throttle.score <= throttle.STARTS_AT:
            return None
        share = self.share(watched)
        if share == 0.0 or throttle.draw(ping_id, contract.slug) >= share:
            return None
        if self.dry_run:
            self.held_back[contract.slug, "dry_run"] += 1
            return None
        return Skipped(contract.slug, SkipReason.THROTTLED)

    # --- after a call -----------------------------------------------------------------------------

    def pinged(
        self,
        told: Sequence[tuple[Contract, PingResult]],
        given_ms: float,
        tier_ms: float,
    ) -> None:
        """An auction's results. `given_ms` is what this auction's window was, `tier_ms` what the plan
        would have it be."""
        now_s, known = self._now_s(), self.watched[Call.PING]
        since_s = now_s - _GATHERED_S
        for contract, result in told:
            watched = known.get(contract.id)
            if (
                watched is not None
                and watched.good
                and watched.good_s > since_s
                and type(result) is not Missed
            ):
                watched.good += 1
                continue
            own_ms = contract.endpoint.ping_timeout_ms
            sign = health.judge_ping(
                result,
                given_ms=min(own_ms, given_ms),
                usual_ms=min(own_ms, tier_ms, self._usual_ms),
            )
            url = contract.endpoint.ping_url or ""
            reason = result.reason.value if isinstance(result, Missed) else ""
            self._note(Call.PING, contract, url, sign, reason, now_s)

    def posted(self, contract: Contract, result: PostResult) -> None:
        """A first delivery ended."""
        sign = health.judge_post(result)
        reason = result.reason.value if result.reason else ""
        self._note(Call.POST, contract, contract.endpoint.post_url, sign, reason, self._now_s())

    def _note(
        self, call: Call, contract: Contract, url: str, sign: Sign, reason: str, now_s: float
    ) -> None:
        if sign is Sign.NOTHING:
            return
        watched = self._known(call, contract, url) or self._begin(call, contract, url)
        watched.touched_s = now_s
        self.gather(call, watched)
        if sign is Sign.GOOD and watched.breaker.standing is Standing.CLOSED:
            watched.good, watched.good_s = 1, now_s
            return
        if sign is not Sign.GOOD:
            watched.failures.appendleft((reason, self._wall()))
        good, bad = (0, 1) if sign is Sign.BAD else (1, 0)
        self._decide(call, watched, contract.slug, good, bad, now_s)
        slow = 0 if sign is Sign.GOOD else 1
        watched.throttle = throttle.after_results(watched.throttle, self.pace, 1 - slow, slow)
        self.look_at(contract.id)

    def gather(self, call: Call, watched: Watched) -> None:
        """Judge the successes that came one by one. They are only left to gather while the breaker is
        closed, and successes do not open it: how it stands stays the same."""
        good, watched.good = watched.good, 0
        if good:
            rules, pace = self.rules[call], self.pace
            watched.breaker = health.after_results(watched.breaker, rules, good, 0, watched.good_s)
            watched.throttle = throttle.after_results(watched.throttle, pace, good, 0)

    def _decide(
        self, call: Call, watched: Watched, slug: str, good: int, bad: int, now_s: float
    ) -> None:
        before = watched.breaker
        after = health.after_results(before, self.rules[call], good, bad, now_s)
        watched.breaker = after
        if after.standing is not before.standing:
            watched.since = self._wall()
            self._observer.breaker(slug, call.value, after.standing.value)

    # --- the endpoints ----------------------------------------------------------------------------

    def _known(self, call: Call, contract: Contract, url: str | None) -> Watched | None:
        """The endpoint's state; one whose address was changed begins anew, and everybody is told."""
        watched = self.watched[call].get(contract.id)
        if watched is None or watched.url == url:
            return watched
        if watched.url is None:
            watched.url = url
            return watched
        ever_opened = watched.since is not None
        watched = self._begin(call, contract, url)
        watched.since = self._wall() if ever_opened else None
        self.look_at(contract.id)
        return watched

    def _begin(self, call: Call, contract: Contract, url: str | None) -> Watched:
        watched = self.watched[call][contract.id] = Watched(url=url)
        watched.breaker = Breaker(since_s=self._now_s())
        watched.touched_s = watched.breaker.since_s
        return watched


def _is_troubled(watched: Watched) -> bool:
    is_shut = watched.breaker.standing is not Standing.CLOSED
    return is_shut or watched.throttle.score > throttle.STARTS_AT


def _rules(settings: HealthSettings, window_s: float, results_min: int) -> Rules:
    return Rules(
        window_s=window_s,
        results_min=results_min,
        open_at=settings.open_percent / 100,
        spread_min=settings.spread_min,
        cool_s=settings.cool_s,
        cool_max_s=settings.cool_max_s,
        probes=settings.probes,
    )
