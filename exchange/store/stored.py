"""Documents as they are stored: all of them, those a change must look at, or only what changed."""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import orjson

from exchange.geo import load_places
from exchange.store.pace import Pace

KINDS = ("vertical", "plan", "seller", "buyer", "contract")

_ROWS_MAX: Final = 100  # of one slice
_BYTES_MAX: Final = 64 * 1024  # of one slice, as stored; a single document may be larger
_LISTED_MAX: Final = 500

_READ: Final = """
SELECT d.kind, d.slug, d.id, d.body::text, d.secret, d.version,
       coalesce(b.paused, c.paused, false) AS paused, d.deleted, r.endpoint, r.passed, r.repeats
FROM document d
LEFT JOIN buyer b ON d.kind = 'buyer' AND b.id = d.id
LEFT JOIN contract c ON d.kind = 'contract' AND c.id = d.id
LEFT JOIN certificate r ON d.kind = 'contract' AND r.contract_id = d.id """
# One contract and what it stands on, by what is stored and by what is wanted.
_OF_CONTRACT: Final = """
WHERE (d.kind = 'contract' AND d.slug = $1)
  OR (d.kind IN ('vertical', 'plan') AND d.slug IN ($2, (SELECT body->>'vertical' FROM document WHERE kind = 'contract' AND slug = $1)))
  OR (d.kind = 'buyer' AND d.slug IN ($3, (SELECT body->>'buyer' FROM document WHERE kind = 'contract' AND slug = $1)))"""
_OPEN: Final = "SELECT contract_id FROM attempt WHERE state IN ('intent', 'unconfirmed')"
# What is retired buys and sells nothing more; leads that are open need it to come to their end.
_ENDED: Final = (
    f"d.deleted AND (d.kind = 'plan' OR (d.kind = 'contract' AND d.id NOT IN ({_OPEN})))"
)
# A body's size as it is stored, compressed or not, is told without reading it.
_LIST: Final = f"""SELECT d.id, d.kind, d.slug, d.version, pg_column_size(d.body), {_ENDED}
FROM document d """  # noqa: S608 - our own words only
_NEWER: Final = _LIST + "WHERE d.version > $1 ORDER BY d.version LIMIT $2"
_ALL: Final = _LIST + "WHERE d.id > $1 ORDER BY d.id LIMIT $2"
_THESE: Final = _LIST + "WHERE d.id = ANY ($1)"
# What is not a document's and has no version. `xmin` is the transaction that last wrote a row.
_LOOK: Final = """
SELECT (SELECT coalesce(max(version), 0) FROM document), (SELECT coalesce(max(id), 0) FROM account), (SELECT paused FROM house),
  (SELECT coalesce(array_agg(id ORDER BY id), '{}') FROM buyer WHERE paused),
  (SELECT coalesce(array_agg(id ORDER BY id), '{}') FROM contract WHERE paused),
  (SELECT count(*) || ' ' || coalesce(sum(xmin::text::bigint), 0) FROM certificate)"""
_CERTIFIED: Final = """SELECT contract_id, xmin::text::bigint FROM certificate
WHERE contract_id > $1 ORDER BY contract_id LIMIT $2"""
# Only writers of documents open these accounts, one after the other: ids grow as they commit.
_ACCOUNTS: Final = """SELECT id, kind, owner, currency FROM account
WHERE id > $1 AND kind IN ('payable', 'margin') ORDER BY id LIMIT $2"""


class Fetches(Protocol):
    """A database, or a connection of one inside a transaction."""

    async def fetch(self, sql: str, *args: Any) -> list[Any]: ...


@dataclass(frozen=True, slots=True)
class StoredCertificate:
    """What the last certification of a contract's endpoint found."""

    endpoint: bytes  # digest of what was certified
    passed: bool
    repeats: str  # same_answer, conflict, sold_twice, unknown


@dataclass(frozen=True, slots=True)
class StoredDocument:
    id: int
    body: dict[str, Any]
    secret: bytes | None
    version: int
    paused: bool
    deleted: bool = False  # retired
    certificate: StoredCertificate | None = None  # contracts that were certified


Documents = dict[str, dict[str, StoredDocument]]


@dataclass(frozen=True, slots=True)
class ContractScope:
    """What a change of one contract has to look at, instead of everything."""

    slug: str
    vertical: str
    buyer: str


