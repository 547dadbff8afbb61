"""A database with a past: `python -m benchmarks.history FOLDER [--leads N] [--days D]`.

Stories (past_stories.py) are told a million times, a day at a time, by COPY; transfers are made of the
attempts as the exchange makes them; then sums are rolled up by the office's own chores, whose pace is
printed. What comes out passes `exchange verify`. FOLDER is a data folder: `EXCHANGE_DATA_DIR=FOLDER exchange serve`.
"""

import argparse
import asyncio
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from random import Random
from typing import Any, Final
from uuid import UUID

from benchmarks import cost, past_market
from benchmarks.past_stories import ATTEMPTS, LEAD, PING, Story, Storyteller, Told
from buyers.guard import Guard
from exchange.apply import apply
from exchange.catalogue import EMPTY, Catalogue
from exchange.chores.balances import Balances
from exchange.chores.rollup import RollUp
from exchange.demo import samples
from exchange.sealing import Vault
from exchange.settings import Settings
from exchange.store.catalogue import load_catalogue
from exchange.store.database import Database, connect
from exchange.store.embedded import EmbeddedPostgres
from exchange.store.migrate import migrate
from exchange.supervisor import master_key_of

_PING: Final = ("id", "at", "seller", "expires_at", "price", "external_id", "test", "receipt")
_LEAD: Final = (
    "id", "ping_id", "seller", "vertical", "test", "state", "reason", "min_price", "external_id", "owner", "created_at",
    "answer_by", "closed_at", "request", "receipt", "answer", "person_key", "person", "phone_index", "email_index",
)  # fmt: skip
_ATTEMPT: Final = (
    "id", "lead_id", "contract_id", "buyer_id", "contract", "tier", "seller_account", "margin_account", "slot", "shares",
    "state", "price", "payout", "owner", "buckets", "detail", "tries", "next_try_at", "created_at", "sent_at", "settled_at",
)  # fmt: skip
_CAPS_MAX: Final = 5
_POSTED: Final = 0.8  # of pings
_WAITING: Final = 0.001  # of the last days' leads
_WAITING_DAYS: Final = 3
# As the exchange books them, in the order of their time.
_TRANSFERS: Final = """INSERT INTO transfer (ref, kind, debit, credit, amount, at)
SELECT a.id, x.kind, x.debit, x.credit, x.amount, x.at FROM attempt a JOIN buyer y ON y.id = a.buyer_id CROSS JOIN LATERAL (VALUES
  ('hold', y.available, y.held, a.price, a.created_at),
  ('release', y.held, y.available, CASE WHEN a.state IN ('rejected', 'not_sent') THEN a.price ELSE 0 END, a.settled_at),
  ('sale', y.held, a.seller_account, CASE WHEN a.state = 'accepted' THEN a.payout ELSE 0 END, a.settled_at),
  ('margin', y.held, a.margin_account, CASE WHEN a.state = 'accepted' THEN a.price - a.payout ELSE 0 END, a.settled_at)) x(kind, debit, credit, amount, at)
WHERE a.id >= first_id($1) AND a.id < first_id($2) AND x.amount > 0 ORDER BY x.at"""
_RETURNS: Final = """INSERT INTO sale_return (id, attempt_id, lead_id, contract_id, buyer_id, reason, note, status, reverse_payout, restore_cap,
  buckets, requested_at, requested_by, decided_at, decided_by, decision_note)
SELECT overlay(gen_random_uuid()::text PLACING left(first_id(a.settled_at + interval '20 hours')::text, 13) FROM 1)::uuid, a.id, a.lead_id, a.contract_id, a.buyer_id, (ARRAY['wrong_person', 'disconnected_phone', 'duplicate', 'out_of_area'])[1 + n / 100 % 4], '',
  s, n / 400 % 5 > 0, false, CASE WHEN s = 'approved' THEN a.buckets ELSE '{}' END, a.settled_at + interval '20 hours', 'buyer',
  CASE WHEN s <> 'pending' THEN a.settled_at + interval '26 hours' END, CASE WHEN s <> 'pending' THEN 'admin' END, CASE WHEN s <> 'pending' THEN '' END
FROM (SELECT *, ('x' || right(id::text, 6))::bit(24)::int AS n FROM attempt WHERE state = 'accepted' AND settled_at < now() - interval '27 hours') a
CROSS JOIN LATERAL (SELECT CASE WHEN n / 100 % 10 = 0 THEN 'denied' WHEN a.settled_at > now() - interval '4 days' THEN 'pending' ELSE 'approved' END) z(s)
WHERE n % 100 = 7"""
_RETURNED: Final = """INSERT INTO transfer (ref, kind, debit, credit, amount, at)
SELECT a.id, x.kind, x.debit, y.available, x.amount, r.decided_at FROM sale_return r JOIN attempt a ON a.id = r.attempt_id JOIN buyer y ON y.id = a.buyer_id
CROSS JOIN LATERAL (VALUES
  ('return', CASE WHEN r.reverse_payout THEN a.seller_account ELSE a.margin_account END, CASE WHEN r.reverse_payout THEN a.payout ELSE a.price END),
  ('return_margin', a.margin_account, CASE WHEN r.reverse_payout THEN a.price - a.payout ELSE 0 END)) x (kind, debit, amount)
WHERE r.status = 'approved' AND x.amount > 0 ORDER BY r.decided_at"""
# A prepaid buyer brings at the week's beginning what it will spend in it, and some more.
_DEPOSITS: Final = """SELECT y.id, date_trunc('week', t.at) AS week, (sum(CASE WHEN t.credit = y.held THEN t.amount ELSE -t.amount END) / 1000000000 + 1) * 1000000000 AS amount
FROM buyer y JOIN transfer t ON (t.kind = 'hold' AND t.credit = y.held) OR (t.kind = 'release' AND t.credit = y.available)
WHERE y.prepaid GROUP BY 1, 2 HAVING sum(CASE WHEN t.credit = y.held THEN t.amount ELSE -t.amount END) > 0 ORDER BY 2, 1"""
_CREDIT: Final = """UPDATE bucket b SET used = x.used FROM (
  SELECT b.id, sum(a.price)::bigint AS used FROM cap c JOIN bucket b ON b.cap_id = c.id
  JOIN attempt a ON a.buyer_id = c.owner AND a.state IN ('accepted', 'unconfirmed', 'intent')
  WHERE c.kind = 'credit' AND NOT EXISTS (SELECT 1 FROM sale_return r WHERE r.attempt_id = a.id AND r.status = 'approved') GROUP BY 1) x WHERE b.id = x.id"""
