"""Apps with the extension, in memory; who sends a request says so in a header."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask

from miniagent_redis.flask import MiniAgent, agents_of
from tests.support.console_apps import app_of
from tests.support.flask_apps import make_app

OpenApp = Callable[..., Flask]


@pytest.fixture
def open_app() -> Iterator[OpenApp]:
    """Yield a function from scripted replies to an app in TESTING; all are closed in the end."""
    apps: list[Flask] = []

    def open_it(*replies: Any, **config: Any) -> Flask:
        apps.append(make_app(*replies, **config))
        return apps[-1]

    yield open_it
    for app in apps:
        with app.app_context():
            agents_of(app).close()


OpenConsole = Callable[..., tuple[Flask, MiniAgent]]


@pytest.fixture
def open_console(redis_url: str) -> Iterator[OpenConsole]:
    """Yield a function that makes an app with a console, on a real server."""
    opened: list[tuple[Flask, MiniAgent]] = []

    def open_it(make: OpenConsole = app_of, **more: Any) -> tuple[Flask, MiniAgent]:
        opened.append(make(redis_url, **more))
        return opened[-1]

    yield open_it
    for app, agents in opened:
        with app.app_context():
            agents.close()
