"""Finds what a crash left open, at start and from any other node; posting resolves it.

Three kinds of things may be left: work of a dead worker (adopted here within about 2 s), posts whose
outcome nobody knows (asked about when due), and awards of our own whose answer was lost.
"""

import asyncio
from contextlib import suppress
from typing import Final

from buyers.messages import NotSent, PostResult, Unconfirmed
from buyers.reasons import BuyerReason
from exchange.errors import StoreUnavailable
from exchange.house import House
from exchange.posting import settle
from exchange.resolving import resolve
from exchange.sale import resume
from exchange.store.rows import AttemptRow

BEAT_S: Final = 0.5
_STRAY_EVERY: Final = 10  # rounds
_GAP_S: Final = 2.0  # a beat slower than that is a gap
_STEADY_S: Final = 3.0  # after a gap: how long our heart beats before others are judged by theirs
_STRAY_S: Final = 10.0  # an intent older than that without a task is nobody's


async def keep_beating(house: House) -> None:
    """The heart: a task of its own, so that no other work can make this worker look dead."""
    while True:
        with suppress(StoreUnavailable):
            await beat(house)
        await asyncio.sleep(BEAT_S)


async def beat(house: House) -> None:
    """One beat. Only the heart tells that the database is away: a locked row does not."""
    began_s = house.now_s()
    try:
        await house.store.beat(house.worker)
    except StoreUnavailable:
        house.database_away = True
        raise
    except Exception as error:  # noqa: BLE001 - a heart that stops silently is the worst of all
        house.database_away = True
        house.observer.broke("heart", error)
        return
    was_away, house.database_away = house.database_away, False
    if was_away or house.now_s() - began_s > _GAP_S:
        house.beating_since_s = house.now_s()
    elif house.beating_since_s is None:  # we have just begun, and nobody was away
        house.beating_since_s = house.now_s() - _STEADY_S


async def keep_watch(house: House) -> None:
    """Adopt, resolve and sweep until cancelled; a database that is away is waited for."""
    rounds = 0
    while True:
        try:
            with suppress(StoreUnavailable):  # the next round tries again
                await one_round(house, sweep=rounds % _STRAY_EVERY == 0)
        except Exception as error:  # noqa: BLE001 - the watch must go on whatever one round met
            house.observer.broke("recovery", error)
        rounds += 1
        await asyncio.sleep(BEAT_S)


async def one_round(house: House, *, sweep: bool) -> None:
    """Whatever is to be taken up now."""
    if not house.loaded:  # without a catalogue nobody can be asked, and nothing resumed
        return
    beats = house.beating_since_s is not None and not house.database_away
    if beats and house.now_s() - (house.beating_since_s or 0.0) >= _STEADY_S:
        await _adopt(house)
    for attempt in await house.store.due(house.worker):
        house.own(_resolve(house, attempt), "resolve")
    if sweep:
        await _drop_strays(house)
    for lead_id in await house.store.idle_leads(house.worker, _STRAY_S):
        if lead_id not in house.selling:
            house.own(resume(house, lead_id), "resume")


async def _adopt(house: House) -> None:
    """Take over from the dead. Not in the first moments after the database was away: then nobody
    has beaten for a while, and the living would be taken for dead."""
    adopted = await house.store.adopt(house.worker)
    for lead_id in adopted.leads:
        house.own(resume(house, lead_id), "resume")
    if adopted.leads or adopted.interrupted or adopted.freed:
        house.observer.recovered("leads", len(adopted.leads))
        house.observer.recovered("intents", adopted.interrupted)
        house.observer.recovered("not_started", adopted.freed)


async def _resolve(house: House, attempt: AttemptRow) -> None:
    if await resolve(house, attempt) is not None:
        await resume(house, attempt.lead_id)  # another owner does it himself within a round


async def _drop_strays(house: House) -> None:
    """Intents of ours that no task works on any more. An award that was given up unheard was never
    delivered: what it holds is released. Of any other nobody knows how far it came."""
    for attempt in await house.store.stray_intents(house.worker, _STRAY_S):
        if attempt.id in house.under_way:
            continue
        result: PostResult = Unconfirmed(reason=BuyerReason.INTERRUPTED)
        if attempt.id in house.in_doubt:
            house.in_doubt.discard(attempt.id)
            result = NotSent(reason=BuyerReason.INTERRUPTED)
        house.own(settle(house, attempt.id, attempt.fence, result, 0.0), "stray")
