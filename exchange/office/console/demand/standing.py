"""How contracts and buyers stand, as pages show it: their health in a word, their caps as gauges. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from markupsafe import Markup

from exchange.office.console.demand import terms
from exchange.office.console.parts import widgets

Row = Mapping[str, Any]

STATE_TONES: Final = {
    "live": "good", "paused": "warn", "buyer paused": "warn", "off": "mute", "retired": "mute",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Health:
    """Of one endpoint, or of the worst of several."""

    word: str
    tone: str
    text: str


SOUND: Final = Health("ok", "good", "Nothing keeps it from being asked.")
_TRYING: Final = Health("half open", "warn", "It failed too often; one call at a time tries it again.")  # fmt: skip
_LEFT: Final = Health("left alone", "bad", "It failed too often and is left alone for a while.")


def health_of(breakers: Mapping[str, Row] | None) -> Health:
    """The worst of a contract's two breakers. What was never heard of is sound."""
    opened = [row for row in (breakers or {}).values() if row["open"]]
    if not opened:
        return SOUND
    return _TRYING if all(row["may_try"] for row in opened) else _LEFT


def state_badge(state: str, title: str = "") -> Markup:
    return widgets.badge(state, STATE_TONES.get(state, "mute"), title)


def day_began(timezone: str, now: datetime) -> datetime:
    """When the present day began by a clock of this zone."""
    return now.astimezone(ZoneInfo(timezone)).replace(hour=0, minute=0, second=0, microsecond=0)


def cap_gauge(cap: Row, currency: str) -> Markup:
    """`80 of 100`, of money `800.00 of 1,000.00 USD`."""
    words = cap_name(cap)
    if cap["kind"] != "spend":
        return widgets.gauge(cap["used"], cap["lim"], words)
    shown = (widgets.money(cap["used"], currency), widgets.money(cap["lim"], currency))
    return widgets.gauge(cap["used"], cap["lim"], words, shown)


def cap_name(cap: Row) -> str:
    """`Sales a day`, `Posts open at once`."""
    period = "" if cap["kind"] == "concurrent" else terms.period_words(cap["period"])
    paced = ", spread over its open hours" if cap["paced"] else ""
    return f"{terms.CAP_WORDS[cap['kind']]} {period}".strip().capitalize() + paced


def of_today(caps: Sequence[Row], kind: str) -> Row | None:
    """The cap on this day's sales or spend, if there is one."""
    return next((one for one in caps if (one["kind"], one["period"]) == (kind, "day")), None)


def until(at: datetime | None, now: datetime) -> str:
    """`in 3 h 20 min`; empty for what never starts anew."""
    if at is None:
        return ""
    minutes = max(0, round((at - now).total_seconds() / 60))
    days, hours = divmod(minutes // 60, 24)
    parts = [(days, "d"), (hours, "h"), (minutes % 60, "min")]
    shown = [f"{number} {unit}" for number, unit in parts if number][:2]
    return "in " + (" ".join(shown) or "less than a minute")


def actor(by: str) -> str:
    """Who changed something: `user:ann` as ann, `key:K1` as key K1."""
    kind, _, name = by.partition(":")
    return name if kind == "user" else f"key {name}" if kind == "key" else by


def paused_for(events: Sequence[Row]) -> str:
    """The reason given with the last pause; `events` newest first."""
    last = next((one for one in events if one["what"] == "paused"), None)
    return str(last["detail"].get("reason", "")) if last else ""
