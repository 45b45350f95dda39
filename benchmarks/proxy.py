"""A Unix socket in front of the server that passes everything on and counts it."""

from __future__ import annotations

import select
import socket
import socketserver
import threading
from pathlib import Path
from typing import cast

from attrs import define


@define
class Traffic:
    """What went over the wire. A round trip begins when a client speaks after it was answered."""

    round_trips: int = 0
    sent: int = 0
    received: int = 0


class CountingProxy:
    """Counts what clients of ``url`` say and hear, all of them together."""

    def __init__(self, upstream: Path) -> None:
        self.upstream = upstream
        self._path = upstream.with_name("proxy")
        self.url = f"unix://{self._path}"
        self._counted = Traffic()
        self._lock = threading.Lock()  # over the counts
        self._server = _Server(str(self._path), _Link)
        self._server.proxy = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def take(self) -> Traffic:
        """Return what was counted since the last call."""
        with self._lock:
            counted, self._counted = self._counted, Traffic()
        return counted

    def count(self, round_trips: int, sent: int, received: int) -> None:
        with self._lock:
            self._counted.round_trips += round_trips
            self._counted.sent += sent
            self._counted.received += received

    def __enter__(self) -> CountingProxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._path.unlink()


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    proxy: CountingProxy


class _Link(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        client: socket.socket = self.request
        proxy = cast(_Server, self.server).proxy
        is_answered = True
        with socket.socket(socket.AF_UNIX) as upstream:
            upstream.connect(str(proxy.upstream))
            while True:
                for end in select.select([client, upstream], [], [])[0]:
                    try:
                        chunk = end.recv(1 << 20)
                    except OSError:
                        return
                    if not chunk:
                        return
                    # Counted before it is passed on: whoever has the answer finds it counted.
                    if end is client:
                        proxy.count(int(is_answered), len(chunk), 0)
                        is_answered = False
                        upstream.sendall(chunk)
                    else:
                        proxy.count(0, 0, len(chunk))
                        is_answered = True
                        client.sendall(chunk)
