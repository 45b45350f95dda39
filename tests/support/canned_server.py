"""An HTTP server that sends prepared event streams, and keeps what it was asked."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any


class CannedServer:
    """Answers requests with ``replies``, one after another: a status and the events of each.

    Bytes among the events are sent as they are; their content type is ``kind``. If it
    ``is_endless``, the last event comes again and again, until the client has left. One that
    ``is_silent`` after its events stays so until then, and so does a reply that ends with None.
    """

    def __init__(self) -> None:
        self.replies: list[tuple[int, list[Any], dict[str, str]]] = []
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.is_endless = False
        self.is_silent = False
        self.breaks_off = 0  # so many requests are heard, and not answered
        self.kind = "text/event-stream"
        self.paths: list[str] = []
        self.was_asked = threading.Event()
        self.was_left = threading.Event()
        canned = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                canned._answer(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def add(self, *events: Any, status: int = 200, told: dict[str, str] | None = None) -> None:
        """Add a reply; ``told`` are headers of it."""
        self.replies.append((status, list(events), told or {}))

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["content-length"]))
        self.bodies.append(json.loads(body))
        self.paths.append(request.path)
        self.headers.append({key.lower(): value for key, value in request.headers.items()})
        if self.breaks_off:
            self.breaks_off -= 1
            request.connection.close()
            return
        status, events, told = self.replies.pop(0)
        is_silent = self.is_silent or events[-1:] == [None]
        self.was_asked.set()
        request.send_response(status)
        kind = self.kind if status == 200 else "application/json"
        for name, value in {"content-type": kind, **told}.items():
            request.send_header(name, value)
        request.end_headers()
        if status != 200:
            request.wfile.write(json.dumps(events[0]).encode())
            return
        try:
            while True:
                for event in filter(None, events):
                    request.wfile.write(encode(event))
                    request.wfile.flush()
                if is_silent:
                    self.was_left.wait(20)
                    return
                if not self.is_endless or self.was_left.wait(0.02):
                    return
                events = events[-1:]
        except OSError:
            self.was_left.set()

    def __enter__(self) -> CannedServer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.was_left.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def encode(event: Any) -> bytes:
    if isinstance(event, bytes):
        return event
    name = f"event: {event['type']}\n" if isinstance(event, dict) and "type" in event else ""
    data = event if isinstance(event, str) else json.dumps(event)
    return f"{name}data: {data}\n\n".encode()
