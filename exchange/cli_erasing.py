"""`exchange erase` and `exchange erasures`: persons erased for good, and what to do again after a restore.

An address or a number is never an argument: those stand in `ps`, in the shell's history and in logs.
"""

import sys
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from uuid import UUID

    from exchange.cli import Tool
    from exchange.store.erasures import Asking, Standing

_BY = "cli"


def register(app: typer.Typer) -> None:
    """Both verbs, as the exchange's own."""
    app.command("erase")(erase_command)
    app.command("erasures")(erasures_command)


def erase_command(
    lead: Annotated[str | None, typer.Argument(help="lead_…")] = None,
    email: Annotated[
        bool, typer.Option("--email", help="All leads of an e-mail address, which is asked for or read from standard input.")
    ] = False,
    phone: Annotated[
        bool, typer.Option("--phone", help="All leads of a phone number, which is asked for or read from standard input.")
    ] = False,
    again: Annotated[
        Path | None, typer.Option("--from", help="Erase again what a file of `exchange erasures` lists; `-` is standard input.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be erased.")] = False,
) -> None:  # fmt: skip
    """Erase persons for good; money and outcome stay. Says which buyers received them. Exit 1: nothing found."""
    from exchange.cli import fail, with_tool

    if sum((lead is not None, email, phone, again is not None)) != 1:
        fail("say one of: LEAD, --email, --phone, --from FILE")
    lines = _lines(again) if again is not None else []
    value = _ask("e-mail address" if email else "phone number") if email or phone else ""

    async def body(tool: "Tool") -> None:
        from exchange.store.erasures import Asking

        if again is not None:
            await _erase_again(tool, lines, dry_run=dry_run)
            return
        ids = await _ids(tool, lead, "email" if email else "phone", value)
        found = await _erase(tool, ids, Asking(why="request", by=_BY), dry_run=dry_run)
        typer.echo("\n".join(line for one in found for line in _told(one, dry_run=dry_run)))
        if dry_run:
            typer.echo("nothing was changed (--dry-run)")

    with_tool(body)


def erasures_command(
    since: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="Asked for from this moment on, UTC.")
    ] = None,
    waiting: Annotated[bool, typer.Option("--waiting", help="Only those that wait for a post.")] = False,
) -> None:  # fmt: skip
    """List erasures, oldest first, as `exchange erase --from` reads them; nobody's data is in it."""
    from exchange.cli import with_tool

    async def body(tool: "Tool") -> None:
        from exchange.ids import write_id
        from exchange.store.erasures import erasures_since

        moment = (since or datetime(1970, 1, 1)).replace(tzinfo=UTC)  # noqa: DTZ001 - it gets its zone here
        for one in await erasures_since(tool.store.db, moment):
            if one.done_at is None or not waiting:
                done = "waits" if one.done_at is None else f"erased {one.done_at.isoformat()}"
                lead = write_id("lead", one.lead_id, test=one.test)
                typer.echo(f"{lead} {one.why} {one.by} {one.asked_at.isoformat()} {done}")

    with_tool(body)


def _ask(what: str) -> str:
    """From whoever sits there, else the first line of standard input."""
    if sys.stdin.isatty():
        return str(typer.prompt(what))
    return sys.stdin.readline().strip()


def _lines(path: Path) -> list[str]:
    from exchange.cli import fail

    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        fail(f"{path}: cannot be read")
    return [line for line in text.splitlines() if line.strip()]


async def _ids(tool: "Tool", lead: str | None, kind: str, value: str) -> "list[UUID]":
    from exchange.cli import fail
    from exchange.ids import read_id
    from exchange.persons import WHAT, find_by
    from exchange.store.erasures import leads_of

    if lead is not None:
        ids = read_id("lead", lead)
        return [ids[0]] if ids else fail("there is no such lead", 1)
    known = "email" if kind == "email" else "phone"
    indexes = find_by(tool.vault, known, value)  # type: ignore[arg-type]
    if not indexes:
        fail(f"that is not {WHAT[known]}")
    return await leads_of(tool.store.db, known, indexes)  # type: ignore[arg-type]


async def _erase(
    tool: "Tool", ids: "list[UUID]", asking: "Asking", *, dry_run: bool
) -> "list[Standing]":
    from exchange.cli import fail
    from exchange.store.erasures import erase, standings

    db = tool.store.db
    found = await (standings(db, ids) if dry_run else erase(db, tool.vault, ids, asking))
    return found or fail("there is no such lead: it never was, or was erased before", 1)


def _told(one: "Standing", *, dry_run: bool) -> Iterable[str]:
    from exchange.ids import write_id

    lead = write_id("lead", one.lead_id, test=one.test)
    if one.row is not None and one.row.done_at is not None:
        yield f"erased     {lead}  {one.row.done_at:%Y-%m-%d %H:%M:%S} UTC"
    elif one.waits or not dry_run:
        what = "it is being sold" if one.is_open else "somebody is using it: within a minute"
        if one.waits_for:
            what = f"posts without an outcome: {', '.join(one.waits_for)}"
        yield f"waits      {lead}  {what}"
    else:
        yield f"would be   {lead}"
    for each in one.recipients:
        att = write_id("att", each.attempt_id, test=one.test)
        yield f"  tell     {each.buyer:<24} {each.contract:<28} {each.state.value:<11} {att}"


async def _erase_again(tool: "Tool", lines: list[str], *, dry_run: bool) -> None:
    """After a restore. What is not there was never restored; what was erased already stays so."""
    from exchange.cli import fail
    from exchange.ids import read_id
    from exchange.store.erasures import erase, standings

    done, gone, before = 0, 0, 0
    for number, line in enumerate(lines, 1):
        lead, *said = line.split()
        ids = read_id("lead", lead) or fail(
            f"line {number} does not begin with a lead: stopped there"
        )
        found = await standings(tool.store.db, [ids[0]])
        if not found:
            gone += 1
        elif found[0].done:
            before += 1
        else:
            done += 1
            if not dry_run:
                await erase(tool.store.db, tool.vault, [ids[0]], _asked_then(said))
    word = "would be erased, or wait for a post" if dry_run else "erased, or wait for a post"
    typer.echo(f"{done} {word}, {before} were already, {gone} are not in these books")


def _asked_then(said: list[str]) -> "Asking":
    """Who asked when and why, as `exchange erasures` lists it; of any other line the lead alone counts."""
    from exchange.store.erasures import Asking

    match said:
        case ["retention" | "request" as why, by, at, *_]:
            with suppress(ValueError):
                return Asking(
                    why="retention" if why == "retention" else "request",
                    by=by,
                    at=datetime.fromisoformat(at),
                )
    return Asking(why="request", by=_BY)
