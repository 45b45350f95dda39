"""Losing the reply to one script of a store, or having no server at first.

Others act before it is tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha1
from typing import Any

import pytest
from attrs import define, field

from miniagent_redis.connection.faults import Refused, ReplyLost
from miniagent_redis.store.manager import RedisSessionManager
from miniagent_redis.store.scripts import source


@define
class Lost:
    """The request whose reply was lost, if it was sent."""

    _store: RedisSessionManager
    _send: Callable[..., list[Any]]
    requests: list[tuple[Any, ...]] = field(factory=list)

    def arrive_late(self) -> None:
        """Let the same request come to the server once more, as one that was long on its way."""
        (request,) = self.requests
        self._send([at_this_time(request, self._store)], request[3 + int(request[2])])


def at_this_time(request: Sequence[Any], store: RedisSessionManager) -> tuple[Any, ...]:
    """Return the request of a script with the time of the store's clock, if the test moves it."""
    if request[0] not in ("EVAL", "EVALSHA"):
        return tuple(request)
    place = 4 + int(request[2])
    return (*request[:place], store.parts.core.script_now(), *request[place + 1 :])


@contextmanager
def losing(
    store: RedisSessionManager,
    script: str,
    meanwhile: Callable[[], object] = lambda: None,
    *,
    arrives: bool = False,
) -> Iterator[Lost]:
    """Lose the first reply to a script, which was executed, once ``meanwhile`` has returned.

    If it ``arrives`` after all, it was only long on its way.
    """
    connections = store.parts.core.connections
    text = source(script)
    if connections.is_memory:
        text = text.replace("#!lua", "-- #!lua", 1)
    mine = {text, sha1(text.encode()).hexdigest()}
    send = connections.exchange
    lost = Lost(store, send)

    def exchange(commands: Sequence[Any], nonce: bytes | None = None) -> list[Any]:
        replies = send([at_this_time(request, store) for request in commands], nonce)
        if lost.requests or not mine.intersection(commands[0]):
            return replies
        lost.requests.append(tuple(commands[0]))
        meanwhile()
        if arrives:
            return replies
        raise ReplyLost("the connection was cut", is_outage=False)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "exchange", exchange)
        yield lost
    assert lost.requests, f"{script} was never sent"


@contextmanager
def away(
    store: RedisSessionManager, meanwhile: Callable[[], object] = lambda: None
) -> Iterator[None]:
    """Have no server there for the first thing that the store sends; then ``meanwhile`` is done."""
    connections = store.parts.core.connections
    send, tried = connections.exchange, list[object]()

    def exchange(commands: Sequence[Any], nonce: bytes | None = None) -> list[Any]:
        if tried:
            return send([at_this_time(request, store) for request in commands], nonce)
        tried.append(commands)
        meanwhile()
        raise Refused(connections.unavailable("connection refused"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "exchange", exchange)
        yield
    assert tried, "nothing was sent"
