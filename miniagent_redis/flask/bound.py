"""BoundManager: a SessionManager whose every call is one user's, so that none can forget whose."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from ..doors.refusals import MessageTooLarge
from ..errors import InvalidInput
from ..models import Forgotten, Message
from ..session import SessionManager
from ..session.turns import Started
from ..store.parking import Answer

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")


def _binds(
    method: Callable[Concatenate[SessionManager, P], R],
    *,
    changes: bool = False,
    is_harmless: bool = False,
) -> Callable[[Callable[[S], object]], Callable[Concatenate[S, P], R]]:
    """Put in the place of an empty method one that calls ``method`` for the user.

    It takes what ``method`` does; a ``user_id`` can only be the user's own.
    """
    names = list(inspect.signature(method).parameters)
    user_at = names.index("user_id") - 1
    message_at = names.index("message") - 1 if "message" in names else None

    def decorate(stub: Callable[[S], object]) -> Any:
        @wraps(method)
        def call(self: BoundManager, *args: Any, **kwargs: Any) -> R:
            if changes:
                self._before_change(is_harmless)
            if message_at is not None:
                self._measure(kwargs.get("message", args[message_at] if args[message_at:] else ""))
            given = args[user_at] if args[user_at:] else kwargs.pop("user_id", None)
            if given not in (None, self.user_id):
                raise InvalidInput(
                    f"user_id={given!r:.100} is not this manager's, {self.user_id!r:.100}",
                    hint="leave user_id out; for_user(…) and unbound are for others",
                )
            if args[user_at:]:
                args = (*args[:user_at], self.user_id, *args[user_at + 1 :])
            else:
                kwargs["user_id"] = self.user_id
            return method(self._manager, *args, **kwargs)

        call.__module__, call.__qualname__ = stub.__module__, stub.__qualname__
        return call

    return decorate


BeforeChange = Callable[[bool], object]
"""Raises what forbids a change, if anything does; told whether it is a harmless one."""


class BoundManager:
    """The sessions of one user. Methods and errors are those of ``SessionManager``.

    A ``user_id`` need not be given, and cannot be another one's.
    """

    def __init__(
        self,
        manager: SessionManager,
        user_id: str,
        *,
        before_change: BeforeChange = bool,
        max_message_size: int | None = None,
    ) -> None:
        self.user_id: str = user_id
        self._manager = manager
        self._before_change = before_change
        self._max_message_size = max_message_size

    def tenant(self, namespace: str) -> BoundManager:
        """Return the same for another namespace: see ``SessionAgent.tenant``."""
        return BoundManager(
            self._manager.tenant(namespace),
            self.user_id,
            before_change=self._before_change,
            max_message_size=self._max_message_size,
        )

    @_binds(SessionManager.create_or_resume_session, changes=True, is_harmless=True)
    def create_or_resume_session(self) -> None: ...
    @_binds(SessionManager.chat, changes=True)
    def chat(self) -> None: ...
    @_binds(SessionManager.run, changes=True)
    def run(self) -> None: ...
    @_binds(SessionManager.stream, changes=True)
    def stream(self) -> None: ...
    @_binds(SessionManager.start, changes=True)
    def start(self) -> None: ...
    @_binds(SessionManager.turn)
    def turn(self) -> None: ...
    @_binds(SessionManager.resume_turn, changes=True)
    def resume_turn(self) -> None: ...
    @_binds(SessionManager.answer, changes=True)
    def answer(self) -> None: ...
    @_binds(SessionManager.list_waiting)
    def list_waiting(self) -> None: ...
    @_binds(SessionManager.cancel, changes=True)
    def cancel(self) -> None: ...
    @_binds(SessionManager.watch)
    def watch(self) -> None: ...
    @_binds(SessionManager.get_history)
    def get_history(self) -> None: ...
    @_binds(SessionManager.list_sessions)
    def list_sessions(self) -> None: ...
    @_binds(SessionManager.search)
    def search(self) -> None: ...
    @_binds(SessionManager.set_title, changes=True)
    def set_title(self) -> None: ...
    @_binds(SessionManager.fork_session, changes=True)
    def fork_session(self) -> None: ...
    @_binds(SessionManager.list_branches)
    def list_branches(self) -> None: ...
    @_binds(SessionManager.rewind, changes=True)
    def rewind(self) -> None: ...
    @_binds(SessionManager.edit, changes=True)
    def edit(self) -> None: ...
    @_binds(SessionManager.regenerate, changes=True)
    def regenerate(self) -> None: ...
    @_binds(SessionManager.usage)
    def usage(self) -> None: ...
    @_binds(SessionManager.clear_history, changes=True)
    def clear_history(self) -> None: ...
    @_binds(SessionManager.renew_session_id, changes=True)
    def renew_session_id(self) -> None: ...
    @_binds(SessionManager.end_session, changes=True)
    def end_session(self) -> None: ...

    def forget_user(self) -> Forgotten:
        """Remove all that is stored of the user: see ``SessionManager.forget_user``."""
        self._before_change(False)
        return self._manager.forget_user(self.user_id)

    def answer_soon(self, session_id: str, turn_id: str, answers: Mapping[str, Answer]) -> Started:
        """Do what ``answer`` does, but let the turn go on in the pool, and return at once."""
        self._before_change(False)
        turns = self._manager.agent.turns
        return turns.answer_soon(session_id, turn_id, answers, self.user_id)

    def _measure(self, message: object) -> None:
        text = message.content if isinstance(message, Message) else message
        if self._max_message_size is not None and isinstance(text, str):
            measure(text, self._max_message_size)


def measure(text: str, most: int) -> None:
    """Raise MessageTooLarge for a text of more bytes than that."""
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > most:
        raise MessageTooLarge(size, most)
