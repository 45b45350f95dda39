"""Lengths of time: seconds, a timedelta and text mean the same, wherever one is taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from math import inf, nan
from typing import Any

import pytest
from attrs import fields

from miniagent_redis import AgentConfig, InvalidInput, RateLimit, RedisConfig, RedisSessionManager
from miniagent_redis.runtime.durations import duration_from_outside, seconds, seconds_or_none
from miniagent_redis.tools import ToolRegistry

Store = RedisSessionManager
MINUTE: list[Any] = [60, 60.0, timedelta(minutes=1), "60s", "1m", " 1 M ", "0.5m30s", "60000 ms"]
NO_TIME: list[Any] = ["60", "soon", "", "1y", "-1s", "1.s", "٣s", b"60s", True, [60], nan]

each_minute = pytest.mark.parametrize("minute", MINUTE, ids=repr)
each_mistake = pytest.mark.parametrize("mistake", NO_TIME, ids=repr)


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("500ms", 0.5), ("90s", 90), ("15m", 900), ("12h", 43_200), ("30d", 2_592_000),
        ("2w", 1_209_600), ("1h30m", 5400), ("1d 12h", 129_600), ("0.25 s", 0.25), ("0s", 0),
    ],
)  # fmt: skip
def test_text_says_a_length_of_time(text: str, length: float) -> None:
    assert seconds(text) == length


def test_never_is_none_where_there_need_be_no_end() -> None:
    assert seconds_or_none("never") is seconds_or_none(" Never ") is seconds_or_none(None) is None
    assert seconds_or_none("1m") == 60


@pytest.mark.parametrize(
    ("text", "meant"), [("60", 60.0), (" 1e3 ", 1000.0), ("30d", 2_592_000), ("NEVER", "never")]
)
def test_from_outside_a_number_is_in_seconds(text: str, meant: object) -> None:
    assert duration_from_outside(text) == meant


@pytest.mark.parametrize("text", ["", "soon", "1y", "1:30"])
def test_from_outside_what_is_no_length_of_time_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="no length of time; give seconds"):
        duration_from_outside(text)


TIMES = [one.name for one in fields(RedisConfig) if "float" in str(one.type)]
AGENT_TIMES = (
    "delta_interval", "model_cache_ttl", "model_timeout", "tool_timeout", "reader_timeout",
    "busy_timeout",
)  # fmt: skip
KEPT: dict[str, Callable[[Any], object]] = {
    **{name: lambda given, n=name: getattr(RedisConfig(**{n: given}), n) for name in TIMES},
    **{name: lambda given, n=name: getattr(AgentConfig(**{n: given}), n) for name in AGENT_TIMES},
    "window": lambda given: RateLimit(per="user", requests=1, window=given).window,
    "timeout": lambda given: ToolRegistry().add(inspect_me, timeout=given).timeout,
    "cache_ttl": lambda given: ToolRegistry().add(inspect_me, cache_ttl=given).cache_ttl,
}


def inspect_me(word: str) -> str:
    """Give it back."""
    return word


@each_minute
@pytest.mark.parametrize("name", KEPT)
def test_a_setting_keeps_seconds_however_they_are_given(name: str, minute: Any) -> None:
    assert KEPT[name](minute) == 60


@each_mistake
@pytest.mark.parametrize("name", KEPT)
def test_a_setting_refuses_by_its_name_what_is_no_length_of_time(name: str, mistake: Any) -> None:
    with pytest.raises(InvalidInput, match=name) as caught:
        KEPT[name](mistake)
    assert "'30d'" in caught.value.hint


def test_a_setting_that_is_changed_later_is_read_alike() -> None:
    config = RedisConfig()
    config.session_ttl = "30d"  # type: ignore[assignment]
    assert config.session_ttl == 30 * 86_400


@pytest.mark.parametrize("name", TIMES)
def test_the_environment_says_times_with_their_units(name: str) -> None:
    variable = next(one.metadata["env"] for one in fields(RedisConfig) if one.name == name)
    for given in ("1m", "60", timedelta(minutes=1), 60):
        assert getattr(RedisConfig.from_env({variable: given}), name) == 60
    with pytest.raises(InvalidInput, match=f"{variable}='soon' is not usable: .*give seconds"):
        RedisConfig.from_env({variable: "soon"})


@pytest.fixture
def timed_store(store_url: str) -> Iterator[Store]:
    """Yield a store by the real clock."""
    with Store(RedisConfig(url=store_url)) as opened:
        yield opened


def lifetime(store: Store) -> float:
    state = store.session_state("s")
    assert state.expires_at is not None
    return round(state.expires_at - state.last_activity, 3)


@each_minute
def test_every_call_takes_them(timed_store: Store, minute: Any) -> None:
    store = timed_store
    store.create_session("s", ttl=minute)
    assert lifetime(store) == 60
    store.extend_session_ttl("s", "2h")
    assert lifetime(store) == 7200
    store.extend_session_ttl("s", minute)
    assert lifetime(store) == 60
    store.cache_set("k", 1, minute)
    assert store.cache_get_or_set("other", lambda: 2, minute, timeout=minute, lock_ttl=minute) == 2
    assert 50 < store.client.ttl("cache:other") <= store.client.ttl("cache:k") == 60
    assert store.rate_limit("ada", 1, minute)
    assert not store.check_rate_limit("ada", 1, "1m").allowed
    with store.lock("l", ttl=minute, timeout=minute):
        assert store.client.ttl("lock:{l}") == 60
        assert not store.acquire_lock("l", ttl=minute, timeout="1ms")
    store.abort_turn(store.begin_turn("s", "hi", busy_timeout=minute))
    assert store.resume_turn("s", busy_timeout=minute) is None
    assert len(list(store.watch("s", "", timedelta(0)))) > 0
    store.subscribe(["c"])
    assert list(store.get_messages("1ms")) == []


@each_mistake
def test_every_call_refuses_what_is_no_length_of_time(timed_store: Store, mistake: Any) -> None:
    store = timed_store
    store.create_session("s")
    store.subscribe(["c"])
    for call in (
        lambda: store.create_session("t", ttl=mistake),
        lambda: store.extend_session_ttl("s", mistake),
        lambda: store.cache_set("k", 1, mistake),
        lambda: store.cache_get_or_set("k", int, mistake),
        lambda: store.cache_get_or_set("k", int, timeout=mistake),
        lambda: store.cache_get_or_set("k", int, lock_ttl=mistake),
        lambda: store.rate_limit("ada", 1, mistake),
        lambda: store.lock("l", ttl=mistake),
        lambda: store.lock("l", timeout=mistake),
        lambda: store.lock("l").acquire(mistake),
        lambda: store.begin_turn("s", "hi", busy_timeout=mistake),
        lambda: store.resume_turn("s", busy_timeout=mistake),
        lambda: list(store.watch("s", "", mistake)),
        lambda: list(store.get_messages(mistake)),
    ):
        with pytest.raises(InvalidInput) as caught:
            call()
        assert "'30d'" in caught.value.hint


def test_a_time_without_end_is_none_that_can_be_kept() -> None:
    for name in ("pool_timeout", "socket_timeout", "lease_ttl", "commit_timeout"):
        for endless in ("never", inf):
            with pytest.raises(InvalidInput, match=name):
                RedisConfig(**{name: endless})  # type: ignore[arg-type]
    assert AgentConfig(tool_timeout="never").tool_timeout is None
