"""One sale after the other on exact simulated milliseconds: who is asked, posted to and told when.

A buyer is a row: its bid and when it comes, its answer to the post and when. Everything but the
network and the clock is real: handlers, auction, waterfall, the books in memory.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from ipaddress import ip_network
from random import Random
from typing import Any

import orjson
import pytest

from buyers.contract import Cap, CapKind, Condition, Op, Pricing, PricingMode
from buyers.guard import Guard
from buyers.money import MICROS
from buyers.wire import Failure
from exchange.catalogue import Catalogue, market_of
from exchange.house import House
from exchange.http.access import KeyRing
from exchange.http.sellers import SellerDesk
from exchange.observe import Silent
from exchange.plan import Plan, Tier, TierMode
from exchange.recovery import beat, one_round
from exchange.sealing import Vault
from exchange.sellers import Seller
from exchange.settings import Settings
from exchange.store.memory import MemoryStore
from exchange.verticals import read_vertical
from tests.making import a_buyer, a_contract, an_endpoint, fixed
from tests.simulation.traders import ask
from tests.simulation.world import VERTICAL, Keys, _Netted
from tests.virtual import Says, ScriptedTransport, now_ms, pass_ms, run

ACCEPTS = b'{"status":"accepted"}'
REJECTS = b'{"status":"rejected"}'
PING = {"state": "CA", "amount": 500}
LEAD = {**PING, "email": "ann@example.com", "income": 4000}


def bids(price: str, after_ms: float = 10, **more: Any) -> Says:
    return Says(after_ms, 200, orjson.dumps({"bid": price, **more}))


def accepts(after_ms: float = 10) -> Says:
    return Says(after_ms, 200, ACCEPTS)


def rejects(after_ms: float = 10) -> Says:
    return Says(after_ms, 200, REJECTS)


SILENT = Says(None)
REFUSED = Says(1, None, failure=Failure.UNREACHABLE)


@dataclass
class Row:
    """A buyer with one contract."""

    name: str
    ping: Says = SILENT
    post: Says = field(default_factory=accepts)
    buyer: str | None = None  # another row's, to share a buyer
    contract: dict[str, Any] = field(default_factory=dict)
    endpoint: dict[str, Any] = field(default_factory=dict)
    status: Says = SILENT


class Floor:
    """A trading floor with these buyers; no margin, so that prices are easy to read."""

    def __init__(
        self, *rows: Row, auction: str = "first_price", tiers: tuple[Tier, ...] = ()
    ) -> None:
        loop = asyncio.get_running_loop()
        self.store = MemoryStore(lambda: 1_790_000_000 + loop.time())
        script: dict[str, Says] = {}
        contracts, buyers = [], {}
        for number, row in enumerate(rows, 1):
            script |= {
                row.name: row.ping,
                f"{row.name}/post": row.post,
                f"{row.name}/status": row.status,
            }
            buyer = buyers.get(row.buyer) or a_buyer(row.name, id=number)
            if row.buyer is None:
                buyers[row.name] = buyer
                self.store.add_buyer(number, row.name)
            caps = row.contract.get("caps", ())
            self.store.add_contract(100 + number, row.name, buyer.id, caps)
            urls = {
                "ping_url": f"http://127.0.0.1:9/{row.name}",
                "post_url": f"http://127.0.0.1:9/{row.name}",
            }
            endpoint = an_endpoint(**urls, **row.endpoint)
            contracts.append(
                a_contract(
                    row.name,
                    id=100 + number,
                    vertical="loans",
                    buyer=buyer,
                    endpoint=endpoint,
                    **row.contract,
                )
            )
        self.transport = ScriptedTransport(script)
        vertical = read_vertical(
            {**VERTICAL, "margin": {"percent": "0", "fixed": "0"}, "auction": auction}
        )
        plan = Plan(vertical="loans", tiers=(Tier(name="auction", mode=TierMode.AUCTION), *tiers))
        rng = Random(1)
        vault = Vault(rng.randbytes(32), rng.randbytes)
        seller = Seller(
            id=9001,
            slug="lead-mill",
            name="Lead Mill",
            verticals=frozenset({"loans"}),
            margin=None,
            rate_per_s=1000,
            active=True,
        )
        self.house = House(
            settings=Settings(), store=self.store, transport=self.transport, vault=vault,
            guard=Guard(allowed_networks=(ip_network("127.0.0.0/8"),)), observer=Silent(), worker=1,
            random_bytes=rng.randbytes, wall_s=lambda: 1_790_000_000 + loop.time(), loaded=True,
            catalogue=Catalogue(
                version=1, markets={"loans": market_of(vertical, plan, contracts)},
                sellers={9001: seller}, sellers_by_slug={"lead-mill": seller},
                buyers={one.id: one for one in buyers.values()},
                payable={(9001, "USD"): self.store.account("payable", 9001, "USD")},
                margin={"USD": self.store.account("margin", 0, "USD")},
            ),
        )  # fmt: skip
        self.answers = _Netted(SellerDesk(self.house, KeyRing(Keys(vault), vault)))

    async def ping(self, **options: Any) -> dict[str, Any]:
        status, raw = await ask(
            self,
            "POST",
            "/v1/pings",
            "lead-mill",
            None,
            {"vertical": "loans", "fields": PING, **options},
        )
        return {"status": status, "at_ms": now_ms(), **orjson.loads(raw)}

    async def lead(self, key: str | None = None, **options: Any) -> dict[str, Any]:
        body = {"fields": LEAD, **options}
        if "ping_id" not in options:
            body["vertical"] = "loans"
        status, raw = await ask(self, "POST", "/v1/leads", "lead-mill", key, body)
        return {"status": status, "at_ms": now_ms(), **orjson.loads(raw)}

    async def look(self, lead_id: str) -> dict[str, Any]:
        _, raw = await ask(self, "GET", f"/v1/leads/{lead_id}", "lead-mill", None, None)
        found: dict[str, Any] = orjson.loads(raw)
        return found

    @property
    def posted_to(self) -> list[str]:
        return [
            pool.removesuffix("/post") for pool in self.transport.calls if pool.endswith("/post")
        ]

    async def close(self) -> None:
        """Everything owned ends, and the books are sound."""
        assert await self.house.drain(60) == 0
        assert self.store.verify() == []


def trade(story: Callable[[Floor], Coroutine[Any, Any, None]], *rows: Row, **more: Any) -> None:
    """Run a story on a floor in simulated time; afterwards no task is left and the books agree."""

    async def body() -> None:
        floor = Floor(*rows, **more)
        await story(floor)
        await floor.close()

    run(body())


def test_a_silent_buyer_costs_the_window_and_no_more() -> None:
    """The auction closes at 500 ms with the bids it has."""

    async def story(floor: Floor) -> None:
        quote = await floor.ping()

        assert (quote["outcome"], quote["price"], quote["at_ms"]) == ("bid", "9.00", 500)

    trade(story, Row("ann", bids("9")), Row("bob", SILENT, endpoint={"ping_timeout_ms": 5000}))


def test_a_buyers_own_timeout_is_shorter_than_the_window() -> None:
    """Who may take 400 ms is not waited for until 500."""

    async def story(floor: Floor) -> None:
        assert (await floor.ping())["at_ms"] == 400

    trade(story, Row("ann", bids("9")), Row("bob", SILENT))


def test_an_auction_ends_when_everybody_has_answered() -> None:
    """Nobody waits for a window that has nothing more to bring."""

    async def story(floor: Floor) -> None:
        quote = await floor.ping()

        assert (quote["price"], quote["at_ms"]) == ("9.00", 120)

    trade(story, Row("ann", bids("9", 30)), Row("bob", bids("4", 120)))


def test_the_sellers_time_narrows_the_window() -> None:
    """200 ms less 20 for the answer: the slow bid is out, and void."""

    async def story(floor: Floor) -> None:
        quote = await floor.ping(max_wait_ms=200)

        assert (quote["price"], quote["at_ms"]) == ("4.00", 180)

    trade(story, Row("ann", bids("9", 190)), Row("bob", bids("4", 30)))


def test_a_rejection_fails_over_to_the_next_bid() -> None:
    """Each buyer pays its own bid; the first one's hold is released."""

    async def story(floor: Floor) -> None:
        sold = await floor.lead()

        assert (sold["outcome"], sold["price"], sold["at_ms"]) == ("sold", "7.00", 30)
        assert floor.posted_to == ["ann", "bob"]

    trade(story, Row("ann", bids("9"), rejects()), Row("bob", bids("7")), Row("cyd", bids("5")))


