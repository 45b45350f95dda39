"""Connections to that of several databases which is used: once it is another, they are let go."""

from __future__ import annotations

from .link import Link
from .link_kinds import TcpLink, TlsLink


class _ToActive(Link):
    """What is added: it is looked at before each use whether its database is still the one."""

    @property
    def is_elsewhere(self) -> bool:
        wanted = self._locate()
        return (self.host, self.port) != (wanted.host, wanted.port)

    def is_quiet(self) -> bool:
        return not self.is_elsewhere and super().is_quiet()


class ActiveTcpLink(_ToActive, TcpLink):
    """To the active database, on a host."""


class ActiveTlsLink(_ToActive, TlsLink):
    """To the active database, on a host, over TLS."""
