"""fsck: what would stay for ever, or end too soon, gets its deadline or is reported."""

from __future__ import annotations

import shlex

import pytest
import redis

from miniagent_redis import RedisSessionManager
from miniagent_redis.doctor.fsck import check
from miniagent_redis.models import new_id
from miniagent_redis.runtime.clock import ManualClock
from tests.support.findings import METADATA, only, thread
from tests.support.pasting import paste


@pytest.mark.parametrize("key", ["session:{s}", "thread:{s}", METADATA, "ops:{s}", "events:{s}"])
def test_a_key_without_a_ttl_or_with_one_too_short_gets_the_sessions_deadline(
    store: RedisSessionManager, client: redis.Redis, key: str
) -> None:
    right = client.pexpiretime(key)
    client.persist(key)
    found = only(check(store))
    assert (found.kind, found.key, found.problem) == ("expiry", key, "it has no TTL")
    assert only(check(store, repair=True)).repaired
    assert client.pexpiretime(key) == right

    client.expire(key, 100)
    found = only(check(store))
    assert (found.kind, found.key) == ("expiry", key)
    assert found.problem == "it expires before its session does"
    assert only(check(store, repair=True)).repaired
    assert client.pexpiretime(key) == right


def test_what_a_session_left_behind_without_a_ttl_goes_an_hour_later_and_not_at_once(
    store: RedisSessionManager, client: redis.Redis, clock: ManualClock
) -> None:
    client.delete("session:{s}")
    client.persist("thread:{s}")
    clock.advance(7200)
    found = [finding for finding in check(store, repair=True) if finding.kind == "expiry"]
    assert only(found).key == "thread:{s}"
    assert len(thread(store)) == 2
    assert client.pexpiretime("thread:{s}") == round(clock.time() * 1000) + 3_600_000


def test_other_keys_that_would_stay_for_ever_are_reported(
    store: RedisSessionManager, client: redis.Redis
) -> None:
    store.cache_set("weather", "fine")
    assert check(store) == []
    client.persist("cache:weather")
    client.set("lock:{job}", new_id())
    client.hset("usage:{totals}:namespace", "turns", 1)
    found = check(store, repair=True)
    assert sorted((f.key, f.kind, f.repaired) for f in found) == [
        ("cache:weather", "expiry", False),
        ("lock:{job}", "expiry", False),
        ("usage:{totals}:namespace", "expiry", False),
    ]
    for each in found:
        words = each.hint.removeprefix("in this process: ")
        if words != each.hint:  # no shell gets there
            client.execute_command(*shlex.split(words))
        else:
            paste(each.hint, client)
    assert check(store) == []
    lasting = [client.ttl(f.key) for f in sorted(found, key=lambda f: f.key)]
    assert [round(seconds / 3600) for seconds in lasting] == [1, 1, 400 * 24]
