"""A seller's callback: what is told, what its answer means, when it is tried again.

A seller who was answered 202, or could not be answered any more, is told the end of his lead at his
`callback_url`, by a POST signed as Standard Webhooks has it. Of a shared lead he may be told twice: that
it is sold, and once more when nothing of it is pending.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import orjson

from exchange.patience import pause_s

GONE: Final = 410  # Standard Webhooks: the endpoint wants no more of it
NO_URL: Final = "no_callback_url"

After = Literal["delivered", "again", "given_up"]


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of one try. `reason` None: it was delivered."""

    status: int | None  # None: no answer was read
    reason: str | None


def body_of(said: Mapping[str, Any], *, test: bool) -> bytes:
    """What is sent. `said` is what GET /v1/leads/{id} answers, without its timeline."""
    return orjson.dumps({"type": "lead", "test": test} | dict(said))


def webhook_id(said: Mapping[str, Any]) -> str:
    """The same for the same lead as long as the same is told of it."""
    waiting = said.get("pending", 0)
    return f"{said['lead_id']}.pending_{waiting}" if waiting else f"{said['lead_id']}.final"


def heard(status: int | None, failure: str | None) -> Heard:
    """Any 2xx is enough; a seller's body is not read, be it cut short, too long or never there."""
    if status is not None and 200 <= status < 300:
        return Heard(status, None)
    if failure is not None or status is None:
        return Heard(status, failure or "unreachable")
    return Heard(status, f"http_{status}")


def after(found: Heard, tries: int, age_s: float, hours: int) -> After:
    """What is to be done. `age_s`: since there was something to tell; who has not been tried yet is
    tried once, however old it is."""
    if found.reason is None:
        return "delivered"
    if found.status == GONE or found.reason == NO_URL or age_s + pause_s(tries) > hours * 3600:
        return "given_up"
    return "again"


def more_to_tell(found: Heard, then: After, left: int) -> bool:
    """Whether the last word, of which `left` posts are missing, will be told: also to who could not be
    reached while they were, for that is something new; not to who wants no more."""
    return left > 0 and then != "again" and found.status != GONE


def ended_at(closed_at: datetime, settled: list[datetime]) -> datetime:
    """Since when there has been something to tell: the lead's end, or that of its last post."""
    return max([closed_at, *settled])
