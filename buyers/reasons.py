"""Every way one call to a buyer can end: the 7xx reasons and those of an unusable bid."""

from enum import StrEnum
from typing import Self


class Reason(StrEnum):
    """One string: stored, labelled, logged, shown and returned alike. Its number is for the docs."""

    number: int
    text: str

    def __new__(cls, value: str, number: int = 0, text: str = "") -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.number = number
        member.text = text
        return member


class BuyerReason(Reason):
    """What a buyer did, or did not do, in order of number."""

    BID_NOT_A_NUMBER = "bid_not_a_number", 520, "The bid is not a finite decimal amount."
    BID_NEGATIVE = "bid_negative", 521, "The bid is below zero."
    BID_TOO_PRECISE = "bid_too_precise", 522, "The bid has more than 6 decimals."
    BID_ABOVE_MAX = "bid_above_max", 523, "The bid is above the contract's own maximum."
    BID_BELOW_MIN = "bid_below_min", 524, "The bid is below the contract's own minimum."
    BID_WRONG_CURRENCY = "bid_wrong_currency", 525, "The bid is in another currency."
    BID_WRONG_PING = "bid_wrong_ping", 526, "The bid answers another ping."
    BID_EXPIRY_INVALID = (
        "bid_expiry_invalid",
        527,
        "The bid's expires_in_s is not a number of seconds.",
    )
    DECLINED = "declined", 700, "The buyer answered: no bid."
    TIMED_OUT = "timed_out", 701, "No complete answer by the deadline."
    UNREACHABLE = "unreachable", 702, "No connection to the endpoint."
    DNS_FAILED = "dns_failed", 703, "The endpoint's name has no address."
    TLS_FAILED = "tls_failed", 704, "The TLS handshake or the certificate failed."
    ADDRESS_BLOCKED = "address_blocked", 705, "The endpoint's address is not one we may call."
    CONNECTION_RESET = "connection_reset", 706, "The connection was cut before the answer ended."
    GARBLED = "garbled", 707, "The answer cannot be read."
    OVERSIZED = "oversized", 708, "The answer is larger than 64 KiB."
    BUYER_HTTP_ERROR = (
        "buyer_http_error",
        709,
        "The ping was answered with another status than 200 or 204.",
    )
    REJECTED = "rejected", 710, "The buyer rejected the lead."
    BUYER_HTTP_4XX = "buyer_http_4xx", 711, "The post was refused with a 4xx status: rejected."
    DUPLICATE_BUYER = "duplicate_buyer", 712, "The buyer already has this lead."
    POOL_FULL = "pool_full", 713, "Too many calls to this endpoint are under way."
    CALL_BROKE = "call_broke", 714, "A fault of the exchange broke this call."
    LATE = "late", 715, "The bid came after the auction had closed; it is void."
    NO_DEFINITE_ANSWER = (
        "no_definite_answer",
        716,
        "The post may have arrived; its answer decides nothing.",
    )
    SAID_BY_STATUS = "said_by_status", 717, "The buyer's status_url told the outcome."
    SAID_BY_PERSON = "said_by_person", 718, "The buyer or an operator told the outcome."
    TOO_LATE = "too_late", 720, "The award took so long that the lead was not sent any more."
    INTERRUPTED = "interrupted", 719, "The exchange stopped while this post was under way."
