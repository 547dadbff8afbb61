"""The native protocol: JSON over HTTP/1.1 with Standard Webhooks signatures (contract §4)."""

from typing import Any

import orjson

from buyers import strict_json
from buyers.contract import Contract
from buyers.messages import (
    Accepted,
    Bid,
    Invalid,
    Missed,
    NoBid,
    Ping,
    PingResult,
    Post,
    PostResult,
    Rejected,
    Unconfirmed,
    make_bid,
)
from buyers.money import MoneyInvalid, format_micros, parse_micros
from buyers.reasons import BuyerReason

NOTE_MAX = 200  # characters of a buyer's own words that are kept
NAME_MAX = 255  # characters of a buyer's own id for a bid
_REDIRECT_MAX = 2048
_BID_REASONS = {
    "not_a_number": BuyerReason.BID_NOT_A_NUMBER,
    "negative": BuyerReason.BID_NEGATIVE,
    "too_precise": BuyerReason.BID_TOO_PRECISE,
    "too_large": BuyerReason.BID_ABOVE_MAX,
}
# 4xx statuses that decide nothing about a post: it may have been taken (contract §4).
_INDEFINITE_4XX = frozenset({408, 425})


def ping_common(ping: Ping) -> bytes:
    """The part of a ping's body that is the same for everyone asked: rendered once."""
    common = {
        "ping_id": ping.ping_id,
        "vertical": ping.vertical,
        "sub_id": ping.sub_id,
        "bid_valid_s": ping.bid_valid_s,
        "test": ping.test,
        "fields": ping.fields,
    }
    return b"," + orjson.dumps(common)[1:]


def ping_start(contract: Contract, seller: str) -> bytes:
    """The part that is the same in all pings of a seller, by his opaque name, to a contract."""
    start = {
        "type": "ping",
        "contract": contract.slug,
        "seller": seller,
        "exclusive": not contract.is_shared,
    }
    return orjson.dumps(start)[:-1]


def ping_rest(common: bytes, deadline_ms: int) -> bytes:
    """All of a ping's body after `ping_start`, the same for all who have as long to answer."""
    return b',"deadline_ms":%d%b' % (deadline_ms, common)


def write_ping(contract: Contract, seller: str, deadline_ms: int, ping: Ping) -> bytes:
    """The body of a ping."""
    return ping_start(contract, seller) + ping_rest(ping_common(ping), deadline_ms)


def read_bid(
    status: int, body: bytes, elapsed_ms: float, ping_id: str, contract: Contract
) -> PingResult:
    """What a complete answer to a ping says."""
    if status != 200:
        if status == 204:
            return NoBid(elapsed_ms=elapsed_ms)
        return Missed(reason=BuyerReason.BUYER_HTTP_ERROR, elapsed_ms=elapsed_ms, status=status)
    try:
        answer = strict_json.loads(body)
    except strict_json.JsonInvalid:
        return Missed(reason=BuyerReason.GARBLED, elapsed_ms=elapsed_ms, status=status)
    if type(answer) is not dict or "bid" not in answer:
        return Missed(reason=BuyerReason.GARBLED, elapsed_ms=elapsed_ms, status=status)
    if len(answer) == 1:  # most answers say nothing but their price
        return _read_price(answer, elapsed_ms, contract)
    reason = _names_another(answer, ping_id, contract)
    if reason is not None and answer["bid"] is not None:
        return Invalid(reason=reason, elapsed_ms=elapsed_ms)
    bid = _read_price(answer, elapsed_ms, contract)
    return _with_terms(bid, answer) if type(bid) is Bid else bid


def _names_another(answer: dict[str, Any], ping_id: str, contract: Contract) -> BuyerReason | None:
    """Whether it says that it is about another ping, or in another currency."""
    if answer.get("ping_id") not in (None, ping_id):
        return BuyerReason.BID_WRONG_PING
    if answer.get("currency") not in (None, contract.buyer.currency):
        return BuyerReason.BID_WRONG_CURRENCY
    return None


def _read_price(answer: dict[str, Any], elapsed_ms: float, contract: Contract) -> PingResult:
    said = answer["bid"]
    if said is None:
        return NoBid(note=_note(answer.get("reason")), elapsed_ms=elapsed_ms)
    try:
        price = parse_micros(said)
    except MoneyInvalid as error:
        return Invalid(reason=_BID_REASONS[error.code], elapsed_ms=elapsed_ms)
    if price == 0:
        return NoBid(note=_note(answer.get("reason")), elapsed_ms=elapsed_ms)
    pricing = contract.pricing
    if pricing.max_micros is not None and price > pricing.max_micros:
        return Invalid(reason=BuyerReason.BID_ABOVE_MAX, elapsed_ms=elapsed_ms)
    if price < pricing.min_micros:
        return Invalid(reason=BuyerReason.BID_BELOW_MIN, elapsed_ms=elapsed_ms)
    return make_bid(price, elapsed_ms)


