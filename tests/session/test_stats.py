"""``agent.stats()``: what an agent is doing in its process, without asking Redis."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from miniagent_redis import RedisConfig, SessionAgent, SessionManager
from miniagent_redis.llm import Finish, ModelEvent, ModelRequest
from miniagent_redis.maintenance.thread import Job
from miniagent_redis.runtime.clock import ManualClock

Open = Callable[..., SessionManager]
LIMIT = 20.0


class Held:
    """A model that says when it was asked, and answers when it is let."""

    def __init__(self) -> None:
        self.asked, self.may_answer = threading.Event(), threading.Event()

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        self.asked.set()
        assert self.may_answer.wait(LIMIT)
        yield Finish()


def test_turns_are_counted_while_they_run(open_manager: Open) -> None:
    model = Held()
    manager = open_manager(model)
    agent = manager.agent
    session = manager.create_or_resume_session()
    assert (agent.stats().running_turns, agent.stats().submitted_turns) == (0, 0)
    future = agent.submit(session, "Hello")
    assert model.asked.wait(LIMIT)
    stats = agent.stats()
    assert (stats.running_turns, stats.submitted_turns, stats.kept_threads) == (1, 1, 1)
    assert stats.kept_bytes > 0
    model.may_answer.set()
    future.exception(LIMIT)
    agent.shutdown()
    assert (agent.stats().running_turns, agent.stats().submitted_turns) == (0, 0)


def test_it_has_what_the_store_tells(open_manager: Open) -> None:
    agent = open_manager().agent
    agent.store.tenant("acme")
    assert agent.stats().store == agent.store.stats()
    assert agent.stats().spooled_turns is None


def test_jobs_tell_how_they_went() -> None:
    clock = ManualClock()

    def fail() -> None:
        raise ConnectionError("no network")

    agent = SessionAgent(redis_config=RedisConfig(url="memory://"), clock=clock)
    agent.background.jobs[:] = [Job("good", 1.0, int), Job("bad", 2.0, fail)]
    good, bad = agent.stats().jobs
    assert (good.name, good.interval, good.runs, good.ago) == ("good", 1.0, 0, None)
    agent.background.run_all()
    agent.background.run_all()
    clock.advance(3.0)
    good, bad = agent.stats().jobs
    assert (good.runs, good.failures, good.error, good.ago) == (2, 0, "", 3.0)
    assert (bad.runs, bad.failures, bad.error, bad.ago) == (
        *(2, 2),
        *("ConnectionError: no network", 3.0),
    )


def test_it_tells_whether_the_background_thread_runs(open_manager: Open) -> None:
    agent = open_manager().agent
    assert agent.stats().background
    agent.shutdown()
    assert not agent.stats().background


def test_nothing_is_kept_at_first(open_manager: Open) -> None:
    stats = open_manager().agent.stats()
    assert (stats.kept_threads, stats.kept_bytes) == (0, 0)
