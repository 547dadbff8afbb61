"""Why a lead, a contract, a bid or an attempt dropped out: the one catalogue of both packages.

1xx access, 2xx bad lead, 3xx duplicate, 4xx skipped, 5xx auction, 6xx ping and post, 7xx buyer.
"""

from typing import Final

from buyers.reasons import BuyerReason, Reason


class RefusedReason(Reason):
    """A request stopped at the door; the `code` of the problem that answers it."""

    UNAUTHENTICATED = "unauthenticated", 100, "No key, or one that is unknown or revoked."
    WRONG_ROLE = "wrong_role", 101, "The key's role may not do this."
    VERTICAL_NOT_ALLOWED = "vertical_not_allowed", 102, "This seller may not sell in this vertical."
    WRONG_ORIGIN = "wrong_origin", 103, "A page of the console itself must send this."
    SELLER_INACTIVE = "seller_inactive", 110, "The seller is switched off."
    RATE_LIMITED = "rate_limited", 120, "More requests than the rate allows."
    OVERLOADED = "overloaded", 130, "The exchange is at capacity; ask again."
    UNAVAILABLE = "unavailable", 131, "The database is away; ask again."
    NOT_JSON = "not_json", 200, "The body is not one JSON object without duplicate keys."
    INVALID_REQUEST = "invalid_request", 201, "Properties or fields are missing, unknown or wrong."
    TOO_LARGE = "too_large", 202, "The body is larger than the limit."
    PERSONAL_DATA_IN_PING = "personal_data_in_ping", 203, "A ping may not carry a post-stage field."
    NOT_SUPPORTED = "not_supported", 204, "This version does not enforce that; it is not stored."
    NOT_CERTIFIED = "not_certified", 205, "The endpoint must be certified before it may go live."
    IDEMPOTENCY_MISMATCH = "idempotency_mismatch", 320, "The key was used with another body."
    IN_PROGRESS = "in_progress", 321, "The first request with this key still runs."
    EXISTS = "exists", 330, "That slug is taken."
    SLUG_RETIRED = "slug_retired", 331, "That slug was retired and is never used again."
    IN_USE = "in_use", 332, "Something in force stands on it."
    ETAG_MISMATCH = "etag_mismatch", 333, "It was changed since it was read."
    CONTRARY_OUTCOME = "contrary_outcome", 334, "The first definite word was another."
    ALREADY_RETURNED = (
        "already_returned",
        335,
        "Its return was asked for before, for another reason.",
    )
    CHANGED_MEANWHILE = "changed_meanwhile", 336, "It was changed while this was under way."
    NOT_FOUND = "not_found", 600, "There is no such thing, or it belongs to somebody else."
    PING_EXPIRED = "ping_expired", 601, "The ping's time to be posted is over."
    PING_MISMATCH = "ping_mismatch", 603, "A field differs from what the ping said."
    RETURNS_NOT_ALLOWED = "returns_not_allowed", 620, "Nothing sold under this contract comes back."
    RETURN_REASON_NOT_ALLOWED = (
        "return_reason_not_allowed",
        621,
        "The contract takes nothing back for this reason.",
    )
    RETURN_WINDOW_OVER = "return_window_over", 622, "The sale is older than its return window."
    RETURN_LIMIT_REACHED = (
        "return_limit_reached",
        623,
        "The contract's share of returned sales is used up.",
    )


class SkipReason(Reason):
    """Why a contract was not asked, or not posted to."""

    DUPLICATE = "duplicate", 310, "The buyer has a lead of this person within its days."
    DUPLICATE_IN_VERTICAL = (
        "duplicate_in_vertical",
        311,
        "A lead of this person was sold in the vertical within its days.",
    )
    PAUSED = "paused", 400, "The buyer, the contract or the exchange is paused or retired."
    NO_TIER = "no_tier", 401, "The vertical's plan has no tier of that name."
    NO_TEST = "no_test", 402, "The endpoint does not accept tests."
    EXCLUDED = "excluded", 403, "The seller excluded this buyer."
    SELLER_NOT_ALLOWED = "seller_not_allowed", 404, "The contract does not buy from this seller."
    FILTERED = "filtered", 410, "A condition of the contract does not hold."
    CLOSED = "closed", 420, "The contract's schedule is closed now."
    CAP_SALES = "cap_sales", 430, "The cap on sales is used up."
    CAP_SPEND = "cap_spend", 431, "The cap on spend has no room for this price."
    CREDIT = "credit", 432, "The buyer's credit has no room for this price."
    CAP_CONCURRENT = "cap_concurrent", 433, "As many posts as allowed are open."
    CAP_PINGS = "cap_pings", 434, "The cap on pings is used up."
    MAX_QPS = "max_qps", 435, "The endpoint takes no more pings this second."
    PACED = "paced", 436, "Of a cap spread over the day, the part allowed so far is used up."
    BUYER_ALREADY_TRIED = "buyer_already_tried", 440, "This buyer rejected the lead or may have it."
    BELOW_MIN_PRICE = (
        "below_min_price",
        441,
        "After the margin the seller would get less than asked.",
    )
    BID_EXPIRED = "bid_expired", 442, "The bid had expired when it was this contract's turn."
    NO_TIME = "no_time", 450, "Too little of the seller's time is left."
    BUSY = "busy", 451, "The books of this contract were locked too long."
    BREAKER_OPEN = (
        "breaker_open",
        460,
        "The endpoint failed too often and is left alone for a while.",
    )
    THROTTLED = (
        "throttled",
        461,
        "The endpoint fails often: this ping is one of those it is spared.",
    )


class AuctionReason(Reason):
    """What became of bids, and why nothing was sold."""

    NO_ELIGIBLE_BUYERS = "no_eligible_buyers", 500, "No contract was eligible."
    NO_BIDS = "no_bids", 501, "Everyone asked declined, or bid something unusable."
    ALL_MISSED = "all_missed", 502, "Nobody who was asked answered in time."
    OUTBID = "outbid", 510, "Another bid ranked higher."
    BELOW_FLOOR = "below_floor", 511, "After the margin the seller would get less than asked."
    REJECTED_BY_ALL = "rejected_by_all", 530, "Everyone the lead was posted to refused it."
    DUPLICATE_LEAD = (
        "duplicate_lead",
        312,
        "Nobody may buy it: this person was sold in the vertical within its days.",
    )
    DEADLINE = "deadline", 531, "The seller's time ended first."
    UNCONFIRMED = "unconfirmed", 611, "A test post may have arrived; nobody said so."
    SELLER_GONE = "seller_gone", 610, "The seller hung up before the lead left."


REASONS: Final[dict[str, Reason]] = {
    reason.value: reason
    for family in (RefusedReason, SkipReason, AuctionReason, BuyerReason)
    for reason in family
}
