"""What the operator's verbs do: explain, settle by hand, verify, back up."""

import os
import subprocess
from pathlib import Path
from typing import BinaryIO, Final

import orjson

from buyers.money import format_micros
from exchange.books import broken_invariants, overdue
from exchange.errors import ExchangeError
from exchange.ids import read_id, write_id
from exchange.receipt import read
from exchange.replay import replay_ping, replay_price
from exchange.resolving import attempt_meant, book_word
from exchange.settings import Settings
from exchange.store.audit import read_receipts, read_snapshot
from exchange.store.embedded import EmbeddedInvalid, EmbeddedPostgres, find_binaries
from exchange.store.postgres import PostgresStore
from exchange.store.rows import AttemptState, Settled
from exchange.story import lines_of
from exchange.supervisor import data_dir_of
from exchange.why import LookUp, Recall, find_story

_UNCONFIRMED: Final = """
SELECT a.lead_id, a.contract, a.price, y.currency, a.tries, extract(epoch FROM now() - a.created_at)::float8,
       extract(epoch FROM a.next_try_at - now())::float8
FROM attempt a JOIN buyer y ON y.id = a.buyer_id WHERE a.state = 'unconfirmed' ORDER BY a.created_at LIMIT 500"""

_REPLAYED: Final = 20_000


class BackupFailed(ExchangeError):
    """pg_dump did not write the file."""


async def explain(
    store: PostgresStore, text: str, recall: Recall, look_up: LookUp | None = None
) -> list[str]:
    """The story of a lead, or of a ping, in plain lines; empty when there is none."""
    found = await find_story(store, text, recall, look_up)
    return [] if found is None else lines_of(found[0])


async def list_unconfirmed(store: PostgresStore) -> list[str]:
    lines = []
    for lead_id, contract, price, currency, tries, age_s, next_s in await store.db.fetch(
        _UNCONFIRMED
    ):
        when = (
            "waits for a person" if next_s is None else f"asked again in {max(0, round(next_s))} s"
        )
        lines.append(
            f"{write_id('lead', lead_id)}  {contract:<28} {format_micros(price, currency):>9} {currency}"
            f"  {round(age_s)} s old, {tries} tries, {when}"
        )
    return lines


async def settle_by_hand(
    store: PostgresStore, text: str, outcome: str, contract: str | None = None
) -> tuple[str, bool]:
    """Book a person's word on a lead's unconfirmed post; says what stands, and whether it is that."""
    ids = read_id("lead", text)
    attempts = await store.attempts(ids[0]) if ids else []
    if not attempts:
        return "there is no such lead, or it was never posted", False
    meant = attempt_meant(attempts, contract)
    if meant is None:
        known = ", ".join(sorted({one.contract for one in attempts}))
        return f"say whose post, by --contract: {known}", False
    if meant.state is AttemptState.INTENT:
        return "its post is still under way; ask again in a moment", False
    settled = await book_word(store, meant, AttemptState(outcome))
    if settled is Settled.OK:
        return f"{text} {outcome} ({meant.contract})", True
    return f"{text} is {settled.value} already", settled.value == outcome


async def verify(dsn: str) -> tuple[list[str], str]:
    """What is broken, and what was looked at: I1 to I6 and I9 on one snapshot of everything, I10 by
    replaying the newest receipts. Half of I7 and I8 is in the buyers' own books."""
    snapshot = await read_snapshot(dsn)
    receipts = await read_receipts(dsn, _REPLAYED)
    broken = [*broken_invariants(snapshot), *overdue(snapshot)]
    for raw in receipts.pings:
        broken += replay_ping(read(raw))
    for lead_id, contract, price, request in receipts.prices:
        broken += replay_price(write_id("lead", lead_id), contract, price, orjson.loads(request))
    counted = (
        f"{len(snapshot.leads)} leads, {len(snapshot.attempts)} attempts, "
        f"{len(snapshot.transfers)} transfers, {len(snapshot.buckets)} buckets, "
        f"{len(receipts.pings)} auctions replayed"
    )
    return broken, counted


def back_up(settings: Settings, path: Path) -> str:
    """A consistent dump while everything goes on. The master key is not in it: keep that elsewhere."""
    if path.exists():
        raise BackupFailed(f"{path} exists already")
    partial = path.with_name(path.name + ".part")
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        done = _dump(settings, file)
    if done.returncode != 0:
        partial.unlink()
        raise BackupFailed("pg_dump failed: " + done.stderr.decode(errors="replace")[-400:])
    partial.rename(path)
    return f"wrote {path} ({path.stat().st_size} bytes); keep the master key with care and apart from it"


def _pg_dump() -> str:
    """The newest at hand: one that is older than the server refuses to dump it."""
    try:
        return str(find_binaries() / "pg_dump")
    except EmbeddedInvalid:
        return "pg_dump"


def _dump(settings: Settings, file: BinaryIO) -> subprocess.CompletedProcess[bytes]:
    if settings.database_url is not None:
        command = [_pg_dump(), "--format=custom", settings.database_url]
        return subprocess.run(command, stdout=file, stderr=subprocess.PIPE, check=False)
    postgres = EmbeddedPostgres(data_dir_of(settings))
    started = postgres.running_dsn() is None
    if started:
        postgres.start()
    try:
        return postgres.client("pg_dump", "--format=custom", stdout=file, database="exchange")
    finally:
        if started:
            postgres.stop()
