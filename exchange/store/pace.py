"""Long work on a loop that must not wait for it: done in slices, with the others' turn in between."""

import asyncio
import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

_SLICE_S: Final = 0.0005  # and at most one step more


class Pace:
    """Gives the loop back when a slice of work has taken its time; call it after every small step."""

    def __init__(
        self, slice_s: float = _SLICE_S, now_s: Callable[[], float] = time.perf_counter
    ) -> None:
        self._slice_s = slice_s
        self._now_s = now_s
        self._until_s = 0.0

    async def breathe(self) -> None:
        if self._now_s() >= self._until_s:
            await asyncio.sleep(0)
            self._until_s = self._now_s() + self._slice_s


@contextmanager
def uncollected() -> Iterator[None]:
    """No search for cycles while thousands of objects come to stay, and none among them later: a
    search of all of them takes tens of milliseconds. A cycle that others leave behind meanwhile is
    not found any more."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
