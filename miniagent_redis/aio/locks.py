"""Named locks for asyncio."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Self

from ..runtime.mirroring import Threads, mirrors
from ..store.named_lock import NamedLock as _Lock


class NamedLock:
    """One holder's view of a named lock: for ``async with``, or ``acquire`` and ``release``.

    Given back if the task is cancelled just when it gets it. Not reentrant.
    """

    def __init__(self, threads: Threads, make: Callable[[], _Lock]) -> None:
        self._threads = threads
        self._make = make

    @cached_property
    def sync(self) -> _Lock:
        """The blocking lock underneath. Made in a thread, because it may have to connect."""
        return self._make()

    @property
    def is_lost(self) -> bool:
        """Whether it was taken here and may be someone else's by now. Asks nobody."""
        return self.sync.is_lost

    async def __aenter__(self) -> Self:
        await self._enter()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.release()

    @mirrors(_Lock.__enter__, on="waits", undo=lambda lock, _: lock.release())
    def _enter(self) -> None: ...
    @mirrors(_Lock.acquire, on="waits", undo=lambda lock, got, *_, **__: got and lock.release())
    def acquire(self) -> None: ...
    @mirrors(_Lock.release)
    def release(self) -> None: ...
    @mirrors(_Lock.extend)
    def extend(self) -> None: ...
    @mirrors(_Lock.is_held)
    def is_held(self) -> None: ...
