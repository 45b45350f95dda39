"""Checks of certificates: how long that of the server is valid, and ours, if we show one."""

from __future__ import annotations

from collections.abc import Iterator

from ..connection.certificates import Validity, validity, validity_of_file
from ..connection.topology import Node
from ..connection.topology.asking_sentinels import Sentinels
from ..store.manager import RedisSessionManager
from .asking import asking, is_cluster
from .check import Check, Verdict, not_checked
from .cluster import worst

NAME, OURS = "certificate", "our certificate"
_DAY = 86400.0
_SOON, _AT_ONCE = 30 * _DAY, 7 * _DAY
_PART_SOON, _PART_AT_ONCE = 1 / 3, 1 / 10
"""Of its whole life: one for some days only is renewed in its last ones, and need not fail."""
_RENEW = "install a new one there; CONFIG SET tls-cert-file loads it without a restart"
_RENEW_OURS = "set ssl_certfile and ssl_keyfile to new ones"
_VERIFY = "set ssl_ca_certs to the file of the CA that signed it, and leave ssl_cert_reqs out"


def certificate(store: RedisSessionManager) -> Check:
    """Tell for how long that of the server is valid; of several servers, the one that ends first.

    Several are the masters of a cluster, or the master and its Sentinels.
    """
    checks = {where: _server_s(store, each) for where, each in _shown(store)}
    if len(checks) == 1:
        return next(iter(checks.values()))
    rows = [[check] for check in checks.values()]
    called = "masters" if is_cluster(store) else "servers"
    return worst(list(checks), rows, called=called)[0]


def ours(store: RedisSessionManager) -> Check:
    """Tell for how long the one is valid that we show to the server."""
    path = str(store.config.ssl_certfile)
    try:
        valid = validity_of_file(path)
    except (ValueError, OSError) as exc:
        return not_checked(OURS, f"{path} cannot be read: {exc}")
    return told(OURS, valid, store.clock.time(), _RENEW_OURS)


def told(name: str, valid: Validity, now: float, fix: str) -> Check:
    """Tell how long a certificate is valid still."""
    left, life = valid.ends - now, valid.ends - valid.begins
    if left < 0:
        return Check(name, "fail", f"it expired {_days(-left)} ago", fix)
    verdict: Verdict = "ok"
    if left < min(_AT_ONCE, life * _PART_AT_ONCE):
        verdict = "fail"
    elif left < min(_SOON, life * _PART_SOON):
        verdict = "warn"
    return Check(name, verdict, f"valid for {_days(left)} more", "" if verdict == "ok" else fix)


def _shown(store: RedisSessionManager) -> Iterator[tuple[str, bytes]]:
    """Yield who shows a certificate to us, and that."""
    if is_cluster(store):
        for node in store.parts.core.connections.everywhere:
            yield node, _shown_by(store, node)
        return
    yield "the master", _shown_by(store, None)
    if store.config.address.kind == "redis+sentinel":
        yield from Sentinels(store.config).certificates()


def _shown_by(store: RedisSessionManager, node: Node | None) -> bytes:
    with asking(store, node) as client:
        pool = client.connection_pool
        link = pool.get_connection()
        shown: bytes = link.certificate
        pool.release(link)
    return shown


def _server_s(store: RedisSessionManager, shown: bytes) -> Check:
    try:
        check = told(NAME, validity(shown), store.clock.time(), _RENEW)
    except ValueError as exc:
        return not_checked(NAME, f"it cannot be read: {exc}")
    if store.config.ssl_cert_reqs != "none":
        return check
    detail = f"nothing is verified: whoever is between us can pose as the server; {check.detail}"
    return Check(NAME, "warn", detail, _VERIFY)


def _days(seconds: float) -> str:
    days = int(seconds / _DAY)
    return "1 day" if days == 1 else f"{days} days" if days else f"{seconds / 3600:.1f} hours"
