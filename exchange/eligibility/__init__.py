"""Which contracts may be asked or posted to for a lead, and why each other may not.

values: what screening is told and says · filters: what a filter means · screening: the plain judge,
one contract after the other · places, columns, standing, index, rows, view: the quick one, all
contracts at once.
"""

from exchange.eligibility.filters import compile_filter, compile_filters, first_failing
from exchange.eligibility.screening import Entry, screen, why_unsuited
from exchange.eligibility.values import (
    Asker,
    Compiled,
    Fields,
    Predicate,
    Screening,
    Skipped,
    Skips,
    Usage,
    make_asker,
)
from exchange.eligibility.view import View

__all__ = [
    "Asker", "Compiled", "Entry", "Fields", "Predicate", "Screening", "Skipped", "Skips", "Usage", "View",
    "compile_filter", "compile_filters", "first_failing", "make_asker", "screen", "why_unsuited",
]  # fmt: skip
