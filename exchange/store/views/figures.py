"""A day's figures of contracts, or of buyers: out of their posts, or of very many out of the reports' sums."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from exchange.store.database import Database

MANY: Final = 60_000  # posts of 24 hours: more are not counted one by one while somebody waits

_OWNER: Final = {"contract": "c.id", "buyer": "c.buyer_id"}
_HOW_MANY: Final = """SELECT coalesce(sum(r.posts), 0)::bigint FROM contract c JOIN report_sum r ON r.contract = c.id
  AND r.by = 'contract' AND r.span = 'hour' AND r.start > now() - interval '25 hours' WHERE {owner} = ANY ($1)"""
# Each contract by itself: that is how attempts are indexed. Who has no contract has zeros.
_POSTS: Final = """SELECT w.id, coalesce(sum(f.sold), 0)::bigint AS sold, coalesce(sum(f.spent), 0)::bigint AS spent,
  coalesce(sum(f.accepted), 0)::bigint AS accepted, coalesce(sum(f.rejected), 0)::bigint AS rejected
FROM unnest($1::int[], $2::timestamptz[]) w(id, today) LEFT JOIN contract c ON {owner} = w.id
CROSS JOIN LATERAL (SELECT count(*) FILTER (WHERE state = 'accepted' AND created_at >= w.today) AS sold,
    sum(price) FILTER (WHERE state = 'accepted' AND created_at >= w.today) AS spent,
    count(*) FILTER (WHERE state = 'accepted') AS accepted, count(*) FILTER (WHERE state = 'rejected') AS rejected
  FROM attempt WHERE contract_id = c.id AND created_at >= least(w.today, now() - interval '24 hours')) f
GROUP BY w.id"""
_SUMS: Final = """SELECT w.id, coalesce(sum(r.accepted) FILTER (WHERE r.start >= w.today), 0)::bigint AS sold,
  coalesce(sum(r.revenue) FILTER (WHERE r.start >= w.today), 0)::bigint AS spent,
  coalesce(sum(r.accepted), 0)::bigint AS accepted, coalesce(sum(r.rejected), 0)::bigint AS rejected
FROM unnest($1::int[], $2::timestamptz[]) w(id, today) LEFT JOIN contract c ON {owner} = w.id
LEFT JOIN report_sum r ON r.contract = c.id AND r.by = 'contract' AND r.span = 'hour'
  AND r.start >= date_trunc('hour', least(w.today, now() - interval '24 hours'))
GROUP BY w.id"""
_OPEN: Final = """SELECT {column}, count(*) FROM attempt WHERE state = 'unconfirmed' AND {column} = ANY ($1) GROUP BY 1"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Sales and spend (micros) of the present day by the owner's own clock, and what its posts of the
    last 24 hours came to. `about`: of whole hours, up to a minute or two ago."""

    sold: int = 0
    spent: int = 0
    accepted: int = 0
    rejected: int = 0
    unconfirmed: int = 0
    about: bool = False


async def figures_of(
    db: Database, of: Literal["contract", "buyer"], since: Mapping[int, datetime]
) -> dict[int, Figures]:
    """By the owners' ids. `since`: when the present day of each began."""
    ids, owner = list(since), _OWNER[of]
    posts = await db.fetchval(_HOW_MANY.format(owner=owner), ids)
    many = posts > MANY
    rows = await db.fetch(
        (_SUMS if many else _POSTS).format(owner=owner), ids, list(since.values())
    )
    waiting = await db.fetch(_OPEN.format(column=f"{of}_id"), ids)
    found: dict[int, Any] = {row[0]: row[1] for row in waiting}
    return {
        id_: Figures(
            sold=sold, spent=spent, accepted=accepted, rejected=rejected,
            unconfirmed=found.get(id_, 0), about=many,
        )
        for id_, sold, spent, accepted, rejected in rows
    }  # fmt: skip
