"""The week of a schedule as a drawing. Pure."""

from collections.abc import Sequence
from typing import Final

from markupsafe import Markup

from exchange.office.console.demand.terms import Day

_NAME: Final = 44  # room for the names of days
_HOUR: Final = 20
_ROW: Final = 22
_HEAD: Final = 18
_DAY: Final = 24 * _HOUR


def week_grid(days: Sequence[Day], now: tuple[int, int] | None = None) -> Markup:
    """Seven days from Monday by 24 hours, open hours filled; `now`: weekday and minute by the same
    clock, drawn as a line. The same is said in words for who cannot see it."""
    width, height = _NAME + _DAY + 8, _HEAD + 7 * _ROW + 2
    marks = [_hour(hour) for hour in range(0, 25, 3)]
    for row, day in enumerate(days):
        marks.append(_row(row, day))
    if now is not None:
        marks.append(_now(*now))
    said = "; ".join(f"{day.name}: {day.says}" for day in days)
    return Markup(
        '<svg class="week" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>'
    ).format(width, height, f"Open hours. {said}", Markup("").join(marks))


def _hour(hour: int) -> Markup:
    x = _NAME + hour * _HOUR
    return Markup(
        '<line class="rule" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>'
        '<text class="hour" x="{0}" y="12" text-anchor="{3}">{4:02}</text>'
    ).format(x, _HEAD - 2, _HEAD + 7 * _ROW, "end" if hour == 24 else "middle", hour)


def _row(row: int, day: Day) -> Markup:
    y = _HEAD + row * _ROW
    shut = Markup('<rect class="shut" x="{}" y="{}" width="{}" height="{}" rx="3"/>').format(
        _NAME, y + 2, _DAY, _ROW - 4
    )
    opened = Markup("").join(
        Markup('<rect class="opened" x="{:.1f}" y="{}" width="{:.1f}" height="{}" rx="3"><title>{}</title></rect>').format(
            _NAME + first * _HOUR / 60, y + 2, (last - first) * _HOUR / 60, _ROW - 4,
            f"{day.name} {day.says}",
        )
        for first, last in day.ranges
    )  # fmt: skip
    name = Markup('<text class="day" x="0" y="{}">{}</text>').format(y + 15, day.name[:3])
    return name + shut + opened


def _now(weekday: int, minute: int) -> Markup:
    x, y = _NAME + minute * _HOUR / 60, _HEAD + weekday * _ROW
    return Markup('<line class="now" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>').format(
        x, y, y + _ROW
    )
