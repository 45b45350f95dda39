"""The console as an app of its own, as ``miniagent-redis serve`` shows it."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from contextlib import suppress

from flask import Flask

from .access import Access, Agents
from .blueprint import console_blueprint


def console_app(
    agents: Agents,
    token: str | None = None,
    read_only: bool = False,
    user: str = "",
    *,
    others: Sequence[Agents] = (),
) -> Flask:
    """Return an app with the console at ``/``, for who runs the service: it shows all sessions.

    ``agents`` is a MiniAgent. With a ``token`` a browser has to give it once, or to open
    ``/?token=…``; without one the app answers this machine only. ``read_only`` refuses all that
    changes anything. Who talks is ``user``, by default the user of this machine; ``others`` are
    more agents to talk with, on the same Redis. More blueprints can be registered beside it; they
    need a guard of their own.
    """
    app = Flask(__name__)
    for one in (agents, *others):
        one.init_app(app)
    access = Access(
        agents, lambda: True, is_read_only=read_only, user=user or _name(), others=(*others,)
    )
    app.register_blueprint(console_blueprint(access, token=token))
    return app


def _name() -> str:
    with suppress(OSError, KeyError, ImportError):
        return getpass.getuser()
    return "console"
