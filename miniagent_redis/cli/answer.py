"""An answer as it arrives: its text on stdout, the tool calls on a line each on stderr."""

from __future__ import annotations

from typing import Any

from ..models import Event, EventType
from .terminal import Terminal
from .text import SafeStream
from .transcript import tool_line

_ENDED = {
    "length": "The answer was cut off here: it has as many tokens as it may have.",
    "content_filter": "The answer was cut off here by a content filter.",
    "max_steps": "The model was given no more tools: the agent's max_steps are used up.",
}


class Answer:
    """Shows the events of one turn. ``is_complete`` is whether the turn came to its end."""

    def __init__(self, terminal: Terminal) -> None:
        self.turn_id: str | None = None
        self.is_complete: bool = False
        self._terminal = terminal
        self._text = SafeStream()
        self._in_line = False
        self._calls: dict[str, dict[str, Any]] = {}

    def show(self, event: Event) -> None:
        """Print what there is to see of the event."""
        self.turn_id = event.turn_id
        data = event.data
        match event.type:
            case EventType.TEXT_DELTA:
                self._write(self._text.feed(event.text))
            case EventType.TOOL_CALL:
                self._calls[data["id"]] = data["arguments"]
            case EventType.TOOL_RESULT:
                self.end()
                self._terminal.note(
                    tool_line(
                        data["name"],
                        self._calls.get(data["id"], {}),
                        data["content"],
                        is_error=data["is_error"],
                    )
                )
            case EventType.TURN_WAITING:
                self.is_complete = True  # so far
                self.end()
            case EventType.AGENT_RESPONSE:
                self.is_complete = True
                self.end()
                reason = data.get("finish_reason", "stop")
                if reason != "stop" and not data.get("interrupted"):
                    other = f"The answer may not be whole: it ended by {reason!r}."
                    self._terminal.note(_ENDED.get(reason, other))
            case _:
                pass

    def show_text(self, text: str) -> None:
        """Print an answer that came in one piece."""
        self._write(self._text.feed(text))
        self.end()

    def end(self) -> bool:
        """End the line of text that has begun; return whether there was one."""
        self._write(self._text.rest())
        has_begun = self._in_line
        if has_begun:
            self._write("\n")
        return has_begun

    def _write(self, text: str) -> None:
        if text:
            # First, because Ctrl-C may come as soon as the text is to be seen.
            self._in_line = not text.endswith("\n")
            self._terminal.write(text)
