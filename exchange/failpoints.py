"""Named places where a test may kill the process: EXCHANGE_FAILPOINT=after_intent:3 at the third time.

`@FILE` is what the file says when the process starts: it may differ for each that a supervisor starts.
"""

import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path


def from_environment(environment: Mapping[str, str]) -> Callable[[str], None]:
    """A function that does nothing, unless the variable was set when the process started."""
    asked = environment.get("EXCHANGE_FAILPOINT", "")
    if asked.startswith("@"):
        asked = Path(asked[1:]).read_text(encoding="utf-8").strip()
    name, _, nth = asked.partition(":")
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
