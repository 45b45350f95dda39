"""What comes back of a request, whoever answers: the JSON of each event, and whether it ended well.

Imitators of OpenAI and Anthropic end their streams in other ways than these, tell errors with
status 200, or answer with one JSON object though a stream was asked for. The SDKs pass over all
that, so the bytes are read here. What they are is told by how they begin, since the content type
that goes with them is often another one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

_BOM = b"\xef\xbb\xbf"
_WHOLE = (b"{", b"[", b"<")  # how JSON and pages begin, and no line of a stream
_END = "[DONE]"
_LONGEST = 300  # characters of a page that is no answer
_CONTENTS = ("choices", "output", "content", "delta", "candidates")  # of what is an answer


class ToldError(Exception):
    """A server told of an error, but not by a status: in its stream, or (``is_whole``) with 200."""

    def __init__(self, body: Any, *, is_whole: bool) -> None:
        super().__init__(body if isinstance(body, str) else json.dumps(body, ensure_ascii=False))
        self.body = body
        self.is_whole = is_whole
        code = body.get("code") if isinstance(body, Mapping) else None
        is_status = isinstance(code, int) and 400 <= code < 600
        self.status_code: int | None = code if is_status else None


class EventStream:
    """The events of an SDK's raw ``response``, each an object of JSON.

    ``is_done``: the server said that this was all, by ``[DONE]`` or since it came in one piece.
    Iterating raises ToldError, and ValueError for what is no JSON.
    """

    def __init__(self, response: Any) -> None:
        self.is_done: bool = False
        self._response = response

    def __iter__(self) -> Iterator[dict[str, Any]]:
        pieces = iter(self._response.iter_bytes())
        start = b""
        for piece in pieces:  # servers that let one wait send empty lines meanwhile
            start = (start + piece).removeprefix(_BOM).lstrip()
            if start and not _BOM.startswith(start):
                break
        if start.startswith(_WHOLE):
            yield from self._whole(b"".join(chain([start], pieces)))
        else:
            yield from self._events(chain([start], pieces))

    def _whole(self, body: bytes) -> Iterator[dict[str, Any]]:
        try:
            found = json.loads(body)
        except ValueError:  # a page, an answer that was cut off, or objects line by line
            found = [_parsed(line) for line in lines_of([body]) if _is_object(line)]
            if not found:
                raise _page(body.decode("utf-8", "replace")) from None
        else:
            self.is_done = True
        for one in found if isinstance(found, list) else [found]:
            yield _checked(one, is_whole=self.is_done)

    def _events(self, pieces: Iterable[bytes]) -> Iterator[dict[str, Any]]:
        name, data = "", list[str]()
        strange, is_told = "", False
        for line in lines_of(pieces):
            if line:
                field, _, value = line.partition(":")
                if field == "data":
                    data.append(value.removeprefix(" "))
                elif field == "event":
                    name = value.strip()
                elif field == "error":  # llama.cpp's way
                    raise ToldError(_read(value), is_whole=False)
                elif _is_object(line):  # of servers that fail in the middle
                    data.append(line)
                elif field not in ("", "id", "retry"):
                    strange = f"{strange} {line}"[:_LONGEST]
                continue
            for event in self._told(name, data):
                is_told = True
                yield event
            name, data = "", []
            if self.is_done:
                return
        try:
            for event in self._told(name, data):
                is_told = True
                yield event
        except ValueError:  # cut off in the middle
            return
        if strange and not is_told:
            raise _page(strange)

    def _told(self, name: str, data: list[str]) -> Iterator[dict[str, Any]]:
        text = "\n".join(data).strip()
        if name == "error" and text and not text.startswith("{"):
            raise ToldError(text, is_whole=False)
        try:
            parts = [_parsed(text)] if text else []
        except ValueError:  # events without an empty line between them
            parts = [_parsed(line) for line in data]
        for part in parts:
            if part == _END:
                self.is_done = True
            elif part is not None:
                if name == "error" and not part.get("error"):
                    raise ToldError(part, is_whole=False)
                yield _checked(part, is_whole=False)


_ENDS = re.compile(rb"\r\n|\n|\r")


def lines_of(pieces: Iterable[bytes]) -> Iterator[str]:
    """Yield the lines, without their ends: those of event streams, as texts have other breaks."""
    rest = list[bytes]()  # of a line that goes on: a picture may come in thousands of pieces
    is_cut = False  # the line feed of a CR LF may be in the next piece
    for piece in pieces:
        if not piece:
            continue
        *lines, last = _ENDS.split(piece.removeprefix(b"\n") if is_cut else piece)
        is_cut = piece.endswith(b"\r")
        for line in lines:
            yield b"".join([*rest, line]).decode("utf-8", "replace")
            rest.clear()
        rest.append(last)
    if text := b"".join(rest):
        yield text.decode("utf-8", "replace")


def _is_object(line: str) -> bool:
    return line.lstrip().startswith("{")


def _page(text: str) -> ToldError:
    return ToldError(f"it sent a page: {' '.join(text.split())[:_LONGEST]}", is_whole=True)


def _parsed(text: str) -> Any:
    """Return an event, ``_END``, or None for a word by which servers keep a connection alive."""
    if text.startswith(_END):
        return _END
    found = json.loads(text) if text.startswith(("{", "[")) else None
    if found is not None and not isinstance(found, dict):
        raise ValueError(f"a strange event: {text:.100}")
    return found


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text.strip()


def _checked(event: Any, *, is_whole: bool) -> dict[str, Any]:
    """Return the event; raises ToldError if it tells of an error, ValueError if it is no object."""
    if not isinstance(event, dict):
        raise ValueError(f"a strange event: {event!r:.100}")
    error = event.get("error")
    if error and event.get("object") != "response":  # one of those tells it by its status
        raise ToldError(error, is_whole=is_whole)
    is_error = "error" in (event.get("object"), event.get("type"))
    if is_whole:  # each server has names of its own for what went wrong
        is_error = is_error or all(event.get(name) is None for name in _CONTENTS)
    base = event.get("base_resp")  # MiniMax's, in streams too
    if is_error or (isinstance(base, Mapping) and base.get("status_code")):
        raise ToldError(event, is_whole=is_whole)
    return event
