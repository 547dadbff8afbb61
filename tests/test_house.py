"""The rules of the house, held by reading the code: design.md §3."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from exchange.reasons import REASONS
from exchange.settings import setting_names

ROOT = Path(__file__).parent.parent
LINES_MAX = 50

# Decisions of values: what they do depends on their arguments alone.
PURE = [
    "buyers.health", "buyers.throttle", "buyers.money", "buyers.messages", "buyers.value", "buyers.contract", "buyers.reasons", "buyers.strict_json",
    "buyers.signing", "buyers.guard", "buyers.dialects.standard_v1",
    "exchange.lead", "exchange.verticals", "exchange.fields", "exchange.sellers",
    "exchange.deadline", "exchange.pressure", "exchange.caps", "exchange.auction",
    "exchange.eligibility", "exchange.eligibility.values", "exchange.eligibility.filters", "exchange.eligibility.screening",
    "exchange.eligibility.places", "exchange.eligibility.columns", "exchange.eligibility.index",
    "exchange.eligibility.rows", "exchange.eligibility.standing", "exchange.eligibility.view",
    "exchange.plan",
    "exchange.conditions", "exchange.documents", "exchange.documents.models", "exchange.documents.values", "exchange.schedules", "exchange.catalogue",
    "exchange.receipt", "exchange.receipt.reading", "exchange.receipt.writing",
    "exchange.callbacks", "exchange.patience", "exchange.patterns", "exchange.posting_guide", "exchange.posting_guide.callbacks", "exchange.posting_guide.fields", "exchange.posting_guide.guide",
    "exchange.posting_guide.history", "exchange.posting_guide.literals", "exchange.posting_guide.programs", "exchange.posting_guide.words",
    "exchange.reasons", "exchange.errors", "exchange.ids", "exchange.sealing", "exchange.returns", "exchange.persons", "exchange.erasure", "exchange.veiling",
    "exchange.story", "exchange.story.values", "exchange.story.telling", "exchange.story.scopes", "exchange.story.lines", "exchange.story.summary",
]  # fmt: skip
# They may also use plain rows of the store: values without a method.
VALUES = {"buyers", "exchange.store.rows"}
IMPURE = {
    "asyncio", "time", "random", "secrets", "os", "logging", "socket", "ssl", "threading",
    "subprocess", "pathlib", "tempfile", "io", "aiohttp", "asyncpg", "uvloop",
    "exchange.settings", "prometheus_client",
}  # fmt: skip
IMPURE_CALLS = {"open", "print", "input"}
IMPURE_METHODS = {"now", "today", "utcnow", "uuid1", "uuid4", "getnow"}


def modules(*packages: str) -> list[Path]:
    found = [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]
    assert found, packages
    return found


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def path_of(module: str) -> Path:
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def imports(path: Path) -> set[str]:
    """Every module named in an import, wherever it stands; `from a import b` gives a and a.b."""
    found: set[str] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            assert node.module is not None
            found.add(node.module)
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name for name in inner if path_of(name).is_file()}
    return found


def within(module: str, packages: set[str]) -> bool:
    return any(module == one or module.startswith(one + ".") for one in packages)


def where(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"


def calls(tree: ast.AST) -> Iterator[tuple[ast.Call, str, str]]:
    """Every call as (node, what it is called on, its name)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            yield node, owner.id if isinstance(owner, ast.Name) else "", node.func.attr
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node, "", node.func.id


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("buyers", {"exchange", "tests", "benchmarks"}),  # what concerns one buyer
        ("exchange", {"tests", "benchmarks"}),
        ("benchmarks", {"tests"}),
    ],
)
def test_imports_go_one_way(package: str, forbidden: set[str]) -> None:
    """buyers ← exchange ← {benchmarks, tests}."""
    wrong = {
        name_of(path): module
        for path in modules(package)
        for module in imports(path)
        if within(module, forbidden)
    }
    assert {} == wrong


@pytest.mark.parametrize("module", PURE)
def test_pure_means_no_async_clock_randomness_io_logging_or_settings(module: str) -> None:
    """Gather, decide, apply: these decide."""
    path = path_of(module)
    tree = tree_of(path)

    assert set() == {name for name in imports(path) if within(name, IMPURE)}
    asynchronous = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
    assert [] == [where(path, node) for node in ast.walk(tree) if isinstance(node, asynchronous)]
    impure = [
        where(path, node)
        for node, owner, name in calls(tree)
        if (not owner and name in IMPURE_CALLS) or name in IMPURE_METHODS
    ]
    assert [] == impure


@pytest.mark.parametrize("module", PURE)
def test_pure_modules_use_pure_modules_only(module: str) -> None:
    """Else a clock would come in by the back door."""
    ours = {name for name in imports(path_of(module)) if within(name, {"buyers", "exchange"})}

    assert set() == ours - set(PURE) - VALUES


def test_every_dialect_is_pure() -> None:
    """Also those that will be added."""
    dialects = {name_of(path) for path in modules("buyers/dialects")} - {"buyers.dialects"}

    assert dialects == {name for name in PURE if name.startswith("buyers.dialects.")}


