"""How a chat begins: connects, says where things are, and hands over to the loop."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from operator import attrgetter

import click

from ..config.redis import RedisConfig
from ..errors import InvalidInput, MiniAgentError
from ..runtime.durations import Duration
from ..store.manager import RedisSessionManager
from ..tools import ToolRegistry
from .answering import Answering
from .line_input import is_interactive, open_reader
from .lookup import LAST
from .repl import Chat
from .terminal import open_terminal


def open_chat(
    session: str | None,
    *,
    go_on: bool,
    user: str,
    model: str,
    system: str,
    config: RedisConfig,
    ttl: Duration | None,
    tools: str | None = None,
    is_chosen: bool = True,
) -> bool:
    """Chat until the lines end; return whether it succeeded, which at a terminal it always does.

    In the session meant by ``session``, or the one used last (``go_on``), which get the ``ttl``
    if there is one, else in a new one. Without ``is_chosen`` the ``model`` is that of new sessions.
    """
    terminal = open_terminal()
    try:
        answering = Answering(
            config, model, is_chosen=is_chosen, system=system, tools=tools_at(tools)
        )
    except InvalidInput as exc:
        raise click.BadParameter(what_is_wrong(exc), param_hint="'--model'") from None
    with answering:
        manager = answering.begun_with("")
        chat = Chat(answering, user, terminal, ttl=ttl, is_interactive=is_interactive())
        terminal.note(_whereabouts(manager.store))
        where = chat.begin()
        if go_on and not manager.list_sessions(user, 1):
            terminal.note("There is no session to go on with yet.")
        elif go_on or session is not None:
            where = chat.resume(LAST if go_on else str(session))
        terminal.note(f"{where} Type help for commands.")
        if chat.is_interactive:
            terminal.plain("")
        # Who encrypts what is said does not want it in a file beside.
        chat.run(open_reader(remembers=config.encryption_keys is None))
    return chat.is_interactive or not chat.has_failed


def what_is_wrong(error: InvalidInput) -> str:
    """Return what a person reads of an error about a model: most hints are for programmers."""
    cause = f" ({error.cause})" if error.cause else ""
    meant = f": {error.hint}" if error.hint.startswith("did you mean") else ""
    return f"{error.problem}{cause}{meant}"


def tools_at(place: str | None) -> ToolRegistry | None:
    """Return the tools that ``MODULE:NAME`` names; raises BadParameter for what names none."""
    if place is None:
        return None
    module, _, name = place.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        return ToolRegistry.of(attrgetter(name)(import_module(module)))
    except (ImportError, AttributeError, ValueError, MiniAgentError) as exc:
        problem = f"{place!r} names no tools: {exc}; write such as shop:tools for those in shop.py"
        raise click.BadParameter(problem, param_hint="'--tools'") from None
    finally:
        sys.path.pop(0)


def _whereabouts(store: RedisSessionManager) -> str:
    address = store.config.address
    if address.kind == "memory":
        return "Conversations are kept in memory, and gone when this program ends."
    if address.kind == "embedded":
        # Asked, not computed: this is where the server really writes.
        folder = store.client.config_get("dir")["dir"]
        return (
            f"Conversations are kept in {folder} (embedded server).\n"
            "Set REDIS_URL=redis://host:6379 to use a Redis of your own."
        )
    return f"Conversations are kept in Redis at {address}."
