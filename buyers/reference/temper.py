"""How a reference buyer behaves: drawn from a seed, decided without clock or I/O.

The server acts these plans out in real time, the simulation in virtual time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field

from buyers.money import MICROS, MICROS_MAX
from buyers.signing import read_secret

_CENT = MICROS // 100
GARBLES = ("html", "broken", "duplicate_key")  # what a garbling buyer may send under a 200


def _check_secret(secret: str) -> str:
    read_secret(secret)
    return secret


def _spread(value: object) -> object:
    """One number stands for both ends."""
    return (value, value) if isinstance(value, int) else value


Probability = Annotated[float, Field(ge=0, le=1)]
Price = Annotated[int, Field(ge=0, le=MICROS_MAX)]
_Ms = Annotated[int, Field(ge=0, le=120_000)]
Spread = Annotated[tuple[_Ms, _Ms], BeforeValidator(_spread)]  # milliseconds, both included


@dataclass(frozen=True, slots=True, kw_only=True)
class Temper:
    """One reference buyer. The probabilities of a ping exclude each other, so do those of a post:
    each is the share of all messages, and what is left bids or accepts."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
    secret: Annotated[str, AfterValidator(_check_secret)]  # whsec_…, as in its contracts
    seed: int = 0

    price_min_micros: Price = 5 * MICROS  # bids are whole cents between these two
    price_max_micros: Price = 15 * MICROS
    likes: dict[str, list[Any]] = field(default_factory=dict)  # bids on these fields' values only
    delay_ms: Spread = (0, 0)
    decline: Probability = 0.0
    ping_stall: Probability = 0.0  # never answers
    ping_garble: Probability = 0.0  # 200 and nonsense
    ping_reset: Probability = 0.0  # breaks the connection
    ping_error: Probability = 0.0  # 500

    post_delay_ms: Spread = (0, 0)
    reject: Probability = 0.0
    reject_reasons: Annotated[tuple[str, ...], Field(min_length=1)] = ("duplicate",)
    post_stall: Probability = 0.0
    post_stall_then_accept: Probability = 0.0  # stalls, yet is booked: asked again it has accepted
    post_garble: Probability = 0.0
    post_reset: Probability = 0.0
    post_error: Probability = 0.0
    # The nasty case: what was stalled, garbled, reset or failed is nevertheless booked accepted.
    books_when_stalling: bool = False
    dedupes: bool = True  # a repeated webhook-id gets the same verdict out of the book
    knows_status: bool = True  # serves status_url
    conflict_on_repeat: bool = False  # a repeat of a decided lead is answered 409
    ignores_signature: bool = False  # takes unsigned and wrongly signed messages
    ignores_timestamp: bool = False  # takes messages signed long ago


class PingKind(StrEnum):
    BID = "bid"
    DECLINE = "decline"
    STALL = "stall"
    GARBLE = "garble"
    RESET = "reset"
    ERROR = "error"


class PostKind(StrEnum):
    ACCEPT = "accept"
    REJECT = "reject"
    CONFLICT = "conflict"  # a repeat, answered 409; the book stays as it is
    STALL = "stall"
    STALL_BOOKED = "stall_booked"  # a stall whose lead is in the book as accepted
    GARBLE = "garble"
    RESET = "reset"
    ERROR = "error"


class Verdict(StrEnum):
    ACCEPTED = "accepted"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class PingPlan:
    """What the buyer does with a ping, `delay_ms` after reading it."""

    delay_ms: int
    kind: PingKind
    price_micros: int = 0  # bid only
    note: str | None = None  # a decline's reason; which of GARBLES


@dataclass(frozen=True, slots=True, kw_only=True)
class PostPlan:
    """What the buyer does with a post. The verdict is booked at once, before any delay."""

    delay_ms: int
    kind: PostKind
    verdict: Verdict | None  # None: nothing is decided, the same lead sent again is drawn anew
    note: str | None = None  # a rejection's reason; which of GARBLES


