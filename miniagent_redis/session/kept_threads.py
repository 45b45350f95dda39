"""The threads of recent sessions, kept so that a turn only transfers what is new: within a budget.

They are weighed as they grow, by an estimate; what was used longest ago goes first.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

from ..models import Message
from ..runtime.forking import reset_after_fork
from ..runtime.interrupts import weakly
from ..store.manager import RedisSessionManager
from .thread import SessionThread

_THREAD = 2_000  # bytes of a thread without messages
_MESSAGE = 800  # beside its text, measured over threads of a thousand messages
_VALUE = 60  # of a number, or of a text, list or dict beside what is in it


class KeptThread(SessionThread):
    """A thread that tells how much room it takes up, whenever that changes.

    ``counted`` is how much of it is in the sum of those who keep it.
    """

    def __init__(self, kept: KeptThreads, store: RedisSessionManager, session_id: str) -> None:
        self.size: int = 0
        self.counted: int = 0
        self._weigh = weakly(kept.weigh)
        super().__init__(store, session_id)

    def _has_changed(self, new: Iterable[Message], *, anew: bool) -> None:
        self.size = (0 if anew else self.size) + sum(map(_size, new))
        self._weigh(self)

    def lacks(self, turn_id: str, *, is_new: bool = False) -> int:
        """Return up to which version of the session it is known here that it has not the turn.

        0 if that is not known: it may be there. ``is_new`` is whether the id was made just now.
        """
        with self._lock:
            if self._epoch is None or not (is_new or self._is_whole):
                return 0
            if not is_new and any(message.turn_id == turn_id for message in self._messages):
                return 0
            return self._version


class KeptThreads:
    """At most ``most`` bytes of threads, and at least the one that was used last. Thread-safe."""

    def __init__(self, store: RedisSessionManager, most: int) -> None:
        self._store = store
        self._most = most
        self._start_anew()

    @reset_after_fork
    def _start_anew(self) -> None:
        self._threads: OrderedDict[str, KeptThread] = OrderedDict()
        self._size = 0
        self._lock = threading.RLock()  # over both

    def __len__(self) -> int:
        return len(self._threads)

    @property
    def size(self) -> int:
        """How many bytes they take up, by the estimate."""
        return self._size

    def get(self, session_id: str) -> KeptThread:
        """Return the session's thread, the one that is here or a new one."""
        with self._lock:
            thread = self._threads.get(session_id)
            if thread is None:
                thread = self._threads[session_id] = KeptThread(self, self._store, session_id)
                self.weigh(thread)
            else:
                self._threads.move_to_end(session_id)
        return thread

    def forget(self, session_id: str) -> None:
        """Keep the session's thread no longer."""
        with self._lock:
            thread = self._threads.pop(session_id, None)
            if thread is not None:
                self._size -= thread.counted

    def weigh(self, thread: KeptThread) -> None:
        """Count how much room a thread takes up by now; let others go if that is too much."""
        with self._lock:
            if self._threads.get(thread.session_id) is not thread:
                return
            size = _THREAD + thread.size
            self._size += size - thread.counted
            thread.counted = size
            self._threads.move_to_end(thread.session_id)
            while self._size > self._most and len(self._threads) > 1:
                _, oldest = self._threads.popitem(last=False)
                self._size -= oldest.counted


def _size(message: Message) -> int:
    """Estimate the bytes of a message in Python."""
    size = _MESSAGE
    if isinstance(message.content, str):
        size += len(message.content)
    else:
        size += _size_of(message.content)
    for call in message.tool_calls:
        size += _size_of(call.arguments)
    if "blocks" in message.metadata:  # of a provider: reasoning, signatures
        size += _size_of(message.metadata)
    return size


def _size_of(value: Any) -> int:
    if isinstance(value, str):
        return _VALUE + len(value)
    if isinstance(value, dict):
        return _VALUE + sum(map(_size_of, value.values()))
    if isinstance(value, (list, tuple)):
        return _VALUE + sum(map(_size_of, value))
    return _VALUE
