"""Attempts, caps and the journal: two functions in the database, each fed by one lane."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from exchange.eligibility import Usage
from exchange.plan import Turns
from exchange.reasons import SkipReason
from exchange.store.database import CONTENDED, Database, Link
from exchange.store.lanes import Lanes
from exchange.store.rows import (
    AttemptRow,
    AttemptState,
    AwardOrder,
    Settled,
    Settlement,
    Verdict,
)

_AWARD = """SELECT award_many($1::uuid[], $2::uuid[], $3::int[], $4::smallint[], $5::smallint[], $6::bigint[],
  $7::bigint[], $8::int[], $9::int[], $10::text[], $11::text[], $12::float8[], $13)"""
_SETTLE = "SELECT settle_many($1::uuid[], $2::int[], $3::text[], $4::bytea[], $5::float8[])"

ATTEMPT_COLUMNS = """id, lead_id, contract_id, buyer_id, contract, tier, state, price, payout, bid_id, slot, shares, fence, tries, detail,
  created_at, settled_at, extract(epoch FROM now() - created_at)::float8"""
_ATTEMPTS = f"SELECT {ATTEMPT_COLUMNS} FROM attempt WHERE lead_id = $1 ORDER BY created_at, id"  # noqa: S608

# A limit of a buyer closes all of its contracts. No bucket yet: nothing used.
# What is full, then what is paced, in one statement: every worker asks four times a second.
_USAGE = """
SELECT cap.id AS cap, c.id, c.buyer_id, cap.kind, NULL::bigint AS used, NULL::bigint AS lim FROM cap
JOIN contract c ON cap.owner IN (c.id, c.buyer_id)
LEFT JOIN bucket b ON b.cap_id = cap.id AND b.start = bucket_start(cap.period, cap.tz)
WHERE cap.kind NOT IN ('share', 'pings') AND coalesce(b.lim - b.used, cap.lim) - cap.reserve <= 0
UNION ALL
SELECT cap.id, cap.owner, NULL, NULL, coalesce(b.used, 0), cap.lim FROM cap
LEFT JOIN bucket b ON b.cap_id = cap.id AND b.start = bucket_start(cap.period, cap.tz) WHERE cap.paced
ORDER BY 1 DESC"""  # of several full limits the oldest cap is named: the last one read
_TURNS = """
SELECT c, extract(epoch FROM (SELECT max(created_at) FROM attempt
  WHERE contract_id = c AND state NOT IN ('rejected', 'not_sent')))::float8 FROM unnest($1::int[]) c"""
_SHARES = """
SELECT cap.owner, b.used FROM cap JOIN bucket b ON b.cap_id = cap.id AND b.start = bucket_start(cap.period, cap.tz)
WHERE cap.kind = 'share' AND cap.owner = ANY ($1) AND cap.period = $2"""

_DUPLICATES = frozenset({Verdict.DUPLICATE, Verdict.DUPLICATE_IN_VERTICAL})
_REASONS = {
    "sales": SkipReason.CAP_SALES,
    "spend": SkipReason.CAP_SPEND,
    "concurrent": SkipReason.CAP_CONCURRENT,
    "credit": SkipReason.CREDIT,
}


def attempt_row(row: Iterable[Any]) -> AttemptRow:
    names = AttemptRow.__slots__
    values = dict(zip(names, row, strict=True))
    values["state"] = AttemptState(values["state"])
    return AttemptRow(**values)


class Ledger:
    """The only writer of attempts, buckets and transfers."""

    def __init__(self, db: Database, lanes: Lanes) -> None:
        # What is said of an attempt again must find what was said first.
        self._ledger_db = db
        self._awards = lanes.lane(
            "awards", self._award, durable=True, marks=_marks, contended=Verdict.BUSY
        )
        self._settlements = lanes.lane("settlements", self._settle, durable=True, marks=_marks)

    async def award(self, order: AwardOrder) -> Verdict:
        return await self._awards.submit(order)

    async def settle(self, settlement: Settlement) -> Settled:
        return await self._settlements.submit(settlement)

    async def attempts(self, lead_id: UUID) -> list[AttemptRow]:
        return [attempt_row(row) for row in await self._ledger_db.fetch(_ATTEMPTS, lead_id)]

    async def usage(self) -> Usage:
        full: dict[int, SkipReason] = {}
        paced: dict[int, tuple[tuple[int, int], ...]] = {}
        buyers: dict[int, int] = {}
        for _, owner, buyer, kind, used, limit in await self._ledger_db.fetch(_USAGE):
            if kind is None:
                paced[owner] = (*paced.get(owner, ()), (used, limit))
            else:
                full[owner], buyers[owner] = _REASONS[kind], buyer
        return Usage(full, paced, buyers)

    async def turns(self, contracts: Sequence[int], period: str | None) -> Turns:
        last = await self._ledger_db.fetch(_TURNS, list(contracts))
        shares = await self._ledger_db.fetch(_SHARES, list(contracts), period) if period else []
        return Turns({c: at for c, at in last if at is not None}, dict(map(tuple, shares)))

    async def _award(self, link: Link, batch: Sequence[AwardOrder]) -> Sequence[Verdict]:
        """One statement for all. Who is called a duplicate of another lead of the same batch, which may
        have been refused for its caps, is asked about again, alone."""
        verdicts = await self._award_once(link, batch)
        if len(batch) == 1 or not _DUPLICATES & set(verdicts):
            return verdicts
        return [
            (await self._award_again(link, order)) if verdict in _DUPLICATES else verdict
            for order, verdict in zip(batch, verdicts, strict=True)
        ]

    async def _award_again(self, link: Link, order: AwardOrder) -> Verdict:
        try:
            return (await self._award_once(link, [order]))[0]
        except CONTENDED:  # the others' verdicts stand: this one alone is asked for again
            return Verdict.BUSY

    async def _award_once(self, link: Link, batch: Sequence[AwardOrder]) -> Sequence[Verdict]:
        verdicts = await link.fetchval(
            _AWARD,
            [o.id for o in batch],
            [o.lead_id for o in batch],
            [o.contract_id for o in batch],
            [o.slot for o in batch],
            [o.shares for o in batch],
            [o.price_micros for o in batch],
            [o.payout_micros for o in batch],
            [o.seller_account for o in batch],
            [o.margin_account for o in batch],
            [o.tier for o in batch],
            [o.bid_id for o in batch],
            [o.day_over for o in batch],
            batch[0].owner,
        )
        return [Verdict(v) for v in verdicts]

    async def _settle(self, link: Link, batch: Sequence[Settlement]) -> Sequence[Settled]:
        answers = await link.fetchval(
            _SETTLE,
            [s.id for s in batch],
            [s.fence for s in batch],
            [s.outcome.value for s in batch],
            [s.detail for s in batch],
            [s.next_try_s for s in batch],
        )
        return [Settled(a) for a in answers]


def _marks(item: AwardOrder | Settlement) -> tuple[UUID]:
    return (item.id,)
