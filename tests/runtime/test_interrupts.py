"""The pieces for code that may be interrupted at any line: the flag, the registry, weak methods."""

from __future__ import annotations

import gc
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import miniagent_redis
from miniagent_redis.runtime.interrupts import Flag, WeakRegistry, weakly
from tests.support.every_step import hangs, interrupted_everywhere
from tests.support.waiting import LIMIT, until


class Thing:
    """What can be held weakly."""

    def __init__(self, name: str = "") -> None:
        self.name = name


# --- the flag -----------------------------------------------------------------------------------


def test_a_flag_is_what_an_event_is() -> None:
    flag = Flag()
    assert not flag.is_set()
    assert not flag.wait(0.0)
    assert not flag.wait(-1.0)
    flag.set()
    flag.set()
    assert flag.is_set()
    assert flag.wait()
    assert flag.wait(float("inf"))
    flag.clear()
    assert not flag.wait(0.001)


def test_setting_a_flag_wakes_all_who_wait_at_once() -> None:
    flag = Flag()
    woken: list[bool] = []

    def wait(timeout: float | None) -> None:
        woken.append(flag.wait(timeout))

    threads = [
        threading.Thread(target=wait, args=(timeout,), daemon=True)
        for timeout in (None, LIMIT, LIMIT, 1e9)
    ]
    for thread in threads:
        thread.start()
    until(lambda: len(flag._bells) == len(threads))
    began = time.monotonic()
    flag.set()
    for thread in threads:
        thread.join(LIMIT)
    assert woken == [True] * len(threads)
    assert time.monotonic() - began < LIMIT / 2
    assert len(flag._bells) == 0  # nothing is left of those who waited


def test_a_flag_that_was_cleared_meanwhile_can_still_wake() -> None:
    flag = Flag()
    flag.set()
    flag.clear()
    thread = threading.Thread(target=flag.wait, daemon=True)
    thread.start()
    until(lambda: len(flag._bells) == 1)
    flag.clear()
    flag.set()
    thread.join(LIMIT)
    assert not thread.is_alive()


@pytest.mark.parametrize("broken_off", ["set", "wait", "clear", "is_set"])
def test_a_flag_that_was_interrupted_at_any_step_still_works(broken_off: str) -> None:
    flags = [Flag()]
    uses: dict[str, Callable[[], object]] = {
        "set": lambda: flags[-1].set(),
        "wait": lambda: flags[-1].wait(0.0),
        "clear": lambda: flags[-1].clear(),
        "is_set": lambda: flags[-1].is_set(),
    }
    for _ in interrupted_everywhere(uses[broken_off]):
        flag = flags[-1]
        assert not hangs(flag.set, LIMIT)
        assert not hangs(flag.wait, LIMIT)
        assert flag.is_set()
        flags.append(Flag())
    assert len(flags) > 5


def test_a_setting_that_was_broken_off_is_completed_by_the_next() -> None:
    waiting: list[tuple[Flag, threading.Thread]] = []

    def begin() -> Flag:
        flag = Flag()
        thread = threading.Thread(target=flag.wait, daemon=True)
        thread.start()
        until(lambda: len(flag._bells) == 1)
        waiting.append((flag, thread))
        return flag

    begin()
    for _ in interrupted_everywhere(lambda: waiting[-1][0].set()):
        flag, thread = waiting[-1]
        flag.set()
        thread.join(LIMIT)
        assert not thread.is_alive()
        begin()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no such signals here")
def test_a_signal_handler_may_set_the_flag_that_its_thread_waits_for() -> None:
    flag = Flag()
    before = signal.signal(signal.SIGALRM, lambda *_: flag.set())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        assert flag.wait(LIMIT)
    finally:
        signal.signal(signal.SIGALRM, before)


# --- the registry -------------------------------------------------------------------------------


def test_a_registry_keeps_what_somebody_else_holds_in_order() -> None:
    registry: WeakRegistry[Thing] = WeakRegistry()
    things = [Thing(name) for name in "abcd"]
    for place in range(4):
        registry.add(things[place])
        registry.add(things[place])
    assert [thing.name for thing in registry] == ["a", "b", "c", "d"]
    del things[1]
    gc.collect()
    assert [each.name for each in registry] == ["a", "c", "d"]
    registry.discard(things[0])
    registry.discard(things[0])
    assert [each.name for each in registry] == ["c", "d"]
    assert len(registry) == 2


def test_a_registry_may_change_and_lose_members_while_it_is_walked_over() -> None:
    registry: WeakRegistry[Thing] = WeakRegistry()
    things = {name: Thing(name) for name in "abcd"}
    for name in things:
        registry.add(things[name])
    seen = []
    for thing in registry:
        seen.append(thing.name)
        things.pop("b", None)
        registry.discard(things["c"])
        registry.add(things.setdefault("e", Thing("e")))
    assert seen == ["a", "c", "d"]
    assert [each.name for each in registry] == ["a", "d", "e"]


def test_members_of_equal_value_are_told_apart() -> None:
    class Same(Thing):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = None  # type: ignore[assignment]

    registry: WeakRegistry[Same] = WeakRegistry()
    first, second = Same(), Same()
    registry.add(first)
    registry.discard(second)
    assert len(registry) == 1
    registry.add(second)
    assert len(registry) == 2


def add_and_discard(registry: WeakRegistry[Thing], kept: list[Thing]) -> None:
    kept.append(Thing("new"))
    registry.add(kept[-1])
    registry.add(Thing("short-lived"))
    list(registry)
    registry.discard(kept[0])


def test_a_registry_that_was_interrupted_at_any_step_still_works() -> None:
    registry: WeakRegistry[Thing] = WeakRegistry()
    kept: list[Thing] = [Thing()]
    for _ in interrupted_everywhere(lambda: add_and_discard(registry, kept)):
        member = Thing("member")
        registry.add(member)
        assert any(each is member for each in registry)
        registry.discard(member)
        assert not any(each is member for each in registry)
        kept[:] = [Thing()]
        assert len(registry) == 0


# --- weak methods -------------------------------------------------------------------------------


class Heard:
    def __init__(self, heard: list[Any]) -> None:
        self.heard = heard

    def hear(self, what: str, *, loud: bool = False) -> None:
        self.heard.append((what, loud))


def test_a_weak_method_is_called_while_its_object_lives() -> None:
    heard: list[Any] = []
    hearer = Heard(heard)
    callbacks: list[Callable[..., None]] = [weakly(hearer.hear)]
    callbacks[0]("one", loud=True)
    del hearer
    callbacks[0]("two")
    assert heard == [("one", True)]


# --- the first rule -------------------------------------------------------------------------------

NEVER_WAITED_FOR = {"connection/pool.py", "runtime/cancellation.py"}


def test_a_lock_that_somebody_waits_for_is_reentrant() -> None:
    folder = Path(miniagent_redis.__file__).parent
    plain = {
        str(path.relative_to(folder))
        for path in folder.rglob("*.py")
        if "threading.Lock()" in path.read_text("utf-8")
    }
    assert plain == NEVER_WAITED_FOR
