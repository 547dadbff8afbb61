"""A coalescer without a timer: while a call is in flight, what arrives meanwhile is the next batch.

Alone, an item goes at once. Under load, batches form by themselves (award.md: 12,000 pairs of
award and settle a second against 1,000 one by one).
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, NamedTuple, TypeVar

import asyncpg

from exchange.errors import StoreUnavailable
from exchange.store.database import CONTENDED, Link

Item = TypeVar("Item")
Result = TypeVar("Result")
BATCH_MAX: Final = 128
_CONTENDED_MAX: Final = 3  # items of a batch that may wait in vain for locks, each for lock_timeout


class _Entry(NamedTuple, Generic[Item, Result]):
    item: Item
    future: "asyncio.Future[Result]"
    marks: Sequence[Hashable]
    since_s: float  # loop time


@dataclass(slots=True, eq=False)
class _Batch(Generic[Item, Result]):
    over: "asyncio.Future[None]"
    entries: list[_Entry[Item, Result]] = field(default_factory=list)
    marks: set[Hashable] = field(default_factory=set)


class Lane(Generic[Item, Result]):
    """Feeds `run(link, items) -> results, in order` with whatever waits, at most `batch_max` items at
    a time; as many calls at once as there are links.

    One bad item spoils none of the others: a batch that Postgres refuses is tried one by one. An item
    that is locked out even alone gets `contended`; without one, StoreUnavailable.

    `marks` names what one statement may meet only once, such as an id: what shares a mark with an
    item that is under way, or with an earlier one of its batch, waits for it, and the rest behind it.
    """

    def __init__(
        self,
        name: str,
        run: Callable[[Link, Sequence[Item]], Awaitable[Sequence[Result]]],
        links: Iterable[Link],
        *,
        batch_max: int = BATCH_MAX,
        waiting_max: int = 10_000,
        marks: Callable[[Item], Sequence[Hashable]] = lambda _item: (),
        contended: Result | None = None,
    ) -> None:
        self.name = name
        self._run = run
        self._idle = list(links)
        self._batch_max = batch_max
        self._waiting_max = waiting_max
        self._marks = marks
        self._contended = contended
        self._waiting: deque[_Entry[Item, Result]] = deque()
        self._sent: set[_Batch[Item, Result]] = set()
        self._drains: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<Lane {self.name} [{self.waiting} waiting]>"

    @property
    def waiting(self) -> int:
        """Items that no call has taken yet."""
        return len(self._waiting)

    def waits_s(self) -> float:
        """How long the item that has waited longest has waited; 0 when none does."""
        if not self._waiting:
            return 0.0
        return asyncio.get_running_loop().time() - self._waiting[0].since_s

    async def submit(self, item: Item) -> Result:
        """Wait for this item's result. Raises StoreUnavailable when the queue is full.

        Who is cancelled while his item waits is left out; once it is sent it goes on without him.
        """
        if len(self._waiting) >= self._waiting_max:
            raise StoreUnavailable(f"the {self.name} queue is full")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._waiting.append(_Entry(item, future, self._marks(item), loop.time()))
        if self._idle:
            drain = loop.create_task(self._drain(self._idle.pop()), name=f"lane {self.name}")
            self._drains.add(drain)
            drain.add_done_callback(self._drains.discard)
        return await future

    async def passed(self, mark: Hashable) -> None:
        """Wait until whatever was sent under this mark has come to its end: its caller may have been
        cancelled, and what undoes it must not overtake it."""
        over = [batch.over for batch in self._sent if mark in batch.marks]
        if over:
            await asyncio.wait(over)

    async def close(self) -> None:
        """Let what was submitted finish."""
        if self._drains:
            await asyncio.wait(list(self._drains))

    async def _drain(self, link: Link) -> None:
        try:
            while (batch := self._next_batch()).entries:
                self._sent.add(batch)
                try:
                    await self._send(link, batch.entries)
                finally:
                    self._sent.discard(batch)
                    batch.over.set_result(None)
        finally:
            self._idle.append(link)  # in the same turn as the last look: nobody is left waiting

    def _next_batch(self) -> _Batch[Item, Result]:
        """Empty when nobody waits, or who is first waits for what is under way: its call looks again."""
        batch: _Batch[Item, Result] = _Batch(asyncio.get_running_loop().create_future())
        while self._waiting and len(batch.entries) < self._batch_max:
            entry = self._waiting[0]
            if not entry.future.done():  # else its caller has been cancelled meanwhile
                if any(not one.marks.isdisjoint(entry.marks) for one in (batch, *self._sent)):
                    break
                batch.entries.append(entry)
                batch.marks.update(entry.marks)
            self._waiting.popleft()
        return batch

    async def _send(self, link: Link, entries: Sequence[_Entry[Item, Result]]) -> None:
        """Call, and tell everybody his result, or why there is none, whatever it is."""
        try:
            results = await self._run(link, [entry.item for entry in entries])
        except asyncpg.PostgresError as error:  # refused as a whole: nothing stands
            if len(entries) > 1:
                await self._send_apart(link, entries)
            elif isinstance(error, CONTENDED):
                self._lock_out(entries)
            else:
                _fail(entries, error)
        except Exception as error:  # noqa: BLE001 - whoever waits must hear of it, whatever it is
            _fail(entries, error)
        else:
            _tell(entries, results)

    async def _send_apart(self, link: Link, entries: Sequence[_Entry[Item, Result]]) -> None:
        """Each alone, in order. Once the database is away, or several were locked out, the rest hears
        the same: else everybody would wait for each of them in turn."""
        locked_out = 0
        for number, entry in enumerate(entries):
            if entry.future.done():  # nothing of it stands, and nobody waits for it any more
                continue
            await self._send(link, [entry])
            locked_out += self._is_locked_out(entry.future)
            if _is_away(entry.future):
                _fail(entries[number + 1 :], StoreUnavailable("the database went away"))
            elif locked_out == _CONTENDED_MAX:
                self._lock_out(entries[number + 1 :])

    def _lock_out(self, entries: Sequence[_Entry[Item, Result]]) -> None:
        if self._contended is None:
            _fail(entries, _LockedOut("the rows were locked for too long"))
        else:
            _tell(entries, [self._contended] * len(entries))

    def _is_locked_out(self, future: "asyncio.Future[Result]") -> bool:
        if future.cancelled():
            return False
        error = future.exception()
        if error is not None:
            return isinstance(error, _LockedOut)
        return self._contended is not None and future.result() == self._contended


class _LockedOut(StoreUnavailable):
    """Somebody else held the rows for too long; asking again is right."""


def _is_away(future: "asyncio.Future[Result]") -> bool:
    if future.cancelled():
        return False
    error = future.exception()
    return isinstance(error, StoreUnavailable) and not isinstance(error, _LockedOut)


def _tell(entries: Sequence[_Entry[Item, Result]], results: Sequence[Result]) -> None:
    if len(results) != len(entries):
        _fail(entries, RuntimeError(f"{len(results)} results for {len(entries)} items"))
        return
    for entry, result in zip(entries, results, strict=True):
        if not entry.future.done():
            entry.future.set_result(result)


def _fail(entries: Iterable[_Entry[Item, Result]], error: Exception) -> None:
    for entry in entries:
        if not entry.future.done():
            entry.future.set_exception(error)
