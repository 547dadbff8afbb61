"""Reads the books for one scrape: a dozen questions, each answered by an index or by small tables."""

from collections.abc import Mapping
from typing import Any, Final

from exchange.metrics.office import BooksSeen
from exchange.store.money_read import Money, money_moved

ALIVE: Final = "SELECT count(*) FROM worker WHERE beat_at > now() - interval '3 s'"
_KNOWN: Final = (
    "SELECT kind, slug FROM document WHERE kind IN ('buyer', 'contract', 'seller') AND NOT deleted"
)
_OPEN: Final = """SELECT state, count(*), coalesce(max(extract(epoch FROM now() - created_at)), 0)::float8,
  count(*) FILTER (WHERE state = 'unconfirmed' AND next_try_at IS NULL)
FROM attempt WHERE state IN ('intent', 'unconfirmed') GROUP BY state"""
_HELD: Final = """SELECT y.currency, sum(a.price)::float8 FROM attempt a JOIN buyer y ON y.id = a.buyer_id
WHERE a.state IN ('intent', 'unconfirmed') GROUP BY 1"""
# Those that wait under no reason.
_ERASED: Final = "SELECT why, n FROM erasure_count UNION ALL SELECT '', count(*) FROM erasure WHERE done_at IS NULL"
_LEADS: Final = "SELECT count(*) FROM lead WHERE state = 'open'"
# Every cap with its present bucket; the periods that there are, in the time zones that there are, are
# few: their starts are computed once each.
_CAPS: Final = """WITH starts AS MATERIALIZED (
  SELECT period, tz, bucket_start(period, tz) AS start FROM (SELECT DISTINCT period, tz FROM cap) x)
SELECT y.slug, coalesce(k.slug, ''), c.kind, c.period, c.lim, coalesce(b.used, 0), y.currency
FROM cap c JOIN starts s USING (period, tz) LEFT JOIN bucket b ON b.cap_id = c.id AND b.start = s.start
LEFT JOIN contract k ON k.id = c.owner JOIN buyer y ON y.id = coalesce(k.buyer_id, c.owner)
JOIN document d ON d.id = c.owner AND NOT d.deleted WHERE c.kind <> 'share'"""
_BREAKERS: Final = """SELECT DISTINCT y.slug, k.slug, h.call FROM (
  SELECT DISTINCT ON (contract_id, call) contract_id, call, open FROM endpoint_health
  WHERE since IS NOT NULL AND at > now() - interval '10 minutes' ORDER BY contract_id, call, since DESC, worker) h
JOIN contract k ON k.id = h.contract_id JOIN buyer y ON y.id = k.buyer_id WHERE h.open"""
_RETURNS: Final = """SELECT y.slug, r.status, count(*) FROM sale_return r JOIN buyer y ON y.id = r.buyer_id
WHERE r.requested_at > now() - interval '30 days' GROUP BY 1, 2"""
# Only leads and posts that are open are asked, which few are: those that are due may be very many after a day on
# which a seller did not answer, and are what is left of all. Who was told that it is sold waits for its other posts.
_CALLBACKS: Final = """WITH trading AS MATERIALIZED (
  SELECT id, false AS sold FROM lead WHERE state = 'open'
  UNION SELECT lead_id, true FROM attempt WHERE state IN ('intent', 'unconfirmed')),
waiting AS MATERIALIZED (SELECT count(*) AS n FROM trading t WHERE EXISTS (
  SELECT 1 FROM callback c WHERE c.lead_id = t.id AND c.state = 'open' AND (c.told IS NOT NULL) = t.sold))
SELECT 'waiting', n FROM waiting UNION ALL
SELECT 'due', count(*) - (SELECT n FROM waiting) FROM callback WHERE state = 'open'"""
_BACKENDS: Final = """SELECT coalesce(state, 'other'), count(*),
  coalesce(max(extract(epoch FROM now() - xact_start)) FILTER (WHERE pid <> pg_backend_pid()), 0)::float8
FROM pg_stat_activity WHERE datname = current_database() GROUP BY 1"""
_DATABASE: Final = """SELECT current_setting('max_connections')::int, pg_database_size(current_database()),
  xact_commit, xact_rollback, blks_read, blks_hit, deadlocks, tup_inserted + tup_updated + tup_deleted
FROM pg_stat_database WHERE datname = current_database()"""
_EVENTS: Final = ("commits", "rollbacks", "blocks_read", "blocks_hit", "deadlocks", "rows_written")


async def read_books(connection: Any) -> BooksSeen:
    """Everything that a scrape tells of the books. Raises what a lost connection raises."""
    opened = {row[0]: tuple(row) for row in await connection.fetch(_OPEN)}
    unconfirmed = opened.get("unconfirmed", ("unconfirmed", 0, 0.0, 0))
    caps, credit = _caps(await connection.fetch(_CAPS))
    backends = [tuple(row) for row in await connection.fetch(_BACKENDS)]
    erased = dict(map(tuple, await connection.fetch(_ERASED)))
    waiting = erased.pop("")
    backends_max, size, *events = await connection.fetchrow(_DATABASE)
    return BooksSeen(
        known=_known(await connection.fetch(_KNOWN)),
        money=_money(await money_moved(connection) or {}),
        open={state: row[1] for state, row in opened.items()},
        held=[((row[0],), row[1]) for row in await connection.fetch(_HELD)],
        oldest_s=unconfirmed[2],
        waiting=unconfirmed[3],
        leads_open=await connection.fetchval(_LEADS),
        erased=[((why,), count) for why, count in erased.items()],
        erasures_waiting=waiting,
        caps=caps,
        credit=credit,
        breakers=[(tuple(row), 1) for row in await connection.fetch(_BREAKERS)],
        returns=[((row[0], row[1]), row[2]) for row in await connection.fetch(_RETURNS)],
        callbacks=dict(map(tuple, await connection.fetch(_CALLBACKS))),
        alive=await connection.fetchval(ALIVE),
        backends=[((state,), count) for state, count, _ in backends],
        backends_max=backends_max,
        size_bytes=size,
        transaction_s=max((age for _, _, age in backends), default=0.0),
        events=[((name,), count) for name, count in zip(_EVENTS, events, strict=True)],
    )


def _known(rows: Any) -> Mapping[str, frozenset[str]]:
    return {
        kind: frozenset(slug for of, slug in rows if of == kind)
        for kind in ("buyer", "contract", "seller")
    }


def _caps(rows: Any) -> tuple[list[Any], list[Any]]:
    """Used parts, and what is left of credits. A cap of nothing is used up."""
    caps: list[Any] = []
    credit: list[Any] = []
    for buyer, contract, kind, period, limit, used, currency in rows:
        if kind == "credit":
            credit.append(((buyer, currency), limit - used))
        else:
            caps.append(((buyer, contract, kind, period), used / limit if limit else 1.0))
    return caps, credit


def _money(moved: Money) -> list[tuple[str, str, int, int, int]]:
    """Sales, what buyers pay, what sellers get. A sale without a margin, or with nothing else, has
    one transfer; most have two."""
    found = []
    for (vertical, currency), kinds in sorted(moved.items()):
        sold, payout = kinds.get("sale", (0, 0))
        _, margin = kinds.get("margin", (0, 0))
        found.append((vertical, currency, sold, payout + margin, payout))
    return found
