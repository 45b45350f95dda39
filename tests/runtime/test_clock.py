"""The clock that tests move by hand, for whoever waits on it."""

from __future__ import annotations

import threading

from miniagent_redis.runtime.clock import ManualClock, SystemClock
from miniagent_redis.runtime.interrupts import Flag
from tests.support.waiting import LIMIT

FOR_EVER = 1e9


def in_thread(
    clock: ManualClock, flag: Flag, timeout: float | None, heard: list[bool]
) -> threading.Thread:
    thread = threading.Thread(target=lambda: heard.append(clock.wait(flag, timeout)), daemon=True)
    thread.start()
    return thread


def test_a_clock_stands_where_it_is_put() -> None:
    clock = ManualClock(1000.0)
    clock.advance(0.5)
    assert clock.time() == clock.monotonic() == 1000.5
    clock.set(900.0)
    assert clock.time() == 900.0
    assert clock.server_now_ms() == 900_000


def test_whoever_waits_goes_on_when_the_time_has_come() -> None:
    clock, heard = ManualClock(), list[bool]()
    thread = in_thread(clock, Flag(), FOR_EVER, heard)
    while thread.is_alive():  # it may have begun to wait by now, or not
        clock.advance(FOR_EVER)
        thread.join(0.01)
    assert heard == [False]


def test_whoever_waits_goes_on_when_the_flag_is_set() -> None:
    for timeout in (FOR_EVER, None):
        clock, flag, heard = ManualClock(), Flag(), list[bool]()
        thread = in_thread(clock, flag, timeout, heard)
        flag.set()
        thread.join(LIMIT)
        assert heard == [True]


def test_the_system_s_clock_waits_for_a_flag_too() -> None:
    flag = Flag()
    assert not SystemClock().wait(flag, 0.001)
    flag.set()
    assert SystemClock().wait(flag, FOR_EVER)
