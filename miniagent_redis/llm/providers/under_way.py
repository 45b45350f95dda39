"""What is known of a request under way: whether it was sent, its key, how long it may be silent.

The SDKs send a request again when its connection broke or timed out. But what was sent whole may
have been worked on, and is paid for then. So it is sent again only if it was not, or if it was
refused. All this is noted for the thread of the request: its HTTP client tells of each step there.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import partial
from typing import Any

KEY = "key-of-each-request"
"""Stands in a client for a key that is asked for anew for each request."""
_MAYBE_DONE = (408, 502, 504, 520, 524)  # gateways', of a server that may go on with its work
_KEY_HEADERS = ("authorization", "x-api-key", "api-key", "x-goog-api-key")


class SentAlready(BaseException):
    """The request would be sent again, though it may have been executed.

    No Exception, as the SDKs would repeat after that too. ``failure`` is how the first one ended.
    """

    def __init__(self, failure: Any) -> None:
        super().__init__(failure)
        self.failure: Any = failure


class _UnderWay(threading.local):
    is_sent: bool = False
    failure: Any = None
    longest_silence: float | None = None
    key: str | None = None
    first_url: Any = None


_now = _UnderWay()


def begin(key: str | None = None) -> None:
    """Begin with a request of this thread; ``key`` takes the place of ``KEY`` in its headers."""
    _now.is_sent, _now.failure, _now.longest_silence, _now.key = False, None, None, key
    _now.first_url = None


def was_sent() -> bool:
    """Whether it was sent whole, and not refused: then it may be paid for."""
    return _now.is_sent


def limit_silence(seconds: float | None) -> None:
    """From here on the server may keep silent for so long."""
    _now.longest_silence = seconds


def heed(event: str, about: Mapping[str, Any]) -> None:
    """Take what the HTTP client tells of a request."""
    if event.endswith("send_request_body.complete"):
        _now.is_sent = True
    elif event.endswith(".failed"):
        _now.failure = about.get("exception")


def heed_silence(stream: Any) -> None:
    """Have reads from a new connection end when the silence has lasted too long."""
    stream.read = partial(_read, stream.read)


def _read(read: Any, max_bytes: int, timeout: float | None = None) -> Any:
    limit = _now.longest_silence
    return read(max_bytes, timeout=timeout if limit is None else limit)


def put_secrets(query: Mapping[str, str], request: Any) -> None:
    """Put the key of this request in its place, and add the query of the model's address.

    Who is sent on to another server takes neither there. A hook for requests.
    """
    url, first = request.url, _now.first_url or request.url
    _now.first_url = first
    is_there = (url.scheme, url.netloc) == (first.scheme, first.netloc)
    if not is_there and (url.scheme, url.host) != ("https", first.host):
        for name in _KEY_HEADERS:
            request.headers.pop(name, None)
        return
    if query:
        request.url = url.copy_merge_params(query)
    for name in _KEY_HEADERS if _now.key else ():
        if KEY in (value := request.headers.get(name, "")):
            request.headers[name] = value.replace(KEY, _now.key)


def send_once(request: Any) -> None:
    """Raise SentAlready if this was sent, and nothing was heard of it. A hook for requests."""
    if _now.is_sent:
        _now.is_sent = False
        raise SentAlready(_now.failure)


def note_answer(response: Any) -> None:
    """Forbid a repetition of what may have been done, whatever the status. A hook for responses."""
    _now.is_sent = False
    if response.status_code in _MAYBE_DONE:
        response.headers.setdefault("x-should-retry", "false")