def test_a_refused_connection_fails_over() -> None:
    """Not one byte left: the next may have the lead."""

    async def story(floor: Floor) -> None:
        assert (await floor.lead())["price"] == "7.00"

    trade(story, Row("ann", bids("9"), REFUSED), Row("bob", bids("7")))


@pytest.mark.parametrize(
    ("post", "outcome", "reason"),
    [(accepts(3000), "sold", None), (rejects(3000), "unsold", "deadline")],
)
def test_a_hanging_post_is_202_and_nobody_else_gets_it(
    post: Says, outcome: str, reason: str | None
) -> None:
    """Answered at the seller's deadline less the tail; the late word decides, and no post follows."""

    async def story(floor: Floor) -> None:
        pending = await floor.lead(max_wait_ms=1000)
        assert (pending["status"], pending["outcome"], pending["at_ms"]) == (202, "pending", 980)

        await pass_ms(3000)
        final = await floor.look(pending["lead_id"])
        assert (final["outcome"], final.get("reason")) == (outcome, reason)
        assert floor.posted_to == ["ann"]

    trade(story, Row("ann", bids("9"), post), Row("bob", bids("7")))


def test_a_post_that_is_never_answered_stays_held() -> None:
    """5 s of silence is unconfirmed: the seller hears 202, money stays held, nobody else is asked."""

    async def story(floor: Floor) -> None:
        pending = await floor.lead()
        assert (pending["status"], pending["at_ms"]) == (202, 5010)

        snapshot = floor.store.snapshot()
        assert [one.state for one in snapshot.attempts] == ["unconfirmed"]
        assert floor.posted_to == ["ann"]

    trade(story, Row("ann", bids("9"), SILENT), Row("bob", bids("7")))


