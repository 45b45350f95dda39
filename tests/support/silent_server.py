"""An HTTP server that falls silent in the middle of its answer, until its client has left."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from tests.support.canned_server import encode
from tests.support.waiting import until


class SilentServer:
    """Answers requests with ``replies``, one after another; connections are kept.

    A reply is the events of a whole answer; or those that come before the silence, and a last None.
    With nothing before that not even a status is sent.
    """

    def __init__(self) -> None:
        self.replies: list[list[Any]] = []
        self.asked = self.left = self.connections = 0
        silent = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                silent.connections += 1

            def do_POST(self) -> None:
                silent._answer(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def add(self, *events: Any) -> None:
        self.replies.append(list(events))

    def wait_until_asked(self, times: int = 1) -> None:
        until(lambda: self.asked >= times)

    def wait_until_left(self, times: int = 1) -> None:
        """Wait until clients have closed so many connections while it kept silent."""
        until(lambda: self.left >= times)

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        request.rfile.read(int(request.headers["content-length"]))
        events = self.replies.pop(0)
        is_silent = events[-1] is None
        if events != [None]:
            request.send_response(200)
            request.send_header("content-type", "text/event-stream")
            request.send_header("transfer-encoding", "chunked")
            request.end_headers()
            for event in events[:-1] if is_silent else [*events, b""]:
                data = encode(event)
                request.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
                request.wfile.flush()
        self.asked += 1
        if is_silent:
            request.close_connection = True
            if not request.connection.recv(1):
                self.left += 1

    def __enter__(self) -> SilentServer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
