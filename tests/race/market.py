"""What is raced for: buyers and contracts whose limits are far below what is asked of them.

Every award must pass three limits at once: the contract's sales a day, the buyer's spend a month and the
buyer's credit. In the group called `sales` the first of them runs out and the other two never do, and so
on; in the group called `all` each of them is about as tight. Prices and limits are multiples of STEP, so a
limit that more than enough was asked of ends at exactly nothing.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from tests.ledgers import MICROS, Party, PostgresBooks, cap

STEP: Final = MICROS // 2  # the price of the last sweep, that fits whatever is left
PRICES: Final = (2 * STEP, 5 * STEP, 6 * STEP)
GROUPS: Final = ("sales", "spend", "credit", "all")
_BUYERS: Final = 2  # in each group
_CONTRACTS: Final = 2  # of each buyer
PARTS: Final = len(GROUPS) * _BUYERS * _CONTRACTS
_FILLED: Final = 0.35  # of what is asked of a contract, a tight limit takes about so much
_LEADS = """INSERT INTO lead (id, ping_id, seller, vertical, test, state, min_price, owner, answer_by, request, person)
SELECT id, id, 1, 'auto', false, 'open', 0, $1, now() + interval '1 day', '{}', 'p'
FROM (SELECT ('01000000-0000-0000-' || lpad(to_hex($1::int), 4, '0') || '-' || lpad(to_hex(n), 12, '0'))::uuid AS id
      FROM generate_series($2::int, $3::int) n) x"""


@dataclass(frozen=True, slots=True)
class Tight:
    """A buyer of a group, and the contracts it buys under."""

    group: str
    buyer: int
    contracts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Course:
    """What a worker's process is told."""

    dsn: str
    worker: int
    seed: int
    reservations: int
    tasks: int
    contracts: tuple[int, ...]
    payable: int
    margin: int
    acks: str  # the file that it writes what it was told to

    def document(self) -> dict[str, Any]:
        return asdict(self)


def lead_id(worker: int, number: int) -> UUID:
    """As the SQL above makes them."""
    return UUID(int=(1 << 120) | (worker << 48) | number)


def noon_zone(now: datetime | None = None) -> str:
    """A zone where it is about eleven o'clock: no day of it ends during a race."""
    ahead = 11 - (now or datetime.now(UTC)).hour
    return f"Etc/GMT{-ahead:+d}"


async def open_market(books: PostgresBooks, reservations: int) -> list[Tight]:
    zone = noon_zone()
    units = max(20, int(_FILLED * reservations / PARTS))
    money = units * _CONTRACTS * sum(PRICES) // len(PRICES) // STEP * STEP
    found = []
    for group in GROUPS:
        sales = units if group in {"sales", "all"} else reservations
        spend = money if group in {"spend", "all"} else reservations * max(PRICES)
        credit = money if group in {"credit", "all"} else reservations * max(PRICES)
        for number in range(_BUYERS):
            buyer = await books.buyer(
                f"{group}-{number}",
                credit=credit,
                caps=[cap("spend", spend, "month")],
                timezone=zone,
            )
            contracts = []
            for letter in "ab"[:_CONTRACTS]:
                contract = await books.contract(f"{buyer.slug}-{letter}", buyer)
                await books.set_cap(contract, cap("sales", sales, "day"), zone)
                contracts.append(contract.id)
            found.append(Tight(group, buyer.id, tuple(contracts)))
    return found


async def open_leads(books: PostgresBooks, worker: int, count: int) -> None:
    """In bulk: how a lead is opened is not what is raced."""
    for first in range(0, count, 50_000):
        last = min(count, first + 50_000) - 1
        await books.sql.execute(_LEADS, worker, first, last)


async def lower_a_cap(
    books: PostgresBooks, contract: int, expect: Callable[[int, int, int], None]
) -> tuple[int, int]:
    """To three less than what is used just now: from there it may only fall, until it is below. Whoever
    watches is told the bucket, its new limit and its use before anybody can see the new limit.

    Returns the use and the new limit."""
    async with books.sql.transaction():
        await books.sql.execute("SELECT pg_advisory_xact_lock(7001, 0)")  # no award meanwhile
        row = await books.sql.fetchrow(
            "SELECT b.id, b.used, tz FROM bucket b JOIN cap ON cap.id = cap_id WHERE owner = $1 AND kind = 'sales'",
            contract,
        )  # fmt: skip
        assert row is not None, "it is raced for"
        bucket, used, zone = row
        limit = max(0, used - 3)
        expect(bucket, limit, used)
        await books.set_cap(Party(contract, ""), cap("sales", limit, "day"), zone)
    return used, limit


async def raise_a_cap(books: PostgresBooks, buyer: int) -> int:
    """A quarter more to spend."""
    row = await books.sql.fetchrow(
        "SELECT lim, tz FROM cap WHERE owner = $1 AND kind = 'spend'", buyer
    )
    assert row is not None, "it is raced for"
    limit: int = row[0] + row[0] // 4 // STEP * STEP
    await books.set_cap(Party(buyer, ""), cap("spend", limit, "month"), row[1])
    return limit


async def deposit(books: PostgresBooks, buyer: int) -> int:
    """A tenth more credit."""
    limit = await books.sql.fetchval(
        "SELECT lim FROM cap WHERE owner = $1 AND kind = 'credit'", buyer
    )
    more: int = limit // 10 // STEP * STEP
    await books.deposit(Party(buyer, ""), more)
    return more
