"""What a model deliberates first, as an item of a response: told in the form of a summary.

That is the form which clients show. It is there as long as the events are: the messages of a thread
do not have it, so neither have the items of a conversation. What comes while the answer is being
said is left out, so that this stays one message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from .calls import ADDED, DONE, Told
from .ids import REASONING, ResponseId
from .items import Json

_TEXT = "response.reasoning_summary_text"
_PART = "response.reasoning_summary_part"


class Reasoning:
    """The deliberations of a turn, one item after the other; ``index`` tells where the next is."""

    def __init__(self, response: ResponseId, index: Callable[[], int]) -> None:
        self._response = response
        self._index = index
        self._place = 0
        self._id: str | None = None
        self._text = ""

    @property
    def item(self) -> Json | None:
        """The item as it is now, None if there is none under way."""
        return None if self._id is None else self._item("in_progress")

    def say(self, piece: str) -> Iterator[Told]:
        """Yield what is told of the next piece."""
        if self._id is None:
            self._id = self._response.item(REASONING, f"r{self._place}")
            self._place, self._text = self._place + 1, ""
            empty = {**self._item("in_progress"), "summary": []}
            yield ADDED, {"output_index": self._index(), "item": empty}
            yield f"{_PART}.added", {**self._where, "part": _part("")}
        self._text += piece
        yield f"{_TEXT}.delta", {**self._where, "delta": piece}

    def finish(self, status: str) -> Iterator[Told]:
        """Yield what is told of the end of the item; the last one has it as it is then."""
        if self._id is None:
            return
        where, done = self._where, self._item(status)
        self._id = None
        yield f"{_TEXT}.done", {**where, "text": self._text}
        yield f"{_PART}.done", {**where, "part": _part(self._text)}
        yield DONE, {"output_index": self._index(), "item": done}

    def _item(self, status: str) -> Json:
        return {
            "id": self._id,
            "type": "reasoning",
            "status": status,
            "summary": [_part(self._text)] if self._text else [],
            "encrypted_content": None,
        }

    @property
    def _where(self) -> dict[str, Any]:
        return {"item_id": self._id, "output_index": self._index(), "summary_index": 0}


def _part(text: str) -> Json:
    return {"type": "summary_text", "text": text}