_BEGAN: Final = """UPDATE ledger_state SET upto = m, checked_upto = m
FROM (SELECT date_trunc('hour', min(at), 'UTC') AS m FROM transfer) x"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """How much of it. Pings are a quarter more than leads."""

    leads: int = 1_000_000
    days: int = 60
    contracts: int = 1000
    buyers: int = 100
    sellers: int = 20
    stories: int = 20_000
    seed: int = 1


@dataclass(slots=True)
class _Rows:
    pings: list[tuple[Any, ...]] = field(default_factory=list)
    leads: list[tuple[Any, ...]] = field(default_factory=list)
    attempts: list[tuple[Any, ...]] = field(default_factory=list)


class Teller:
    """Tells stories: rows of one moment, with ids of their own."""

    def __init__(
        self, catalogue: Catalogue, vault: Vault, credit: Mapping[int, int], seed: int
    ) -> None:
        self._catalogue = catalogue
        self._vault = vault
        self._credit = credit  # buckets of prepaid buyers
        self._rng = Random(seed)
        self._told = 0

    def tell(self, story: Story, at: datetime, *, posted: bool, rows: _Rows) -> None:
        self._told += 1
        ping = self._uuid(at)
        spelled = {PING: ping}
        external = f"x-{self._told:09}"
        rows.pings.append((
            ping, at, story.seller.id, at + timedelta(seconds=120), story.quote, external, False,
            _spell(story.ping_receipt, spelled),
        ))  # fmt: skip
        if posted:
            self._post(
                story, ping, at + timedelta(seconds=self._rng.uniform(1, 30)), external, rows
            )

    def _post(self, story: Story, ping: UUID, at: datetime, external: str, rows: _Rows) -> None:
        lead = self._uuid(at)
        spelled = {PING: ping, LEAD: lead}
        now = at + timedelta(milliseconds=8)
        for told, stands_for in zip(story.attempts, ATTEMPTS, strict=False):
            spelled[stands_for] = attempt = self._uuid(now)
            ended = now + timedelta(milliseconds=told.took_ms)
            rows.attempts.append(self._attempt(story, told, attempt, lead, (now, ended)))
            now = now if told.slot else ended
        person = dict(story.fields)
        # No area begins with 1: nobody has this number.
        person["phone"], person["email"] = f"+11{self._told:09}", f"person{self._told}@example.com"
        sealed = self._vault.seal(str(lead), person)
        rows.leads.append((
            lead, ping, story.seller.id, story.vertical, False, story.state, story.reason, 0, external, 0, at,
            at + timedelta(seconds=15), None if story.is_open else ended_of(now), _spell(story.request, spelled),
            _spell(story.lead_receipt, spelled), _spell(story.answer, spelled), sealed.key, sealed.body,
            self._vault.blind("phone", person["phone"]), self._vault.blind("email", person["email"]),
        ))  # fmt: skip

    def _attempt(
        self, story: Story, told: Told, id_: UUID, lead: UUID, when: tuple[datetime, datetime]
    ) -> tuple[Any, ...]:
        buyer, (began, ended) = told.contract.buyer, when
        is_open = told.state == "unconfirmed"
        asks_again = is_open and self._rng.random() < 0.5
        return (
            id_, lead, told.contract.id, buyer.id, told.contract.slug, told.tier,
            self._catalogue.payable[story.seller.id, story.currency], self._catalogue.margin[story.currency],
            told.slot, told.shares, told.state, told.price, told.payout, 0,
            [self._credit[buyer.id]] if buyer.id in self._credit else [], told.detail, 6 if is_open else 0,
            datetime.now(UTC) + timedelta(days=30) if asks_again else None, began, began, None if is_open else ended,
        )  # fmt: skip

    def _uuid(self, at: datetime) -> UUID:
        bits = self._rng.getrandbits(74)
        ms = int(at.timestamp() * 1000)
        return UUID(int=ms << 80 | 7 << 76 | (bits >> 62) << 64 | 2 << 62 | bits & (1 << 62) - 1)


def ended_of(now: datetime) -> datetime:
    return now + timedelta(milliseconds=4)


def _spell(text: bytes | None, spelled: Mapping[UUID, UUID]) -> bytes | None:
    for placeholder, id_ in spelled.items():
        if text is not None:
            text = text.replace(placeholder.hex.encode(), id_.hex.encode())
    return text


# --- a day at a time ------------------------------------------------------------------------------


def moments(past: Past, now: datetime) -> Iterator[tuple[datetime, list[datetime]]]:
    """When pings came: each day's, in order; most by day, fewer at weekends, until now."""
    rng = Random(past.seed)
    first = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=past.days - 1)
    days = [first + timedelta(days=number) for number in range(past.days)]
    shares = [0.6 if day.weekday() > 4 else 1.0 for day in days]
    shares[-1] = shares[-1] * (now - days[-1]).total_seconds() / 86400
    pings = past.leads / _POSTED / sum(shares)
    for day, share in zip(days, shares, strict=True):
        until = (now - day).total_seconds() / 3600
        weights = [(1 + 4 * (12 <= hour < 24)) * (hour < until) for hour in range(24)]
        hours = rng.choices(range(24), weights, k=round(share * pings))
        found = sorted(day + timedelta(hours=hour, seconds=rng.uniform(0, 3600)) for hour in hours)
        yield day, [at for at in found if at < now - timedelta(minutes=2)]


