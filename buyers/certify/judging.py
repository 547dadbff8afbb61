"""What an endpoint's answers say about it: replies in, checks with their remedy out. No I/O."""

from collections.abc import Mapping, Sequence
from typing import Final

from buyers.certify.calls import Sent
from buyers.certify.values import Check, Repeats, Verdict
from buyers.contract import Contract
from buyers.dialects import standard_v1
from buyers.guard import UrlRefused
from buyers.messages import (
    Accepted,
    Bid,
    Invalid,
    Missed,
    NoBid,
    PingResult,
    PostResult,
    Rejected,
)
from buyers.money import format_micros
from buyers.reasons import BuyerReason
from buyers.wire import Failure

NO_CONNECTION: Final = frozenset(
    {Failure.DNS, Failure.BLOCKED, Failure.UNREACHABLE, Failure.TLS, Failure.POOL_FULL}
)
# 4xx that say "not like this", whoever signed.
_NO_REFUSAL: Final = frozenset({404, 405, 408, 409, 410, 425, 429})
_FAILURES: Final = {
    Failure.UNREACHABLE: "no connection: check host, port and firewall",
    Failure.DNS: "the host's name has no address: check its spelling and its DNS record",
    Failure.TLS: "the TLS handshake failed: the certificate must be valid for this name, its chain "
    "complete",
    Failure.BLOCKED: "its address is not one the exchange may call: private and reserved addresses "
    "are for the operator to allow",
    Failure.RESET: "the connection was cut before the answer was complete: send all of it, with its "
    "Content-Length or chunked",
    Failure.GARBLED: "the answer is not plain HTTP/1.1: neither compress nor upgrade it",
    Failure.OVERSIZED: "the answer is oversized: send at most 64 KiB",
    Failure.POOL_FULL: "too many calls to it are under way: test again in a while",
}
_STATUSES: Final = {
    400: "it could not read our message: compare it with the request shown",
    401: "it refused our signature: sign the raw body with the contract's secret, see that the "
    "clocks agree",
    403: "it refused us: verify the signature, not our address",
    404: "there is nothing at this address: check the URL",
    405: 'it does not take method="POST" at this address',
    410: "there is nothing at this address any more: check the URL",
    429: "it takes no more requests now: give the exchange a higher rate",
}
_BIDS: Final = {
    BuyerReason.BID_NOT_A_NUMBER: 'write it as a decimal text or a number: {"bid":"12.50"}',
    BuyerReason.BID_NEGATIVE: "bid above 0, or null for no bid",
    BuyerReason.BID_TOO_PRECISE: "round it to at most 6 decimals",
    BuyerReason.BID_ABOVE_MAX: "bid at most the contract's pricing.max, or raise that",
    BuyerReason.BID_BELOW_MIN: "bid at least the contract's pricing.min, or lower that",
    BuyerReason.BID_WRONG_CURRENCY: "bid in the buyer's currency, or leave currency out",
    BuyerReason.BID_WRONG_PING: "repeat the ping_id of the ping you answer, or leave it out",
    BuyerReason.BID_EXPIRY_INVALID: "expires_in_s is a number of seconds from 0 to 86400",
}


def failure_text(sent: Sent) -> str:
    """Why there is no complete answer, and what to do."""
    failure = sent.reply.failure
    assert failure is not None, "only of a call that failed"
    if failure is Failure.TIMED_OUT:
        allowed = f"{sent.allowed_ms:.0f} ms"
        return f"no complete answer within {allowed}: answer sooner, or allow more time"
    return _FAILURES[failure]


def status_text(status: int | None) -> str:
    """What a status other than the right one says."""
    if status is not None and 300 <= status < 400:
        return f"it redirects ({status}), which is never followed: register the final address"
    if status is not None and status >= 500:
        return f"it failed by itself ({status}): see its log"
    known = _STATUSES.get(status or 0)
    return f"{known} ({status})" if known else f"it answered with HTTP status {status}"


# --- addresses -------------------------------------------------------------------------------------


def refused_url(name: str, refused: UrlRefused) -> Check:
    return Check(name, Verdict.FAILED, f"the address cannot be registered: it {refused.message}")


def reachable(name: str, sent: Sent) -> Check:
    """Whether its name resolves to addresses we may call, and somebody answers there."""
    if sent.reply.failure in NO_CONNECTION or not (sent.reply.written or sent.reply.status):
        return Check(name, Verdict.FAILED, failure_text(sent))
    return Check(name, Verdict.PASSED, "it can be reached")


def skipped(names: Sequence[str], why: str) -> tuple[Check, ...]:
    return tuple(Check(name, Verdict.SKIPPED, why) for name in names)


# --- pings -----------------------------------------------------------------------------------------


