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


class Version(int):
    """A session's version after a write to its thread, and what the write came behind.

    ``before`` is how the record in front of what was written ends, and ``mark`` the mark of the
    last one of it, as of ``ThreadSlice``; None if that is not known.
    """

    epoch: int
    before: bytes | None
    mark: bytes | None

    @classmethod
    def of_write(
        cls, version: int, epoch: int, before: bytes | None, mark: bytes | None
    ) -> Version:
        """Return the version with all that goes with it."""
        made = cls(version)
        made.epoch, made.before, made.mark = epoch, before, mark
        return made


@frozen
class SessionState:
    """A session as stored: its document and its counters. Times are seconds since the epoch."""

    session_id: str
    user_id: str | None
    agent_name: str
    data: dict[str, Any]
    created_at: float
    last_activity: float
    expires_at: float | None
    """None if it never does."""
    message_count: int
    bytes: int
    turns: int
    input_tokens: int
    output_tokens: int
    tool_calls: int
    version: int
    epoch: int
    """Changes when messages are removed; within one, a position never changes its message unless
    the server itself loses messages: see ``ThreadSlice.mark``."""
    open_turn: str | None
    head: int = 0
    """So many messages were let go of (``on_full="trim"``): it is the position of the first that is
    there. ``message_count`` has them all."""
    title: str | None = None
    """What it is called, if it was given a title."""
    forked_from: dict[str, Any] | None = None
    """Of a branch: the ``session_id`` that it is a branch of, the ``position`` up to which it has
    that one's messages, and the ``turn_id`` of the last of them."""


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

    ``epoch`` changes when messages are removed; within one epoch a position never changes its
    message, unless the server itself loses messages, in a failover for one. ``mark`` tells the
    last record from any other, so that this is noticed; it is empty for an empty thread. ``count``
    is the number of records that the thread has ever had. Those in front of ``head`` were let go of
    (``on_full="trim"``): a slice that begins there, or at 0, is all that there is, and a later one
    goes on where the caller's ended. ``indexes[i]`` is the position of
    ``messages[i]``; positions missing from it are in ``unreadable``, or among those that were
    ``skipped``: so many, as the caller needed only the newest messages and those that the thread
    begins with.
    """

    epoch: int
    version: int
    count: int
    start: int
    messages: tuple[Message, ...]
    indexes: tuple[int, ...]
    unreadable: tuple[UnreadableRecord, ...] = ()
    mark: bytes = field(default=b"", repr=False)
    skipped: int = 0
    head: int = 0


@frozen
class Forgotten:
    """What was removed when a user was forgotten.

    ``messages`` are those of the ``sessions``, ``totals`` whether what the user's turns took was
    counted (1 or 0), ``limits`` how many counts of rate limits there were, ``spooled`` how many
    turns that waited on this machine's disk, or were set aside there; a store does not look there.
    Of what an earlier call has removed nothing is counted again.

    ``left`` are sessions that were perhaps just being created: they were entered in the index less
    than a minute ago and nothing is there yet. Unless it is 0, call again a minute later.
    """

    sessions: int = 0
    messages: int = 0
    totals: int = 0
    limits: int = 0
    spooled: int = 0
    left: int = 0


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
    is_given_up: bool = False
    """Whether it was taken over too often: end it with what there is, and work on it no more."""
    shown: str = ""
    """Text that an earlier holder in this process has shown behind the steps, as far as known."""
    approved: frozenset[str] = frozenset()
    """The calls that somebody approved while the turn was parked, and nobody has started yet: by
    ``call_digest`` of the store."""
    started: frozenset[str] = frozenset()
    """Those approved that an earlier holder may have started."""
    process_id: int = field(factory=os.getpid)
    """Whose right it is: a forked child has a copy of the turn and may not write with it."""
    event_ids: list[str] = field(factory=list, eq=False, repr=False)
    """The ids of the events by which watchers were told of what was done with this right, in their
    order. It grows with each call, also with one that gives back the turn as it is then. Where a
    reply was lost and the call repeated, what the first one told is not among them."""

    def heard(self, *event_ids: bytes) -> None:
        """Take note of the events that a call told, where there were any."""
        for event_id in filter(None, event_ids):
            self.event_ids.append(event_id.decode())
