"""Turns that pause in the pool: they go on whatever else the process does."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from concurrent.futures import Future

import pytest

from miniagent_redis.runtime.clock import SystemClock
from miniagent_redis.runtime.interrupts import Flag
from miniagent_redis.runtime.pausing import Pause
from miniagent_redis.runtime.staying_loops import staying_loops
from miniagent_redis.runtime.threads import Pool
from miniagent_redis.session.futures import SubmittedTurns
from tests.support.waiting import LIMIT, until


@pytest.fixture
def turns() -> Iterator[SubmittedTurns]:
    turns = SubmittedTurns(1)
    yield turns
    assert turns.finish(LIMIT)


def pausing(closed: threading.Event, pause: Pause) -> Generator[Pause, None, str]:
    try:
        yield pause
        return "done"
    finally:
        closed.set()


def submit(
    turns: SubmittedTurns, closed: threading.Event, flag: Flag | None = None, seconds: float = 0.01
) -> Future[str]:
    future: Future[str] = Future()
    steps = pausing(closed, Pause(flag or Flag(), seconds))
    turns.run_in_steps(future, steps, SystemClock(), lambda: None)
    return future


def test_one_that_pauses_goes_on_while_an_async_tool_blocks_its_loop(
    turns: SubmittedTurns,
) -> None:
    async def block() -> None:
        go.wait(LIMIT)

    go, closed = threading.Event(), threading.Event()
    blocked = staying_loops.start(block())
    try:
        assert submit(turns, closed).result(LIMIT / 2) == "done"
    finally:
        go.set()
        blocked.future.result(LIMIT)


def test_one_that_cannot_go_on_for_lack_of_a_thread_ends_with_that(
    turns: SubmittedTurns, monkeypatch: pytest.MonkeyPatch
) -> None:
    def submit_once(self: Pool, job: object) -> None:
        monkeypatch.setattr(Pool, "submit", refuse)
        usual(self, job)  # type: ignore[arg-type]

    def refuse(self: Pool, job: object) -> None:
        raise RuntimeError("can't start new thread")

    usual, closed = Pool.submit, threading.Event()
    monkeypatch.setattr(Pool, "submit", submit_once)
    with pytest.raises(RuntimeError, match="new thread"):
        submit(turns, closed).result(LIMIT / 2)
    assert closed.is_set()
    until(lambda: len(turns) == 0)


def test_one_that_goes_on_behind_the_end_leaves_no_thread(turns: SubmittedTurns) -> None:
    before, flag = set(threading.enumerate()), Flag()
    late = submit(turns, threading.Event(), flag, LIMIT)
    until(late.running)
    assert not turns.finish(0)
    flag.set()
    assert late.result(LIMIT) == "done"
    until(lambda: not [one for one in set(threading.enumerate()) - before if "turn" in one.name])
