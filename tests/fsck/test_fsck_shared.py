"""fsck in a database that other programs use: what they keep is not damaged, and stays."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import redis

from miniagent_redis import RedisConfig, RedisSessionManager
from miniagent_redis.doctor.fsck import check
from miniagent_redis.runtime.clock import ManualClock
from tests.support.foreign import KINDS, put
from tests.support.servers import RedisServer

USUAL: dict[str, tuple[str, Any]] = {
    "session:3f0c8a52-6a52-4d65-8a2c-3f0c8a526a52": ("string", pickle.dumps({"user": 1})),  # Flask
    ":1:views.decorators.cache.page": ("string", pickle.dumps("<html>")),  # django-redis
    "celery-task-meta-9f1c": ("string", '{"status": "SUCCESS", "result": null}'),
    "_kombu.binding.celery": ("set", "celery"),
    "celery": ("list", '{"body": "W10=", "headers": {}}'),
    "unacked": ("hash", {"tag": "[]"}),
    "rq:job:9f1c": ("hash", {"data": "x", "status": "queued"}),
    "rq:queue:default": ("list", "9f1c"),
    "rq:workers": ("set", "rq:worker:1"),
    "bull:mail:events": ("stream", {"event": "added", "jobId": "1"}),
    "bull:{mail}:meta": ("hash", {"opts.maxLenEvents": "10000"}),
    "bull:mail:prioritized": ("zset", {"7": 1.7e12}),
    "spring:session:sessions:9f1c": ("hash", {"lastAccessedTime": "1", "maxInactiveInterval": "1"}),
    "spring:session:sessions:expires:9f1c": ("string", ""),
}
LIKE_OURS: dict[str, tuple[str, Any]] = {
    "cache:homepage": ("string", "<html>"),
    "cache:menu": ("hash", {"a": "1"}),
    "session:{tenant1}": ("string", pickle.dumps({"user": 2})),
    "session:{tenant2}": ("hash", {"creationTime": "1"}),
    "thread:{7}": ("list", '{"v":1,"role":"user","content":"of a forum"}'),
    "turn:{game}": ("list", "white"),
    "metadata:{file}": ("hash", {"version": "3", "bytes": "100", "user": "bo", "deadline": "soon"}),
    "ops:{rack}": ("hash", {"1": "restart"}),
    "events:{order}": ("stream", {"type": "paid", "amount": "3"}),
    "user:{42}:sessions": ("zset", {"9f1c": 1.7e9}),
    "user:{43}:sessions": ("set", "9f1c"),
    "rate_limit:{10.0.0.1}:60": ("string", "5"),
    "usage:{tenant1}": ("hash", {"calls": "5"}),
    "lock:{report}": ("string", "worker-7"),
    "lock-signal:{report}": ("list", "done"),
}


def keep(client: redis.Redis, keys: dict[str, tuple[str, Any]]) -> None:
    for key, (kind, value) in keys.items():
        match kind:
            case "string":
                client.set(key, value)
            case "hash":
                client.hset(key, mapping=value)
            case "list":
                client.rpush(key, value)
            case "set":
                client.sadd(key, value)
            case "zset":
                client.zadd(key, value)
            case _:
                client.xadd(key, value)


@pytest.mark.parametrize("keys", [USUAL, LIKE_OURS])
def test_keys_of_other_programs_are_no_fault_and_stay(keys: dict[str, tuple[str, Any]]) -> None:
    with (
        RedisServer() as server,
        RedisSessionManager(RedisConfig(url=server.url)) as store,
    ):
        client = server.client()
        keep(client, keys)
        before = {key: client.dump(key) for key in keys}
        store.create_session("mine", user_id="ada")
        assert check(store, repair=True) == []
        assert {key: client.dump(key) for key in keys} == before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "key", ["session:{x}", "thread:{x}", "turn:{x}", "metadata:{x}", "ops:{x}", "events:{x}",
            "cache:x", "lock:{x}", "rate_limit:{x}:1000", "user:{x}:sessions"],
)  # fmt: skip
def test_a_value_of_any_type_under_a_name_like_ours_is_anothers(
    store: RedisSessionManager, client: redis.Redis, key: str, kind: str
) -> None:
    put(client, key, kind)
    assert check(store, repair=True) == []
    assert client.exists(key)


@pytest.mark.parametrize("gone", [("metadata:{s}",), ("metadata:{s}", "session:{s}"), (
    "metadata:{s}", "session:{s}", "thread:{s}")])  # fmt: skip
def test_what_is_left_of_a_session_is_known_as_ours(
    store: RedisSessionManager, client: redis.Redis, gone: tuple[str, ...]
) -> None:
    client.delete(*gone)
    assert {f.kind for f in check(store)} >= {"leftover"}


def test_an_entry_of_which_nothing_tells_that_it_was_ours_stays(
    store: RedisSessionManager, client: redis.Redis, clock: ManualClock
) -> None:
    client.zadd("user:{bo}:sessions", {"elsewhere": 1, "s": 1})
    clock.advance(61)
    (found,) = check(store, repair=True)
    assert (found.session_id, found.kind) == ("s", "orphan_entry")
    assert client.zrange("user:{bo}:sessions", 0, -1) == [b"elsewhere"]
