"""`exchange apply`: documents from TOML and JSON files, checked together, written all or nothing."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from buyers import strict_json
from buyers.guard import Guard
from exchange.checking import check_all
from exchange.errors import DocumentsInvalid, Problem
from exchange.geo import load_places
from exchange.sealing import Vault
from exchange.store.catalogue import KINDS
from exchange.store.database import Database
from exchange.store.documents import Change, Wanted, write_documents

_PLURALS: Final = {f"{kind}s": kind for kind in KINDS}


async def apply(
    db: Database, vault: Vault, guard: Guard, wanted: Wanted, *, by: str, dry_run: bool = False
) -> list[Change]:
    """Check everything against everything, then write. Raises DocumentsInvalid with all problems."""
    await load_places([document for _kind, document in wanted])
    return await write_documents(
        db, vault, lambda stored: check_all(wanted, stored, guard), by=by, dry_run=dry_run
    )


def read_files(paths: Sequence[Path], names: Mapping[str, str] | None = None) -> Wanted:
    """Every document of the files, folders walked. `${name}` in text is replaced out of `names`.

    A file holds lists (`[[contracts]]`, or singular), or is one vertical, plan, seller, buyer or
    contract by itself.
    """
    wanted: Wanted = []
    problems: list[Problem] = []
    for path in _files(paths):
        try:
            wanted += _split(_load(path, names or {}), path)
        except (OSError, ValueError, DocumentsInvalid) as error:
            why = (
                str(error)
                if isinstance(error, DocumentsInvalid)
                else "cannot be read as TOML or JSON"
            )
            problems.append(Problem(str(path), "unreadable", why))
    if problems:
        raise DocumentsInvalid(tuple(problems))
    return wanted


def _files(paths: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(p for p in path.rglob("*") if p.suffix in {".toml", ".json"})
        else:
            found.append(path)
    return found


def _load(path: Path, names: Mapping[str, str]) -> dict[str, Any]:
    text = path.read_text(encoding="utf-8")
    for name, value in names.items():
        text = text.replace("${" + name + "}", value)
    if path.suffix == ".json":
        return strict_json.loads_object(text.encode())
    return tomllib.loads(text)


def _split(content: dict[str, Any], path: Path) -> Wanted:
    kind = _kind_of(content)
    if kind is not None:
        return [(kind, content)]
    wanted: Wanted = []
    for name, documents in content.items():
        kind = _PLURALS.get(name) or (name if name in KINDS else None)
        rows = documents if isinstance(documents, list) else [documents]
        if kind is None or not all(isinstance(row, dict) for row in rows):
            known = ", ".join(_PLURALS)
            raise DocumentsInvalid(
                (Problem(str(path), "unknown_field", f"{name}: expected lists of {known}"),)
            )
        wanted += [(kind, row) for row in rows]
    return wanted


def _kind_of(content: dict[str, Any]) -> str | None:
    """The kind of a file that is one document by itself, told by its own properties."""
    keys = content.keys()
    if "tiers" in keys:
        return "plan"
    if "slug" not in keys:
        return None
    if "endpoint" in keys or "pricing" in keys:
        return "contract"
    if "fields" in keys:
        return "vertical"
    return "seller" if keys & {"verticals", "rate_per_s", "callback_url", "margin"} else "buyer"
