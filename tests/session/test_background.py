"""The background thread: what it does, and that it cannot be killed by a failing job."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

import pytest

from miniagent_redis import AgentConfig, RedisConfig, SessionAgent, SessionManager
from miniagent_redis.maintenance.thread import AGAIN, Background, Job
from miniagent_redis.runtime.clock import ManualClock, SystemClock
from tests.support.every_step import hangs, interrupted_everywhere
from tests.support.waiting import until

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


def test_a_job_may_be_added_while_the_thread_runs() -> None:
    clock = ManualClock()
    ran = threading.Semaphore(0)
    background = Background([], clock)
    background.start()
    background.add(Job("late", 1.0, ran.release))
    for _ in range(2):
        assert not ran.acquire(timeout=0.01)
        clock.advance(1.0)
        assert ran.acquire(timeout=LIMIT)
    assert background.stop()


def test_a_job_that_has_more_to_do_is_run_again_after_the_others() -> None:
    clock, order, done = ManualClock(), list[str](), threading.Event()

    def dig() -> object:
        order.append("dig")
        return AGAIN if order.count("dig") < 3 else None

    def renew() -> None:
        order.append("renew")
        clock.advance(1.0)
        if order.count("renew") == 4:
            done.set()

    background = Background([Job("dig", 10.0, dig), Job("renew", 1.0, renew)], clock)
    background.start()
    clock.advance(10.0)
    assert done.wait(LIMIT)
    assert background.stop()
    assert order[:7] == ["dig", "renew", "dig", "renew", "dig", "renew", "renew"]


def test_no_exception_of_a_job_ends_the_thread() -> None:
    clock = ManualClock()
    ran = threading.Semaphore(0)
    faults = iter([SystemExit(1), KeyboardInterrupt(), asyncio.CancelledError(), MemoryError()])

    def fail() -> None:
        ran.release()
        raise next(faults)

    job = Job("broken", 1.0, fail)
    background = Background([job], clock)
    background.start()
    for _ in range(4):
        clock.advance(1.0)
        assert ran.acquire(timeout=LIMIT)
    until(lambda: job.failures == 4)
    assert background.is_running
    assert background.stop()


def test_what_a_job_raises_where_it_is_called_by_hand_passes_if_it_is_no_exception() -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Background([Job("interrupted", 1.0, interrupted)], ManualClock()).run_all()


def test_a_stop_that_was_interrupted_at_any_step_is_completed_by_the_next() -> None:
    made: list[Background] = []

    def begin() -> None:
        made.append(Background([Job("nothing", 60, lambda: None)], SystemClock()))
        made[-1].start()

    begin()
    for _ in interrupted_everywhere(lambda: made[-1].stop(0)):
        background = made[-1]
        assert not hangs(background.stop, LIMIT)
        assert not background.is_running
        begin()
    assert made[-1].stop()


def test_a_background_that_is_dropped_at_work_ends_its_thread() -> None:
    clock, began, go_on = ManualClock(), threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        go_on.wait(LIMIT)

    background = Background([Job("work", 1.0, work)], clock, "dropped at work")
    background.start()
    clock.advance(1.0)
    assert began.wait(LIMIT)
    del background
    go_on.set()
    until(lambda: "dropped at work" not in [thread.name for thread in threading.enumerate()])


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
        key = agent.store.parts.core.keys.user_sessions("ada")
        client: Any = agent.store.client
        agent.background.run_all()
        assert client.zrevrange(key, 0, -1) == [first.encode(), second.encode()]
        shard = agent.store.parts.core.keys.deadlines(agent.store.parts.core.keys.shard(first))
        assert client.zscore(shard, first) == round((clock.time() + 3600) * 1000)


def test_a_running_turn_keeps_its_lease(store_url: str) -> None:
    clock = ManualClock()
    config = AgentConfig(reader_timeout=None)  # nobody reads it on
    with SessionAgent(config, redis_config=RedisConfig(url=store_url), clock=clock) as agent:
        manager = SessionManager(agent)
        session_id = manager.create_or_resume_session()
        stream: Any = manager.stream(session_id, "Hello")
        next(stream)
        agent.background.stop()  # so that its jobs run only here
        for _ in range(4):
            clock.advance(20)
            agent.background.run_all()
        assert agent.store.session_state(session_id).open_turn is not None
        reply = agent.store.client.hget(agent.store.parts.core.keys.metadata(session_id), "lease")
        assert int(reply or 0) == round((clock.time() + 30) * 1000)
        stream.close()


def test_a_sweep_that_met_its_limit_goes_on_at_once(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("miniagent_redis.maintenance.sweeping._MOST_SWEPT", 3)
    clock, ended = ManualClock(), list[str]()
    config = RedisConfig(url=store_url, session_ttl=60)
    with SessionAgent(redis_config=config, clock=clock) as agent:
        agent.on_expire(lambda expired: ended.append(expired.session_id))
        ids = [SessionManager(agent).create_or_resume_session() for _ in range(20)]
        clock.advance(61)  # and no further
        until(lambda: len(ended) == len(ids))
    assert sorted(ended) == sorted(ids)
