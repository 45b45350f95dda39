"""Options that several commands share, and the settings that follow from them."""

from __future__ import annotations

import getpass
import logging
import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from ..config.redis import RedisConfig
from ..runtime.durations import Duration, duration_from_outside

_LOG = logging.getLogger("miniagent_redis")

F = TypeVar("F", bound=Callable[..., Any])
_LONGEST = 10_000 * 86400  # seconds


def duration_from_text(ctx: click.Context, param: click.Parameter, value: str) -> Duration:
    """Return the seconds that a text such as 90, 15m, 12h or 30d means, or "never"; a callback."""
    try:
        found = duration_from_outside(value)
    except ValueError:
        found = 0.0
    if isinstance(found, float | int) and not 0 < found <= _LONGEST:
        problem = f"{value!r} is no time: give seconds, or a number with s, m, h or d, such as 30d."
        raise click.BadParameter(problem, ctx, param)
    return found


def _os_user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())  # a container without a user database


def _some_text(ctx: click.Context, param: click.Parameter, value: str) -> str:
    if not value:
        raise click.BadParameter("it is empty", ctx, param)
    return value


def user_option(command: F) -> F:
    """Add ``--user``: whose sessions."""
    return click.option(
        "--user",
        default=_os_user,
        callback=_some_text,
        show_default="your user name on this machine",
        help="Whose sessions.",
    )(command)


def all_option(command: F) -> F:
    """Add ``--all``: everybody's sessions."""
    return click.option("--all", "is_all", is_flag=True, help="Everybody's sessions.")(command)


def url_option(command: F) -> F:
    """Add ``--url``: where Redis is."""
    return click.option(
        "--url",
        show_default="REDIS_URL, or REDIS_HOST and its like, or embedded://",
        help="Where the sessions are: redis://host:6379, unix:///path, embedded:///folder, ...",
    )(command)


def redis_config(url: str | None, ttl: Duration | None = None) -> RedisConfig:
    """Return the settings: those of the environment, with what was given in their place.

    Or those of the program whose command line this is.
    """
    context = click.get_current_context(silent=True)
    if context is not None and (of_program := context.find_object(RedisConfig)) is not None:
        return of_program
    given: dict[str, Any] = {"url": url, "session_ttl": ttl}
    teller = logging.NullHandler() if is_debugging() else logging.StreamHandler()
    _LOG.addHandler(teller)  # what it warns of is for a person, and nothing is said yet
    try:
        return RedisConfig.from_env(None, **{k: v for k, v in given.items() if v is not None})
    finally:
        _LOG.removeHandler(teller)


def debug_option(command: F) -> F:
    """Add ``--debug``, which is accepted before and after the command's name."""
    return click.option(
        "--debug",
        is_flag=True,
        expose_value=False,
        callback=_set_debug,
        help="Show the log, and a traceback with each error.",
    )(command)


def _set_debug(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
        _LOG.setLevel(logging.DEBUG)
    elif not _LOG.handlers:
        # Without a handler Python prints warnings, in the middle of a conversation.
        _LOG.addHandler(logging.NullHandler())


def is_debugging() -> bool:
    """Whether ``--debug`` was given."""
    return _LOG.isEnabledFor(logging.DEBUG)
