"""Fixtures that every test may ask for."""

from tests.ledgers import books, memory_books, postgres_books
from tests.postgres import database, migrated_template, postgres_dsn

__all__ = [
    "books", "database", "memory_books", "migrated_template", "postgres_books", "postgres_dsn",
]  # fmt: skip
