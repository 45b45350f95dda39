"""Who looks at the console, what they may see, and whether they may change it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from attrs import frozen
from flask import Flask
from werkzeug.exceptions import Forbidden

from ...doors.refusals import ReadOnly
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
    others: Sequence[Agents] = ()
    """More agents to talk with, on the same Redis."""

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
        return self.own_with(self.agents)

    def own_with(self, agents: Agents) -> BoundManager:
        """Return the sessions of who sent the request, to talk in with one of the agents."""
        size = self.agents.settings.web.max_message_size
        return BoundManager(agents.unbound, self.user_id, max_message_size=size)

    @property
    def named(self) -> dict[str, Agents]:
        """All agents by their names; of those with the same one, the first."""
        found: dict[str, Agents] = {}
        for one in (self.agents, *self.others):
            found.setdefault(one.settings.agent.name, one)
        return found

    def agents_of(self, session_id: str, whose: str | None) -> Agents:
        """Return the agent with whom a session was begun, and so goes on; the first if unknown.

        Raises SessionNotFound.
        """
        if not self.others:
            return self.agents
        state = self.all.store.session_state(session_id, user_id=whose)
        return self.named.get(state.agent_name, self.agents)

    def own_of(self, session_id: str) -> BoundManager:
        """Return what ``own`` does, to go on with one of them. Raises SessionNotFound."""
        return self.own_with(self.agents_of(session_id, self.user_id))

    def must_be_admin(self) -> None:
        """Raise Forbidden for everybody else."""
        if not self.is_admin:
            raise Forbidden("This page is for those who run the service.")

    def must_write(self) -> None:
        """Raise ReadOnly if nothing may be changed here."""
        if self.is_read_only:
            raise ReadOnly