def test_no_function_is_longer_than_50_lines() -> None:
    """What does not fit on a page is two things."""
    functions = [
        (path, node)
        for path in modules("buyers", "exchange")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    long = {
        f"{where(path, node)} {node.name}": lines
        for path, node in functions
        if (lines := (node.end_lineno or 0) - node.lineno + 1) > LINES_MAX
    }
    assert {} == long


def test_nothing_waits_in_a_way_that_lies() -> None:
    """asyncio.wait_for swallows a cancellation on 3.11; a TaskGroup waits for the slowest clean-up."""
    forbidden = {("asyncio", "wait_for"), ("asyncio", "TaskGroup")}
    found = [
        where(path, node)
        for path in modules("buyers", "exchange", "tests", "benchmarks")
        for node in ast.walk(tree_of(path))
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and (node.value.id, node.attr) in forbidden
        )
        or (
            isinstance(node, ast.ImportFrom)
            and any((node.module, alias.name) in forbidden for alias in node.names)
        )
    ]
    assert [] == found


def test_no_test_sleeps_to_wait() -> None:
    """Only in a loop that looks whether it happened, for a turn of the loop, or in virtual time."""
    virtual = {ROOT / "tests" / "virtual.py", *(ROOT / "tests" / "simulation").rglob("*.py")}
    sleeping = []
    for path in set(modules("tests")) - virtual:
        looking = {
            id(node)
            for loop in ast.walk(tree_of(path))
            if isinstance(loop, ast.While)
            for node in ast.walk(loop)
        }
        for node, owner, name in calls(tree_of(path)):
            is_turn = [0] == [getattr(one, "value", None) for one in node.args]
            is_sleep = name == "sleep" and owner in {"asyncio", "time", ""}
            if is_sleep and not is_turn and id(node) not in looking:
                sleeping.append(where(path, node))
    assert [] == sleeping


# --- documentation ---------------------------------------------------------------------------------


def metric_names() -> set[str]:
    """Every series that exchange/metrics/series.py declares."""
    return {
        node.value
        for node in ast.walk(tree_of(ROOT / "exchange" / "metrics" / "series.py"))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(r"exchange_\w+", node.value)
    }


def test_no_other_module_knows_a_metrics_name() -> None:
    """Readers of receipts and vitals count; nothing else imports Prometheus or names a series."""
    knowing = {path for room in ("metrics", "office") for path in modules(f"exchange/{room}")}
    names = re.compile(r"\b(" + "|".join(sorted(metric_names())) + ")")
    wrong = []
    for path in set(modules("buyers", "exchange")) - knowing:
        wrong += [name_of(path)] * any(within(m, {"prometheus_client"}) for m in imports(path))
        wrong += [
            where(path, node)
            for node in ast.walk(tree_of(path))
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and names.search(node.value)
        ]
    assert [] == wrong


def readme_rows() -> list[list[str]]:
    """The cells of every table row of the README."""
    text = (ROOT / "README.md").read_text("utf-8")
    rows = re.findall(r"^\s*\|(.+)\|\s*$", text, re.MULTILINE)
    return [[cell.strip() for cell in row.split("|")] for row in rows]


def test_every_reason_has_a_number_of_its_own() -> None:
    """One string, one number, one sentence, and the hundred says what kind it is."""
    numbers = Counter(reason.number for reason in REASONS.values())

    assert {} == {number: count for number, count in numbers.items() if count > 1}
    wrong = [
        name
        for name, reason in REASONS.items()
        if not 100 <= reason.number < 800
        or not reason.text.endswith(".")
        or not re.fullmatch("[a-z0-9_]+", name)
        or name != reason.value
    ]
    assert [] == wrong


def test_no_reason_is_lost_in_the_one_catalogue() -> None:
    """Two families never use one string: the catalogue would keep the last."""
    families = {type(reason) for reason in REASONS.values()}

    assert sum(map(len, families)) == len(REASONS)


def test_every_reason_is_a_row_of_the_readme() -> None:
    """With its number: `| 410 | `filtered` | … |`."""
    documented = {
        (number, name)
        for cells in readme_rows()
        for number in cells[:2]
        for name in cells[:2]
        if number.isdecimal()
    }
    lacking = [
        f"{reason.number} {name}"
        for name, reason in REASONS.items()
        if (str(reason.number), f"`{name}`") not in documented
    ]
    assert [] == lacking


def test_every_metric_is_a_row_of_the_readme() -> None:
    """By its name in backticks, with or without its labels or `_total`, first in a row."""
    documented = " ".join(cells[0] for cells in readme_rows())

    assert [] == sorted(
        name for name in metric_names() if not re.search(rf"`{name}(_total)?[`{{]", documented)
    )


def test_every_setting_is_a_line_of_the_shipped_file() -> None:
    """In its section of config/exchange.toml, with a sentence."""
    section, documented = "", set()
    for line in (ROOT / "config" / "exchange.toml").read_text("utf-8").splitlines():
        if found := re.fullmatch(r"\[(\w+)\]", line):
            section = found[1] + "."
        elif found := re.fullmatch(r"# (\w+) = [^#]+# .+\.(.*)", line):
            documented.add(section + found[1])

    assert set(setting_names()) == documented


def test_the_lock_file_names_no_host() -> None:
    """Whoever installs uses the index of his own choosing; every line is a pin or its hash."""
    lines = (ROOT / "requirements.lock").read_text("utf-8").splitlines()

    pin = re.compile(r"[A-Za-z0-9._-]+(\[[a-z,]+\])?==\S+( ; [^\\]+)?( \\)?")
    digest = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")
    wrong = [one for one in lines if not (pin.fullmatch(one) or digest.fullmatch(one) or not one)]
    assert [] == wrong
    assert not any("://" in one or " @ " in one for one in lines)
