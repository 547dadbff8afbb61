"""Cuts a story down to what a seller or a buyer may see (contract §3): what is not told is not there."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from exchange.returns import ReturnStatus
from exchange.store.rows import ErasureRow
from exchange.story.telling import events_of, movements_of
from exchange.story.values import Fate, Movement, Story


def for_seller(story: Story) -> Story:
    """As its seller may see it: no buyers, no bids, no gross prices, no margins (contract §3)."""
    kept = {"elapsed_ms"}
    deliveries = tuple(
        replace(
            one, contract=None, buyer=None, tier=None, price_micros=None, version=None, bid_id=None,
            said={name: value for name, value in one.said.items() if name in kept},
        )
        for one in story.deliveries
    )  # fmt: skip
    lost = tuple(
        replace(one, contract="", buyer="", note="", decision_note=None, decided_by=None,
                requested_by="", price_micros=0)
        for one in story.returns
        if one.status is ReturnStatus.APPROVED and one.reverse_payout
    )  # fmt: skip
    seen = replace(
        story, catalogue=None, contenders=(), deliveries=deliveries, skipped=(), movements=(),
        returns=lost, erasure=_by_nobody(story.erasure),
    )  # fmt: skip
    return replace(seen, events=events_of(seen))


def for_buyer(story: Story, buyer: str, seller: str) -> Story | None:
    """As one of the buyers may see it: its own bid and post, and what it paid. `seller` is the opaque
    name it knows. None: it was neither asked nor posted to."""
    posts = [one for one in story.deliveries if one.buyer == buyer]
    own = tuple(replace(one, payout_micros=None, number=n) for n, one in enumerate(posts, 1))
    asked = tuple(
        replace(one, rank=None, rank_micros=None, net_micros=None,
                pay_micros=one.pay_micros if one.fate is Fate.WON else None)
        for one in story.contenders
        if one.buyer == buyer and one.fate is not Fate.SKIPPED
    )  # fmt: skip
    if not own and not asked:
        return None
    best = own[-1] if own else None
    attempts = {one.id for one in own}
    seen = replace(
        story, seller=seller, catalogue=None, floor_micros=None, external_id=None, answer=None,
        ping_answer={"outcome": "bid" if any(one.fate is Fate.WON for one in asked) else "no_bid"},
        asked=sum(one.is_asked for one in asked),
        answered=sum(one.is_asked and one.fate is not Fate.MISSED for one in asked),
        bids=sum(one.fate.has_bid for one in asked), contenders=asked, deliveries=own, skipped=(),
        lead_id=story.lead_id if own else None, state=best.state.value if best else None,
        reason=None, callback=None, min_price_micros=None, created_at=story.created_at if own else None,
        closed_at=None, erasure=_by_nobody(story.erasure) if own else None, movements=_paid(story.movements, buyer, attempts),
        returns=tuple(replace(one, payout_micros=0, requested_by="", decided_by=None)
                      for one in story.returns if one.attempt_id in attempts),
    )  # fmt: skip
    # What the seller was quoted is not its; and of the ping it knows if it was asked.
    hidden = {"quoted", "no bid"} | (set() if seen.asked else {"ping received"})
    return replace(seen, events=events_of(seen, hidden))


def _by_nobody(erasure: ErasureRow | None) -> ErasureRow | None:
    return erasure and replace(erasure, by="")


# What the seller got and what the house kept of it are one to the buyer who paid both.
_ONE_TO_BUYERS: Final = {"margin": "sale", "return_margin": "return"}


def _paid(rows: Iterable[Movement], buyer: str, attempts: set[UUID]) -> tuple[Movement, ...]:
    """Movements of a buyer's own accounts, against nobody in particular."""
    own = {f"{buyer} available", f"{buyer} held"}  # a seller may have the same slug
    merged: dict[tuple[UUID, str], dict[str, Any]] = {}
    for row in rows:
        if row.attempt not in attempts:
            continue
        kind = _ONE_TO_BUYERS.get(row.kind, row.kind)
        sides = {
            side: getattr(row, name) if getattr(row, name) in own else "exchange"
            for side, name in (("from", "debit"), ("to", "credit"))
        }
        one = merged.setdefault(
            (row.attempt, kind), {"kind": kind, "at": row.at, "amount": 0, "ref": row.attempt} | {
                f"{side}_{part}": word
                for side, name in sides.items()
                for part, word in zip(("owner", "kind"), _parts(name), strict=True)
            }
        )  # fmt: skip
        one["amount"] += row.amount_micros
    return movements_of(merged.values())


def _parts(account: str) -> tuple[str, str]:
    owner, _, kind = account.partition(" ")
    return owner, kind