async def seed(dsn: str, vault: Vault, past: Past) -> dict[str, float]:
    """Fill a fresh, migrated database. Returns what it took, by part, in seconds."""
    took: dict[str, float] = {}
    clock = time.monotonic
    db = Database(dsn)
    guard = Guard(allowed_networks=(ip_network("127.0.0.0/8"),))
    documents = past_market.documents(past.contracts, past.buyers, past.sellers, past.seed)
    await apply(db, vault, guard, documents, by="apply")
    catalogue = await load_catalogue(db, vault, EMPTY)
    connection = await connect(dsn, durable=False, statement_ms=0)
    await connection.execute(
        "SET lock_timeout = 0; SET enable_seqscan = on; SET work_mem = '256MB'; SET plan_cache_mode = auto"
    )
    began = clock()
    teller = Storyteller(catalogue, vault, samples(past.seed), past.seed)
    stories = [teller.story() for _ in range(past.stories)]
    waiting = [teller.story(waiting=True) for _ in range(50)]
    took["stories"] = clock() - began
    began = clock()
    await _tell_all(
        connection,
        past,
        Teller(catalogue, vault, await _credit(connection), past.seed),
        stories,
        waiting,
    )
    took["pings, leads, attempts, transfers"] = clock() - began
    began = clock()
    await _settle_accounts(connection)
    await connection.execute("ANALYZE")
    wanted = list(past_market.caps(past.contracts, past.buyers, past.seed))
    for start in range(0, len(wanted), _CAPS_MAX):  # each counts what its month has sold
        await apply(db, vault, guard, wanted[start : start + _CAPS_MAX], by="apply")
    await connection.execute("VACUUM (ANALYZE)")
    took["returns, deposits, caps, vacuum"] = clock() - began
    await connection.close()
    await db.close()
    return took


