"""Expiry with agents: one of them calls the hooks, in a thread that does nothing else."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, cast

import pytest

from miniagent_redis import (
    AgentConfig,
    InvalidInput,
    RedisConfig,
    SessionAgent,
    SessionManager,
    aio,
)
from miniagent_redis.models import ExpiredSession
from miniagent_redis.runtime.clock import ManualClock
from tests.support.waiting import let_time_pass, until

LIMIT = 20


def test_the_background_thread_calls_the_hooks_with_the_conversation(store_url: str) -> None:
    clock = ManualClock()
    seen: list[ExpiredSession] = []
    called = threading.Event()
    with SessionAgent(
        AgentConfig(name="Guide", model=lambda messages: "yes"),
        redis_config=RedisConfig(url=store_url),
        clock=clock,
    ) as agent:

        @agent.on_expire
        def keep(expired: ExpiredSession) -> None:
            seen.append(expired)
            called.set()

        manager = SessionManager(agent)
        session_id = manager.create_or_resume_session(user_id="ada")
        manager.chat(session_id, "really?")
        let_time_pass(clock, 3600, called.is_set)
    (expired,) = seen
    assert (expired.session_id, expired.user_id, expired.agent_name) == (session_id, "ada", "Guide")
    assert [message.text for message in expired.messages] == ["really?", "yes"]


def test_of_two_agents_one_calls_its_hooks(store_url: str) -> None:
    clock = ManualClock()
    calls: list[str] = []
    agents = [
        SessionAgent(redis_config=RedisConfig(url=store_url), clock=clock).initialize()
        for _ in range(2)
    ]
    manager = SessionManager(agents[0])
    ids = {manager.create_or_resume_session() for _ in range(20)}
    for agent in agents:
        agent.background.stop()  # so that its jobs run only here
        agent.on_expire(lambda expired: calls.append(expired.session_id))
    clock.advance(3600)
    for agent in agents:
        agent.background.run_all()
    until(lambda: len(calls) >= len(ids))
    for agent in agents:
        agent.shutdown()
    assert Counter(calls) == Counter(ids)


def test_what_cannot_be_called_is_no_hook() -> None:
    agent: Any = SessionAgent(redis_config=RedisConfig(url="memory://"))
    with pytest.raises(InvalidInput, match="cannot be called"):
        agent.on_expire("x")


def test_an_async_hook_runs_in_the_loop_of_the_program(store_url: str) -> None:
    async def main() -> None:
        clock = ManualClock()
        called = asyncio.Event()
        async with aio.SessionAgent(redis_config=RedisConfig(url=store_url), clock=clock) as agent:

            @agent.on_expire
            async def hook(expired: ExpiredSession) -> None:
                called.set()  # only right in this loop

            await aio.SessionManager(agent).create_or_resume_session()
            await asyncio.to_thread(let_time_pass, clock, 3600, called.is_set)

    asyncio.run(main())


PROGRAM = """
import sys
from miniagent_redis import RedisConfig, RedisSessionManager

with RedisSessionManager(RedisConfig(url=sys.argv[1])) as store:
    print("ready", flush=True)
    sys.stdin.readline()
    while store.sweep([lambda expired: print(expired.session_id, flush=True)]):
        pass
"""


def test_two_processes_call_each_hook_once(redis_url: str) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, redis_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=dict(os.environ),
        )
        for _ in range(2)
    ]
    with SessionAgent(redis_config=RedisConfig(url=redis_url)) as agent:
        agent.background.stop()
        for n in range(200):
            agent.store.create_session(f"s{n}", ttl=0.001)
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        printed = [process.communicate(timeout=LIMIT)[0].split() for process in processes]
        assert Counter(printed[0] + printed[1]) == Counter(f"s{n}" for n in range(200))
        assert agent.store.client.dbsize() == 0


# --- hooks that are slow, or hang -----------------------------------------------------------------


class Hanging:
    """A hook that does not return from the session "bad" until it is let."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.hangs, self.may_return = threading.Event(), threading.Event()

    def __call__(self, expired: ExpiredSession) -> None:
        self.told.append(expired.session_id)
        if expired.session_id == "bad":
            self.hangs.set()
            assert self.may_return.wait(LIMIT)


@pytest.fixture
def hook() -> Iterator[Hanging]:
    hook = Hanging()
    yield hook
    hook.may_return.set()


