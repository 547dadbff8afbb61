"""Where test servers keep their files: in memory where the machine lends enough of it.

A database is made for each of a thousand tests, of 570 files each: on a busy disk that takes ten times
as long as all the rest of a test.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

_MEMORY = Path("/dev/shm")
_BYTES_MIN = 3 << 30  # a few servers, with their logs


@cache
def roomy() -> Path:
    """Not the usual temporary folder: for root that is one which Postgres's user may not enter."""
    if not os.access(_MEMORY, os.W_OK | os.X_OK):
        return Path("/tmp")
    room = os.statvfs(_MEMORY)
    return _MEMORY if room.f_bavail * room.f_frsize >= _BYTES_MIN else Path("/tmp")


@contextmanager
def open_folder(prefix: str) -> Iterator[Path]:
    """A folder that Postgres's user may enter, gone once it is left."""
    made = Path(tempfile.mkdtemp(prefix=prefix, dir=roomy()))
    made.chmod(0o711)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
