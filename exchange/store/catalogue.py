"""The live catalogue: reads what changed, compiles that and nothing else, in slices.

A snapshot is never changed: who began an auction with one ends with it. A refresh reads one
consistent view of the database, makes the next snapshot beside the present one, and puts it in
force by one assignment; if it fails half-way, nothing has happened.
"""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Final
from weakref import WeakValueDictionary, finalize

import orjson

from buyers.contract import Condition
from exchange.catalogue import EMPTY, Catalogue, Entry, Market, entry_of
from exchange.conditions import filter_value, find_field
from exchange.documents import contract_value
from exchange.errors import PlacesNotLoaded
from exchange.geo import may_have_places, within
from exchange.sealing import Vault
from exchange.store.certificates import as_certified
from exchange.store.database import Database
from exchange.store.draft import Draft, Known
from exchange.store.pace import Pace, uncollected
from exchange.store.stored import (
    KINDS,
    ContractScope,
    Documents,
    Fetches,
    Listed,
    Look,
    StoredCertificate,
    StoredDocument,
    list_all,
    list_newer,
    list_these,
    read_accounts,
    read_certified,
    read_documents,
    read_look,
    read_open,
    read_stored,
)
from exchange.verticals import Vertical

__all__ = [
    "KINDS", "ContractScope", "Documents", "LiveCatalogue", "StoredCertificate", "StoredDocument",
    "load_catalogue", "read_documents",
]  # fmt: skip

_MANY: Final = 100  # contracts at once, beyond which the search for cycles waits
_LONG: Final = 200  # values of one condition, beyond which they are read in slices

# As long as a contract holds a set, another that lists the same values gets that one.
_Sets = WeakValueDictionary[tuple[str, bytes], frozenset[Any]]


async def load_catalogue(db: Database, vault: Vault, known: Catalogue = EMPTY) -> Catalogue:
    """The snapshot as it is now, read from nothing. Field checks of `known` are taken over."""
    live = LiveCatalogue(db, vault, _raise, known)
    await live.refresh()
    return live.snapshot


def _raise(_where: str, error: BaseException) -> None:
    raise error


