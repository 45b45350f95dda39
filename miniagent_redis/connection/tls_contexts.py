"""What connections over TLS are set up with: made once for as long as its files are the same.

redis-py makes it anew for each connection, and reads all authorities that the system trusts each
time: some 30 ms of work, ten times that of the handshake. That counts when many connect at once,
as after an outage.
"""

from __future__ import annotations

import os
import ssl
from functools import lru_cache

import redis

_State = tuple[int, int, int] | None


def context_of(link: redis.SSLConnection) -> ssl.SSLContext:
    """Return that of a connection, as its settings say; connections of all threads share it.

    Raises what OpenSSL does about files that are none, or OSError about those that are not there.
    """
    system = ssl.get_default_verify_paths()
    files = (link.certfile, link.keyfile, link.ca_certs, link.ca_path, system.cafile, system.capath)
    return _context(
        link.check_hostname, link.cert_reqs, link.certfile, link.keyfile, link.certificate_password,
        link.ca_certs, link.ca_path, link.ca_data, tuple(map(_state, files)),
    )  # fmt: skip


def _state(path: str | None) -> _State:
    """Return what differs once the file is another, or its content is: certificates are renewed."""
    if path is None:
        return None
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


@lru_cache(maxsize=16)
def _context(
    checks_hostname: bool,
    requirement: ssl.VerifyMode,
    certfile: str | None,
    keyfile: str | None,
    password: str | None,
    ca_certs: str | None,
    ca_path: str | None,
    ca_data: str | None,
    _: tuple[_State, ...],
) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = checks_hostname
    context.verify_mode = requirement
    if certfile or keyfile:
        context.load_cert_chain(certfile or "", keyfile, password)
    if ca_certs or ca_path or ca_data:
        context.load_verify_locations(ca_certs, ca_path, ca_data)
    return context
