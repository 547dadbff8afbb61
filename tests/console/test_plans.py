"""Plans: a vertical's tiers as the cascade they are, with the contracts of each in their order."""

from datetime import UTC, datetime
from typing import Any

import pytest

from exchange.apply import apply
from exchange.office.console.supply.cascade import cascade
from exchange.store.views.contracts import Listed
from tests.console.offices import Browser, ConsoleOffice, Page
from tests.offices import GUARD, a_contract


def listed(
    number: int, tier: str, *, price: str | None = None, state: str = "live", **head: Any
) -> Listed:
    pricing = {"mode": "fixed", "price": price} if price else {"mode": "bid"}
    body = {
        "tier": tier, "pricing": pricing, "priority": 10, "weight": 100, "percent": None, "buyer": "b",
        "active": state != "off",
    }  # fmt: skip
    return Listed(
        id=number, slug=f"c{number}", version=1, head=body | head, conditions=0, deleted=False,
        paused=state == "paused", buyer_paused=False, buyer_active=True, currency="USD", certified=None,
        certified_at=None,
    )  # fmt: skip


def tier(name: str, mode: str) -> dict[str, Any]:
    return {
        "name": name,
        "mode": mode,
        "window_ms": None,
        "period": "day" if mode == "percentage" else None,
    }


MODES: list[tuple[str, list[Listed], list[str]]] = [
    ("priority", [listed(1, "t", price="9", priority=20), listed(2, "t", price="1", priority=5), listed(3, "t", price="1", priority=20)], ["c2", "c1", "c3"]),
    ("price", [listed(1, "t", price="2"), listed(2, "t", price="10.5"), listed(3, "t", price="9")], ["c2", "c3", "c1"]),
    ("round_robin", [listed(1, "t", price="1"), listed(2, "t", price="1"), listed(3, "t", price="1")], ["c3", "c2", "c1"]),
    ("weighted", [listed(1, "t", price="1", weight=1), listed(2, "t", price="1", weight=3)], ["c2", "c1"]),
    ("percentage", [listed(1, "t", price="1", percent="30.00"), listed(2, "t", price="1", percent="70.00")], ["c2", "c1"]),
]  # fmt: skip


@pytest.mark.parametrize(("mode", "contracts", "order"), MODES)
def test_contracts_stand_in_the_order_of_their_tier(
    mode: str, contracts: list[Listed], order: list[str]
) -> None:
    """As they are posted to; who never sold has the next turn."""
    last = {1: datetime(2026, 1, 2, tzinfo=UTC), 2: datetime(2026, 1, 1, tzinfo=UTC)}
    drawn = cascade([tier("t", mode)], contracts, {}, last)
    assert order == [one.contract.slug for one in drawn.tiers[0].standings]


def test_shares_are_those_of_who_is_live() -> None:
    """A paused contract gets nothing of a draw."""
    contracts = [
        listed(1, "t", price="1", weight=1),
        listed(2, "t", price="1", weight=3),
        listed(3, "t", price="1", weight=9, state="paused"),
    ]
    drawn = cascade([tier("t", "weighted")], contracts, {2: (4, 8)}, {})
    assert {"c1": 0.25, "c2": 0.75, "c3": 0.0} == {
        one.contract.slug: one.share for one in drawn.tiers[0].standings
    }
    assert (4, 2) == (drawn.tiers[0].sold, drawn.tiers[0].live)


def test_without_a_plan_the_waterfall_takes_every_fixed_price() -> None:
    """A bidding contract of a tier that is not there is in none; with a plan, so is a fixed one."""
    contracts = [listed(1, "auction"), listed(2, "premium", price="3"), listed(3, "premium")]
    drawn = cascade(None, contracts, {}, {})
    assert [["c1"], ["c2"]] == [
        [one.contract.slug for one in each.standings] for each in drawn.tiers
    ]
    assert ["c3"] == [one.contract.slug for one in drawn.outside]
    written = cascade([tier("auction", "auction")], contracts, {}, {})
    assert ["c2", "c3"] == [one.contract.slug for one in written.outside]


async def test_a_plan_is_drawn_and_written(desk: ConsoleOffice) -> None:
    """Each tier with its contracts; the form writes the whole plan, with the version it was drawn from."""
    contracts = [
        ("contract", a_contract(f"rest-{number}", "zenith", tier="rest", priority=number, pricing={"mode": "fixed", "price": "3"}))
        for number in (30, 10, 20)
    ]  # fmt: skip
    await apply(desk.market.store.db, desk.market.vault, GUARD, contracts, by="test")
    admin = await desk.signed_in("admin")
    default = await admin.get("/console/plans/roofing")
    assert "The default: nobody has written a plan." in default.words
    assert "If-Match" not in default.text
    tiers = {
        "tiers": [tier("auction", "auction"), tier("rest", "priority"), tier("late", "percentage")]
    }
    assert 201 == (await admin.send("PUT", "/console/v1/plans/roofing", tiers)).status

    page = await admin.get("/console/plans/roofing")
    assert 200 == page.status
    places = [page.text.index(f'data-contract="rest-{number}"') for number in (10, 20, 30)]
    assert places == sorted(places)
    assert "No contract stands in it." in page.words
    assert 'data-count="3"' in page.text
    listed_page = await admin.get("/console/plans")
    assert "auction rest priority late percentage" in listed_page.words

    moved = await admin.send("PATCH", "/console/v1/contracts/rest-30", {"priority": 5})
    assert 200 == moved.status
    page = await admin.get("/console/plans/roofing")
    assert page.text.index('data-contract="rest-30"') < page.text.index('data-contract="rest-10"')


async def test_of_two_who_make_the_first_plan_the_later_is_told(desk: ConsoleOffice) -> None:
    """The page of a vertical without one sends If-None-Match: nobody's plan is written over."""
    ann, ben = await desk.signed_in("admin"), await desk.signed_in("operator")
    assert "data-fresh" in (await ann.get("/console/plans/roofing")).text

    async def send(who: Browser, name: str) -> Page:
        body = {"tiers": [tier(name, "priority")]}
        return await who.send("PUT", "/console/v1/plans/roofing", body, If_None_Match="*")

    assert 201 == (await send(ann, "first")).status
    late = await send(ben, "second")
    assert (412, "etag_mismatch") == (late.status, late.json["code"])
    page = await ben.get("/console/plans/roofing")
    assert "first" in page.words
    assert "data-fresh" not in page.text
    gone = await ann.send("DELETE", "/console/v1/plans/roofing")
    assert 204 == gone.status
    assert 201 == (await send(ben, "third")).status


async def test_what_the_plan_lacks_is_shown_apart(desk: ConsoleOffice) -> None:
    """Contracts of no tier, with a word about it."""
    admin = await desk.signed_in("admin")
    assert (
        201
        == (
            await admin.send(
                "PUT", "/console/v1/plans/roofing", {"tiers": [tier("other", "priority")]}
            )
        ).status
    )
    page = await admin.get("/console/plans/roofing")
    assert "In no tier" in page.words
    assert page.text.index("In no tier") < page.text.index("/console/contracts/acme-1")


async def test_who_may_only_read_has_no_buttons(desk: ConsoleOffice) -> None:
    page = await (await desk.signed_in("viewer")).get("/console/plans/roofing")
    assert 200 == page.status
    for word in ("data-move", "data-remove", "data-add-tier", "order.js"):
        assert word not in page.text
    for role in ("buyer", "seller"):
        assert 404 == (await (await desk.signed_in(role)).get("/console/plans/roofing")).status
    assert 404 == (await (await desk.signed_in("admin")).get("/console/plans/nothing")).status
