"""One snapshot's contracts, screened by their market's index."""

from collections.abc import Collection
from datetime import datetime
from operator import attrgetter
from typing import Final

from buyers.contract import Contract
from exchange.eligibility.filters import first_failing
from exchange.eligibility.index import Index
from exchange.eligibility.rows import Room, Row, rows_of
from exchange.eligibility.screening import Entry, Names, full, standing
from exchange.eligibility.values import Asker, Fields, Screening, Skipped, Skips, Usage
from exchange.plan import Plan, Tier
from exchange.reasons import SkipReason

_REMEMBERED_MAX: Final = 500_000  # contracts in all that is remembered: some megabytes a market


class View:
    """The contracts of one snapshot. Changed while its market is made, and by nobody afterwards."""

    __slots__ = ("_eligible", "_held", "_index", "_known", "_lasting", "_plan", "_remembered", "_room",
                 "_rows", "_told", "_usage")  # fmt: skip

    def __init__(self, index: Index | None = None) -> None:
        self._index = index or Index()
        self._room = Room()
        self._rows: list[Row | None] = []  # by slot
        self._held = 0  # its slots
        self._plan: Plan | None = None
        # With that plan, by seller and whether it is a test.
        self._lasting: dict[tuple[str, bool], tuple[int, int, int]] = {}
        self._known: dict[int, tuple[Row, ...]] = {}
        self._eligible: dict[int, tuple[Contract, ...]] = {}
        self._remembered = 0  # contracts in the three of them, since they were last forgotten
        self._usage: Usage | None = None
        self._told: dict[tuple[int, int, int], Skips] = {}  # with that usage

    @property
    def rows(self) -> list[Row | None]:
        """By slot. Who holds them keeps the slots from being used again."""
        return self._rows

    def copy(self) -> "View":
        """Another of the same index, to be changed."""
        found = View(self._index)
        found._rows, found._held = list(self._rows), self._held
        return found

    def put(self, entry: Entry) -> None:
        """A new contract, or another value of one that is there."""
        self.drop(entry[0].slug)
        row = self._index.put(entry)
        self._rows += [None] * (row.slot + 1 - len(self._rows))
        self._rows[row.slot] = row
        self._held |= 1 << row.slot

    def drop(self, slug: str) -> None:
        self._forget()
        for slot in self._index.slots.get(slug, ()):
            if slot < len(self._rows) and self._rows[slot] is not None:
                self._rows[slot] = None
                self._held ^= 1 << slot

    def screen(
        self,
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
        """As `screening.screen` would judge the same contracts, given by slug."""
        stands = self._index.standing
        if tiers is None:
            retired, lasting, count = self._standing(asker, plan)
        else:
            retired, lasting, count = stands.lasting(
                asker, plan, stands.of_tiers(plan, tiers, self._held)
            )
        suited, late = self._index.suited(lasting, fields, known=known, kept=kept)
        unsuited = count - suited.bit_count()
        suited |= retired
        stopped = suited if paused else stands.stopped(asker, suited)
        left = suited ^ stopped
        fitting = left
        for layer in late:
            fitting = layer.left(fields, fitting)
        fit, skipped = self._with_room(fitting, asker, usage, now)
        if stopped or late:
            others = [_stopped(row, asker, paused) for row in self._of(stopped)]
            others += [_filtered(row, fields, known) for row in self._of(left ^ fitting)]
            skipped = skipped.also(others)
        return Screening(self._contracts(fit), skipped, unsuited)

    def _standing(self, asker: Asker, plan: Plan) -> tuple[int, int, int]:
        """Of all of them `Standing.lasting`: remembered until the plan is another."""
        if plan is not self._plan:
            self._plan = plan
            self._lasting.clear()
        key = asker.seller, asker.test
        found = self._lasting.get(key)
        if found is None:
            self._remember(1)
            found = self._lasting[key] = self._index.standing.lasting(asker, plan, self._held)
        return found

    def _remember(self, contracts: int) -> None:
        """There is room for so many more: sellers' values make the masks, and may make any number."""
        self._remembered += contracts
        if self._remembered > _REMEMBERED_MAX:
            self._forget()
            self._remembered = contracts

    def _forget(self) -> None:
        self._remembered = 0
        for memory in (self._lasting, self._known, self._eligible, self._told):
            memory.clear()

    def _contracts(self, mask: int) -> tuple[Contract, ...]:
        """By slug, as their rows."""
        found = self._eligible.get(mask)
        if found is None:
            rows = _sorted(rows_of(mask, self._rows))
            self._remember(len(rows) + 1)
            found = self._eligible[mask] = tuple([row.contract for row in rows])
        return found

    def _of(self, mask: int) -> tuple[Row, ...]:
        """By slug. Pings are much alike, and so are the masks they come to."""
        found = self._known.get(mask)
        if found is None:
            rows = _sorted(rows_of(mask, self._rows))
            self._remember(len(rows) + 1)
            found = self._known[mask] = tuple(rows)
        return found

    def _with_room(self, fit: int, asker: Asker, usage: Usage, now: datetime) -> tuple[int, Skips]:
        """Who of the fitting is open and has room, and why the others are not or have none."""
        rows = self._rows
        closed = self._room.closed(fit, rows, now)
        fit ^= closed
        if asker.test:
            return fit, self._roomless(closed, 0, 0, usage)
        used_up, paced = self._room.limited(fit, rows, usage)
        ahead = 0
        for row in self._of(paced):
            if full(row.contract, usage, now) is not None:
                ahead |= 1 << row.slot
        return fit ^ used_up ^ ahead, self._roomless(closed, used_up, ahead, usage)

    def _roomless(self, closed: int, used_up: int, ahead: int, usage: Usage) -> Skips:
        """Why these have no room, by slug: remembered until the usage is another."""
        if usage is not self._usage:
            self._usage = usage
            self._told.clear()
        masks = closed, used_up, ahead
        found = self._told.get(masks)
        if found is None:
            skipped = [row.closed for row in self._of(closed)]
            skipped += [row.skipped(usage.full[row.contract.id]) for row in self._of(used_up)]
            skipped += [row.skipped(SkipReason.PACED) for row in self._of(ahead)]
            by_slug = sorted(skipped, key=attrgetter("contract"))
            self._remember(len(by_slug) + 1)
            found = self._told[masks] = Skips(by_slug)
        return found


def _sorted(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=attrgetter("contract.slug"))


def _stopped(row: Row, asker: Asker, paused: bool) -> Skipped:
    reason = standing(row.contract, asker, paused=paused)
    assert reason is not None, "it is in the mask of those who are"
    return row.skipped(reason)


def _filtered(row: Row, fields: Fields, known: Names) -> Skipped:
    """By a filter that is not kept: of those that are, all have held."""
    failed = first_failing(row.filters, fields, known)
    assert failed is not None, "it is in the mask of those who failed one"
    return Skipped(row.contract.slug, SkipReason.FILTERED, failed.told)
