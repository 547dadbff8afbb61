"""Charts as SVG, drawn here: shapes stretch with the page, words stay words. Pure.

A chart has a title and a description for screen readers, and its figures in a table below it. `unit`
says how figures are written: a currency for micros, `ms`, `%`, or nothing for plain numbers.
"""

import math
from collections.abc import Sequence
from typing import Final

from markupsafe import Markup, escape

from buyers.money import format_micros

Series = tuple[str, Sequence[float | None]]  # its name, and a value for each label; None: unknown
_W: Final = 1000
_H: Final = 300
_X_LABELS: Final = 6
_COUNT_TOP: Final = 4  # of plain numbers: no axis counts halves of a lead


def figure(value: float | None, unit: str = "") -> str:
    """`figure(12_500_000, "USD")`: "12.50 USD"; `figure(0.5, "%")`: "0.5 %"; plain text."""
    if value is None:
        return "–"
    if len(unit) == 3 and unit.isupper():
        sign = "−" if value < 0 else ""
        return f"{sign}{_grouped(format_micros(round(abs(value)), unit))} {unit}"
    number = f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"
    return f"{number} {unit}".strip()


def bars(rows: Sequence[tuple[object, float]], label: str, unit: str = "") -> Markup:
    """`bars([("acme", 120), ("zenith", 40)], "Leads by buyer")`: one horizontal bar a row, in the
    order given, the longest across the whole width. Values are not negative."""
    most = max((value for _, value in rows), default=0) or 1
    items = Markup("").join(
        Markup(
            '<li><span class="bar-name">{}</span><svg class="bar" viewBox="0 0 100 8" '
            'preserveAspectRatio="none" aria-hidden="true"><rect class="track" width="100" height="8"/>'
            '<rect class="fill" width="{:.2f}" height="8"/></svg>'
            '<span class="bar-figure">{}</span></li>'
        ).format(name, 100 * value / most, figure(value, unit))
        for name, value in rows
    )
    return Markup('<ul class="bars" aria-label="{}">{}</ul>').format(label, items)


def sparkline(values: Sequence[float | None], label: str, unit: str = "") -> Markup:
    """`sparkline([3, 4, 8, 2], "Leads by hour")`: a line without axes, as high as its figure's row."""
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return Markup("")
    top = max(known) or 1
    line = _path(_points(values, len(values), top, width=100, height=24, pad=1.5))
    said = f"{label}: lowest {figure(min(known), unit)}, highest {figure(max(known), unit)}, last {figure(known[-1], unit)}"
    return Markup(
        '<svg class="spark" viewBox="0 0 100 24" preserveAspectRatio="none" role="img" aria-label="{}">'
        '<path class="area s1" d="{}"/><path class="line s1" d="{}"/></svg>'
    ).format(said, _area(values, top, width=100, height=24, pad=1.5), line)


def line_chart(
    labels: Sequence[str],
    series: Sequence[Series],
    title: str,
    unit: str = "",
    *,
    area: bool = True,
) -> Markup:
    """`line_chart(["09:00", "10:00"], [("sold", [3, 8])], "Leads an hour")`: one line a series, the
    first one filled below; a value that is None leaves a gap. At most five series are told apart."""
    top = _top(_highest(series), unit)
    marks = [
        Markup('<path class="line s{}" d="{}"/>').format(
            number, _path(_points(values, len(labels), top))
        )
        for number, (_, values) in enumerate(series, 1)
    ]
    if area and series:
        fill = _area(series[0][1], top, count=len(labels))
        marks.insert(0, Markup('<path class="area s1" d="{}"/>').format(fill))
    step = _W / max(1, len(labels) - 1)
    lefts = [max(0.0, at * step - step / 2) for at in range(len(labels))]
    marks += _hits(labels, series, unit, lefts, step)
    return _chart(labels, series, title, unit, top, Markup("").join(marks))


def column_chart(
    labels: Sequence[str], series: Sequence[Series], title: str, unit: str = ""
) -> Markup:
    """`column_chart(["Mon", "Tue"], [("sold", [3, 8]), ("unsold", [1, 2])], "Leads a day")`: one
    column a label, its series stacked, the first at the bottom. Values are not negative."""
    sums = [sum(values[at] or 0 for _, values in series) for at in range(len(labels))]
    top = _top(max(sums, default=0), unit)
    step = _W / max(1, len(labels))
    marks = []
    for at in range(len(labels)):
        base = float(_H)
        for number, (_, values) in enumerate(series, 1):
            height = (values[at] or 0) / top * _H
            base -= height
            marks.append(
                Markup(
                    '<rect class="col s{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>'
                ).format(number, at * step + step * 0.15, base, step * 0.7, height)
            )
    marks += _hits(labels, series, unit, [at * step for at in range(len(labels))], step)
    return _chart(labels, series, title, unit, top, Markup("").join(marks))


