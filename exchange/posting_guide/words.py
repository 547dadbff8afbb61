"""What a seller is answered, in plain words, with every reason's number."""

from dataclasses import dataclass
from typing import Final, Literal

from exchange.reasons import AuctionReason, RefusedReason

After = Literal["the same again", "mend it", "ask somebody", "nothing"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One answer of one step."""

    step: Literal["ping", "lead"]
    status: int
    outcome: str
    means: str


@dataclass(frozen=True, slots=True)
class ReasonRow:
    """Why something was refused, or sold to nobody."""

    code: str
    number: int
    text: str
    status: int | None  # of a refusal; None: the reason of a no_bid or unsold
    after: After


OUTCOMES: Final = (
    Outcome("ping", 200, "bid", "A price, yours until expires_at: post the lead, or let it go."),
    Outcome("ping", 200, "no_bid", "Nobody bids, and reason says why. With waterfall true you may "
            "still post it: buyers at fixed prices may take it."),
    Outcome("lead", 200, "sold", "Sold, for good, at price. Send the consumer on to redirect_url if there is one."),
    Outcome("lead", 200, "unsold", "Nobody bought it, for good, and reason says why. It is yours again."),
    Outcome("lead", 202, "pending", "A buyer may have it and has not said so. Ask GET /v1/leads/{lead_id} every "
            "2 seconds, or wait for your callback; sell it to nobody else meanwhile."),
)  # fmt: skip

_R, _A = RefusedReason, AuctionReason
# Status and what to do; in order of number.
_REFUSED: Final[tuple[tuple[RefusedReason, int, After], ...]] = (
    (_R.UNAUTHENTICATED, 401, "ask somebody"),
    (_R.WRONG_ROLE, 403, "ask somebody"),
    (_R.VERTICAL_NOT_ALLOWED, 403, "ask somebody"),
    (_R.SELLER_INACTIVE, 403, "ask somebody"),
    (_R.RATE_LIMITED, 429, "the same again"),
    (_R.OVERLOADED, 503, "the same again"),
    (_R.UNAVAILABLE, 503, "the same again"),
    (_R.NOT_JSON, 400, "mend it"),
    (_R.INVALID_REQUEST, 422, "mend it"),
    (_R.TOO_LARGE, 413, "mend it"),
    (_R.PERSONAL_DATA_IN_PING, 422, "mend it"),
    (_R.IDEMPOTENCY_MISMATCH, 422, "mend it"),
    (_R.IN_PROGRESS, 409, "the same again"),
    (_R.NOT_FOUND, 404, "mend it"),
    (_R.PING_EXPIRED, 410, "mend it"),
    (_R.PING_MISMATCH, 422, "mend it"),
)
_UNSOLD: Final = (
    _A.DUPLICATE_LEAD, _A.NO_ELIGIBLE_BUYERS, _A.NO_BIDS, _A.ALL_MISSED, _A.BELOW_FLOOR,
    _A.REJECTED_BY_ALL, _A.DEADLINE, _A.SELLER_GONE, _A.UNCONFIRMED,
)  # fmt: skip


def reason_rows() -> tuple[ReasonRow, ...]:
    """All that a seller may meet, by number."""
    refused = [
        ReasonRow(one.value, one.number, one.text, status, after) for one, status, after in _REFUSED
    ]
    unsold = [ReasonRow(one.value, one.number, one.text, None, "nothing") for one in _UNSOLD]
    return tuple(sorted((*refused, *unsold), key=lambda row: row.number))
