"""Who looks at the console, what they may see, and whether they may change it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import frozen
from flask import Flask
from werkzeug.exceptions import Forbidden

from ...session import SessionManager
from ..bound import BoundManager
from ..opening import Opening
from ..settings import Settings


class Agents(Protocol):
    """What the console needs of a ``MiniAgent``."""

    prefix: str

    def init_app(self, app: Flask) -> None: ...
    @property
    def user_id(self) -> str: ...
    @property
    def unbound(self) -> SessionManager: ...
    @property
    def settings(self) -> Settings: ...
    @property
    def opening(self) -> Opening: ...


@frozen(eq=False)
class Access:
    """What a request may see and do. Each person talks in sessions of their own."""

    agents: Agents
    admin: Callable[[], bool] | None = None
    """Tells whether who sent the request may see the sessions of all users."""
    is_read_only: bool = False
    user: str | None = None
    """Who everybody is; by default, who the ``user_loader`` says."""

    @property
    def user_id(self) -> str:
        """Who sent the request. Raises NotLoggedIn."""
        return self.agents.user_id if self.user is None else self.user

    @property
    def is_admin(self) -> bool:
        """Whether they see everybody's sessions."""
        return self.admin is not None and bool(self.admin())

    @property
    def whose(self) -> str | None:
        """Whose sessions they see; None for everybody's."""
        return None if self.is_admin else self.user_id

    @property
    def all(self) -> SessionManager:
        """The sessions of all: to be asked with ``whose``."""
        return self.agents.unbound

    @property
    def own(self) -> BoundManager:
        """The sessions of who sent the request."""
        size = self.agents.settings.web.max_message_size
        return BoundManager(self.agents.unbound, self.user_id, max_message_size=size)

    def must_be_admin(self) -> None:
        """Raise Forbidden for everybody else."""
        if not self.is_admin:
            raise Forbidden("This page is for those who run the service.")

    def must_write(self) -> None:
        """Raise Forbidden if nothing may be changed here."""
        if self.is_read_only:
            raise Forbidden("This console is read-only: nothing can be changed here.")
