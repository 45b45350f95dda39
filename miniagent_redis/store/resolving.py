"""What became of an operation whose reply was lost."""

from __future__ import annotations

from typing import Literal, cast

from attrs import evolve

from ..errors import TurnUncertain
from .core import FORGOTTEN, StoreCore
from .keys import check_id
from .operations.turn import resolve_turn
from .threads import Threads
from .tries import Uncertain

Resolution = Literal["committed", "open", "unknown"]
REMEMBERED = 64
"""So many of the last changes of a session the server knows in any case."""


class Resolving:
    """Asks the server, and looks into the thread for what that has forgotten."""

    def __init__(self, core: StoreCore, threads: Threads) -> None:
        self._core = core
        self._threads = threads

    def resolve_turn(
        self, session_id: str, turn_id: str, *, user_id: str | None = None
    ) -> Resolution:
        """Tell what became of a turn (or another operation) after TurnUncertain, by its id.

        "committed": it is stored. "open": the turn is still running or abandoned. "unknown": it is
        not stored so far, was removed since, or was let go of to make room; or this process tried
        to store the turn, and another holder has stored it with an answer of its own. A request
        that is still on its way may change that: abort an open turn, or repeat with the same id.

        The server knows the last 64 changes of a session, and at least 500 of those to which a
        caller gave an id; turns are looked for in the thread too, and so is what this process
        appended. Raises TurnUncertain if this process tried another operation and it was forgotten
        meanwhile, SessionNotFound or StoreUnavailable.
        """
        tried = self._core.uncertain.get(check_id(turn_id, "a turn id"))
        return self._resolve(session_id, turn_id, user_id, tried)

    def is_stored(self, session_id: str, turn_id: str, user_id: str | None) -> bool:
        """Tell whether a turn is stored, with whosever answer. Raises as ``resolve_turn`` does."""
        tried = self._core.uncertain.get(turn_id)
        if tried is not None:
            tried = evolve(tried, shows=turn_id, holder="")
        return self._resolve(session_id, turn_id, user_id, tried) == "committed"

    def _resolve(
        self, session_id: str, turn_id: str, user_id: str | None, tried: Uncertain | None
    ) -> Resolution:
        on = self._core.on(session_id, user_id, operation=turn_id)
        if tried is not None:
            on.tries = tried.tries  # what is asked is told since when
        told, version, by = resolve_turn(on, operation=turn_id)
        own = "" if tried is None else tried.holder
        if told == "committed" and own not in ("", by):
            return "unknown"
        if told in ("committed", "open") or version < REMEMBERED:
            return cast(Resolution, told)
        shows = turn_id if tried is None else tried.shows
        if shows is not None:
            return (
                "committed" if self._threads.has_stored(session_id, shows, user_id) else "unknown"
            )
        if told == "forgotten":
            raise TurnUncertain(session_id, turn_id, FORGOTTEN)
        return "unknown"
