"""Fixtures that every test may ask for."""

import os
import sys
from pathlib import Path

from tests.ledgers import books, memory_books, postgres_books
from tests.postgres import database, migrated_template, postgres_dsn

__all__ = [
    "books", "database", "memory_books", "migrated_template", "postgres_books", "postgres_dsn",
]  # fmt: skip

# Nobody out there is called. To read whom the system trusts takes 40 ms, twice in each process's start
# and for each of a thousand wires.
os.environ["SSL_CERT_FILE"] = os.devnull

# Some two hundred processes of ours are started: where no bytecode may be left beside the code, it is
# kept with pytest's own cache, not compiled by each of them.
if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
    sys.dont_write_bytecode = False
    sys.pycache_prefix = str(Path(__file__).parent.parent / ".pytest_cache" / "bytecode")
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix
