"""One-time links: made by the command line, by the demo, and by admins."""

from typing import Final

from exchange.office.console.entering.people import People
from exchange.office.console.entering.sessions import Sessions
from exchange.office.console.noting import note
from exchange.sealing import Vault
from exchange.settings import Settings
from exchange.store.database import Database

DEMO: Final = "demo"
_HERE: Final = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # where every address is listened on


async def make_link(
    db: Database, vault: Vault, settings: Settings, office_listen: str, login: str, *, by: str
) -> str:
    """A link that lets this user in once, within ten minutes. `office_listen`: host and port, where
    the settings name no address of the console. The user exists."""
    token = await Sessions(db, vault, settings.office).make_once("enter", login)
    await note(db, by, "link_made", login)
    host, _, port = office_listen.rpartition(":")
    return link_address(settings.office.url or f"http://{_HERE.get(host, host)}:{port}", token)


async def demo_link(db: Database, vault: Vault, settings: Settings, office_listen: str) -> str:
    """A link for the demo's admin, who is made when missing; a new one at every start."""
    await People(db, vault).add(DEMO, "admin", None)
    return await make_link(db, vault, settings, office_listen, DEMO, by="demo")


def link_address(base: str, token: str) -> str:
    """A one-time link as it is printed."""
    return f"{base}/console/enter/{token}"
