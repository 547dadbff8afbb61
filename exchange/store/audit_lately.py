"""The cheap half of `exchange verify`: what was done lately, judged by Postgres in one statement.

What is read: attempts and leads of the last minutes and every open attempt, each with its own
transfers and buckets. Not a whole table, so it costs the same with a thousand leads and a million.
"""

from typing import Any, Final

from exchange.books import OVERDUE_S

INVARIANTS: Final = ("I1", "I4", "I5", "I6", "I9")
_LATELY: Final = "10 minutes"
_ROWS_MAX: Final = 20_000  # attempts and leads of one look, the newest

# ruff: noqa: S608 - our own words only
_AUDIT: Final = f"""
WITH lately AS MATERIALIZED (
  SELECT id, lead_id, slot, shares, state, price, payout, buckets, created_at, next_try_at FROM (
    SELECT * FROM attempt WHERE id >= first_id(now() - interval '{_LATELY}') ORDER BY id DESC LIMIT {_ROWS_MAX}) x
  UNION
  SELECT id, lead_id, slot, shares, state, price, payout, buckets, created_at, next_try_at FROM attempt
  WHERE state IN ('intent', 'unconfirmed')),
open AS (SELECT * FROM lately WHERE state IN ('intent', 'unconfirmed')),
leads AS MATERIALIZED (
  SELECT id, state FROM lead WHERE id >= first_id(now() - interval '{_LATELY}') AND NOT test ORDER BY id DESC LIMIT {_ROWS_MAX}),
due AS (
  SELECT id AS ref, 'hold' AS kind, price AS amount FROM lately
  UNION ALL SELECT id, 'release', price FROM lately WHERE state IN ('rejected', 'not_sent')
  UNION ALL SELECT id, 'sale', payout FROM lately WHERE state = 'accepted' AND payout > 0
  UNION ALL SELECT id, 'margin', price - payout FROM lately WHERE state = 'accepted' AND price > payout),
booked AS (
  SELECT t.ref, t.kind, t.amount FROM lately JOIN transfer t ON t.ref = lately.id WHERE t.kind NOT IN ('return', 'return_margin')),
concurrent AS (
  SELECT b.id, b.used FROM bucket b JOIN cap c ON c.id = b.cap_id WHERE b.transient),
taken AS (
  SELECT unnest(buckets) AS id, 1 AS n FROM open)
SELECT 'I1', (SELECT count(*) FROM due FULL JOIN booked USING (ref, kind, amount) WHERE due.ref IS NULL OR booked.ref IS NULL)
UNION ALL
SELECT 'I4', (SELECT count(*) FROM concurrent c WHERE c.used <> (SELECT count(*) FROM taken t WHERE t.id = c.id))
UNION ALL
SELECT 'I5', (SELECT count(*) FROM bucket b JOIN cap c ON c.id = b.cap_id WHERE c.kind = 'credit' AND b.used > b.lim)
UNION ALL
SELECT 'I6', (SELECT count(*) FROM leads l WHERE CASE l.state
    WHEN 'sold' THEN NOT EXISTS (SELECT 1 FROM attempt a WHERE a.lead_id = l.id AND a.state = 'accepted')
    WHEN 'open' THEN false
    ELSE EXISTS (SELECT 1 FROM attempt a WHERE a.lead_id = l.id AND a.state IN ('intent', 'unconfirmed', 'accepted')) END)
  + (SELECT count(*) FROM (SELECT lead_id FROM lately WHERE state IN ('intent', 'unconfirmed', 'accepted') GROUP BY lead_id
       HAVING count(*) > min(CASE WHEN slot = 0 THEN 1 ELSE shares END)) x)
UNION ALL
SELECT 'I9', (SELECT count(*) FROM open
  WHERE CASE state WHEN 'intent' THEN created_at ELSE next_try_at END < now() - {OVERDUE_S} * interval '1 s')"""


async def broken_lately(connection: Any) -> dict[str, int]:
    """How many things contradict each invariant, of those that were looked at: 0, always."""
    return dict(map(tuple, await connection.fetch(_AUDIT)))
