"""A server that is away: the first to meet it waits, the others do not, and it comes back alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from miniagent_redis import EventType, RedisConfig, SessionAgent, StoreUnavailable, StreamCallback
from miniagent_redis.connection.availability import Availability
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.store.manager import RedisSessionManager as Store
from tests.support.servers import RedisServer
from tests.support.waiting import until

AT_ONCE = 0.25  # seconds, on a machine that is busy with other things


def refused_after(call: Callable[[], Any]) -> float:
    began = time.monotonic()
    with pytest.raises(StoreUnavailable):
        call()
    return time.monotonic() - began


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as started:
        yield started


def test_a_frozen_server_costs_one_wait_and_not_one_for_each_call(server: RedisServer) -> None:
    with Store(RedisConfig(url=server.url, socket_timeout=0.5)) as store:
        store.create_session("s", {"n": 1})
        server.pause()
        assert 0.4 < refused_after(lambda: store.get_session("s")) < 2.5
        for _ in range(5):
            assert refused_after(lambda: store.get_session("s")) < AT_ONCE
        assert store.health().state == "down"
        server.resume()
        until(lambda: store.health().state != "down")
        assert store.get_session("s") == {"n": 1}


def test_a_server_that_is_gone_is_told_at_once_and_missed_no_longer_than_it_is(
    server: RedisServer,
) -> None:
    with Store(RedisConfig(url=server.url)) as store:
        store.create_session("s")
        server.kill()
        assert refused_after(lambda: store.get_session("s")) < 2.5
        for _ in range(5):
            assert refused_after(lambda: store.list_sessions()) < AT_ONCE
        server.start()
        assert store.create_session("again")  # the very next call, without a pause


def test_the_agent_tells_its_callbacks_when_redis_goes_and_when_it_is_back(
    server: RedisServer,
) -> None:
    callbacks = StreamCallback()
    told: list[str] = []
    callbacks.on(EventType.HEALTH_CHANGED, lambda event: told.append(event.data["state"]))
    with SessionAgent(callbacks=callbacks, redis_config=RedisConfig(url=server.url)) as agent:
        server.kill()
        assert agent.store.health().state == "down"
        assert agent.store.health().state == "down"
        server.start()
        assert agent.store.health().state == "healthy"
    assert told == ["down", "healthy"]


def test_too_many_calls_of_our_own_are_no_outage(server: RedisServer) -> None:
    with Store(RedisConfig(url=server.url, max_connections=1)) as store:
        held = store.parts.core.connections.pool.take()
        assert "in use" in str(_error(lambda: store.get_session("s")))
        assert store.parts.core.connections.availability.current().state == "healthy"
        store.parts.core.connections.pool.give(held, in_order=True)
        assert store.get_session("s") is None


def _error(call: Callable[[], Any]) -> StoreUnavailable:
    with pytest.raises(StoreUnavailable) as caught:
        call()
    return caught.value


def test_a_server_refuses_writes_only_while_it_is_down_for_them() -> None:
    availability, error = Availability("here", ManualClock()), StoreUnavailable("gone")
    assert not availability.refuses_writes
    availability.failed(error, 0.0, refuses_writes=True)
    assert availability.refuses_writes
    availability.answered(wrote=True)
    assert not availability.refuses_writes
    availability.failed(error, 0.0)
    assert not availability.refuses_writes
