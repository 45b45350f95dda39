"""What becomes of sessions is told on `session_updates`: who listens knows which there are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from miniagent_redis.config.redis import RedisConfig
from miniagent_redis.errors import SessionExists
from miniagent_redis.models import Message
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.cluster import one_node
from tests.support.proxy import Proxy
from tests.support.servers import RedisServer
from tests.support.words import OpenStore, said

Store = RedisSessionManager


def notes(listener: Store) -> list[dict[str, Any]]:
    """Return what was told since the listener subscribed, by any node.

    What one node publishes comes in its order, behind or before what others do.
    """
    core = listener.parts.core
    connections, channel = core.connections, core.keys.channel("session_updates")
    last = len(nodes := connections.everywhere)
    for node in nodes:
        connections.call_at(node, "PUBLISH", channel, '"that is all"')
    found = []
    for message in listener.get_messages():
        if message["data"] != "that is all":
            found.append(message["data"])
        elif (last := last - 1) == 0:
            break
    return found


def told(listener: Store) -> list[tuple[str, str]]:
    return [(note["session_id"], note["event"]) for note in notes(listener)]


@pytest.fixture
def listener(open_store: OpenStore) -> Store:
    opened = open_store()
    opened.subscribe(["session_updates"])
    return opened


@one_node
def test_the_whole_life_of_a_session_is_told_in_one_shape(
    store: Store, listener: Store, clock: ManualClock
) -> None:
    for session_id in ("a", "b"):
        store.create_session(session_id, {"secret": 1}, user_id="ada", ttl=60)
    store.commit_turn(store.begin_turn("a", "secret"), [said("secret")])
    store.parts.index.flush()
    store.delete_session("a", user_id="ada")
    clock.advance(60)
    assert store.sweep() == 1
    found = notes(listener)
    at = {"last_activity": found[0]["last_activity"]}
    assert found == [
        {"session_id": "a", "event": "session_created", **at},
        {"session_id": "b", "event": "session_created", **at},
        {"session_id": "a", "event": "session_changed", **at},
        {"session_id": "a", "event": "session_ended"},
        {"session_id": "b", "event": "session_expired", "expired_at": found[-1]["expired_at"]},
    ]
    assert at["last_activity"].endswith("+00:00")
    assert "ada" not in json.dumps(found)
    assert "secret" not in json.dumps(found)


def test_what_does_not_happen_is_not_told(store: Store, listener: Store) -> None:
    store.create_session("s", user_id="ada")
    with pytest.raises(SessionExists):
        store.create_session("s")
    assert not store.delete_session("s", user_id="bo")
    assert not store.delete_session("other")
    assert store.delete_session("s")
    assert not store.delete_session("s")
    assert told(listener) == [("s", "session_created"), ("s", "session_ended")]


def test_a_tenants_sessions_are_told_to_the_tenant(
    store: Store, listener: Store, open_store: OpenStore
) -> None:
    other = open_store(namespace="acme")
    other.subscribe(["session_updates"])
    store.tenant("acme").create_session("s")
    assert told(other) == [("s", "session_created")]
    assert told(listener) == []


def test_a_session_is_told_before_the_call_returns_and_costs_no_exchange_more(
    store: Store, listener: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = store.parts.core
    sent: list[object] = []
    call_many, run = core.connections.call_many, core.scripts.run

    def counted_call_many(*args: Any, **options: Any) -> Any:
        sent.append(args)
        return call_many(*args, **options)

    def counted_run(*args: Any, **options: Any) -> Any:
        sent.append(args)
        return run(*args, **options)

    monkeypatch.setattr(core.connections, "call_many", counted_call_many)
    monkeypatch.setattr(core.scripts, "run", counted_run)
    for action, event in (
        (store.create_session, "session_created"),
        (store.delete_session, "session_ended"),
    ):
        sent.clear()
        action("s")  # type: ignore[operator]
        assert len(sent) == 2  # the indexes and the session
        assert told(listener) == [("s", event)]


@pytest.fixture
def watching(redis_url: str) -> Iterator[Store]:
    with Store(RedisConfig(url=redis_url)) as opened:
        opened.subscribe(["session_updates"])
        yield opened


@pytest.mark.parametrize("times", [1, 3])
def test_a_lost_reply_tells_no_creation_and_no_end_twice(
    lossy_store: Store, proxy: Proxy, watching: Store, times: int
) -> None:
    for action, word in (
        (lossy_store.create_session, "session_created"),
        (lossy_store.delete_session, "session_ended"),
    ):
        proxy.lose_replies(times, matching=word)
        assert action("s")  # type: ignore[operator]
        assert proxy.lost == times
    assert told(watching) == [("s", "session_created"), ("s", "session_ended")]


def test_who_may_not_use_that_channel_has_sessions_all_the_same(
    redis_server: RedisServer, redis_url: str
) -> None:
    with closing(redis_server.client()) as admin:
        rights = ("~*", "+@all", "resetchannels", "&events:*")
        admin.execute_command("ACL", "SETUSER", "quiet", "on", "nopass", *rights)
        try:
            url = redis_server.url_of("quiet", "x")
            with Store(RedisConfig(url=url)) as quiet:
                assert quiet.create_session("s")
                assert quiet.delete_session("s")
        finally:
            admin.acl_deluser("quiet")


def test_a_session_made_anew_over_an_expired_one_is_told(
    store: Store, listener: Store, clock: ManualClock
) -> None:
    store.create_session("s", ttl=60)
    clock.advance(60)
    store.create_session("s")
    store.append_to_thread("s", Message("user", "x"))
    assert told(listener) == [("s", "session_created")] * 2
