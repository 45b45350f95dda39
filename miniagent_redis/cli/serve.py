"""The command ``serve``: its options. What it does is in serving.py, imported when it is run."""

from __future__ import annotations

import click

from ..config.address import is_loopback
from ..errors import MiniAgentError
from ..runtime.installing import pip_install
from .options import debug_option, redis_config, url_option, user_option


def _keys(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> dict[str, str]:
    """Return the user of each key."""
    found: dict[str, str] = {}
    for one in value:
        key, sign, user = one.partition("=")
        if not sign or not key or not user:
            raise click.BadParameter("write KEY=USER, such as s3cret=ada.", ctx, param)
        found[key] = user
    return found


@click.command(short_help="Serve agents to OpenAI's clients, and a console.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", type=click.IntRange(0, 65535), default=8081, show_default=True)
@click.option(
    "--model",
    "models",
    envvar="MINIAGENT_MODEL",
    default=["demo"],
    show_default="demo",
    show_envvar=True,
    multiple=True,
    help="Who answers, by the name that clients use too. Can be given again.",
)
@click.option(
    "--tools",
    metavar="MODULE:NAME",
    help="Functions or a ToolRegistry; the module is looked for in this folder too.",
)
@click.option("--system", default="", metavar="TEXT", help="Instructions for the models.")
@click.option(
    "--api-key",
    "keys",
    envvar="MINIAGENT_API_KEYS",
    callback=_keys,
    metavar="KEY=USER",
    multiple=True,
    show_envvar=True,
    help="A key that clients send, and whose sessions it opens. Can be given again.",
)
@click.option(
    "--token",
    envvar="MINIAGENT_CONSOLE_TOKEN",
    show_envvar=True,
    help="What opens the console; beyond this machine a random one by default.",
)
@click.option("--read-only", is_flag=True, help="Show what is there, and let nobody change it.")
@user_option
@url_option
@debug_option
@click.pass_context
def serve(
    ctx: click.Context,
    host: str,
    port: int,
    models: tuple[str, ...],
    tools: str | None,
    system: str,
    keys: dict[str, str],
    token: str | None,
    read_only: bool,
    user: str,
    url: str | None,
) -> None:
    """Serve agents over HTTP, as OpenAI does, and a console for people at /.

    Any client of OpenAI can talk to them with another base URL, and so can chat pages: of the AI
    SDK at /api/chat, of AG-UI at /agui. Without a key only programs on this machine can, as USER.
    Ends in order with Ctrl-C.
    """
    if not keys and not is_loopback(host):
        problem = (
            f"{host} can be reached from other machines: give an --api-key, such as s3cret=ada."
        )
        raise click.UsageError(problem, ctx)
    try:
        # Here, so that the other commands work without Flask.
        from .serving import serve_models
    except ImportError as exc:
        if (exc.name or "").partition(".")[0] not in ("flask", "waitress", "werkzeug"):
            raise
        raise MiniAgentError(
            "serve needs a package that is not installed",
            cause=f"there is no module {exc.name}",
            hint=pip_install("serve"),
        ) from None
    serve_models(
        host, port, models=models, tools=tools, system=system, keys=keys, user=user,
        token=token, read_only=read_only, config=redis_config(url),
    )  # fmt: skip
