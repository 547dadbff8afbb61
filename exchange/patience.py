"""When something that failed is tried again: soon, then ever more seldom."""

from typing import Final

_PAUSES_S: Final = (5.0, 30.0, 120.0, 600.0)  # then hourly
_HOURLY_S: Final = 3600.0


def pause_s(tries: int) -> float:
    """Seconds from the last of so many tries, at least one, to the next."""
    place = max(0, tries - 1)
    return _PAUSES_S[place] if place < len(_PAUSES_S) else _HOURLY_S