@dataclass(frozen=True, slots=True)
class Listed:
    """A document without its body."""

    id: int
    kind: str
    slug: str
    version: int
    bytes: int
    ended: bool  # retired, and nothing needs it any more


@dataclass(frozen=True, slots=True)
class Look:
    """Everything a change of which changes the catalogue, small enough to be asked for each second."""

    version: int
    account: int  # the last one
    paused: bool  # the whole exchange
    paused_buyers: frozenset[int]
    paused_contracts: frozenset[int]
    certificates: str


async def read_documents(db: Fetches, scope: ContractScope | None = None) -> Documents:
    """Every document by kind and slug, the retired ones too; or those of a scope."""
    if scope is None:
        rows = await db.fetch(_READ)
    else:
        rows = await db.fetch(_READ + _OF_CONTRACT, scope.slug, scope.vertical, scope.buyer)
    await load_places(*(row[3] for row in rows))  # a changed vertical is judged with its contracts
    found: Documents = {kind: {} for kind in KINDS}
    for row in rows:
        found[row[0]][row[1]] = _stored(row)
    return found


async def read_look(db: Fetches) -> Look:
    version, account, paused, buyers, contracts, certificates = (await db.fetch(_LOOK))[0]
    return Look(version, account, paused, frozenset(buyers), frozenset(contracts), certificates)


async def list_all(db: Fetches) -> AsyncIterator[Listed]:
    """Every document, by id, a page at a time."""
    async for row in _pages(db, _ALL, 0, by=0):
        yield Listed(*row)


async def list_newer(db: Fetches, version: int) -> AsyncIterator[Listed]:
    """What was written after a version, oldest change first.

    Writers draw their versions one after the other and commit in that order, so nothing older can
    appear later.
    """
    async for row in _pages(db, _NEWER, version, by=3):
        yield Listed(*row)


async def list_these(db: Fetches, ids: Iterable[int]) -> list[Listed]:
    return [Listed(*row) for row in await db.fetch(_THESE, list(ids))]


async def read_stored(
    db: Fetches, listed: Sequence[Listed], pace: Pace
) -> AsyncIterator[StoredDocument]:
    """The documents listed, in that order, fetched in slices of bounded size and decoded one by one."""
    for part in _slices(listed):
        rows = {row[2]: row for row in await db.fetch(f"{_READ} WHERE d.id = ANY ($1)", part)}
        await load_places(*(row[3] for row in rows.values()))  # what is said in their texts
        for id_ in part:
            await pace.breathe()
            yield _stored(rows.pop(id_))


def _slices(listed: Iterable[Listed]) -> Iterable[list[int]]:
    part: list[int] = []
    size = 0
    for one in listed:
        if part and (len(part) == _ROWS_MAX or size + one.bytes > _BYTES_MAX):
            yield part
            part, size = [], 0
        part.append(one.id)
        size += one.bytes
    if part:
        yield part


async def read_certified(db: Fetches) -> dict[int, int]:
    """Contracts with a certificate, and the transaction that wrote it."""
    return {row[0]: row[1] async for row in _pages(db, _CERTIFIED, 0, by=0)}


async def read_accounts(db: Fetches, after: int) -> AsyncIterator[tuple[int, str, int, str]]:
    """Payable and margin accounts opened after an id: id, kind, owner, currency."""
    async for id_, kind, owner, currency in _pages(db, _ACCOUNTS, after, by=0):
        yield id_, kind, owner, currency


async def read_open(db: Fetches, contracts: Iterable[int]) -> frozenset[int]:
    """Those of these contracts that have open attempts."""
    rows = await db.fetch(f"{_OPEN} AND contract_id = ANY ($1)", list(contracts))
    return frozenset(row[0] for row in rows)


async def _pages(db: Fetches, sql: str, after: int, *, by: int) -> AsyncIterator[Any]:
    """Rows in the order of a column, the one at `by`, which begins after a value."""
    while True:
        page = await db.fetch(sql, after, _LISTED_MAX)
        for row in page:
            yield row
        if len(page) < _LISTED_MAX:
            return
        after = page[-1][by]


def _stored(row: Sequence[Any]) -> StoredDocument:
    _, _, id_, body, secret, version, paused, deleted, endpoint, passed, repeats = row
    certificate = None if endpoint is None else StoredCertificate(endpoint, passed, repeats)
    return StoredDocument(id_, orjson.loads(body), secret, version, paused, deleted, certificate)
