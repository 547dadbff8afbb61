"""Fixtures that every test may ask for."""

from tests.postgres import database, migrated_template, postgres_dsn

__all__ = ["database", "migrated_template", "postgres_dsn"]
