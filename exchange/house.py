"""What one worker is made of: everything a sale needs from the world, passed in from outside.

Clock, randomness, transport and store come through here and nowhere else, so that the whole
exchange can run in simulated time from a seed.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

from buyers.contract import Contract
from buyers.envelope import Letter
from buyers.guard import Guard, Target, UrlRefused
from buyers.wire import Transport
from exchange.catalogue import EMPTY, Catalogue
from exchange.eligibility import Usage
from exchange.errors import Refusal, StoreUnavailable
from exchange.ids import new_uuid
from exchange.observe import Observer
from exchange.rates import Leases
from exchange.sealing import Vault
from exchange.settings import Settings
from exchange.store.store import Store
from exchange.vigil import Vigil

T = TypeVar("T")


@dataclass(kw_only=True)
class House:
    """One worker's world. `catalogue`, `usage` and the sets below change; the rest does not."""

    settings: Settings
    store: Store
    transport: Transport
    vault: Vault
    guard: Guard
    observer: Observer
    worker: int
    random_bytes: Callable[[int], bytes]
    wall_s: Callable[[], float] = time.time
    failpoint: Callable[[str], None] = lambda _name: None
    catalogue: Catalogue = EMPTY
    usage: Usage = field(default_factory=Usage)
    released: set[int] = field(default_factory=set)  # buyers that got room back meanwhile
    stopping: bool = False
    database_away: bool = False
    loaded: bool = False  # whether the catalogue has been read at all
    selling: set[UUID] = field(default_factory=set)  # leads with a task of ours
    under_way: set[UUID] = field(default_factory=set)  # attempts with a task of ours
    in_doubt: set[UUID] = field(default_factory=set)  # awards given up unheard: never delivered
    beating_since_s: float | None = (
        None  # our heart has beaten without a gap since; None: it has not
    )
    leases: Leases = field(init=False)
    vigil: Vigil = field(init=False)  # over buyers' endpoints
    # Settings of every ping, taken out: to ask pydantic's models costs ten times a plain attribute.
    quote_ttl_s: int = field(init=False)
    late_grace_ms: int = field(init=False)
    _tasks: dict[asyncio.Task[Any], None] = field(default_factory=dict)  # in the order begun
    _targets: dict[str, Target | UrlRefused] = field(default_factory=dict)
    _letters: dict[str, dict[str, Letter]] = field(default_factory=dict)  # by seller and contract
    _letters_made: int = 0  # since they were last thrown away
    _clock: Callable[[], float] | None = None  # the loop's, once there is one

    def __post_init__(self) -> None:
        self.leases = Leases(self.store, lambda: self.store.now().timestamp(), self.own)
        own, wall = self.settings, self.store.now
        self.quote_ttl_s, self.late_grace_ms = own.ping.quote_ttl_s, own.ping.late_grace_ms
        self.vigil = Vigil(own.health, own.ping, self.observer, self.now_s, wall)

    def now_s(self) -> float:
        """The loop's monotonic clock: what every deadline is measured on."""
        if self._clock is None:
            self._clock = asyncio.get_running_loop().time
        return self._clock()

    def new_uuid(self) -> UUID:
        """By the store's clock: what is stored by the day of its id goes by no worker's own."""
        return new_uuid(int(self.store.now().timestamp() * 1000), self.random_bytes)

    def target(self, url: str) -> Target | None:
        """Where an endpoint's URL leads; None when the address guard does not let us go there."""
        found = self._targets.get(url)
        if found is None:
            if len(self._targets) > 50_000:
                self._targets.clear()
            found = self._targets[url] = self.guard.check_url(url)
        return found if isinstance(found, Target) else None

    def letters(self, seller: str) -> dict[str, Letter]:
        """What all pings of a seller to a contract have in common, by contract, as far as it has been
        asked for; one of an older version of the contract may stand there."""
        return self._letters.setdefault(seller, {})

    def new_letter(self, contract: Contract, seller: str) -> Letter | None:
        """Put among his `letters`; None when the address guard does not let us go there."""
        target = self.target(contract.endpoint.ping_url or "")
        if target is None:
            return None
        self._letters_made += 1
        if self._letters_made > 50_000:
            self._letters.clear()
            self._letters_made = 0
        opaque = self.vault.opaque("seller", contract.buyer.slug, seller)
        letter = self.letters(seller)[contract.slug] = Letter(contract, target, opaque)
        return letter

    async def look_at_usage(self) -> None:
        """Learn anew which contracts have room; what we give back meanwhile is not forgotten."""
        self.released.clear()
        usage = await self.store.usage()
        self.usage = usage.without(self.released)

    def make_room(self, buyer: int) -> None:
        """What a buyer's contract held was given back: the next ping may ask any of them at once."""
        self.released.add(buyer)
        self.usage = self.usage.without(self.released)

    def own(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run work that nobody's hanging up may stop; a bug in it is told, never lost."""
        task = asyncio.create_task(work, name=name)
        self._tasks[task] = None
        task.add_done_callback(self._disown)
        return task

    def _disown(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        error = None if task.cancelled() else task.exception()
        # A refusal, or a database that is away, is no bug: whoever waited has been told.
        if error is not None and not isinstance(error, (Refusal, StoreUnavailable)):
            self.observer.broke(task.get_name(), error)

    async def drain(self, timeout_s: float) -> int:
        """Wait for owned work to end; returns how many had to be left to recovery."""
        self.stopping = True
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=timeout_s)
        left = list(self._tasks)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=1)
        return len(left)

    async def within(self, work: Coroutine[Any, Any, T], timeout_s: float, name: str) -> T:
        """Wait for work, but no longer. What takes longer is cancelled and left to end by itself: a
        connection that is cut off may need seconds for it. Raises StoreUnavailable."""
        task = self.own(work, name)
        try:
            await asyncio.wait([task], timeout=timeout_s)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if not task.done():
            task.cancel()
            raise StoreUnavailable(f"{name} took too long")
        found: T = task.result()
        return found

    async def insist(self, call: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Repeat a write that must happen until the database takes it."""
        pause_s = 0.05
        while True:
            try:
                return await call()
            except StoreUnavailable:
                await asyncio.sleep(pause_s)
                pause_s = min(1.0, pause_s * 2)
