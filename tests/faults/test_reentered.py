"""Python may call into the library at any line of it: no lock of its own is in the way.

Garbage collection closes a stream that nobody reads any more, which drops its turn; a signal
handler shuts the agent down. Both do it in the thread that happens to run, wherever that is.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from miniagent_redis import AgentConfig, RedisConfig, SessionAgent, SessionManager
from miniagent_redis.errors import MiniAgentError
from tests.support.every_line import Line, lines_of, run_at
from tests.support.fault_report import FaultRun
from tests.support.servers import RedisServer

Call = Callable[[SessionManager, str], object]


@contextmanager
def opened() -> Iterator[SessionManager]:
    with RedisServer() as server:
        config = AgentConfig(model=lambda messages: "yes")
        with SessionAgent(config, redis_config=RedisConfig(url=server.url)) as agent:
            agent.background.stop()
            yield SessionManager(agent)


def chat(manager: SessionManager, session_id: str) -> None:
    manager.agent.store.parts.core.connections.pool.renew()  # so that it makes a new connection
    manager.chat(session_id, "Hello")


def look_around(manager: SessionManager, session_id: str) -> None:
    store = manager.agent.store
    store.list_sessions()
    store.usage()
    store.cache_get("nothing")
    manager.agent.forget(session_id)


def open_anew(manager: SessionManager, session_id: str) -> None:
    manager.agent.store.disconnect()
    manager.agent.store.connect()


def listen(manager: SessionManager, session_id: str) -> None:
    store = manager.agent.store
    store.subscribe(["news"])
    list(store.get_messages(timeout=0.01))
    store.unsubscribe()


def watch(manager: SessionManager, session_id: str) -> None:
    list(manager.watch(session_id, "", timeout=0.01))


def lock(manager: SessionManager, session_id: str) -> None:
    with manager.agent.store.lock("it"):
        manager.agent.store.lock("it").acquire(timeout=0.01)


def abandon_a_stream(manager: SessionManager, session_id: str) -> None:
    """Leave a running turn to the garbage collection."""
    stream = manager.stream(session_id, "Hello")
    next(stream)
    circle: list[Any] = [stream]
    circle.append(circle)


def lines_to_try(faults: FaultRun, call: Callable[[], object]) -> list[Line]:
    lines = lines_of(call)
    return faults.random.sample(lines, min(len(lines), faults.times(30, 10_000)))


@pytest.mark.parametrize("call", [chat, look_around, open_anew])
def test_a_stream_may_be_collected_at_any_line(faults: FaultRun, call: Call) -> None:
    with opened() as manager:
        ids = [manager.create_or_resume_session() for _ in range(2)]
        lines = lines_to_try(faults, lambda: call(manager, ids[0]))
        gc.disable()
        gc.freeze()  # or each search looks through all the modules
        collected = stuck = 0
        try:
            for line in lines:
                abandon_a_stream(manager, ids[1])
                collected += run_at(line, gc.collect, lambda: call(manager, ids[0]))
                gc.collect()  # if it did not come to that line
                stuck += manager.agent.store.session_state(ids[1]).open_turn is not None
        finally:
            gc.unfreeze()
            gc.enable()
    faults.report(lines=len(lines), collected=collected, stuck_turns=stuck)
    assert collected > 0.8 * len(lines)
    assert stuck == 0


@pytest.mark.parametrize("call", [chat, look_around, listen, watch, lock])
def test_an_agent_may_be_shut_down_at_any_line(faults: FaultRun, call: Call) -> None:
    with opened() as manager:
        agent = manager.agent
        session_id = manager.create_or_resume_session()
        lines = lines_to_try(faults, lambda: call(manager, session_id))
        ends: list[bool] = []
        lost = 0
        for line in lines:
            before = len(agent.thread(session_id).refresh())
            returned = False
            with suppress(MiniAgentError):
                run_at(
                    line,
                    lambda: ends.append(agent.shutdown()),
                    lambda: call(manager, session_id),
                )
                returned = call is chat
            agent.initialize()
            agent.background.stop()
            lost += returned and len(agent.thread(session_id).refresh()) != before + 2
    faults.report(lines=len(lines), shut_down=len(ends), lost=lost)
    assert len(ends) > 0.8 * len(lines)
    assert lost == 0
