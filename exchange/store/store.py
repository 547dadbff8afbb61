"""What the trade may ask of the books. Every method may raise StoreUnavailable."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from exchange.eligibility import Usage
from exchange.plan import Turns
from exchange.store.rows import (
    Adopted,
    AttemptRow,
    AwardOrder,
    Claim,
    ClaimKey,
    Closing,
    FoundPing,
    LateBid,
    LeadRow,
    NewLead,
    PingRow,
    Reversal,
    Settled,
    Settlement,
    Verdict,
)


class Store(Protocol):
    """Postgres, or its twin in memory."""

    def now(self) -> datetime:
        """The store's clock, as this process last heard it."""

    async def put_ping(self, ping: PingRow) -> None:
        """Commit a quote. May be lost with the machine within about 0.6 s, not with a process."""

    async def ping(self, ping_id: UUID) -> FoundPing | None: ...

    async def put_late_bids(self, bids: Sequence[LateBid]) -> None: ...

    async def open_lead(self, lead: NewLead, key: ClaimKey | None) -> UUID | None:
        """Store a lead and tie the key to it. Returns the lead that already has the ping, if any."""

    async def lead(self, lead_id: UUID) -> LeadRow | None: ...

    async def attempts(self, lead_id: UUID) -> list[AttemptRow]:
        """In the order they were made."""

    async def close_lead(self, closing: Closing) -> bytes | None:
        """End an open lead; returns the final answer, which is another's if he was first."""

    async def owe_callback(self, lead_id: UUID) -> None:
        """Commit that its seller has not been given the final answer of a lead, unless it is gone.
        Nothing where he has no callback_url."""

    async def abandon_lead(self, lead_id: UUID, owner: int) -> bool:
        """Stop a lead that has no attempt: its key and its ping are free again. False: it has one."""

    async def award(self, order: AwardOrder) -> Verdict: ...

    async def settle(self, settlement: Settlement) -> Settled: ...

    async def reversals(self, lead_id: UUID) -> list[Reversal]:
        """What returns took back from the lead's seller."""
        ...

    async def lease_rate(self, owner: int, rate: int, want: int, second: int) -> int:
        """Units granted of a second's `rate`, at most `want`; of this one or the next."""
        ...

    async def lease_pings(self, contract: int, want: int) -> tuple[int, float]:
        """Units of every cap on pings that binds a contract, and how many seconds they are good."""
        ...

    async def usage(self) -> Usage: ...

    async def turns(self, contracts: Sequence[int], period: str | None) -> Turns:
        """Last turns of these contracts, and with a period their sales in its current bucket."""

    async def claim(self, key: ClaimKey, body: bytes, owner: int) -> Claim: ...

    async def finish_claim(self, key: ClaimKey, status: int, answer: bytes) -> None: ...

    async def tie_claim(self, key: ClaimKey, lead_id: UUID) -> None:
        """A key used for a ping that was posted before: its answer is that lead's."""

    async def leads_by_external_id(self, seller: int, external_id: str) -> list[LeadRow]:
        """Newest first, at most 50."""

    async def free_claim(self, key: ClaimKey) -> None: ...

    async def beat(self, worker: int) -> None:
        """Say that this worker lives, and learn the store's clock."""

    async def adopt(self, worker: int) -> Adopted:
        """Take over what dead workers left."""

    async def due(self, worker: int, attempt: UUID | None = None) -> list[AttemptRow]:
        """Claim unconfirmed attempts whose next try is due (or the one named), fencing others."""

    async def stray_intents(self, worker: int, younger_than_s: float) -> list[AttemptRow]:
        """This worker's intents older than that: an award whose answer was lost."""

    async def idle_leads(self, worker: int, younger_than_s: float) -> list[UUID]:
        """This worker's open leads that nothing is under way for: every attempt has failed, or one
        was settled by somebody else or accepted; and those older than that which never had an attempt."""
