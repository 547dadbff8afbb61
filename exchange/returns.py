"""What a buyer may give back: the policy of a contract, and the one judgement of a wish to return."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

from exchange.reasons import RefusedReason

BY_POLICY: Final = "policy"  # who decided, where nobody had to
_DAY_S: Final = 86_400
_PPM: Final = 1_000_000


class ReturnReason(StrEnum):
    """Why a buyer wants his money back: the trade's usual list. A contract may allow fewer."""

    text: str

    def __new__(cls, value: str, text: str = "") -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.text = text
        return member

    INVALID_PHONE = "invalid_phone", "The telephone number cannot exist."
    DISCONNECTED_PHONE = "disconnected_phone", "The telephone number is out of service."
    WRONG_PERSON = "wrong_person", "Whoever answers is not the person of the lead."
    DUPLICATE = "duplicate", "The buyer had this person already."
    OUT_OF_AREA = "out_of_area", "The person lives where the contract does not buy."
    NOT_INTERESTED = "not_interested", "The person does not want what was asked for."
    UNDER_AGE = "under_age", "The person is too young to be served."
    FRAUD = "fraud", "The lead was made up, or made by a machine."
    NO_CONSENT = "no_consent", "The person did not agree to be contacted."
    TEST_LEAD = "test_lead", "Somebody was only trying the form."
    OTHER = "other", "Something else; the note says what."


class ReturnStatus(StrEnum):
    """How a return stands. The last two are final."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnPolicy:
    """What a contract lets its buyer give back, and what happens then."""

    window_days: int  # of 24 h, from the acceptance
    percent_ppm: int  # of the sales awarded in the last `window_days`: 1000000 is all of them
    reasons: frozenset[ReturnReason]
    automatic: bool  # approved at once; else an operator decides
    reverse_payout: bool  # taken back from the seller; else the house bears the whole price
    restore_cap: bool  # the unit of caps on sales and spending is free again


def refusal(
    policy: ReturnPolicy | None, reason: ReturnReason, *, age_s: float, sold: int, returned: int
) -> RefusedReason | None:
    """Why a sale may not be returned; None: it may.

    `age_s` is the time since the acceptance; a return exactly at the end of the window is in time.
    `sold` are the contract's sales awarded within the last `window_days`, this one among them, and
    `returned` those of them whose return is pending or approved. The share is rounded down: at 10 %
    the first sale that may come back is one of ten.
    """
    if policy is None:
        return RefusedReason.RETURNS_NOT_ALLOWED
    if reason not in policy.reasons:
        return RefusedReason.RETURN_REASON_NOT_ALLOWED
    if age_s > policy.window_days * _DAY_S:
        return RefusedReason.RETURN_WINDOW_OVER
    if returned + 1 > sold * policy.percent_ppm // _PPM:
        return RefusedReason.RETURN_LIMIT_REACHED
    return None
