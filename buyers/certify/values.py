"""What certification finds out, as frozen values."""

import hmac
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import orjson

from buyers.contract import Contract
from buyers.wire import Failure

SHOWN_MAX: Final = 2048  # bytes of an answer's body that a report shows
_REQUEST_MAX: Final = 64 * 1024


class Verdict(StrEnum):
    PASSED = "passed"
    WARNING = "warning"  # it will trade, but somebody should look at it
    FAILED = "failed"  # it would not trade, or would lose money
    SKIPPED = "skipped"  # does not apply, or an earlier check left nothing to look at


class Repeats(StrEnum):
    """How an endpoint answers the repeat of a post that it had accepted."""

    SAME_ANSWER = "same_answer"  # accepted again, and nothing says that it is another lead
    CONFLICT = "conflict"  # 409
    SOLD_TWICE = "sold_twice"  # accepted under another buyer_ref: one lead, booked twice
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Check:
    name: str  # stable for ever
    verdict: Verdict
    text: str  # what was seen and, unless it passed, what would be right


@dataclass(frozen=True, slots=True, kw_only=True)
class TestLead:
    """A made-up consumer: reserved data only, nobody can be called or written to."""

    __test__ = False  # pytest takes every class of that name for its own

    ping: dict[str, Any]  # ping-stage fields
    lead: dict[str, Any]  # all fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and what came back, as somebody would read it."""

    name: str  # ping, post, repeat, status
    request: str  # head and body, with the signature
    status: int | None  # None: no complete head was read
    response: str  # the body's first 2 KB
    truncated: bool
    failure: Failure | None  # None: a complete answer was read
    elapsed_ms: float

    def show(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "request": self.request,
            "status": self.status,
            "response": self.response,
            "truncated": self.truncated,
            "failure": self.failure,
            "elapsed_ms": round(self.elapsed_ms, 1),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    repeats: Repeats
    checks: tuple[Check, ...]
    exchanges: tuple[Exchange, ...]

    @property
    def failed(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if check.verdict is Verdict.FAILED)

    @property
    def passed(self) -> bool:
        return not self.failed

    def show(self) -> dict[str, Any]:
        """The report as JSON."""
        return {
            "passed": self.passed,
            "repeats": self.repeats,
            "checks": [
                {"name": one.name, "verdict": one.verdict, "text": one.text} for one in self.checks
            ],
            "exchanges": [one.show() for one in self.exchanges],
        }


def readable(raw: bytes, limit: int = _REQUEST_MAX) -> str:
    """Bytes as text that every reader and Postgres can keep: NUL becomes a replacement too."""
    return raw[:limit].decode("utf-8", "replace").replace("\0", "\ufffd")


def endpoint_digest(contract: Contract) -> bytes:
    """What a certificate is about: whoever changes any of it has to be certified anew.

    Keyed with the signing secret, so that it tells nothing of it.
    """
    endpoint = contract.endpoint
    told = [
        endpoint.dialect,
        endpoint.ping_url if contract.is_pinged else None,
        endpoint.post_url,
        endpoint.status_url,
        endpoint.idempotent,
        contract.vertical,
    ]
    return hmac.digest(contract.secret, orjson.dumps(told), "sha256")
