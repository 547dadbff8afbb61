"""Judges contracts one after the other: what the index (index.py) must agree with."""

from collections.abc import Callable, Collection, Iterable
from datetime import datetime

from buyers.contract import Contract
from exchange.caps import allowed, day_over
from exchange.eligibility.filters import first_failing
from exchange.eligibility.values import Asker, Compiled, Fields, Screening, Skipped, Skips, Usage
from exchange.plan import Plan, Tier
from exchange.reasons import SkipReason

Entry = tuple[Contract, tuple[Compiled, ...]]  # a contract and its filters, ready to judge
Names = Callable[[str], bool]  # whether a field is one of those meant


def screen(
    contracts: Iterable[Entry],
    fields: Fields,
    asker: Asker,
    plan: Plan,
    usage: Usage,
    *,
    now: datetime,
    known: Names,
    kept: Names,
    paused: bool = False,
    tiers: Collection[Tier] | None = None,
) -> Screening:
    """Judge every contract in the order given; the first reason found is the one told.

    First what lasts: tier, test, seller, filters. A contract that these rule out is only counted, for
    the version of the catalogue and the lead decide it for ever. Then what passes: pause, exclusion,
    hours, room; whom it stops is named in `skipped`.

    `known(field)` is False for fields that this stage has not got yet: a filter that reads one is
    left to the post. `kept(field)` is False for those that the receipt does not hold: filters on one
    are judged between exclusion and hours, and who failed one is named, since nobody could find it
    out again. A retired contract (kept for its open attempts) is named as paused, whatever else.
    `paused`: the whole exchange is. `tiers`: contracts of others are left out; None: all are judged.
    """
    eligible, skipped, unsuited = [], [], 0
    for contract, filters in contracts:
        tier = plan.tier_of(contract)
        if tiers is not None and tier not in tiers:
            continue
        lasts = not contract.retired and (
            _lasting(contract, asker, tier) is not None
            or first_failing(_kept(filters, kept), fields, known) is not None
        )
        if lasts:
            unsuited += 1
        elif (reason := standing(contract, asker, paused=paused)) is not None:
            skipped.append(Skipped(contract.slug, reason))
        elif (failed := first_failing(filters, fields, known)) is not None:
            skipped.append(Skipped(contract.slug, SkipReason.FILTERED, failed.told))
        elif (reason := no_room(contract, asker, usage, now)) is not None:
            skipped.append(Skipped(contract.slug, reason))
        else:
            eligible.append(contract)
    return Screening(tuple(eligible), Skips(skipped), unsuited)


def why_unsuited(
    contracts: Iterable[Entry], fields: Fields, asker: Asker, plan: Plan, *, known: Names
) -> list[Skipped]:
    """Those that `screen` counted as unsuited, of contracts that the receipt says nothing else of.
    They are given as they were then, whether or not they have been paused or retired since.
    `known`: the fields that the stage had got and the receipt holds."""
    found = []
    for contract, filters in contracts:
        reason = _lasting(contract, asker, plan.tier_of(contract))
        failed = None if reason is not None else first_failing(filters, fields, known)
        if reason is not None:
            found.append(Skipped(contract.slug, reason))
        elif failed is not None:
            found.append(Skipped(contract.slug, SkipReason.FILTERED, failed.told))
    return found


def _kept(filters: Iterable[Compiled], kept: Names) -> Iterable[Compiled]:
    return (one for one in filters if all(map(kept, one.fields)))


def _lasting(contract: Contract, asker: Asker, tier: Tier | None) -> SkipReason | None:
    """What the version of the catalogue and the request decide for ever, whatever the fields."""
    if tier is None:
        return SkipReason.NO_TIER
    if asker.test and not contract.endpoint.accepts_test:
        return SkipReason.NO_TEST
    if asker.seller in contract.sellers_deny:
        return SkipReason.SELLER_NOT_ALLOWED
    if contract.sellers_allow and asker.seller not in contract.sellers_allow:
        return SkipReason.SELLER_NOT_ALLOWED
    return None


def standing(contract: Contract, asker: Asker, *, paused: bool) -> SkipReason | None:
    """Whether anybody stopped the contract, for all leads or for this one."""
    if paused or contract.retired or not (contract.active and contract.buyer.active):
        return SkipReason.PAUSED
    return SkipReason.EXCLUDED if contract.buyer.slug in asker.excluded else None


def no_room(contract: Contract, asker: Asker, usage: Usage, now: datetime) -> SkipReason | None:
    """What may be otherwise a moment later: the hours, then the caps. A test touches no cap."""
    if contract.schedule is not None and not contract.schedule.is_open(now):
        return SkipReason.CLOSED
    return None if asker.test else full(contract, usage, now)


def full(contract: Contract, usage: Usage, now: datetime) -> SkipReason | None:
    """The cap or credit that is used up; None while there is room."""
    found = usage.full.get(contract.id)
    if found is not None or contract.id not in usage.paced:
        return found
    over = day_over(contract, now)
    ahead = over is not None and any(
        used >= allowed(limit, over) for used, limit in usage.paced[contract.id]
    )
    return SkipReason.PACED if ahead else None
