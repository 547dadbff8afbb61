"""Who looks at a page, and what he may do there. Pure."""

from dataclasses import dataclass
from typing import Final, Literal

Role = Literal["admin", "operator", "viewer", "buyer", "seller"]
STAFF: Final[tuple[Role, ...]] = ("admin", "operator", "viewer")
EVERYONE: Final[tuple[Role, ...]] = (*STAFF, "buyer", "seller")
_KEY: Final = "key "


@dataclass(frozen=True, slots=True)
class Viewer:
    """Somebody signed in: a user, or whoever pasted an API key."""

    login: str  # a user's login, or "key ID"
    role: Role
    owner: str | None  # slug of the buyer or seller that a buyer's or seller's login belongs to
    session: str  # the session's id, not its token

    @property
    def name(self) -> str:
        """As history keeps it: user:LOGIN or key:ID."""
        return f"user:{self.login}" if self.key_id is None else f"key:{self.key_id}"

    @property
    def user(self) -> str | None:
        """The login of a user; None for a key."""
        return self.login if self.key_id is None else None

    @property
    def key_id(self) -> str | None:
        """The id of the key that was pasted; None for a user."""
        return self.login.removeprefix(_KEY) if self.login.startswith(_KEY) else None

    @property
    def buyer(self) -> str | None:
        """The buyer that this viewer sees alone; None: no buyer's login."""
        return (self.owner or "") if self.role == "buyer" else None

    @property
    def seller(self) -> str | None:
        """The seller that this viewer sees alone; None: no seller's login."""
        return (self.owner or "") if self.role == "seller" else None

    @property
    def staff(self) -> bool:
        return self.role in STAFF

    @property
    def may_change(self) -> bool:
        """Admins and operators everything of trading, a buyer its own contracts, others nothing."""
        return self.role in {"admin", "operator", "buyer"}

    @property
    def may_reveal(self) -> bool:
        """Persons: an admin's all, a buyer's those of leads sold to it. A reveal is a click of its
        own and goes into the audit."""
        return self.role in {"admin", "buyer"}
