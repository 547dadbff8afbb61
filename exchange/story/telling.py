"""Puts a story together from the receipts and the books. Pure: whoever calls has read them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import orjson

from exchange.ids import write_id
from exchange.receipt import read
from exchange.sellers import PPM
from exchange.store.rows import (
    AttemptRow,
    AttemptState,
    CallbackRow,
    ErasureRow,
    FoundPing,
    LateBid,
    LeadRow,
)
from exchange.story.values import (
    Booked,
    Contender,
    Delivery,
    Event,
    Fate,
    Movement,
    Record,
    Story,
    heard_of,
)

_FATES: Final = list(Fate)


def tell(
    ping: FoundPing,
    record: Record,
    late: Sequence[LateBid],
    lead: LeadRow | None = None,
    attempts: Sequence[AttemptRow] = (),
    booked: Booked | None = None,
) -> Story:
    """`record` is the ping's receipt with everybody named who was skipped."""
    booked = booked or Booked()
    asked = record["asked"]
    story = Story(
        ping_id=record["ping_id"],
        vertical=record.get("vertical", ""),
        currency=record["currency"],
        test=ping.row.test,
        seller=record.get("seller"),
        catalogue=record.get("catalogue"),
        one_step=record.get("one_step", False),
        received_at=moment_of(ping.row.id),
        expires_at=ping.row.expires_at,
        window_ms=record.get("window_ms", 0),
        elapsed_ms=record.get("elapsed_ms", 0.0),
        floor_micros=record.get("floor"),
        sub_id=record.get("sub_id"),
        external_id=record.get("external_id"),
        fields=record["fields"],
        ping_answer=record["answer"],
        asked=len(asked),
        answered=sum(one["result"] != "missed" for one in asked),
        bids=sum(one["result"] == "bid" for one in asked),
        contenders=_contenders(record, late, booked),
    )
    if lead is not None:
        story = _with_lead(story, lead, attempts, booked)
    return replace(story, events=events_of(story))


def moment_of(id_: UUID) -> datetime:
    """When a UUIDv7 was made: its first 48 bits are Unix milliseconds."""
    return datetime.fromtimestamp((id_.int >> 80) / 1000, UTC)


def _contenders(record: Record, late: Sequence[LateBid], booked: Booked) -> tuple[Contender, ...]:
    offers = {one["contract"]: one for one in record["offers"]}
    places = {one["contract"]: (n, one) for n, one in enumerate(record.get("ranking", ()), 1)}
    lates = {one.contract: one for one in late}
    found = [_asked(one, booked) for one in record["asked"]]
    found += [_fixed(one) for one in record["offers"] if one.get("fixed")]
    found = [_ranked(one, offers, places, lates) for one in found]
    found += [_skipped(one) for one in record.get("skipped", ())]
    return tuple(sorted(found, key=_place))


def _place(one: Contender) -> tuple[int, int, float, str]:
    return (
        _FATES.index(one.fate),
        one.rank or 0,
        -(one.rank_micros or 0) if one.fate.has_bid else (one.ms or 0.0),
        one.contract if one.fate is not Fate.SKIPPED else f"{one.reason} {one.contract}",
    )


def _asked(one: Record, booked: Booked) -> Contender:
    reason = one.get("reason")
    said = one["result"]
    fate = Fate(said) if said != "bid" else Fate(reason) if reason else Fate.WON
    detail = one.get("note") or (f"HTTP {one['status']}" if one.get("status") else None)
    return Contender(
        contract=one["contract"],
        buyer=one.get("buyer"),
        version=one.get("version"),
        fate=fate,
        ms=one.get("ms"),
        limit_ms=booked.limits.get((one["contract"], one.get("version") or 0)),
        bid_micros=one.get("price"),
        reason=reason,
        detail=detail,
    )


def _fixed(one: Record) -> Contender:
    reason = one.get("reason")
    return Contender(
        contract=one["contract"],
        buyer=one.get("buyer"),
        fate=Fate(reason) if reason else Fate.WON,
        is_fixed=True,
        bid_micros=one["price"],
        reason=reason,
    )


