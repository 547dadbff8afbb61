"""Every lane of one process, and the connections they feed: opened when first needed."""

from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, Final, TypeVar

from exchange.store.database import Link
from exchange.store.lane import BATCH_MAX, Lane

Item = TypeVar("Item")
Result = TypeVar("Result")
# While one call waits for the disk, the next batch is on its way; a third link gained nothing. What does
# not wait for the disk has no use for a second.
_DURABLE_LINKS: Final = 2
# Without batches a lane makes that many calls at once, twice as many as the pool would: Postgres then
# joins their commits by itself. 16 sold 7 % more than 8, with 8 times as many connections as batches need.
_ALONE_LINKS: Final = 8


class Lanes:
    """Makes lanes. With `batch_max` 1 every item is a statement and a commit of its own."""

    def __init__(self, dsn: str, batch_max: int = BATCH_MAX) -> None:
        self._dsn = dsn
        self._batch_max = batch_max
        self._lanes: list[Lane[Any, Any]] = []
        self._links: list[tuple[str, Link]] = []

    def lane(
        self,
        name: str,
        run: Callable[[Link, Sequence[Item]], Awaitable[Sequence[Result]]],
        *,
        durable: bool,
        marks: Callable[[Item], Sequence[Hashable]] = lambda _item: (),
        contended: Result | None = None,
    ) -> Lane[Item, Result]:
        """A lane of its own; what goes through one that is not durable may be lost with the machine
        within about 0.6 s."""
        count = _DURABLE_LINKS if durable else 1
        if self._batch_max == 1:
            count = _ALONE_LINKS
        links = [Link(self._dsn, durable=durable) for _ in range(count)]
        made = Lane(
            name, run, links, batch_max=self._batch_max, marks=marks, contended=contended
        )  # fmt: skip
        self._lanes.append(made)
        self._links += [(name, link) for link in links]
        return made

    async def warm(self, names: frozenset[str]) -> None:
        """Connect these lanes before anybody uses them: the first quote shall not wait for it."""
        for name, link in self._links:
            if name in names:
                await link.connection()

    def waiting(self) -> dict[str, int]:
        """Items that no call has taken yet, by lane."""
        return {lane.name: lane.waiting for lane in self._lanes}

    async def close(self) -> None:
        """Let what was submitted finish, then disconnect."""
        for lane in self._lanes:
            await lane.close()
        for _, link in self._links:
            await link.close()
