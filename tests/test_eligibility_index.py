"""The index says what the plain judge says: of any catalogue, after any changes, of every snapshot."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buyers.contract import AnyOf, Cap, CapKind, Contract, Filter, Not, Op, Schedule
from exchange.catalogue import Market, Shelf, entry_of, market_of
from exchange.eligibility import Asker, Screening, Usage, columns, index, places, screen, view
from exchange.eligibility.columns import Postings, Steps
from exchange.eligibility.index import Index
from exchange.eligibility.places import clauses_of
from exchange.geo import Circle, Places
from exchange.plan import Plan, Tier, TierMode, default_plan
from exchange.reasons import SkipReason
from exchange.verticals import read_vertical
from tests.making import a_buyer, a_contract, an_endpoint, fixed
from tests.test_eligibility import FIELDS, conditions, filters, has, leads

VERTICAL = read_vertical(
    {"slug": "loans", "name": "Loans", "fields": [{"name": "a", "type": "string", "stage": "ping"}]}
)
ASKER, PLAN, EMPTY = Asker(seller="mill"), default_plan("loans"), Usage()
OF_THREE = Plan(
    vertical="loans",
    tiers=(
        Tier(name="auction", mode=TierMode.AUCTION),
        Tier(name="silver", mode=TierMode.PRICE),
        Tier(name="waterfall", mode=TierMode.PRIORITY),
    ),
)
# Few enough that a handful of contracts passes each of them.
SMALL = {
    (places, "_CLAUSES_MAX"): 2, (places, "_APART_MAX"): 2, (places, "_LISTED_MAX"): 1,
    (columns, "_FEW_MAX"): 1, (columns, "_BLOCK_MAX"): 2, (view, "_REMEMBERED_MAX"): 3,
}  # fmt: skip


@contextmanager
def limits(small: bool) -> Iterator[None]:
    with ExitStack() as stack:
        for (module, name), value in SMALL.items():
            if small:
                stack.enter_context(patch.object(module, name, value))
        yield


@dataclass(frozen=True, kw_only=True)
class Request:
    """Everything that screening is told besides the contracts."""

    fields: dict[str, Any] = field(default_factory=dict)
    asker: Asker = ASKER
    plan: Plan = PLAN
    usage: Usage = EMPTY
    now: datetime = datetime(2026, 11, 25, 15, tzinfo=UTC)
    unknown: frozenset[str] = frozenset()
    unkept: frozenset[str] = frozenset()
    paused: bool = False
    behind: bool = False

    def told(self) -> dict[str, Any]:
        return {
            "now": self.now,
            "known": lambda name: name not in self.unknown,
            "kept": lambda name: name not in self.unkept,
            "paused": self.paused,
            "tiers": self.plan.waterfall if self.behind else None,
        }


def check(market: Market, request: Request) -> Screening:
    """Both judges say the same."""
    rest = (request.fields, request.asker, request.plan, request.usage)
    expected = screen(market.contracts, *rest, **request.told())

    assert expected == market.index.screen(*rest, **request.told())
    return expected


def changed(market: Market, *changes: Contract | str) -> Market:
    """The next snapshot: contracts that are put, slugs that are dropped."""
    shelf = Shelf(market)
    for one in changes:
        if isinstance(one, str):
            shelf.drop(one)
        else:
            shelf.put(entry_of(one))
    return shelf.done(market)


def empty() -> Market:
    return market_of(VERTICAL, None, ())


# --- anything at all ------------------------------------------------------------------------------

BUYERS = [a_buyer("ann"), a_buyer("bob"), a_buyer("cyd", active=False)]
SLUGS = [f"c-{n}" for n in range(6)]
WORKDAYS = Schedule(timezone="America/New_York", hours=(((540, 1020),),) * 5 + ((), ()))
SHUT = Schedule(timezone="UTC", hours=((),) * 7)
PACED = Cap(kind=CapKind.SALES, period="day", limit=10, paced=True)
few_sellers = st.frozensets(st.sampled_from(["mill", "farm"]), max_size=2)
contracts = st.builds(
    lambda slug, accepts_test, **more: a_contract(
        slug, id=SLUGS.index(slug), endpoint=an_endpoint(accepts_test=accepts_test), **more
    ),
    st.sampled_from(SLUGS),
    st.booleans(),
    active=st.sampled_from([True, True, True, False]),
    retired=st.sampled_from([False, False, False, True]),
    buyer=st.sampled_from(BUYERS),
    tier=st.sampled_from(["auction", "auction", "waterfall", "silver", "gone"]),
    pricing=st.sampled_from([a_contract().pricing, fixed(5)]),
    filters=st.lists(filters, max_size=3).map(tuple) | st.lists(conditions, max_size=8).map(tuple),
    caps=st.sampled_from([(), (PACED,)]),
    schedule=st.sampled_from([None, None, WORKDAYS, SHUT]),
    sellers_allow=few_sellers,
    sellers_deny=st.just(frozenset()) | few_sellers,
)
ids = st.integers(0, len(SLUGS) - 1)
usages = st.builds(
    Usage,
    full=st.dictionaries(
        ids, st.sampled_from([SkipReason.CAP_SALES, SkipReason.CREDIT]), max_size=3
    ),
    paced=st.dictionaries(ids, st.tuples(st.tuples(st.integers(0, 10), st.just(10))), max_size=3),
)
names = st.frozensets(st.sampled_from("abcd"), max_size=2)
requests = st.builds(
    Request,
    fields=leads,
    asker=st.builds(
        Asker,
        seller=st.sampled_from(["mill", "farm", "shop"]),
        excluded=st.frozensets(st.sampled_from(["ann", "bob"]), max_size=1),
        test=st.booleans(),
    ),
    plan=st.sampled_from([PLAN, OF_THREE]),
    usage=usages,
    now=st.sampled_from(
        [datetime(2026, 11, 25, 15, tzinfo=UTC), datetime(2026, 11, 28, tzinfo=UTC)]
    ),
    unknown=names,
    unkept=names,
    paused=st.sampled_from([False, False, False, True]),
    behind=st.booleans(),
)
many_requests = st.lists(requests, min_size=1, max_size=3)


@pytest.mark.parametrize("small", [False, True], ids=["usual limits", "small limits"])
@settings(max_examples=300, deadline=None)
@given(st.lists(contracts, max_size=8), many_requests)
def test_any_catalogue_is_screened_as_the_plain_judge_screens_it(
    small: bool, some: list[Contract], asked: list[Request]
) -> None:
    """Every reason, every op, `any` and `not` however nested, absent fields, values of other kinds."""
    with limits(small):
        market = changed(empty(), *some)
        for request in asked:
            check(market, request)


changes = st.lists(contracts | st.sampled_from(SLUGS), min_size=1, max_size=3)
refreshes = st.lists(st.tuples(changes, st.booleans()), min_size=1, max_size=8)


@pytest.mark.parametrize("small", [False, True], ids=["usual limits", "small limits"])
@settings(max_examples=200, deadline=None)
@given(refreshes, many_requests)
def test_every_snapshot_stays_as_it_was(
    small: bool, steps: list[tuple[list[Contract | str], bool]], asked: list[Request]
) -> None:
    """Some snapshots are still in use when others are made, some are given up before they are in
    force; slots are used again."""
    with limits(small):
        in_use = [empty()]
        for made, is_kept in steps:
            abandoned = Shelf(in_use[-1])
            for one in made:
                if isinstance(one, Contract):
                    abandoned.put(entry_of(one))
            del abandoned
            in_use.append(changed(in_use[-1], *made))
            if not is_kept:
                del in_use[-2]
            for request in asked:
                check(in_use[-1], request)
        for market in in_use:
            for request in asked:
                check(market, request)


@settings(max_examples=200, deadline=None)
@given(st.lists(contracts, max_size=8))
def test_an_index_that_everybody_left_is_empty(some: list[Contract]) -> None:
    """Whatever is put is found again when it is cleared: nothing is kept for ever."""
    found = Index()
    for one in some:
        found.put(entry_of(one))  # nobody holds the row
    found.sweep(len(some))

    assert {} == found.groups == found.slots == found._placed
    assert () == found._reads
    assert 0 == found.standing.active == found.standing.fixed == found.standing.tests
    assert 0 == found.standing.tiers.mask("auction") == found.standing.buyers.mask("ann")


digits = st.integers(0, 2)
tight = st.recursive(
    st.one_of(
        st.builds(has, ab := st.sampled_from("ab"), st.sampled_from([Op.EQ, Op.NE]), digits),
        st.builds(has, ab, st.sampled_from([Op.IN, Op.NOT_IN]), st.frozensets(digits, min_size=1)),
        st.builds(has, ab, st.sampled_from([Op.LT, Op.LTE, Op.GT, Op.GTE]), digits),
        st.builds(has, ab, st.just(Op.BETWEEN), st.tuples(digits, digits)),
        st.builds(has, ab, st.just(Op.EXISTS), st.booleans()),
    ),
    lambda inner: (
        st.builds(Not, inner) | st.builds(AnyOf, st.lists(inner, min_size=2, max_size=3).map(tuple))
    ),
    max_leaves=5,
)
EVERY_LEAD = [{"a": a, "b": b} for a in (None, 0, 1, 2) for b in (None, 0, 1, 2)]


@pytest.mark.parametrize("small", [False, True], ids=["usual limits", "small limits"])
@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(tight, min_size=1, max_size=4).map(tuple), min_size=1, max_size=4))
def test_every_lead_of_a_small_world_is_judged_alike(
    small: bool, some: list[tuple[Filter, ...]]
) -> None:
    """Filters that often meet in one column, and nothing else that could rule a contract out."""
    with limits(small):
        made = [a_contract(f"c-{n}", filters=wanted) for n, wanted in enumerate(some)]
        market = changed(empty(), *made)
        for fields in EVERY_LEAD:
            check(market, Request(fields=fields))


# --- circles --------------------------------------------------------------------------------------

TOWNS = {
    "90210": (34.09, -118.41), "90001": (33.97, -118.25), "93101": (34.42, -119.70),
    "85001": (33.45, -112.07), "78704": (30.24, -97.77), "78701": (30.27, -97.74),
    "10001": (40.75, -74.00), "11201": (40.69, -73.99), "99501": (61.22, -149.86),
    "96799": (-14.27, -170.70), "02108": (42.36, -71.07), "60601": (41.89, -87.62),
}  # fmt: skip
MAPS = [Places(TOWNS), Places({code: TOWNS[code] for code in ("90210", "78704", "10001")})]


def circle(map_: Places, code: str, miles: int) -> Circle:
    found = map_.within(code, Decimal(miles))
    assert found is not None
    return found


near = st.builds(
    lambda map_, code, miles: has("zip", Op.ZIP_WITHIN, circle(map_, code, miles)),
    st.sampled_from(MAPS),
    st.sampled_from(["90210", "78704", "10001"]),
    st.sampled_from([1, 3, 12, 80, 120, 500, 3000, 12_000]),
)
rounds = near | st.builds(Not, near) | st.builds(AnyOf, st.lists(near, max_size=4).map(tuple))
around = st.lists(rounds, max_size=3).map(tuple)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(SLUGS), around | st.none()), max_size=12),
    st.lists(st.sampled_from([*TOWNS, "00000", None, 5]), min_size=1, max_size=4),
)
def test_circles_are_found_by_where_they_are(
    puts: list[tuple[str, tuple[Filter, ...] | None]], codes: list[Any]
) -> None:
    """Whichever map they are on, how many want the same, and when they come and go."""
    market = empty()
    for slug, wanted in puts:
        one = slug if wanted is None else a_contract(slug, filters=wanted)
        market = changed(market, one)
        for code in codes:
            check(market, Request(fields={"zip": code}))


# --- the parts ------------------------------------------------------------------------------------

numbers = st.integers(0, 12)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), numbers), max_size=60), st.integers(2, 5))
def test_steps_find_all_below(puts: list[tuple[int, int]], block_max: int) -> None:
    """However the values are split into blocks, and whichever are taken out again."""
    with patch.object(columns, "_BLOCK_MAX", block_max):
        steps, stand = Steps(), dict[int, int]()
        for slot, value in puts:
            if slot in stand:
                steps.remove(stand.pop(slot), slot)
            else:
                steps.add(value, slot)
                stand[slot] = value
            for end in range(14):
                expected = sum(1 << slot for slot, one in stand.items() if one < end)
                assert expected == steps.below(end, itself=False)
                assert expected == steps.below(end - 1, itself=True)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.sampled_from("ab"), st.integers(0, 5)), max_size=40))
def test_postings_are_sets_of_slots(puts: list[tuple[bool, str, int]]) -> None:
    """Whether few or many have a value, and when one is named twice."""
    with patch.object(columns, "_FEW_MAX", 2):
        postings, stand = Postings(), dict[str, set[int]]()
        for is_added, value, slot in puts:
            there = stand.setdefault(value, set())
            if is_added:
                postings.add(value, slot)
                there.add(slot)
            elif slot in there:
                postings.remove(value, slot)
                there.discard(slot)
            for one, slots in stand.items():
                assert sum(1 << slot for slot in slots) == postings.mask(one)


def test_any_and_not_are_multiplied_out() -> None:
    """Clauses that must all hold; too many are none at all."""
    a, b, c, d = (has(name, Op.EQ, 1) for name in "abcd")
    pairs = AnyOf((Not(AnyOf((a, b))), Not(AnyOf((c, d)))))

    assert [[(a, False)]] == clauses_of(Not(Not(a)))
    assert [[(a, True)], [(b, True)]] == clauses_of(Not(AnyOf((a, b))))
    assert [[(a, True), (c, True)], [(a, True), (d, True)],
            [(b, True), (c, True)], [(b, True), (d, True)]] == clauses_of(pairs)  # fmt: skip
    assert [[]] == clauses_of(AnyOf(()))  # never holds
    assert None is clauses_of(AnyOf((pairs, pairs)))


def wide(count: int) -> Filter:
    """Of so many conditions, each under `not`."""
    return AnyOf(tuple(Not(has("age", Op.GTE, 20 + n)) for n in range(count)))


TEXAN = has("state", Op.EQ, "TX")
ZIPS = frozenset(f"{n:05}" for n in range(60_000, 100_000))
STANDS: list[tuple[tuple[Filter, ...], bool]] = [
    # (filters, whether a lead of a Texan of 34 in 78704 suits)
    ((has("zip", Op.IN, ZIPS),), True),
    ((has("zip", Op.NOT_IN, ZIPS),), False),
    ((has("zip", Op.IN, ZIPS - {"78704"}),), False),
    ((wide(15),), False),  # below 20, or … below 34
    ((wide(16),), True),  # … or below 35
    ((Not(wide(16)),), False),
    (tuple(has("age", Op.GTE, 10 + n) for n in range(25)), True),
    (tuple(has("age", Op.GTE, 10 + n) for n in range(26)), False),
    (tuple(has("state", Op.NE, code) for code in ("CA", "NY", "NJ")), True),
    (tuple(has("state", Op.NE, code) for code in ("CA", "TX", "NJ")), False),
    (tuple(Not(has("state", Op.EQ, code)) for code in ("CA", "TX")), False),
    ((AnyOf((has("insured", Op.EQ, 1), has("age", Op.EQ, 34))),), True),
    ((has("insured", Op.EQ, 1),), False),  # true is not 1, though their hashes are equal
    ((Not(has("insured", Op.IN, frozenset({1, 0}))),), True),
    ((has("income", Op.IN, frozenset({Decimal("52000.50")})),), True),
    ((AnyOf(()),), False),
    ((AnyOf((TEXAN, has("age", Op.GT, 90))),), True),
    ((AnyOf((has("age", Op.GT, 90), TEXAN)),), True),
    ((TEXAN, has("state", Op.EQ, "CA")), False),
    ((AnyOf((has("state", Op.NE, "TX"), has("state", Op.NE, "CA"))),), True),
    ((has("age", Op.BETWEEN, (40, 30)),), False),
    ((Not(has("age", Op.BETWEEN, (40, 30))),), True),
]


@pytest.mark.parametrize(("wanted", "suits"), STANDS, ids=range(len(STANDS)))
def test_a_filter_stands_in_the_index(wanted: tuple[Filter, ...], suits: bool) -> None:
    """In its columns, or as a question of its own, beside others of the same kind."""
    others = [a_contract(f"other-{n}", id=n, filters=(TEXAN, wide(n))) for n in range(2, 5)]
    market = changed(empty(), a_contract("c", filters=wanted), *others)

    found = check(market, Request(fields=FIELDS))
    assert suits is ("c" in [contract.slug for contract in found.eligible])


def test_who_a_value_rules_out_is_asked_again_once_contracts_come_and_go() -> None:
    """Of a snapshot that was screened with the same lead before, and of one whose slots are new."""
    texan = Request(fields={"state": "TX"})
    market = changed(empty(), a_contract("one", filters=(has("state", Op.EQ, "TX"),)))
    for wanted in ("CA", "TX", "NY", "TX"):
        check(market, texan)
        market = changed(market, a_contract("two", filters=(has("state", Op.EQ, wanted),)))
        check(market, texan)
    for number in range(3):  # the slots of contracts that nobody has any more
        market = changed(market, "one", "two", a_contract(f"new-{number}"))
        check(market, texan)


@pytest.mark.parametrize("most", [1, 128])
def test_who_a_value_rules_out_is_known_by_its_kind(
    monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """True is not 1; a list is a value, too; and no more is remembered than may be."""
    monkeypatch.setattr(index, "_OUTS_MAX", most)
    values: list[Any] = [1, True, 0, False, None, "1", "", 1.0, [1], {"b": 1}]
    wanted = [has("a", Op.EQ, 1), has("a", Op.EQ, True), has("a", Op.EQ, "1"),
              has("a.b", Op.EQ, 1), has("a.0", Op.EQ, 1), has("a", Op.EXISTS, False)]  # fmt: skip
    market = changed(
        empty(), *(a_contract(f"c-{n}", filters=(one,)) for n, one in enumerate(wanted))
    )
    for value in [*values, *reversed(values)]:
        check(market, Request(fields={"a": value}))
    found = [check(market, Request(fields={"a": value})) for value in (1, True, "1")]

    assert [["c-0"], ["c-1"], ["c-2"]] == [[one.slug for one in each.eligible] for each in found]


def test_hours_are_read_again_with_every_minute() -> None:
    """Open to the last second of a range, closed with the next minute; earlier minutes may come too."""
    market = changed(empty(), a_contract(schedule=WORKDAYS))
    closes = datetime(2026, 11, 25, 22, tzinfo=UTC)  # 17:00 in New York
    seconds = [
        closes - timedelta(hours=12),
        closes - timedelta(seconds=1),
        closes,
        closes - timedelta(seconds=1),
    ]
    found = [check(market, Request(now=now)) for now in seconds]

    assert [0, 1, 0, 1] == [len(one.eligible) for one in found]


def test_why_there_is_no_room_is_looked_up_again_with_the_usage() -> None:
    """The same contract, for another reason, is in the same masks."""
    full = a_contract("c")
    market = changed(empty(), full)
    for reason in (SkipReason.CAP_SALES, SkipReason.CREDIT, SkipReason.CAP_SALES):
        usage = Usage(full={full.id: reason})
        found = check(market, Request(usage=usage))
        assert [reason] == [one.reason for one in found.skipped]
        assert found == check(market, Request(usage=usage))


def test_who_is_ahead_of_the_day_is_not_when_it_has_gone_on() -> None:
    """With the same usage: what a spread cap allows grows by itself."""
    spread = a_contract("c", caps=(PACED,))
    market = changed(empty(), spread)
    usage = Usage(paced={spread.id: ((3, 10),)})
    for hour, reasons in ((2, [SkipReason.PACED]), (20, []), (2, [SkipReason.PACED])):
        now = datetime(2026, 11, 25, hour, tzinfo=UTC)
        found = check(market, Request(usage=usage, now=now))
        assert reasons == [one.reason for one in found.skipped]


def test_a_contract_put_again_is_in_its_new_slot_only() -> None:
    """Slots are used again once nobody has them: a thousand changes need a few."""
    market = changed(empty(), *(a_contract(slug, id=n) for n, slug in enumerate(SLUGS)))
    for n in range(1000):
        market = changed(market, a_contract(SLUGS[n % 6], id=n % 6, priority=n))

    found = check(market, Request())
    assert [996, 997, 998, 999, 994, 995] == [one.priority for one in found.eligible]
    assert len(market.index.rows) < 12


def test_what_is_remembered_is_bounded_whatever_sellers_send() -> None:
    """Every value comes to another mask; each is judged right, and few stay."""
    many = [a_contract(f"c{n}", id=n, filters=(has("a", Op.LTE, n),)) for n in range(30)]
    market = changed(empty(), *many)
    with patch.object(view, "_REMEMBERED_MAX", 100):
        for value in (*range(30), *range(30)):
            found = check(market, Request(fields={"a": value}))
            assert len(found.eligible) == 30 - value
        told = market.index
        memories = (told._known, told._eligible, told._told)
        assert sum(len(rows) for memory in memories for rows in memory.values()) <= 100
