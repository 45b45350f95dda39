"""A reader that asks for no more events keeps its session for a while, and not for ever."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from miniagent_redis import (
    AgentConfig,
    EventType,
    RedisConfig,
    SessionAgent,
    SessionBusy,
    SessionManager,
    TurnSuperseded,
    aio,
)
from miniagent_redis.llm import Finish, ModelEvent, ModelRequest, TextDelta
from miniagent_redis.runtime.clock import ManualClock

LEASE = 30  # seconds, the default
Open = Callable[..., SessionManager]


class Pieces:
    """A model that answers in three pieces."""

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        for piece in ("one ", "two ", "three"):
            yield TextDelta(piece)
        yield Finish()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def open_it(store_url: str, clock: ManualClock) -> Iterator[Open]:
    """Yield what opens an agent whose jobs run only when the test says so."""
    with ExitStack() as stack:

        def open_it(model: Any = None, **settings: Any) -> SessionManager:
            config = AgentConfig(model=model or Pieces(), on_busy="reject", **settings)
            agent = SessionAgent(config, redis_config=RedisConfig(url=store_url), clock=clock)
            stack.enter_context(agent).background.stop()
            return SessionManager(agent)

        yield open_it


def let_pass(manager: SessionManager, clock: ManualClock, seconds: int) -> None:
    for _ in range(seconds // 10):
        clock.advance(10)
        manager.agent.background.run_all()


def lease_left(manager: SessionManager, clock: ManualClock) -> float:
    lease: Any = manager.store.client.hget("metadata:{s}", "lease")
    return float(int(lease) / 1000 - clock.time())


def test_another_may_take_the_turn_over_when_its_reader_has_stalled(
    open_it: Open, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    stalled, other = open_it(reader_timeout=60), open_it()
    stalled.create_or_resume_session(session_id="s")
    stream = stalled.stream("s", "Hello")
    while next(stream).type is not EventType.TEXT_DELTA:
        pass
    let_pass(stalled, clock, 60 + LEASE - 20)
    with pytest.raises(SessionBusy):
        other.chat("s", "Me too")
    let_pass(stalled, clock, 20)
    assert other.chat("s", "Me too") == "one two three"
    said = [message["content"] for message in other.get_history("s")]
    assert said == ["Hello", "one two three", "Me too", "one two three"]
    with pytest.raises(TurnSuperseded):
        next(stream)
    assert said == [message["content"] for message in other.get_history("s")]
    told = [record for record in caplog.records if "asks for no event" in record.message]
    assert [record.levelno for record in told] == [logging.WARNING]


def test_a_reader_that_comes_back_before_others_do_goes_on(
    open_it: Open, clock: ManualClock
) -> None:
    manager = open_it(reader_timeout=60)
    manager.create_or_resume_session(session_id="s")
    stream = manager.stream("s", "Hello")
    next(stream)
    let_pass(manager, clock, 200)
    assert lease_left(manager, clock) < 0
    next(stream)
    assert lease_left(manager, clock) == pytest.approx(LEASE, abs=0.01)
    assert [event.text for event in stream][-1] == "one two three"


def test_a_slow_reader_keeps_its_lease_as_long_as_it_asks(
    open_it: Open, clock: ManualClock
) -> None:
    manager = open_it(reader_timeout=60)
    manager.create_or_resume_session(session_id="s")
    for _ in manager.stream("s", "Hello"):
        let_pass(manager, clock, 50)
        if manager.agent.stats().running_turns:
            assert lease_left(manager, clock) > 0


def test_the_time_in_which_the_agent_works_does_not_count(
    open_it: Open, clock: ManualClock
) -> None:
    def think(messages: list[dict[str, Any]]) -> str:
        let_pass(manager, clock, 300)
        left.append(lease_left(manager, clock))
        return "yes"

    left: list[float] = []
    manager = open_it(think, reader_timeout=60)
    manager.create_or_resume_session(session_id="s")
    assert [event.text for event in manager.stream("s", "Hello")][-1] == "yes"
    assert left == [pytest.approx(LEASE, abs=0.01)]


def test_without_a_limit_a_reader_may_take_for_ever(open_it: Open, clock: ManualClock) -> None:
    manager = open_it(reader_timeout=None)
    manager.create_or_resume_session(session_id="s")
    stream = manager.stream("s", "Hello")
    next(stream)
    let_pass(manager, clock, 1000)
    assert lease_left(manager, clock) > 0
    assert [event.text for event in stream][-1] == "one two three"


def test_a_reader_in_an_event_loop_that_stalls_is_taken_over_too(
    store_url: str, open_it: Open, clock: ManualClock
) -> None:
    async def main() -> None:
        config = AgentConfig(model=Pieces(), reader_timeout=60)
        async with aio.SessionAgent(
            config, redis_config=RedisConfig(url=store_url), clock=clock
        ) as agent:
            agent.sync.background.stop()
            stalled = aio.SessionManager(agent)
            await stalled.create_or_resume_session(session_id="s")
            stream = stalled.stream("s", "Hello")
            await anext(stream)
            await asyncio.to_thread(let_pass, stalled.sync, clock, 60 + LEASE)
            assert await asyncio.to_thread(other.chat, "s", "Me too") == "one two three"
            with pytest.raises(TurnSuperseded):
                await anext(stream)

    other = open_it()
    asyncio.run(main())
