"""Keeps naive books of what everybody was told and holds them against the ledger and the buyers'.

It knows nothing of how the exchange works: only answers, inboxes and the journal.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import orjson

from buyers.money import parse_micros
from exchange.books import broken_invariants, overdue
from exchange.ids import read_id, write_id
from tests.simulation.world import World


def audit(world: World) -> list[str]:
    """Every contradiction found; empty when nothing was lost, sold twice or wrongly paid."""
    snapshot = world.store.snapshot()
    return [
        *world.bugs,
        *broken_invariants(snapshot),
        *overdue(snapshot),
        *_leads_end(snapshot),
        *_answers(world, snapshot),
        *_inboxes(world, snapshot),
        *_callbacks(world),
        *_privacy(world),
        *_persons(world),
    ]


def _leads_end(snapshot: Any) -> Iterator[str]:
    """I9: once faults stop every lead comes to its end, unless its post waits for a person."""
    waits = {one.lead_id for one in snapshot.attempts if one.state == "unconfirmed"}
    for lead in snapshot.leads:
        if lead.state == "open" and lead.id not in waits:
            yield f"I9 lead {lead.id} stays open"


def _answers(world: World, snapshot: Any) -> Iterator[str]:
    """I7: every answer has its row, says what the row says, and says it again when asked again."""
    accepted: dict[Any, list[Any]] = defaultdict(list)
    for one in snapshot.attempts:
        if one.state == "accepted":
            accepted[one.lead_id].append(one)
    for seller in world.sellers:
        for told in seller.told:
            if not told.answers:
                yield f"I7 {seller.name} was never answered: {told.path} {told.key}"
                continue
            final = [raw for status, raw in told.answers if status == 200]
            if len(set(final)) > 1:
                yield f"{told.key}: two answers to one key: {final}"
            if told.path == "/v1/leads" and final:
                yield from _final(orjson.loads(final[-1]), accepted)
            for status, _ in told.answers:
                if status not in {200, 202, 410}:
                    yield f"{told.path} {told.key} was answered {told.answers}"


def _final(answer: dict[str, Any], accepted: dict[Any, list[Any]]) -> Iterator[str]:
    """Each sale that was told is booked at its price; without `pending` there is no other."""
    found = read_id("lead", answer["lead_id"])
    assert found is not None
    booked = {f"sale_{one.id.hex}": one.payout for one in accepted.get(found[0], ())}
    if answer["outcome"] != "sold":
        if booked:
            yield f"I7 {answer['lead_id']} was acknowledged as {answer['outcome']} and is sold"
        return
    told = {one["sale_id"]: parse_micros(one["price"]) for one in answer["sales"]}
    if not told or not told.keys() <= booked.keys():
        yield f"I7 {answer['lead_id']} was acknowledged as sold and is not"
    elif told.items() - booked.items() or sum(told.values()) != parse_micros(answer["price"]):
        yield f"I10 {answer['lead_id']} was sold for {answer['price']}, booked {booked}"
    elif len(booked) - len(told) > answer.get("pending", 0):
        yield f"I7 {answer['lead_id']}: {len(told)} sales were told, {len(booked)} are booked"


def _inboxes(world: World, snapshot: Any) -> Iterator[str]:
    """I6 and I7 on the buyers' side: what they accepted is what the ledger booked, once each."""
    state = {write_id("att", one.id): one for one in snapshot.attempts}
    holders: dict[str, list[tuple[str, Any]]] = defaultdict(list)
    seen: set[str] = set()
    for name, book in world.market.books.items():
        for entry in book.accepted():
            holders[entry.lead_id].append((name, entry.body))
            seen.add(entry.webhook_id)
            attempt = state.get(entry.webhook_id)
            if attempt is None:
                yield f"I8 {name} has {entry.webhook_id}, which is not in the books"
            elif attempt.state not in {"accepted", "unconfirmed"}:
                yield f"I7 {name} accepted {entry.webhook_id}, booked as {attempt.state}"
            elif parse_micros(entry.price) != attempt.price:
                yield f"I10 {name} was asked {entry.price}, booked {attempt.price}"
        for entry in book.posts:
            if entry.bodies_differed:
                yield f"{name} was sent another body under {entry.webhook_id}"
    for lead_id, held in holders.items():
        names = sorted(name for name, _ in held)
        if len(set(names)) < len(names):
            yield f"I6 {lead_id} is twice in the books of one of {names}"
        if len(names) > 1 and any(body["exclusive"] for _, body in held):
            yield f"I6 {lead_id} was sold exclusively and is in the books of {names}"
        if len(names) > min(body["shares"] for _, body in held):
            yield f"I6 {lead_id} is in the books of {names}, more than they were told"
    for webhook_id, attempt in state.items():
        if attempt.state == "accepted" and webhook_id not in seen:
            yield f"I7 {webhook_id} was booked as accepted, its buyer does not have it"


def _callbacks(world: World) -> Iterator[str]:
    """Whoever was told that his lead, or a part of it, is pending is owed the rest."""
    for seller in world.sellers:
        for told in seller.told:
            for status, raw in told.answers:
                if told.path != "/v1/leads" or status not in {200, 202}:
                    continue
                answer = orjson.loads(raw)
                found = read_id("lead", answer["lead_id"])
                assert found is not None
                if (status == 202 or "pending" in answer) and found[0] not in world.store.owed:
                    yield f"{answer['lead_id']}: nobody is owed what becomes of it"


def _privacy(world: World) -> Iterator[str]:
    """No ping shows a post-stage field."""
    for name, book in world.market.books.items():
        for fields in book.pings_seen:
            if not fields.keys() <= {"state", "amount"}:
                yield f"{name} was pinged with {sorted(fields)}"


def _persons(world: World) -> Iterator[str]:
    """Who asked for it has no person twice."""
    for name in sorted(world.dedupes):
        emails = [one.body["fields"]["email"] for one in world.market.books[name].accepted()]
        if len(set(emails)) < len(emails):
            yield f"{name} bought a person twice"
