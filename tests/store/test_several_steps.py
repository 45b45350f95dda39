"""A call of several steps means the session that its first one met, and none that was made since.

Whatever step it is in front of which others end the session and make another one of the same id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from miniagent_redis.errors import MiniAgentError
from miniagent_redis.models import Message
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.lost import at_this_time
from tests.support.stored import dump
from tests.support.words import OpenStore, said

Store = RedisSessionManager
SOME = [said(str(n)) for n in range(3)]
CALLS: dict[str, Callable[[Store], object]] = {
    "update": lambda store: store.update_session("s", {"n": 1}),
    "patch": lambda store: store.patch_session("s", {"n": 1}),
    "title": lambda store: store.set_title("s", "mine"),
    "truncate": lambda store: store.truncate_thread("s", 1),
    "import": lambda store: store.import_thread("s", SOME),
    "copy": lambda store: store.copy_thread("source", "s"),
    "rewind": lambda store: store.rewind("s", 1, new_id="kept"),
    "fork": lambda store: store.fork_session("s", new_id="kept"),
    "rename": lambda store: store.renew_session_id("s", new_user_id="ada"),
}


@contextmanager
def in_front_of(store: Store, number: int, act: Callable[[], None]) -> Iterator[None]:
    """Have something done between the answer to a request and the next one, of that number."""
    connections, answered = store.parts.core.connections, [0]
    send = connections.exchange

    def exchange(commands: Any, nonce: bytes | None = None) -> list[Any]:
        replies = send([at_this_time(request, store) for request in commands], nonce)
        answered[0] += 1
        if answered[0] == number - 1:
            act()
        return replies

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "exchange", exchange)
        yield


@pytest.mark.parametrize("changes", [False, True])
@pytest.mark.parametrize("number", range(2, 9))
@pytest.mark.parametrize("name", CALLS)
def test_no_step_reaches_a_session_that_was_made_since(
    store: Store,
    open_store: OpenStore,
    clock: ManualClock,
    name: str,
    number: int,
    changes: bool,
) -> None:
    number += name in ("copy", "fork")  # which begin with the other session
    other = open_store()
    store.create_session("source")
    store.append_to_thread("source", SOME)
    store.create_session("s", {"n": 0})
    if name not in ("import", "copy"):
        store.append_to_thread("s", SOME)
    clock.advance(0.05)
    made: dict[str, Any] = {}

    def anew() -> None:
        clock.advance(0.05)
        if not other.delete_session("s"):
            return  # the call has given it another id
        clock.advance(0.05)
        other.create_session("s", {"of": "bob"}, user_id="bob")
        if name not in ("import", "copy"):
            other.append_to_thread("s", [Message("user", "bob's"), said("yes"), said("well")])
        made.update(of_bob())
        clock.advance(0.05)

    def of_bob() -> dict[str, Any]:
        return {key: value for key, (_, value, _) in dump(other.client).items() if "{s}" in key}

    def change() -> None:
        other.append_to_thread("s", said("more")) if name == "truncate" else other.set_title(
            "s", "x"
        )
        other.update_session("s", {"n": 2})

    with suppress(MiniAgentError):
        if changes:  # so that the call has to look once more
            with in_front_of(store, 2, change), in_front_of(store, number + 1, anew):
                CALLS[name](store)
        else:
            with in_front_of(store, number, anew):
                CALLS[name](store)
    assert not made or of_bob() == made


def test_a_slow_way_to_a_busy_session_is_no_hindrance(
    store: Store, open_store: OpenStore, clock: ManualClock
) -> None:
    """Others do more than is remembered while each request is on its way."""
    other = open_store()
    store.create_session("s", {"n": 0})
    connections = store.parts.core.connections
    send = connections.exchange

    def exchange(commands: Any, nonce: bytes | None = None) -> list[Any]:
        for _ in range(70):
            other.append_to_thread("s", said("x"))
        clock.advance(0.05)
        return send([at_this_time(request, store) for request in commands], nonce)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "exchange", exchange)
        assert store.update_session("s", {"n": 1})
    assert store.get_session("s") == {"n": 1}
