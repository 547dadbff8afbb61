"""A dashboard as values, and as the JSON that Grafana reads. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

Look = Literal["timeseries", "stat", "bargauge", "table"]
Unit = Literal[
    "short", "s", "reqps", "ops", "percentunit", "bytes", "dateTimeFromNow", "none", "cps", "Bps"
]
_COLUMNS: Final = 24
_SCHEMA: Final = 39  # of Grafana 10; newer ones read it
_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
GREEN, AMBER, RED = "green", "orange", "red"


@dataclass(frozen=True, slots=True)
class Target:
    """One question. `$rate` stands for the interval that suits the picture."""

    expr: str
    legend: str
    instant: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One picture. `warn` and `alarm`: where it turns amber and red; `falling`: below, not above."""

    title: str
    text: str
    targets: tuple[Target, ...]
    unit: Unit = "short"
    look: Look = "timeseries"
    width: int = 8
    height: int = 8
    stacked: bool = False
    warn: float | None = None
    alarm: float | None = None
    falling: bool = False
    most: float | None = None  # the axis' end
    decimals: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A choice at the top: the values of a label."""

    name: str
    label: str
    metric: str
    of: str  # the label
    many: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """`uid` is also the file's name."""

    uid: str
    title: str
    text: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...] = ()


def expressions(board: Board) -> list[str]:
    """Every question of a board, as it stands there."""
    panels = [panel for row in board.rows for panel in row.panels]
    return [target.expr for panel in panels for target in panel.targets]


def dashboard(board: Board, links: Sequence[Board]) -> dict[str, Any]:
    """As Grafana reads it; with links to the others."""
    return {
        "uid": board.uid,
        "title": board.title,
        "description": board.text,
        "tags": ["exchange"],
        "schemaVersion": _SCHEMA,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": [_datasource(), *map(_variable, board.variables)]},
        "annotations": {"list": [_alerts()]},
        "links": [_link(other) for other in links if other.uid != board.uid],
        "panels": _panels(board.rows),
    }


def _panels(rows: Sequence[Row]) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    y = 0
    for row in rows:
        place = {"x": 0, "y": y, "w": _COLUMNS, "h": 1}
        made.append(
            {"id": len(made) + 1, "type": "row", "title": row.title, "collapsed": False, "gridPos": place,
             "panels": []}
        )  # fmt: skip
        x, y, height = 0, y + 1, 0
        for panel in row.panels:
            if x + panel.width > _COLUMNS:
                x, y, height = 0, y + height, 0
            place = {"x": x, "y": y, "w": panel.width, "h": panel.height}
            made.append(_panel(panel, len(made) + 1, place))
            x, height = x + panel.width, max(height, panel.height)
        y += height
    return made


def _panel(panel: Panel, number: int, place: Mapping[str, int]) -> dict[str, Any]:
    return {
        "id": number,
        "type": panel.look,
        "title": panel.title,
        "description": panel.text,
        "datasource": _SOURCE,
        "gridPos": place,
        "targets": [_target(one, place) for place, one in enumerate(panel.targets)],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _options(panel),
        **({"transformations": _TABLED} if panel.look == "table" else {}),
    }


_TABLED: Final = [
    {"id": "merge", "options": {}},
    {"id": "organize", "options": {"excludeByName": {"Time": True}}},
]


def _target(target: Target, place: int) -> dict[str, Any]:
    return {
        "refId": chr(ord("A") + place),
        "datasource": _SOURCE,
        "expr": target.expr.replace("$rate", "$__rate_interval"),
        "legendFormat": target.legend,
        "instant": target.instant,
        "range": not target.instant,
        **({"format": "table"} if target.instant else {}),
    }


def _defaults(panel: Panel) -> dict[str, Any]:
    found: dict[str, Any] = {
        "unit": panel.unit,
        "thresholds": {"mode": "absolute", "steps": _steps(panel)},
        "color": {"mode": "palette-classic" if panel.look == "timeseries" else "thresholds"},
        "noValue": "–",
    }
    if panel.decimals is not None:
        found["decimals"] = panel.decimals
    if panel.most is not None:
        found |= {"min": 0, "max": panel.most}
    if panel.look == "timeseries":
        stacking = {"mode": "normal" if panel.stacked else "none", "group": "A"}
        marks = "dashed" if panel.alarm is not None or panel.warn is not None else "off"
        found["custom"] = {
            "drawStyle": "line", "lineWidth": 1, "fillOpacity": 25 if panel.stacked else 8,
            "showPoints": "never", "spanNulls": 60_000, "stacking": stacking, "axisSoftMin": 0,
            "thresholdsStyle": {"mode": marks},
        }  # fmt: skip
    return found


def _steps(panel: Panel) -> list[dict[str, Any]]:
    """From the lowest value up."""
    marks = [(panel.warn, AMBER), (panel.alarm, RED)]
    if not panel.falling:
        return [
            {"color": GREEN, "value": None},
            *({"color": color, "value": at} for at, color in marks if at is not None),
        ]
    steps = [(None, RED if panel.alarm is not None else AMBER)]
    if panel.alarm is not None:
        steps.append((panel.alarm, AMBER if panel.warn is not None else GREEN))  # type: ignore[arg-type]
    if panel.warn is not None:
        steps.append((panel.warn, GREEN))  # type: ignore[arg-type]
    return [{"color": color, "value": at} for at, color in steps]


def _options(panel: Panel) -> dict[str, Any]:
    calculated = {"calcs": ["lastNotNull"], "fields": "", "values": False}
    match panel.look:
        case "timeseries":
            legend = {"displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": ["lastNotNull", "max"]}  # fmt: skip
            return {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}
        case "stat":
            return {
                "reduceOptions": calculated, "colorMode": "value", "graphMode": "area",
                "textMode": "auto", "justifyMode": "auto", "orientation": "auto",
            }  # fmt: skip
        case "bargauge":
            return {
                "reduceOptions": calculated, "displayMode": "lcd", "orientation": "horizontal",
                "showUnfilled": True,
            }  # fmt: skip
        case "table":
            return {"showHeader": True, "cellHeight": "sm", "footer": {"show": False}}


def _datasource() -> dict[str, Any]:
    return {
        "name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus",
        "current": {"text": "Exchange", "value": "exchange"}, "hide": 0, "refresh": 1,
    }  # fmt: skip


def _variable(one: Variable) -> dict[str, Any]:
    query = f"label_values({one.metric}, {one.of})"
    everything = {
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }
    return {
        "name": one.name, "type": "query", "label": one.label, "datasource": _SOURCE,
        "definition": query, "query": {"query": query, "refId": one.name}, "refresh": 2, "sort": 1,
        "multi": one.many, "hide": 0, **(everything if one.many else {"includeAll": False}),
    }  # fmt: skip


def _alerts() -> dict[str, Any]:
    """Alerts that fire are marked in every picture."""
    return {
        "name": "Alerts", "datasource": _SOURCE, "enable": True, "iconColor": RED,
        "expr": 'ALERTS{alertstate="firing", job="exchange"} or ALERTS{alertstate="firing"}',
        "titleFormat": "{{alertname}}", "textFormat": "{{summary}}", "step": "60s",
    }  # fmt: skip


def _link(other: Board) -> dict[str, Any]:
    return {
        "title": other.title, "type": "link", "url": f"/d/{other.uid}", "keepTime": True,
        "includeVars": False, "targetBlank": False, "icon": "dashboard", "tooltip": other.text,
    }  # fmt: skip
