"""The half of the twin that knows pings, leads and idempotency keys."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from exchange.errors import ClaimLost
from exchange.sealing import Sealed
from exchange.store.memory_ledger import MemoryLedger
from exchange.store.memory_rows import MemoryClaim, MemoryLead
from exchange.store.rows import (
    Claim,
    ClaimKey,
    Closing,
    FoundPing,
    LateBid,
    LeadRow,
    LeadState,
    NewLead,
    PingRow,
)

_CLAIM_LIVES = timedelta(hours=24)
_LISTED_MAX = 50


class MemoryLeads(MemoryLedger):
    """Pings, leads and claims."""

    def __init__(self, wall_s: Callable[[], float]) -> None:
        super().__init__(wall_s)
        self._pings: dict[UUID, tuple[datetime, PingRow]] = {}
        self._late: dict[tuple[UUID, str], LateBid] = {}
        self._holders: dict[UUID, UUID] = {}  # ping: the lead that is not gone
        self._claims: dict[ClaimKey, MemoryClaim] = {}
        self.called_back: set[int] = set()  # sellers with a callback_url
        self.owed: dict[
            UUID, int | None
        ] = {}  # posts left open by what the seller knows; None: all

    # --- pings ------------------------------------------------------------------------------------

    async def put_ping(self, ping: PingRow) -> None:
        self._pings.setdefault(ping.id, (self.now(), ping))

    async def ping(self, ping_id: UUID) -> FoundPing | None:
        if ping_id not in self._pings:
            return None
        at, row = self._pings[ping_id]
        now = self.now()
        return FoundPing(
            row=row, at=at, age_s=(now - at).total_seconds(), expired=now >= row.expires_at,
            lead_id=self._holders.get(ping_id),
        )  # fmt: skip

    async def put_late_bids(self, bids: Sequence[LateBid]) -> None:
        for bid in bids:
            self._late.setdefault((bid.ping, bid.contract), bid)

    async def late_bids(self, ping_id: UUID) -> list[LateBid]:
        found = [bid for (ping, _), bid in self._late.items() if ping == ping_id]
        return sorted(found, key=lambda bid: bid.contract)

    # --- leads ------------------------------------------------------------------------------------

    async def open_lead(self, lead: NewLead, key: ClaimKey | None) -> UUID | None:
        if key is not None and not self._is_ours(key):
            raise ClaimLost
        holder = self._holders.get(lead.ping_id)
        if holder is None:
            now = self.now()
            left = timedelta(milliseconds=lead.answer_in_ms)
            self._leads[lead.id] = self._open_leads[lead.id] = MemoryLead(
                new=lead, owner=lead.owner, created_at=now, answer_by=now + left
            )
            self._holders[lead.ping_id] = lead.id
        if key is not None:
            await self.tie_claim(key, holder or lead.id)
        return holder

    async def tie_claim(self, key: ClaimKey, lead_id: UUID) -> None:
        claim = self._claims.get(key)
        if claim is not None and claim.run == key.run and claim.status is None:
            claim.lead_id = lead_id

    def _is_ours(self, key: ClaimKey) -> bool:
        """Whether this request still holds its key, with nothing answered under it."""
        claim = self._claims.get(key)
        return claim is not None and (claim.run, claim.status, claim.lead_id) == (
            key.run,
            None,
            None,
        )

    async def lead(self, lead_id: UUID) -> LeadRow | None:
        lead = self._leads.get(lead_id)
        return None if lead is None else self._lead_row(lead)

    async def leads_by_external_id(self, seller: int, external_id: str) -> list[LeadRow]:
        found = [
            lead
            for lead in self._leads.values()
            if (lead.new.seller, lead.new.external_id) == (seller, external_id)
            and lead.state is not LeadState.GONE
        ]
        found.sort(key=lambda lead: (lead.created_at, lead.new.id), reverse=True)
        return [self._lead_row(lead) for lead in found[:_LISTED_MAX]]

    async def close_lead(self, closing: Closing) -> bytes | None:
        lead = self._leads.get(closing.lead_id)
        if lead is None:
            return None
        live = any(attempt.is_live for attempt in self._by_lead[closing.lead_id])
        may = closing.state is LeadState.SOLD or (lead.owner == closing.owner and not live)
        if lead.state is LeadState.OPEN and may:
            lead.state, lead.reason = closing.state, closing.reason
            lead.receipt, lead.answer = closing.receipt, closing.answer
            lead.closed_at = self.now()
            del self._open_leads[closing.lead_id]
        if closing.owed:
            self.owed.setdefault(closing.lead_id, closing.owed)
        return lead.answer

    async def owe_callback(self, lead_id: UUID) -> None:
        lead = self._leads.get(lead_id)
        if lead and lead.state is not LeadState.GONE and lead.new.seller in self.called_back:
            self.owed[lead_id] = None

    async def abandon_lead(self, lead_id: UUID, owner: int) -> bool:
        lead = self._leads.get(lead_id)
        if lead is None or lead.owner != owner or lead.state is not LeadState.OPEN:
            return False
        if self._by_lead[lead_id]:
            return False
        self._let_go([lead])
        return True

    def _let_go(self, leads: Sequence[MemoryLead]) -> None:
        """Nothing of these has left: their keys and their pings are free again."""
        ids = {lead.new.id for lead in leads}
        for lead in leads:
            lead.state, lead.reason, lead.closed_at = LeadState.GONE, "seller_gone", self.now()
            del self._holders[lead.new.ping_id]
            del self._open_leads[lead.new.id]
        self._claims = {k: c for k, c in self._claims.items() if c.lead_id not in ids}

    def _lead_row(self, lead: MemoryLead) -> LeadRow:
        new = lead.new
        key = None if lead.state is LeadState.GONE else new.person.key
        return LeadRow(
            id=new.id, ping_id=new.ping_id, seller=new.seller, vertical=new.vertical, test=new.test,
            state=lead.state, reason=lead.reason, min_price_micros=new.min_price_micros,
            external_id=new.external_id, owner=lead.owner, created_at=lead.created_at,
            closed_at=lead.closed_at, seconds_left=(lead.answer_by - self.now()).total_seconds(),
            request=new.request, receipt=lead.receipt, answer=lead.answer,
            person=Sealed(key, new.person.body),
        )  # fmt: skip

    # --- idempotency keys -------------------------------------------------------------------------

    async def claim(self, key: ClaimKey, body: bytes, owner: int) -> Claim:
        now = self.now()
        held = self._claims.get(key)
        if held is None or held.created_at < now - _CLAIM_LIVES:
            self._claims[key] = MemoryClaim(body=body, owner=owner, created_at=now, run=key.run)
            return Claim(won=True)
        return Claim(
            won=False, same_body=held.body == body, status=held.status, answer=held.answer,
            lead_id=held.lead_id,
        )  # fmt: skip

    async def finish_claim(self, key: ClaimKey, status: int, answer: bytes) -> None:
        claim = self._claims.get(key)
        if claim is not None and claim.run == key.run and claim.status is None:
            claim.status, claim.answer = status, answer

    async def free_claim(self, key: ClaimKey) -> None:
        claim = self._claims.get(key)
        if claim is None or claim.run != key.run:
            return
        if claim.status is None and claim.lead_id is None:
            del self._claims[key]