@pytest.fixture
def open_agent(store_url: str, clock: ManualClock) -> Iterator[Callable[..., SessionAgent]]:
    """Yield what opens an agent with hooks on the store, whose clock stands still."""
    with ExitStack() as stack:

        def open_it(*hooks: Any, **settings: Any) -> SessionAgent:
            config = RedisConfig(url=store_url, session_ttl=100, **settings)
            agent = SessionAgent(redis_config=config, clock=clock)
            for hook in hooks:
                agent.on_expire(hook)
            return stack.enter_context(agent)

        yield open_it


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def hang(agent: SessionAgent, clock: ManualClock, hook: Hanging) -> None:
    """Let the session "bad" expire, and the hook hang in it."""
    agent.store.create_session("bad")
    let_time_pass(clock, 101, hook.hangs.is_set)


def advance_and_run(agent: SessionAgent, name: str, clock: ManualClock, seconds: float) -> None:
    """Move time, and wait until the agent has run a job of its since."""
    job = next(job for job in agent.background.jobs if job.name == name)
    before = job.runs
    clock.advance(seconds)
    until(lambda: job.runs > before)


def test_while_a_hook_hangs_leases_are_renewed_and_indexes_written(
    open_agent: Callable[..., SessionAgent], clock: ManualClock, hook: Hanging
) -> None:
    agent = open_agent(hook)
    hang(agent, clock, hook)
    agent.store.create_session("s", ttl=1000)
    agent.store.create_session("used", ttl=1000)
    stream: Any = agent.stream("s", "Hello")
    next(stream)
    clock.advance(1)
    agent.store.touch_session("used")
    written = clock.time() * 1000 + 1000_000
    keys, client = agent.store.parts.core.keys, cast("Any", agent.store.client)
    for _ in range(4):
        advance_and_run(agent, "renew leases", clock, 10)
    lease = int(client.hget(keys.metadata("s"), "lease"))
    assert lease == round((clock.time() + 30) * 1000)
    deadline = client.zscore(keys.deadlines(keys.shard("used")), "used")
    assert deadline == pytest.approx(written, abs=1)
    assert hook.told == ["bad"]
    stream.close()


def test_a_hook_that_hangs_is_told_in_figures_and_once_in_the_log(
    open_agent: Callable[..., SessionAgent],
    clock: ManualClock,
    hook: Hanging,
    caplog: pytest.LogCaptureFixture,
) -> None:
    agent = open_agent(hook)
    assert agent.stats().store.running_hooks == ()
    hang(agent, clock, hook)
    agent.background.stop()  # so that its jobs run only here
    clock.advance(60)
    for _ in range(3):
        agent.background.run_all()
    (running,) = agent.stats().store.running_hooks
    assert (running.hook.rpartition(".")[2], running.session_id) == ("Hanging", "bad")
    assert running.seconds >= 60
    told = [record.message for record in caplog.records if "has not returned" in record.message]
    assert len(told) == 1
    assert "Hanging" in told[0]
    hook.may_return.set()
    until(lambda: agent.stats().store.running_hooks == ())


def test_another_instance_calls_the_hooks_of_all_sessions_but_the_one_that_hangs(
    open_agent: Callable[..., SessionAgent], clock: ManualClock, hook: Hanging
) -> None:
    first = open_agent(hook)
    hang(first, clock, hook)
    for n in range(5):
        first.store.create_session(f"s{n}")
    other: list[str] = []
    second = open_agent(lambda expired: other.append(expired.session_id))
    for _ in range(60):
        advance_and_run(first, "renew claims", clock, 10)
    until(lambda: len(other) >= 5)
    assert sorted(other) == [f"s{n}" for n in range(5)]
    assert hook.told == ["bad"]
    hook.may_return.set()
    until(lambda: not second.store.parts.expiry.has_due())
    assert hook.told == ["bad"]


def test_a_slow_hook_is_told_once(
    open_agent: Callable[..., SessionAgent], clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    def dawdle(expired: ExpiredSession) -> None:
        clock.advance(1.5)

    agent = open_agent()
    agent.background.stop()
    for n in range(3):
        agent.store.create_session(f"s{n}")
    clock.advance(100)
    while agent.store.sweep([dawdle, lambda expired: None]):
        pass
    told = [record.message for record in caplog.records if "took" in record.message]
    assert len(told) == 1
    assert "dawdle took 1.5 s" in told[0]


# --- the thread of the hooks ----------------------------------------------------------------------


def hook_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "miniagent-redis-hooks"]


