"""Seeded trading under faults, audited; and proof that the audit bites.

The planted bugs are the ones this trade is most likely to have. Each must be caught within a few
seeds; `make simulate SEEDS=10000` is the long form of the first test.
"""

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from buyers.messages import Rejected
from buyers.reasons import BuyerReason
from exchange import posting, resolving, sale
from exchange.ending import final_answer
from exchange.store.memory import MemoryStore
from exchange.store.rows import AttemptState, Claim, Verdict
from tests.simulation.run import simulate

SEEDS = 100
BATCH = 10
CAUGHT_WITHIN = 40  # seeds


@pytest.mark.parametrize("first", range(1, SEEDS + 1, BATCH))
def test_no_seed_breaks_the_books(first: int) -> None:
    """Whatever crashes, hangs up, stalls or lies: every book agrees with every other."""
    for seed in range(first, first + BATCH):
        result = simulate(seed, leads=12)

        assert result.faults == [], f"make simulate SEED={seed}"


def test_a_seed_replays_to_the_letter() -> None:
    """The same seed gives the same events at the same simulated microseconds."""
    assert simulate(11, leads=8).digest == simulate(11, leads=8).digest


def falls_through_on_timeout(patch: pytest.MonkeyPatch) -> None:
    honest = posting.outcome_of

    def outcome(result: Any) -> AttemptState:
        found = honest(result)
        return AttemptState.REJECTED if found is AttemptState.UNCONFIRMED else found

    patch.setattr(posting, "outcome_of", outcome)
    patch.setattr(sale, "outcome_of", outcome)


def takes_unknown_for_rejected(patch: pytest.MonkeyPatch) -> None:
    async def ask(*_: Any) -> Any:
        return Rejected(reason=BuyerReason.SAID_BY_STATUS)

    patch.setattr(resolving, "ask_status", ask)


def forgets_the_fence(patch: pytest.MonkeyPatch) -> None:
    honest = MemoryStore.settle

    async def settle(self: Any, settlement: Any) -> Any:
        known = self._attempts.get(settlement.id)
        if known is not None:
            known.fence = settlement.fence
            if known.state is AttemptState.ACCEPTED:
                known.state = AttemptState.UNCONFIRMED
        return await honest(self, settlement)

    patch.setattr(MemoryStore, "settle", settle)


def never_claims_a_key(patch: pytest.MonkeyPatch) -> None:
    async def claim(*_: Any) -> Claim:
        return Claim(won=True)

    patch.setattr(MemoryStore, "claim", claim)


def posts_before_the_intent(patch: pytest.MonkeyPatch) -> None:
    async def award(*_: Any) -> Verdict:
        return Verdict.GRANTED

    patch.setattr(sale, "_award", award)


def releases_twice(patch: pytest.MonkeyPatch) -> None:
    honest = MemoryStore._end

    def end(self: Any, attempt: Any) -> None:
        honest(self, attempt)
        if attempt.state is AttemptState.REJECTED:
            for bucket in self._buckets.values():
                bucket.used = max(0, bucket.used - 1)

    patch.setattr(MemoryStore, "_end", end)


def acknowledges_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    honest = sale.conclude

    async def conclude(house: Any, lead: Any, ending: Any) -> Any:
        if not (ending.sold or ending.pending or ending.gone):
            return orjson.dumps(final_answer(house, lead, ending))
        return await honest(house, lead, ending)

    patch.setattr(sale, "conclude", conclude)


def shows_the_person_in_the_ping(patch: pytest.MonkeyPatch) -> None:
    from exchange.lead import Asking

    patch.setattr(Asking, "ping_fields", property(lambda self: dict(self.fields)))


def sells_at_another_price(patch: pytest.MonkeyPatch) -> None:
    honest = posting._post

    def post(delivery: Any) -> Any:
        from dataclasses import replace

        return replace(honest(delivery), price_micros=delivery.price_micros + 1)

    patch.setattr(posting, "_post", post)


def tells_nobody_that_a_lead_is_shared(patch: pytest.MonkeyPatch) -> None:
    honest = posting._post

    def post(delivery: Any) -> Any:
        from dataclasses import replace

        return replace(honest(delivery), exclusive=True)

    patch.setattr(posting, "_post", post)


def asks_dead_workers_to_finish(patch: pytest.MonkeyPatch) -> None:
    async def adopt(*_: Any) -> Any:
        from exchange.store.rows import Adopted

        return Adopted()

    patch.setattr(MemoryStore, "adopt", adopt)


PLANTED = [
    falls_through_on_timeout, takes_unknown_for_rejected, forgets_the_fence, never_claims_a_key,
    posts_before_the_intent, releases_twice, acknowledges_before_the_commit,
    shows_the_person_in_the_ping, sells_at_another_price, tells_nobody_that_a_lead_is_shared, asks_dead_workers_to_finish,
]  # fmt: skip


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_bug_is_caught(
    plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An auditor that finds nothing proves nothing until it has found these."""
    plant(monkeypatch)

    caught = next(
        (seed for seed in range(1, CAUGHT_WITHIN + 1) if simulate(seed, leads=12).faults), None
    )

    assert caught is not None
