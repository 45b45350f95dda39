"""Streams of a turn's events to browsers: pinged while nothing happens, counted, cleaned up."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from typing import Literal

from ..doors.refusals import TooManyStreams
from ..doors.sse import BEGIN, ENDS, PING, frame
from ..errors import MiniAgentError
from ..models import Event
from ..runtime.clock import Clock
from ..runtime.forking import reset_after_fork
from ..runtime.interrupts import WeakRegistry
from ..runtime.pausing import Pause, Steps

log: logging.Logger = logging.getLogger("miniagent_redis")

OnDisconnect = Literal["continue", "cancel"]
"""What a turn does whose reader goes away: it goes on and is stored, or it is cancelled."""
_RETRY_AFTER = 3.0
"""Seconds; by then some answer that streams now has ended."""


class OpenStreams:
    """The streams of one app that are open in this process, up to a limit. Safe for threads."""

    def __init__(self) -> None:
        self._start_anew()

    @reset_after_fork
    def _start_anew(self) -> None:
        self._lock = threading.RLock()
        self._streams: WeakRegistry[object] = WeakRegistry()
        self._gate = threading.RLock()

    def __len__(self) -> int:
        return len(self._streams)

    def gate(self) -> AbstractContextManager[object]:
        """Return what a stream holds while it reads.

        One event wakes all who wait for it: without this each of them would take a connection, and
        leave none for the requests of others. It is one for all: streams have a connection to read
        by, and that on which the process listens. Four to read by were no faster.
        """
        return self._gate

    def take(self, stream: object, limit: int) -> None:
        """Have it among them until it is closed, or dropped. Raises TooManyStreams."""
        with self._lock:
            if len(self._streams) >= limit:
                raise TooManyStreams(limit, _RETRY_AFTER)
            self._streams.add(stream)

    def leave(self, stream: object) -> None:
        """Have it among them no more."""
        self._streams.discard(stream)


class Stream:
    """One stream: an iterator of frames. Counted from the beginning, before there are events."""

    def __init__(
        self, streams: OpenStreams, limit: int, clock: Clock, ping_interval: float
    ) -> None:
        self._streams = streams
        self._clock = clock
        self._ping_interval = ping_interval
        self.gate: AbstractContextManager[object] = streams.gate()
        """Held while it reads."""
        self._steps: Steps[Event] | None = None
        self._frames: Iterator[bytes] = iter(())
        self._sent_at = clock.monotonic()
        self._if_left: Callable[[], object] | None = None
        self.is_over: bool = False
        """Whether the turn's last event was sent."""
        streams.take(self, limit)

    def begin(self, steps: Steps[Event]) -> Event | Pause | None:
        """Take the first step, so that its errors are raised now; return it, None for the end."""
        self._steps = steps
        first = self._next(steps)
        self._frames = self._framed(first, steps)
        return first

    def cancel_if_left(self, cancel: Callable[[], object]) -> None:
        """Call this when it is closed before the turn is over."""
        self._if_left = cancel

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> bytes:
        try:
            found = next(self._frames)
        except MiniAgentError as exc:  # the status is sent; who comes again gets that of the error
            log.warning("a stream was ended: %s", exc)
            raise StopIteration from None
        self._sent_at = self._clock.monotonic()
        return found

    def close(self) -> None:
        """Stop watching. Twice is fine."""
        self._streams.leave(self)
        steps, self._steps = self._steps, None
        cancel, self._if_left = self._if_left, None
        if steps is not None:
            steps.close()
        if cancel is not None and not self.is_over:
            try:
                cancel()
            except MiniAgentError as exc:
                log.warning("a turn that nobody reads any more could not be cancelled: %s", exc)

    def _framed(
        self, first: Event | Pause | None, steps: Steps[Event]
    ) -> Generator[bytes, None, None]:
        step = first
        yield BEGIN
        while step is not None:
            if isinstance(step, Pause):
                yield from self._waited(step)
            else:
                yield frame(step)
                if step.type in ENDS:
                    step = self._next(steps)
                    if not isinstance(step, Event):  # else it was answered since, and went on
                        self.is_over = True
                        return
                    continue
            step = self._next(steps)

    def _next(self, steps: Steps[Event]) -> Event | Pause | None:
        with self.gate:
            return next(steps, None)

    def _waited(self, pause: Pause) -> Iterator[bytes]:
        """Wait as long as the pause is; yield a ping whenever nothing was sent for too long."""
        clock = self._clock
        end = clock.monotonic() + pause.seconds
        while (now := clock.monotonic()) < end:
            due = self._sent_at + self._ping_interval
            if now >= due:
                yield PING
            elif clock.wait(pause.flag, min(end, due) - now):
                return
