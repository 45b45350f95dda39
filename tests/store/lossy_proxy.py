"""A Unix socket in front of a real server: lets a command be executed and loses its reply.

It also counts round trips: how often a client spoke after the server had answered it.
"""

from __future__ import annotations

import select
import shutil
import socket
import socketserver
import tempfile
import threading
from importlib.resources import files
from pathlib import Path
from typing import Any

import redis

from miniagent_redis.scripts import source

OPERATIONS = sorted(
    path.name.removesuffix(".lua")
    for path in (files("miniagent_redis") / "lua").iterdir()
    if path.name.endswith(".lua") and not path.name.startswith("_")
)


class LossyProxy:
    """Passes bytes on both ways; ``lose_replies`` makes it swallow the next ones."""

    def __init__(self, upstream: Path) -> None:
        self.upstream = upstream
        # /tmp and not TMPDIR: a socket's path may have some 100 bytes.
        self._folder = Path(tempfile.mkdtemp(prefix="proxy-", dir="/tmp"))
        self.url = f"unix://{self._folder / 's'}"
        self.round_trips = 0
        self.lost = 0
        self._to_lose = 0
        self._matching = b""
        self._instead: bytes | None = None
        self._lock = threading.Lock()  # guards the counters
        self._server = _Server(str(self._folder / "s"), _Link)
        self._server.proxy = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def lose_replies(self, times: int = 1, matching: str = "EVALSHA") -> None:
        """Lose the replies to the next ``times`` requests that contain ``matching``.

        Each is executed by the server, and the connection closed instead of answering.
        """
        with self._lock:
            self.lost, self._to_lose, self._matching = 0, times, matching.encode()
            self._instead = None

    def answer(self, reply: str, times: int = 1, matching: str = "EVALSHA") -> None:
        """Answer the next ``times`` requests that contain ``matching`` instead of the server."""
        with self._lock:
            self.lost, self._to_lose, self._matching = 0, times, matching.encode()
            self._instead = reply.encode()

    def load_scripts(self) -> None:
        """Let the server know every script, so that each EVALSHA is executed at once."""
        with redis.Redis(unix_socket_path=str(self.upstream)) as client:
            for name in OPERATIONS:
                client.script_load(source(name))

    def takes(self, request: bytes) -> bytes | bool:
        """Return False to pass the request on, True to lose its reply, or the reply to give."""
        with self._lock:
            if not self._to_lose or self._matching not in request:
                return False
            self._to_lose -= 1
            self.lost += 1
            return True if self._instead is None else self._instead

    def count_round_trip(self) -> None:
        with self._lock:
            self.round_trips += 1

    def __enter__(self) -> LossyProxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        shutil.rmtree(self._folder)


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    proxy: LossyProxy


class _Link(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        server: Any = self.server
        with socket.socket(socket.AF_UNIX) as upstream:
            upstream.connect(str(server.proxy.upstream))
            self._pump(server.proxy, self.request, upstream)

    def _pump(self, proxy: LossyProxy, client: Any, upstream: socket.socket) -> None:
        losing, client_spoke = False, False
        while True:
            for source_ in select.select([client, upstream], [], [])[0]:
                try:
                    chunk = source_.recv(1 << 20)
                except OSError:
                    return
                if not chunk:
                    return
                if source_ is client:
                    if not client_spoke:
                        proxy.count_round_trip()
                    client_spoke = True
                    verdict = proxy.takes(chunk)
                    if isinstance(verdict, bytes):
                        client_spoke = False
                        client.sendall(verdict)
                        continue
                    losing = losing or verdict
                    upstream.sendall(chunk)
                elif losing:
                    return
                else:
                    client_spoke = False
                    client.sendall(chunk)
