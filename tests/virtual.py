"""Simulated time, and a market that answers by a script.

The loop's selector never sleeps: when nothing is ready, `loop.time()` jumps to the next timer. With a
real socket or thread in flight it would jump too early, so only scripted transports belong here.
"""

import asyncio
import math
import selectors
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from buyers.guard import Target
from buyers.wire import Done, Failure

T = TypeVar("T")


class Deadlock(Exception):
    """Everybody waits and no timer is set: in real time this would hang for ever."""


class _JumpingSelector(selectors.DefaultSelector):
    jump: Callable[[float], None]

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise Deadlock
            self.jump(timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock starts at 0 and costs nothing."""

    def __init__(self) -> None:
        self._now_s = 0.0
        selector = _JumpingSelector()
        selector.jump = self._jump
        super().__init__(selector)

    def time(self) -> float:
        return self._now_s

    def _jump(self, seconds: float) -> None:
        self._now_s += seconds


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end in simulated time. A task that is left over is a fault."""

    async def checked() -> T:
        result = await work
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"tasks left over: {left}"
        return result

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(checked())


def now_ms() -> float:
    return round(asyncio.get_running_loop().time() * 1000, 6)


async def pass_ms(milliseconds: float) -> None:
    """Let simulated time go by; nothing is waited for in real time."""
    await asyncio.sleep(milliseconds / 1000)


@dataclass(frozen=True)
class Says:
    """What a scripted buyer does: `reply` after so many milliseconds, or nothing for ever."""

    after_ms: float | None  # None: silent; 0: within `send`
    status: int | None = 200
    body: bytes = b""
    failure: Failure | None = None


@dataclass
class ScriptedCall:
    """A call under way."""

    pool: str
    sent_ms: float
    timer: asyncio.TimerHandle | None = None
    answered_ms: float | None = None
    abandoned_ms: float | None = None

    def abandon(self) -> None:
        if self.answered_ms is None and self.abandoned_ms is None:
            self.abandoned_ms = now_ms()
        if self.timer is not None:
            self.timer.cancel()

    def extend(self, deadline: float) -> None:
        raise AssertionError("an auction's calls have no deadline to extend")


@dataclass
class ScriptedTransport:
    """Says, by pool, what each buyer does. Keeps every call and what was written."""

    script: Mapping[str, Says]
    calls: dict[str, ScriptedCall] = field(default_factory=dict)
    payloads: dict[str, bytes] = field(default_factory=dict)
    sent: dict[str, list[float]] = field(default_factory=dict)  # when, in ms, by pool

    def send(
        self,
        target: Target,
        payload: bytes,
        done: Done,
        pool: str,
        deadline: float,
        tag: int = 0,
        idle_max_s: float | None = None,
    ) -> ScriptedCall:
        says = self.script[pool]
        call = self.calls[pool] = ScriptedCall(pool, now_ms())
        self.payloads[pool] = payload
        self.sent.setdefault(pool, []).append(call.sent_ms)
        left_ms = deadline * 1000 - call.sent_ms
        if left_ms < math.inf and (says.after_ms is None or says.after_ms > left_ms):
            says = Says(left_ms, None, failure=Failure.TIMED_OUT)  # as the wire does

        def answer() -> None:
            call.answered_ms = now_ms()
            took_ms = round(call.answered_ms - call.sent_ms, 6)
            written = says.failure is not Failure.UNREACHABLE
            done(tag, says.status, says.body, says.failure, written, took_ms)

        if says.after_ms == 0:
            answer()
        elif says.after_ms is not None:
            call.timer = asyncio.get_running_loop().call_later(says.after_ms / 1000, answer)
        return call
