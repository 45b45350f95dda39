"""One connection for all who listen to a server: whoever waits in this process shares it.

A thread reads it from the first subscriber to the last. What is heard is handed to the subscribers
of its channel, and all are roused when the connection is lost, when it is there again, and when it
is closed: Redis keeps nothing for who is away. Leaves out what is told on which channel (store/).
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from copy import copy
from functools import partial

from ..errors import MiniAgentError, StoreMisconfigured
from ..runtime.forking import reset_after_fork
from ..runtime.interrupts import Flag, WeakRegistry
from .line import Heard, Line, Source
from .listening_thread import LONGEST_PAUSE, start
from .redirecting import Share
from .subscriptions import Channel, Subscriber, Subscriptions

log: logging.Logger = logging.getLogger("miniagent_redis")
_LOOK_AROUND = 1.0
"""Seconds between looks at who still listens, and whether this is still wanted at all."""
_FIRST_PAUSE = 0.02


class Listening:
    """The subscriptions of one process to one server. Safe for threads, handlers and forks.

    With a ``share``, to a node of a cluster and channels of its slots, which are told of there and
    nowhere else. One whose slot has gone elsewhere is ended; who listens joins there.

    Subscribers are held weakly: one that is dropped is left out. That the server is gone is noticed
    within ``interval`` seconds; it has ``timeout`` seconds at the most to connect and answer. A
    forked child listens to nothing until somebody joins there.
    """

    def __init__(
        self, source: Source, interval: float, timeout: float, share: Share | None = None
    ) -> None:
        self._source, self._share = source, share
        self._timeout = timeout
        # Silence, a question, and a look at most between them and behind them.
        self._silence = interval / 3
        self._patience = min(timeout, interval / 3)
        self._look = min(_LOOK_AROUND, interval / 6)
        self._line: Line | None = None
        self._subscriptions = Subscriptions()
        self._start_anew()

    @reset_after_fork
    def _start_anew(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.close()
        self._lock = threading.RLock()  # over the channels, the thread, and what the line is doing
        self._bells: WeakRegistry[Flag] = WeakRegistry()  # of those who wait for an answer
        for channel in self._subscriptions:
            channel.is_ended = True
        self._subscriptions = Subscriptions()
        self._thread: object | None = None  # stands for the one that may listen
        self._failures = 0
        self._pause = _FIRST_PAUSE
        self._trouble: MiniAgentError | None = None
        self._looked = 0.0  # at which slots are here, as of time.monotonic()

    # --- for those who listen ---------------------------------------------------------------

    def join(self, subscriber: Subscriber, names: Collection[bytes]) -> list[Channel]:
        """Hand the subscriber what is published on these channels, until it leaves or is dropped.

        Returns when Redis has confirmed: whatever is published after that will be heard, but for
        channels that are ended, as their slot is elsewhere. Raises StoreUnavailable or
        StoreMisconfigured; then it listens to none of them.
        """
        bell = Flag()
        with self._lock:
            self._bells.add(bell)
            failures, kept = self._failures, self._line
            wanted = self._subscriptions.add(subscriber, names)
            self._ensure_running()
            self._subscribe(wanted)
        try:
            self._await(bell, failures, lambda: all(one.is_answered for one in wanted), kept)
            if self._share is None and any(channel.is_ended for channel in wanted):
                return self.join(subscriber, names)
            for channel in wanted:
                if channel.refused is not None:
                    raise copy(channel.refused)
            return wanted
        except BaseException:
            for channel in wanted:
                channel.subscribers.discard(subscriber)
            raise

    def leave(self, subscriber: Subscriber, names: Iterable[bytes]) -> None:
        """Hand the subscriber nothing more of these channels. Twice is fine."""
        for name in names:
            if (channel := self._subscriptions.get(name)) is not None:
                channel.subscribers.discard(subscriber)

    def line(self, name: bytes) -> Line | None:
        """Return the connection on which everything on the channel is heard now, if there is one.

        The same one as before means that nothing was missed since.
        """
        channel = self._subscriptions.get(name)
        line = None if channel is None else channel.line
        return line if line is self._line else None

    def trouble(self, name: bytes) -> MiniAgentError | None:
        """Return why nothing is heard of the channel now; None if all is well."""
        if self.line(name) is not None:
            return None
        channel = self._subscriptions.get(name)
        found = (channel and channel.refused) or self._trouble
        # A copy: what is raised holds those through whom it went.
        return copy(found) if found else self._source.unavailable("it is not connected")

    def is_unbroken(self, line: Line) -> bool:
        """Ask over a connection; return whether the same server has been behind it all the time."""
        bell = Flag()
        with self._lock:
            if self._line is not line:
                return False
            self._bells.add(bell)
            failures = self._failures
            number = line.ask()
        with suppress(MiniAgentError):
            self._await(bell, failures, lambda: line.answered >= number)
            return self._line is line
        return False

    def renew(self) -> None:
        """Let go of the connection: a new one may lead to another server, which is wanted."""
        if (line := self._line) is not None:
            line.close()  # the thread meets it, and connects again

    @property
    def count(self) -> int:
        """How many listen, one on several channels counted for each."""
        return sum(len(channel.subscribers) for channel in self._subscriptions)

    def close(self) -> None:
        """Disconnect and rouse all; the thread ends soon after. Whoever joins later is heard."""
        with self._lock:
            ended, self._subscriptions = self._subscriptions, Subscriptions()
            line, self._line = self._line, None
            if line is not None:
                line.close()
        ended.end()
        self._ring()

    def _await(
        self, bell: Flag, failures: int, is_done: Callable[[], bool], kept: Line | None = None
    ) -> None:
        """Block until the listening thread has got what it takes; raise what kept it from that."""
        end = time.monotonic() + self._timeout
        while not is_done():
            # One that was kept may be dead though the server is not: a new one gets half the time.
            limit = end if kept is None else end - self._timeout / 2
            if kept is not None and (self._failures > failures or time.monotonic() >= limit):
                if kept is self._line and kept.is_overdue(self._timeout / 2):
                    self.renew()
                kept, failures = None, failures + 1
            elif self._failures > failures:
                raise copy(self._trouble or self._source.unavailable("it was lost"))
            elif bell.wait(limit - time.monotonic()):
                bell.clear()
            elif kept is None and not is_done():
                raise self._source.unavailable("it did not confirm the subscription")

    def _ensure_running(self) -> None:
        if self._thread is None:
            thread = self._thread = object()
            try:
                start(self, thread)
            except BaseException:
                self._thread = None  # if it has started all the same, it ends
                raise

    def _subscribe(self, channels: Iterable[Channel]) -> None:
        """Ask for what is not confirmed; without a connection the thread does it, once it has."""
        if (line := self._line) is not None:
            line.subscribe([channel.name for channel in channels if channel.line is not line])

    # --- the thread -------------------------------------------------------------------------

    def take_turn(self, thread: object) -> Callable[[], object] | None:
        """Do what the listening thread asks for, as ``Owner`` says."""
        if not self._is_needed(thread):
            return None
        try:
            with self._source.translating():
                if self._line is None:
                    self._connect()
                else:
                    self._work(self._line)
        except MiniAgentError as exc:
            self._fail(exc)
        if (line := self._line) is not None:
            return partial(line.wait, self._look)
        pause, self._pause = self._pause, min(self._pause * 2, LONGEST_PAUSE)
        return partial(time.sleep, pause * random.uniform(0.5, 1.0))

    def _is_needed(self, thread: object) -> bool:
        """Leave what nobody listens to and what is elsewhere; disconnect if nothing is left."""
        share, now = self._share, time.monotonic()
        with self._lock:
            if self._thread is not thread:
                return False
            self._end(lambda channel: not channel.subscribers)
            if share is not None and now - self._looked >= self._look:
                self._looked = now
                self._end(lambda channel: not share.has(channel.name))
            if self._subscriptions:
                return True
            line, self._line, self._thread = self._line, None, None
            if line is not None:
                line.close()
            return False

    def _end(self, is_meant: Callable[[Channel], bool]) -> None:
        with self._lock:
            if ended := self._subscriptions.take(is_meant):
                if self._line is not None:
                    self._line.unsubscribe(channel.name for channel in ended)
                for channel in ended:
                    channel.end()
                self._ring()

    def _connect(self) -> None:
        node = None if self._share is None else self._share.node
        line = Line(self._source.listening_link(node), is_sharded=node is not None)
        with self._lock:
            self._line = line
            self._subscribe(self._subscriptions)

    def _work(self, line: Line) -> None:
        with self._lock:
            if self._line is not line:  # closed meanwhile
                return
            heard = line.read()
            if line.silent_for() >= self._silence and not line.is_awaiting:
                line.ask()
            if line.is_overdue(self._patience):
                raise self._source.unavailable("it does not answer any more")
        for one in heard:
            self._hand_out(line, one)

    def _hand_out(self, line: Line, heard: Heard) -> None:
        channel = self._subscriptions.get(heard.channel)
        if heard.kind == "message":
            for subscriber in channel.subscribers if channel is not None else ():
                subscriber.hear(heard.channel, heard.data)
            return
        if channel is not None and heard.kind == "subscribed":
            channel.line, channel.refused = line, None
            self._trouble, self._pause = None, _FIRST_PAUSE
            channel.rouse()  # what it waits for may just have come
        elif channel is not None and heard.kind == "ended":
            channel.line = None
            with self._lock:
                self._subscribe([channel])  # to be told where its slot is
        elif channel is not None and heard.error is not None:
            if self._share is not None and self._share.note(heard.error):
                return self._end(lambda one: one is channel)
            try:
                with self._source.translating():
                    raise heard.error
            except StoreMisconfigured as exc:  # anything else passes: all is asked for anew
                channel.refused = exc
            channel.rouse()
        self._ring()

    def _fail(self, error: MiniAgentError) -> None:
        with self._lock:
            line, self._line = self._line, None
            for channel in self._subscriptions:
                channel.line = None
            self._trouble = error.with_traceback(None)
            self._failures += 1
            self._looked = 0.0
        if line is not None:
            line.close()
            log.info("the connection of those who listen was lost: %s", error)
            self._subscriptions.rouse()
        self._ring()

    def _ring(self) -> None:
        for bell in self._bells:
            bell.set()
