"""Calls the store and an agent while a timer throws exceptions into its main thread.

Arguments: URL, kind of exception, how many interrupts, seed. It says the figures and ends. Other
threads call too, on names of their own, and nothing may ever happen to them.
"""

from __future__ import annotations

import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from miniagent_redis import SessionAgent
from tests.support.programs.checking import Wrong
from tests.support.programs.interrupted_checks import Caller, Own, say_figures, settings
from tests.support.programs.talking import orders

OTHERS = 3


class Interrupted(BaseException):
    """As KeyboardInterrupt."""


class JobTimeout(Exception):
    """As job runners throw it."""


class LateJob(TimeoutError):
    """As those throw it that think of the builtin one, which is an OSError besides."""


KINDS: dict[str, type[BaseException]] = {
    kind.__name__: kind for kind in (Interrupted, JobTimeout, LateJob)
}
url, kind, interrupts, seed = sys.argv[1], KINDS[sys.argv[2]], int(sys.argv[3]), sys.argv[4]


class Alarm:
    """Throws one exception, if the call takes that long."""

    def __init__(self) -> None:
        self.is_armed = False
        self.rang = 0
        signal.signal(signal.SIGALRM, self._ring)

    def _ring(self, *_: object) -> None:
        if self.is_armed:
            self.is_armed = False
            self.rang += 1
            raise kind("ring")

    def during(self, call: Callable[[], None], delay: float) -> tuple[bool, BaseException | None]:
        """Return whether it rang, and what the call raised."""
        before, raised = self.rang, None
        try:
            try:
                self.is_armed = True
                signal.setitimer(signal.ITIMER_REAL, delay)
                call()
            finally:
                self.is_armed = False
        except BaseException as exc:
            # Without its traceback, which would keep alive what the call had in its hands.
            raised = exc.with_traceback(None)
            raised.__context__ = raised.__cause__ = None
        signal.setitimer(signal.ITIMER_REAL, 0)
        return self.rang > before, raised


def call_on(caller: Caller, stop: threading.Event, failed: list[str]) -> None:
    """Call in a thread of its own, which nothing interrupts: everything must succeed."""
    try:
        while not stop.is_set():
            for call in caller.calls:
                call()
    except BaseException as exc:
        failed.append(repr(exc))


def main() -> None:
    threading.Thread(target=lambda: [*orders()], daemon=True).start()
    sys.setswitchinterval(0.0005)
    dice = random.Random(seed)
    # What an interrupt hits in a __del__ is reported there, and cannot be thrown further.
    sys.unraisablehook = lambda report: None
    alarm, stop, wrong = Alarm(), threading.Event(), list[str]()
    config, redis_config = settings(url)
    own = Own(SessionAgent(config, redis_config=redis_config))
    callers = [Caller(own, f"main-{n}", strict=False) for n in range(4)]
    others = [Caller(own, f"other-{n}", strict=True) for n in range(OTHERS)]
    listening = own.listening("main-0")
    threads = [threading.Thread(target=call_on, args=(caller, stop, wrong)) for caller in others]
    for thread in threads:
        thread.start()
    took: dict[str, float] = {}
    for call in endless(dice, [c for caller in callers for c in caller.calls] + [listening]):
        if alarm.rang >= interrupts or wrong:
            break
        name = call.__name__
        began = time.perf_counter()
        rang, raised = alarm.during(call, dice.random() * took.get(name, 0.001) * 1.1)
        if isinstance(raised, Wrong):
            wrong.append(f"{name}: {raised}")
        elif raised is not None and not rang:
            wrong.append(f"{name}, not interrupted, raised {raised!r}")
        elif not (rang or raised):
            spent = time.perf_counter() - began
            took[name] = 0.9 * took.get(name, spent) + 0.1 * spent
    stop.set()
    for thread in threads:
        thread.join()
    say_figures(own, [*callers, *others], interrupts=alarm.rang, wrong=wrong)


def endless(dice: random.Random, calls: list[Any]) -> Iterator[Any]:
    while True:
        yield dice.choice(calls)


if __name__ == "__main__":
    main()
