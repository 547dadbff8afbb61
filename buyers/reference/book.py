"""A reference buyer's own book: what it was sent, and what it decided. No clock, no I/O.

It is the other half of the truth: whatever the exchange believes was accepted must stand here.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from buyers.reference.temper import (
    PingPlan,
    PostKind,
    PostPlan,
    Temper,
    Verdict,
    on_ping,
    on_post,
)

PINGS_SEEN_MAX = 1000


@dataclass(slots=True, kw_only=True)
class Entry:
    """One lead as this buyer has it. Only the verdict and the counts ever change."""

    webhook_id: str
    number: int  # 1, 2, 3 … in this book
    body: dict[str, Any]  # the first one received
    at: float  # seconds since the epoch, when first received
    verdict: Verdict | None = None
    note: str | None = None  # why it was rejected
    received_times: int = 1
    bodies_differed: int = 0  # re-sends that were not the same lead: the exchange broke its word

    @property
    def lead_id(self) -> Any:
        return self.body.get("lead_id")

    @property
    def price(self) -> Any:
        """As it was sent: a decimal string."""
        return self.body.get("price")

    def show(self) -> dict[str, Any]:
        """The entry as JSON."""
        return {
            "webhook_id": self.webhook_id,
            "lead_id": self.lead_id,
            "price": self.price,
            "fields": self.body.get("fields"),
            "body": self.body,
            "received_times": self.received_times,
            "bodies_differed": self.bodies_differed,
            "verdict": self.verdict,
            "note": self.note,
            "at": self.at,
        }


class Book:
    """Every post by webhook-id, and the last pings."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.posts: list[Entry] = []
        self.pings = 0
        self.pings_seen: deque[dict[str, Any]] = deque(maxlen=PINGS_SEEN_MAX)
        self._by_id: dict[str, list[Entry]] = {}
        self._received: dict[str, int] = {}

    def see_ping(self, ping: Mapping[str, Any]) -> None:
        self.pings += 1
        self.pings_seen.append(ping.get("fields") or {})

    def receive(self, webhook_id: str, post: dict[str, Any], *, at: float, dedupes: bool) -> Entry:
        """Write a post down: a repeat is the same entry if the buyer dedupes, else another lead."""
        self._received[webhook_id] = self.received(webhook_id) + 1
        known = self._by_id.setdefault(webhook_id, [])
        if known and dedupes:
            known[0].received_times += 1
            known[0].bodies_differed += known[0].body != post
            return known[0]
        entry = Entry(webhook_id=webhook_id, number=len(self.posts) + 1, body=post, at=at)
        known.append(entry)
        self.posts.append(entry)
        return entry

    def entry(self, webhook_id: str) -> Entry | None:
        """The first entry under this webhook-id."""
        return next(iter(self.entries(webhook_id)), None)

    def entries(self, webhook_id: str) -> list[Entry]:
        """More than one only where a buyer without dedupe took a repeat for another lead."""
        return self._by_id.get(webhook_id, [])

    def received(self, webhook_id: str) -> int:
        """How many times a post with this webhook-id came in."""
        return self._received.get(webhook_id, 0)

    def accepted(self) -> list[Entry]:
        return [entry for entry in self.posts if entry.verdict is Verdict.ACCEPTED]

    def status(self, webhook_id: str) -> str:
        """`accepted`, `rejected` or `unknown`, as status_url says it."""
        verdicts = {entry.verdict for entry in self.entries(webhook_id)}
        for verdict in Verdict:
            if verdict in verdicts:
                return verdict.value
        return "unknown"

    def counts(self) -> dict[str, int]:
        verdicts = [entry.verdict for entry in self.posts]
        return {
            "pings": self.pings,
            "posts": len(self.posts),
            "received": sum(self._received.values()),
            "accepted": verdicts.count(Verdict.ACCEPTED),
            "rejected": verdicts.count(Verdict.REJECTED),
            "undecided": verdicts.count(None),
        }

    def show(self) -> dict[str, Any]:
        """The inbox as JSON."""
        return {
            "accepted": _show(self.accepted()),
            "posts": _show(self.posts),
            "pings": self.pings,
            "pings_seen": list(self.pings_seen),
            "counts": self.counts(),
        }


def _show(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    return [entry.show() for entry in entries]


def take_ping(book: Book, temper: Temper, webhook_id: str, ping: Mapping[str, Any]) -> PingPlan:
    """Note a ping and decide on it: the same ping under the same seed is decided alike."""
    book.see_ping(ping)
    return on_ping(temper, _rng(temper, webhook_id, 0), ping)


def take_post(
    book: Book, temper: Temper, webhook_id: str, post: dict[str, Any], *, at: float
) -> tuple[Entry, PostPlan]:
    """Write a post down, decide on it and book the verdict, all before anything is answered.

    A decided repeat is answered from the book. An undecided one is drawn anew, by how often it
    came, so that a stall does not stall for ever.
    """
    entry = book.receive(webhook_id, post, at=at, dedupes=temper.dedupes)
    plan = on_post(temper, _rng(temper, webhook_id, book.received(webhook_id)), post)
    if entry.verdict is not None:
        return entry, _repeat(entry, temper, plan.delay_ms)
    entry.verdict = plan.verdict
    entry.note = plan.note if plan.kind is PostKind.REJECT else None
    return entry, plan


def _repeat(entry: Entry, temper: Temper, delay_ms: int) -> PostPlan:
    kind = PostKind.ACCEPT if entry.verdict is Verdict.ACCEPTED else PostKind.REJECT
    if temper.conflict_on_repeat:
        kind = PostKind.CONFLICT
    return PostPlan(delay_ms=delay_ms, kind=kind, verdict=entry.verdict, note=entry.note)


def _rng(temper: Temper, webhook_id: str, times: int) -> Random:
    # One generator per message: the order in which concurrent messages arrive changes nothing.
    return Random(f"{temper.seed}/{temper.name}/{webhook_id}/{times}")
