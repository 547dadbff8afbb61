"""Sums of all money that sales ever moved, at the price of the last minutes."""

from typing import Any, Final

# Where adding up has fallen more than an hour behind, the rest would take too long for one question.
_BEHIND: Final = """SELECT u.at < now() - interval '1 hour'
  AND EXISTS (SELECT 1 FROM attempt WHERE id > first_id(u.at_or_epoch) AND id < first_id(now() - interval '1 hour'))
FROM (SELECT at, greatest(at, 'epoch') AS at_or_epoch FROM money_upto) u"""
_MONEY: Final = """WITH upto AS (SELECT at FROM money_upto)
SELECT vertical, currency, kind, sum(n)::bigint, sum(amount)::bigint FROM (
  SELECT * FROM money_sum UNION ALL SELECT * FROM moved_between((SELECT at FROM upto), 'infinity')) x
GROUP BY 1, 2, 3"""
_ADD_UP: Final = "SELECT add_up_money()"

Money = dict[
    tuple[str, str], dict[str, tuple[int, int]]
]  # vertical, currency; kind: how often, micros


async def money_moved(connection: Any) -> Money | None:
    """By kind of transfer, of all time. None: adding up is behind, ask again in a minute."""
    if await connection.fetchval(_BEHIND):
        return None
    found: Money = {}
    for vertical, currency, kind, count, amount in await connection.fetch(_MONEY):
        found.setdefault((vertical, currency), {})[kind] = (count, amount)
    return found


async def add_up_money(connection: Any) -> bool:
    """Bring the sums forward by an hour at most. True: there is more."""
    more: bool = await connection.fetchval(_ADD_UP)
    return more
