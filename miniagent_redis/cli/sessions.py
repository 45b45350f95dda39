"""The commands ``list``, ``history``, ``search``, ``end`` and ``forget``: their options.

What they do is in reports.py, imported when one is run, so that --help does not wait for it.
"""

from __future__ import annotations

import click

from .options import all_option, debug_option, redis_config, url_option, user_option

_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command("list", short_help="List sessions.")
@user_option
@all_option
@click.option(
    "--limit",
    type=click.IntRange(1, 1000),
    default=20,
    show_default=True,
    help="Show this many at the most.",
)
@_json_option
@url_option
@debug_option
def list_sessions(user: str, is_all: bool, limit: int, as_json: bool, url: str | None) -> None:
    """List sessions, the most recently used first."""
    from .reports import report_sessions

    report_sessions(redis_config(url), None if is_all else user, limit, as_json=as_json)


@click.command(short_help="Show what was said in a session.")
@click.argument("session")
@user_option
@all_option
@_json_option
@url_option
@debug_option
def history(session: str, user: str, is_all: bool, as_json: bool, url: str | None) -> None:
    """Show what was said in SESSION: its id, the start of it, or "last"."""
    from .reports import report_history

    report_history(redis_config(url), None if is_all else user, session, as_json=as_json)


@click.command(short_help="Find what was said.")
@click.argument("words", nargs=-1, required=True)
@user_option
@click.option(
    "--limit",
    type=click.IntRange(1, 1000),
    default=20,
    show_default=True,
    help="Show this many messages at the most.",
)
@_json_option
@url_option
@debug_option
def search(words: tuple[str, ...], user: str, limit: int, as_json: bool, url: str | None) -> None:
    """Find messages that have all WORDS, in all sessions; of the session used last first."""
    from .reports import report_search

    report_search(redis_config(url), user, " ".join(words), limit, as_json=as_json)


@click.command(short_help="Remove a session.")
@click.argument("session")
@user_option
@all_option
@url_option
@debug_option
def end(session: str, user: str, is_all: bool, url: str | None) -> None:
    """Remove SESSION with all that was said in it: its id, the start of it, or "last"."""
    from .reports import end_session

    end_session(redis_config(url), None if is_all else user, session)


@click.command(short_help="Remove all that is stored of a user.")
@click.argument("user")
@click.option("--yes", is_flag=True, help="Do not ask.")
@url_option
@debug_option
def forget(user: str, yes: bool, url: str | None) -> None:
    """Remove all that is stored of USER: sessions, totals, and turns in this machine's spool.

    What is counted for rate limits ends by itself, and so do values in caches.
    """
    from .reports import forget_user

    if not user:
        raise click.BadParameter("it is empty", param_hint="'USER'")
    forget_user(redis_config(url), user, is_sure=yes)
