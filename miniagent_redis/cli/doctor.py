"""The command ``doctor``: its options.

What it does is in checkup.py, imported when it is run, so that --help does not wait for it.
"""

from __future__ import annotations

import click

from .options import debug_option, redis_config, url_option

UNHEALTHY = 3


@click.command(short_help="Check Redis and what is stored there.")
@click.option("--repair", is_flag=True, help="Mend index entries, expiry times and counters.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@url_option
@debug_option
@click.pass_context
def doctor(ctx: click.Context, repair: bool, as_json: bool, url: str | None) -> None:
    """Check Redis and what is stored there: a line for each check, with what mends it.

    ok is fine, warn is worth knowing, fail must be mended, skip was not checked. The exit code is
    3 if a check failed. All that is stored is read, in small pieces. Messages are never changed,
    not even with --repair.
    """
    from .checkup import report_health

    if not report_health(redis_config(url), repair=repair, as_json=as_json):
        ctx.exit(UNHEALTHY)