def test_the_thread_of_hooks_begins_with_the_first_session_that_is_due_and_ends_with_the_agent(
    open_agent: Callable[..., SessionAgent], clock: ManualClock
) -> None:
    told: list[str] = []
    agent = open_agent(lambda expired: told.append(expired.session_id))
    agent.store.create_session("s")
    sweep = next(job for job in agent.background.jobs if job.name == "sweep")
    let_time_pass(clock, 6, lambda: sweep.runs)
    assert hook_threads() == []
    let_time_pass(clock, 101, lambda: told)
    assert len(hook_threads()) == 1
    assert agent.shutdown()
    assert hook_threads() == []


def test_an_agent_without_hooks_has_no_thread_for_them(
    open_agent: Callable[..., SessionAgent], clock: ManualClock
) -> None:
    agent = open_agent()
    agent.store.create_session("s")
    let_time_pass(clock, 101, lambda: not agent.store.client.exists("metadata:{s}"))
    assert hook_threads() == []


def hang_at_once(agent: SessionAgent, hook: Hanging) -> None:
    """Let the hook hang in its thread; the jobs of the agent run no more."""
    agent.on_expire(hook)
    agent.store.create_session("bad", ttl=0.001)
    until(agent.store.parts.expiry.has_due)
    agent.background.stop()
    agent.background.run_all()
    assert hook.hangs.wait(LIMIT)


def test_shutdown_waits_for_a_hook_no_longer_than_it_may(store_url: str, hook: Hanging) -> None:
    with SessionAgent(redis_config=RedisConfig(url=store_url)) as agent:
        hang_at_once(agent, hook)
        assert not agent.shutdown(0.2)
        hook.may_return.set()
        assert agent.shutdown()
    assert hook_threads() == []


def is_over() -> bool:
    """Whether no hook can be called; what held a dropped agent may let go of it later."""
    gc.collect()
    return not hook_threads()


def test_an_agent_that_is_dropped_while_a_hook_runs_calls_no_other(
    store_url: str, hook: Hanging
) -> None:
    agent = SessionAgent(redis_config=RedisConfig(url=store_url)).initialize()
    hang_at_once(agent, hook)
    del agent
    gc.collect()
    hook.may_return.set()
    until(is_over)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_calls_hooks_in_a_thread_of_its_own(redis_url: str) -> None:
    read, write = os.pipe()
    told: list[str] = []

    def tell(expired: ExpiredSession) -> None:
        if os.getpid() != parent:
            os.write(write, expired.session_id.encode())
        told.append(expired.session_id)  # last, as the child ends when it sees this

    parent = os.getpid()
    with SessionAgent(redis_config=RedisConfig(url=redis_url)) as agent:
        agent.on_expire(tell)
        agent.store.create_session("a", ttl=0.001)
        until(lambda: agent.store.parts.expiry.has_due())
        agent.background.run_all()
        until(lambda: told)
        child = os.fork()
        if child == 0:
            try:
                agent.store.create_session("b", ttl=0.001)
                until(lambda: "b" in told)
            finally:
                os._exit(0 if hook_threads() else 1)
        agent.shutdown()
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert os.read(read, 10) == b"b"


# --- agents without hooks -------------------------------------------------------------------------


def test_an_agent_without_hooks_leaves_sessions_to_one_with_hooks_while_there_is_one(
    open_agent: Callable[..., SessionAgent], clock: ManualClock
) -> None:
    told: list[str] = []
    plain = open_agent()
    hooked = open_agent(lambda expired: told.append(expired.session_id))
    for agent in (plain, hooked):
        agent.background.stop()  # so that its jobs run only here
    hooked.background.run_all()
    plain.store.create_session("s")
    clock.advance(101)
    plain.background.run_all()
    assert plain.store.parts.expiry.has_due()
    hooked.background.run_all()
    until(lambda: told == ["s"])


def test_when_none_with_hooks_has_swept_for_an_hour_one_without_sweeps(
    open_agent: Callable[..., SessionAgent], clock: ManualClock
) -> None:
    hooked, plain = open_agent(lambda expired: None), open_agent()
    for agent in (plain, hooked):
        agent.background.stop()
    hooked.background.run_all()
    client: Any = plain.store.client
    key = plain.store.parts.core.keys.expiry_hooks()
    assert 3590 < client.ttl(key) <= 3600
    plain.store.create_session("s")
    clock.advance(101)
    client.delete(key)  # as the server does when its time is over
    plain.background.run_all()
    assert client.keys("*{s}") == []


def test_tenants_are_announced_each_for_itself(
    open_agent: Callable[..., SessionAgent], clock: ManualClock
) -> None:
    agent = open_agent(lambda expired: None)
    agent.background.stop()
    acme = agent.tenant("acme")
    agent.background.run_all()
    assert acme.store.parts.expiry.is_announced()
    assert not agent.store.tenant("beta").parts.expiry.is_announced()
