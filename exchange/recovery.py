"""Finds what a crash left open, at start and from any other node; posting resolves it.

Three kinds of things may be left: work of a dead worker (adopted here within about 2 s), posts whose
outcome nobody knows (asked about when due), and awards of our own whose answer was lost.
"""

import asyncio
from contextlib import suppress
from typing import Final

from buyers.messages import NotSent
from buyers.reasons import BuyerReason
from exchange.errors import StoreUnavailable
from exchange.house import House
from exchange.posting import settle
from exchange.resolving import resolve
from exchange.sale import resume
from exchange.store.rows import AttemptRow

BEAT_S: Final = 0.5
_STRAY_EVERY: Final = 10  # rounds
_STRAY_S: Final = 10.0  # an intent older than that without a task is nobody's


async def keep_watch(house: House) -> None:
    """Beat, adopt, resolve and sweep until cancelled; a database that is away is waited for."""
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
    """One beat and whatever is to be taken up now."""
    await _beat(house)
    if not house.loaded:  # without a catalogue nobody can be asked, and nothing resumed
        return
    adopted = await house.store.adopt(house.worker)
    for lead_id in adopted.leads:
        house.own(resume(house, lead_id), "resume")
    if adopted.leads or adopted.interrupted or adopted.freed:
        house.observer.recovered("leads", len(adopted.leads))
        house.observer.recovered("intents", adopted.interrupted)
        house.observer.recovered("not_started", adopted.freed)
    for attempt in await house.store.due(house.worker):
        house.own(_resolve(house, attempt), "resolve")
    if sweep:
        await _drop_strays(house)
    for lead_id in await house.store.idle_leads(house.worker, _STRAY_S):
        if lead_id not in house.selling:
            house.own(resume(house, lead_id), "resume")


async def _beat(house: House) -> None:
    """Only the heart tells that the database is away: a row that was locked too long does not."""
    try:
        await house.store.beat(house.worker)
    except StoreUnavailable:
        house.database_away = True
        raise
    house.database_away = False


async def _resolve(house: House, attempt: AttemptRow) -> None:
    if await resolve(house, attempt) is not None:
        await resume(house, attempt.lead_id)  # another owner does it himself within a round


async def _drop_strays(house: House) -> None:
    """An award of ours whose answer was lost was never delivered: what it holds is released."""
    for attempt in await house.store.stray_intents(house.worker, _STRAY_S):
        if attempt.id not in house.under_way:
            never = NotSent(reason=BuyerReason.INTERRUPTED)
            await settle(house, attempt.id, attempt.fence, never, None)
