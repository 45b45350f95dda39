"""The context window: how much of a stored thread a request has room for.

The thread itself stays whole; which of its messages go when there is not room for all is decided
in view.py. Without limits everything is sent.

A view that is full is cut back to a share of the room (blocks.py), and then grows again from where
it was cut, over many turns: a vendor's cache of prompts hits only what begins as the request before
did. Where it was cut is remembered beside the reply, so that any process goes on from there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import islice, takewhile
from math import inf
from typing import Any

from attrs import evolve, frozen

from ..llm import CountTokens, ToolSpec, estimate_tokens, instruction_tokens, message_tokens
from ..models import Message
from .blocks import cut_by_a_block
from .config import AgentConfig
from .room import Room
from .summaries import as_told, end_of
from .view import Cut, History, conversation, fits, is_said, is_there, left, newest, opening

ESTIMATE = "estimated_input_tokens"  # in a reply's metadata, beside the real ``usage``
CUT = "context_cut"
"""In a reply's metadata, if it was asked for without the oldest messages: a Cut, as ids."""
TOLD = "context_summary"
"""In such a reply's metadata: the id of the summary of what was left out, "" if there was none."""
NEXT = "context_next"
"""In a reply's metadata: where the window is to be cut soon, so that it can be summed up before."""
_SOON = 0.25  # of the room: as little is left, and a model has this long to sum up
_FREE = 0.65  # of the room: what no cut leaves free, but one for lower limits
_FREED = 0.2  # of the room: what a cut that is summed up has to make free, to be made
_RESERVE = 1.05  # a text that is denser than the others before it is estimated too low
_LEAST, _MOST = 0.5, 4.0  # a correction beyond these says that the usage was no such thing
_LOOKED_AT = 50  # newest messages: about what a small window holds
_log = logging.getLogger("miniagent_redis")


@frozen
class View:
    """The messages of a request, and what it was estimated to cost, if anybody had to know.

    ``cut`` is what was left out of the thread, None for nothing, and ``summary`` the id of what
    stands for it; ``next_start`` where it is to be cut soon, if that is to be prepared.
    """

    messages: tuple[Message, ...]
    estimate: int | None = None
    cut: Cut | None = None
    summary: str = ""
    next_start: str = ""

    @property
    def noted(self) -> dict[str, Any]:
        """What to remember of it beside the reply."""
        found: dict[str, Any] = {}
        if self.cut is not None and self.cut.start:
            found[CUT] = [self.cut.start, *self.cut.bare]
            found[TOLD] = self.summary
        if self.next_start:
            found[NEXT] = self.next_start
        return found


