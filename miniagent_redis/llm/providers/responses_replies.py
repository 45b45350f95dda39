"""Answers of OpenAI's Responses API, in a stream of events or in one piece."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...models import new_id
from ..base import Block, ContentPart, Finish, ModelEvent, ReasoningDelta, TextDelta
from ..calls import read_call
from .blocks import Layout
from .counts import add_counts, openai_usage
from .reasons import finish_of
from .sse import EventStream, ToldError

_TEXT = ("response.output_text.delta", "response.refusal.delta")
_REASONING = ("response.reasoning_summary_text.delta", "response.reasoning_text.delta")
_ENDS = ("response.completed", "response.incomplete", "response.failed", "response.cancelled")
_ONLY_TOLD = ("status",)  # of items, and refused when they are sent back


def responses_events(stream: EventStream, provider: str, model: str) -> Iterator[ModelEvent]:
    """Yield the events of an answer; Finish only if it came to its end."""
    reply = _Reply(provider, model)
    for event in stream:
        yield TextDelta("")
        yield from reply.read(event)
    if stream.is_done:  # of imitators that say no more than [DONE]
        yield from reply.end()


class _Reply:
    def __init__(self, provider: str, model: str) -> None:
        self._layout = Layout(provider)
        self._model = model
        self._has_calls = False
        self._has_text = False
        self._shown: dict[Any, str] = {}  # text that came in pieces, by the place of its item
        self._thought: set[Any] = set()
        self._done: set[Any] = set()
        self._is_over = False

    def read(self, event: dict[str, Any]) -> Iterator[ModelEvent]:
        kind = event.get("type", "")
        place = event.get("output_index")
        if place is None:  # imitators' way; items come one after the other
            place = len(self._done)
        delta = event.get("delta") or ""
        if kind in _TEXT:
            self._shown[place] = self._shown.get(place, "") + delta
            self._has_text = True
            yield TextDelta(delta)
        elif kind in _REASONING:
            self._thought.add(place)
            yield ReasoningDelta(delta)
        elif kind == "response.reasoning_summary_part.added" and place in self._thought:
            yield ReasoningDelta("\n\n")
        elif kind == "response.output_item.done":
            self._done.add(place)
            yield from self._item(event.get("item") or {}, place)
        elif kind in _ENDS or event.get("object") == "response":
            yield from self._end(event.get("response") or event)

    def _item(self, item: dict[str, Any], place: Any) -> Iterator[ModelEvent]:
        match item.get("type"):
            case "message":
                yield from self._message(item, self._shown.get(place, ""))
            case "function_call":
                call_id = item.get("call_id") or new_id()
                call = read_call(call_id, item["name"], item.get("arguments"))
                self._layout.call(call.id)
                self._has_calls = True
                yield call
            case "reasoning":
                if place not in self._thought and (thought := _thoughts(item)):
                    yield ReasoningDelta(thought)
                if item.get("encrypted_content"):  # else it is at the vendor's only, or nowhere
                    self._own(item)
            case "image_generation_call" if data := item.get("result"):
                form = item.get("output_format") or "png"
                self._layout.part()
                yield ContentPart({"type": "image", "mime_type": f"image/{form}", "data": data})
            case _ if item:
                self._own(item)

    def _message(self, item: dict[str, Any], shown: str) -> Iterator[ModelEvent]:
        content = item.get("content") or ()
        if isinstance(content, str):  # imitators' way
            content = [{"text": content}]
        text = "".join(part.get("text") or part.get("refusal") or "" for part in content)
        if text.startswith(shown) and text != shown:  # that of a whole reply, all of it
            yield TextDelta(text[len(shown) :])
        else:
            text = shown
        self._has_text = self._has_text or bool(text)
        phase = item.get("phase")  # of newer models, which want it back
        self._layout.text(text, **({"phase": phase} if phase else {}))

    def _own(self, item: dict[str, Any]) -> None:
        self._layout.own({key: value for key, value in item.items() if key not in _ONLY_TOLD})

    def end(self) -> Iterator[ModelEvent]:
        """End a reply of which nobody said that it is over; what it said in pieces is kept."""
        if self._is_over:
            return
        for place, text in self._shown.items():
            if place not in self._done:
                self._layout.text(text)
        yield from self._end({})

    def _end(self, response: dict[str, Any]) -> Iterator[ModelEvent]:
        self._is_over = True
        counts: dict[str, int] = {}
        add_counts(counts, response.get("usage"))
        if counts:
            yield openai_usage(counts)
        for place, item in enumerate(response.get("output") or ()):
            if place not in self._done:  # a whole reply, or a server that tells of no items
                yield from self._item(item, place)
        status = response.get("status") or "completed"
        if status in ("failed", "cancelled"):
            error = response.get("error") or f"the response has the status {status!r}"
            raise ToldError(error, is_whole=False)
        for block in self._layout.blocks():
            yield Block(block.provider, block.data | {"model": self._model})
        why = (response.get("incomplete_details") or {}).get("reason")
        if status == "incomplete":
            yield finish_of(str(why or "length"))
        else:
            yield Finish("tool_calls" if self._has_calls else "stop")


def _thoughts(item: dict[str, Any]) -> str:
    parts = item.get("summary") or item.get("content") or ()
    return "\n\n".join(part["text"] for part in parts if isinstance(part.get("text"), str))
