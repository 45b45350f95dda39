"""A script is not rolled back: what it may be refused is found before it changes anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.exceptions import NoPermissionError, ResponseError

import miniagent_redis
from miniagent_redis.config import RedisConfig
from miniagent_redis.errors import StoreMisconfigured
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.courses import COURSES, REFUSING, prepare, run
from tests.support.foreign import KEYS, KINDS, OWN, put
from tests.support.servers import RedisServer
from tests.support.stored import dump
from tests.support.words import said

Store = RedisSessionManager
LUA = Path(miniagent_redis.__path__[0]) / "lua"
FORBIDDEN = [
    *[("begin", command) for command in ("strlen", "hmget", "llen", "hlen", "rpush")],
    *[("commit", command) for command in ("strlen", "hmget", "lrange", "hlen", "rpush")],
    ("begin with an id of one's own", "hmget"),
]
each_course = pytest.mark.parametrize("course", COURSES)


def everything(client: redis.Redis) -> dict[str, Any]:
    """Return type, value, expiry time and serialized form of every key; a hash has no one form."""
    commands: Any = client
    return {
        key: (kind, *found, kind == "hash" or commands.dump(key))
        for key, (kind, *found) in dump(client).items()
    }


def test_each_script_that_writes_to_a_session_has_its_courses(
    store: Store, clock: ManualClock
) -> None:
    writing = {
        path.stem
        for path in LUA.glob("[a-z]*.lua")
        if "no-writes" not in (text := path.read_text("utf-8")) and "-- include: _open" in text
    }
    covered: set[str] = set()
    for course in COURSES.values():
        store.client.flushdb()
        prepare(store)
        covered.add(course(store, clock)[0])
    assert covered == writing


@each_course
def test_each_course_changes_something(store: Store, clock: ManualClock, course: str) -> None:
    prepare(store)
    call = COURSES[course](store, clock)
    clock.advance(0.001)
    before = everything(store.client)
    assert run(store, clock, call)[0] == b"ok"
    assert everything(store.client) != before


@each_course
@pytest.mark.parametrize("key", KEYS)
def test_a_foreign_type_at_any_key_is_told_before_anything_is_changed(
    store: Store, client: redis.Redis, clock: ManualClock, course: str, key: str
) -> None:
    prepare(store)
    call = COURSES[course](store, clock)
    for kind in set(KINDS) - {OWN[key]}:
        put(client, key, kind)
        before = everything(client)
        assert run(store, clock, call) == [b"wrongtype", key.encode(), kind.encode()]
        assert everything(client) == before


@pytest.mark.parametrize("why", REFUSING)
def test_a_foreign_type_comes_before_any_other_answer(
    store: Store, client: redis.Redis, clock: ManualClock, why: str
) -> None:
    status, course = REFUSING[why]
    prepare(store)
    call = course(store, clock)
    before = everything(client)
    assert run(store, clock, call)[0] == status.encode()
    assert everything(client) == before
    for key in KEYS:
        serialized: Any = client.dump(key)
        put(client, key, "set")
        assert run(store, clock, call) == [b"wrongtype", key.encode(), b"set"]
        client.delete(key)
        if serialized:
            client.restore(key, 0, serialized)


@pytest.fixture
def quiet_url(redis_server: RedisServer) -> Iterator[str]:
    """Yield the URL for a user who may do everything but publish on the session's channel."""
    admin = redis_server.client()
    admin.execute_command(
        "ACL", "SETUSER", "quiet", "on", "nopass", "~*", "+@all", "resetchannels", "&other*"
    )
    yield redis_server.url_of("quiet", "x")
    admin.acl_deluser("quiet")


@each_course
def test_a_channel_that_is_forbidden_is_told_before_anything_is_changed(
    redis_url: str, quiet_url: str, clock: ManualClock, course: str
) -> None:
    with Store(RedisConfig(url=redis_url), clock=clock) as store:
        prepare(store)
        call = COURSES[course](store, clock)
        before = everything(store.client)
        with (
            redis.Redis.from_url(quiet_url) as quiet,
            pytest.raises(NoPermissionError, match=r"events:\{s\}"),
        ):
            run(store, clock, call, quiet)
        assert everything(store.client) == before


def test_a_user_who_may_not_publish_is_told_so(redis_url: str, quiet_url: str) -> None:
    with (
        Store(RedisConfig(url=redis_url)) as store,
        Store(RedisConfig(url=quiet_url, commit_timeout=0.1)) as quiet,
    ):
        prepare(store)
        turn = store.begin_turn("s", "two")
        before = everything(store.client)
        for forbidden in (
            lambda: quiet.begin_turn("s", "x", on_busy="interrupt"),
            lambda: quiet.commit_turn(turn, [said("2")]),
        ):
            with pytest.raises(StoreMisconfigured, match="does not let us in") as caught:
                forbidden()
            assert "may not publish to the channel events:{s}" in caught.value.cause
        assert everything(store.client) == before


def test_a_session_whose_end_may_not_be_told_is_not_ended(
    redis_url: str, quiet_url: str, clock: ManualClock
) -> None:
    with Store(RedisConfig(url=redis_url), clock=clock) as store:
        prepare(store)
        store.client.execute_command("ACL", "SETUSER", "quiet", "&events:*")
        name, (deadline, _, note) = COURSES["expire"](store, clock)
        before = everything(store.client)
        with redis.Redis.from_url(quiet_url) as quiet:
            with pytest.raises(ResponseError, match="channel"):
                run(store, clock, (name, [deadline, "session_updates", note]), quiet)
            assert everything(store.client) == before
            assert run(store, clock, (name, [deadline, "other", note]), quiet) == [b"ok"]
        assert everything(store.client).keys() == before.keys() - set(KEYS)


@pytest.mark.parametrize(("course", "command"), FORBIDDEN)
def test_a_command_that_is_forbidden_is_told_before_anything_is_changed(
    redis_server: RedisServer, redis_url: str, clock: ManualClock, course: str, command: str
) -> None:
    with Store(RedisConfig(url=redis_url), clock=clock) as store:
        prepare(store)
        call = COURSES[course](store, clock)
        before = everything(store.client)
        rights = ("on", "nopass", "~*", "&*", "+@all", f"-{command}")
        store.client.execute_command("ACL", "SETUSER", "hindered", *rights)
        url = redis_server.url_of("hindered", "x")
        with (
            redis.Redis.from_url(url) as hindered,
            pytest.raises(ResponseError, match=r"can't run|permission"),
        ):
            run(store, clock, call, hindered)
        store.client.acl_deluser("hindered")
        assert everything(store.client) == before
