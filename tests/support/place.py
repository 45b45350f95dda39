"""A server that keeps its data, a proxy in front of it, and stores that reach it by that proxy."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack, suppress
from typing import Any

import redis

from miniagent_redis import RedisConfig, RedisSessionManager
from tests.support.proxy import Proxy
from tests.support.servers import RedisServer
from tests.support.waiting import LIMIT

APP = ("app", "right")
_ADMIN = ("admin", "secret")
_RIGHTS = ("~*", "&*", "+@all")


class Place:
    """A server that keeps its data over a restart, a proxy in front of it, stores that use it."""

    def __init__(self, dice: random.Random) -> None:
        users = [("--user", name, "on", f">{word}", *_RIGHTS) for name, word in (APP, _ADMIN)]
        persistence = ("--appendonly", "yes", "--appendfsync", "no", "--lua-time-limit", "10")
        self.server = RedisServer(*persistence, *(word for user in users for word in user))
        self.proxy = Proxy(self.server.socket, dice)
        self.dice = dice
        self._stack = ExitStack()

    def store(self, kind: str = "", **settings: Any) -> RedisSessionManager:
        """Return an open store behind the proxy, closed with the place."""
        if kind != "password wanted":
            settings = {"username": APP[0], "password": APP[1], **settings}
        config = RedisConfig(url=self.proxy.url, **settings)
        return self._stack.enter_context(RedisSessionManager(config))

    def admin(self) -> redis.Redis:
        """Return a client that gets in by the server's own door, whatever is wrong for others."""
        name, word = _ADMIN
        client = redis.Redis(unix_socket_path=str(self.server.socket), username=name, password=word)
        self._stack.enter_context(client)
        return client

    def send_away(self, admin: redis.Redis) -> None:
        """End the connections of everybody but ``admin``: the new ones have to log in."""
        admin.client_kill_filter(_type="normal", skipme=True)

    def __enter__(self) -> Place:
        self._stack.enter_context(self.server)
        self._stack.enter_context(self.proxy)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def is_back(place: Place) -> bool:
    """Whether the server itself answers again."""
    with socket.socket(socket.AF_UNIX) as link, suppress(OSError):
        link.settimeout(LIMIT)
        link.connect(str(place.server.socket))
        link.sendall(b"PING\r\n")
        return bool(link.recv(100))
    return False
