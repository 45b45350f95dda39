"""SessionThread: a session's messages, loaded when first looked at, saved as they are added."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

from ..agent.view import History, opening
from ..models import Message, OpenTurn, Role, ThreadSlice, UnreadableRecord, Version
from ..records.mark import is_mark_of
from ..runtime.checks import of_kind
from ..runtime.forking import reset_after_fork
from ..store.keys import check_session_id, check_user_id
from ..store.manager import RedisSessionManager
from ..store.one_session import one_session


class SessionThread:
    """The messages of one session, kept here and brought up to date by what is new.

    Safe for threads. Reading costs Redis a round trip the first time and at each ``refresh``,
    which transfers only messages that are not here yet.
    """

    def __init__(
        self, store: RedisSessionManager, session_id: str, *, user_id: str | None = None
    ) -> None:
        self.session_id: str = check_session_id(session_id)
        self.user_id: str | None = user_id
        self._store: RedisSessionManager = of_kind(store, RedisSessionManager, "store")
        if user_id is not None:
            check_user_id(user_id)
        self._start_anew()

    @reset_after_fork
    def _start_anew(self) -> None:
        self._lock = threading.RLock()  # over what follows, held while it is loaded
        self._epoch: int | None = None
        self._version = 0
        self._head = 0
        self._count = 0
        self._mark = b""
        self._messages = History()
        self._unreadable: list[UnreadableRecord] = []
        self._is_whole = True  # or only the system messages at the beginning, and the newest

    @property
    def known(self) -> tuple[int | None, int]:
        """The epoch and the number of records that are here; None and 0 if not all are."""
        with self._lock:
            return self.end[:2] if self._is_whole else (None, 0)

    @property
    def end(self) -> tuple[int | None, int, bytes]:
        """Where the thread that is known here ends: what ``begin_turn`` wants to know.

        The epoch, the number of records and the mark of the last one.
        """
        with self._lock:
            return self._epoch, self._count, self._mark

    @property
    def messages(self) -> History:
        """The messages, oldest first, as of the last look at Redis. Do not change the list.

        Loaded now if they are not here: an agent with a small context window loads no more than
        that has room for.
        """
        with self._lock:
            if self.known[0] is None:
                self.refresh()
            return self._messages

    @property
    def newest(self) -> History:
        """The messages that are here: all, or those that are enough for the agent's next turn."""
        with self._lock:
            return self._messages if self._epoch is not None else self.messages

    @property
    def unreadable(self) -> Sequence[UnreadableRecord]:
        """Records that could not be decoded, set aside; they stay in Redis where they are."""
        with self._lock:
            if not self._is_whole:
                self.refresh()
            return self._unreadable

    def __len__(self) -> int:
        return len(self.messages)

    def __iter__(self) -> Iterator[Message]:
        return iter(tuple(self.messages))

    def refresh(self) -> SessionThread:
        """Load what others added since; one round trip for up to 1,000 new messages.

        All is loaded anew if the history was cleared, or the server has lost what is here.
        """
        with self._lock:
            epoch, count, mark = self.end if self._is_whole else (None, 0, b"")
            self.absorb(
                self._store.load_thread(
                    self.session_id, epoch=epoch, start=count, mark=mark, user_id=self.user_id
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
        with one_session(self._store.parts.core, self.session_id):
            removed = self._store.clear_thread(self.session_id, user_id=self.user_id)
            self._store.parts.titles.take_back(self.session_id, self.user_id)
        self.forget()
        return removed

    def forget(self) -> None:
        """Drop what is kept here; it is loaded again when needed."""
        with self._lock:
            self._epoch, self._count, self._mark = None, 0, b""
            self._messages, self._unreadable, self._is_whole = History(), [], True
            self._has_changed((), anew=True)

    def _has_changed(self, new: Sequence[Message], *, anew: bool) -> None:
        """Take note that messages were added, to the others or, ``anew``, in their place."""

    def absorb(self, found: ThreadSlice) -> None:
        """Take over a slice that begins where this thread ends, or a whole new one."""
        with self._lock:
            if anew := found.start <= found.head:
                # New lists: readers may hold the old ones.
                self._messages, self._unreadable = History(), []
                self._is_whole, self._head = not found.skipped, found.head
            elif found.epoch != self._epoch or found.start > self._count:
                return self.forget()  # what it continues is here no longer
            elif found.start < self._count:
                return None  # another thread of this process was faster with the same news
            elif found.head > self._head and not self._let_go(found.head):
                return self.forget()
            count = found.count
            self._messages += found.messages
            self._unreadable += found.unreadable
            self._epoch, self._version, self._count = found.epoch, found.version, count
            self._mark = found.mark
            if found.messages or anew:
                self._has_changed(found.messages, anew=anew)

    def _let_go(self, head: int) -> bool:
        """Drop what the thread has let go of by now; return whether it is known what that is.

        The system messages that it begins with are still there, in front of the others.
        """
        if self._unreadable or not self._is_whole:
            return False
        stay = opening(self._messages)
        self._messages = History([*stay, *self._messages[len(stay) + head - self._head :]])
        self._head = head
        self._has_changed(self._messages, anew=True)
        return True

    def committed(self, turn: OpenTurn, messages: Sequence[Message], version: int) -> None:
        """Add the messages of a turn that was just committed as ``version``."""
        self._follow(version, messages)

    def _follow(self, version: int, messages: Sequence[Message]) -> None:
        """Add what we wrote ourselves, if nobody else wrote in between.

        If it was written to another thread than the one that is here, that is dropped: the session
        was made anew, or the server has lost messages.
        """
        with self._lock:
            if self._epoch is None:
                return
            if not isinstance(version, Version) or version.epoch != self._epoch:
                self.forget()
            elif version == self._version + 1:
                before, mark = version.before, version.mark
                if before is None or mark is None or not is_mark_of(self._mark, before):
                    return self.forget()
                count = self._count + len(messages)
                self._messages += messages
                self._count, self._version, self._mark = count, int(version), mark
                self._has_changed(messages, anew=False)
