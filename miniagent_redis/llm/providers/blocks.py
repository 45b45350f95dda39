"""A provider's own pieces of a reply: how they are kept beside its text and calls, and put back.

Vendors that sign their models' thoughts want each reply back as it was: the same pieces in the same
order. Text and calls are stored anyway, so a layout only refers to them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attrs import define, field, frozen

from ...models import Message, ToolCall
from ..base import Block
from .parts import Media, content_parts


def own_blocks(message: Message, provider: str) -> Iterator[dict[str, Any]]:
    """Yield the data of the message's blocks that are of this provider."""
    for block in message.metadata.get("blocks", ()):
        if block["provider"] == provider:
            yield block["data"]


@frozen
class Piece:
    """One piece of a reply: text, a call, a picture, or something that is the provider's own."""

    text: str = ""
    call: ToolCall | None = None
    own: dict[str, Any] | None = None
    media: Media | None = None
    extra: dict[str, Any] = field(factory=dict)
    """What the provider had added to a text or call."""


@define
class Layout:
    """The order of the pieces of a reply, written as they come."""

    provider: str
    _order: list[dict[str, Any]] = field(factory=list)
    _is_plain: bool = True

    def text(self, text: str, **extra: Any) -> None:
        last = self._order[-1] if self._order else {}
        if not extra and last.keys() == {"text"}:
            last["text"] += len(text)
        else:
            self._add({"text": len(text), **extra}, bool(extra))

    def call(self, call_id: str, **extra: Any) -> None:
        self._add({"call": call_id, **extra}, bool(extra))

    def part(self, **extra: Any) -> None:
        self._add({"part": True, **extra}, True)

    def own(self, data: dict[str, Any]) -> None:
        self._add({"own": data}, True)

    def blocks(self) -> Iterator[Block]:
        """Yield the layout as a block; nothing if text and calls say as much by themselves."""
        if not self._is_plain:
            yield Block(self.provider, {"order": self._order})

    def _add(self, entry: dict[str, Any], is_special: bool) -> None:
        self._order.append(entry)
        self._is_plain = self._is_plain and not is_special


def pieces(message: Message, provider: str) -> Iterator[Piece]:
    """Yield the pieces of an assistant's message, in the order in which this provider gave them.

    Of a reply by another provider, that is the text and then the calls. Calls that are not in the
    message any more are passed over.
    """
    content, text = message.content, message.text
    parts = [] if isinstance(content, str) else content_parts(content)
    media = [part for part in parts if isinstance(part, Media)]
    calls = {call.id: call for call in message.tool_calls}
    for data in own_blocks(message, provider):
        for entry in data.get("order", ()):
            extra = {key: entry[key] for key in entry.keys() - {"text", "call", "own", "part"}}
            if "own" in entry:
                yield Piece(own=entry["own"])
            elif "part" in entry:
                if media:
                    yield Piece(media=media.pop(0), extra=extra)
            elif "text" in entry:
                yield Piece(text[: entry["text"]], extra=extra)
                text = text[entry["text"] :]
            elif call := calls.pop(entry["call"], None):
                yield Piece(call=call, extra=extra)
    if text:
        yield Piece(text)
    for part in media:
        yield Piece(media=part)
    for call in calls.values():
        yield Piece(call=call)
