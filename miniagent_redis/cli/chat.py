"""The command ``chat``: its options. What it does is in opening.py, imported when it is run."""

from __future__ import annotations

import click
from click.core import ParameterSource

from ..runtime.durations import Duration
from .options import debug_option, duration_from_text, redis_config, url_option, user_option

_EXAMPLES = """\b
Examples:
  miniagent-redis chat --continue
  miniagent-redis chat --model openai:gpt-5 --tools shop:tools
  echo "What is 6 * 7?" | miniagent-redis chat
"""


@click.command(short_help="Chat with the agent, in a new or an earlier session.", epilog=_EXAMPLES)
@click.argument("session", required=False)
@click.option("--continue", "-c", "go_on", is_flag=True, help="Go on with the session used last.")
@user_option
@click.option(
    "--model",
    envvar="MINIAGENT_MODEL",
    default="demo",
    show_default=True,
    show_envvar=True,
    help="Who answers; demo needs no network and knows little.",
)
@click.option(
    "--tools",
    metavar="MODULE:NAME",
    help="Functions or a ToolRegistry; the module is looked for in this folder too.",
)
@click.option("--system", default="", metavar="TEXT", help="Instructions for the model.")
@url_option
@click.option(
    "--ttl",
    callback=duration_from_text,
    metavar="TIME",
    envvar="MINIAGENT_SESSION_TTL",
    default="30d",
    show_default=True,
    show_envvar=True,
    help="How long a session is kept after its last use: in seconds, such as 12h or 30d, or never.",
)
@debug_option
@click.pass_context
def chat(
    ctx: click.Context,
    session: str | None,
    go_on: bool,
    user: str,
    model: str,
    system: str,
    tools: str | None,
    url: str | None,
    ttl: Duration,
) -> None:
    """Chat with the agent, in a new session or in SESSION.

    SESSION is a session's id, the start of it, or "last". It goes on with the model that it was
    begun with, unless --model names another one. In the chat, type help for commands.

    Lines can be piped in: then only the answers are on stdout, and the exit code is 1 if a line
    failed.
    """
    if go_on and session is not None:
        raise click.UsageError("Give either SESSION or --continue, not both.", ctx)
    # Here, so that --help does not wait for Redis' client.
    from .opening import open_chat

    is_chosen = ctx.get_parameter_source("model") is ParameterSource.COMMANDLINE
    is_given = ctx.get_parameter_source("ttl") is ParameterSource.COMMANDLINE
    succeeded = open_chat(
        session,
        go_on=go_on,
        user=user,
        model=model,
        system=system,
        tools=tools,
        is_chosen=is_chosen,
        config=redis_config(url, ttl),
        ttl=ttl if is_given else None,
    )
    if not succeeded:
        ctx.exit(1)
