"""Answers of chat completions, by OpenAI and by all who imitate them.

Each rule here names whose ways it is for. What is not known is passed over: it costs no answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..base import Block, ContentPart, Finish, ModelEvent, ReasoningDelta, TextDelta
from .chat_calls import CallPieces
from .counts import add_counts, openai_usage
from .parts import media_part
from .reasons import finish_of
from .sse import EventStream, ToldError
from .think_tags import ThinkTags

# What compatible servers add to a reply, and want back; OpenAI itself adds nothing.
REASONING_TEXT = ("reasoning_content", "reasoning")  # DeepSeek's, and that of Groq and Cerebras
REASONING_LIST = "reasoning_details"  # OpenRouter's
_FAILED = ("error", "network_error", "insufficient_system_resource")  # Mistral, Z.ai, DeepSeek


def chat_events(stream: EventStream, provider: str, tags: ThinkTags | None) -> Iterator[ModelEvent]:
    """Yield the events of an answer; Finish only if it came to its end.

    ``tags`` tells deliberation in the content from the answer, where the server does not.
    """
    reply = _Reply(provider, tags)
    for chunk in stream:
        yield from reply.read(chunk)
        yield TextDelta("")
    yield from reply.end(is_done=stream.is_done)


class _Reply:
    def __init__(self, provider: str, tags: ThinkTags | None) -> None:
        self._provider = provider
        self._tags = tags
        self._calls = CallPieces()
        self._own: dict[str, Any] = {}
        self._thinking: list[dict[str, Any]] = []  # as Mistral wants it back
        self._counts: dict[str, int] = {}
        self._finish = ""
        self._has_text = False

    def read(self, chunk: dict[str, Any]) -> Iterator[ModelEvent]:
        add_counts(self._counts, chunk.get("usage"))
        groq = chunk.get("x_groq")
        add_counts(self._counts, groq.get("usage") if isinstance(groq, dict) else None)
        choices = chunk.get("choices") or []
        if not isinstance(choices, list):
            raise ValueError(f"strange choices: {choices!r:.100}")
        for choice in choices[:1]:
            if not isinstance(choice, dict):
                continue
            add_counts(self._counts, choice.get("usage"))  # Moonshot's place for it
            self._finish = choice.get("finish_reason") or self._finish
            delta = choice.get("delta") or choice.get("message")  # that of a whole reply
            if isinstance(delta, dict):
                yield from self._delta(delta)

    def _delta(self, delta: dict[str, Any]) -> Iterator[ModelEvent]:
        yield from self._reasoning(delta)
        yield from self._content(delta.get("content"))
        if isinstance(refusal := delta.get("refusal"), str):
            yield from self._said(refusal)
        for picture in _listed(delta.get("images")):  # OpenRouter's
            yield from self._content([picture])
        for piece in _listed(delta.get("tool_calls")):
            self._calls.add(piece)
        if called := delta.get("function_call"):  # what tool_calls were before
            self._calls.add({"function": called})

    def _content(self, content: Any) -> Iterator[ModelEvent]:
        """Read text, or the list of parts that Mistral's models and others have in its place."""
        if isinstance(content, str):
            yield from self._said(content, self._tags)
            return
        for part in _listed(content):
            if isinstance(part, str):
                yield from self._said(part)
            elif isinstance(part, dict):
                yield from self._part(part)

    def _part(self, part: dict[str, Any]) -> Iterator[ModelEvent]:
        kind = str(part.get("type") or "text")
        text = "".join(_texts(part))
        if "think" in kind or "reason" in kind:
            self._add_thinking(part, text)
            yield ReasoningDelta(text)
        elif (media := media_part(part)) is not None:
            yield ContentPart(media)
        else:
            yield from self._said(text)

    def _said(self, text: str, tags: ThinkTags | None = None) -> Iterator[ModelEvent]:
        for event in tags.split(text) if tags else [TextDelta(text)]:
            self._has_text = self._has_text or (
                isinstance(event, TextDelta) and bool(event.text.strip())
            )
            yield event

    def _add_thinking(self, part: dict[str, Any], text: str) -> None:
        last = self._thinking[-1] if self._thinking else None
        if last is not None and last.get("type") == part.get("type") and "thinking" in last:
            last["thinking"] = [{"type": "text", "text": "".join(_texts(last)) + text}]
        else:
            self._thinking.append(dict(part))

    def _reasoning(self, delta: dict[str, Any]) -> Iterator[ModelEvent]:
        shown = ""
        for key in REASONING_TEXT:
            if isinstance(text := delta.get(key), str) and text:
                self._own[key] = self._own.get(key, "") + text
                shown = shown or text  # some send it by both names
        for detail in _listed(delta.get(REASONING_LIST)):
            if isinstance(detail, dict):
                _add_detail(self._own.setdefault(REASONING_LIST, []), detail)
                if not any(isinstance(delta.get(key), str) for key in REASONING_TEXT):
                    shown += "".join(_texts(detail))
        if shown:
            yield ReasoningDelta(shown)

    def end(self, *, is_done: bool) -> Iterator[ModelEvent]:
        if self._finish in _FAILED:
            raise ToldError(f"it finished with the reason {self._finish!r}", is_whole=False)
        if not self._finish and is_done:  # servers that name no reason, but end as they should
            self._finish = "stop"
        end = finish_of(str(self._finish))
        if self._tags is not None:
            nothing = not self._has_text and not self._calls
            yield from self._tags.close(is_whole=nothing and end.reason == "stop")
        yield from self._calls.read()
        added = self._calls.added()
        if self._own or added or self._thinking:
            thinking = {"thinking": self._thinking} if self._thinking else {}
            yield Block(self._provider, {"message": self._own, "calls": added, **thinking})
        if self._counts:
            yield openai_usage(self._counts)
        if self._finish:
            yield Finish("tool_calls") if self._calls and end.reason == "stop" else end


def _listed(value: Any) -> list[Any]:
    """Return what is there of a list; what stands there alone, as if it was in one."""
    return [one for one in (value if isinstance(value, list) else [value]) if one is not None]


def _texts(part: dict[str, Any]) -> Iterator[str]:
    """Yield the texts of a part: its own, or those of what it consists of."""
    for key in ("text", "thinking", "refusal", "content", "summary"):
        value = part.get(key)
        if isinstance(value, str):
            yield value
        for inner in value if isinstance(value, list) else ():
            if isinstance(inner, dict):
                yield from _texts(inner)
            elif isinstance(inner, str):
                yield inner


def _add_detail(details: list[dict[str, Any]], new: dict[str, Any]) -> None:
    """Add a piece to the last of the details, if it goes on with it: same type and index."""
    last = details[-1] if details else {}
    place = ("type", "index")
    if new.get("index") is None or [last.get(key) for key in place] != [
        new.get(key) for key in place
    ]:
        details.append(dict(new))
        return
    for key, value in new.items():
        if key in ("text", "summary", "data") and isinstance(value, str):
            last[key] = (last.get(key) or "") + value
        elif value is not None:
            last[key] = value
