"""Reading Server-Sent Events as a browser does."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from attrs import frozen


@frozen
class Sent:
    """One event, as it came; a comment has only that."""

    id: str = ""
    event: str = "message"
    data: dict[str, Any] | None = None
    comment: str = ""

    @property
    def text(self) -> str:
        return str((self.data or {}).get("text", ""))


def read_events(pieces: Iterable[Any], *, comments: bool = False) -> Iterator[Sent]:
    """Yield the events in a stream of bytes, however they are cut; comments too, if wanted."""
    rest = b""
    for piece in pieces:
        *blocks, rest = (rest + piece).split(b"\n\n")
        for block in blocks:
            sent = _read(block.decode())
            if sent.data is not None or (comments and sent.comment):
                yield sent


def _read(block: str) -> Sent:
    fields: dict[str, Any] = {}
    for line in block.split("\n"):
        name, _, value = line.partition(": ")
        if name in ("id", "event"):
            fields[name] = value
        elif name == "data":
            fields["data"] = json.loads(value)
        elif name == "":
            fields["comment"] = value
    return Sent(**fields)


def said(events: Iterable[Sent]) -> str:
    """Return the text that came piece by piece, since the turn was begun or taken over."""
    text = ""
    for one in events:
        if one.event == "turn_started":
            text = ""
        elif one.event == "text_delta":
            text += one.text
    return text
