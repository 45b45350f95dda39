"""What comes back of a request, whoever answers: the JSON of each event, and whether it ended well.

Imitators of OpenAI and Anthropic end their streams in other ways than these, tell errors with
status 200, or answer with one JSON object though a stream was asked for. The SDKs pass over all
that, so the bytes are read here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_WHOLE = ("json", "html")  # in the name of a content type that is no stream
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
        kind = str(self._response.headers.get("content-type", "")).lower()
        if "event-stream" not in kind and any(word in kind for word in _WHOLE):
            yield from self._whole(self._response.read())
        else:
            yield from self._events(self._response.iter_bytes())

    def _whole(self, body: bytes) -> Iterator[dict[str, Any]]:
        try:
            found = json.loads(body)
        except ValueError:
            if b"data:" not in body:
                text = " ".join(body.decode("utf-8", "replace").split())
                if text:
                    told = f"it sent a page: {text[:_LONGEST]}"
                    raise ToldError(told, is_whole=True) from None
                return
            yield from self._events([body])  # a stream after all
            return
        self.is_done = True
        for one in found if isinstance(found, list) else [found]:
            yield _checked(one, is_whole=True)

    def _events(self, pieces: Iterable[bytes]) -> Iterator[dict[str, Any]]:
        name, data = "", list[str]()
        for line in _lines(pieces):
            if line:
                field, _, value = line.partition(":")
                if field == "data":
                    data.append(value.removeprefix(" "))
                elif field == "event":
                    name = value.strip()
                elif field == "error":  # llama.cpp's way
                    raise ToldError(_read(value), is_whole=False)
                continue
            if data:
                yield from self._told(name, data)
            name, data = "", []
            if self.is_done:
                return
        if data:
            try:
                yield from self._told(name, data)
            except ValueError:  # cut off in the middle
                return

    def _told(self, name: str, data: list[str]) -> Iterator[dict[str, Any]]:
        try:
            parts = [_parsed("\n".join(data))]
        except ValueError:  # events without an empty line between them
            parts = [_parsed(line) for line in data]
        for part in parts:
            if part == _END:
                self.is_done = True
            elif part is not None or name != "error":
                if name == "error" and not (isinstance(part, dict) and part.get("error")):
                    raise ToldError(part, is_whole=False)
                yield _checked(part, is_whole=False)


def _lines(pieces: Iterable[bytes]) -> Iterator[str]:
    """Yield the lines, without their ends. Only a line feed ends one: texts have other breaks."""
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield line.rstrip(b"\r").decode("utf-8", "replace")
    if rest:
        yield rest.rstrip(b"\r").decode("utf-8", "replace")


def _parsed(text: str) -> Any:
    return _END if text.strip().startswith(_END) else json.loads(text)


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
