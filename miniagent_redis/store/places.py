"""Places in a thread where it can be parted: behind, or in front of, turns and messages."""

from __future__ import annotations

from attrs import frozen

from ..errors import InvalidInput, RecordUnreadable
from ..models import ThreadSlice
from ..runtime.checks import whole_number
from .core import StoreCore
from .looking_back import FIRST, PAGE
from .threads import Threads

At = str | int
"""A place: the id of a turn or of a message, or how many messages there are in front of it."""


@frozen
class Place:
    """A position of a thread that has so many messages, as of an epoch."""

    epoch: int
    position: int
    count: int


class Places:
    """Finds places. Writes nothing."""

    def __init__(self, core: StoreCore, threads: Threads) -> None:
        self._core = core
        self._threads = threads

    def find(self, session_id: str, at: At, user_id: str | None, *, before: bool = False) -> Place:
        """Return the place behind a turn or a message, or ``before`` it.

        It is looked for from the end of the thread, in pages. Raises SessionNotFound, InvalidInput
        if there is no such place, or a call would be parted from its results, RecordUnreadable, or
        StoreUnavailable.
        """
        if isinstance(at, int):
            end = whole_number(at, "a position") + 1
            found = self._threads.load_tail(session_id, 1, before=end, user_id=user_id)
            position = min(at, found.count)
            if position < found.head:
                raise _no_place(session_id, at)
        else:
            found, position = self._search(session_id, _id(at), user_id, before)
        self.check(session_id, found, position)
        return Place(found.epoch, position, found.count)

    def _search(
        self, session_id: str, some_id: str, user_id: str | None, before: bool
    ) -> tuple[ThreadSlice, int]:
        """Return the position, and a slice that has the message there if there is one."""
        most = FIRST
        found = behind = self._threads.load_tail(session_id, most, user_id=user_id)
        first = last = -1  # of a turn, which may begin on the page before
        while True:
            for index, message in zip(found.indexes, found.messages, strict=True):
                if some_id in (message.turn_id, message.id):
                    first, last = index if first < 0 else min(first, index), max(last, index)
            is_begun = bool(found.messages) and found.messages[0].turn_id == some_id
            if (last >= 0 and not is_begun) or found.start <= found.head:
                break
            most = PAGE
            later, found = (
                found,
                self._threads.load_tail(session_id, most, before=found.start, user_id=user_id),
            )
            if (found.epoch, found.head) != (later.epoch, later.head):
                return self._search(session_id, some_id, user_id, before)
            if last < 0:
                behind = found
        if last < 0:
            raise _no_place(session_id, some_id)
        position = first if before else last + 1
        if position < behind.start or position >= behind.start + len(behind.indexes):
            behind = self._threads.load_tail(session_id, 1, before=position + 1, user_id=user_id)
            if behind.epoch != found.epoch:
                return self._search(session_id, some_id, user_id, before)
        return behind, position

    def check(self, session_id: str, found: ThreadSlice, position: int) -> None:
        """Raise InvalidInput if a call in front of the position has its result behind it.

        ``found`` has the message at that position, if there is one. Results directly follow their
        calls, so it is enough that this is none.
        """
        if position >= found.count:
            return
        for record in found.unreadable:
            if record.index == position:
                key = self._core.keys.of_session(session_id)[1]
                raise RecordUnreadable(key, record.reason, record.raw)
        here = dict(zip(found.indexes, found.messages, strict=True)).get(position)
        if here is not None and here.role == "tool":
            raise parted(position)


def parted(position: int) -> InvalidInput:
    """Return the error for a place between a call and its results."""
    return InvalidInput(
        f"message {position} is a tool's result: it cannot be cut off from its call",
        cause="a thread never holds a call without its result",
        hint="keep all the results behind the call, or cut in front of the call",
    )


def _id(at: object) -> str:
    if isinstance(at, str) and at:
        return at
    raise InvalidInput(
        f"{at!r:.60} is no place in a conversation",
        hint="give the id of a turn or a message, or how many messages are in front of it",
    )


def _no_place(session_id: str, at: object) -> InvalidInput:
    return InvalidInput(
        f"session {session_id!r:.100} has no such place: {at!r:.60}",
        cause="no turn or message of that id is in its thread, or it is no longer there",
        hint="get_history() has the ids of messages and turns, and positions as index",
    )
