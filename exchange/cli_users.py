"""`exchange users`: who may sign in to the console."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from exchange.cli import Tool

users_app = typer.Typer(
    no_args_is_help=True, help="Users of the console: create, list, link, reset, retire."
)
_BY = "cli"
Login = Annotated[str, typer.Argument(metavar="LOGIN")]


@users_app.command("create")
def create(
    login: Login,
    role: Annotated[str, typer.Option(help="admin, operator, viewer, buyer or seller")],
    owner: Annotated[str | None, typer.Option(help="The buyer's or seller's slug.")] = None,
) -> None:
    """Create a user and print a link that lets it in once, to set a password."""
    from exchange.cli import fail, with_tool
    from exchange.office.console.entering.people import People

    async def body(tool: "Tool") -> None:
        problems = await People(tool.store.db, tool.vault).add(login, role, owner)
        if problems:
            fail("\n".join(f"{one.path} {one.message}" for one in problems))
        await _note(tool, "user_created", login, role=role)
        await _print_link(tool, login)

    with_tool(body)


@users_app.command("list")
def list_all() -> None:
    """Every user, the retired ones last."""
    from exchange.cli import with_tool
    from exchange.office.console.entering.people import People

    async def body(tool: "Tool") -> None:
        for one in await People(tool.store.db, tool.vault).all():
            enters = (
                "password and code"
                if one.has_totp
                else "password"
                if one.has_password
                else "link only"
            )
            state = "retired" if one.retired_at else enters
            seen = f"seen {one.seen_at:%Y-%m-%d}" if one.seen_at else "not signed in"
            typer.echo(f"{one.login:<24} {one.role:<9} {one.owner or '-':<24} {state:<18} {seen}")

    with_tool(body)


@users_app.command("link")
def link(login: Login) -> None:
    """Print a link that lets a user in, once, within ten minutes."""
    from exchange.cli import fail, with_tool
    from exchange.office.console.entering.people import People

    async def body(tool: "Tool") -> None:
        if await People(tool.store.db, tool.vault).find(login) is None:
            fail(f"there is no user {login}", 1)
        await _print_link(tool, login)

    with_tool(body)


@users_app.command("reset")
def reset(login: Login) -> None:
    """Take password, one-time codes and sessions away, and print a link."""
    from exchange.cli import fail, with_tool
    from exchange.office.console.entering.people import People

    async def body(tool: "Tool") -> None:
        if not await People(tool.store.db, tool.vault).reset(login):
            fail(f"there is no user {login}", 1)
        await _note(tool, "user_reset", login)
        await _print_link(tool, login)

    with_tool(body)


@users_app.command("retire")
def retire(login: Login) -> None:
    """End a user's sessions and its login, for good."""
    from exchange.cli import fail, with_tool
    from exchange.office.console.entering.people import People

    async def body(tool: "Tool") -> None:
        if not await People(tool.store.db, tool.vault).retire(login):
            fail(f"there is no user {login}", 1)
        await _note(tool, "user_retired", login)
        typer.echo(f"retired {login}")

    with_tool(body)


async def _print_link(tool: "Tool", login: str) -> None:
    from exchange.office.console.entering.links import make_link

    address = await make_link(
        tool.store.db, tool.vault, tool.settings, tool.settings.office_listen, login, by=_BY
    )
    typer.echo(address)


async def _note(tool: "Tool", what: str, login: str, **detail: object) -> None:
    from exchange.office.console.noting import note

    await note(tool.store.db, _BY, what, login, **detail)
