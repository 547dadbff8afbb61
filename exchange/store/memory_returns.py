"""The part of the twin that takes sold leads back: what exchange/store/returns.py does in Postgres."""

from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from buyers.contract import CapKind
from exchange.books import BookedReturn
from exchange.reasons import RefusedReason
from exchange.returns import BY_POLICY, ReturnPolicy, ReturnReason, ReturnStatus, refusal
from exchange.store.memory_ledger import MemoryLedger
from exchange.store.memory_rows import MemoryAttempt, MemoryBucket, bucket_start
from exchange.store.rows import (
    AttemptState,
    Decision,
    Requested,
    ReturnRow,
    ReturnWish,
    Reversal,
)


class MemoryReturns(MemoryLedger):
    """Returns. Nothing here awaits, so every call is one transaction."""

    async def request_return(self, wish: ReturnWish, policy: ReturnPolicy | None) -> Requested:
        attempt = self._attempts[wish.attempt_id]
        if attempt.returned is not None:
            return Requested(attempt.returned, fresh=False)
        refused = self._judge(attempt, wish.reason, policy)
        if refused is not None:
            return Requested(None, fresh=False, refused=refused)
        assert policy is not None, "without a policy everything is refused"
        order = attempt.order
        attempt.returned = ReturnRow(
            id=wish.id, attempt_id=order.id, lead_id=order.lead_id, contract=attempt.contract,
            buyer=attempt.buyer.slug, reason=wish.reason, note=wish.note, status=ReturnStatus.PENDING,
            price_micros=order.price_micros, payout_micros=order.payout_micros,
            currency=attempt.buyer.currency, reverse_payout=policy.reverse_payout,
            restore_cap=policy.restore_cap, requested_at=self.now(), requested_by=wish.by,
            decided_at=None, decided_by=None, decision_note=None,
        )  # fmt: skip
        if policy.automatic:
            decision = Decision(id=wish.id, approved=True, by=BY_POLICY, note="")
            return Requested(await self.decide_return(decision), fresh=True)
        return Requested(attempt.returned, fresh=True)

    def _judge(
        self, attempt: MemoryAttempt, reason: ReturnReason, policy: ReturnPolicy | None
    ) -> RefusedReason | None:
        assert attempt.settled_at is not None, "only a sale is given back"
        since = self.now() - timedelta(days=policy.window_days if policy else 0)
        sold = [
            one
            for one in self._by_contract[attempt.order.contract_id]
            if one.state is AttemptState.ACCEPTED
        ]
        returned = [one for one in sold if _came_back(one, since)]
        # Awarded long ago and confirmed late: what comes back of those counts as sold, too.
        late = [one for one in (*returned, attempt) if one.created_at <= since]
        return refusal(
            policy, reason,
            age_s=(self.now() - attempt.settled_at).total_seconds(),
            sold=sum(one.created_at > since for one in sold) + len(late),
            returned=len(returned),
        )  # fmt: skip

    async def decide_return(self, decision: Decision) -> ReturnRow | None:
        found = [
            attempt
            for attempt in self._attempts.values()
            if attempt.returned is not None and attempt.returned.id == decision.id
        ]
        if not found:
            return None
        (attempt,) = found
        row = attempt.returned
        assert row is not None, "just found by it"
        if row.status is ReturnStatus.PENDING:
            row = attempt.returned = _decided(row, decision, self)
            if decision.approved:
                self._give_back(attempt, row)
        return row

    async def reversals(self, lead_id: UUID) -> list[Reversal]:
        refs = {
            one.order.id: one.returned
            for one in self._by_lead.get(lead_id, ())
            if one.returned is not None
            and one.returned.status is ReturnStatus.APPROVED
            and one.returned.reverse_payout
        }
        found = []
        for transfer in self._transfers:
            row = refs.get(transfer.ref)
            if row is not None and transfer.kind == "return":
                assert row.decided_at is not None, "it was approved"
                found.append(Reversal(transfer.ref, row.decided_at, transfer.amount))
        return found

    def _booked_returns(self) -> tuple[BookedReturn, ...]:
        return tuple(
            BookedReturn(
                row.id, row.attempt_id, row.status.value, row.reverse_payout, attempt.given_back
            )
            for attempt in self._attempts.values()
            if (row := attempt.returned) is not None
        )

    def _give_back(self, attempt: MemoryAttempt, row: ReturnRow) -> None:
        """The units and the money of an approved return."""
        order, buyer = attempt.order, attempt.buyer
        back = [
            bucket
            for id_ in attempt.buckets
            if (bucket := self._buckets.get(id_)) is not None  # None: its cap was dropped
            and self._goes_back(bucket, row)
        ]
        for bucket in back:
            bucket.used -= bucket.units(order.price_micros)
            assert bucket.used >= 0, "a unit is given back once"
        attempt.given_back = tuple(bucket.id for bucket in back)
        seller, margin = order.payout_micros, order.price_micros - order.payout_micros
        if not row.reverse_payout:
            whole = order.price_micros
            self._transfer(order.id, "return", order.margin_account, buyer.available, whole)
            return
        if seller > 0:
            self._transfer(order.id, "return", order.seller_account, buyer.available, seller)
        if margin > 0:
            self._transfer(order.id, "return_margin", order.margin_account, buyer.available, margin)

    def _goes_back(self, bucket: MemoryBucket, row: ReturnRow) -> bool:
        cap = bucket.cap
        if cap.kind is CapKind.CREDIT:
            return True
        begun = bucket_start(cap.period, cap.tz, self.now())
        in_force = cap.buckets.get(begun) is bucket
        return row.restore_cap and cap.kind in {CapKind.SALES, CapKind.SPEND} and in_force


def _came_back(attempt: MemoryAttempt, since: datetime) -> bool:
    """Whether a return was asked for since then that nobody has denied."""
    row = attempt.returned
    return row is not None and row.status is not ReturnStatus.DENIED and row.requested_at > since


def _decided(row: ReturnRow, decision: Decision, store: MemoryLedger) -> ReturnRow:
    reverse, restore = row.reverse_payout, row.restore_cap
    if decision.approved:
        reverse = reverse if decision.reverse_payout is None else decision.reverse_payout
        restore = restore if decision.restore_cap is None else decision.restore_cap
    return replace(
        row,
        status=ReturnStatus.APPROVED if decision.approved else ReturnStatus.DENIED,
        reverse_payout=reverse,
        restore_cap=restore,
        decided_at=store.now(),
        decided_by=decision.by,
        decision_note=decision.note,
    )
