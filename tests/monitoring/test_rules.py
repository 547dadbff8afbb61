"""The shipped rules, alerts and dashboards: sound by themselves, and each alert tried both ways."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from exchange.metrics import series
from exchange.metrics.boards.__main__ import BOARDS, FOLDER, files
from exchange.metrics.boards.grafana import expressions
from exchange.monitor import CONFIG, configuration
from tests.monitoring.alerts import CASES, Case

RULES = CONFIG / "prometheus" / "rules.yml"
ALERTS = CONFIG / "prometheus" / "alerts.yml"
SHOWN = {one.shown for one in (*series.WORKERS.values(), *series.OFFICE.values())}
PARTS = {f"{one.name}_{part}" for one in series.WORKERS.values() if one.kind == "histogram" for part in ("bucket", "sum", "count")}  # fmt: skip
RECORDED = set(re.findall(r"- record: (\S+)", RULES.read_text("utf-8")))


def promtool(*arguments: str | Path) -> str:
    """What it says; it must be content."""
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    done = subprocess.run(
        [found, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


def unit_test(case: Case, given: dict[str, str], fires: bool) -> dict[str, Any]:
    """As promtool reads it. ALERTS has each alert that is pending or fires."""
    question = f'count(ALERTS{{alertname="{case.alert}", alertstate="firing"}})'
    told = [{"labels": "{}", "value": 1}] if fires else []
    return {
        "interval": "1m",
        "name": f"{case.alert} {'fires' if fires else 'is quiet'}",
        "input_series": [
            {"series": name, "values": values} for name, values in (case.both | given).items()
        ],
        "promql_expr_test": [{"expr": question, "eval_time": f"{case.at}m", "exp_samples": told}],
    }


def both_ways(case: Case) -> list[dict[str, Any]]:
    quiet = [unit_test(case, given, False) for given in (case.quiet, *case.also_quiet)]
    return [unit_test(case, case.fires, True), *quiet]


def run(tests: list[dict[str, Any]], folder: Path) -> str:
    content = {"rule_files": [str(RULES), str(ALERTS)], "evaluation_interval": "1m", "tests": tests}
    (folder / "tests.yml").write_text(json.dumps(content))  # JSON is YAML
    return promtool("test", "rules", folder / "tests.yml")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert)
def test_an_alert_fires_when_it_should_and_only_then(case: Case, tmp_path: Path) -> None:
    """Each with the series that make it fire, and with those of a good day."""
    assert "SUCCESS" in run(both_ways(case), tmp_path)


def test_every_alert_is_tried() -> None:
    """None has been forgotten in the table."""
    assert set(re.findall(r"- alert: (\w+)", ALERTS.read_text("utf-8"))) == {
        case.alert for case in CASES
    }


def test_every_alert_says_what_to_do() -> None:
    """With how long, how bad, what it is, what it means, and steps."""
    blocks = re.split(r"- alert: ", ALERTS.read_text("utf-8"))[1:]
    lacking = [
        (block.split()[0], word)
        for block in blocks
        for word in ("for: ", "severity: ", "summary: ", "description: ", "runbook: |\n", " 1. ")
        if word not in block
    ]
    assert [] == lacking
    severities = set(re.findall(r"severity: (\w+)", ALERTS.read_text("utf-8")))
    assert {"critical", "warning", "info"} == severities


def test_promtool_finds_nothing_in_the_configuration(tmp_path: Path) -> None:
    """The shipped one, and the one that `make monitor` writes."""
    promtool("check", "config", CONFIG / "prometheus" / "prometheus.yml")
    promtool("check", "rules", "--lint=all", "--lint-fatal", RULES, ALERTS)
    written = tmp_path / "prometheus.yml"
    written.write_text(configuration("127.0.0.1:18081", 1))
    promtool("check", "config", written)
    assert "127.0.0.1:18081" in written.read_text()
    assert "8081" not in written.read_text().replace("18081", "")


def test_recording_rules_are_named_as_everybody_names_them() -> None:
    """level:metric:operations."""
    names = r"(exchange|vertical|currency|buyer):[a-z_]+:[a-z0-9_]+"
    assert [] == [name for name in RECORDED if not re.fullmatch(names, name)]


def test_no_expression_names_a_series_that_is_not_there() -> None:
    """A renamed series leaves no alert and no picture behind that is silently empty."""
    panels = [text for board in BOARDS for text in expressions(board)]
    text = "\n".join([*panels, RULES.read_text("utf-8"), ALERTS.read_text("utf-8")])
    named = set(re.findall(r"\bexchange_\w+", text))
    used = set(re.findall(r"\b(?:exchange|vertical|currency|buyer):\w+:\w+", text))

    assert set() == named - SHOWN - PARTS
    assert set() == used - RECORDED


def test_the_dashboards_are_what_the_script_makes() -> None:
    """When this fails: python -m exchange.metrics.boards --write."""
    made = files()
    assert {path.name for path in FOLDER.iterdir()} == {path.name for path in made}
    assert [] == [path.name for path, content in made.items() if path.read_bytes() != content]


def test_every_series_is_in_some_picture() -> None:
    """What is counted is looked at, except what only alerts and rules need."""
    for_rules = {"exchange_workers_alive", "exchange_workers_wanted", "exchange_breaker_changes_total",
                 "exchange_worker_seen_timestamp_seconds", "exchange_audit_timestamp_seconds",
                 "exchange_breakers_open"}  # fmt: skip
    asked = "\n".join(text for board in BOARDS for text in expressions(board))
    unseen = {
        one.shown for one in (*series.WORKERS.values(), *series.OFFICE.values())
        if not re.search(rf"\b{one.name}", asked)
    }  # fmt: skip
    assert set() == unseen - for_rules


def test_every_panel_says_what_it_is() -> None:
    """A title, a sentence, a unit and legends; nothing overlaps and no two have one name on a board."""
    for board in BOARDS:
        content = json.loads((FOLDER / f"{board.uid}.json").read_text("utf-8"))
        panels = [panel for panel in content["panels"] if panel["type"] != "row"]
        assert len({panel["id"] for panel in content["panels"]}) == len(content["panels"])
        assert len({panel["title"] for panel in panels}) == len(panels)
        for panel in panels:
            assert panel["description"].endswith(".") or ":" in panel["description"], panel["title"]
            assert panel["fieldConfig"]["defaults"]["unit"]
            if panel["type"] == "timeseries":
                assert all(target["legendFormat"] for target in panel["targets"]), panel["title"]
        cells = [
            (x, y)
            for panel in content["panels"]
            for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
            for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
        ]
        assert len(cells) == len(set(cells)), board.uid
        assert max(x for x, _ in cells) < 24