def in_time(pings: Sequence[Sent], timeout_ms: int) -> Check:
    """How many of the pings were answered in time. One late of several is what a cold start costs."""
    name, took = "ping_in_time", [one.reply.elapsed_ms for one in pings]
    timely = [one.reply.failure is None and one.reply.elapsed_ms <= timeout_ms for one in pings]
    told = ", ".join(
        f"{ms:.0f} ms" if one.reply.failure is None else one.reply.failure.value
        for one, ms in zip(pings, took, strict=True)
    )
    text = f"{sum(timely)} of {len(pings)} pings were answered within {timeout_ms} ms ({told})"
    if all(timely):
        return Check(name, Verdict.PASSED, text)
    broken = next((one for one in pings if one.reply.failure is not None), None)
    if broken is not None and broken.reply.failure is not Failure.TIMED_OUT:
        remedy = failure_text(broken)
    else:
        remedy = "answer sooner, keep connections open, or raise ping_timeout_ms"
    verdict = Verdict.WARNING if sum(timely) * 2 > len(pings) else Verdict.FAILED
    return Check(name, verdict, f"{text}: {remedy}")


def bid_usable(pings: Sequence[tuple[Sent, str]], contract: Contract) -> Check:
    """The worst of what was said to pings, each with the id it was sent under."""
    answered = [(sent, id_) for sent, id_ in pings if sent.reply.failure is None]
    if not answered:
        return Check("bid_usable", Verdict.SKIPPED, "no ping was answered")
    results = [read_bid(sent, id_, contract) for sent, id_ in answered]
    worst = min(results, key=lambda one: (isinstance(one, (Bid, NoBid)), isinstance(one, NoBid)))
    match worst:
        case Bid(price_micros=price):
            money = f"{format_micros(price, contract.buyer.currency)} {contract.buyer.currency}"
            return Check("bid_usable", Verdict.PASSED, f"it bids {money}")
        case NoBid():
            return Check("bid_usable", Verdict.PASSED, "it makes no bid, and says so readably")
        case Invalid(reason=reason):
            return Check("bid_usable", Verdict.FAILED, f"{reason.text[:-1]}: {_BIDS[reason]}")
        case Missed(reason=BuyerReason.GARBLED):
            text = 'the answer is garbled: send 200 and one JSON object, {"bid":"12.50"} or {"bid":null}'
            return Check("bid_usable", Verdict.FAILED, text)
        case Missed(status=status):
            return Check("bid_usable", Verdict.FAILED, status_text(status))


def read_bid(sent: Sent, ping_id: str, contract: Contract) -> PingResult:
    """What a complete answer to a ping says."""
    reply = sent.reply
    assert reply.status is not None, "a complete answer has a status"
    return standard_v1.read_bid(
        reply.status, reply.body, reply.elapsed_ms, ping_id=ping_id, contract=contract
    )


# --- signatures ------------------------------------------------------------------------------------


def refuses(name: str, sent: Mapping[str, Sent], remedy: str) -> Check:
    """Whether messages that anybody could have sent are refused with 4xx."""
    taken = [how for how, one in sent.items() if not _is_refusal(one)]
    if not taken:
        return Check(name, Verdict.PASSED, f"what is {' or '.join(sent)} is refused")
    if all(sent[how].reply.status == 200 for how in taken):
        text = f"what is {' or '.join(taken)} is answered with 200: {remedy}"
    else:
        said = ", ".join(f"{how}: {_said(sent[how])}" for how in taken)
        text = f"it should be refused with 401 ({said}): {remedy}"
    return Check(name, Verdict.WARNING, text)


def _is_refusal(sent: Sent) -> bool:
    status = sent.reply.status or 0
    return sent.reply.failure is None and 400 <= status < 500 and status not in _NO_REFUSAL


def _said(sent: Sent) -> str:
    return sent.reply.failure.value if sent.reply.failure else str(sent.reply.status)


# --- posts -----------------------------------------------------------------------------------------


def read_post(sent: Sent) -> PostResult | None:
    """What a complete answer to a first send decides; None: there was none."""
    reply = sent.reply
    if reply.failure is not None or reply.status is None:
        return None
    return standard_v1.read_answer(
        reply.status, reply.body, reply.elapsed_ms, price_micros=0, resent=False
    )


def post_answered(sent: Sent) -> Check:
    if sent.reply.failure is not None:
        return Check("post_in_time", Verdict.FAILED, failure_text(sent))
    text = f"the post was answered in {sent.reply.elapsed_ms:.0f} ms"
    return Check("post_in_time", Verdict.PASSED, text)