class LiveCatalogue:
    """One process's catalogue; `refresh()` whenever the database may have changed.

    `broke` is told of a contract that cannot be read, by its slug: it is out of force until it is
    written again, and the others are not kept waiting for it. One that lacks the places of ZIP codes
    is read again when these may be there.
    """

    def __init__(
        self,
        db: Database,
        vault: Vault,
        broke: Callable[[str, BaseException], None],
        known: Catalogue = EMPTY,
    ) -> None:
        self._db = db
        self._vault = vault
        self._broke = broke
        self._known = Known(snapshot=replace(EMPTY, markets=known.markets))
        self._everything = True
        self._sets: _Sets = WeakValueDictionary()
        self._leaving: set[asyncio.Task[None]] = set()
        self.pace = Pace()
        self.compiled = 0  # contracts, since the process began

    @property
    def snapshot(self) -> Catalogue:
        return self._known.snapshot

    @property
    def is_behind(self) -> bool:
        """Whether a refresh may bring back what could not be read, though nothing was written."""
        return bool(self._known.unplaced) and may_have_places()

    def distrust(self) -> None:
        """The database may be another one now: the next refresh compares every document."""
        self._everything = True

    async def refresh(self) -> None:
        """Bring the snapshot up to date. Raises StoreUnavailable; then it is as it was."""
        async with (
            self._db.connection() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            look = await read_look(connection)
            draft, changed = await self._changed(connection, look)
            before = draft.known.snapshot.markets
            with ExitStack() as stack:
                await self._read(connection, draft, changed, stack)
                await self._open_accounts(connection, draft)
                await draft.come_into_force(look, self.pace)
        self._known, self._everything = draft.known, False
        self._let_go(draft, before)

    # --- what changed ---------------------------------------------------------------------------

    async def _changed(self, db: Fetches, look: Look) -> tuple[Draft, dict[int, Listed]]:
        """A draft, and the documents that have to be read again for it."""
        known = self._known
        found: dict[int, Listed] = {}
        if self._everything or look.version < known.look.version:
            known, found = await self._differing(db)
        else:
            async for one in list_newer(db, known.look.version):
                found[one.id] = one
                await self.pace.breathe()
        draft = Draft(known)
        touched = set(look.paused_buyers ^ known.look.paused_buyers)
        touched |= look.paused_contracts ^ known.look.paused_contracts
        if may_have_places():
            touched |= draft.unplaced
            draft.unplaced = set()
        if known.retired:
            touched |= known.retired - await read_open(db, known.retired)
        if look.certificates != known.look.certificates:
            draft.certified = await read_certified(db)
            touched |= {id_ for id_, _ in draft.certified.items() ^ known.certified.items()}
        for listed in await list_these(db, touched - found.keys()):
            found[listed.id] = listed
        return draft, found

    async def _differing(self, db: Fetches) -> tuple[Known, dict[int, Listed]]:
        """Every document is compared; if one is missing this is another database: from nothing."""
        found: dict[int, Listed] = {}
        everything: dict[int, Listed] = {}
        held = self._known.held
        missing = len(held)
        async for one in list_all(db):
            everything[one.id] = one
            known = held.get(one.id)
            missing -= known is not None
            if known is None or (known.version, known.slug) != (one.version, one.slug):
                found[one.id] = one
            await self.pace.breathe()
        if not missing:
            return self._known, found
        return Known(snapshot=replace(EMPTY, markets=self._known.snapshot.markets)), everything

    # --- reading and compiling ------------------------------------------------------------------

    async def _read(
        self, db: Fetches, draft: Draft, changed: Mapping[int, Listed], stack: ExitStack
    ) -> None:
        take = {
            "vertical": draft.put_vertical, "plan": draft.put_plan,
            "seller": draft.put_seller, "buyer": draft.put_buyer,
        }  # fmt: skip
        by_kind: dict[str, list[Listed]] = defaultdict(list)
        for one in changed.values():
            by_kind[one.kind].append(one)
            draft.hold(one)
            await self.pace.breathe()
        for kind in KINDS[:-1]:
            async for document in read_stored(db, by_kind[kind], self.pace):
                try:
                    take[kind](document)
                except Exception as error:  # noqa: BLE001 - it stays as it was; pauses go through
                    self._broke(f"catalogue: {kind} {document.body.get('slug', '')}", error)
        standing: list[Listed] = []
        for one in by_kind["contract"]:
            if one.ended:
                draft.drop_contract(one)
            else:
                standing.append(one)
            await self.pace.breathe()
        for vertical in draft.outdated:
            for contract, _ in draft.markets[vertical].contracts:
                if contract.id not in changed:
                    standing.append(draft.known.held[contract.id])
                await self.pace.breathe()
        if len(standing) > _MANY:
            stack.enter_context(uncollected())
        async for document in read_stored(db, standing, self.pace):
            await self._compile(draft, document)
        await draft.follow_buyers(self.pace)

    async def _compile(self, draft: Draft, document: StoredDocument) -> None:
        """One contract, out of force if it cannot be read."""
        entry, lacks_places = None, False
        try:
            vertical = draft.markets[document.body["vertical"]].vertical
            for one in document.body["filters"]:
                await self._read_long_lists(one, vertical)
            entry = self._entry(draft, document, vertical)
        except Exception as error:  # noqa: BLE001 - one bad document must not hold up the others
            self._broke(f"catalogue: contract {document.body.get('slug', '')}", error)
            lacks_places = isinstance(error, PlacesNotLoaded)
        draft.put_contract(document, entry)
        if lacks_places:
            draft.unplaced.add(document.id)

    def _entry(self, draft: Draft, document: StoredDocument, vertical: Vertical) -> Entry:
        body = document.body
        assert document.secret is not None, "every stored contract has a secret"
        contract = contract_value(
            document.id,
            body,
            draft.buyer(body["buyer"]),
            vertical,
            self._vault.open_text(f"contract:{body['slug']}", document.secret),
            active=not (document.paused or document.deleted),
            retired=document.deleted,
            version=document.version,
            near=within,
        )
        self.compiled += 1
        return entry_of(as_certified(contract, document.certificate))

    async def _read_long_lists(self, condition: dict[str, Any], vertical: Vertical) -> None:
        """Puts sets in the place of lists that are too long to be read in one slice."""
        for inner in condition.get("any", ()):
            await self._read_long_lists(inner, vertical)
        if "not" in condition:
            await self._read_long_lists(condition["not"], vertical)
        values: Any = condition.get("value")
        listed = isinstance(values, list) and condition.get("op") in {"in", "not_in"}
        if listed and len(values) > _LONG:
            condition["value"] = await self._set_of(condition, values, vertical)

    async def _set_of(
        self, condition: dict[str, Any], values: list[Any], vertical: Vertical
    ) -> frozenset[Any]:
        await self.pace.breathe()
        field = find_field(vertical, condition["field"])
        assert field is not None, "a stored filter was checked"
        digest = hashlib.blake2b(orjson.dumps(values), digest_size=16).digest()
        found = self._sets.get((field.type, digest))
        if found is None:
            normal: set[Any] = set()
            for first in range(0, len(values), _LONG):
                part = {**condition, "value": values[first : first + _LONG]}
                read = filter_value(part, vertical)
                assert isinstance(read, Condition)
                normal |= read.value
                await self.pace.breathe()
            found = self._sets[field.type, digest] = frozenset(normal)
        return found

    async def _open_accounts(self, db: Fetches, draft: Draft) -> None:
        async for id_, kind, owner, currency in read_accounts(db, draft.known.look.account):
            if kind == "payable":
                draft.payable[owner, currency] = id_
            else:
                draft.margin[currency] = id_
            await self.pace.breathe()

    # --- what is left behind --------------------------------------------------------------------

    def _let_go(self, draft: Draft, before: Mapping[str, Market]) -> None:
        """When many contracts were replaced, the last auction that saw them would free them all at
        once, in one turn of the loop."""
        for vertical, market in before.items():
            if draft.read_in(vertical) > _MANY and market.contracts:
                unseen = asyncio.Event()
                finalize(market, unseen.set).atexit = False
                left: list[object] = [*market.contracts, *market.index.rows]
                task = asyncio.create_task(_free(left, unseen, self.pace), name="let go")
                self._leaving.add(task)
                task.add_done_callback(self._leaving.discard)

    async def close(self) -> None:
        for task in self._leaving:
            task.cancel()
        if self._leaving:
            await asyncio.wait(self._leaving)


async def _free(left: list[object], unseen: asyncio.Event, pace: Pace) -> None:
    await unseen.wait()
    while left:
        left.pop()
        await pace.breathe()
