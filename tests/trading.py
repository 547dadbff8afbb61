"""Pings of any hour with receipts as the exchange writes them, and whatever becomes of them, in real books."""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID, uuid4

import orjson

from exchange.ids import write_id
from exchange.store.rows import Closing, LeadState, NewLead, PingRow
from tests.offices import MICROS, Offices, a_contract

CONTRACTS = ("zenith-1", "zenith-2", "zenith-3")
REASONS = ("timed_out", "unreachable", "tls_failed", "garbled", "oversized", "pool_full")


class Trade:
    """Pings of any hour, with whatever becomes of them, in the real books."""

    def __init__(self, offices: Offices, seed: int = 1) -> None:
        self.offices = offices
        self.rng = Random(seed)
        self.open: list[UUID] = []  # attempts
        self.sold: list[str] = []  # leads, as they are written

    async def ping(self, at: datetime, *, test: bool = False) -> UUID:
        rng, id_ = self.rng, self.uuid(at)
        seller = (await self.offices.catalogue()).sellers_by_slug["roofquotes"].id
        asked = [self._asked(slug) for slug in CONTRACTS[:2]]
        bids = sorted(
            (one for one in asked if one["result"] == "bid"), key=lambda one: -one["price"]
        )
        offers = [
            {"contract": one["contract"], "price": one["price"], "fixed": False} for one in bids
        ]
        if rng.random() < 0.3:
            offers.append({"contract": CONTRACTS[2], "price": 3 * MICROS, "fixed": True})
        receipt = {
            "vertical": "roofing", "currency": "USD", "asked": asked, "offers": offers, "winning": min(1, len(offers)),
            "ranking": [{"contract": one["contract"]} for one in offers],
            "ping_id": write_id("ping", id_), "fields": {}, "rules": {}, "answer": {},
        }  # fmt: skip
        row = PingRow(
            id=id_, seller=seller, expires_at=at + timedelta(seconds=120), price_micros=MICROS if offers else None,
            external_id=None, test=test, receipt=orjson.dumps(receipt),
        )  # fmt: skip
        await self.offices.store.put_ping(row)
        return id_

    def _asked(self, slug: str) -> dict[str, Any]:
        one: dict[str, Any] = {"contract": slug, "ms": round(self.rng.uniform(1, 5000), 1)}
        match self.rng.choice(("bid", "bid", "no_bid", "invalid", "missed")):
            case "bid":
                return one | {"result": "bid", "price": self.rng.randrange(1, 50_000_000)}
            case "missed":
                return one | {"result": "missed", "reason": self.rng.choice(REASONS), "ms": None}
            case word:
                return one | {"result": word, "reason": "x"}

    async def lead(self, ping: UUID, outcome: str) -> None:
        """Posted: rejected by one, then `outcome` with another; `open`: it stays unconfirmed."""
        store, market = self.offices.store, self.offices
        seller = (await market.catalogue()).sellers_by_slug["roofquotes"].id
        lead = uuid4()
        person = market.vault.seal(str(lead), {})
        await store.open_lead(NewLead(
            id=lead, ping_id=ping, seller=seller, vertical="roofing", test=False, min_price_micros=0, external_id=None,
            owner=1, answer_in_ms=15_000, request=b"{}", person=person, phone_index=None, email_index=None,
        ), None)  # fmt: skip
        price = self.rng.randrange(1, 60)
        if self.rng.random() < 0.4:
            await market.settle(await market.attempt(lead, "zenith-2", price + 1), "rejected")
        attempt = await market.attempt(lead, "zenith-1", price)
        if outcome == "open":
            await market.settle(attempt, "unconfirmed")
            self.open.append(attempt)
            return
        await market.settle(attempt, outcome)
        state = LeadState.SOLD if outcome == "accepted" else LeadState.UNSOLD
        await store.close_lead(
            Closing(lead_id=lead, owner=1, state=state, reason=None, receipt=b"{}", answer=b"{}")
        )
        if outcome == "accepted":
            self.sold.append(write_id("lead", lead))

    async def some(self, hours: int = 5, each: int = 6) -> None:
        """A few pings in each of the last hours, three days ago, and now."""
        now = datetime.now(UTC)
        for number in range(hours * each):
            at = now - timedelta(
                hours=number % hours, minutes=self.rng.randrange(2, 50), days=3 * (number % 2)
            )
            ping = await self.ping(at, test=number % 7 == 0)
            if number % 7 and self.rng.random() < 0.7:
                await self.lead(
                    ping, self.rng.choice(("accepted", "accepted", "rejected", "not_sent", "open"))
                )

    async def hear_of_all(self) -> None:
        """A word on every post that was unconfirmed."""
        for attempt in self.open:
            await self.offices.settle(attempt, self.rng.choice(("accepted", "rejected")))

    async def give_back(self, lead: str, *, reverse: bool) -> None:
        body = {"lead_id": lead, "reason": "wrong_person"}
        asked = await self.offices.admin("POST", "/v1/returns", body)
        assert asked.status == 201, asked.body
        said = {"reverse_payout": reverse, "restore_cap": False}
        assert (
            await self.offices.admin("POST", f"/v1/returns/{asked.body['return_id']}/approve", said)
        ).status == 200

    def uuid(self, at: datetime) -> UUID:
        return UUID(
            int=int(at.timestamp() * 1000) << 80 | 7 << 76 | 2 << 62 | self.rng.getrandbits(62)
        )


async def begin_trade(offices: Offices, seed: int = 1) -> Trade:
    """With two more contracts of zenith, the first of which may give leads back."""
    for slug in CONTRACTS[1:]:
        await offices.admin("POST", "/v1/contracts", a_contract(slug, "zenith"))
    await offices.admin("PATCH", "/v1/contracts/zenith-1", {"returns": {"window_days": 30}})
    return Trade(offices, seed)
