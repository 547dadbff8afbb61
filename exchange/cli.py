"""The operator's verbs. Heavy imports wait until a command needs them."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from exchange.cli_erasing import register
from exchange.cli_users import users_app
from exchange.errors import DocumentsInvalid, ExchangeError, SettingsInvalid

if TYPE_CHECKING:
    from exchange.sealing import Vault
    from exchange.settings import Settings
    from exchange.store.postgres import PostgresStore

# Rich tracebacks would show local variables, and those may hold a person.
app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="A ping-post lead exchange.",
)
keys_app = typer.Typer(no_args_is_help=True, help="API keys: create, list, revoke.")
unconfirmed_app = typer.Typer(
    invoke_without_command=True, help="Posts that may be sold; settle them by hand."
)
app.add_typer(keys_app, name="keys")
app.add_typer(users_app, name="users")
app.add_typer(unconfirmed_app, name="unconfirmed")
register(app)

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="Settings file instead of config/exchange.toml.")
]


def main() -> None:
    """Console script `exchange`."""
    try:
        app()
    except (ExchangeError, SettingsInvalid, DocumentsInvalid) as error:
        fail(str(error))


def fail(message: str, code: int = 2) -> NoReturn:
    typer.echo(message, err=True)
    raise SystemExit(code)


@app.callback()
def options(config: ConfigOption = None) -> None:
    """Children and commands find the chosen settings file where it is looked for first."""
    if config is not None:
        if not config.is_file():
            fail(f"{config}: the file does not exist")
        os.environ["EXCHANGE_CONFIG"] = str(config.resolve())


# --- running --------------------------------------------------------------------------------------


@app.command()
def serve(
    demo: Annotated[
        bool, typer.Option("--demo", help="Add the demo's documents and reference buyers.")
    ] = False,
) -> None:
    """Run the exchange until Ctrl-C or SIGTERM."""
    from exchange.running import serve as run

    asyncio.run(run(settings(), demo=demo))


@app.command()
def run(
    seed: Annotated[int, typer.Option(help="Seed of the sample stream.")] = 0,
    per_s: Annotated[float, typer.Option(help="Sample leads per second.")] = 3.0,
    leads: Annotated[int, typer.Option(help="Stop after so many; 0: go on until Ctrl-C.")] = 0,
) -> None:
    """The demo, with a stream of sample leads being sold and a table to watch."""
    from exchange.running import show

    asyncio.run(show(settings(), seed=seed, per_s=per_s, leads=leads))


@app.command()
def migrate() -> None:
    """Bring the schema up to date."""

    async def body(tool: "Tool") -> None:
        from exchange.store.migrate import migrate as run_migrations

        applied = await run_migrations(tool.dsn)
        typer.echo("\n".join(applied) if applied else "the schema is up to date")

    with_tool(body, migrated=False)


@app.command("check-config")
def check_config() -> None:
    """Print the settings in force, secrets masked, or every problem at once."""
    from exchange.settings import describe

    for name, value in describe(settings()):
        typer.echo(f"{name:<24} {value}")


# --- the catalogue --------------------------------------------------------------------------------


@app.command()
def apply(
    paths: Annotated[list[Path], typer.Argument(help="TOML or JSON files, or folders of them.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check and print, write nothing.")
    ] = False,
) -> None:
    """Upsert verticals, plans, sellers, buyers and contracts: all or nothing."""

    async def body(tool: "Tool") -> None:
        from buyers.guard import Guard
        from exchange.apply import apply as write
        from exchange.apply import read_files

        guard = Guard(allowed_networks=tuple(tool.settings.allowed_networks))
        changes = await write(
            tool.store.db, tool.vault, guard, read_files(paths), by="apply", dry_run=dry_run
        )
        for change in changes:
            fields = f" ({', '.join(change.fields)})" if change.fields else ""
            typer.echo(f"{change.verb:<10} {change.kind} {change.slug}{fields}")
            if change.secret and not dry_run:
                typer.echo(f"           secret {change.secret}   (shown this once)")
        if dry_run:
            typer.echo("nothing was written (--dry-run)")

    with_tool(body)


@keys_app.command("create")
def create_key(
    role: Annotated[str, typer.Option(help="admin, seller or buyer")],
    owner: Annotated[str | None, typer.Option(help="The seller's or buyer's slug.")] = None,
) -> None:
    """Create a key and print it, once."""
    if role not in {"admin", "seller", "buyer"}:
        fail("--role must be admin, seller or buyer")
    if (owner is None) != (role == "admin"):
        fail("a seller's or buyer's key needs --owner SLUG, an admin's has none")

    async def body(tool: "Tool") -> None:
        from exchange.store.keys import create_key, owner_exists

        if owner is not None and not await owner_exists(tool.store.db, role, owner):
            fail(f"there is no {role} {owner}")
        _, key = await create_key(tool.store.db, tool.vault, role, owner)
        typer.echo(key)

    with_tool(body)


@keys_app.command("list")
def list_keys() -> None:
    """Every key, never the secret part."""

    async def body(tool: "Tool") -> None:
        from exchange.store.keys import list_keys as read

        for one in await read(tool.store.db):
            state = "revoked" if one.revoked_at else "live"
            typer.echo(
                f"{one.key.id:<18} {one.key.role:<7} {one.key.owner or '-':<24} {state} since {one.created_at:%Y-%m-%d}"
            )

    with_tool(body)


@keys_app.command("revoke")
def revoke_key(key_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Revoke a key: refused everywhere within a second."""

    async def body(tool: "Tool") -> None:
        from exchange.store.keys import revoke_key as revoke

        if not await revoke(tool.store.db, key_id):
            fail(f"there is no live key {key_id}", 1)
        typer.echo(f"revoked {key_id}")

    with_tool(body)


