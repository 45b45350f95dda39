"""What ``serve`` serves: the API and the console. By waitress, a thread for each open stream."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import click
from flask import Flask, abort, request
from waitress.server import create_server

from ..agent import AgentConfig
from ..config.address import is_loopback
from ..config.redis import RedisConfig
from ..doors.openai.options import keep_options
from ..errors import InvalidInput
from ..flask import MiniAgent, console_app, front_ends_blueprint, openai_blueprint
from ..llm import resolve_model
from .opening import tools_at, what_is_wrong
from .terminal import open_terminal

SPARE_THREADS = 16
"""For what is no stream: each open stream has a thread while it lasts."""
_IDLE = 60  # seconds after which a connection is closed on which nothing comes or goes


def serve_models(
    host: str,
    port: int,
    *,
    models: Sequence[str],
    tools: str | None,
    system: str,
    keys: Mapping[str, str],
    user: str,
    token: str | None,
    read_only: bool,
    config: RedisConfig,
) -> None:
    """Serve until the process is told to end; then what was begun is finished, or left to others.

    Raises StoreUnavailable or StoreMisconfigured before it listens.
    """
    terminal = open_terminal()
    agents = _agents(models, tools, system, config)
    for agent in agents:
        agent.user_loader(lambda: user)
    if token is None and not is_loopback(host):
        token = secrets.token_urlsafe(24)
    app = served_app(agents, keys=keys, user=user, token=token, read_only=read_only)
    try:
        with app.app_context():
            keep_options({one.settings.agent.name: one.agent for one in agents})
            most_streams = agents[0].settings.web.max_streams
        logging.getLogger("waitress").setLevel(logging.ERROR)
        server: Any = _listening(app, host, port, most_streams + SPARE_THREADS)
        where = f"http://{_shown(server.effective_host)}:{server.effective_port}"
        terminal.note(
            f"{where}/v1 serves {', '.join(models)} to OpenAI's clients, "
            + ("by API key." if keys else f"on this machine, as {user}.")
        )
        terminal.note(f"The console is at {where}/" + (f"?token={token}" if token else ""))
        try:
            server.run()
        finally:
            server.close()
    finally:
        with app.app_context():
            for agent in agents:
                agent.close()


def served_app(
    agents: Sequence[MiniAgent],
    *,
    keys: Mapping[str, str],
    user: str,
    token: str | None,
    read_only: bool,
) -> Flask:
    """Return the app with all doors; with ``read_only`` none of them changes anything."""
    app = console_app(agents[0], token, read_only, user, others=agents[1:])
    # Without keys it is the person at this machine, to whom the console shows all as well.
    door = openai_blueprint(*agents, keys=keys, admin=lambda: not keys, read_only=read_only)
    app.register_blueprint(door, url_prefix="/v1")
    app.register_blueprint(front_ends_blueprint(*agents, keys=keys, read_only=read_only))
    if not keys:
        app.before_request(_refuse_other_names)
    return app


def _agents(
    models: Sequence[str], tools: str | None, system: str, config: RedisConfig
) -> list[MiniAgent]:
    registry = tools_at(tools)
    agents = []
    for number, model in enumerate(dict.fromkeys(models)):
        try:
            found = AgentConfig(model=resolve_model(model), name=model, system_prompt=system)
        except InvalidInput as exc:
            raise click.BadParameter(what_is_wrong(exc), param_hint="'--model'") from None
        prefix = f"MODEL{number}_" if number else ""
        agents.append(MiniAgent(config=found, tools=registry, redis_config=config, prefix=prefix))
    return agents


def _listening(app: Flask, host: str, port: int, threads: int) -> Any:
    try:
        return create_server(
            app, host=host, port=port, threads=threads, channel_timeout=_IDLE, ident=None
        )
    except OSError as exc:
        problem = f"cannot listen on {host}:{port}: {exc.strerror or exc}; try another --port"
        raise click.ClickException(problem) from None


def _refuse_other_names() -> None:
    """Refuse a page that has this machine's address under a name of its own (DNS rebinding)."""
    if not is_loopback(urlsplit(f"//{request.host}").hostname or ""):
        abort(403, "Without an API key this is served to this machine only.")


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
