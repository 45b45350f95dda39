"""Threads that are kept for a while, and end when nobody has work for them."""

from __future__ import annotations

import os
import threading
from queue import SimpleQueue

import pytest

from miniagent_redis.runtime import idle_threads
from miniagent_redis.runtime.idle_threads import IdleThreads
from tests.support.waiting import LIMIT, until

NAME = "kept"


def running() -> int:
    return sum(thread.name == NAME for thread in threading.enumerate())


def ident_of(threads: IdleThreads) -> int:
    done: SimpleQueue[int] = SimpleQueue()
    threads.run(lambda: done.put(threading.get_ident()))
    return done.get(timeout=LIMIT)


def test_a_thread_that_is_free_is_taken_again_and_ends_without_work() -> None:
    threads = IdleThreads(NAME)
    first = ident_of(threads)
    until(lambda: threads._free)
    assert ident_of(threads) == first
    until(lambda: not running())
    assert ident_of(threads)
    until(lambda: not running())


def test_work_that_takes_long_holds_up_no_other() -> None:
    threads, go_on = IdleThreads(NAME), threading.Event()
    for _ in range(5):
        threads.run(lambda: go_on.wait(LIMIT))
    assert ident_of(threads)
    go_on.set()
    until(lambda: not running())


def test_work_is_done_however_close_to_the_end_of_a_thread_it_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(idle_threads, "KEPT", 0.002)
    threads, done = IdleThreads(NAME), SimpleQueue[int]()
    for number in range(500):
        threads.run(lambda number=number: done.put(number))  # type: ignore[misc]
        assert done.get(timeout=LIMIT) == number
        threading.Event().wait(0.0019 + number % 5 / 20_000)
    until(lambda: not running())


def test_a_forked_child_has_threads_of_its_own() -> None:
    threads = IdleThreads(NAME)
    ident_of(threads)
    until(lambda: threads._free)
    pid = os.fork()
    if pid == 0:
        os._exit(0 if ident_of(threads) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    until(lambda: not running())