class ContextWindow:
    """What the requests of one turn hold, within the limits of the configuration."""

    def __init__(self, config: AgentConfig, tools: Iterable[ToolSpec], history: History) -> None:
        self._max_tokens = config.max_context_tokens
        self._max_messages = config.max_context_messages
        self._is_limited = (self._max_tokens, self._max_messages) != (None, None)
        self._is_estimate = self._max_tokens is not None and config.count_tokens is None
        self._count: CountTokens = config.count_tokens or estimate_tokens
        if self._is_limited:
            # One of the user's may be slow, and most texts come again at the turn's next step.
            self._count = lru_cache(4096)(self._count)
        self._instructions = 0
        self._correction = 1.0
        if self._is_estimate:
            self._correction = _correction(history) or 1.0
        if self._max_tokens is not None:
            self._instructions = instruction_tokens(str(config.system_prompt), tools, self._count)
        self._is_summed_up = config.summary_model is not None
        self._summaries: tuple[Message, ...] = history.summaries() if self._is_limited else ()
        self._told: tuple[Message, ...] = ()  # the one of what is left out
        self._is_prepared = False  # the other one is of what is to be left out next
        self._opening: tuple[Message, ...] = ()
        self._history: Sequence[Message] = history if self._is_limited else history.conversation()
        self._cut: Cut | None = None
        told: str | None = None
        self._next = _asked_for(history) if self._is_summed_up else ""
        if self._is_limited:
            self._opening = opening(history)
            self._history = history[len(self._opening) :] if self._opening else history
            self._cut, told = _remembered(self._history)
        self._is_earlier = self._cut is not None
        self._tell(told)

    def view(self, steps: Sequence[Message]) -> View:
        """Return the newest exchanges of the history that there is room for, and all ``steps``.

        ``steps`` are the messages of the current turn. They are sent even if they alone are more
        than the limits: it is the model that knows what it can take. What one view has left out
        stays out in the turn. Costs what is looked at, however long the history is.
        """
        turn = conversation(steps)
        if not self._is_limited:
            return View(tuple(self._history) + turn)  # it is one: a long thread is copied once
        room = self._room_left(turn)
        if room is None:
            self._cut_back(turn)
        messages = (*self._opening, *self._told, *left(self._history, self._cut), *turn)
        next_start = self._next_start(turn, room) if self._is_summed_up else ""
        summary = self._told[0].id if self._told else ""
        if self._max_tokens is None:
            return View(messages, None, self._cut, summary, next_start)
        estimate = self._instructions + sum(map(self._size, messages))
        if estimate * self._correction > self._max_tokens:
            _log.warning(
                "a request of about %d tokens is sent, though max_context_tokens is %d: the "
                "instructions and the current turn alone come to that",
                estimate * self._correction,
                self._max_tokens,
            )
        shown = estimate if self._is_estimate else None
        return View(messages, shown, self._cut, summary, next_start)

    def _room_left(self, turn: Sequence[Message]) -> Room | None:
        """Return the room beside the turn and what is left of the history, None if there is none.

        If an earlier turn's cut leaves most of it free, it is forgotten: limits were raised.
        """
        room = self._room_beside(turn)
        if not fits(self._history, self._cut, room.take):
            return None
        is_earlier, self._is_earlier = self._is_earlier, False
        if not is_earlier or not room.holds(self._room_beside(turn).share(_FREE)):
            return room
        self._cut = None
        self._tell()
        room = self._room_beside(turn)
        return room if fits(self._history, None, room.take) else None

    def _cut_back(self, turn: Sequence[Message]) -> None:
        """Cut such that there is room for turns to come, unless the last exchange needs it."""
        before = () if self._cut is None else self._cut.bare
        is_prepared = self._is_prepared and self._frees(turn, end_of(self._summaries[0]))
        self._history = left(self._history, self._cut)
        cut = cut_by_a_block(self._history, self._room_beside(turn))
        if is_prepared and self._fits_prepared(turn):
            cut = Cut(end_of(self._summaries[0]))
        elif not cut.start or _last_asked(self._history) in cut.bare:
            cut = newest(self._history, self._room_beside(turn).take)
        self._history = left(self._history, cut)
        ids = {message.id for message in self._history}
        self._cut = evolve(cut, bare=(*cut.bare, *(known for known in before if known in ids)))
        self._tell()

    def _frees(self, turn: Sequence[Message], start: str) -> bool:
        """Whether a cut that was prepared makes room for many turns: it may be of long ago."""
        sent = left(self._history, self._cut)
        out = [*takewhile(lambda message: message.id != start, sent)]
        return len(out) < len(sent) and not self._room_beside(turn).share(_FREED).take(out)

    def _fits_prepared(self, turn: Sequence[Message]) -> bool:
        self._told, before = self._summaries[:1], self._told
        cut = Cut(end_of(self._summaries[0]))
        has_room = fits(self._history, cut, self._room_beside(turn).take)
        self._told = before
        return has_room

    def _tell(self, before: str | None = None) -> None:
        """Find the newest summary that covers nothing of what is sent.

        ``before`` is the id of the one that was told with this cut, "" for none. It stays: one that
        came since would change the beginning of requests a second time, and waits for the next cut.
        """
        if not self._summaries:
            return
        sent = {message.id for message in left(self._history, self._cut)[1:]}
        past = [known for known in self._summaries if end_of(known) not in sent]
        if before is not None:
            past = [known for known in past if known.id == before] or (past if before else [])
        self._told = (as_told(past[0]),) if past else ()
        self._is_prepared = end_of(self._summaries[0]) in sent

    def _next_start(self, turn: Sequence[Message], room: Room | None) -> str:
        """Return where the window is to be cut, if that is soon and not summed up yet.

        ``room`` is what is left of it, None if it was cut just now.
        """
        if self._is_prepared and self._frees(turn, end_of(self._summaries[0])):
            return ""
        if room is None:
            room = self._room_beside(turn)
            fits(self._history, self._cut, room.take)
        if room.holds(self._room_beside(turn).share(_SOON)):
            return ""
        if self._next and self._frees(turn, self._next):
            return self._next  # somebody is at it
        cut = cut_by_a_block(self._history, self._room_beside(turn), to_come=_SOON)
        start = cut.start or _last_asked(self._history)
        return start if self._frees(turn, start) else ""

    def _room_beside(self, turn: Sequence[Message]) -> Room:
        """Return the room that the turn, and what comes with every request, leave."""
        fixed = (*self._opening, *self._told, *turn)
        messages = inf if self._max_messages is None else self._max_messages - len(fixed)
        if self._max_tokens is None:
            return Room(messages, inf, self._size)
        most: float = self._max_tokens
        if self._is_estimate:
            self._correction = max(self._correction, _correction(turn) or 0)
            most /= self._correction * _RESERVE
        tokens = most - self._instructions - sum(map(self._size, fixed))
        return Room(messages, tokens, self._size)

    def _size(self, message: Message) -> int:
        return message_tokens(message, self._count)


