"""Idempotency-Key: one run per key, the same answer ever after (contract §3)."""

import asyncio
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import orjson
from aiohttp import web

from exchange.deadline import Deadline
from exchange.errors import Refusal, StoreUnavailable
from exchange.house import House
from exchange.http.problems import Answer
from exchange.http.waiting import answer_of_lead
from exchange.sellers import Seller
from exchange.store.rows import Claim, ClaimKey

_LOOK_EVERY_S: Final = 0.05
_FREE_WITHIN_S: Final = 0.5
_FREE_AFTER: Final = frozenset(
    {400, 401, 403, 404, 408, 413, 422, 429, 503}
)  # and 409, 5xx: nothing ran


@dataclass(frozen=True, slots=True)
class Replay:
    """What a key was answered before, or is being answered now."""

    answer: Answer


def read_key(request: web.Request, seller: Seller, run: UUID) -> ClaimKey | None:
    """The key of a seller's request, if it has one. Refuses with 422 what is no key."""
    key = key_of(request)
    return None if key is None else ClaimKey(seller.id, request.path, key, run)


def key_of(request: web.Request) -> str | None:
    """The Idempotency-Key of a request, if it has one. Refuses with 422 what is no key."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not 1 <= len(key) <= 255 or not all("!" <= char <= "~" for char in key):
        raise Refusal(
            422, "invalid_request", "Idempotency-Key must be 1 to 255 visible ASCII characters"
        )
    return key


async def claim(
    house: House, key: ClaimKey, body: dict[str, Any], deadline: Deadline
) -> Replay | None:
    """None: the key is ours, run the request. Otherwise the answer, waited for if need be.

    A key whose holder died is freed by recovery within 3 s; then it is ours.
    """
    digest = house.vault.blind("body", orjson.dumps(body, option=orjson.OPT_SORT_KEYS).hex())
    while True:
        try:
            found = await house.store.claim(key, digest, house.worker)
        except (StoreUnavailable, asyncio.CancelledError):
            free_later(house, key)  # it may be ours without our having heard so
            raise
        if found.won:
            return None
        if not found.same_body:
            raise Refusal(422, "idempotency_mismatch")
        if found.lead_id is not None:
            answer = await answer_of_lead(house, found.lead_id, deadline)
            if answer is not None:
                return Replay(answer)
        elif found.status is not None:
            return Replay(_stored(found))
        if deadline.left_ms(house.now_s()) <= 0:
            raise Refusal(409, "in_progress", retry_after_s=1)
        await asyncio.sleep(min(_LOOK_EVERY_S, deadline.left_ms(house.now_s()) / 1000))


async def release(house: House, key: ClaimKey | None, refusal: Refusal) -> None:
    """After a refusal: the key is free again, or keeps the refusal where the contract stores it."""
    if key is None:
        return
    if refusal.status in _FREE_AFTER or refusal.status == 409 or refusal.status >= 500:
        freed = free_later(house, key)
        # Usually at once, so that the key can be used again as soon as this is answered.
        await asyncio.wait([freed], timeout=_FREE_WITHIN_S)
    else:
        stored = orjson.dumps({"problem": _kept(refusal)})
        await house.store.finish_claim(key, refusal.status, stored)


def free_later(house: House, key: ClaimKey) -> "asyncio.Task[Any]":
    """Free a key for sure, however long the database takes; nothing if another request has it."""
    return house.own(house.insist(lambda: house.store.free_claim(key)), "free key")


def _kept(refusal: Refusal) -> dict[str, Any]:
    return {"code": refusal.code, "detail": refusal.detail}


def _stored(found: Claim) -> Answer:
    assert found.status is not None
    assert found.answer is not None
    if found.status != 200:
        kept = orjson.loads(found.answer)["problem"]
        raise Refusal(found.status, kept["code"], kept["detail"])
    return Answer(found.answer)
