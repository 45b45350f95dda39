"""Titles that an agent gives its sessions, made of what was said first.

By default of the user's words alone, here; or by a model, or a function, in the background.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from ..agent import AgentConfig
from ..errors import InvalidInput, MiniAgentError, SessionNotFound
from ..llm import ModelRequest
from ..llm.resolve import resolve_model
from ..models import Message, OpenTurn
from ..runtime.plain_text import one_line
from ..store.manager import RedisSessionManager
from .behind import Behind

log: logging.Logger = logging.getLogger("miniagent_redis")

LONGEST = 60
"""Characters of a title that is made here."""
_MOST = 2_000  # characters of a message that are looked at
_ASK = (
    "Give the conversation a title of at most six words, in its language. "
    "Answer with the title alone."
)
_CODE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,200}>")
_LINK = re.compile(r"!?\[([^\]]{1,200})\]\([^)]{0,500}\)")
_MARK = re.compile(
    r"(?m)^\s*(?:#{1,6}|[>*+-]|\d+[.)])\s+|(?<!\w)[*_`~|]{1,3}(?=\S)|(?<=\S)[*_`~|]{1,3}(?!\w)"
)

Titler = Callable[[OpenTurn, Sequence[Message]], object]


class Titling:
    """Has sessions be given their first titles. Safe for threads."""

    def __init__(self, store: RedisSessionManager, config: AgentConfig, behind: Behind) -> None:
        self._store = store
        self._behind = behind
        self._pid = os.getpid()
        self._titler: Titler | None = None
        self._is_on: bool = config.title is not False
        if not isinstance(config.title, bool):
            self._titler = self._titler_of(config.title)

    def is_first(self, known: Sequence[Message]) -> bool:
        """Whether the first exchange comes behind these messages, and makes a title."""
        return self._is_on and not any(message.role == "user" for message in known)

    def give(self, turn: OpenTurn, messages: Sequence[Message]) -> None:
        """Have a session be given a title soon, made of its first exchange. Blocks for nothing."""
        usual = title_of_text(next((m.text for m in messages if m.role == "user"), ""))
        titler, session_id, epoch = self._titler, turn.session_id, turn.thread.epoch
        if titler is None:
            self._note(session_id, usual, epoch)
            return

        def run() -> None:
            title = usual
            try:
                title = title_of_text(titler(turn, messages)) or usual
            except Exception as exc:
                log.warning("session %s has a title of its first words: %s", session_id, exc)
            with suppress(SessionNotFound):
                try:
                    if title:
                        self._store.parts.titles.give_first(session_id, title, epoch)
                except MiniAgentError as exc:
                    log.warning("session %s was given no title: %s", session_id, exc)

        self._behind.run(run)

    def _titler_of(self, given: Any) -> Titler:
        if not isinstance(given, str) and not hasattr(given, "stream"):
            return lambda turn, messages: given([message.to_dict() for message in messages])
        model = resolve_model(given)

        def ask(turn: OpenTurn, messages: Sequence[Message]) -> str:
            request = ModelRequest(
                (_asked_about(messages),),
                system=_ASK,
                session_id=turn.session_id,
                user_id=turn.user_id,
            )
            return self._behind.ask(given, model, request)[0]

        return ask

    def _note(self, session_id: str, title: str, epoch: int) -> None:
        if not title:
            return
        titles = self._store.parts.titles
        titles.note(session_id, title, epoch)
        if os.getpid() != self._pid:  # a child that may end by os._exit: nobody does it later
            titles.flush()


def title_of_text(text: object) -> str:
    """Return a title made of a text: its first words, without markup, or "" if it has none."""
    if not isinstance(text, str):
        raise InvalidInput(f"a title is text, not {type(text).__name__}")
    plain = _LINK.sub(r"\1", _TAG.sub(" ", _CODE.sub(" ", text[:_MOST])))
    line = one_line(_MARK.sub("", plain), _MOST) or one_line(text, _MOST)
    line = line.strip("\"'“”„«»").strip()
    if len(line) <= LONGEST:
        return line
    cut = line[: LONGEST - 1]
    whole = cut if line[LONGEST - 1] == " " else cut.rpartition(" ")[0]
    return (whole if len(whole) >= LONGEST // 2 else cut).rstrip(" ,;:.-") + "…"


def _asked_about(messages: Sequence[Message]) -> Message:
    """Return what was said in an exchange, as one message."""
    lines = [
        f"{message.role}: {message.text[:_MOST]}"
        for message in messages
        if message.role in ("user", "assistant") and message.text
    ]
    return Message("user", "\n\n".join(lines))