def enough_for(config: AgentConfig) -> Callable[[Sequence[Message]], bool] | None:
    """Return what tells if the newest messages of a thread are more than any view of it holds.

    It is asked about messages from one of a user on to the end of the thread. None without limits.
    """
    most, most_tokens = config.max_context_messages, config.max_context_tokens
    count = config.count_tokens or estimate_tokens
    if most is None and most_tokens is None:
        return None

    def enough(newest: Sequence[Message]) -> bool:
        if len(newest) < _LOOKED_AT:
            return False
        said = [message for message in newest if is_said(message)]  # at least these count
        if most is not None and len(said) >= most:
            return True
        tokens = sum(message_tokens(message, count) for message in said)
        return most_tokens is not None and tokens > most_tokens / _LEAST

    return enough


def cut_beside(reply: Message) -> Cut | None:
    """Return what a reply was asked for without, if it tells that."""
    start, *bare = reply.metadata.get(CUT, ("",))
    return Cut(start, tuple(bare)) if start else None


def to_be_summed_up(reply: Message) -> str:
    """Return the id of the message up to which all is to be, by what is beside a reply; or ""."""
    cut = cut_beside(reply)
    return str(reply.metadata.get(NEXT) or ("" if cut is None else cut.start))


def _last_asked(history: Sequence[Message]) -> str:
    return next((message.id for message in reversed(history) if message.role == "user"), "")


def _asked_for(history: Sequence[Message]) -> str:
    """Return where the newest reply says that the window is to be cut soon."""
    replies = (one for one in islice(reversed(history), _LOOKED_AT) if one.role == "assistant")
    return str(next((one.metadata.get(NEXT, "") for one in replies), ""))


def _remembered(history: Sequence[Message]) -> tuple[Cut | None, str | None]:
    """Return the cut beside the newest reply that tells one, and the summary that was told with it.

    None if its start was let go of; None for a summary of which the reply says nothing.
    """
    for message in islice(reversed(history), _LOOKED_AT):
        if cut := cut_beside(message):
            return (cut, message.metadata.get(TOLD)) if is_there(history, cut) else (None, None)
    return None, None


def _correction(messages: Sequence[Message]) -> float | None:
    """Return by what to multiply an estimate, as the newest replies of known cost show.

    The highest of what they show: a text that was dense is still in the view, or comes again. Short
    requests show more of what a server puts around messages than of the texts, and do not count
    beside those that are twice as long.
    """
    shown: list[tuple[int, int]] = [
        (message.metadata[ESTIMATE], message.metadata["usage"]["input_tokens"])
        for message in islice(reversed(messages), _LOOKED_AT)
        if ESTIMATE in message.metadata
    ]
    if not shown:
        return None
    half = max(shown)[0] / 2
    return min(max(_LEAST, *(real / told for told, real in shown if told >= half)), _MOST)