def test_a_status_url_settles_a_silent_post_at_once() -> None:
    """The buyer is asked while the seller still waits."""

    async def story(floor: Floor) -> None:
        sold = await floor.lead()

        assert (sold["status"], sold["outcome"], sold["price"]) == (200, "sold", "9.00")

    row = Row(
        "ann", bids("9"), SILENT, endpoint={"status_url": "http://127.0.0.1:9/s"}, status=accepts()
    )
    trade(story, row)


def test_unknown_to_the_status_url_means_rejected_only_after_a_minute() -> None:
    """Before 60 s the lead may still be on its way into the buyer's system."""

    async def story(floor: Floor) -> None:
        pending = await floor.lead()
        assert pending["status"] == 202

        for _ in range(400):  # asked after 5 s, 30 s and 2 min
            await beat(floor.house)
            await one_round(floor.house, sweep=False)
            await pass_ms(500)
            final = await floor.look(pending["lead_id"])
            if final["outcome"] != "pending":
                break
        assert (final["outcome"], final["reason"]) == ("unsold", "deadline")
        assert now_ms() >= 65_000

    unknown = Says(5, 200, b'{"status":"unknown"}')
    row = Row(
        "ann", bids("9"), SILENT, endpoint={"status_url": "http://127.0.0.1:9/s"}, status=unknown
    )
    trade(story, row, Row("bob", bids("7")))


def test_no_post_is_started_with_less_than_250_ms_left() -> None:
    """The rejection came too late for another buyer."""

    async def story(floor: Floor) -> None:
        unsold = await floor.lead(max_wait_ms=600)

        assert (unsold["outcome"], unsold["reason"], unsold["at_ms"]) == ("unsold", "deadline", 410)
        assert floor.posted_to == ["ann"]

    trade(story, Row("ann", bids("9"), rejects(400)), Row("bob", bids("7")))


def test_the_waterfall_sells_in_the_order_of_its_tiers() -> None:
    """Nobody bids; the first tier rejects; the second tier's best price takes it."""
    tiers = (Tier(name="first", mode=TierMode.PRIORITY), Tier(name="last", mode=TierMode.PRICE))

    async def story(floor: Floor) -> None:
        quote = await floor.ping()
        assert (quote["outcome"], quote["reason"], quote["waterfall"]) == (
            "no_bid",
            "no_eligible_buyers",
            True,
        )

        sold = await floor.lead(ping_id=quote["ping_id"])
        assert (sold["price"], floor.posted_to) == ("3.00", ["cyd", "bob"])

    trade(
        story,
        Row("ann", contract={"tier": "last", "pricing": fixed(2 * MICROS)}),
        Row("bob", contract={"tier": "last", "pricing": fixed(3 * MICROS)}),
        Row("cyd", post=rejects(), contract={"tier": "first", "pricing": fixed(1 * MICROS)}),
        tiers=tiers,
    )