def _with_terms(bid: Bid, answer: dict[str, Any]) -> PingResult:
    """A bid with what else its buyer says of it."""
    expires = answer.get("expires_in_s")
    if expires is not None and not _is_seconds(expires):
        return Invalid(reason=BuyerReason.BID_EXPIRY_INVALID, elapsed_ms=bid.elapsed_ms)
    bid_id = answer.get("bid_id")
    if bid_id is not None and not _is_name(bid_id):
        return Missed(reason=BuyerReason.GARBLED, elapsed_ms=bid.elapsed_ms, status=200)
    return Bid(
        bid.price_micros,
        bid.elapsed_ms,
        bid_id=None if bid_id is None else str(bid_id),
        expires_in_s=None if expires is None else int(expires),
    )


def write_post(post: Post, contract: Contract) -> bytes:
    """The body of a post: byte for byte the same in every re-send of the same attempt."""
    return orjson.dumps(
        {
            "type": "post",
            "contract": contract.slug,
            "lead_id": post.lead_id,
            "ping_id": post.ping_id,
            "bid_id": post.bid_id,
            "price": format_micros(post.price_micros, post.currency),
            "currency": post.currency,
            "exclusive": post.exclusive,
            "shares": post.shares,
            "test": post.test,
            "fields": post.fields,
        }
    )


def read_answer(
    status: int,
    body: bytes,
    elapsed_ms: float,
    *,
    price_micros: int,
    resent: bool,
    conflict_means_accepted: bool = False,
) -> PostResult:
    """What a complete answer to a post decides.

    200 with accepted or rejected is definite, so is a 4xx on the first send but 408, 409 and 425. 409
    says that the buyer has the lead already: somebody else's, hence rejected. On a re-send no 4xx is
    definite: it refuses the repeat, and the first send may have been taken; but 409 is accepted where
    certification saw this endpoint answer the repeat of what it had accepted so. Everything else
    decides nothing.
    """
    if status == 200:
        return _read_verdict(body, elapsed_ms, price_micros)
    if status == 409 and resent and conflict_means_accepted:
        return Accepted(elapsed_ms=elapsed_ms)
    if status == 409 and not resent:
        return Rejected(reason=BuyerReason.DUPLICATE_BUYER, elapsed_ms=elapsed_ms)
    if 400 <= status < 500 and not resent and status not in _INDEFINITE_4XX and status != 409:
        return Rejected(reason=BuyerReason.BUYER_HTTP_4XX, note=str(status), elapsed_ms=elapsed_ms)
    return Unconfirmed(reason=BuyerReason.NO_DEFINITE_ANSWER, status=status, elapsed_ms=elapsed_ms)


def _read_verdict(body: bytes, elapsed_ms: float, price_micros: int) -> PostResult:
    unreadable = Unconfirmed(reason=BuyerReason.GARBLED, status=200, elapsed_ms=elapsed_ms)
    try:
        answer = strict_json.loads_object(body)
    except strict_json.JsonInvalid:
        return unreadable
    match answer.get("status"):
        case "accepted":
            return Accepted(
                buyer_ref=_note(answer.get("buyer_ref")),
                redirect_url=_redirect(answer.get("redirect_url")),
                price_said_micros=_other_price(answer.get("price"), price_micros),
                elapsed_ms=elapsed_ms,
            )
        case "rejected":
            return Rejected(
                reason=BuyerReason.REJECTED, note=_note(answer.get("reason")), elapsed_ms=elapsed_ms
            )
        case _:
            return unreadable


def read_status(status: int, body: bytes) -> str:
    """`accepted`, `rejected` or `unknown` out of a status_url's answer; `unreadable` decides nothing."""
    if status != 200:
        return "unreadable"
    try:
        said = strict_json.loads_object(body).get("status")
    except strict_json.JsonInvalid:
        return "unreadable"
    return str(said) if said in ("accepted", "rejected", "unknown") else "unreadable"


def _note(value: object) -> str | None:
    """A buyer's own short words: printable, bounded, or nothing."""
    if not isinstance(value, (str, int)) or isinstance(value, bool):
        return None
    return "".join(c for c in str(value)[:NOTE_MAX] if c.isprintable()) or None


def _is_name(value: object) -> bool:
    """A buyer's own id: it is sent back exactly, so what cannot be kept is not taken."""
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) < 2**63
    return isinstance(value, str) and 0 < len(value) <= NAME_MAX and value.isprintable()


def _redirect(value: object) -> str | None:
    """Where the consumer should be sent; only http(s) addresses pass."""
    if not isinstance(value, str) or len(value) > _REDIRECT_MAX or not value.isprintable():
        return None
    return value if value.startswith(("https://", "http://")) else None


def _other_price(value: object, price_micros: int) -> int | None:
    """A price the buyer names, if it is one and differs: recorded, never booked."""
    try:
        said = parse_micros(value)
    except MoneyInvalid:
        return None
    return said if said != price_micros else None


def _is_seconds(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 86_400
