"""Channels: what is published after `subscribe` returned is seen, once, by name and as it was."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import pytest
import redis

from miniagent_redis.config.redis import RedisConfig
from miniagent_redis.errors import InvalidInput, StoreUnavailable
from miniagent_redis.models import Message
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.cluster import one_node
from tests.support.servers import RedisServer
from tests.support.waiting import until
from tests.support.words import OpenStore, said

Store = RedisSessionManager
LIMIT = 20.0


def heard(store: Store, count: int) -> list[dict[str, Any]]:
    return list(islice(store.get_messages(), count))


@one_node
def test_a_message_arrives_as_it_was_published(store: Store) -> None:
    store.subscribe(["news"])
    sent = ["text", {"big": 2**70, "s": "\ud800\x00"}, [1, 2.5, None, True], 0, ""]
    for value in sent:
        assert store.publish("news", value) == 1
    got = heard(store, len(sent))
    assert repr([m["data"] for m in got]) == repr(sent)
    assert {m["channel"] for m in got} == {"news"}


def test_nobody_listens(store: Store) -> None:
    assert store.publish("news", 1) == 0


def test_only_what_was_subscribed_to_is_heard(store: Store) -> None:
    store.subscribe(["a", "b"])
    store.publish("c", 1)
    store.publish("b", 2)
    store.publish("a*", 3)
    store.publish("a", 4)
    assert [(m["channel"], m["data"]) for m in heard(store, 2)] == [("b", 2), ("a", 4)]


@one_node
def test_a_channel_named_twice_is_subscribed_to_once(store: Store) -> None:
    store.subscribe(["a", "a"])
    store.subscribe(["a"])
    assert store.publish("a", 1) == 1
    store.publish("a", 2)
    assert [m["data"] for m in heard(store, 2)] == [1, 2]


def test_nothing_is_missed_while_another_channel_is_added(store: Store) -> None:
    store.subscribe(["a"])
    for n in range(20):
        store.publish("a", n)
    store.subscribe(["b"])
    store.publish("b", 20)
    assert [m["data"] for m in heard(store, 21)] == list(range(21))


@pytest.mark.parametrize("name", ["{}*", "a b\n", "\ud800", "é" * 1000, "a:b"])
def test_any_text_names_a_channel(store: Store, name: str) -> None:
    store.subscribe([name])
    store.publish(name, 1)
    assert heard(store, 1) == [{"channel": name, "data": 1}]


def test_channels_of_two_namespaces_are_apart(open_store: OpenStore) -> None:
    acme, other = open_store(namespace="acme"), open_store(namespace="other")
    acme.subscribe(["news"])
    assert other.publish("news", 1) == 0
    acme.publish("news", 2)
    assert heard(acme, 1) == [{"channel": "news", "data": 2}]


def test_what_is_no_json_arrives_as_text(store: Store, client: redis.Redis) -> None:
    store.subscribe(["news"])
    client.publish("news", b"plain text \xff")
    assert heard(store, 1)[0]["data"] == "plain text \ufffd"


@pytest.mark.parametrize("channels", ["news", b"news", [], (), None, 5, {"a": 1}, [""], [5], [[]]])
def test_bad_channels_are_refused(store: Store, channels: Any) -> None:
    with pytest.raises(InvalidInput):
        store.subscribe(channels)


def test_listening_needs_a_subscription(store: Store) -> None:
    with pytest.raises(InvalidInput, match="nothing is subscribed"):
        next(store.get_messages())
    store.subscribe(["a"])
    store.unsubscribe()
    store.unsubscribe()
    with pytest.raises(InvalidInput):
        next(store.get_messages())


def test_listening_ends_when_it_was_quiet_for_the_time_given(
    store: Store, clock: ManualClock
) -> None:
    store.subscribe(["a"])
    store.publish("a", 1)
    messages = store.get_messages(timeout=60)
    assert next(messages)["data"] == 1
    clock.advance(60)
    assert list(messages) == []


@pytest.mark.parametrize("end", ["unsubscribe", "disconnect"])
def test_another_thread_ends_the_listening(store: Store, end: str) -> None:
    store.subscribe(["a"])
    began = threading.Event()

    def listen() -> list[Any]:
        got = []
        for message in store.get_messages():
            got.append(message["data"])
            began.set()
        return got

    with ThreadPoolExecutor() as pool:
        listening = pool.submit(listen)
        store.publish("a", 1)
        assert began.wait(LIMIT)
        getattr(store, end)()
        assert listening.result(LIMIT) == [1]


def test_session_updates_tell_which_session_changed(store: Store) -> None:
    store.subscribe(["session_updates"])
    store.create_session("s", user_id="ada")
    store.commit_turn(store.begin_turn("s", "one"), [said("1")])
    store.append_to_thread("s", Message("user", "x"))
    store.parts.index.flush()
    (note,) = heard(store, 1)
    assert note["channel"] == "session_updates"
    assert note["data"]["session_id"] == "s"
    assert note["data"]["last_activity"].endswith("+00:00")


def test_a_listener_subscribes_anew_after_an_outage_unless_that_takes_too_long() -> None:
    with RedisServer() as server, Store(RedisConfig(url=server.url)) as store:
        store.subscribe(["a"])
        server.kill()
        with pytest.raises(StoreUnavailable):
            next(store.get_messages(timeout=0.1))
        with ThreadPoolExecutor() as pool:
            listening = pool.submit(next, store.get_messages(timeout=LIMIT))
            server.start()
            until(lambda: store.publish("a", 1))
            assert listening.result(LIMIT)["data"] == 1


@pytest.mark.parametrize("namespace", ["", "acme"])
def test_what_is_published_in_one_database_is_not_heard_in_another(
    redis_url: str, namespace: str
) -> None:
    stores = [
        RedisSessionManager(
            RedisConfig(url=redis_url.replace("db=0", f"db={db}"), namespace=namespace)
        )
        for db in (0, 1, 1)
    ]
    zero, one, _ = stores
    for store in stores:
        store.subscribe(["news", "session_updates"])
    zero.publish("news", "of 0")
    one.publish("news", "of 1")
    one.publish("session_updates", {})
    heard = [
        list(islice(store.get_messages(timeout=20), n))
        for store, n in zip(stores, (1, 2, 2), strict=True)
    ]
    of_one = [{"channel": "news", "data": "of 1"}, {"channel": "session_updates", "data": {}}]
    assert heard == [[{"channel": "news", "data": "of 0"}], of_one, of_one]
    for store in stores:
        store.disconnect()
