"""The queue for a busy session: in the order of coming, over all processes, and one try at a time.

Each who waits has a ticket in the session's queue, and whatever ends a turn tells whose it is then:
only that one tries. A ticket ends by itself, so it is renewed: by the first of those who wait for
the session in this process, for all of them. The others only sleep.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from ..errors import MiniAgentError, SessionBusy, StoreUnavailable, TurnUncertain
from ..runtime.cancellation import raise_if_cancelled
from ..runtime.forking import reset_after_fork
from ..runtime.interrupts import Flag, WeakRegistry
from ..runtime.outage import Patience
from ..runtime.pausing import Pause, wait_in_thread
from ..runtime.threads import make_room
from .core import FORGOTTEN, LET_GO, MADE_ANEW, OnSession, StoreCore
from .operations.begin import BeginReply, Begun, Busy, leave_queue
from .wakes import Wakes

RENEWAL: Final = 2.0
"""Seconds between renewals of tickets; one ends after three times that, see lua/_queue.lua."""
_LONGEST_WAIT = 15.0
"""Seconds after which a waiter tries again though nothing was told."""
_LASTING = (FORGOTTEN, LET_GO, MADE_ANEW)
"""Why nobody knows, in words that another try would hear again."""
_END_NO_TURN = frozenset((b"turn_started", b"turn_resumed", b"turn_step", b"text_delta"))


class _Waiter(Wakes):
    """Who waits with a ticket; woken by what is told to its holder, or to all."""

    def __init__(self, core: StoreCore, channel: str, ticket: str) -> None:
        super().__init__(core, channel)
        self.ticket = ticket

    def hear(self, channel: bytes, data: bytes) -> None:
        kind, _, called = data.partition(b" ")
        is_meant = not called or not self.ticket or called == self.ticket.encode()
        if is_meant and kind not in _END_NO_TURN:
            self.flag.set()


class TurnQueue:
    """Those of this process who queue for sessions. Safe for threads, handlers and forks."""

    def __init__(self, core: StoreCore) -> None:
        self._core = core
        self._start_anew()

    @reset_after_fork
    def _start_anew(self) -> None:
        self._lock = threading.RLock()  # over the queues
        self._queues: dict[str, WeakRegistry[_Waiter]] = {}

    def wait(
        self,
        on: OnSession,
        ticket: str,
        seconds: float,
        busy: Busy,
        attempt: Callable[[str], BeginReply],
        *,
        pauses: bool = False,
    ) -> Generator[Pause, None, BeginReply]:
        """Try again, by ``attempt(tickets)``, when it is the ticket's turn; return the reply.

        Without a ticket, whenever a turn may have ended. ``busy`` is what the first try was told.
        Outages are ridden out, as long as the time lasts. It blocks, or with ``pauses`` yields
        them. Raises SessionBusy after so many seconds (at once, if there are none), and what the
        attempts raise.
        """
        if seconds <= 0:
            raise SessionBusy(on.session_id, busy.left_ms / 1000)
        if not pauses:
            make_room()
        waiter = _Waiter(self._core, self._core.keys.events(on.session_id), ticket)
        reply: BeginReply = busy
        try:
            with waiter, self._among_others(on.session_id, waiter):
                reply = yield from self._wait(on.session_id, waiter, seconds, attempt, pauses)
                return reply
        finally:
            if ticket and not isinstance(reply, Begun):
                self.give_up_place(on.session_id, ticket)

    def give_up_place(self, session_id: str, ticket: str) -> None:
        """Let those go on who come behind the ticket. What fails is not raised: it ends anyway."""
        with suppress(MiniAgentError):
            leave_queue(self._core.on(session_id), ticket=ticket)

    def _wait(
        self,
        session_id: str,
        waiter: _Waiter,
        seconds: float,
        attempt: Callable[[str], BeginReply],
        pauses: bool,
    ) -> Generator[Pause, None, BeginReply]:
        clock = self._core.clock
        end = clock.monotonic() + seconds
        patience = Patience(clock, f"waiting for session {session_id!r}", None)
        uncertain: TurnUncertain | None = None
        while True:
            raise_if_cancelled()
            try:
                waiter.get_ready()
                behind = self._behind(session_id, waiter)
                reply = attempt(" ".join([waiter.ticket, *(behind or ())]))
                uncertain = None
                patience.end()
                if not isinstance(reply, Busy):
                    return reply
                left = end - clock.monotonic()
                if left <= 0:
                    raise SessionBusy(session_id, reply.left_ms / 1000, seconds)
                longest = min(left, _LONGEST_WAIT)
                if behind is not None:
                    longest = min(longest, reply.left_ms / 1000, RENEWAL)
                pause = Pause(waiter.flag, waiter.pace(longest))
            except (StoreUnavailable, TurnUncertain) as exc:
                if isinstance(exc, TurnUncertain):
                    if exc.cause in _LASTING:
                        raise
                    uncertain = exc  # until a reply tells
                if clock.monotonic() >= end:
                    raise uncertain or exc from None
                if not pauses:
                    patience.pause(exc)
                    continue
                pause = Pause(Flag(), patience.next_pause(exc))
            if pauses:
                yield pause
            else:
                wait_in_thread(pause, clock)

    @contextmanager
    def _among_others(self, session_id: str, waiter: _Waiter) -> Iterator[None]:
        """Have it among those who wait for the session while the block runs."""
        if not waiter.ticket:
            yield
            return
        with self._lock:
            self._queues.setdefault(session_id, WeakRegistry()).add(waiter)
        try:
            yield
        finally:
            with self._lock:
                queue = self._queues.get(session_id, WeakRegistry[_Waiter]())
                queue.discard(waiter)
                if not queue:
                    self._queues.pop(session_id, None)
            if (first := next(iter(queue), None)) is not None:
                first.flag.set()  # it renews the tickets from here on

    def _behind(self, session_id: str, waiter: _Waiter) -> list[str] | None:
        """Return the tickets behind the first of those who wait here; None for all others."""
        others = list(self._queues.get(session_id, ()))
        if others and waiter.ticket and others[0] is not waiter:
            return None
        return [other.ticket for other in others[1:]] if waiter.ticket else []
