"""The command ``doctor``: its options.

What it does is in checkup.py, imported when it is run, so that --help does not wait for it.
"""

from __future__ import annotations

from shlex import quote

import click

from ..config.redis import RedisConfig
from .options import debug_option, redis_config, url_option

UNHEALTHY = 3


@click.command(short_help="Check Redis and what is stored there.")
@click.option("--repair", is_flag=True, help="Mend index entries, expiry times and counters.")
@click.option(
    "--data/--no-data", default=True, help="Look at what is stored, which takes a while; or not."
)
@click.option(
    "--turn/--no-turn", default=True, help="Try a turn on a session of its own; or write nothing."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@url_option
@debug_option
@click.pass_context
def doctor(
    ctx: click.Context, repair: bool, data: bool, turn: bool, as_json: bool, url: str | None
) -> None:
    """Check Redis and what is stored there: a line for each check, with what mends it.

    ok is fine, warn is worth knowing, fail must be mended, skip was not checked. The last line is
    the verdict, and the exit code is 3 if a check failed. A whole turn is tried on a session of its
    own, which nobody sees and which is removed at once. All that is stored is read, in small
    pieces; how far it has come is told on stderr. Messages are never changed, not even with
    --repair.
    """
    if repair and not data:
        raise click.UsageError("--repair mends the data, and --no-data leaves it alone: drop one.")
    from ..doctor.shell import without_password
    from .checkup import report_health

    config = redis_config(url)
    command = "flask miniagent" if ctx.find_object(RedisConfig) else "miniagent-redis"
    again = f"{command} doctor --repair"
    if url is not None:
        again += f" --url {quote(without_password(url))}"
    if not report_health(
        config, repair=repair, with_data=data, with_turn=turn, as_json=as_json, again=again
    ):
        ctx.exit(UNHEALTHY)
