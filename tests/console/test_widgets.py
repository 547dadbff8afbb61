"""Pieces of pages: what they say, that they escape, and that nothing is drawn of nothing."""

import hashlib
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from markupsafe import Markup

from exchange.office import console
from exchange.office.console.drawing import Assets
from exchange.office.console.parts import charts, widgets

NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
ASSETS = Path(console.__file__).parent / "assets"
EVIL = '<b onclick="x">&'


def plain(markup: object) -> str:
    return " ".join(Markup(markup).striptags().split())  # noqa: S704 - a widget's own


@pytest.mark.parametrize(
    ("markup", "said"),
    [
        (widgets.money(12_500_000, "USD"), "12.50 USD"),
        (widgets.money(-1_234_567_890_000, "USD"), "−1,234,567.89 USD"),
        (widgets.money(10_024_000, "USD"), "10.024 USD"),
        (widgets.money(0, "JPY"), "0 JPY"),
        (widgets.money(None, "USD"), "–"),
        (widgets.count(12_500), "12,500"),
        (widgets.count(None), "–"),
        (widgets.percent(1, 4), "25 %"),
        (widgets.percent(1, 3, 1), "33.3 %"),
        (widgets.percent(1, 0), "–"),
        (widgets.duration(340), "340 ms"),
        (widgets.duration(12_000), "12.0 s"),
        (widgets.duration(300_000), "5 min"),
        (widgets.duration(7_200_000), "2.0 h"),
        (widgets.stamp(NOW), "2026-07-01 12:00:00 UTC"),
        (widgets.stamp(NOW, zone=False), "2026-07-01 12:00:00"),
        (widgets.moment(None, NOW), "–"),
        (widgets.outcome("no_bid"), "no bid"),
        (widgets.outcome(None), "–"),
        (widgets.gauge(40, 100, "sales"), "40 of 100"),
        (widgets.gauge(1_200, None, "sales"), "1,200 used"),
        (widgets.gauge(4, 5, "spend", ("4.00", "5.00")), "4.00 of 5.00"),
        (widgets.key_values([("Buyer", "acme"), ("Credit", None)]), "Buyeracme Credit–"),
        (widgets.who("user:ann"), "ann"),
        (widgets.who("key:1a2b"), "key 1a2b"),
        (widgets.who("apply"), "apply"),
        (widgets.short_id("lead_" + "a" * 24 + "12345678"), "lead_…12345678"),
        (widgets.short_id("lead_1"), "lead_1"),
    ],
)
def test_what_a_widget_says(markup: object, said: str) -> None:
    assert said.replace(" ", "") == plain(markup).replace(" ", "")


@pytest.mark.parametrize(
    ("ago", "said"),
    [
        (timedelta(seconds=2), "just now"),
        (timedelta(seconds=59), "59 s ago"),
        (timedelta(minutes=3, seconds=40), "3 min ago"),
        (timedelta(hours=23), "23 h ago"),
        (timedelta(days=3), "3 d ago"),
        (timedelta(days=40), "22 May 2026"),
        (-timedelta(hours=2, minutes=1), "in 2 h"),
    ],
)
def test_relative_times(ago: timedelta, said: str) -> None:
    assert said == widgets.relative(NOW - ago, NOW)


@pytest.mark.parametrize(
    ("used", "tone"), [(0, "fine"), (89, "fine"), (90, "near"), (100, "full"), (130, "full")]
)
def test_a_cap_nearly_used_up_looks_so(used: int, tone: str) -> None:
    found = widgets.gauge(used, 100, "sales per day")

    assert f'class="gauge {tone}"' in found
    assert f'width="{min(used, 100):.2f}" height="6"/></svg>' in found


@pytest.mark.parametrize(
    "draw",
    [
        lambda text: widgets.badge(text, "good", text),
        widgets.copyable,
        lambda text: widgets.empty(text, text, f"/{text}", text),
        lambda text: widgets.key_values([(text, text)]),
        lambda text: widgets.tabs([(f"/{text}", text)], "/", text),
        lambda text: widgets.stat(text, text, text),
        lambda text: widgets.gauge(1, 2, text, (text, text)),
        lambda text: widgets.pager("/x", {"q": text}, text, words=text),
        widgets.outcome,
        lambda text: widgets.money(1, text),
        lambda text: charts.bars([(text, 1)], text, text),
        lambda text: charts.line_chart([text, text], [(text, [1, 2])], text, text),
        lambda text: charts.column_chart([text, text], [(text, [1, 2]), (text, [1, None])], text),
        lambda text: charts.sparkline([1, 2], text, text),
    ],
)
def test_everything_is_escaped(draw: Callable[[str], Any]) -> None:
    found = draw(EVIL)

    assert isinstance(found, Markup)
    assert "<b " not in found
    assert 'onclick="' not in found
    assert "&lt;b" in found or "%3Cb" in found


def test_an_address_keeps_what_it_is_not_told_to_change() -> None:
    query = {"state": "sold", "after": "x", "by": ""}

    assert "/l?state=sold" == widgets.address("/l", query, after=None)
    assert "/l?state=unsold&after=x" == widgets.address("/l", query, state="unsold")
    assert "/l" == widgets.address("/l")