def on_ping(temper: Temper, rng: Random, ping: Mapping[str, Any]) -> PingPlan:
    """Decide on a ping's parsed body. All chance comes from `rng`."""
    kind = _ping_kind(temper, rng.random())
    delay_ms = _between(rng, temper.delay_ms)
    note = _dislike(temper, ping) if kind is PingKind.BID else None
    if note is not None:
        return PingPlan(delay_ms=delay_ms, kind=PingKind.DECLINE, note=note)
    if kind is PingKind.BID:
        return PingPlan(delay_ms=delay_ms, kind=kind, price_micros=_price(temper, rng))
    if kind is PingKind.DECLINE:
        note = "not interested"
    elif kind is PingKind.GARBLE:
        note = rng.choice(GARBLES)
    return PingPlan(delay_ms=delay_ms, kind=kind, note=note)


def on_post(temper: Temper, rng: Random, post: Mapping[str, Any]) -> PostPlan:
    """Decide on a post's parsed body. All chance comes from `rng`; repeats are the book's matter."""
    del post  # every reference buyer takes what it is sent; the parameter is for pickier ones
    kind, verdict = _post_kind(temper, rng.random())
    delay_ms = _between(rng, temper.post_delay_ms)
    note = None
    if kind is PostKind.REJECT:
        note = rng.choice(temper.reject_reasons)
    elif kind is PostKind.GARBLE:
        note = rng.choice(GARBLES)
    return PostPlan(delay_ms=delay_ms, kind=kind, verdict=verdict, note=note)


def ping_shares(temper: Temper) -> tuple[tuple[PingKind, float], ...]:
    """The probability of everything but a bid."""
    return (
        (PingKind.DECLINE, temper.decline),
        (PingKind.STALL, temper.ping_stall),
        (PingKind.GARBLE, temper.ping_garble),
        (PingKind.RESET, temper.ping_reset),
        (PingKind.ERROR, temper.ping_error),
    )


def post_shares(temper: Temper) -> tuple[tuple[PostKind, float], ...]:
    """The probability of everything but a plain accept."""
    stall = PostKind.STALL_BOOKED if temper.books_when_stalling else PostKind.STALL
    return (
        (PostKind.REJECT, temper.reject),
        (stall, temper.post_stall),
        (PostKind.STALL_BOOKED, temper.post_stall_then_accept),
        (PostKind.GARBLE, temper.post_garble),
        (PostKind.RESET, temper.post_reset),
        (PostKind.ERROR, temper.post_error),
    )


def _ping_kind(temper: Temper, roll: float) -> PingKind:
    for kind, share in ping_shares(temper):
        if roll < share:
            return kind
        roll -= share
    return PingKind.BID


def _post_kind(temper: Temper, roll: float) -> tuple[PostKind, Verdict | None]:
    for kind, share in post_shares(temper):
        if roll < share:
            return kind, _verdict(temper, kind)
        roll -= share
    return PostKind.ACCEPT, Verdict.ACCEPTED


def _verdict(temper: Temper, kind: PostKind) -> Verdict | None:
    if kind is PostKind.REJECT:
        return Verdict.REJECTED
    is_booked = kind is PostKind.STALL_BOOKED or temper.books_when_stalling
    return Verdict.ACCEPTED if is_booked else None


def _between(rng: Random, spread: tuple[int, int]) -> int:
    low, high = spread
    return low + int(rng.random() * (high - low + 1))


def _price(temper: Temper, rng: Random) -> int:
    low = -(-temper.price_min_micros // _CENT)
    return _CENT * _between(rng, (low, max(low, temper.price_max_micros // _CENT)))


def _dislike(temper: Temper, ping: Mapping[str, Any]) -> str | None:
    fields = ping.get("fields") or {}
    for name, wanted in temper.likes.items():
        if fields.get(name) not in wanted:
            return f"{name} not wanted"
    return None
