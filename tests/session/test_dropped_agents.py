"""An agent that is dropped without shutdown is collected, and takes all that it started with it."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from miniagent_redis import (
    RedisConfig,
    RedisSessionManager,
    SessionAgent,
    SessionManager,
    aio,
)
from miniagent_redis.models import ExpiredSession
from tests.support.waiting import until

# Python says so of a socket that it collects before the connection that would have closed it.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


@pytest.fixture(autouse=True)
def nothing_is_left(store_url: str) -> Iterator[None]:
    """Fail unless the threads and descriptors of before are those of after."""
    gc.collect()
    threads, descriptors = set(threading.enumerate()), open_descriptors()
    yield
    gc.collect()
    until(lambda: not set(threading.enumerate()) - threads)
    assert open_descriptors() <= descriptors


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def is_collected(reference: weakref.ref[SessionAgent]) -> bool:
    gc.collect()
    return reference() is None


def new_agent(url: str) -> SessionAgent:
    return SessionAgent(redis_config=RedisConfig(url=url))


def nothing(agent: SessionAgent) -> None: ...


def initialize(agent: SessionAgent) -> None:
    agent.initialize()


def chat(agent: SessionAgent) -> None:
    manager = SessionManager(agent.initialize())
    session_id = manager.create_or_resume_session(user_id="ada")
    assert manager.chat(session_id, "My name is Ada.")
    assert agent.submit(session_id, "Hello").result(20).text


def listen_and_lock(agent: SessionAgent) -> None:
    store = agent.initialize().store
    store.subscribe(["news"])
    list(store.get_messages(timeout=0.01))
    store.acquire_lock("it", ttl=30)
    assert store.client.ping()


def leave_a_stream(agent: SessionAgent) -> None:
    manager = SessionManager(agent.initialize())
    next(iter(manager.stream(manager.create_or_resume_session(), "Hello")))


def hook_in(agent: SessionAgent) -> None:
    manager = SessionManager(agent.initialize())

    @agent.on_expire
    def look(expired: ExpiredSession) -> None:
        manager.list_sessions()

    agent.background.run_all()


def keep_on_disk(agent: SessionAgent) -> None:
    chat(agent)
    agent.background.run_all()


USES = [nothing, initialize, chat, listen_and_lock, leave_a_stream, hook_in, keep_on_disk]


@pytest.mark.parametrize("use", USES)
def test_an_agent_that_is_dropped_is_collected(
    store_url: str, use: Callable[[SessionAgent], None]
) -> None:
    if store_url.startswith("memory:") and use is leave_a_stream and sys.version_info >= (3, 12):
        # Lupa, in Cython, writes the exception being handled into fakeredis's parser generator,
        # which has not ended: so that exception lives on, with the frames of whom it went through.
        pytest.skip("lupa leaves the exception in which fakeredis was asked where it stays alive")
    agent = new_agent(store_url)
    use(agent)
    reference = weakref.ref(agent)
    del agent
    assert is_collected(reference)


def test_an_agent_with_a_spool_is_collected(store_url: str, tmp_path: Path) -> None:
    config = RedisConfig(url=store_url, spool_dir=str(tmp_path))
    agent = SessionAgent(redis_config=config)
    chat(agent)
    reference = weakref.ref(agent)
    del agent
    assert is_collected(reference)


def test_an_agent_is_collected_though_its_store_is_kept(store_url: str) -> None:
    store = RedisSessionManager(RedisConfig(url=store_url))
    agent = SessionAgent(store=store)
    chat(agent)
    reference = weakref.ref(agent)
    del agent
    assert is_collected(reference)
    assert store.health_check()
    store.disconnect()


def test_one_that_was_shut_down_is_collected_too(store_url: str) -> None:
    with new_agent(store_url) as agent:
        chat(agent)
    reference = weakref.ref(agent)
    del agent
    assert is_collected(reference)


def test_an_asyncio_agent_is_collected(store_url: str) -> None:
    async def use() -> weakref.ref[SessionAgent]:
        agent = aio.SessionAgent(redis_config=RedisConfig(url=store_url))
        manager = aio.SessionManager(await agent.initialize())
        session_id = await manager.create_or_resume_session()
        assert await manager.chat(session_id, "Hello")
        assert [event async for event in manager.stream(session_id, "And?")]
        return weakref.ref(agent.sync)

    reference = asyncio.run(use())
    assert is_collected(reference)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_collects_it_with_the_thread_of_its_own(store_url: str) -> None:
    agent = new_agent(store_url).initialize()
    reference = weakref.ref(agent)
    child = os.fork()
    if child == 0:
        try:
            ran = agent.background.is_running
            del agent
            collected = is_collected(reference)
            until(lambda: len(threading.enumerate()) == 1)
            os._exit(0 if ran and collected else 1)
        except BaseException:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert agent.background.is_running
    agent.shutdown()


def test_the_end_of_its_thread_is_told(store_url: str, caplog: pytest.LogCaptureFixture) -> None:
    def told() -> list[str]:
        return [r.message for r in caplog.records if "dropped without shutdown()" in r.message]

    agent = new_agent(store_url).initialize()
    agent.shutdown()
    del agent
    gc.collect()
    assert not told()
    with caplog.at_level(logging.WARNING):
        agent = new_agent(store_url).initialize()
        del agent
        gc.collect()
        until(told)
