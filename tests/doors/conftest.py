"""Servers of the OpenAI door, in a thread or in processes of their own."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from tests.support.npm import install
from tests.support.program import environment
from tests.support.waiting import LIMIT

KEY = "key-ada"


@define
class Served:
    """A server in a process of its own."""

    process: subprocess.Popen[str] = field(repr=False)
    port: int

    @property
    def url(self) -> str:
        """What clients call their base URL."""
        return f"http://127.0.0.1:{self.port}/v1"


Serve = Callable[..., list[Served]]


@pytest.fixture
def serve(redis_url: str) -> Iterator[Serve]:
    """Yield a function that starts so many instances on the same Redis."""
    pytest.importorskip("waitress")
    processes: list[subprocess.Popen[str]] = []

    def start(number: int, app: str = "openai_app") -> list[Served]:
        command = [sys.executable, "-m", f"tests.support.{app}", redis_url, "0"]
        processes.extend(
            subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True)
            for _ in range(number)
        )
        return [Served(one, _port(one)) for one in processes[-number:]]

    yield start
    for process in processes:
        process.kill()
        process.communicate(timeout=LIMIT)


def _port(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


@pytest.fixture(scope="session")
def npm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with packages from npm."""
    return install(tmp_path_factory.mktemp("npm"))


@pytest.fixture
def paid() -> list[str]:
    """Return what the shop has paid back, as it comes."""
    return []


@pytest.fixture
def pages(redis_url: str, paid: list[str]) -> Iterator[Any]:
    """Yield a client of the shop's chat pages."""
    pytest.importorskip("flask")
    app: Any = import_module("tests.support.pages_app").make_app(redis_url, paid)
    yield app.test_client()
    with app.app_context():
        for agents, _ in app.extensions["miniagent"].values():
            agents.close()


@pytest.fixture
def page(pages: Any) -> Any:
    """Return a chat page of ada's."""
    return import_module("tests.support.chat_page").Page(pages)


@pytest.fixture
def base_url(redis_url: str) -> Iterator[str]:
    """Yield the address of a server in this process."""
    serving = pytest.importorskip("werkzeug.serving")
    app_module = pytest.importorskip("tests.support.openai_app")
    app: Any = app_module.make_app(redis_url)
    server: Any = serving.make_server("127.0.0.1", 0, app, threaded=True)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.port}/v1"
    server.shutdown()
    thread.join(LIMIT)
    server.server_close()
    with app.app_context():
        for agents, _ in app.extensions["miniagent"].values():
            agents.close()