def _ranked(
    one: Contender,
    offers: Mapping[str, Record],
    places: Mapping[str, tuple[int, Record]],
    lates: Mapping[str, LateBid],
) -> Contender:
    """With its place among the offers, and with a bid that came too late."""
    if one.contract in lates:
        late = lates[one.contract]
        one = replace(one, late_ms=late.late_ms, late_micros=late.price_micros)
    offer = offers.get(one.contract)
    if offer is None or one.bid_micros is None:
        return one
    one = replace(one, rank_micros=one.bid_micros * offer.get("adjustment", PPM) // PPM)
    if one.contract not in places:
        return one
    rank, placed = places[one.contract]
    return replace(one, rank=rank, pay_micros=placed["pay"], net_micros=placed["net"])


def _skipped(one: Record) -> Contender:
    return Contender(
        contract=one["contract"],
        fate=Fate.SKIPPED,
        reason=one["reason"],
        detail=one.get("detail"),
    )


def _with_lead(
    story: Story, lead: LeadRow, attempts: Sequence[AttemptRow], booked: Booked
) -> Story:
    closed = read(lead.receipt) if lead.receipt else {}
    buyers = {one.contract: one.buyer for one in story.contenders if one.buyer}
    skipped = [_skipped(one) for one in closed.get("skipped", ())]
    return replace(
        story,
        lead_id=write_id("lead", lead.id, test=lead.test),
        state=lead.state.value,
        reason=lead.reason,
        external_id=lead.external_id or story.external_id,
        min_price_micros=lead.min_price_micros,
        created_at=lead.created_at,
        closed_at=lead.closed_at,
        answer=orjson.loads(lead.answer) if lead.answer else None,
        deliveries=_deliveries(closed.get("attempts", ()), attempts, buyers, booked),
        skipped=tuple(replace(one, buyer=buyers.get(one.contract)) for one in skipped),
        movements=movements_of(booked.transfers),
        returns=tuple(booked.returns),
        erasure=booked.erasure,
        callback=booked.callback,
    )


def _deliveries(
    told: Iterable[Record], rows: Sequence[AttemptRow], buyers: Mapping[str, str], booked: Booked
) -> tuple[Delivery, ...]:
    """The rows know how it stands, the receipt which version was posted to; a test has no rows."""
    closed = {one["attempt_id"].removeprefix("att_"): one for one in told}
    found: list[Delivery] = []
    for row in rows:
        known = closed.pop(row.id.hex, {})
        found.append(
            Delivery(
                number=len(found) + 1, id=row.id, state=row.state, contract=row.contract,
                buyer=booked.buyers.get(row.id) or buyers.get(row.contract), tier=row.tier,
                price_micros=row.price_micros, payout_micros=row.payout_micros,
                version=known.get("version"), bid_id=row.bid_id, slot=row.slot, shares=row.shares,
                tries=row.tries, began_at=row.created_at, settled_at=row.settled_at,
                next_try_at=booked.next_tries.get(row.id),
                said=orjson.loads(row.detail) if row.detail else {},
            )
        )  # fmt: skip
    for id_, one in closed.items():
        found.append(_unbooked(len(found) + 1, UUID(hex=id_.removeprefix("test_")), one, buyers))
    return tuple(found)


_ATTEMPT_WORDS: Final = frozenset(
    {"attempt_id", "contract", "version", "tier", "state", "price", "payout"}
)


def _unbooked(number: int, id_: UUID, one: Record, buyers: Mapping[str, str]) -> Delivery:
    return Delivery(
        number=number,
        id=id_,
        state=AttemptState(one["state"]),
        contract=one["contract"],
        buyer=buyers.get(one["contract"]),
        tier=one["tier"],
        price_micros=one["price"],
        payout_micros=one["payout"],
        version=one.get("version"),
        said={name: value for name, value in one.items() if name not in _ATTEMPT_WORDS},
    )


def movements_of(rows: Iterable[Record]) -> tuple[Movement, ...]:
    """In the order they were booked, each with the running effect on both of its accounts."""
    effects: dict[str, int] = {}
    found = []
    for row in rows:
        debit, credit = (
            f"{row[f'{side}_owner'] or 'house'} {row[f'{side}_kind']}".strip()
            for side in ("from", "to")
        )
        effects[debit] = effects.get(debit, 0) - row["amount"]
        effects[credit] = effects.get(credit, 0) + row["amount"]
        found.append(
            Movement(
                kind=row["kind"], at=row["at"], amount_micros=row["amount"], debit=debit,
                credit=credit, debit_micros=effects[debit], credit_micros=effects[credit],
                attempt=row["ref"],
            )
        )  # fmt: skip
    return tuple(found)


def events_of(story: Story, hidden: Collection[str] = ()) -> tuple[Event, ...]:
    """What happened when, in order, but for what is hidden. Times of a ping are its worker's, those
    of a lead the server's."""
    asked = f"{story.asked} contract{'' if story.asked == 1 else 's'}"
    ended = story.received_at + timedelta(milliseconds=story.elapsed_ms)
    quoted = story.ping_answer.get("outcome") == "bid"
    found = [
        Event(at=story.received_at, name="ping received"),
        *([Event(at=story.received_at, name="asked", detail=asked)] if story.asked else []),
        Event(
            at=ended,
            name="quoted" if quoted else "no bid",
            detail=f"{story.answered} answered, {story.bids} bid" if story.asked else "",
        ),
    ]
    if story.created_at is not None:
        found.append(Event(at=story.created_at, name="lead received"))
    for one in story.deliveries:
        found += _delivery_events(one)
    if story.closed_at is not None:
        found.append(Event(at=story.closed_at, name=story.outcome, detail=story.reason or ""))
    for gone in story.returns:
        found.append(Event(at=gone.requested_at, name="return asked for", detail=gone.contract))
        if gone.decided_at is not None:
            found.append(
                Event(at=gone.decided_at, name=f"return {gone.status}", detail=gone.contract)
            )
    if story.erasure is not None:
        found += _erasure_events(story.erasure)
    if story.callback is not None:
        found += _callback_events(story.callback)
    told = [one for one in found if one.name not in hidden]
    ordered = sorted(told, key=lambda one: one.at)  # stable: as told above where times are equal
    before = [*ordered[:1], *ordered]
    return tuple(
        replace(one, gap_ms=(one.at - last.at) / timedelta(milliseconds=1))
        for last, one in zip(before, ordered, strict=False)
    )


def _callback_events(one: CallbackRow) -> list[Event]:
    owed = Event(at=one.created_at, name="callback owed")
    if one.last_at is None:
        return [owed]
    name = {"delivered": "callback delivered", "given_up": "callback given up"}.get(
        one.state, "callback failed" if one.last_reason else "callback delivered in part"
    )
    return [owed, Event(at=one.last_at, name=name, detail=heard_of(one))]


def _erasure_events(erasure: ErasureRow) -> list[Event]:
    done = erasure.done_at
    if done is None:
        return [Event(at=erasure.asked_at, name="erasure asked for", detail="it waits for a post")]
    return [Event(at=done, name="person erased", detail=erasure.why)]


def _delivery_events(one: Delivery) -> list[Event]:
    if one.began_at is None:
        return []
    who = one.contract or f"buyer {one.number}"
    found = [Event(at=one.began_at, name="awarded", detail=who)]
    if one.settled_at is not None:
        found.append(Event(at=one.settled_at, name=one.state.value, detail=who))
    return found
