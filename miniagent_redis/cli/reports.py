"""Sessions from the outside, for people and scripts: listed, shown, ended."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import click

from ..config.redis import RedisConfig
from ..session import SessionAgent, SessionManager
from .line_input import is_interactive
from .lookup import find_session
from .searching import find, search
from .terminal import open_terminal
from .text import number, one_line, short_id
from .transcript import load_history, show_history, show_sessions


@contextmanager
def _open(config: RedisConfig) -> Iterator[SessionManager]:
    agent = SessionAgent(redis_config=config)
    agent.background.remove("sweep")  # left to programs, which may have hooks
    agent.background.remove("recover")  # and tools
    with agent:
        yield SessionManager(agent)


def report_sessions(config: RedisConfig, user: str | None, limit: int, *, as_json: bool) -> None:
    """Print up to ``limit`` sessions of the user, the most recently used first."""
    terminal = open_terminal()
    with _open(config) as manager:
        page = manager.list_sessions(user, limit)
        if as_json:
            terminal.result(json.dumps(page, indent=2))
            return
        if page:
            show_sessions(terminal, manager, user, page)
        else:
            others = " Those of others: --all, or --user NAME." if user else ""
            terminal.note(f"{user or 'Nobody'} has {'no ' if user else ''}sessions yet.{others}")
        if page.cursor and manager.list_sessions(user, 1, page.cursor):
            terminal.note("There are more: raise --limit.")


def report_history(config: RedisConfig, user: str | None, wanted: str, *, as_json: bool) -> None:
    """Print what was said in the session that is meant."""
    terminal = open_terminal()
    with _open(config) as manager:
        messages = load_history(terminal, manager, user, find_session(manager, user, wanted))
        if as_json:
            terminal.result(json.dumps(messages, indent=2))
        elif messages:
            show_history(terminal, messages)
        else:
            terminal.note("Nothing is stored of what was said in this session.")


def report_search(config: RedisConfig, user: str, words: str, limit: int, *, as_json: bool) -> None:
    """Print messages of the user's sessions that have these words."""
    terminal = open_terminal()
    with _open(config) as manager:
        if as_json:
            terminal.result(json.dumps(find(manager, user, words, limit), indent=2))
        else:
            search(terminal, manager, user, words, limit)


def end_session(config: RedisConfig, user: str | None, wanted: str) -> None:
    """Remove the session that is meant."""
    with _open(config) as manager:
        found = find_session(manager, user, wanted)
        manager.end_session(found, user_id=user)
        open_terminal().plain(f"Session {short_id(found)} is removed.")


def forget_user(config: RedisConfig, user: str, *, is_sure: bool) -> None:
    """Remove all that is stored of the user, once somebody at the terminal has said yes."""
    whose = one_line(user, 60)
    if not is_sure:
        if not is_interactive():
            raise click.UsageError("nobody is here who could be asked: add --yes")
        question = f"Remove all that is stored of {whose}? It cannot be undone"
        if not click.confirm(question, err=True):
            raise click.ClickException("Nothing was removed.")
    terminal = open_terminal()
    with _open(config) as manager:
        done = manager.forget_user(user)
    counts = {"session": done.sessions, "message": done.messages, "spooled turn": done.spooled}
    told = [number(count, noun) for noun, count in counts.items() if count]
    told += ["the totals"] if done.totals else []
    if told:
        terminal.plain(f"Of {whose} are removed: {', '.join(told)}.")
    elif not done.left:
        terminal.plain(f"Nothing is stored of {whose}.")
    if done.left:
        left = number(done.left, "session")
        terminal.plain(f"Perhaps {left} of {whose} just began: do it again in a minute.")
