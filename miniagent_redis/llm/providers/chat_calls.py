"""Tool calls of chat completions: they come in pieces, of which servers hardly say whose."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from attrs import define, field

from ...models import ToolCall, new_id
from ..base import UnreadCall
from ..calls import read_call

_STORED = ("index", "id", "type", "function", "name", "arguments")


@define
class _Call:
    index: Any
    id: str = ""
    name: str = ""
    arguments: str = ""
    added: dict[str, Any] = field(factory=dict)

    @property
    def is_whole(self) -> bool:
        try:
            return isinstance(json.loads(self.arguments, strict=False), (dict, str))
        except (ValueError, RecursionError):
            return False


class CallPieces:
    """The calls of one reply, put together piece by piece."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, piece: Any) -> None:
        """Take the next piece; raises ValueError for what is none."""
        if not isinstance(piece, dict):
            raise ValueError(f"a strange call: {piece!r:.100}")
        function = piece.get("function") or piece  # some leave that level out
        if not isinstance(function, dict):
            raise ValueError(f"a strange call: {piece!r:.100}")
        its_id, name = _text(piece.get("id")), _text(function.get("name"))
        call = self._begun(piece.get("index"), its_id, name)
        if call is None:
            call = _Call(piece.get("index"))
            self._calls.append(call)
        call.id = call.id or its_id
        call.name = call.name or name
        extra = {key: value for key, value in piece.items() if value and key not in _STORED}
        call.added |= extra
        given = function.get("arguments")  # an object, from some servers
        text = given if isinstance(given, str) else json.dumps(given) if given else ""
        # Some begin or end with "{}", and some send all once more in the end.
        is_anew = text.lstrip().startswith("{") and call.is_whole
        if not is_anew:
            call.arguments += text
        elif text.strip() != "{}":
            call.arguments = text

    def read(self) -> Iterator[ToolCall | UnreadCall]:
        """Yield the calls, each with an id."""
        for call in self._calls:
            call.id = call.id or new_id()
            yield read_call(call.id, call.name, call.arguments)

    def added(self) -> dict[str, dict[str, Any]]:
        """Return what the server said of the calls beside that, by their ids."""
        return {call.id: call.added for call in self._calls if call.added}

    def _begun(self, index: Any, its_id: str, name: str) -> _Call | None:
        """Return the call that a piece goes on with, None if one begins with it."""
        last = self._calls[-1] if self._calls else None
        if last is None:
            return None
        same = [call for call in self._calls if call.index == index is not None]
        known = [call for call in self._calls if call.id == its_id != ""]
        if not name:  # a call is told by its name; what has none belongs to one that has
            return (
                (same or known or [last])[-1]
                if same or known or not its_id
                else (last if index is None and not last.is_whole else None)
            )
        found = (known or same or ([last] if index is None else []))[-1:]
        if not found or _is_another(found[0], its_id, name, index):
            return None
        return found[0]


def _is_another(call: _Call, its_id: str, name: str, index: Any) -> bool:
    """Whether a call begins with this piece, which has a name, though ``call`` has its place.

    Google's server and others say index 0 of each call, with ids or without, and send each call
    whole. Others again repeat name and id with each piece, or make up an id for each.
    """
    if not call.name:
        return False
    if call.id and its_id:
        if call.id != its_id:
            return call.is_whole or not call.arguments
        return call.is_whole and (name != call.name or index not in (None, call.index))
    return call.is_whole


def _text(value: Any) -> str:
    return "" if value is None else str(value)