def test_a_buyer_that_rejected_gets_the_lead_under_no_other_contract() -> None:
    """Its second contract is passed over for a lower bid of somebody else."""

    async def story(floor: Floor) -> None:
        assert (await floor.lead())["price"] == "5.00"
        assert floor.posted_to == ["ann", "bob"]

    trade(
        story,
        Row("ann", bids("9"), rejects()),
        Row("ann-2", bids("8"), buyer="ann"),
        Row("bob", bids("5")),
    )


def test_min_price_equal_to_the_quote_takes_it_or_nothing() -> None:
    """Who wants the quote or nothing gets nothing when the winner refuses."""

    async def story(floor: Floor) -> None:
        quote = await floor.ping()
        unsold = await floor.lead(ping_id=quote["ping_id"], min_price=quote["price"])

        assert (unsold["outcome"], floor.posted_to) == ("unsold", ["ann"])

    trade(story, Row("ann", bids("9"), rejects()), Row("bob", bids("7")))


def test_a_second_price_is_computed_anew_on_failover() -> None:
    """Ann would pay Bob's 7; she rejects, and Bob pays Cyd's 4."""

    async def story(floor: Floor) -> None:
        quote = await floor.ping()
        sold = await floor.lead(ping_id=quote["ping_id"])

        assert (quote["price"], sold["price"]) == ("7.00", "4.00")

    rows = (Row("ann", bids("9"), rejects()), Row("bob", bids("7")), Row("cyd", bids("4")))
    trade(story, *rows, auction="second_price")


def test_a_condition_on_a_post_stage_field_is_judged_at_the_post() -> None:
    """A ping cannot show the income: Ann is asked, bids, and is passed over once it is known."""

    async def story(floor: Floor) -> None:
        quote = await floor.ping()
        sold = await floor.lead(ping_id=quote["ping_id"])

        assert (quote["price"], sold["price"], floor.posted_to) == ("9.00", "7.00", ["bob"])

    rich = Condition(field="income", op=Op.GTE, value=5000)
    trade(story, Row("ann", bids("9"), contract={"filters": (rich,)}), Row("bob", bids("7")))


def test_a_bid_that_expired_is_passed_over() -> None:
    """A losing bid may live shorter than the quote: at failover it is gone."""

    async def story(floor: Floor) -> None:
        quote = await floor.ping()
        await pass_ms(20_000)
        sold = await floor.lead(ping_id=quote["ping_id"])

        assert (sold["price"], floor.posted_to) == ("5.00", ["ann", "cyd"])

    trade(
        story,
        Row("ann", bids("9"), rejects()),
        Row("bob", bids("7", expires_in_s=10)),
        Row("cyd", bids("5")),
    )


def test_a_quote_lives_no_longer_than_the_bid_behind_it() -> None:
    """Its winner expires in 10 s: posted at 20 s it is 410."""

    async def story(floor: Floor) -> None:
        quote = await floor.ping()
        await pass_ms(20_000)

        assert (await floor.lead(ping_id=quote["ping_id"]))["status"] == 410

    trade(story, Row("ann", bids("9", expires_in_s=10)), Row("bob", bids("7")))


def test_a_full_cap_is_found_at_the_award() -> None:
    """Two quotes on one place: the second lead goes to the next bid."""

    async def story(floor: Floor) -> None:
        first, second = await floor.ping(), await floor.ping()
        sold = [await floor.lead(ping_id=one["ping_id"]) for one in (first, second)]

        assert [one["price"] for one in sold] == ["9.00", "7.00"]

    cap = Cap(kind=CapKind.SALES, period="day", limit=1)
    trade(story, Row("ann", bids("9"), contract={"caps": (cap,)}), Row("bob", bids("7")))


def test_a_ping_posted_twice_is_told_the_first_answer() -> None:
    """Whatever the second body says."""

    async def story(floor: Floor) -> None:
        quote = await floor.ping()
        first = await floor.lead(ping_id=quote["ping_id"])
        second = await floor.lead(ping_id=quote["ping_id"], min_price="900")

        assert (first["lead_id"], first["price"]) == (second["lead_id"], second["price"])
        assert floor.posted_to == ["ann"]

    trade(story, Row("ann", bids("9")))


