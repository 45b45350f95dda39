"""Items read in a thread of their own, which whoever waits for one can leave."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterator
from queue import SimpleQueue
from types import FrameType

import pytest

from miniagent_redis.runtime.aside import NAME, Aside, Left, cut_when_left, is_left
from miniagent_redis.runtime.inbox import AHEAD
from miniagent_redis.runtime.interrupts import Flag
from miniagent_redis.runtime.pausing import at_once
from tests.support.program import environment
from tests.support.waiting import LIMIT, until


class GoneError(Exception):
    """Why a test leaves."""


class Caller:
    """Who waits for items, until told to go."""

    def __init__(self, items: Generator[int, None, None]) -> None:
        self.told, self.looks = Flag(), 0
        self.aside = Aside(items, self.told.ring, self.check)

    def check(self) -> None:
        self.looks += 1
        if self.told.is_set():
            raise GoneError

    def next(self) -> int | None:
        return at_once(self.aside.next())

    def leave_after(self, began: threading.Event) -> None:
        def leave() -> None:
            began.wait(LIMIT)
            self.told.set()

        threading.Thread(target=leave).start()

    def rest(self) -> list[int]:
        return list(iter(self.next, None))


@pytest.fixture(autouse=True)
def all_threads_end() -> Iterator[None]:
    """See that none is left behind by a test."""
    yield
    until(lambda: not any(thread.name == NAME for thread in threading.enumerate()))


def endless(
    made: list[int], closed: Callable[[], object] = lambda: None
) -> Generator[int, None, None]:
    try:
        while True:
            made.append(len(made))
            yield made[-1]
    finally:
        closed()


def test_all_items_are_made_in_one_thread_and_come_in_order() -> None:
    threads: set[int] = set()

    def items() -> Generator[int, None, None]:
        for number in range(1000):
            threads.add(threading.get_ident())
            yield number

    caller = Caller(items())
    assert caller.rest() == list(range(1000))
    assert caller.next() is None
    assert len(threads) == 1
    assert threading.get_ident() not in threads
    caller.aside.close()


def test_what_the_iterator_raises_comes_behind_the_items_before_it() -> None:
    def items() -> Generator[int, None, None]:
        yield 1
        yield 2
        raise ValueError("no")

    caller = Caller(items())
    assert (caller.next(), caller.next()) == (1, 2)
    with pytest.raises(ValueError, match="no"):
        caller.next()
    assert caller.next() is None
    caller.aside.close()


def test_what_was_raised_is_gone_with_who_heard_it() -> None:
    def items() -> Generator[int, None, None]:
        raise GoneError
        yield 0

    def hear() -> weakref.ref[GoneError]:
        with pytest.raises(GoneError) as caught:
            Caller(items()).next()
        error = weakref.ref(caught.value)
        del caught
        return error

    gc.disable()
    try:
        error = hear()
        until(lambda: error() is None)
    finally:
        gc.enable()


def test_an_item_is_there_before_the_next_one_is_made() -> None:
    taken: SimpleQueue[int | None] = SimpleQueue()

    def items() -> Generator[int, None, None]:
        for number in range(1, 4):
            yield number
            assert taken.get(timeout=LIMIT) == number

    caller = Caller(items())
    while (item := caller.next()) is not None:
        taken.put(item)
    assert taken.empty()


def test_what_is_there_is_taken_without_waiting_and_only_so_much_is_made_ahead() -> None:
    made: list[int] = []
    caller = Caller(endless(made))
    assert caller.next() == 0
    for taken in range(1, 1000):
        until(lambda: caller.aside._ties is not None and caller.aside._ties.wakes_at < 1e9)
        assert len(made) <= taken + AHEAD
        before = caller.looks
        assert caller.next() == taken
        assert caller.looks == before
        if taken == 3 * AHEAD:
            break
    assert len(made) > 3 * AHEAD
    caller.aside.close()


def test_a_thread_that_computes_lets_its_items_be_taken_first() -> None:
    made = 0

    def items() -> Generator[int, None, None]:
        nonlocal made
        for number in range(20):
            end = time.thread_time() + 0.001
            while time.thread_time() < end:
                pass
            made += 1
            yield number

    caller = Caller(items())
    for number in range(20):
        assert caller.next() == number
        assert made <= number + 2
    assert caller.next() is None


def test_who_goes_leaves_the_call_and_has_its_connection_cut() -> None:
    began, cut, late = threading.Event(), threading.Event(), list[object]()

    def items() -> Generator[int, None, None]:
        cut_when_left(cut.set)
        began.set()
        assert cut.wait(LIMIT)
        late.append(is_left())
        with pytest.raises(Left):
            cut_when_left(cut.set)
        try:
            yield 1
        finally:
            late.append("closed")

    caller = Caller(items())
    caller.leave_after(began)
    with pytest.raises(GoneError):
        caller.next()
    assert not cut.is_set()
    caller.aside.close()
    until(lambda: late == [True, "closed"])
    assert caller.next() is None


def test_a_connection_that_was_given_back_is_not_cut() -> None:
    began, go, cuts = threading.Event(), threading.Event(), list[str]()

    def items() -> Generator[int, None, None]:
        cut_when_left(lambda: cuts.append("mine"))
        cut_when_left(None)
        began.set()
        assert go.wait(LIMIT)
        yield 1

    caller = Caller(items())
    caller.leave_after(began)
    with pytest.raises(GoneError):
        caller.next()
    caller.aside.close()
    go.set()
    assert cuts == []


def test_who_goes_between_two_items_has_the_iterator_closed_in_its_thread() -> None:
    threads: list[int] = []
    caller = Caller(endless([], lambda: threads.append(threading.get_ident())))
    assert caller.next() == 0
    caller.aside.close()
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_who_goes_between_two_items_does_not_wait_for_one_that_takes_long() -> None:
    go = threading.Event()

    def items() -> Generator[int, None, None]:
        yield 1
        assert go.wait(LIMIT)

    caller = Caller(items())
    assert caller.next() == 1
    caller.aside.close()
    go.set()


def test_what_the_iterator_raises_when_it_is_closed_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail() -> None:
        raise ValueError("no")

    caller = Caller(endless([], fail))
    assert caller.next() == 0
    with caplog.at_level(logging.WARNING, "miniagent_redis"):
        caller.aside.close()
    assert "failed at its end" in caplog.text
    assert "ValueError: no" in caplog.text


def test_who_has_gone_already_asks_for_nothing() -> None:
    made: list[int] = []
    caller = Caller(endless(made))
    caller.told.set()
    with pytest.raises(GoneError):
        caller.next()
    caller.aside.close()
    assert made == []


def test_the_thread_of_one_that_is_dropped_ends() -> None:
    closed = threading.Event()
    caller = Caller(endless([], closed.set))
    assert caller.next() == 0
    del caller
    gc.collect()
    assert closed.wait(LIMIT)


def test_the_end_of_one_runs_no_code_in_which_what_a_signal_raises_would_be_lost() -> None:
    caller = Caller(endless([]))
    assert caller.next() == 0
    ran: list[str] = []

    def note(frame: FrameType, event: str, value: object) -> None:
        ran.append(frame.f_code.co_name)

    aside = [caller.aside]
    del caller.aside
    before = sys.gettrace()  # who measures what is run
    sys.settrace(note)
    aside.pop()
    sys.settrace(before)
    assert ran == []


def test_a_connection_of_no_such_call_is_nobodys_to_cut() -> None:
    cut_when_left(lambda: pytest.fail("it was cut"))
    assert not is_left()


def test_a_forked_child_leaves_the_thread_to_its_parent() -> None:
    caller = Caller(endless([]))
    assert caller.next() == 0
    pid = os.fork()
    if pid == 0:
        caller.aside.close()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert caller.next() == 1
    caller.aside.close()


@pytest.mark.parametrize("how", ["yields", "raises"])
def test_a_child_that_was_forked_in_a_call_ends_with_it(how: str) -> None:
    def items() -> Generator[int, None, None]:
        pid = os.fork()
        if how == "yields" or pid:
            yield pid
        raise ValueError("in the child")

    caller = Caller(items())
    pid = caller.next()
    assert pid
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
    with pytest.raises(ValueError, match="child"):
        caller.next()


def test_a_child_forked_from_gevent_outlives_the_calls_of_its_parent() -> None:
    pytest.importorskip("gevent")
    program = """if True:
        from gevent import monkey
        monkey.patch_all()
        import os, sys, threading, time
        from miniagent_redis.runtime.aside import Aside
        from miniagent_redis.runtime.interrupts import Flag
        from miniagent_redis.runtime.pausing import at_once

        def wait():
            began.set()
            go.wait()
            over.set()
            yield 1

        began, go, over = threading.Event(), threading.Event(), threading.Event()
        aside = Aside(wait(), Flag().ring, lambda: None)
        threading.Thread(target=lambda: at_once(aside.next()), daemon=True).start()
        began.wait()
        pid = os.fork()
        go.set()
        over.wait()
        time.sleep(0.01)  # the greenlet goes on meanwhile
        if pid == 0:
            os._exit(7)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    """
    done = subprocess.run([sys.executable, "-c", program], env=environment(), timeout=LIMIT)
    assert done.returncode == 7