def nice_top(value: float) -> float:
    """`nice_top(87)`: 100. The least of 1, 2, 2.5, 4, 5, 8 and 10 times a power of ten that is not
    below; of nothing 1."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(
        step * power for step in (1, 2, 2.5, 4, 5, 8, 10) if step * power >= value * 0.999999
    )


def _top(value: float, unit: str) -> float:
    return max(nice_top(value), 0 if unit else _COUNT_TOP)


def _steps(top: float) -> int:
    """Into how many parts an axis is cut, so that their ends are round as well."""
    lead = top / 10.0 ** math.floor(math.log10(top))
    return 5 if round(lead, 3) in {1, 2.5, 5} else 4


def _chart(
    labels: Sequence[str],
    series: Sequence[Series],
    title: str,
    unit: str,
    top: float,
    marks: Markup,
) -> Markup:
    """Plot, axes, legend and table of any chart."""
    steps = _steps(top)
    lines = Markup("").join(
        Markup('<line class="grid" x1="0" x2="{0}" y1="{1:g}" y2="{1:g}"/>').format(
            _W, _H * step / steps
        )
        for step in range(steps + 1)
    )
    ticks = [figure(top * (steps - step) / steps, unit) for step in range(steps + 1)]
    return Markup(
        '<figure class="chart"><figcaption><span class="chart-title">{}</span>{}</figcaption>'
        '<div class="chart-body"><div class="chart-y" aria-hidden="true">{}</div>'
        '<svg class="chart-plot" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">'
        '<desc>{}</desc>{}{}</svg><div class="chart-x" aria-hidden="true">{}</div></div>{}</figure>'
    ).format(
        title, _legend(series), _spans(ticks), _W, _H, title, _said(series, unit), lines, marks,
        _spans(_thin(labels)), _table(labels, series, unit),
    )  # fmt: skip


def _hits(
    labels: Sequence[str], series: Sequence[Series], unit: str, lefts: Sequence[float], width: float
) -> list[Markup]:
    """What is pointed at: a column for each label that tells its figures."""
    found = []
    for at, label in enumerate(labels):
        told = ", ".join(f"{name} {figure(values[at], unit)}" for name, values in series)
        found.append(
            Markup(
                '<rect class="hit" x="{:.1f}" y="0" width="{:.1f}" height="{}"><title>{}: {}</title></rect>'
            ).format(lefts[at], width, _H, label, told)
        )
    return found


def _points(
    values: Sequence[float | None],
    count: int,
    top: float,
    width: float = _W,
    height: float = _H,
    pad: float = 0,
) -> list[tuple[float, float] | None]:
    step = width / max(1, count - 1)
    room = height - 2 * pad
    return [
        None if value is None else (at * step, height - pad - max(0.0, value) / top * room)
        for at, value in enumerate(values)
    ]


def _path(points: Sequence[tuple[float, float] | None]) -> str:
    """Lines between neighbours; a gap where one is missing, a dot where one has no neighbour."""
    parts, pen = [], "M"
    for point, after in zip(points, [*points[1:], None], strict=True):
        if point is None:
            pen = "M"
            continue
        dot = "h0.1" if pen == "M" and after is None else ""
        parts.append(f"{pen}{point[0]:.1f} {point[1]:.1f}{dot}")
        pen = "L"
    return "".join(parts)


def _area(
    values: Sequence[float | None], top: float, count: int | None = None, width: float = _W,
    height: float = _H, pad: float = 0,
) -> str:  # fmt: skip
    filled = [value or 0 for value in values]
    points = [one for one in _points(filled, count or len(filled), top, width, height, pad) if one]
    if not points:
        return ""
    return f"{_path(points)}L{points[-1][0]:.1f} {height:g}L{points[0][0]:.1f} {height:g}Z"


def _highest(series: Sequence[Series]) -> float:
    return max((value for _, values in series for value in values if value is not None), default=0)


def _legend(series: Sequence[Series]) -> Markup:
    if len(series) < 2:
        return Markup("")
    return Markup('<span class="legend">{}</span>').format(
        Markup("").join(
            Markup('<span><i class="key s{}"></i>{}</span>').format(number, name)
            for number, (name, _) in enumerate(series, 1)
        )
    )


def _said(series: Sequence[Series], unit: str) -> str:
    told = []
    for name, values in series:
        known = [value for value in values if value is not None]
        if known:
            told.append(
                f"{name}: from {figure(min(known), unit)} to {figure(max(known), unit)}, last {figure(known[-1], unit)}"
            )
    return ". ".join(told) or "Nothing yet"


def _table(labels: Sequence[str], series: Sequence[Series], unit: str) -> Markup:
    head = Markup("").join(Markup('<th scope="col">{}</th>').format(name) for name, _ in series)
    rows = Markup("").join(
        Markup('<tr><th scope="row">{}</th>{}</tr>').format(
            label,
            Markup("").join(
                Markup('<td class="right">{}</td>').format(figure(values[at], unit))
                for _, values in series
            ),
        )
        for at, label in enumerate(labels)
    )
    return Markup(
        '<details class="chart-data"><summary>Figures</summary><div class="scroll" tabindex="0"><table>'
        "<thead><tr><td></td>{}</tr></thead><tbody>{}</tbody></table></div></details>"
    ).format(head, rows)


def _thin(labels: Sequence[str]) -> list[str]:
    """First, last, and a few between them."""
    if len(labels) <= _X_LABELS:
        return list(labels)
    last = len(labels) - 1
    return [labels[round(at * last / (_X_LABELS - 1))] for at in range(_X_LABELS)]


def _spans(words: Sequence[str]) -> Markup:
    return Markup("").join(Markup("<span>{}</span>").format(escape(one)) for one in words)


def _grouped(decimal: str) -> str:
    whole, dot, rest = decimal.partition(".")
    return f"{int(whole):,}{dot}{rest}"
