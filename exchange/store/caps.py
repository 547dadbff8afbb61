"""Caps as documents list them, written in a few statements: while they are, no award goes on."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from buyers.money import parse_micros

_STANDING: Final = """SELECT owner, kind, period, tz, lim, paced FROM cap
WHERE owner = ANY ($1) AND kind NOT IN ('credit', 'share')"""
_COLUMNS: Final = (
    "unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::boolean[]) WITH ORDINALITY"
    " w(owner, kind, period, tz, lim, paced, n)"
)
# ruff: noqa: S608 - statements are made of our own words only
# As set_cap does for an owner that never sold anything: there is nothing to count.
_ADD: Final = f"""WITH added AS (
  INSERT INTO cap (owner, kind, period, tz, lim, paced)
  SELECT owner, kind, period, tz, lim, paced FROM {_COLUMNS} ORDER BY n RETURNING *)
INSERT INTO bucket (cap_id, start, money, transient, lim)
SELECT id, bucket_start(period, tz), kind IN ('spend', 'credit'), kind = 'concurrent', lim FROM added ORDER BY id"""
# As set_cap does for a cap that has another limit only: what is used stays used.
_MOVE: Final = f"""WITH moved AS (
  UPDATE cap SET lim = w.lim, paced = w.paced FROM {_COLUMNS}
  WHERE cap.owner = w.owner AND cap.kind = w.kind AND cap.period = w.period RETURNING cap.*)
UPDATE bucket SET lim = moved.lim FROM moved
WHERE cap_id = moved.id AND start >= bucket_start(moved.period, moved.tz) AND bucket.lim <> moved.lim"""
_COUNT: Final = f"SELECT set_cap(owner, kind, period, tz, lim) FROM {_COLUMNS} ORDER BY n"
_PACE: Final = f"""UPDATE cap SET paced = w.paced FROM {_COLUMNS}
WHERE cap.owner = w.owner AND cap.kind = w.kind AND cap.period = w.period AND cap.paced <> w.paced"""
_DROP: Final = """SELECT drop_cap(owner, kind, period)
FROM unnest($1::int[], $2::text[], $3::text[]) WITH ORDINALITY w(owner, kind, period, n) ORDER BY n"""


@dataclass(frozen=True, slots=True)
class NewCap:
    owner: int  # contract or buyer
    kind: str
    period: str
    timezone: str
    limit: int  # micros of money, else leads
    paced: bool = False

    @property
    def key(self) -> tuple[int, str, str]:
        return self.owner, self.kind, self.period


@dataclass(frozen=True, slots=True)
class CapOwner:
    """A contract or a buyer with the caps its document lists."""

    id: int
    caps: list[dict[str, Any]]
    timezone: str
    is_new: bool  # it never sold anything


@dataclass(frozen=True, slots=True)
class CapChanges:
    """What differs from what is in force; a cap that stays as it is costs nothing."""

    added: list[NewCap] = field(default_factory=list)  # of new owners
    moved: list[NewCap] = field(default_factory=list)  # another limit, in the same time zone
    counted: list[NewCap] = field(default_factory=list)  # begin with what was sold already
    dropped: list[tuple[int, str, str]] = field(default_factory=list)


async def changed_caps(connection: Any, owners: Iterable[CapOwner]) -> CapChanges:
    """Compare with what stands. Writers of documents wait for one another, so it stays true."""
    owners = list(owners)
    rows = await connection.fetch(_STANDING, [one.id for one in owners if not one.is_new])
    standing = {tuple(row)[:3]: tuple(row)[3:] for row in rows}
    found = CapChanges()
    wanted = set()
    for owner in owners:
        for listed in owner.caps:
            cap = _cap(owner, listed)
            wanted.add(cap.key)
            timezone, *rest = standing.get(cap.key, (None,))
            if owner.is_new:
                found.added.append(cap)
            elif timezone != cap.timezone:
                found.counted.append(cap)
            elif rest != [cap.limit, cap.paced]:
                found.moved.append(cap)
    found.dropped.extend(sorted(standing.keys() - wanted))
    return found


async def write_caps(connection: Any, changes: CapChanges) -> None:
    """Put them in force; the caller holds up awards."""
    if changes.dropped:
        await connection.fetch(_DROP, *map(list, zip(*changes.dropped, strict=True)))
    await add_caps(connection, changes.added)
    if changes.moved:
        await connection.execute(_MOVE, *_columns(changes.moved))
    if changes.counted:
        await connection.fetch(_COUNT, *_columns(changes.counted))
        await connection.execute(_PACE, *_columns(changes.counted))


async def add_caps(connection: Any, caps: list[NewCap]) -> None:
    """Caps of owners that never sold anything, and their buckets, in the order given."""
    if caps:
        await connection.execute(_ADD, *_columns(caps))


async def write_reserves(connection: Any, reserves: list[tuple[int, int]]) -> None:
    """What must be left of each prepaid buyer's credit after every award."""
    await connection.execute(
        """UPDATE cap SET reserve = w.reserve FROM unnest($1::int[], $2::bigint[]) w(owner, reserve)
        WHERE cap.owner = w.owner AND cap.kind = 'credit' AND cap.reserve <> w.reserve""",
        [owner for owner, _ in reserves],
        [reserve for _, reserve in reserves],
    )


def _cap(owner: CapOwner, listed: dict[str, Any]) -> NewCap:
    limit = parse_micros(listed["limit"]) if listed["kind"] == "spend" else listed["limit"]
    paced = listed.get("pace") is not None
    period = listed["period"] or "total"
    return NewCap(owner.id, listed["kind"], period, owner.timezone, limit, paced)


def _columns(caps: list[NewCap]) -> list[list[Any]]:
    rows = [(one.owner, one.kind, one.period, one.timezone, one.limit, one.paced) for one in caps]
    return [list(column) for column in zip(*rows, strict=True)]
