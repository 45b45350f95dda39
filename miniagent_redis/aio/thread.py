"""SessionThread for asyncio."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Self

from .._mirror import Threads, mirrors
from ..errors import InvalidInput
from ..models import Message, UnreadableRecord
from ..session import SessionThread as _Thread
from .store import RedisSessionManager


def _messages(thread: _Thread) -> Sequence[Message]:
    return thread.messages


class SessionThread:
    """The messages of one session, kept here and brought up to date by what is new.

    ``load`` or ``refresh`` it first: ``messages``, ``unreadable`` and ``len`` only show what is
    here. ``async for`` loads it if need be. ``sync`` is the blocking object underneath.
    """

    def __init__(
        self, store: RedisSessionManager, session_id: str, *, user_id: str | None = None
    ) -> None:
        self._stand_before(_Thread(store.sync, session_id, user_id=user_id), store._threads)

    def _stand_before(self, sync: _Thread, threads: Threads) -> Self:
        self.sync = sync
        self.session_id = sync.session_id
        self.user_id = sync.user_id
        self._threads = threads
        return self

    @property
    def known(self) -> tuple[int | None, int]:
        """The epoch and the number of records that are here; the epoch is None before ``load``."""
        return self.sync.known

    @property
    def messages(self) -> Sequence[Message]:
        """The messages that are here, oldest first. Do not change the list.

        They are those of the last look at Redis, and what this process has written since. Raises
        InvalidInput if nothing was loaded yet: an empty list would look like an empty session.
        """
        if self.known[0] is None:
            raise InvalidInput(
                f"the thread of session {self.session_id!r} is not loaded",
                hint="`await thread.load()` first, or use `async for message in thread`",
            )
        return self.sync.messages

    @property
    def unreadable(self) -> Sequence[UnreadableRecord]:
        """Records that could not be decoded, set aside; they stay in Redis where they are."""
        return self.sync.unreadable

    def __len__(self) -> int:
        return len(self.messages)

    async def __aiter__(self) -> AsyncIterator[Message]:
        for message in tuple(await self._load()):
            yield message

    async def load(self) -> Self:
        """Load the messages unless they are here already; return the thread."""
        await self._load()
        return self

    async def refresh(self) -> Self:
        """Load what others added since; one round trip for up to 1,000 new messages."""
        await self._refresh()
        return self

    @mirrors(_messages)
    def _load(self) -> None: ...
    @mirrors(_Thread.refresh)
    def _refresh(self) -> None: ...
    @mirrors(_Thread.add_message)
    def add_message(self) -> None: ...
    @mirrors(_Thread.clear)
    def clear(self) -> None: ...
    @mirrors(_Thread.forget)
    def forget(self) -> None: ...
    @mirrors(_Thread.absorb)
    def absorb(self) -> None: ...
    @mirrors(_Thread.committed)
    def committed(self) -> None: ...
