"""SessionThread for asyncio."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Self

from ..errors import InvalidInput
from ..models import Message, UnreadableRecord
from ..runtime.mirroring import Threads, mirrors
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

    def _stand_before(self, sync: _Thread, threads: Threads) -> None:
        self.sync = sync
        self.session_id: str = sync.session_id
        self.user_id: str | None = sync.user_id
        self._threads = threads

    @property
    def known(self) -> tuple[int | None, int]:
        """The epoch and the number of records that are here; the epoch is None before ``load``."""
        return self.sync.known

    @property
    def end(self) -> tuple[int | None, int, bytes]:
        """The same with the mark of the last record: what ``begin_turn`` wants to know."""
        return self.sync.end

    @property
    def messages(self) -> Sequence[Message]:
        """The messages that are here, oldest first. Do not change the list.

        They are those of the last look at Redis, and what this process has written since. Raises
        InvalidInput if they were not loaded yet, or only those that an agent's small context window
        has room for: a part of the list would look like all of it.
        """
        if self.known[0] is None:
            raise InvalidInput(
                f"the thread of session {self.session_id!r} is not loaded",
                hint="`await thread.load()` first, or use `async for message in thread`",
            )
        return self.sync.messages

    @property
    def newest(self) -> Sequence[Message]:
        """The messages that are here: all, or those that are enough for the agent's next turn."""
        return self.messages if self.end[0] is None else self.sync.newest

    @property
    def unreadable(self) -> Sequence[UnreadableRecord]:
        """Records that could not be decoded, set aside; they stay in Redis where they are."""
        return self.sync.unreadable if self.known[0] is not None else ()

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


class ThreadBefore(SessionThread):
    """The facade of a blocking thread that is there already."""

    def __init__(self, sync: _Thread, threads: Threads) -> None:
        self._stand_before(sync, threads)
