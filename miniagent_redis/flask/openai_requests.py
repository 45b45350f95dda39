"""What the routes of the OpenAI door have in common: bodies in, streams out."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import Any, Protocol

from flask import Response, request

from ..doors.openai.checks import refuse
from ..doors.openai.conversations import Conversations
from ..doors.openai.creating import Creating
from ..doors.openai.faults import fault_of
from ..doors.openai.repeats import Repeats
from ..doors.openai.stored import StoredResponses
from ..doors.sse import HEADERS, MEDIA_TYPE, PING
from ..errors import MiniAgentError
from ..session import SessionManager
from .streams import OpenStreams

log: logging.Logger = logging.getLogger("miniagent_redis")
Json = dict[str, Any]

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "TRACE")


class Doorkeeper(Protocol):
    """Knows whose the request is, and gives what is theirs."""

    def manager(self, model: str | None = None) -> SessionManager: ...
    def user_id(self) -> str: ...
    def creating(self, model: str) -> Creating: ...
    def stored(self) -> StoredResponses: ...
    def conversations(self) -> Conversations: ...
    def streaming(self) -> Streaming: ...


def body() -> Any:
    """Return the JSON of the request, whatever it says of its type."""
    try:
        return json.loads(request.get_data() or b"{}", parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return refuse("The body of the request is no JSON.", "body", "invalid_json")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def repeats() -> Repeats:
    """Return what the request says of being a repetition."""
    return Repeats.of(
        request.headers.get("Idempotency-Key"),
        request.headers.get("x-stainless-retry-count"),
        request.path.encode() + b"\0" + request.get_data(),
    )


def flag(name: str) -> bool:
    """Return whether a parameter of the query is true."""
    return request.args.get(name, "").lower() in ("true", "1")


def _failed(error: MiniAgentError, number: int) -> list[Json]:
    told = fault_of(error).body["error"]
    return [{**told, "type": "error", "sequence_number": number + 1}]


class Streaming:
    """A stream that a client reads, counted from before its turn begins; who leaves stops nothing.

    Raises TooManyStreams.
    """

    def __init__(self, streams: OpenStreams, limit: int) -> None:
        self._streams = streams
        self._frames: Generator[bytes, None, None] | None = None
        streams.take(self, limit)

    def of(
        self,
        events: Iterable[Json | None],
        frame: Callable[[Json], bytes],
        end: bytes = b"",
        *,
        failed: Callable[[MiniAgentError, int], list[Json]] = _failed,
        headers: Mapping[str, str] = HEADERS,
    ) -> Response:
        """Return the response that tells these events.

        ``failed`` makes those that tell of an error behind the status, and of the last number.
        """
        told = iter(events)
        first = next(told, None)  # what fails now still has a status of its own
        self._frames = _frames(first, told, frame, end, failed)
        return Response(self, mimetype=MEDIA_TYPE, headers={**HEADERS, **headers})

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._frames or ())

    def close(self) -> None:
        """Stop looking. Twice is fine."""
        self._streams.leave(self)
        if self._frames is not None:
            self._frames.close()


def _frames(
    first: Json | None,
    told: Iterator[Json | None],
    frame: Callable[[Json], bytes],
    end: bytes,
    failed: Callable[[MiniAgentError, int], list[Json]],
) -> Generator[bytes, None, None]:
    number = 0
    try:
        event = first
        while True:
            yield PING if event is None else frame(event)
            if event is not None:
                number = event.get("sequence_number", number)
            event = next(told)
    except StopIteration:
        yield end
    except MiniAgentError as exc:  # the status is sent already
        log.warning("a stream was ended: %s", exc)
        for event in failed(exc, number):
            yield frame(event)


def named(event: Json) -> bytes:
    """Return an event of a response as it is sent."""
    return f"event: {event['type']}\n".encode() + unnamed(event)


def unnamed(event: Json) -> bytes:
    """Return a chunk as it is sent."""
    return b"data: " + as_json(event) + b"\n\n"


def as_json(data: Json) -> bytes:
    """Return data as JSON in UTF-8; half a character, which a model may send, as its escape."""
    return json.dumps(data, ensure_ascii=False).encode("utf-8", "backslashreplace")
