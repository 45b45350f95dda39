"""SessionThread: a session's messages, loaded when first looked at, saved as they are added."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

from ..forking import anew_in_child
from ..models import Message, OpenTurn, Role, ThreadSlice, UnreadableRecord
from ..store.manager import RedisSessionManager


class SessionThread:
    """The messages of one session, kept here and brought up to date by what is new.

    Safe for threads. Reading costs Redis a round trip the first time and at each ``refresh``,
    which transfers only messages that are not here yet.
    """

    def __init__(
        self, store: RedisSessionManager, session_id: str, *, user_id: str | None = None
    ) -> None:
        self.session_id = session_id
        self.user_id = user_id
        self._store = store
        self._start_anew()
        anew_in_child(self._start_anew)

    def _start_anew(self) -> None:
        self._lock = threading.RLock()  # over what follows, held while it is loaded
        self._epoch: int | None = None
        self._version = 0
        self._count = 0
        self._messages: list[Message] = []
        self._unreadable: list[UnreadableRecord] = []

    @property
    def known(self) -> tuple[int | None, int]:
        """The epoch and the number of records that are here: what ``begin_turn`` wants to know."""
        with self._lock:
            return self._epoch, self._count

    @property
    def messages(self) -> Sequence[Message]:
        """The messages, oldest first, as of the last look at Redis. Do not change the list."""
        with self._lock:
            if self._epoch is None:
                self.refresh()
            return self._messages

    @property
    def unreadable(self) -> Sequence[UnreadableRecord]:
        """Records that could not be decoded, set aside; they stay in Redis where they are."""
        with self._lock:
            return self._unreadable

    def __len__(self) -> int:
        return len(self.messages)

    def __iter__(self) -> Iterator[Message]:
        return iter(tuple(self.messages))

    def refresh(self) -> SessionThread:
        """Load what others added since; one round trip for up to 1,000 new messages."""
        with self._lock:
            epoch, count = self.known
            self.absorb(
                self._store.load_thread(
                    self.session_id, epoch=epoch, start=count, user_id=self.user_id
                )
            )
        return self

    def add_message(self, role: Role, content: str | list[dict[str, Any]]) -> Message:
        """Append a message and save it at once, in one round trip; return it as stored.

        For system and user notes, and answers that came from elsewhere. Raises SessionNotFound,
        SessionTooLarge, InvalidInput.
        """
        message = Message(role, content, created_at=self._store.clock.time())
        version = self._store.append_to_thread(self.session_id, message, user_id=self.user_id)
        self._follow(version, [message])
        return message

    def clear(self) -> int:
        """Remove all messages, in Redis too; return how many there were."""
        removed = self._store.clear_thread(self.session_id, user_id=self.user_id)
        self.forget()
        return removed

    def forget(self) -> None:
        """Drop what is kept here; it is loaded again when needed."""
        with self._lock:
            self._epoch, self._version, self._count = None, 0, 0
            self._messages, self._unreadable = [], []

    def absorb(self, found: ThreadSlice) -> None:
        """Take over a slice that begins where this thread ends, or a whole new one."""
        with self._lock:
            if found.epoch != self._epoch or found.start == 0:
                # New lists: readers may hold the old ones.
                self._messages, self._unreadable = [], []
            elif found.start > self._count:
                return self.forget()
            elif found.start < self._count:
                return None  # another thread of this process was faster with the same news
            count = found.count
            # Without a call in between, after which a Ctrl-C might come.
            self._messages += found.messages
            self._unreadable += found.unreadable
            self._epoch, self._version, self._count = found.epoch, found.version, count

    def committed(self, turn: OpenTurn, messages: Sequence[Message], version: int) -> None:
        """Add the messages of a turn that was just committed as ``version``."""
        if turn.thread.epoch == self._epoch:
            self._follow(version, messages)

    def _follow(self, version: int, messages: Sequence[Message]) -> None:
        """Add what we wrote ourselves, if nobody else wrote in between."""
        with self._lock:
            if self._epoch is not None and version == self._version + 1:
                count = self._count + len(messages)
                self._messages += messages
                self._count, self._version = count, version
