"""A coalescer without a timer: one call in flight, what arrives meanwhile is the next batch.

Alone, an item goes at once. Under load, batches form by themselves (award.md: 12,000 pairs of
award and settle a second against 1,000 one by one).
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from exchange.errors import StoreUnavailable

Item = TypeVar("Item")
Result = TypeVar("Result")
BATCH_MAX = 128


class Lane(Generic[Item, Result]):
    """Feeds `run(batch) -> results, in order` with whatever waits. Bounded: `waiting_max` items."""

    def __init__(
        self,
        name: str,
        run: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
        *,
        waiting_max: int = 10_000,
    ) -> None:
        self._name = name
        self._run = run
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._waiting_max = waiting_max
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Lane {self._name} [{len(self._waiting)} waiting]>"

    async def submit(self, item: Item) -> Result:
        """Wait for this item's result. Raises StoreUnavailable when the queue is full."""
        if len(self._waiting) >= self._waiting_max:
            raise StoreUnavailable(f"the {self._name} queue is full")
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain(), name=f"lane {self._name}")
        return await future

    async def close(self) -> None:
        """Let what was submitted finish."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _drain(self) -> None:
        while batch := self._next_batch():
            try:
                results = await self._run([item for item, _ in batch])
            except Exception as error:  # noqa: BLE001 - whoever waits must hear of it, whatever it is
                _fail(batch, error)
            else:
                for (_, future), result in zip(batch, results, strict=True):
                    if not future.done():
                        future.set_result(result)

    def _next_batch(self) -> list[tuple[Item, asyncio.Future[Result]]]:
        batch: list[tuple[Item, asyncio.Future[Result]]] = []
        while self._waiting and len(batch) < BATCH_MAX:
            entry = self._waiting.popleft()
            if not entry[1].done():  # its caller has been cancelled meanwhile
                batch.append(entry)
        return batch


def _fail(batch: Sequence[tuple[Item, "asyncio.Future[Result]"]], error: Exception) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)
