"""The kinds of connection, one for each kind of address.

They find out what is wrong when the two sides do not agree on TLS: one that is closed or silent
before the first reply says nothing of the reason, and would pass for an outage.
"""

from __future__ import annotations

import socket
import ssl

import redis

from .link import Link
from .tls_contexts import context_of
from .tls_faults import CLOSED
from .tls_probe import LIMIT, TLS_WANTED, speaks_plain, speaks_tls


class UnixLink(Link, redis.UnixDomainSocketConnection):
    """To a socket of this machine."""


class TcpLink(Link, redis.Connection):
    """To a host."""

    def _connect_once(self) -> None:
        try:
            super()._connect_once()
        except redis.ConnectionError as exc:
            if _is_closed(exc) and speaks_tls(self.host, self.port, _haste(self)):
                raise redis.InvalidResponse(TLS_WANTED) from exc
            raise


class TlsLink(Link, redis.SSLConnection):
    """To a host, over TLS."""

    @property
    def certificate(self) -> bytes | None:
        """That of the server, in DER, whether it was checked or not; None if not connected."""
        return None if self._sock is None else self._sock.getpeercert(binary_form=True)

    def _wrap_socket_with_ssl(self, sock: socket.socket) -> ssl.SSLSocket:
        return context_of(self).wrap_socket(sock, server_hostname=self.host)

    def _connect_once(self) -> None:
        try:
            super()._connect_once()
        except redis.TimeoutError as exc:
            is_silent = "handshake" in str(exc.__cause__ or exc.__context__)
            if is_silent and speaks_plain(self.host, self.port, _haste(self)):
                _refuse(ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] it answers without TLS only"))
            raise
        except redis.ConnectionError as exc:
            if _is_closed(exc) and (alert := self._alert()) is not None:
                _refuse(alert)
            raise

    def _alert(self) -> ssl.SSLError | None:
        """Return why the server closes a connection right after it was set up, if it says that.

        It looks at our certificate only then, and its word is lost when we send something first.
        """
        try:
            with self._connect() as sock:  # type: ignore[no-untyped-call]
                sock.settimeout(_haste(self))
                sock.recv(1)
        except ssl.SSLError as exc:
            return exc
        except (redis.RedisError, OSError):
            pass
        return None


def _refuse(fault: ssl.SSLError) -> None:
    raise redis.ConnectionError(str(fault.args[-1])) from fault


def _is_closed(exc: redis.ConnectionError) -> bool:
    return isinstance(exc.__cause__ or exc.__context__, CLOSED) or "closed by server" in str(exc)


def _haste(link: Link) -> float:
    return min(LIMIT, link.socket_connect_timeout or LIMIT)