# --- trading --------------------------------------------------------------------------------------


@app.command()
def pause(
    what: Annotated[list[str], typer.Argument(help="buyer SLUG, contract SLUG, or all")],
) -> None:
    """Offer nothing new to a buyer, under a contract, or at all; re-checked at every award."""
    _set_paused(what, paused=True)


@app.command()
def resume(
    what: Annotated[list[str], typer.Argument(help="buyer SLUG, contract SLUG, or all")],
) -> None:
    """Take a pause back."""
    _set_paused(what, paused=False)


def _set_paused(what: list[str], *, paused: bool) -> None:
    from exchange.store.pauses import set_paused

    verb = "paused" if paused else "resumed"

    async def body(tool: "Tool") -> None:
        match what:
            case ["all"]:
                await tool.store.db.execute("UPDATE house SET paused = $1", paused)
            case [("buyer" | "contract") as table, slug]:
                kind: Literal["buyer", "contract"] = "buyer" if table == "buyer" else "contract"
                done = await set_paused(tool.store.db, kind, slug, paused=paused, by="cli", why="")
                if not done:
                    fail(f"there is no {table} {slug}", 1)
            case _:
                fail("say: buyer SLUG, contract SLUG, or all")
        typer.echo(f"{verb} {' '.join(what)}")

    with_tool(body)


@unconfirmed_app.callback()
def unconfirmed(context: typer.Context) -> None:
    """List posts that may be sold: who may have them, since when, when they are asked next."""
    if context.invoked_subcommand is not None:
        return

    async def body(tool: "Tool") -> None:
        from exchange.operating import list_unconfirmed

        lines = await list_unconfirmed(tool.store)
        typer.echo("\n".join(lines) if lines else "nothing is unconfirmed")

    with_tool(body)


@unconfirmed_app.command("settle")
def settle_unconfirmed(
    lead: str,
    outcome: Annotated[str, typer.Argument(help="accepted or rejected")],
    contract: Annotated[str | None, typer.Option(help="whose post, if several share it")] = None,
) -> None:
    """Say what became of a lead's unconfirmed post. The first definite word wins."""
    if outcome not in {"accepted", "rejected"}:
        fail("the outcome is accepted or rejected")

    async def body(tool: "Tool") -> None:
        from exchange.operating import settle_by_hand

        said, ok = await settle_by_hand(tool.store, lead, outcome, contract)
        typer.echo(said)
        if not ok:
            raise SystemExit(1)

    with_tool(body)


@app.command()
def why(lead: Annotated[str, typer.Argument(help="lead_… or ping_…")]) -> None:
    """Explain a lead: who was asked, what each said, who won, why everybody else did not."""

    async def body(tool: "Tool") -> None:
        from functools import partial

        from exchange.operating import explain
        from exchange.recalling import recall
        from exchange.store.views.leads import look_up

        db = tool.store.db
        lines = await explain(tool.store, lead, partial(recall, db), partial(look_up, db))
        if not lines:
            fail("there is no such lead or ping", 1)
        typer.echo("\n".join(lines))

    with_tool(body)


@app.command()
def verify() -> None:
    """Check the invariants on one snapshot of the running database; exit 1 if one is broken."""

    async def body(tool: "Tool") -> None:
        from exchange.operating import verify as check

        broken, counted = await check(tool.dsn)
        for line in broken:
            typer.echo(line)
        typer.echo(f"{'BROKEN' if broken else 'clean'}: {counted}")
        if broken:
            raise SystemExit(1)

    with_tool(body)


@app.command()
def backup(path: Annotated[Path, typer.Argument(help="A file that does not exist yet.")]) -> None:
    """Write a consistent dump of the running database (pg_dump, custom format)."""
    from exchange.operating import back_up

    typer.echo(back_up(settings(), path))


# --- what the commands stand on -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tool:
    """A command's connection to the books."""

    settings: "Settings"
    dsn: str
    store: "PostgresStore"
    vault: "Vault"


def settings() -> "Settings":
    from exchange.settings import from_process

    return from_process()


def with_tool(body: Callable[[Tool], Awaitable[None]], *, migrated: bool = True) -> None:
    """Run a command against the running exchange's database, or start it for as long as needed."""

    async def outer() -> None:
        async with _tool(migrated=migrated) as tool:
            await body(tool)

    asyncio.run(outer())


@asynccontextmanager
async def _tool(*, migrated: bool) -> AsyncIterator[Tool]:
    from exchange.sealing import Vault
    from exchange.store.embedded import EmbeddedPostgres
    from exchange.store.migrate import migrate as run_migrations
    from exchange.store.postgres import PostgresStore
    from exchange.supervisor import data_dir_of, master_key_of

    found = settings()
    data_dir = data_dir_of(found)
    postgres = None
    dsn = found.database_url
    if dsn is None:
        postgres = EmbeddedPostgres(data_dir)
        dsn = postgres.running_dsn()
        if dsn is None:
            dsn = await asyncio.to_thread(postgres.start)
    store = PostgresStore(dsn, name="tool")
    try:
        if migrated:
            await run_migrations(dsn)
        vault = Vault(bytes.fromhex(master_key_of(found, data_dir)), secrets.token_bytes)
        yield Tool(found, dsn, store, vault)
    finally:
        await store.close()
        if postgres is not None:
            await asyncio.to_thread(postgres.stop)  # does nothing if it was running before