def test_a_pager_is_drawn_when_there_is_somewhere_to_go() -> None:
    assert "" == widgets.pager("/l", {}, None)
    first, last = widgets.pager("/l", {"q": "1"}, "c2"), widgets.pager("/l", {"after": "c2"}, None)

    assert 'href="/l?q=1&amp;after=c2"' in first
    assert 1 == first.count("<a ")
    assert 'href="/l"' in last
    assert 1 == last.count("<a ")


@pytest.mark.parametrize(
    ("value", "top"),
    [(0, 1), (1, 1), (87, 100), (210, 250), (0.3, 0.4), (401, 500), (1_000, 1_000)],
)
def test_an_axis_ends_at_a_round_number(value: float, top: float) -> None:
    assert pytest.approx(top) == charts.nice_top(value)


def test_a_line_has_a_gap_where_nothing_is_known_and_a_dot_for_a_lone_point() -> None:
    found = charts.line_chart(["a", "b", "c"], [("sold", [1, None, 4])], "Leads", area=False)

    assert 'd="M0.0 225.0h0.1M1000.0 0.0h0.1"' in found
    assert "<desc>sold: from 1 to 4, last 4</desc>" in found
    assert "<title>b: sold –</title>" in found


@pytest.mark.parametrize(
    ("highest", "unit", "ticks"),
    [
        (50, "", ["50", "40", "30", "20", "10", "0"]),
        (1, "", ["4", "3", "2", "1", "0"]),
        (0, "", ["4", "3", "2", "1", "0"]),
        (87, "ms", ["100 ms", "80 ms", "60 ms", "40 ms", "20 ms", "0 ms"]),
        (7_500_000, "USD", ["8.00 USD", "6.00 USD", "4.00 USD", "2.00 USD", "0.00 USD"]),
    ],
)
def test_an_axis_is_cut_at_round_numbers(highest: float, unit: str, ticks: list[str]) -> None:
    found = charts.line_chart(["a", "b"], [("x", [0, highest])], "Leads", unit)

    axis = found.partition('class="chart-y" aria-hidden="true">')[2].partition("</div>")[0]
    assert ticks == re.findall("<span>([^<]*)</span>", axis)


def test_columns_are_stacked_from_below() -> None:
    found = charts.column_chart(["Mon"], [("sold", [6]), ("unsold", [4])], "Leads")

    assert '<rect class="col s1" x="150.0" y="120.0" width="700.0" height="180.0"/>' in found
    assert '<rect class="col s2" x="150.0" y="0.0" width="700.0" height="120.0"/>' in found


def test_charts_of_nothing_say_so() -> None:
    assert "<desc>Nothing yet</desc>" in charts.line_chart([], [], "Leads")
    assert "<desc>Nothing yet</desc>" in charts.line_chart(["a"], [("sold", [None])], "Leads")
    assert "" == charts.sparkline([None, 3], "Leads")
    assert '<ul class="bars" aria-label="Leads"></ul>' == charts.bars([], "Leads")


# --- assets ---------------------------------------------------------------------------------------


def test_what_others_made_is_what_it_was_and_has_its_licence() -> None:
    """A vendored file that was changed, or swapped, is noticed."""
    lines = (ASSETS / "MANIFEST").read_text("utf-8").splitlines()
    found = {
        name: line.split()[1]
        for name, line in zip(
            [x for x in lines if x and x[0] != " "][1:],
            [x for x in lines if "sha256" in x],
            strict=False,
        )
    }
    assert {"inter.woff2"} <= found.keys()
    for name, digest in found.items():
        assert digest == hashlib.sha256((ASSETS / name).read_bytes()).hexdigest(), name
    assert "SIL Open Font License" in (ASSETS / "inter.LICENSE.txt").read_text("utf-8")
    assert "ISC License" in (ASSETS / "lucide.LICENSE.txt").read_text("utf-8")


def test_a_module_is_loaded_under_one_address() -> None:
    """Twice under two names it would listen, and send, twice."""
    assets = Assets()
    tag = assets.address("form.js").partition("?")[2]
    for path in ASSETS.glob("*.js"):
        served = assets._found[path.name].body.decode()
        for line in path.read_text("utf-8").splitlines():
            if 'from "./' in line:
                name = line.rpartition('"./')[2].rstrip('";')
                assert f'from "./{name}?{tag}"' in served, (path.name, line)


def test_no_asset_calls_anybody_else() -> None:
    """Nothing comes from, or goes to, another host; addresses are examples to read."""
    examples = re.compile(r"http://www\.w3\.org/2000/svg|https?://(…|[\w.-]*example\b)")
    for kind in ("assets/*.css", "assets/*.js", "assets/*.svg", "templates/**/*.html"):
        for path in ASSETS.parent.glob(kind):
            text = examples.sub("", path.read_text("utf-8"))
            assert not re.search(r"(https?:)?//\w[\w.-]*\.\w", re.sub(r"(?m)//.*$", "", text)
                                 if path.suffix == ".js" else text), path.name  # fmt: skip
