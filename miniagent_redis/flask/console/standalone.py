"""The console as an app of its own, as ``miniagent-redis serve`` shows it."""

from __future__ import annotations

import getpass
from contextlib import suppress

from flask import Flask

from .access import Access, Agents
from .blueprint import console_blueprint


def console_app(
    agents: Agents, token: str | None = None, read_only: bool = False, user: str = ""
) -> Flask:
    """Return an app with the console at ``/``, for who runs the service: it shows all sessions.

    ``agents`` is a MiniAgent. With a ``token`` a browser has to give it once, or to open
    ``/?token=…``; without one the app answers this machine only. ``read_only`` refuses all that
    changes anything. Who talks is ``user``, by default the user of this machine. More blueprints
    can be registered beside it; they need a guard of their own.
    """
    app = Flask(__name__)
    agents.init_app(app)
    access = Access(agents, lambda: True, is_read_only=read_only, user=user or _name())
    app.register_blueprint(console_blueprint(access, token=token))
    return app


def _name() -> str:
    with suppress(OSError, KeyError, ImportError):
        return getpass.getuser()
    return "console"
