"""Whether a port speaks TLS: asked when a connection to it was closed or silent from the beginning.

A server says nothing to who speaks the wrong one of the two, so it is asked in the other one.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress

TLS_WANTED = "it closes connections without TLS, and it speaks TLS"
LIMIT = 0.3
"""Seconds for the question, at most: what does not answer meanwhile may be away, or frozen."""
_ANSWERS = (b"\x15", b"\x16")
"""How a record of TLS begins that is an alert, or a handshake (RFC 8446, 5.1)."""


def speaks_tls(host: str, port: int, seconds: float) -> bool:
    """Whether it answers a greeting of TLS, if only with a refusal."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing is sent there, so it need not be trusted
    hello = ssl.MemoryBIO()
    try:
        greeter = context.wrap_bio(ssl.MemoryBIO(), hello, server_hostname=host)
        with suppress(ssl.SSLWantReadError):
            greeter.do_handshake()
        with socket.create_connection((host, port), timeout=seconds) as plain:
            plain.sendall(hello.read())
            return plain.recv(1) in _ANSWERS
    except (OSError, ValueError):  # ValueError: no name that TLS can send
        return False


def speaks_plain(host: str, port: int, seconds: float) -> bool:
    """Whether it answers a PING that is sent without TLS, if only that it lets nobody in."""
    try:
        with socket.create_connection((host, port), timeout=seconds) as plain:
            plain.sendall(b"PING\r\n")
            return plain.recv(1) in (b"+", b"-")
    except OSError:
        return False
