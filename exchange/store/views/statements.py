"""Statements: what an owner had, what moved in a period by kind, what it has then. Exact for any two moments."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from exchange.store.database import Database
from exchange.store.views.money import Moved

_OWNERS: Final = """SELECT d.id, d.slug, coalesce(d.body->>'name', d.slug) AS name FROM document d
WHERE d.kind = $1 AND d.slug > $2 AND ($3 = '' OR d.slug = $3) ORDER BY d.slug LIMIT $4"""
_ACCOUNTS: Final = """SELECT id, kind, owner, currency FROM account WHERE owner = ANY ($1) AND kind = ANY ($2) ORDER BY owner, currency, kind"""
_OPENING: Final = """SELECT a AS account, coalesce(sum(m.credited - m.debited), 0)::bigint AS opening
FROM unnest($1::int[]) a LEFT JOIN LATERAL ledger_moved(a, '-infinity', $2) m ON true GROUP BY 1"""
_WITHIN: Final = """SELECT a AS account, m.kind, m.debited, m.credited, m.moves
FROM unnest($1::int[]) a CROSS JOIN LATERAL ledger_moved(a, $2, $3) m"""
# A statement reads its accounts' sums account by account.
_OF: Final[Mapping[str, tuple[str, ...]]] = {"buyer": ("available", "held"), "seller": ("payable",)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """Of one owner in one currency. Money between its own accounts is no movement."""

    owner: int
    slug: str
    name: str
    currency: str
    accounts: Mapping[str, int]  # ids by kind
    opening: Mapping[str, int]  # balances by account kind
    moved: Mapping[str, Mapping[str, Moved]]  # by account kind, then by kind of transfer

    def change(self, *kinds: str) -> int:
        """What these kinds of transfers brought to the owner; negative: took."""
        return sum(
            one.credited - one.debited
            for by_kind in self.moved.values()
            for kind, one in by_kind.items()
            if kind in kinds
        )

    def number(self, kind: str) -> int:
        """How many transfers of a kind; those between its own accounts once."""
        return max(
            (by_kind[kind].moves for by_kind in self.moved.values() if kind in by_kind), default=0
        )

    @property
    def opened(self) -> int:
        return sum(self.opening.values())

    @property
    def closing(self) -> Mapping[str, int]:
        """By account kind."""
        return {
            kind: opening + sum(m.credited - m.debited for m in self.moved.get(kind, {}).values())
            for kind, opening in self.opening.items()
        }

    @property
    def closed(self) -> int:
        return sum(self.closing.values())


async def statements(
    db: Database,
    kind: str,
    start: datetime,
    end: datetime,
    *,
    after: str = "",
    slug: str = "",
    limit: int = 50,
) -> list[Statement]:
    """Of `buyer`s or `seller`s by slug, after one of them; one for each owner and currency. Owners who
    have no account are left out: the caller asks for one more than it shows and pages by slug."""
    async with (
        db.connection() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        owners = {
            row["id"]: row for row in await connection.fetch(_OWNERS, kind, after, slug, limit)
        }
        accounts = await connection.fetch(_ACCOUNTS, list(owners), list(_OF[kind]))
        ids = [row["id"] for row in accounts]
        opening = dict(map(tuple, await connection.fetch(_OPENING, ids, start)))
        within = await connection.fetch(_WITHIN, ids, start, end)
    return _made(owners, accounts, opening, within)


def _made(
    owners: Mapping[int, Any],
    accounts: Sequence[Any],
    opening: Mapping[int, int],
    within: Sequence[Any],
) -> list[Statement]:
    moved: dict[int, dict[str, Moved]] = {}
    for account, kind, debited, credited, moves in within:
        moved.setdefault(account, {})[kind] = Moved(debited, credited, moves)
    by_owner: dict[tuple[int, str], dict[str, int]] = {}
    for row in accounts:
        by_owner.setdefault((row["owner"], row["currency"]), {})[row["kind"]] = row["id"]
    found = [
        Statement(
            owner=owner, slug=owners[owner]["slug"], name=owners[owner]["name"], currency=currency,
            accounts=ids, opening={kind: opening[id_] for kind, id_ in ids.items()},
            moved={kind: moved.get(id_, {}) for kind, id_ in ids.items()},
        )
        for (owner, currency), ids in by_owner.items()
    ]  # fmt: skip
    return sorted(found, key=lambda one: (one.slug, one.currency))
