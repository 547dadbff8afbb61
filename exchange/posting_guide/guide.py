"""The whole of one seller's instructions for one vertical."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from exchange.posting_guide.callbacks import CallbackGuide, callback_guide
from exchange.posting_guide.fields import FieldRow, field_rows
from exchange.posting_guide.programs import Language, Step, write_programs
from exchange.posting_guide.words import OUTCOMES, Outcome, ReasonRow, reason_rows
from exchange.verticals import Vertical


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a seller has to keep to. Times in the unit of their names."""

    rate_per_s: int  # requests, over all connections
    body_bytes: int
    ping_wait_ms: int  # where max_wait_ms is not said
    ping_wait_most_ms: int
    lead_wait_ms: int
    lead_wait_most_ms: int
    quote_s: int  # how long a quote may be posted


@dataclass(frozen=True, slots=True, kw_only=True)
class Guide:
    """Immutable. Two guides of the same document and limits are equal."""

    vertical: Vertical
    version: int  # of the vertical's document
    since: datetime
    url: str  # of the listener of sellers, without a path
    limits: Limits
    fields: tuple[FieldRow, ...]
    ping: Mapping[str, object]  # the fields of a ping that is valid, as far as `lacking` is empty
    lead: Mapping[str, object]
    lacking: Sequence[str]  # required fields whose values cannot be made up
    programs: tuple[Language, ...]
    outcomes: tuple[Outcome, ...]
    reasons: tuple[ReasonRow, ...]
    callback: CallbackGuide

    @property
    def steps(self) -> tuple[Step, ...]:
        """Of the first language."""
        return self.programs[0].steps


def write_guide(
    vertical: Vertical,
    *,
    version: int,
    since: datetime,
    url: str,
    limits: Limits,
    ping: Mapping[str, object],
    lead: Mapping[str, object],
    lacking: Sequence[str] = (),
    timeout_s: float = 10.0,
    hours: int = 24,
) -> Guide:
    """`ping` and `lead` are the fields of one example; `timeout_s` and `hours` are of callbacks."""
    slug, currency = vertical.slug, vertical.currency
    return Guide(
        vertical=vertical, version=version, since=since, url=url, limits=limits,
        fields=field_rows(vertical.fields, lead), ping=ping, lead=lead, lacking=tuple(lacking),
        programs=write_programs(url, slug, ping, lead, limits.lead_wait_most_ms),
        outcomes=OUTCOMES, reasons=reason_rows(),
        callback=callback_guide(slug, currency, timeout_s=timeout_s, hours=hours),
    )  # fmt: skip
