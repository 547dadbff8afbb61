"""Sells one lead to several buyers: all members of a set are posted to at once.

A member that refuses, or that may not be tried, is replaced from the shelf while time is left; never
by more than were promised: whoever has the lead was told how many share it. When the seller's time is
almost over one sale is enough for his answer; the posts still under way come to their own ends.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass

from exchange.candidates import Shelf
from exchange.eligibility import Skipped
from exchange.house import House
from exchange.lead import Attempt, Candidate, Lead, Progress
from exchange.store.rows import AttemptState

# What came of one candidate. Skipped: it may not be tried; None: this sale is not ours any more.
Made = Attempt | Skipped | None
Try = Callable[[Candidate], Coroutine[None, None, Made]]


@dataclass(frozen=True, slots=True)
class Shared:
    """What came of a set. `under_way`: posts that had not ended when the answer was due."""

    made: list[Made]
    under_way: int = 0


async def share_out(
    house: House,
    lead: Lead,
    members: Sequence[Candidate],
    shelf: Shelf,
    progress: Progress,
    attempt: Try,
) -> Shared:
    """Post to every member and to those who replace them, until nothing is under way or the seller
    must be told what was sold so far."""
    made: list[Made] = []
    holders: set[str] = set()  # buyers that have the lead, or may have, or are being asked
    running: dict[asyncio.Task[Made], Candidate] = {}

    def start(member: Candidate) -> None:
        holders.add(member.contract.buyer.slug)
        running[house.own(attempt(member), "share")] = member

    for member in members:
        start(member)
    tell = lead.deadline.less(2 * house.settings.post.tail_ms)
    while running:
        left_ms = tell.left_ms(house.now_s())
        if left_ms <= 0 and any(map(_is_sold, made)):
            break
        done, _ = await asyncio.wait(
            running,
            timeout=left_ms / 1000 if left_ms > 0 else None,
            return_when=asyncio.FIRST_COMPLETED,
        )
        for task in sorted(done, key=lambda one: running[one].slot):
            member, result = running.pop(task), task.result()
            made.append(result)
            if result is None or not _fell_out(result):
                continue
            if isinstance(result, Skipped):  # who refused it gets it under no other contract either
                holders.discard(member.contract.buyer.slug)
            if (
                None in made
                or (progress.gone and not progress.intents)
                or lead.deadline.left_ms(house.now_s()) < house.settings.post.start_min_ms
            ):
                continue
            if (other := shelf.take_replacement(member, holders)) is not None:
                start(other)
    return Shared(made, len(running))


def _fell_out(result: Attempt | Skipped) -> bool:
    return isinstance(result, Skipped) or result.state.has_failed


def _is_sold(result: Made) -> bool:
    return isinstance(result, Attempt) and result.state is AttemptState.ACCEPTED
