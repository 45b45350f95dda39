"""``flask miniagent doctor``, ``sessions`` and so on: our commands, on the Redis of an app.

Flask finds the group by its entry point. The app's configuration says where Redis is.
"""

from __future__ import annotations

import copy
from functools import partial

import click
from flask import current_app
from flask.cli import with_appcontext

from ..errors import InvalidInput, MiniAgentError
from ..flask import agents_of
from .doctor import doctor
from .problems import show_problem
from .sessions import end, forget, history, list_sessions
from .terminal import open_terminal


class _Group(click.Group):
    """A group whose commands fail as those of ``miniagent-redis`` do."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except MiniAgentError as exc:
            show_problem(open_terminal(), exc)
            ctx.exit(2 if isinstance(exc, InvalidInput) else 1)


@click.group(cls=_Group, short_help="Check Redis, and look at conversations.")
@click.option("--prefix", default="", help="That of the MiniAgent, if the app has several.")
@click.pass_context
@with_appcontext
def miniagent(ctx: click.Context, prefix: str) -> None:
    """Check the Redis of this app, and look at the conversations in it."""
    agents = agents_of(current_app, prefix)
    ctx.obj = agents.settings.redis


def _of_app(command: click.Command, name: str = "") -> click.Command:
    """Return the command without ``--url`` and ``--all``; without ``--user`` it is of everybody."""
    own = copy.copy(command)
    own.name = name or command.name
    own.params = []
    left_out = {"url": None, "is_all": False}
    for option in command.params:
        if option.name == "user" and isinstance(option, click.Option):
            option = click.Option(["--user"], help="Whose sessions; by default everybody's.")
        if option.name not in left_out:
            own.params.append(option)
    assert command.callback is not None
    names = {option.name for option in command.params}
    own.callback = partial(
        command.callback, **{name: value for name, value in left_out.items() if name in names}
    )
    return own


for _command in (_of_app(list_sessions, "sessions"), *map(_of_app, (doctor, history, end, forget))):
    miniagent.add_command(_command)
