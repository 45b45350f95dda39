"""The console on a port, and a relay in front of it that cuts connections as networks do."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Any

from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server

from miniagent_redis.flask import MiniAgent
from tests.support.console_apps import Model, standalone


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: object) -> None:
        """Say nothing of requests."""


class Site:
    """One instance of the console; several share a Redis. A context manager."""

    def __init__(self, redis_url: str, model: Model, **more: Any) -> None:
        self.app: Flask
        self.agents: MiniAgent
        self.app, self.agents = standalone(redis_url, model=model, **more)
        self._server = make_server("127.0.0.1", 0, self.app, threaded=True, request_handler=_Quiet)
        self.port: int = self._server.server_port
        self.url: str = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Site:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        with self.app.app_context():
            self.agents.close()


class Relay:
    """Passes bytes on to ``port``, which may be another one for new connections."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.accepted = 0
        self._links: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url: str = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End all connections, in the middle of whatever is sent."""
        for link in self._links.copy():
            with suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.accepted += 1
                with suppress(OSError):
                    server = socket.create_connection(("127.0.0.1", self.port))
                    self._links |= {client, server}
                    for ends in ((client, server), (server, client)):
                        threading.Thread(target=self._pump, args=ends, daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(65536):
                target.sendall(piece)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._links -= {source}
        source.close()
