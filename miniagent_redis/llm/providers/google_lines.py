"""Google's stream, line by line, before its SDK reads it.

The SDK takes any line that has no ``data:`` for a piece of JSON, and so fails at what gateways send
to keep a connection alive; and it drops what Google says of a call that it could not read.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any

from .sse import lines_of

_PASSED_OVER = (":", "event:", "id:", "retry:")


class _Heard(threading.local):
    message: str = ""


_heard = _Heard()  # of the answer that this thread reads


def finish_message() -> str:
    """Return why the answer ended, in Google's words, "" if it said nothing."""
    return _heard.message


def heed_lines(response: Any) -> None:
    """Have the SDK read lines of events only. A hook for responses."""
    _heard.message = ""
    if "event-stream" in response.headers.get("content-type", ""):
        response.iter_bytes = partial(_lines, response.iter_bytes)


def _lines(iter_bytes: Any, chunk_size: int | None = None) -> Iterator[bytes]:
    for number, line in enumerate(lines_of(iter_bytes(chunk_size))):
        said = line.removeprefix("\ufeff") if number == 0 else line
        if said.startswith(_PASSED_OVER):
            continue
        if said.startswith("data:"):
            said = f"data: {said[5:].lstrip()}"
        if '"finishMessage"' in said:
            with suppress(ValueError, LookupError, TypeError):
                candidate = json.loads(said[5:])["candidates"][0]
                _heard.message = str(candidate["finishMessage"])
        yield said.encode() + b"\n"