async def _credit(connection: Any) -> dict[int, int]:
    rows = await connection.fetch(
        "SELECT c.owner, b.id FROM cap c JOIN bucket b ON b.cap_id = c.id WHERE c.kind = 'credit'"
    )
    return dict(map(tuple, rows))


async def _tell_all(
    connection: Any, past: Past, teller: Teller, stories: Sequence[Story], waiting: Sequence[Story]
) -> None:
    rng = Random(past.seed)
    now = datetime.now(UTC)
    for day, times in moments(past, now):
        for log, key in (("ping", "id"), ("late_bid", "ping")):
            await connection.fetchval("SELECT make_day($1, $2, $3, 0)", log, key, day.date())
        rows = _Rows()
        is_late = now - day < timedelta(days=_WAITING_DAYS)
        for at in times:
            story = rng.choice(waiting if is_late and rng.random() < _WAITING else stories)
            teller.tell(story, at, posted=story.is_open or rng.random() < _POSTED, rows=rows)
        for table, columns, records in (
            ("ping", _PING, rows.pings), ("lead", _LEAD, rows.leads), ("attempt", _ATTEMPT, rows.attempts),
        ):  # fmt: skip
            await connection.copy_records_to_table(table, records=records, columns=columns)
        await connection.execute(_TRANSFERS, day, day + timedelta(days=1))


async def _settle_accounts(connection: Any) -> None:
    """Returns, and deposits at the time when they were needed."""
    await connection.execute("ANALYZE attempt; ANALYZE transfer")
    await connection.execute(_RETURNS)
    await connection.execute(_RETURNED)
    await connection.execute(
        "UPDATE transfer SET at = (SELECT min(at) FROM transfer) - interval '1 hour' WHERE kind = 'deposit'"
    )
    for buyer, week, amount in await connection.fetch(_DEPOSITS):
        ref = await connection.fetchval("SELECT gen_random_uuid()")
        await connection.execute(
            "SELECT deposit($1, $2, $3, 'weekly top-up')", ref, buyer, int(amount)
        )
        await connection.execute(
            "UPDATE transfer SET at = greatest($2, (SELECT min(at) FROM transfer)) WHERE ref = $1",
            ref,
            week,
        )
    await connection.execute(_CREDIT)
    await connection.execute(_BEGAN)


async def roll_up(dsn: str, postmaster: int) -> dict[str, tuple[float, float]]:
    """As the office would, without its rests. Returns what each chore took: seconds, and seconds of CPU,
    its own and Postgres's."""

    def cpu_s() -> float:
        return cost.cpu_s(os.getpid()) + cost.family_cpu_s(postmaster)

    took = {}
    connection = await connect(dsn, durable=False, statement_ms=0)
    reports = RollUp(120, turn_s=1e9, rest=0.0)
    for name, chore in {**Balances(turn_s=1e9).chores(), **reports.chores()}.items():
        began_s, began_cpu_s = time.monotonic(), cpu_s()
        await chore(connection)
        took[name] = (time.monotonic() - began_s, cpu_s() - began_cpu_s)
    await connection.close()
    return took


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.history", description=__doc__)
    parser.add_argument("folder", type=Path)
    for name in ("leads", "days", "contracts", "buyers", "sellers", "stories", "seed"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Past(), name))
    chosen = vars(parser.parse_args())
    folder: Path = chosen.pop("folder")
    postgres = EmbeddedPostgres(folder, durable=False)
    dsn = postgres.start()
    try:
        vault = Vault(bytes.fromhex(master_key_of(Settings(), folder)), os.urandom)
        asyncio.run(migrate(dsn))
        took = asyncio.run(seed(dsn, vault, Past(**chosen)))
        rolled = asyncio.run(
            roll_up(dsn, int((folder / "pg/data/postmaster.pid").read_text().split()[0]))
        )
    finally:
        postgres.stop()
    for name, seconds in took.items():
        print(f"{name:<36}{seconds:8.1f} s", flush=True)
    for name, (seconds, cpu_s) in rolled.items():
        print(f"{name:<36}{seconds:8.1f} s, {cpu_s:8.1f} s of CPU", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
