"""The stream of a turn to a chat page, as both protocols have it: a fold over stored events.

What happens in a turn is brought into an order that they share: replies of the model are steps, in
which reasoning and text are parts that begin and end, and calls have their results. Nothing is
shown twice, also if another process does the turn again. Subclasses say what is sent of each.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal

from ...models import Event, EventType, Usage
from ..openai.echo import usage_in
from ..problems import words_for
from ..spoken import Spoken
from .wire import Json, reply_id

Part = Literal["text", "reasoning"]
_BROKEN = ("incomplete", "stopped")


class TurnFold(ABC):
    """Folds the events of one turn.

    Whoever answered calls hears what came of that: either all events are told, and the ids of these
    calls are what the stream begins ``behind``; or those behind the wait, with how many replies,
    ``step``, were there before, and the calls that were ``asked``. ``usage`` tells what the turn
    took, and ``title`` the session's title, once it is over.
    """

    def __init__(
        self,
        turn_id: str,
        *,
        behind: Collection[str] = (),
        step: int = 0,
        asked: Sequence[Json] = (),
        usage: Callable[[], Usage] | None = None,
        title: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.turn_id: str = turn_id
        self.at: float = 0.0
        """When the event happened that is told now, in seconds."""
        self.step: int = step
        """The number of the reply, from 1 on; 0 in front of the first."""
        self.is_over: bool = False
        self.usage: Usage | None = None
        """What the turn took, once that is known."""
        self.title: str | None = None
        self._read_usage = usage
        self._read_title = title
        self._behind = frozenset(behind)
        self._is_muted = bool(behind)
        self._is_begun = False
        self._is_in_step = False
        self._is_called = False
        self._has_results = False
        self._part: Part | None = None
        self._parts: Counter[Part] = Counter()
        self._text = Spoken()
        self._thought = Spoken()
        self._asked = {str(call["id"]): call for call in asked}
        self._given = frozenset(behind) | self._asked.keys()
        self._told: list[Json] = []

    # --- what is sent -------------------------------------------------------------------------

    @abstractmethod
    def begin(self) -> None:
        """Send that the stream begins."""

    @abstractmethod
    def begin_step(self) -> None:
        """Send that a reply of the model begins."""

    @abstractmethod
    def end_step(self) -> None:
        """Send that it is over, with the results of its calls."""

    @abstractmethod
    def begin_part(self, kind: Part, part_id: str) -> None:
        """Send that text or reasoning begins."""

    @abstractmethod
    def say(self, kind: Part, part_id: str, piece: str) -> None:
        """Send some more of it."""

    @abstractmethod
    def end_part(self, kind: Part, part_id: str) -> None:
        """Send that it is whole."""

    @abstractmethod
    def call(self, call: Json) -> None:
        """Send that a tool is called."""

    @abstractmethod
    def result(self, result: Json, call: Json | None) -> None:
        """Send what it gave; ``call`` is the one that others answered."""

    @abstractmethod
    def ask(self, calls: Sequence[Json]) -> None:
        """Send which calls somebody has to answer."""

    @abstractmethod
    def end(self, reason: str) -> None:
        """Send the end: ``reason`` as ``finish_reason_of`` has it, or "waiting"."""

    @abstractmethod
    def fail(self, code: str, words: str) -> None:
        """Send that it failed."""

    def send(self, kind: str, **data: Any) -> None:
        """Have this be sent."""
        if not self._is_muted:
            self._told.append({"type": kind, **data})

    # --- what happens -------------------------------------------------------------------------

    def tell(self, event: Event) -> list[Json]:
        """Return what is to be sent because of a stored event; nothing once it is over."""
        if self.is_over or event.turn_id not in (self.turn_id, None):
            return []
        self._told, self.at = [], event.at
        if event.turn_id is not None:
            self._begin()
            self._hear(event)
        elif event.type in (EventType.SESSION_ENDED, EventType.SESSION_EXPIRED):
            self._fail("session_not_found", "The conversation has ended.")
        return self._told

    def park(self) -> list[Json]:
        """Return the end of a stream whose turn waits for somebody's answers."""
        self._told = []
        self._unmute()
        self._begin()
        self._finish("waiting")
        return self._told

    def _begin(self) -> None:
        if not self._is_begun:
            self._is_begun = True
            self.begin()

    def _unmute(self) -> None:
        if self._is_muted:
            self._is_muted, self._is_begun = False, True
            self.begin()

    def _hear(self, event: Event) -> None:
        data = event.data
        match event.type:
            case EventType.TURN_STARTED if data.get("resumed"):
                self._text.resume()
                self._thought.resume()
            case EventType.TEXT_DELTA:
                self._say("text", *self._text_in(event.text))
            case EventType.REASONING_DELTA:
                self._think(event.text)
            case EventType.TOOL_CALL:
                self._in_step(is_new=self._is_called and self._has_results)
                self._close()
                self._is_called = True
                self.call(data)
            case EventType.TOOL_RESULT:
                self._in_step()
                self._has_results = True
                self._hear_result(data)
            case EventType.TURN_WAITING:
                self._wait(data.get("calls", ()))
            case EventType.AGENT_RESPONSE | EventType.TURN_REPLAYED:
                self._answer(event)
            case EventType.TURN_FAILED:
                self._fail(*words_for(str(data.get("error", ""))))
            case EventType.SESSION_ENDED | EventType.SESSION_EXPIRED:
                self._fail("session_not_found", "The conversation has ended.")
            case _:
                pass

    def _hear_result(self, data: Json) -> None:
        call_id = str(data.get("id"))
        call = self._asked.get(call_id)
        if call_id in self._given and call is not None and call.get("waits_for") == "result":
            return  # the reader has sent it
        self.result(data, call)

    def _in_step(self, *, is_new: bool = False) -> None:
        """Be in a step; in a new one, if calls or their results stand behind the last."""
        if self._is_in_step and not is_new:
            return
        self._end_step()
        self.step += 1
        self._is_in_step, self._is_called, self._has_results = True, False, False
        self._text, self._thought, self._parts = Spoken(), Spoken(), Counter()
        self.begin_step()

    def _end_step(self) -> None:
        self._close()
        if self._is_in_step:
            self._is_in_step = False
            self.end_step()

    # --- text and reasoning -------------------------------------------------------------------

    def _text_in(self, piece: str) -> tuple[str, bool]:
        self._in_step(is_new=self._is_called)
        return self._text.hear(piece)

    def _think(self, piece: str) -> None:
        self._in_step(is_new=self._is_called)
        new, is_other = self._thought.hear(piece)
        if not (is_other and self._text.shown):  # other thoughts about a text that is shown already
            self._say("reasoning", new, is_other)

    def _say(self, kind: Part, piece: str, is_other: bool) -> None:
        if not piece:
            return
        if self._part != kind or is_other:
            self._close()
            self._part = kind
            self._parts[kind] += 1
            self.begin_part(kind, self._part_id(kind))
        self.say(kind, self._part_id(kind), piece)

    def _close(self) -> None:
        if self._part is not None:
            self.end_part(self._part, self._part_id(self._part))
            self._part = None

    def _part_id(self, kind: Part) -> str:
        number = self._parts[kind]
        which = f"{self.reply_id}-reasoning" if kind == "reasoning" else self.reply_id
        return f"{which}.{number}" if number > 1 else which

    @property
    def reply_id(self) -> str:
        """The id of the reply, and of its first text."""
        return reply_id(self.turn_id, self.step)

    # --- waiting, and the end -----------------------------------------------------------------

    def _wait(self, calls: Sequence[Json]) -> None:
        self._close()
        self._asked |= {str(call.get("id")): call for call in calls}
        if not self._is_muted:
            self.ask(calls)
        elif self._behind & {str(call.get("id")) for call in calls}:
            self._is_in_step = False  # its calls were told to whom answered them
            self._unmute()

    def _answer(self, event: Event) -> None:
        self._unmute()
        self._in_step(is_new=self._is_called)
        self._say("text", *self._text.end(event.text))
        reason = str(event.data.get("finish_reason", "stop"))
        if reason in _BROKEN:
            self._read(event)
            self._fail("incomplete_response", words_for("IncompleteResponse")[1])
        else:
            self._finish(reason, event)

    def _finish(self, reason: str, event: Event | None = None) -> None:
        self._end_step()
        self._read(event)
        self.is_over = True
        self.end(reason)

    def _fail(self, code: str, words: str) -> None:
        self._unmute()
        self._begin()
        self._end_step()
        self.is_over = True
        self.fail(code, words)

    def _read(self, event: Event | None) -> None:
        """Read what is told at the end alone."""
        if self._read_usage is not None:
            self.usage = self._read_usage()
        elif event is not None:
            self.usage = usage_in(event.data.get("message", {}).get("metadata", {}))
        if event is not None:
            self.title = self._read_title()
