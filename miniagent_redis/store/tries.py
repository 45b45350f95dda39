"""When an operation was tried first, by the server's clock: what a repetition tells of itself.

Between the first try of an operation and a repetition others may have done so much that the server
has forgotten it, or have ended the session and made another one of the same id. That one is not
meant, even if no server was there for the first try. Scripts tell the server's time in each answer,
so what is sent later is known to be no older than that.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from attrs import define, evolve, field, frozen

from ..runtime.clock import Clock

_FRESH = 60.0
"""Seconds for which two clocks go alike; servers' clocks are corrected."""
_DRIFT = 1e-4
"""By which part of the time they may differ in these."""
_MOST_LATE = 3
"""After so many late tries it may take as long as it takes: it is a long way."""

_LONG_MS = 2**41
"""What goes on may take as long as it takes, too: it is told to have been sent in 70 years."""
_MOST_UNCERTAIN = 1000


class ServerTime:
    """What the last answer told of the server's time."""

    def __init__(self) -> None:
        self._told: tuple[float, float] | None = None

    def hear(self, time_ms: float, *, at: float) -> None:
        """Note an answer: it was ``time_ms`` there, at the monotonic time ``at`` or before."""
        self._told = time_ms, at

    def before(self, moment: float) -> float | None:
        """Return a time in ms that was over there at a monotonic time; None if nobody knows."""
        if self._told is None:
            return None
        time_ms, at = self._told
        passed = moment - at
        return time_ms + passed * 1000 * (1 - _DRIFT) if 0 <= passed < _FRESH else None


@define
class Tries:
    """The tries of one operation, from the first one on, whether that could be sent or not.

    ``is_lost``: one of them was sent and not answered. ``goes_on``: the last was answered, nothing
    was done as something had to be waited for, and what comes next is meant for the session that
    was there then. ``late``: how many were answered with that they were too long on their way, and
    nothing done.
    """

    is_lost: bool = False
    goes_on: bool = False
    late: int = 0
    _first: float | None = field(default=None, init=False)
    _sent_ms: float | None = field(default=None, init=False)
    _answered_ms: float | None = field(default=None, init=False)

    def hear(self, time_ms: float) -> None:
        """Note that a try was answered, at that time by the server's clock."""
        self._answered_ms = time_ms

    def go_on(self, clock: Clock) -> None:
        """Count from the last answer: no try has done anything until then.

        What comes next is meant for the session that gave it, and by the time it takes to arrive
        there may be another one.
        """
        self.is_lost, self.goes_on, self._first = False, True, clock.monotonic()
        self._sent_ms = self._answered_ms

    def begin(self, time: ServerTime, clock: Clock, ask: Callable[[], float]) -> bytes:
        """Return what the next try tells of itself; ``ask`` gets the server's time in ms."""
        now = clock.monotonic()
        if self._first is None:
            self._first, self._sent_ms = now, time.before(now)
            return b":%.3f:0" % (self._sent_ms or 0)
        is_first = not (self.is_lost or self.goes_on)  # of those that may be done
        if self._sent_ms is None and not is_first:
            time_ms = ask()
            now = clock.monotonic()
            self._sent_ms = time_ms - (now - self._first) * 1000
        sent_ms, age_ms = self._sent_ms or 0, max(1, int((now - self._first) * 1000))
        if self.late >= _MOST_LATE and not self.is_lost:
            sent_ms, age_ms = (0, age_ms) if is_first else (sent_ms, _LONG_MS)
        mark = b"" if is_first else b"~" if self.is_lost else b"="
        return b":%.3f:%d%s" % (sent_ms, age_ms, mark)


@frozen
class Uncertain:
    """The tries of an operation that ended so, and what shows in the thread that it was done.

    Of a turn that was to be stored also by whom, as another ``holder`` may have stored it.
    """

    tries: Tries
    shows: str | None
    holder: str = ""


class Uncertainties:
    """The last of them that this process has met, by their ids."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Uncertain] = OrderedDict()

    def note(self, operation: str, uncertain: Uncertain) -> None:
        known = self._known.get(operation)
        if known is not None and known.holder and not uncertain.holder:  # of that it will be asked
            uncertain = evolve(uncertain, shows=known.shows, holder=known.holder)
        self._known[operation] = uncertain
        if len(self._known) > _MOST_UNCERTAIN:
            self._known.popitem(last=False)

    def ask_for_any(self, turn_id: str) -> None:
        """Have it asked of a turn whether it is stored at all, with whosever answer."""
        if known := self._known.get(turn_id):
            self._known[turn_id] = evolve(known, holder="", shows=turn_id)

    def get(self, operation: str) -> Uncertain | None:
        return self._known.get(operation)
