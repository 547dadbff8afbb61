"""Named places where a test may kill the process: EXCHANGE_FAILPOINT=after_intent:3 at the third time."""

import os
import signal
from collections.abc import Callable, Mapping


def from_environment(environment: Mapping[str, str]) -> Callable[[str], None]:
    """A function that does nothing, unless the variable was set when the process started."""
    name, _, nth = environment.get("EXCHANGE_FAILPOINT", "").partition(":")
    if not name:
        return lambda _name: None
    left = int(nth or 1)

    def point(here: str) -> None:
        nonlocal left
        if here == name:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return point
