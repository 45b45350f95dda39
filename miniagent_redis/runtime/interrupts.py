"""The rules by which this library may be interrupted at any line, and what they are kept with.

Python runs other code in front of any line, in the thread that happens to be there. A signal
handler shuts the agent down, or raises as Ctrl-C does. The garbage collection closes a stream that
nobody reads any more, which ends its turn in Redis. What they call takes the same locks, looks
into the same lists and may throw the interrupted line away. Besides them there are other threads,
and forks (see ``forking.py``). Hence four rules for whatever more than one call can reach:

1. A lock is an RLock, or never waited for. With a plain one a thread waits for itself, when a
   handler in front of a line inside the lock calls what takes it too.
2. Nobody waits on an Event, a Condition, a Semaphore or a ``queue.Queue``. They are Python code
   around a plain lock, which stays locked when Ctrl-C comes just as it is entered: so do 12 of the
   67 steps of ``Event.set`` in Python 3.11, and whoever sets it again hangs for good. ``Flag`` and
   ``SimpleQueue``, which is C code, take their place.
3. State changes in one assignment, once all that may fail is done. So nothing is half done between
   two lines, and what a call gives back is taken off first: what is done twice is worse than what
   is left for the collector.
4. What is registered is held weakly and walked over in a copy. An exception between two lines can
   leave something that nobody will ever take out, and a handler may add or remove while we walk.
   ``WeakRegistry`` does both. Whoever must be called later is held ``weakly`` too.

The standard library keeps its own counsel in two places, on purpose: users get a
``concurrent.futures.Future``, because they know it, and threads are ``threading.Thread``, because
they have names. Either may lose one waiting thread to a Ctrl-C in an unlucky microsecond; no lock
of ours is held meanwhile.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Generic, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class WeakRegistry(Generic[T]):
    """Objects in the order in which they came, for as long as somebody else holds them.

    They are known by their identity. Every change is one step of a dictionary, so a fork, another
    thread or a handler finds all of it or nothing. Not a WeakSet: that one notes down that it is
    walked over, and never forgets a walk that was broken off. Nor a WeakValueDictionary: Ctrl-C in
    the Python code that it runs for each member's end is swallowed.
    """

    def __init__(self) -> None:
        self._members: dict[int, weakref.ref[T]] = {}

    def add(self, member: T) -> None:
        """Take it in; one that is there already keeps its place."""
        key = id(member)
        # The dictionary's own method, called with the reference as the default to return.
        forget: Callable[[weakref.ref[T]], object] = partial(self._members.pop, key)
        self._members[key] = weakref.ref(member, forget)

    def discard(self, member: T) -> None:
        """Take it out, if it is there."""
        self._members.pop(id(member), None)

    def __iter__(self) -> Iterator[T]:
        """Walk over those that are members now, as far as they still live."""
        for reference in list(self._members.values()):
            if (member := reference()) is not None:
                yield member

    def __len__(self) -> int:
        return len(self._members)


class Bell(Protocol):
    """What a Flag wakes somebody with, such as a SimpleQueue."""

    def put(self, item: None, /) -> None: ...


class Flag:
    """An Event that no interruption can leave locked. For any number of threads and handlers."""

    def __init__(self) -> None:
        self._is_set = False
        self._bells: WeakRegistry[Bell] = WeakRegistry()  # one for each who waits

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        """Set it and wake all who wait. If that is broken off, the next call does the rest."""
        self._is_set = True
        for bell in self._bells:
            bell.put(None)

    def clear(self) -> None:
        self._is_set = False

    def ring(self, bell: Bell) -> None:
        """Put None to the bell whenever it is set from now on; the bell is held weakly."""
        self._bells.add(bell)

    def wait(self, timeout: float | None = None) -> bool:
        """Block until it is set, or for ``timeout`` seconds; return whether it is set."""
        bell = SimpleQueue[None]()
        self.ring(bell)
        if not self._is_set:  # whoever sets it from here on finds the bell
            if timeout is not None:
                timeout = min(max(0.0, timeout), threading.TIMEOUT_MAX)
            with suppress(Empty):
                bell.get(timeout=timeout)
        return self._is_set


def weakly(method: Callable[P, object]) -> Callable[P, None]:
    """Return a function that calls a bound method for as long as its object lives.

    For lists of callbacks that outlive whoever is in them.
    """
    bound: Any = method
    owner, function = weakref.ref(bound.__self__), bound.__func__

    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        if (found := owner()) is not None:
            function(found, *args, **kwargs)

    return call
