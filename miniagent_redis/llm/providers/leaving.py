"""Ending the request of an answer that nobody waits for: its socket is shut down.

The SDKs keep connections for the next request and do not tell which one a request goes over. But
their HTTP client tells of each connection that it makes (its "trace" extension), and what is
written to that is written in the thread of the request. So each notes its socket then.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from ...runtime.aside import Left, cut_when_left, is_left
from .under_way import heed, heed_silence

_CONNECTED = ("connect_tcp.complete", "start_tls.complete")
_OVER = "response_closed.started"  # others may use the connection from here on


def heed_leaving(request: Any) -> None:
    """Have the request end as soon as nobody waits for its answer.

    A hook for the requests of an SDK's HTTP client. Raises Left if nobody does, as in one that the
    SDK repeats.
    """
    if is_left():
        raise Left
    request.extensions = {**request.extensions, "trace": _heed}


def _heed(event: str, about: Mapping[str, Any]) -> None:
    heed(event, about)
    if event.endswith(_OVER):
        cut_when_left(None)
    elif event.endswith(_CONNECTED):
        stream = about["return_value"]
        found = stream.get_extra_info("socket")
        if isinstance(found, socket.socket):
            heed_silence(stream)
            stream.write = partial(_write, stream.write, partial(_shut_down, found))


def _write(write: Any, shut_down: Any, *args: Any, **options: Any) -> Any:
    cut_when_left(shut_down)
    return write(*args, **options)


def _shut_down(connection: socket.socket) -> None:
    with suppress(OSError):  # it has ended by itself
        # Not the method of a TLS socket, which changes what the reading thread is using.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
