"""In which way the shared server is reached: MINIAGENT_TEST_TOPOLOGY says it, plainly without.

``acl``: as a user who has the least rights that the library says it needs. What tests do behind a
store, by ``store.client``, is done as the server's default user then.

``tls``: over TLS, by a host name that is checked and with an authority that the url names; through
a ``proxy`` too, which then has a certificate of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import redis

from miniagent_redis.store.acl import acl_rule
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.proxy import Proxy
from tests.support.servers import TOPOLOGY, RedisServer
from tests.support.tls import TlsServer, authority

USER = "least"
_LOGIN = f"unix://{USER}:pw@"


@contextmanager
def shared_server() -> Iterator[RedisServer]:
    """Start the server that is shared by all tests of this process; its url is by TLS if need be.

    Its socket is without TLS in any case.
    """
    if TOPOLOGY != "tls":
        with RedisServer() as server:
            yield server
        return
    with authority() as ca, TlsServer(ca, ca.issue("localhost")) as server:
        server.url = server.trusting_url
        yield server


def proxy_before(server: RedisServer) -> Proxy:
    """Return a proxy in front of a server, not listening yet, that is reached as the server is."""
    ca = server.ca if isinstance(server, TlsServer) else None
    return Proxy(server.socket, ca=ca)


def url_of_topology(server: RedisServer) -> str:
    """Return the url of the shared server in the way that is asked for."""
    return least_rights(server, USER) if TOPOLOGY == "acl" else server.url


def least_rights(server: RedisServer, user: str, namespace: str = "") -> str:
    """Return the url of a server for a user who has exactly the rule of a namespace."""
    words = ("reset", "on", ">pw", *acl_rule(namespace))
    server.client().execute_command("ACL", "SETUSER", user, *words)
    return server.url_of(user, "pw")


def look_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make ``store.client`` that of a user who may do everything, for stores of USER."""
    if TOPOLOGY != "acl":
        return
    own: Callable[[RedisSessionManager], redis.Redis] = vars(RedisSessionManager)["client"].fget

    def client(store: RedisSessionManager) -> redis.Redis:
        url = store.config.url or ""
        if not url.startswith(_LOGIN):
            return own(store)
        known: dict[str, redis.Redis] = store.__dict__.setdefault("_all_rights", {})
        return known.setdefault(url, redis.Redis.from_url(url.replace(_LOGIN, "unix://")))

    monkeypatch.setattr(RedisSessionManager, "client", property(client))