def test_the_same_key_waits_for_the_first_run_and_is_told_the_same() -> None:
    """Two requests at once are one sale."""

    async def story(floor: Floor) -> None:
        both = await asyncio.gather(floor.lead("k1"), floor.lead("k1"))

        assert [one["outcome"] for one in both] == ["sold", "sold"]
        assert both[0]["lead_id"] == both[1]["lead_id"]
        assert len(floor.store.snapshot().attempts) == 1

    trade(story, Row("ann", bids("9"), accepts(400)))


def test_a_seller_who_hangs_up_before_the_award_stops_the_lead() -> None:
    """The key is free again and nobody is posted to."""

    async def story(floor: Floor) -> None:
        request = asyncio.create_task(floor.lead("k1"))
        await pass_ms(50)
        request.cancel()
        await asyncio.wait([request])
        await pass_ms(1000)
        assert floor.posted_to == []

        assert (await floor.lead("k1"))["outcome"] == "sold"

    trade(story, Row("ann", bids("9", 200)))


def test_a_seller_who_hangs_up_after_the_award_has_sold() -> None:
    """A posted lead may be a sold lead: it goes on, and the key tells."""

    async def story(floor: Floor) -> None:
        request = asyncio.create_task(floor.lead("k1"))
        await pass_ms(100)
        request.cancel()
        await asyncio.wait([request])

        sold = await floor.lead("k1")
        assert (sold["outcome"], len(floor.store.snapshot().attempts)) == ("sold", 1)

    trade(story, Row("ann", bids("9"), accepts(400)))


def test_a_fixed_price_competes_in_the_auction_unasked() -> None:
    """It is never pinged, and pays its price."""

    async def story(floor: Floor) -> None:
        assert (await floor.lead())["price"] == "8.00"
        assert "ann" not in floor.transport.calls

    pricing = Pricing(mode=PricingMode.FIXED, price_micros=8 * MICROS)
    trade(story, Row("ann", contract={"pricing": pricing}), Row("bob", bids("7")))


def test_a_test_lead_touches_no_book() -> None:
    """It is screened, ranked and posted for real, but nothing is held, booked or counted."""

    async def story(floor: Floor) -> None:
        sold = await floor.lead(test=True)

        assert sold["outcome"] == "sold"
        assert sold["lead_id"].startswith("lead_test_")
        snapshot = floor.store.snapshot()
        assert (snapshot.attempts, snapshot.transfers) == ((), ())
        assert floor.posted_to == ["bob"]

    trade(story, Row("ann", bids("9")), Row("bob", bids("7"), endpoint={"accepts_test": True}))


def test_the_person_leaves_only_for_the_buyer_that_is_posted_to() -> None:
    """Pings show ping-stage fields alone, byte for byte."""

    async def story(floor: Floor) -> None:
        await floor.lead()

        carrying = [
            pool for pool, raw in floor.transport.payloads.items() if b"ann@example.com" in raw
        ]
        assert carrying == ["ann/post"]

    trade(story, Row("ann", bids("9")), Row("bob", bids("7")))


def test_a_cap_on_pings_ends_the_asking() -> None:
    """Two pings were ordered: the third ping asks Bob alone."""

    async def story(floor: Floor) -> None:
        quotes = [await floor.ping() for _ in range(3)]

        assert [quote["price"] for quote in quotes] == ["9.00", "9.00", "7.00"]
        assert len(floor.transport.sent["ann"]) == 2

    cap = Cap(kind=CapKind.PINGS, period="day", limit=2)
    trade(story, Row("ann", bids("9"), contract={"caps": (cap,)}), Row("bob", bids("7")))


def test_an_endpoint_is_pinged_no_oftener_than_it_takes() -> None:
    """Three a second, whatever comes; the next second three more."""

    async def story(floor: Floor) -> None:
        first = await asyncio.gather(*(floor.ping() for _ in range(8)))
        await pass_ms(1000)
        later = await asyncio.gather(*(floor.ping() for _ in range(8)))

        for quotes in (first, later):
            assert sorted(quote["price"] for quote in quotes) == ["7.00"] * 5 + ["9.00"] * 3

    trade(story, Row("ann", bids("9"), endpoint={"max_qps": 3}), Row("bob", bids("7")))