def answer_readable(sent: Sent, result: PostResult | None) -> Check:
    """Accepted or rejected in so many words. A refusal by status is read as rejected, too, and
    tells nobody why."""
    name, status = "answer_readable", sent.reply.status
    match result:
        case Accepted(buyer_ref=None):
            text = "it accepts, without a buyer_ref: name the lead, so that both sides can find it"
            return Check(name, Verdict.PASSED, text)
        case Accepted():
            return Check(name, Verdict.PASSED, "it accepts, with a buyer_ref")
        case Rejected(reason=BuyerReason.REJECTED):
            text = "it rejects readably; only an accepted test lead shows how repeats are answered"
            return Check(name, Verdict.PASSED, text)
        case Rejected() if status in {401, 403, 404, 405, 410}:
            return Check(name, Verdict.FAILED, status_text(status))
        case Rejected():
            text = 'read as rejected: 200 and {"status":"rejected","reason":…} would say why'
            return Check(name, Verdict.WARNING, f"{status_text(status)}; {text}")
        case _ if status == 200:
            text = (
                'the answer is garbled: send one JSON object with "status":"accepted" or "rejected"'
            )
            return Check(name, Verdict.FAILED, f"{text}; until then every lead stays unconfirmed")
        case _:
            text = 'send 200 and {"status":"accepted"} or {"status":"rejected"}'
            return Check(name, Verdict.FAILED, f"{status_text(status)}: {text}")


def repeats_of(first: PostResult | None, repeat: Sent) -> Repeats:
    """How the repeat of an accepted post was answered."""
    if not isinstance(first, Accepted) or repeat.reply.failure is not None:
        return Repeats.UNKNOWN
    if repeat.reply.status == 409:
        return Repeats.CONFLICT
    again = read_post(repeat)
    if not isinstance(again, Accepted):
        return Repeats.UNKNOWN
    if None not in (first.buyer_ref, again.buyer_ref) and first.buyer_ref != again.buyer_ref:
        return Repeats.SOLD_TWICE
    return Repeats.SAME_ANSWER


def repeat_check(
    first: PostResult | None, repeat: Sent, repeats: Repeats, contract: Contract
) -> Check:
    """A buyer that says `idempotent` is sent a lead again when nobody knows what became of it."""
    name, promised = "repeat", contract.endpoint.idempotent
    bad = Verdict.FAILED if promised else Verdict.WARNING
    match repeats:
        case Repeats.CONFLICT:
            text = "a repeat is answered with 409: on a re-send that will count as accepted"
            return Check(name, Verdict.PASSED, text)
        case Repeats.SOLD_TWICE:
            remedy = (
                "answer a webhook-id you know out of your books, or set idempotent to false"
                if promised
                else "never say idempotent of it"
            )
            text = f"a repeat with the same webhook-id is booked as another lead: {remedy}"
            return Check(name, bad, text)
        case Repeats.SAME_ANSWER if isinstance(first, Accepted) and first.buyer_ref is None:
            text = "a repeat is accepted again; without a buyer_ref nobody can see whether it is "
            return Check(name, Verdict.WARNING, f"{text}the same lead: answer with one")
        case Repeats.SAME_ANSWER:
            return Check(name, Verdict.PASSED, "a repeat is accepted again as the same lead")
        case Repeats.UNKNOWN:
            return _unclear(first, repeat, bad)


def _unclear(first: PostResult | None, repeat: Sent, bad: Verdict) -> Check:
    if not isinstance(first, Accepted):
        if isinstance(read_post(repeat), Accepted):
            text = "the repeat of a lead that was not accepted is: answer it out of your books"
            return Check("repeat", bad, text)
        text = "the test lead was not accepted, so nothing is known of repeats: accept tests"
        return Check("repeat", Verdict.WARNING, text)
    if repeat.reply.failure is not None:
        said = failure_text(repeat)
    elif repeat.reply.status == 200:
        said = "it was rejected, or unreadable, although the first was accepted"
    else:
        said = status_text(repeat.reply.status)
    remedy = "answer a webhook-id you know as you answered it first, or with 409"
    return Check("repeat", bad, f"a repeat was not recognised ({said}): {remedy}")


def status_check(name: str, sent: Sent, wanted: str) -> Check:
    """Whether status_url says the one word it should."""
    if sent.reply.failure is not None:
        return Check(name, Verdict.FAILED, failure_text(sent))
    assert sent.reply.status is not None, "a complete answer has a status"
    said = standard_v1.read_status(sent.reply.status, sent.reply.body)
    if said == wanted:
        return Check(name, Verdict.PASSED, f"it says {said}")
    remedy = f'send 200 and {{"status":"{wanted}"}}'
    if said == "unreadable":
        seen = "it is garbled" if sent.reply.status == 200 else status_text(sent.reply.status)
    else:
        seen = f"it says {said}"
    what = "a webhook-id that never came" if wanted == "unknown" else "the post it has just had"
    return Check(name, Verdict.FAILED, f"asked about {what}, {seen}: {remedy}")
