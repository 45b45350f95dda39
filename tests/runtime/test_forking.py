"""What each forked child calls again: on which objects, in which order, even if one fails."""

from __future__ import annotations

import gc
import logging
import os
import threading
import weakref
from collections.abc import Callable
from typing import ClassVar

import pytest
from attrs import define

from miniagent_redis.runtime import forking
from miniagent_redis.runtime.forking import reset_after_fork, restart_after_fork

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


class Counted:
    """Knows how often it was reset, and notes its name when it is."""

    order: ClassVar[list[str]] = []

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.resets = 0
        self._reset()

    @reset_after_fork
    def _reset(self) -> None:
        self.lock = threading.RLock()
        self.resets += 1
        self.order.append(self.name)


def in_child(check: Callable[[], bool]) -> bool:
    """Fork; return what the check says in the child."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if check() else 1)
        except BaseException:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_forked_child_resets_each_living_object_once() -> None:
    counted = Counted()
    counted._reset()
    assert counted.resets == 2
    assert in_child(lambda: counted.resets == 3)
    assert counted.resets == 2


def test_objects_that_die_while_the_child_resets_keep_no_other_from_it() -> None:
    """The collector may run at any allocation, and so in the midst of the resets."""
    before = gc.get_threshold()
    gc.disable()
    try:
        for _ in range(3000):  # more than the tuples that the interpreter keeps for reuse
            dying = Counted()
            dying.lock = dying  # type: ignore[assignment]  # a circle: only the collector ends it
        counted = Counted()
        gc.set_threshold(gc.get_count()[0] + 100, 1, 1)  # due after 100 more objects: in the child
        gc.enable()
        assert in_child(lambda: counted.resets == 2)
    finally:
        gc.set_threshold(*before)
        gc.enable()


def test_a_child_of_a_child_resets_once_more() -> None:
    counted = Counted()
    assert in_child(lambda: counted.resets == 2 and in_child(lambda: counted.resets == 3))


def test_a_lock_that_another_thread_held_is_free_in_the_child() -> None:
    counted = Counted()
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        with counted.lock:
            held.set()
            over.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        assert in_child(lambda: counted.lock.acquire(blocking=False))
    finally:
        over.set()
        thread.join()


def test_objects_are_reset_in_the_order_in_which_they_were_made() -> None:
    objects = [Counted(name) for name in "abc"]
    objects[1]._reset()
    Counted.order.clear()

    def in_order() -> bool:
        return [name for name in Counted.order if name] == ["a", "b", "c"]

    assert in_child(in_order)


def test_an_object_is_not_kept_alive_and_leaves_nothing_behind() -> None:
    gc.collect()
    before = len(forking._resets)
    counted = Counted()
    reference = weakref.ref(counted)
    assert len(forking._resets) == before + 1
    del counted
    assert reference() is None
    assert len(forking._resets) == before


def test_an_override_is_what_the_child_calls() -> None:
    class Further(Counted):
        def _reset(self) -> None:
            super()._reset()
            self.further = threading.RLock()
            self.order.append("further")

    further = Further("one")
    Counted.order.clear()
    assert in_child(lambda: Counted.order == ["one", "further"] and further.resets == 2)


def test_an_override_may_be_decorated_too() -> None:
    class Further(Counted):
        @reset_after_fork
        def _reset(self) -> None:
            super()._reset()
            self.order.append("further")

    further = Further("one")
    Counted.order.clear()
    assert in_child(lambda: Counted.order == ["one", "further"] and further.resets == 2)


def test_several_methods_of_one_object_are_called() -> None:
    class Twofold(Counted):
        def __init__(self) -> None:
            super().__init__("first")
            self._reset_more()

        @reset_after_fork
        def _reset_more(self) -> None:
            self.order.append("second")

    twofold = Twofold()
    Counted.order.clear()
    assert in_child(lambda: Counted.order == ["first", "second"] and twofold.resets == 2)


def test_an_object_with_slots_works_if_it_can_be_referred_to() -> None:
    @define(eq=False)
    class Slotted:
        resets: int = 0

        def __attrs_post_init__(self) -> None:
            self.reset()

        @reset_after_fork
        def reset(self) -> None:
            self.resets += 1

    slotted = Slotted()
    assert in_child(lambda: slotted.resets == 2)


def test_an_object_whose_first_reset_failed_is_left_alone() -> None:
    class Broken(Counted):
        def _reset(self) -> None:
            raise ValueError("no luck")

    class Late(Counted):
        @reset_after_fork
        def _reset(self) -> None:
            raise ValueError("no luck")

    before = len(forking._resets)
    for kind in (Broken, Late):
        with pytest.raises(ValueError, match="no luck"):
            kind()
    assert len(forking._resets) == before


def test_one_that_fails_is_logged_and_the_others_are_reset(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Failing(Counted):
        def _reset(self) -> None:
            super()._reset()
            if self.resets > 1:
                raise ValueError("no luck")

    failing, after = Failing(), Counted()

    def others_are_reset() -> bool:
        told = [record for record in caplog.records if record.levelno == logging.ERROR]
        return failing.resets == 2 and after.resets == 2 and len(told) == 1

    assert in_child(others_are_reset)


def test_what_is_started_again_is_started_when_all_is_reset() -> None:
    class Started(Counted):
        def __init__(self) -> None:
            self._start()
            super().__init__("reset")

        @restart_after_fork
        def _start(self) -> None:
            self.order.append("started")

    started, after = Started(), Counted("reset later")
    Counted.order.clear()
    assert in_child(lambda: Counted.order == ["reset", "reset later", "started"])
    assert started.resets == after.resets == 1
