"""The trial of one endpoint: who is sent what, in which order."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from buyers.certify import judging
from buyers.certify.calls import FORGED, STALE, UNSIGNED, Line, Sent, asking_for
from buyers.certify.values import Check, Exchange, Repeats, Report, TestLead
from buyers.contract import Contract
from buyers.dialects import standard_v1
from buyers.guard import Guard, Target
from buyers.messages import Accepted, Bid, Ping, Post, PostResult, Rejected
from buyers.money import MICROS
from buyers.reasons import BuyerReason
from buyers.wire import Transport

LIMIT_S: Final = 120.0  # a whole certification
PINGS: Final = 3
_LISTEN_MS: Final = 2000  # beyond ping_timeout_ms, to tell how late an answer is
_BID_VALID_S: Final = 120
_PING_CHECKS: Final = ("ping_in_time", "bid_usable", "ping_signature", "ping_timestamp")
_POST_CHECKS: Final = (
    "post_in_time",
    "answer_readable",
    "repeat",
    "post_signature",
    "post_timestamp",
)
_STATUS_CHECKS: Final = ("status_known", "status_unknown")
_SIGNATURE: Final = "anybody could send it; verify webhook-signature over the raw body, answer 401"
_TIMESTAMP: Final = "an old message can be replayed; refuse a webhook-timestamp over 5 minutes off"

NewId = Callable[[str], str]  # "ping", "lead" or "att" to an id that no other message has


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What every part of a certification needs."""

    contract: Contract
    test_lead: TestLead
    line: Line
    guard: Guard
    new_id: NewId


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Of one part."""

    checks: tuple[Check, ...]
    exchanges: tuple[Exchange, ...] = ()
    bid: Bid | None = None  # of pings: the first one that can be used
    bid_on: str | None = None  # of pings: the id of the ping it answers
    repeats: Repeats = Repeats.UNKNOWN  # of posts
    posted: str = ""  # of posts: the webhook-id
    result: PostResult | None = None  # of posts: what the first one decided


async def certify(
    contract: Contract,
    test_lead: TestLead,
    *,
    transport: Transport,
    guard: Guard,
    wall_s: Callable[[], float],
    new_id: NewId,
    limit_s: float = LIMIT_S,
) -> Report:
    """Certify the contract's endpoint: about 15 messages, all of them marked as tests.

    Never raises for what the endpoint does; Interrupted when the transport is closed. Within
    `limit_s`; what is left over by then fails as unanswered.
    """
    line = Line(
        transport=transport,
        pool=f"{contract.slug}/certify",
        key=contract.secret,
        wall_s=wall_s,
        until_s=asyncio.get_running_loop().time() + limit_s,
    )
    trial = Trial(contract=contract, test_lead=test_lead, line=line, guard=guard, new_id=new_id)

    pings = await _try_pings(trial) if contract.is_pinged else Findings(checks=())
    posts = await _try_posts(trial, pings.bid_on or new_id("ping"), pings.bid)
    status = await _try_status(trial, posts)

    parts = (pings, posts, status)
    return Report(
        repeats=posts.repeats,
        checks=tuple(check for part in parts for check in part.checks),
        exchanges=tuple(one for part in parts for one in part.exchanges),
    )


# --- pings -----------------------------------------------------------------------------------------


async def _try_pings(trial: Trial) -> Findings:
    url = trial.contract.endpoint.ping_url
    assert url is not None, "a bidding contract is pinged"
    target = trial.guard.check_url(url)
    if not isinstance(target, Target):
        refused = judging.refused_url("ping_url", target)
        return Findings(checks=(refused, *judging.skipped(_PING_CHECKS, "it was not pinged")))
    sent = [await _ping(trial, target)]
    reached = judging.reachable("ping_url", sent[0][0])
    exchange = sent[0][0].exchange("ping")
    if sent[0][0].reply.failure in judging.NO_CONNECTION:
        checks = (reached, *judging.skipped(_PING_CHECKS, "there was no connection"))
        return Findings(checks=checks, exchanges=(exchange,))
    while len(sent) < PINGS:
        sent.append(await _ping(trial, target))
    timeout_ms = trial.contract.endpoint.ping_timeout_ms
    in_time = judging.in_time([one for one, _ in sent], timeout_ms)
    usable = judging.bid_usable(sent, trial.contract)
    answered = [
        (one, id_)
        for one, id_ in sent
        if one.reply.failure is None and one.reply.status in {200, 204}
    ]
    forged = await _forge_pings(trial, target) if answered else _not_taken("ping")
    checks = (reached, in_time, usable, *forged)
    for one, id_ in answered:
        bid = judging.read_bid(one, id_, trial.contract)
        if isinstance(bid, Bid):
            return Findings(checks=checks, exchanges=(exchange,), bid=bid, bid_on=id_)
    return Findings(checks=checks, exchanges=(exchange,))


async def _ping(trial: Trial, target: Target) -> tuple[Sent, str]:
    ping_id = trial.new_id("ping")
    webhook_id = f"{ping_id}.{trial.contract.slug}"
    timeout_ms = trial.contract.endpoint.ping_timeout_ms + _LISTEN_MS
    sent = await trial.line.post(target, webhook_id, _ping_body(trial, ping_id), timeout_ms)
    return sent, ping_id


async def _forge_pings(trial: Trial, target: Target) -> tuple[Check, ...]:
    found = {}
    timeout_ms = trial.contract.endpoint.ping_timeout_ms + _LISTEN_MS
    for how, forge in trial.line.forgeries(target):
        ping_id = trial.new_id("ping")
        payload = forge(f"{ping_id}.{trial.contract.slug}", _ping_body(trial, ping_id))
        found[how] = await trial.line.call(target, payload, timeout_ms)
    return _signature_checks("ping", found)


def _ping_body(trial: Trial, ping_id: str) -> bytes:
    contract = trial.contract
    ping = Ping(
        ping_id=ping_id,
        vertical=contract.vertical,
        sub_id=None,
        bid_valid_s=_BID_VALID_S,
        test=True,
        fields=trial.test_lead.ping,
    )
    return standard_v1.write_ping(contract, "test", contract.endpoint.ping_timeout_ms, ping)


# --- posts -----------------------------------------------------------------------------------------


async def _try_posts(trial: Trial, ping_id: str, bid: Bid | None) -> Findings:
    endpoint = trial.contract.endpoint
    target = trial.guard.check_url(endpoint.post_url)
    if not isinstance(target, Target):
        refused = judging.refused_url("post_url", target)
        return Findings(checks=(refused, *judging.skipped(_POST_CHECKS, "it was not posted to")))
    webhook_id, body = trial.new_id("att"), _post_body(trial, ping_id, bid)
    first = await trial.line.post(target, webhook_id, body, endpoint.post_timeout_ms)
    reached = judging.reachable("post_url", first)
    shown = first.exchange("post")
    if first.reply.failure in judging.NO_CONNECTION:
        checks = (reached, *judging.skipped(_POST_CHECKS, "there was no connection"))
        return Findings(checks=checks, exchanges=(shown,))
    result = judging.read_post(first)
    told = (reached, judging.post_answered(first))
    if first.reply.failure is not None:
        checks = (*told, *judging.skipped(_POST_CHECKS[1:], "the post was not answered"))
        return Findings(checks=checks, exchanges=(shown,))
    again = await trial.line.post(target, webhook_id, body, endpoint.post_timeout_ms)
    repeats = judging.repeats_of(result, again)
    forged = (
        await _forge_posts(trial, target, ping_id, bid)
        if first.reply.status == 200
        else _not_taken("post")
    )
    readable = judging.answer_readable(first, result)
    repeat = judging.repeat_check(result, again, repeats, trial.contract)
    return Findings(
        checks=(*told, readable, repeat, *forged),
        exchanges=(shown, again.exchange("repeat")),
        repeats=repeats,
        posted=webhook_id,
        result=result,
    )


async def _forge_posts(
    trial: Trial, target: Target, ping_id: str, bid: Bid | None
) -> tuple[Check, ...]:
    found = {}
    for how, forge in trial.line.forgeries(target):
        payload = forge(trial.new_id("att"), _post_body(trial, ping_id, bid))
        timeout_ms = trial.contract.endpoint.post_timeout_ms
        found[how] = await trial.line.call(target, payload, timeout_ms)
    return _signature_checks("post", found)


def _post_body(trial: Trial, ping_id: str, bid: Bid | None) -> bytes:
    contract = trial.contract
    post = Post(
        attempt_id="",  # travels as the webhook-id
        lead_id=trial.new_id("lead"),
        ping_id=ping_id,
        bid_id=bid.bid_id if bid else None,
        price_micros=_price_micros(contract, bid),
        currency=contract.buyer.currency,
        exclusive=not contract.is_shared,
        shares=contract.max_shares,
        test=True,
        fields=trial.test_lead.lead,
    )
    return standard_v1.write_post(post, contract)


def _price_micros(contract: Contract, bid: Bid | None) -> int:
    """What was bid, the fixed price, or after a no-bid something the contract allows."""
    if bid is not None:
        return bid.price_micros
    if not contract.is_pinged:
        return contract.pricing.price_micros
    most = contract.pricing.max_micros
    usual = max(contract.pricing.min_micros, MICROS)
    return usual if most is None else min(most, usual)


# --- the rest --------------------------------------------------------------------------------------


async def _try_status(trial: Trial, posts: Findings) -> Findings:
    """A status_url is optional; one that lies takes sales back, or invents them."""
    url, timeout_ms = trial.contract.endpoint.status_url, trial.contract.endpoint.post_timeout_ms
    if url is None:
        return Findings(checks=judging.skipped(_STATUS_CHECKS, "the contract has no status_url"))
    target = trial.guard.check_url(url)
    if not isinstance(target, Target):
        refused = judging.refused_url("status_url", target)
        return Findings(checks=(refused, *judging.skipped(_STATUS_CHECKS, "it was not asked")))
    never = asking_for(target, trial.new_id("att"))
    asked = await trial.line.get(never, timeout_ms)
    reached = judging.reachable("status_url", asked)
    if asked.reply.failure in judging.NO_CONNECTION:
        checks = (reached, *judging.skipped(_STATUS_CHECKS, "there was no connection"))
        return Findings(checks=checks)
    unknown = judging.status_check("status_unknown", asked, "unknown")
    wanted = _decided(posts.result)
    if wanted is None:
        known = judging.skipped(("status_known",), "the post had no definite answer to ask about")
        return Findings(checks=(reached, *known, unknown), exchanges=(asked.exchange("status"),))
    about = await trial.line.get(asking_for(target, posts.posted), timeout_ms)
    told = judging.status_check("status_known", about, wanted)
    return Findings(checks=(reached, told, unknown), exchanges=(about.exchange("status"),))


def _decided(result: PostResult | None) -> str | None:
    """The word status_url should have for the post; None where it has no definite outcome.

    What was refused by its status may well be unknown there.
    """
    match result:
        case Accepted():
            return "accepted"
        case Rejected(reason=BuyerReason.REJECTED):
            return "rejected"
        case _:
            return None


def _signature_checks(what: str, found: dict[str, Sent]) -> tuple[Check, ...]:
    forged = {how: found[how] for how in (UNSIGNED, FORGED)}
    return (
        judging.refuses(f"{what}_signature", forged, _SIGNATURE),
        judging.refuses(f"{what}_timestamp", {STALE: found[STALE]}, _TIMESTAMP),
    )


def _not_taken(what: str) -> tuple[Check, ...]:
    names = (f"{what}_signature", f"{what}_timestamp")
    return judging.skipped(names, f"even the rightly signed {what} was not taken")
