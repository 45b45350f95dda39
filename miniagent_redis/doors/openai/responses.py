"""The stream of a response: a fold over the stored events of its turn, the same on any instance.

Numbers come from the events: each wire event has that of the stored event it tells, times STRIDE,
or the next one if that is taken. So who goes on elsewhere by ``starting_after`` misses nothing and
gets nothing twice, even if the beginning is not kept any more.

A turn whose process died is done again from its last stored step. What was shown already is not
shown twice, as long as the model says the same; if it says something else, the item that was begun
ends as incomplete, and the new text is another one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ...models import Event, EventType, Usage
from ..spoken import Spoken
from . import calls, items
from .echo import ECHO, response_object, usage_in
from .faults import error_of
from .ids import ResponseId
from .reasoning import Reasoning

Json = dict[str, Any]
STRIDE = 8
"""Numbers that each stored event has for what is told of it; more, if they are needed."""

TERMINAL = ("response.completed", "response.incomplete", "response.failed")
_REASONS = {"length": "max_output_tokens", "content_filter": "content_filter"}
_FAILED = {"code": "server_error", "message": "The model broke off in its answer."}


class ResponseFold:
    """Folds the events of a turn into those of one of its responses, which is a leg of it.

    ``echo`` are the parameters of the request, by default those in the user's message;
    ``usage`` tells what the leg took, when it is over.
    """

    def __init__(
        self,
        response: ResponseId,
        echo: Json | None = None,
        usage: Callable[[], Usage] | None = None,
    ) -> None:
        self._id = response
        self._echo = echo
        self._usage = usage
        self._leg = 0
        self._place = 0  # of the next item in the turn
        self._told: list[Json] = []
        self._number = -1
        self._at = 0.0
        self._calls: dict[str, Json] = {}  # without result
        self._asked: set[str] = set()  # ids of calls that somebody else answers
        self._item: str | None = None  # the message that is being said
        self._spoken = Spoken()
        self._is_begun = False
        self._reasoning = Reasoning(response, lambda: self._index)
        self.output: list[Json] = []
        self.status: str = "in_progress"
        self._end: Json = {}

    @property
    def is_over(self) -> bool:
        """Whether the response has come to its end."""
        return self.status != "in_progress"

    @property
    def response(self) -> Json:
        """The response as it is now."""
        output = self.output
        if (reasoning := self._reasoning.item) is not None:
            output = [*output, reasoning]
        if self._item is not None:
            output = [*output, items.message(self._item, self._spoken.shown, "in_progress")]
        return response_object(
            str(self._id),
            self._echo or {},
            status=self.status,
            output=output,
            created_at=self._at,
            **self._end,
        )

    def tell(self, event: Event) -> list[Json]:
        """Return what is to be sent because of a stored event; nothing once it is over."""
        if self.is_over or event.turn_id not in (self._id.turn_id, None):
            return []
        number = _number_of(event.id)
        self._number = max(self._number, number * STRIDE - 1) if number else self._number
        self._told = []
        if event.type is EventType.TURN_STARTED and self._echo is None:
            said = event.data.get("message", {})
            self._echo = dict(said.get("metadata", {}).get(ECHO, {}))
        if self._is_ours and event.turn_id is not None:
            self._begin(event)
        self._hear(event)
        return self._told

    @property
    def _is_ours(self) -> bool:
        return self._leg == self._id.leg

    def _begin(self, event: Event) -> None:
        if not self._is_begun:
            self._is_begun, self._at = True, event.at
            self._send("response.created", response=self.response)
            self._send("response.in_progress", response=self.response)

    def _hear(self, event: Event) -> None:
        data = event.data
        if event.type is not EventType.REASONING_DELTA:
            is_cut = bool(data.get("resumed"))
            self._tell(self._reasoning.finish("incomplete" if is_cut else "completed"))
        match event.type:
            case EventType.REASONING_DELTA:
                if self._item is None and event.text:
                    self._tell(self._reasoning.say(event.text))
            case EventType.TURN_STARTED:
                if data.get("resumed"):
                    self._spoken.resume()
            case EventType.TEXT_DELTA:
                self._say(event.text)
            case EventType.TOOL_CALL:
                self._finish_message()
                self._calls[str(data.get("id"))] = data
            case EventType.TOOL_RESULT:
                self._hear_result(data)
            case EventType.TURN_WAITING:
                self._wait(data.get("calls", ()))
            case EventType.AGENT_RESPONSE | EventType.TURN_REPLAYED:
                self._answer(event)
            case EventType.TURN_FAILED:
                self._over("failed", event, error=error_of(data))
            case EventType.SESSION_ENDED | EventType.SESSION_EXPIRED:
                error = {"code": "server_error", "message": "The conversation has ended."}
                self._over("failed", event, error=error)
            case _:
                pass

    # --- text -------------------------------------------------------------------------------

    def _say(self, piece: str) -> None:
        shown = self._spoken.shown
        self._show(*self._spoken.hear(piece), shown)

    def _show(self, piece: str, is_other: bool, shown: str) -> None:
        """Tell some more, behind what is shown; of another text, as another item."""
        if is_other:
            self._close_message(shown, "incomplete")
        if not piece:
            return
        if self._item is None:
            self._item = self._id.item("msg_", str(self._next()))
            empty = {**items.message(self._item, None), "status": "in_progress"}
            self._send("response.output_item.added", output_index=self._index, item=empty)
            part = items.output_text("")
            self._send("response.content_part.added", **self._where, part=part)
        self._send("response.output_text.delta", **self._where, delta=piece, logprobs=[])

    def _finish_message(self, status: str = "completed") -> None:
        self._close_message(self._spoken.shown, status)
        self._spoken = Spoken()

    def _close_message(self, text: str, status: str) -> None:
        if self._item is None:
            return
        where = self._where
        done = items.message(self._item, text, status)
        self._send("response.output_text.done", **where, text=text, logprobs=[])
        self._send("response.content_part.done", **where, part=items.output_text(text))
        self._send("response.output_item.done", output_index=self._index, item=done)
        self._add(done)
        self._item = None

    @property
    def _where(self) -> Json:
        return {"item_id": self._item, "output_index": self._index, "content_index": 0}

    # --- calls ------------------------------------------------------------------------------

    def _hear_result(self, data: Json) -> None:
        call_id = str(data.get("id"))
        call = self._calls.pop(call_id, None)
        if call is None or call_id in self._asked:
            return  # the client has answered it, or its call is not kept any more
        item_id = self._id.item("mcp_", str(self._next()))
        self._tell(calls.own_call(item_id, self._index, call, data))

    def _wait(self, waiting: Iterable[Mapping[str, Any]]) -> None:
        """Show what others have to answer; with that the leg is over."""
        self._finish_message()
        for call in waiting:
            if call.get("waits_for") == "approval":
                item_id = self._id.item("mcpr_", f"{self._next()}.{call['id']}")
                self._tell(calls.approval_request(item_id, self._index, call))
                continue
            if call.get("waits_for") == "input":
                call = items.question(call)  # its result is still to come
            else:
                self._asked.add(str(call.get("id")))
            item_id = self._id.item("fc_", str(self._next()))
            self._tell(calls.function_call(item_id, self._index, call))
        if self._is_ours:
            self._over("completed", None)
            return
        self._leg += 1
        self.output = []

    # --- the end ----------------------------------------------------------------------------

    def _answer(self, event: Event) -> None:
        data, text = event.data, event.text
        reason = str(data.get("finish_reason", "stop"))
        is_cut = reason in ("length", "content_filter", "cancelled", "incomplete", "stopped")
        shown = self._spoken.shown
        self._show(*self._spoken.end(text), shown)
        self._finish_message("incomplete" if is_cut else "completed")
        if reason in _REASONS:
            self._over("incomplete", event, reason=_REASONS[reason])
        elif reason == "cancelled":
            self._over("cancelled", event)
        else:
            status, error = ("failed", _FAILED) if is_cut else ("completed", None)
            self._over(status, event, error=error)

    def _over(self, status: str, event: Event | None, **end: Any) -> None:
        if self._item is not None:
            self._finish_message(status="incomplete")
        if not self._is_ours:
            self._leg = self._id.leg  # nothing more comes, so this is all there is of it
            self.output = []
        usage = self._usage() if self._usage is not None else None
        if usage is None and event is not None and event.type is EventType.AGENT_RESPONSE:
            usage = usage_in(event.data.get("message", {}).get("metadata", {}))
        self.status = status
        at = event.at if event is not None else self._at
        self._end = {"usage": usage, "completed_at": at, **end}
        # There is no event for one that was cancelled: its object says so.
        told = "incomplete" if status == "cancelled" else status
        self._send(f"response.{told}", response=self.response)

    def _add(self, item: Json) -> None:
        self.output = [*self.output, item]

    def _tell(self, told: Iterable[calls.Told]) -> None:
        """Send what is told of an item, and have it in the output once it is done."""
        for kind, more in told:
            self._send(kind, **more)
            if kind == calls.DONE:
                self._add(more["item"])

    @property
    def _index(self) -> int:
        return len(self.output)

    def _next(self) -> int:
        self._place += 1
        return self._place - 1

    def _send(self, kind: str, **data: Any) -> None:
        if not self._is_ours:
            return
        self._number += 1
        self._told.append({"type": kind, "sequence_number": self._number, **data})


def _number_of(event_id: str) -> int:
    """Return the number of a stored event, 0 for one that is told again by what is stored."""
    number = event_id.partition("-")[2].partition(".")[0]
    return int(number) if number.isdecimal() else 0


def fold(
    response: ResponseId,
    events: Iterable[Event],
    *,
    usage: Callable[[], Usage] | None = None,
    echo: Json | None = None,
) -> Json:
    """Return the response that the events of its turn make."""
    folded = ResponseFold(response, echo, usage)
    for event in events:
        folded.tell(event)
    return folded.response
