"""Calls in a thread of their own, which whoever waits for them can leave."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from typing import TypeVar

import pytest

from miniagent_redis.runtime.aside import NAME, Aside, Left, cut_when_left, is_left
from miniagent_redis.runtime.interrupts import Flag
from miniagent_redis.runtime.pausing import at_once
from tests.support.waiting import LIMIT, until

R = TypeVar("R")


class GoneError(Exception):
    """Why a test leaves."""


class Caller:
    """Who waits, until told to go."""

    def __init__(self) -> None:
        self.told = Flag()
        self.aside = Aside(self.told.ring, self.check)

    def check(self) -> None:
        if self.told.is_set():
            raise GoneError

    def call(self, work: Callable[[], R]) -> R:
        return at_once(self.aside.call(work))

    def leave(self, last: object = None) -> None:
        self.aside.end(lambda: last)
        until(lambda: not any(thread.name == NAME for thread in threading.enumerate()))


def fail() -> None:
    raise ValueError("no")


def test_all_calls_are_done_in_one_thread_which_ends() -> None:
    caller = Caller()
    threads = {caller.call(threading.get_ident) for _ in range(3)}
    assert len(threads) == 1
    assert threading.get_ident() not in threads
    caller.aside.end(lambda: threads.add(threading.get_ident()))
    assert len(threads) == 1
    caller.leave()


def test_what_a_call_raises_is_raised_and_the_next_one_is_done() -> None:
    caller = Caller()
    with pytest.raises(ValueError, match="no"):
        caller.call(fail)
    assert caller.call(lambda: 1) == 1
    with pytest.raises(ValueError, match="no"):
        caller.aside.end(fail)
    caller.leave()


def test_who_goes_leaves_the_call_and_has_its_connection_cut() -> None:
    caller, began, cut, late = Caller(), threading.Event(), threading.Event(), list[object]()

    def work() -> None:
        cut_when_left(cut.set)
        began.set()
        assert cut.wait(LIMIT)
        late.append(is_left())
        with pytest.raises(Left):
            cut_when_left(cut.set)

    threading.Thread(target=lambda: (began.wait(LIMIT), caller.told.set())).start()
    with pytest.raises(GoneError):
        caller.call(work)
    assert not cut.is_set()
    caller.aside.end(lambda: late.append("the end"))
    until(lambda: late == [True, "the end"])
    caller.leave()


def test_a_connection_that_was_given_back_is_not_cut() -> None:
    caller, began, go, cuts = Caller(), threading.Event(), threading.Event(), list[str]()

    def work() -> None:
        cut_when_left(lambda: cuts.append("mine"))
        cut_when_left(None)
        began.set()
        assert go.wait(LIMIT)

    threading.Thread(target=lambda: (began.wait(LIMIT), caller.told.set())).start()
    with pytest.raises(GoneError):
        caller.call(work)
    caller.aside.end()
    go.set()
    caller.leave()
    assert cuts == []


def test_who_has_gone_already_calls_nothing() -> None:
    caller, called = Caller(), list[int]()
    caller.told.set()
    with pytest.raises(GoneError):
        caller.call(lambda: called.append(1))
    caller.leave()
    assert called == []


def test_the_thread_of_one_that_is_dropped_ends() -> None:
    caller = Caller()
    assert caller.call(lambda: 1) == 1
    del caller
    gc.collect()
    until(lambda: not any(thread.name == NAME for thread in threading.enumerate()))


def test_a_connection_of_no_such_call_is_nobodys_to_cut() -> None:
    cut_when_left(fail)
    assert not is_left()


def test_a_forked_child_leaves_the_thread_to_its_parent() -> None:
    caller = Caller()
    assert caller.call(lambda: 1) == 1
    pid = os.fork()
    if pid == 0:
        caller.aside.end(lambda: os._exit(1))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    caller.leave()


def test_a_child_that_was_forked_in_a_call_ends_with_it() -> None:
    caller = Caller()
    pid = caller.call(os.fork)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
    caller.leave()
