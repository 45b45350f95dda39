"""Connections to the master that Sentinels name: it is asked for its role with each command.

In the same round trip, which costs it some microseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import Any

from .link import LOST, Link, NotSent
from .link_kinds import TcpLink, TlsLink
from .master import FRESH, ROLE, Place, Watch
from .topology import Command
from .wire import Forgotten, Probe


class Demoted(Forgotten):
    """What was answered is worth nothing: another server is the master by now, or may be."""


class _ToMaster(Link):
    """What is added: it must be the master that answers; after a fault it may be another one."""

    follows_master = True
    is_outdated: bool = False
    _said_so = 0.0  # when the server was the master last, as of time.monotonic()

    def __init__(self, *, watch: Watch, **options: Any) -> None:
        super().__init__(**options)
        self._watch = watch

    @property
    def _place(self) -> Place:
        return self.host, self.port

    def _connect_once(self) -> None:
        super()._connect_once()
        try:
            self._watch.meet(self._place, self._role())
        except BaseException:
            self.disconnect()
            raise
        self._said_so = monotonic()

    def _role(self) -> Any:
        self.send_command(*ROLE, check_health=False)
        return self.read_response()

    def is_quiet(self) -> bool:
        """Look as others do; one that redis-py's commands go over also says what it is."""
        if not super().is_quiet():
            return False
        if self._is_kept or monotonic() - self._said_so < FRESH:
            return True
        try:
            self.is_outdated = not self._watch.is_same(self._place, self._role())
        except LOST:
            self.is_outdated = True
        if not self.is_outdated:
            self._said_so = monotonic()
        return not self.is_outdated

    def ask(self, commands: Sequence[Command], is_another_answered: Probe) -> list[Any]:
        try:
            # ROLE comes first: then what was not sent whole is still the last command.
            role, *replies = super().ask([ROLE, *commands], is_another_answered)
        except (*LOST, NotSent):
            self.is_outdated = True  # all others lead to the same server
            raise
        self.role = role
        if self._watch.is_same(self._place, role):
            return replies
        self.is_outdated = True
        if all(isinstance(reply, Exception) for reply in replies):
            return replies
        raise Demoted(f"the server at {self.host}:{self.port} may be no master any more")


class MasterTcpLink(_ToMaster, TcpLink):
    """To the master, on a host."""


class MasterTlsLink(_ToMaster, TlsLink):
    """To the master, on a host, over TLS."""
