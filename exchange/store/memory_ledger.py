"""The ledger half of the twin: what award_many, settle_many, set_cap and deposit do, one by one."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from buyers.contract import Cap, CapKind
from exchange.books import BookedTransfer
from exchange.caps import allowed
from exchange.eligibility import Usage
from exchange.plan import Turns
from exchange.reasons import SkipReason
from exchange.store.memory_rows import (
    FAILED,
    MemoryAttempt,
    MemoryBucket,
    MemoryBuyer,
    MemoryCap,
    MemoryContract,
    MemoryLead,
    bucket_start,
)
from exchange.store.rows import (
    AttemptRow,
    AttemptState,
    AwardOrder,
    LeadState,
    NewLead,
    Settled,
    Settlement,
    Verdict,
)

_VERDICTS = {
    CapKind.SALES: Verdict.CAP_SALES,
    CapKind.SPEND: Verdict.CAP_SPEND,
    CapKind.CONCURRENT: Verdict.CAP_CONCURRENT,
    CapKind.CREDIT: Verdict.CREDIT,
}


class MemoryLedger:
    """Attempts, caps and the journal. Nothing here awaits, so every call is one transaction."""

    def __init__(self, wall_s: Callable[[], float]) -> None:
        self._wall_s = wall_s
        self._house_paused = False
        self._buyers: dict[int, MemoryBuyer] = {}
        self._contracts: dict[int, MemoryContract] = {}
        self._dedupe_days: dict[str, int] = {}  # by vertical
        self._accounts: dict[tuple[str, int, str], int] = {}
        self._transfers: list[BookedTransfer] = []
        self._caps: dict[int, list[MemoryCap]] = defaultdict(list)  # by owner
        self._caps_made = 0
        self._buckets: dict[int, MemoryBucket] = {}
        self._buckets_made = 0
        self._leads: dict[UUID, MemoryLead] = {}
        self._attempts: dict[UUID, MemoryAttempt] = {}
        self._by_lead: dict[UUID, list[MemoryAttempt]] = defaultdict(list)
        self._by_contract: dict[int, list[MemoryAttempt]] = defaultdict(list)
        self._open_attempts: dict[UUID, MemoryAttempt] = {}
        self._open_leads: dict[UUID, MemoryLead] = {}

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._wall_s(), UTC)

    # --- what an operator and the catalogue write -------------------------------------------------

    def account(self, kind: str, owner: int, currency: str) -> int:
        """The id of an account, opened when it is missing. `owner` 0 is the house."""
        return self._accounts.setdefault((kind, owner, currency), len(self._accounts) + 1)

    def set_cap(self, owner: int, kind: CapKind, period: str, timezone: str, limit: int) -> None:
        """A new cap, or one whose zone changed, starts from what the period already sold."""
        cap = self._cap(owner, kind, period)
        if cap is not None and cap.tz == timezone:
            cap.lim = limit
            begun = bucket_start(period, timezone, self.now())
            for start, bucket in cap.buckets.items():
                bucket.lim = limit if start >= begun else bucket.lim
            return
        pinged = 0  # nobody remembers pings one by one: what the period had used goes on counting
        if cap is not None and kind is CapKind.PINGS:
            old = self._bucket(cap)
            pinged = old.used if old else 0
        self.drop_cap(owner, kind, period)
        self._caps_made += 1
        cap = MemoryCap(
            id=self._caps_made, owner=owner, kind=kind, period=period, tz=timezone, lim=limit
        )
        self._caps[owner].append(cap)
        fresh = self._open_bucket(cap)
        fresh.used += pinged
        for attempt in self._counted(cap):
            fresh.used += fresh.units(attempt.order.price_micros)
            attempt.buckets.append(fresh.id)

    def drop_cap(self, owner: int, kind: CapKind, period: str) -> None:
        cap = self._cap(owner, kind, period)
        if cap is not None:
            self._caps[owner].remove(cap)
            for bucket in cap.buckets.values():
                del self._buckets[bucket.id]

    def deposit(self, buyer_id: int, amount_micros: int, ref: UUID | None = None) -> None:
        """Money from outside; more room in the credit bucket of a prepaid buyer."""
        if amount_micros < 0:
            raise ValueError("a deposit is not negative")
        buyer = self._buyers[buyer_id]
        if amount_micros > 0:
            outside = self.account("external", 0, buyer.currency)
            ref = ref or UUID(int=len(self._transfers) + 1)
            self._transfer(ref, "deposit", outside, buyer.available, amount_micros)
        cap = self._cap(buyer_id, CapKind.CREDIT, "total")
        if buyer.prepaid and cap is not None:
            cap.lim += amount_micros
            for bucket in cap.buckets.values():
                bucket.lim += amount_micros

    def set_reserve(self, buyer_id: int, amount_micros: int) -> None:
        """What must be left of a prepaid buyer's credit after every award."""
        cap = self._cap(buyer_id, CapKind.CREDIT, "total")
        assert cap is not None, "only a prepaid buyer has a reserve"
        cap.reserve = amount_micros

    def dedupe_vertical(self, slug: str, days: int) -> None:
        """No second sale of a person in this vertical within so many days."""
        self._dedupe_days[slug] = days

    def _set_caps(self, owner: int, timezone: str, caps: Iterable[Cap]) -> None:
        for cap in caps:
            self.set_cap(owner, cap.kind, cap.period, timezone, cap.limit)
            found = self._cap(owner, cap.kind, cap.period)
            assert found is not None, "it was just set"
            found.paced = cap.paced

    # --- the trade --------------------------------------------------------------------------------

    async def award(self, order: AwardOrder) -> Verdict:
        contract = self._contracts.get(order.contract_id)
        buckets = self._open_buckets(contract)
        verdict = self._refusal(order, contract, buckets)
        if verdict is not None:
            return verdict
        assert contract is not None, "an unknown contract is refused as paused"
        if order.price_micros <= 0 or not 0 <= order.payout_micros <= order.price_micros:
            raise ValueError("a price is positive and a payout between nothing and the price")
        attempt = MemoryAttempt(
            order=order, buyer=contract.buyer, contract=contract.slug, owner=order.owner,
            created_at=self.now(), buckets=sorted(bucket.id for bucket in buckets),
        )  # fmt: skip
        self._attempts[order.id] = attempt
        self._open_attempts[order.id] = attempt
        self._by_lead[order.lead_id].append(attempt)
        self._by_contract[order.contract_id].append(attempt)
        for bucket in buckets:
            bucket.used += bucket.units(order.price_micros)
        buyer = contract.buyer
        self._transfer(order.id, "hold", buyer.available, buyer.held, order.price_micros)
        return Verdict.GRANTED

    def _refusal(
        self, order: AwardOrder, contract: MemoryContract | None, buckets: Sequence[MemoryBucket]
    ) -> Verdict | None:
        """In the order of award_many; of several full limits the oldest cap is named."""
        if order.id in self._attempts:
            return Verdict.REPEAT
        lead = self._leads.get(order.lead_id)
        if lead is None or lead.state is not LeadState.OPEN or lead.owner != order.owner:
            return Verdict.CLOSED
        if contract is None or contract.paused or contract.buyer.paused or self._house_paused:
            return Verdict.PAUSED
        live = [one for one in self._by_lead[order.lead_id] if one.is_live]
        if any(_stands_against(one, order, contract.buyer) for one in live):
            return Verdict.ALREADY_SOLD
        if self._is_sold_in_vertical(lead.new):
            return Verdict.DUPLICATE_IN_VERTICAL
        if self._is_duplicate(lead.new, contract):
            return Verdict.DUPLICATE
        full = (_fault(bucket, order) for bucket in buckets)
        return next((found for found in full if found is not None), None)

    def _is_sold_in_vertical(self, new: NewLead) -> bool:
        days = self._dedupe_days.get(new.vertical, 0)
        since = self.now() - timedelta(days=days)
        return any(
            attempt.is_live and attempt.created_at > since and _same_person(new, other.new)
            for other in (self._leads.values() if days else ())
            for attempt in self._by_lead[other.new.id]
            if other.new.id != new.id and other.new.vertical == new.vertical
        )

    def _is_duplicate(self, new: NewLead, contract: MemoryContract) -> bool:
        """Whether the buyer has, or may have, a lead of this person within the contract's days."""
        since = self.now() - timedelta(days=contract.dedupe_days)
        return any(
            attempt.is_live and attempt.created_at > since and _same_person(new, other.new)
            for other in (self._leads.values() if contract.dedupe_days else ())
            for attempt in self._by_lead[other.new.id]
            if other.new.id != new.id and attempt.buyer is contract.buyer
        )

    async def settle(self, settlement: Settlement) -> Settled:
        attempt = self._attempts.get(settlement.id)
        if attempt is None:
            return Settled.UNKNOWN
        outcome = settlement.outcome
        if not attempt.state.is_open:
            return Settled(attempt.state.value)
        if attempt.fence != settlement.fence:
            return Settled.FENCED
        if attempt.state is AttemptState.UNCONFIRMED and outcome is AttemptState.NOT_SENT:
            return Settled.UNCONFIRMED
        attempt.state = outcome
        attempt.detail = settlement.detail
        attempt.next_try_at = attempt.settled_at = None
        if outcome is not AttemptState.UNCONFIRMED:
            attempt.settled_at = self.now()
            self._end(attempt)
        elif settlement.next_try_s is not None:
            attempt.next_try_at = self.now() + timedelta(seconds=settlement.next_try_s)
        return Settled.OK

    def _end(self, attempt: MemoryAttempt) -> None:
        """Gives back what an ended attempt held and books where its money went."""
        order, buyer = attempt.order, attempt.buyer
        del self._open_attempts[order.id]
        failed = attempt.state in FAILED
        for id_ in attempt.buckets:
            bucket = self._buckets.get(id_)  # None: its cap was dropped
            if bucket is not None and (failed or bucket.transient):
                bucket.used -= bucket.units(order.price_micros)
                assert bucket.used >= 0, "a unit is given back once"
        if failed:
            self._transfer(order.id, "release", buyer.held, buyer.available, order.price_micros)
            return
        margin = order.price_micros - order.payout_micros
        if order.payout_micros > 0:
            self._transfer(order.id, "sale", buyer.held, order.seller_account, order.payout_micros)
        if margin > 0:
            self._transfer(order.id, "margin", buyer.held, order.margin_account, margin)

    async def attempts(self, lead_id: UUID) -> list[AttemptRow]:
        found = sorted(self._by_lead.get(lead_id, ()), key=lambda a: (a.created_at, a.order.id))
        return [self._attempt_row(attempt) for attempt in found]

    async def usage(self) -> Usage:
        full: dict[int, SkipReason] = {}
        paced: dict[int, tuple[tuple[int, int], ...]] = {}
        for contract in self._contracts.values():
            for cap in self._caps_of(contract):
                bucket = self._bucket(cap)
                room = bucket.lim - bucket.used if bucket else cap.lim
                if cap.kind not in {CapKind.SHARE, CapKind.PINGS} and room <= cap.reserve:
                    full.setdefault(contract.id, SkipReason[_VERDICTS[cap.kind].name])
                if cap.paced:
                    use = (bucket.used if bucket else 0, cap.lim)
                    paced[contract.id] = (*paced.get(contract.id, ()), use)
        return Usage(full, paced, {id_: self._contracts[id_].buyer.id for id_ in full})

    async def turns(self, contracts: Sequence[int], period: str | None) -> Turns:
        last, sold = {}, {}
        for id_ in contracts:
            live = (a for a in reversed(self._by_contract.get(id_, [])) if a.is_live)
            if (newest := next(live, None)) is not None:
                last[id_] = newest.created_at.timestamp()
            cap = self._cap(id_, CapKind.SHARE, period) if period else None
            if cap and (bucket := self._bucket(cap)) is not None:
                sold[id_] = bucket.used
        return Turns(last, sold)

    # --- inside -----------------------------------------------------------------------------------

    def _cap(self, owner: int, kind: CapKind, period: str) -> MemoryCap | None:
        found = [c for c in self._caps.get(owner, ()) if (c.kind, c.period) == (kind, period)]
        return found[0] if found else None

    def _caps_of(self, contract: MemoryContract) -> list[MemoryCap]:
        caps = [*self._caps.get(contract.id, ()), *self._caps.get(contract.buyer.id, ())]
        return sorted(caps, key=lambda cap: cap.id)

    def _open_buckets(self, contract: MemoryContract | None) -> list[MemoryBucket]:
        caps = self._caps_of(contract) if contract else ()
        return [self._open_bucket(cap) for cap in caps if cap.kind is not CapKind.PINGS]

    def _bucket(self, cap: MemoryCap) -> MemoryBucket | None:
        return cap.buckets.get(bucket_start(cap.period, cap.tz, self.now()))

    def _open_bucket(self, cap: MemoryCap) -> MemoryBucket:
        """The cap's current bucket, made when it is missing."""
        bucket = self._bucket(cap)
        if bucket is None:
            start = bucket_start(cap.period, cap.tz, self.now())
            self._buckets_made += 1
            bucket = cap.buckets[start] = MemoryBucket(self._buckets_made, cap, cap.lim)
            self._buckets[bucket.id] = bucket
        return bucket

    def _counted(self, cap: MemoryCap) -> list[MemoryAttempt]:
        """The attempts that a cap which begins now takes over."""
        begun = bucket_start(cap.period, cap.tz, self.now())
        return [
            attempt
            for attempt in self._attempts.values()
            if cap.kind is not CapKind.PINGS
            and cap.owner in {attempt.order.contract_id, attempt.buyer.id}
            and attempt.counts_for(cap.kind)
            and bucket_start(cap.period, cap.tz, attempt.created_at) == begun
        ]

    def _transfer(self, ref: UUID, kind: str, debit: int, credit: int, amount: int) -> None:
        self._transfers.append(BookedTransfer(ref, kind, debit, credit, amount))

    def _attempt_row(self, attempt: MemoryAttempt) -> AttemptRow:
        order = attempt.order
        return AttemptRow(
            id=order.id, lead_id=order.lead_id, contract_id=order.contract_id, buyer_id=attempt.buyer.id,
            contract=attempt.contract, tier=order.tier, state=attempt.state, price_micros=order.price_micros,
            payout_micros=order.payout_micros, bid_id=order.bid_id, slot=order.slot, shares=order.shares, fence=attempt.fence, tries=attempt.tries,
            detail=attempt.detail, created_at=attempt.created_at, settled_at=attempt.settled_at,
            age_s=(self.now() - attempt.created_at).total_seconds(),
        )  # fmt: skip


def _stands_against(live: MemoryAttempt, order: AwardOrder, buyer: MemoryBuyer) -> bool:
    """Whether a live attempt of the same lead forbids this one: its place or its buyer is taken, or it
    was sold under another promise."""
    taken = live.order.slot == order.slot or live.buyer is buyer
    mixed = live.order.shares != order.shares or (live.order.slot == 0) != (order.slot == 0)
    return taken or mixed


def _fault(bucket: MemoryBucket, order: AwardOrder) -> Verdict | None:
    """Why a bucket does not take this award; None when it does."""
    need, cap = bucket.units(order.price_micros), bucket.cap
    if bucket.lim - bucket.used - cap.reserve < need:
        return _VERDICTS[cap.kind]
    if not cap.paced or order.day_over is None:
        return None
    return Verdict.PACED if bucket.used + need > allowed(bucket.lim, order.day_over) else None


def _same_person(one: NewLead, other: NewLead) -> bool:
    """By phone or by e-mail; what is absent is nobody's."""
    phone = one.phone_index is not None and one.phone_index == other.phone_index
    return phone or (one.email_index is not None and one.email_index == other.email_index)
