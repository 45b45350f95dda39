"""A message of a thread and the tool calls in it. Encoding is in records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from math import modf
from typing import TYPE_CHECKING, Any, Literal

from attrs import field, frozen

from ..runtime.ids import new_id

Role = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[Role, ...] = ("system", "user", "assistant", "tool")


def isoformat(seconds: float) -> str:
    """Render seconds since the epoch as ISO 8601 in UTC, to the millisecond."""
    fraction, second = modf(seconds)
    ms = round(fraction * 1e6) // 1000  # as datetime does it
    if not 0 <= ms < 1000:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return f"{_second(int(second))}.{ms:03d}+00:00"


@lru_cache(256)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


@frozen
class ToolCall:
    """The model's wish to run a tool. ``arguments`` is the JSON object it passes."""

    id: str
    name: str
    arguments: dict[str, Any] = field(factory=dict)
    extra: dict[str, Any] = field(factory=dict)
    """Fields written by other versions; they survive a round trip."""


def readable(content: str | list[dict[str, Any]]) -> str:
    """Return the readable part of a content: its text, without pictures and the like."""
    if isinstance(content, str):
        return content
    return "".join(str(part["text"]) for part in content if "text" in part)


def content_text(content: str | Sequence[Mapping[str, Any]]) -> str:
    """Return the readable part of a content, with what is not text named."""
    if isinstance(content, str):
        return content
    return "".join(
        str(part["text"]) if "text" in part else f"[{part.get('type', 'something')}]"
        for part in content
    )


def finish_reason_of(answer: Message) -> str:
    """Return how an answer ended: the same in TurnResult, in AGENT_RESPONSE, here and elsewhere.

    ``stop``            it is whole
    ``max_steps``       it is whole, but the model may have wanted to do more: it was the last of
                        ``AgentConfig.max_steps`` replies, asked for without tools
    ``length``          cut off: ``max_tokens``, or the model's window, is used up
    ``content_filter``  cut off, or refused, by the vendor; its own word is in the message's
                        ``metadata["finish_detail"]``
    ``cancelled``       cut off by ``cancel`` or a message that took its place
    ``incomplete``      the model failed in the middle of it; a ModelError was raised
    ``stopped``         something else ended the turn, such as Ctrl-C
    another word        the vendor's own, as it is

    In the message it is ``metadata["finish_reason"]``, or ``metadata["interrupted"]`` for the last
    three, and nothing for a whole one.
    """
    metadata = answer.metadata
    return str(metadata.get("interrupted") or metadata.get("finish_reason") or "stop")


@frozen
class Message:
    """One entry of a thread.

    ``content`` is text, or a list of content parts (JSON objects with a ``type``) for models that
    take images and the like. ``tool_calls`` belong to assistant messages, ``tool_call_id`` and
    ``name`` to tool messages. ``created_at`` is in seconds since the epoch.
    """

    role: Role
    content: str | list[dict[str, Any]] = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None
    id: str = field(factory=new_id)
    turn_id: str | None = None
    created_at: float = 0.0
    metadata: dict[str, Any] = field(factory=dict)
    extra: dict[str, Any] = field(factory=dict)
    """Fields written by other versions; they survive a round trip."""

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> dict[str, Any]:
            """Make ``extra``, which a message that was loaded lacks until it is asked for.

            Nearly all are empty, and an empty dict takes a tenth of a message's room.
            """
            if name != "extra":
                raise AttributeError(f"a Message has no {name!r}", name=name, obj=self)
            object.__setattr__(self, "extra", {})
            return self.extra

    @property
    def text(self) -> str:
        """The readable part of the content."""
        return readable(self.content)

    def to_dict(self) -> dict[str, Any]:
        """Return the message as plain data: ``role`` and ``content`` always, the rest if set."""
        out: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.tool_calls:
            out["tool_calls"] = [
                {"id": call.id, "name": call.name, "arguments": call.arguments}
                for call in self.tool_calls
            ]
        if self.tool_call_id is not None:
            out["tool_call_id"] = self.tool_call_id
        if self.name is not None:
            out["name"] = self.name
        out["id"] = self.id
        out["turn_id"] = self.turn_id
        out["created_at"] = isoformat(self.created_at)
        if self.metadata:
            out["metadata"] = self.metadata
        return out
