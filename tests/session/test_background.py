"""The background thread: what it does, and that it cannot be killed by a failing job."""

from __future__ import annotations

import os
import threading
from typing import Any

import pytest

from miniagent_redis import AgentConfig, RedisConfig, SessionAgent, SessionManager
from miniagent_redis.clock import ManualClock, SystemClock
from miniagent_redis.maintenance.thread import Background, Job

LIMIT = 20


def test_jobs_run_at_their_times_and_a_failing_one_runs_again() -> None:
    clock = ManualClock()
    ran = threading.Semaphore(0)
    failed = threading.Semaphore(0)

    def fail() -> None:
        failed.release()
        raise RuntimeError("no luck")

    jobs = [Job("often", 1.0, ran.release), Job("broken", 2.0, fail)]
    background = Background(jobs, clock)
    background.start()
    for _ in range(2):
        clock.advance(1.0)
        assert ran.acquire(timeout=LIMIT)
    assert failed.acquire(timeout=LIMIT)
    clock.advance(2.0)
    assert failed.acquire(timeout=LIMIT)
    assert ran.acquire(timeout=LIMIT)
    assert background.stop()
    assert jobs[1].failures >= 1
    assert background.stop()  # twice is fine


def test_the_thread_starts_with_the_agent_and_ends_with_it() -> None:
    before = set(threading.enumerate())
    agent = SessionAgent(redis_config=RedisConfig(url="memory://"))
    assert not set(threading.enumerate()) - before
    agent.initialize()
    assert agent.background.is_running
    agent.shutdown()
    assert not set(threading.enumerate()) - before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_has_a_background_thread_of_its_own() -> None:
    background = Background([Job("nothing", 60, lambda: None)], SystemClock())
    background.start()
    child = os.fork()
    if child == 0:
        os._exit(0 if background.is_running and background.stop() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert background.stop()


def test_uses_are_written_to_the_indexes_in_one_batch(store_url: str) -> None:
    clock = ManualClock()
    with SessionAgent(
        AgentConfig(model=lambda m: "yes"), redis_config=RedisConfig(url=store_url), clock=clock
    ) as agent:
        manager = SessionManager(agent)
        first, second = (manager.create_or_resume_session(user_id="ada") for _ in range(2))
        agent.background.stop()  # so that its jobs run only here
        clock.advance(0.5)
        manager.chat(first, "?")
        key = agent.store.keys.user_sessions("ada")
        client: Any = agent.store.client
        agent.background.run_all()
        assert client.zrevrange(key, 0, -1) == [first.encode(), second.encode()]
        shard = agent.store.keys.deadlines(agent.store.keys.shard(first))
        assert client.zscore(shard, first) == round((clock.time() + 3600) * 1000)


def test_a_running_turn_keeps_its_lease(store_url: str) -> None:
    clock = ManualClock()
    with SessionAgent(redis_config=RedisConfig(url=store_url), clock=clock) as agent:
        manager = SessionManager(agent)
        session_id = manager.create_or_resume_session()
        stream: Any = manager.stream(session_id, "Hello")
        next(stream)
        agent.background.stop()  # so that its jobs run only here
        for _ in range(4):
            clock.advance(20)
            agent.background.run_all()
        assert agent.store.session_state(session_id).open_turn is not None
        reply = agent.store.client.hget(agent.store.keys.metadata(session_id), "lease")
        assert int(reply or 0) == round((clock.time() + 30) * 1000)
        stream.close()
