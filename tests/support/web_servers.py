"""Real web servers with the app of programs/flask_app.py, and a client that can be cut."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.support.program import PROGRAMS, environment
from tests.support.servers import Leash, free_port
from tests.support.sse import Sent, read_events
from tests.support.waiting import LIMIT, until

APP = f"{PROGRAMS}.flask_app"
USER = {"X-User": "ada"}
_GUNICORN = ("-m", "gunicorn", "--no-control-socket", "--graceful-timeout=20", f"{APP}:app")
COMMANDS: dict[str, tuple[str, ...]] = {
    "flask run --debug": ("-m", "flask", "--app", APP, "run", "--debug"),
    "gthread": (*_GUNICORN, "--worker-class=gthread", "--threads=70"),
    "gthread --preload": (*_GUNICORN, "--worker-class=gthread", "--threads=8", "--preload"),
    "gevent": (*_GUNICORN, "--worker-class=gevent"),
    "gevent --preload": (*_GUNICORN, "--worker-class=gevent", "--preload"),
    "waitress": ("-m", "waitress", "--threads=8", f"{APP}:app"),
}


class WebServer:
    """One server, as a process on a port of its own; a context manager that ends it."""

    def __init__(self, kind: str, redis_url: str, folder: Path, **more: object) -> None:
        self.kind = kind
        self.port = free_port()
        self.log = folder / f"{self.port}.log"
        bind: tuple[str, ...] = (f"--bind=127.0.0.1:{self.port}",)
        if kind.startswith("flask"):
            bind = ("--port", str(self.port))
        elif kind == "waitress":
            bind = (f"--listen=127.0.0.1:{self.port}",)
        first, *rest = COMMANDS[kind][:2], *COMMANDS[kind][2:]
        arguments = [*first, *bind, *rest] if kind == "waitress" else [*COMMANDS[kind], *bind]
        # 3.12 warns of each fork with threads; what comes of it is what is tested here.
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "ignore::DeprecationWarning", *arguments],
                env=environment(REDIS_URL=redis_url, **more),
                stdout=log,
                stderr=log,
                cwd=folder,
                start_new_session=True,
            )
        self._leash = Leash(-self.process.pid)

    def wait(self) -> None:
        """Block until it answers."""

        def answers() -> bool:
            assert self.process.poll() is None, self.log.read_text("utf-8")
            try:
                return bool(self.get("/process"))
            except OSError:
                return False

        until(answers)

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT)

    def get(self, path: str) -> Any:
        return self.ask("GET", path)[1]

    def post(self, path: str, text: str = "", **headers: str) -> Any:
        return self.ask("POST", path, text, **headers)[1]

    def ask(self, method: str, path: str, text: str = "", **headers: str) -> tuple[int, Any]:
        """Return the status and the JSON of an answer."""
        connection = self.connect()
        try:
            connection.request(method, path, text, {**USER, **headers})
            response = connection.getresponse()
            body = response.read()
            return response.status, json.loads(body) if body else None
        finally:
            connection.close()

    @contextmanager
    def stream(
        self, method: str, path: str, text: str = "", **headers: str
    ) -> Iterator[Iterator[Sent]]:
        """Give the events of a stream; the connection is cut behind the block."""
        connection = self.connect()
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, text, {**USER, **headers})
        response = connection.getresponse()
        assert response.status == 200, response.read()
        try:
            yield read_events(iter(lambda: response.read1(1000), b""))
        finally:
            response.close()
            connection.close()

    def tell_to_end(self) -> None:
        """End it as those do who run it: TERM, or Ctrl-C where nothing listens to that."""
        if self.kind == "waitress":
            self.process.send_signal(signal.SIGINT)
        elif self.kind.startswith("flask"):
            os.killpg(self.process.pid, signal.SIGINT)
        else:
            self.process.terminate()

    def kill(self) -> None:
        """End it, and all of its processes, as ``kill -9`` does."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def __enter__(self) -> WebServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._leash.release()
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
