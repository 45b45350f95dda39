"""What the store tells about a session, its thread and its open turn."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, TypeVar

from attrs import field, frozen

from .message import Message

T = TypeVar("T")


class Page(list[T]):
    """A list that knows where the next page starts: pass ``cursor`` to the same call again.

    ``cursor`` is None when there is no more.
    """

    def __init__(self, items: Iterable[T] = (), cursor: str | None = None) -> None:
        super().__init__(items)
        self.cursor = cursor


@frozen
class SessionState:
    """A session as stored: its document and its counters. Times are seconds since the epoch."""

    session_id: str
    user_id: str | None
    agent_name: str
    data: dict[str, Any]
    created_at: float
    last_activity: float
    expires_at: float
    message_count: int
    bytes: int
    turns: int
    input_tokens: int
    output_tokens: int
    tool_calls: int
    version: int
    open_turn: str | None


@frozen
class UnreadableRecord:
    """A record of a thread that could not be decoded. It stays in Redis at ``index``."""

    index: int
    reason: str
    raw: bytes = field(repr=False)


@frozen
class ExpiredSession:
    """A session that has ended by time, as its ``on_expire`` hooks see it; soon it is gone.

    Times are seconds since the epoch; ``expired_at`` is its deadline. ``messages`` is the thread,
    without what is in ``unreadable``. The steps of a turn that was never committed are not in it.
    """

    session_id: str
    user_id: str | None
    agent_name: str
    message_count: int
    created_at: float
    expired_at: float
    messages: tuple[Message, ...]
    unreadable: tuple[UnreadableRecord, ...] = ()


@frozen
class ThreadSlice:
    """Messages of a thread from position ``start`` on, as of ``version``.

    ``epoch`` changes when the history is cleared; within one epoch a position never changes its
    message. ``count`` is the number of records in the whole thread. ``indexes[i]`` is the position
    of ``messages[i]``; positions missing from it are in ``unreadable``.
    """

    epoch: int
    version: int
    count: int
    start: int
    messages: tuple[Message, ...]
    indexes: tuple[int, ...]
    unreadable: tuple[UnreadableRecord, ...] = ()


@frozen
class OpenTurn:
    """The right to finish one turn: what ``begin_turn`` gives and the other turn calls take.

    ``holder`` is the fencing token: whoever takes the turn over gets another one. ``staged`` are
    the turn's messages so far, the user's first. ``resumed`` is True when this is an abandoned
    turn that was taken over instead of the one asked for: finish or abort it, then begin again.
    ``user_id`` is the session's owner. ``cancelled`` is whether somebody asked for its end, as of
    the last call with it.
    """

    session_id: str
    turn_id: str
    holder: str
    thread: ThreadSlice
    staged: tuple[Message, ...]
    resumed: bool = False
    user_id: str | None = None
    cancelled: bool = False
    process_id: int = field(factory=os.getpid)
    """Whose right it is: a forked child has a copy of the turn and may not write with it."""
