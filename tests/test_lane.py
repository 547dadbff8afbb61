"""The coalescer: what becomes a batch, what a bad item does to the others, who waits for whom."""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress

import asyncpg
import pytest

from exchange.errors import StoreUnavailable
from exchange.store.database import Link
from exchange.store.lane import Lane

Outcome = str | Exception


class Desk:
    """What a lane calls: notes every batch, waits while it is shut, and knows what goes wrong."""

    def __init__(self, **wrong: Exception) -> None:
        self.batches: list[str] = []
        self.at_once = self.at_once_max = 0
        self._wrong = wrong
        self._open = asyncio.Event()
        self._open.set()
        self._called = asyncio.Event()

    def shut(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    async def called(self, times: int) -> None:
        while len(self.batches) < times:
            self._called.clear()
            await self._called.wait()

    async def serve(self, _link: Link, batch: Sequence[str]) -> Sequence[str]:
        self.batches.append("".join(batch))
        self._called.set()
        self.at_once += 1
        self.at_once_max = max(self.at_once_max, self.at_once)
        try:
            await self._open.wait()
        finally:
            self.at_once -= 1
        for item in batch:
            if item in self._wrong:
                raise self._wrong[item]
        return [item.upper() for item in batch]

    def lane(self, links: int = 1, **options: object) -> Lane[str, str]:
        return Lane("test", self.serve, [_link() for _ in range(links)], **options)  # type: ignore[arg-type]


def _link() -> Link:
    return Link("postgresql://nobody@127.0.0.1:1/nothing", durable=False)  # never opened


async def all_of(lane: Lane[str, str], items: Iterable[str]) -> list[Outcome]:
    return list(  # type: ignore[arg-type]
        await asyncio.gather(*map(lane.submit, items), return_exceptions=True)
    )


async def waiting(lane: Lane[str, str], count: int) -> None:
    while lane.waiting != count:  # noqa: ASYNC110 - a few turns of the loop
        await asyncio.sleep(0)


async def test_what_arrives_during_a_call_is_the_next_batch() -> None:
    desk = Desk()
    lane = desk.lane()
    desk.shut()
    first = asyncio.create_task(lane.submit("a"))
    await desk.called(1)
    rest = asyncio.create_task(all_of(lane, "bcd"))
    await waiting(lane, 3)
    desk.open()
    assert await first == "A"
    assert await rest == ["B", "C", "D"]
    assert desk.batches == ["a", "bcd"]


async def test_a_batch_has_its_most_and_order_is_kept() -> None:
    desk = Desk()
    assert await all_of(desk.lane(batch_max=3), "abcdefgh") == list("ABCDEFGH")
    assert desk.batches == ["abc", "def", "gh"]


@pytest.mark.parametrize("links", [1, 3])
async def test_without_batches_each_is_a_call_and_links_are_calls_at_once(links: int) -> None:
    desk = Desk()
    lane = desk.lane(links, batch_max=1)
    desk.shut()
    done = asyncio.create_task(all_of(lane, "abcdef"))
    await desk.called(links)
    desk.open()
    assert await done == list("ABCDEF")
    assert desk.batches == list("abcdef")
    assert desk.at_once_max == links


@pytest.mark.parametrize("links", [1, 2])
async def test_what_shares_a_mark_waits_for_the_earlier_one(links: int) -> None:
    desk = Desk()
    lane = desk.lane(links, marks=lambda item: (item,))
    desk.shut()
    done = asyncio.create_task(all_of(lane, "abacb"))
    await waiting(lane, 3)
    assert desk.batches == ["ab"]
    desk.open()
    assert await done == list("ABACB")
    assert desk.batches == ["ab", "acb"]


async def test_nobody_behind_a_mark_is_forgotten() -> None:
    desk = Desk()
    lane = desk.lane(2, marks=lambda item: (item,))
    for _ in range(20):
        assert await all_of(lane, "aaabbbaab") == list("AAABBBAAB")
    assert lane.waiting == 0


async def test_one_bad_item_spoils_none_of_the_others() -> None:
    error = asyncpg.CheckViolationError("no")
    desk = Desk(c=error)
    assert await all_of(desk.lane(), "abcd") == ["A", "B", error, "D"]
    assert desk.batches == ["abcd", "a", "b", "c", "d"]


async def test_who_is_locked_out_alone_hears_so() -> None:
    desk = Desk(b=asyncpg.LockNotAvailableError("locked"), d=asyncpg.DeadlockDetectedError("dead"))
    a, b, c, d = await all_of(desk.lane(), "abcd")
    assert (a, c) == ("A", "C")
    assert isinstance(b, StoreUnavailable)
    assert isinstance(d, StoreUnavailable)
    assert await all_of(desk.lane(contended="BUSY"), "abcd") == ["A", "BUSY", "C", "BUSY"]


async def test_when_three_are_locked_out_the_rest_is_not_kept_waiting() -> None:
    locked = asyncpg.LockNotAvailableError("locked")
    desk = Desk(a=locked, b=locked, c=locked, d=locked)
    assert await all_of(desk.lane(contended="BUSY"), "abxcdy") == ["BUSY", "BUSY", "X"] + 3 * [
        "BUSY"
    ]
    assert desk.batches == ["abxcdy", "a", "b", "x", "c"]
    assert await all_of(desk.lane(contended="BUSY"), "z") == ["Z"]


async def test_when_the_database_is_away_nobody_is_asked_one_by_one() -> None:
    away = StoreUnavailable("away")
    desk = Desk(b=away)
    assert await all_of(desk.lane(), "abc") == [away, away, away]
    assert desk.batches == ["abc"]
    desk = Desk(a=asyncpg.DataError("the batch is refused"), b=away)
    _, b, c = await all_of(desk.lane(), "abc")
    assert b is away
    assert isinstance(c, StoreUnavailable)
    assert desk.batches == ["abc", "a", "b"]


async def test_a_full_queue_refuses() -> None:
    desk = Desk()
    lane = desk.lane(waiting_max=2)
    desk.shut()
    first = asyncio.create_task(lane.submit("a"))
    await desk.called(1)
    assert lane.waits_s() == 0
    rest = asyncio.create_task(all_of(lane, "bc"))
    await waiting(lane, 2)
    with pytest.raises(StoreUnavailable, match="the test queue is full"):
        await lane.submit("d")
    assert lane.waits_s() > 0
    desk.open()
    assert await first == "A"
    assert await rest == ["B", "C"]
    assert await lane.submit("d") == "D"


async def test_who_is_cancelled_while_he_waits_is_left_out() -> None:
    desk = Desk()
    lane = desk.lane()
    desk.shut()
    tasks = [asyncio.create_task(lane.submit(item)) for item in "abc"]
    await desk.called(1)
    late = [asyncio.create_task(lane.submit(item)) for item in "def"]
    await waiting(lane, 3)
    tasks[1].cancel()  # is under way already
    late[1].cancel()
    desk.open()
    assert await asyncio.gather(tasks[0], tasks[2], late[0], late[2]) == list("ACDF")
    assert desk.batches == ["abc", "df"]
    assert tasks[1].cancelled()


async def test_what_undoes_waits_for_what_is_under_way() -> None:
    desk = Desk()
    lane = desk.lane(2, marks=lambda item: (item,))
    desk.shut()
    doing = asyncio.create_task(lane.submit("a"))
    await desk.called(1)
    doing.cancel()
    with suppress(asyncio.CancelledError):
        await doing
    passed = asyncio.create_task(lane.passed("a"))
    await lane.passed("b")  # nothing of that is under way
    assert not passed.done()
    desk.open()
    await passed
    assert desk.at_once == 0


async def test_a_call_that_answers_too_little_is_told_to_all() -> None:
    async def short(_link: Link, batch: Sequence[str]) -> Sequence[str]:
        return batch[1:]

    lane: Lane[str, str] = Lane("test", short, [_link()])
    assert all(isinstance(one, RuntimeError) for one in await all_of(lane, "ab"))
