"""The spool: finished turns that did not reach Redis, kept on local disk until they do.

Each is a file, named so that the files' order is that in which the turns ended. What is in it is
told in spool_file.py, how it lies on the disk in spool_folder.py; how a turn is stored once and no
more, in lua/replay_turn.lua.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from attrs import frozen

from ..connection.faults import ReplyLost
from ..errors import (
    InvalidInput,
    MiniAgentError,
    SessionNotFound,
    SessionTooLarge,
    StoreUnavailable,
    TurnSuperseded,
    TurnUncertain,
)
from ..models import Message, OpenTurn, UsageTotals
from ..records.frame import Unreadable
from ..store.core import LET_GO
from ..store.parts import Parts
from .spool_file import SpooledTurn, SpoolFile, SpoolFiles
from .spool_folder import SET_ASIDE, WAITING, SpoolFolder

log: logging.Logger = logging.getLogger("miniagent_redis")
T = TypeVar("T")
_ELSEWHERE = 60.0
"""Seconds until a turn whose session is not found under another address is tried again."""
End = int | MiniAgentError | Literal["waits", "elsewhere"]


@frozen
class Backlog:
    """What a spool holds. ``oldest`` is when the first that waits was spooled, as epoch seconds.

    ``elsewhere`` are the files of turns that were spooled under another address: of this Redis or
    of another one. ``set_aside`` are those of turns that cannot be stored any more, ``faults``
    what is wrong with files that cannot be used, by their names.
    """

    waiting: int
    oldest: float | None
    elsewhere: tuple[Path, ...]
    set_aside: tuple[Path, ...]
    faults: dict[str, str]


Tell = Callable[[SpooledTurn, "int | MiniAgentError"], object]
"""Called with each turn that left the spool: its version, or why it was set aside."""


class Spool:
    """The spool of one store. Several processes may share a folder; safe for threads.

    Turns of other stores in the same folder are left alone. Whether a turn is of this store does
    not hang on how its address is spelled: namespace and database are compared, and the server
    knows the session with its epoch, or does not.
    """

    def __init__(
        self, folder: str | Path, parts: Parts, tell: Tell = lambda turn, end: None
    ) -> None:
        self.folder: Path = Path(folder).expanduser()
        self._files = SpoolFolder(self.folder)
        self._parts = parts
        self._tell = tell
        config = parts.core.config
        self._contents = SpoolFiles(config.address, config.namespace, parts.core.format)
        self._last = 0
        # The sessions of the files that are known here, by name; None: it is not for us to store.
        self._sessions: dict[str, str | None] = {}
        self._unseen: set[str] = set()  # names of files that were not looked into since the listing
        self._elsewhere: dict[str, float] = {}  # by name: the time of the clock to try again

    def open(self) -> None:
        """Make the folder, for this user only, and try to write. Raises InvalidInput."""
        self._files.open()

    def keep(self, turn: OpenTurn, messages: Sequence[Message], spent: UsageTotals) -> None:
        """Write the turn, which took ``spent``, down to the platter. Raises OSError if that fails.

        Nothing that was said can be read from the file, if it cannot from the store.
        """
        self._last = max(self._last + 1, time.time_ns())
        name = f"{self._last:020d}-{turn.holder}{WAITING}"
        self._files.write(name, self._contents.content(turn, messages, spent))
        self._sessions[name] = turn.session_id

    @property
    def waiting(self) -> int:
        """How many turns are known here to wait. Looks neither into the folder nor at Redis."""
        known = list(self._sessions.items())
        return sum(session is not None and name not in self._elsewhere for name, session in known)

    def replay(self, session_id: str | None = None) -> int:
        """Store what waits, oldest first, of one session or of all; return how many were stored.

        What cannot be stored any more is set aside: renamed, logged, told. A session whose turn
        another holder works on waits for the next time, and so do its later ones. Raises
        StoreUnavailable when Redis did not take all of it, behind what it took. For a session of
        which nothing waits this is one look at the folder's time.
        """
        return len(self._replay(session_id))

    def replaces(self, turn: OpenTurn) -> bool:
        """Store what waits of a session whose turn was just taken over; whether this turn did.

        Then it is over: somebody was told its end. To be asked before any work is done on it.
        """
        return turn.turn_id in self._replay(turn.session_id, turn)

    def try_to_replay(self) -> None:
        """Store what waits if Redis takes it now; raises nothing."""
        try:
            self.replay()
        except MiniAgentError as exc:
            log.warning("the spool has to wait: %s", exc)

    def _replay(self, session_id: str | None, taken: OpenTurn | None = None) -> list[str]:
        """Return the ids of the turns that are stored now; ``taken`` is one that we may end."""
        stored, waits = list[str](), set[str]()
        fault: StoreUnavailable | None = None
        for name in self._may_wait(session_id):
            if self._sessions.get(name) in waits or (taken is None and self._is_elsewhere(name)):
                continue
            spooled = self._read(name)
            session = self._sessions.get(name)
            if spooled is None or session is None or session in waits:
                if session is not None and name in self._files.faults:
                    waits.add(session)
                continue
            turn = spooled.turn
            was_down = self._parts.core.connections.availability.is_down
            try:
                end = self._end(spooled, taken is not None and taken.turn_id == turn.turn_id)
            except StoreUnavailable as exc:
                fault, end = fault or exc, "waits"
                if was_down or not self._answers():
                    break  # no other session will fare better
            if end == "waits":
                waits.add(session)
            elif end == "elsewhere":
                self._elsewhere[name] = self._parts.core.clock.monotonic() + _ELSEWHERE
            else:
                if isinstance(end, int):
                    stored.append(turn.turn_id)
                if self._leaves(name, end):
                    self._tell(spooled, end)
        if fault is not None:
            raise fault
        return stored

    def _may_wait(self, session_id: str | None) -> list[str]:
        """Return the names of files that wait, of one session or of all, in their order.

        Of all, there may be some that are not this store's.
        """
        if session_id is None or self._files.may_have_changed():
            before = set(self._sessions)
            names = set(self._files.names(WAITING))
            for gone in before - names:
                self._forget(gone)
            self._unseen = names - set(self._sessions)
        if session_id is None:
            known = {name for name, session in list(self._sessions.items()) if session is not None}
            return sorted(known | self._unseen)
        for name in list(self._unseen):
            self._look(name)
            self._unseen.discard(name)
        return sorted(name for name, of in list(self._sessions.items()) if of == session_id)

    def _is_elsewhere(self, name: str) -> bool:
        until = self._elsewhere.get(name)
        return until is not None and self._parts.core.clock.monotonic() < until

    def _end(self, spooled: SpooledTurn, is_ours: bool) -> End:
        """Return the turn's version, why it can never be stored, or why not now.

        ``is_ours``: it is our own to work on, and we have done nothing yet.
        """
        turn = spooled.turn
        try:
            return self._parts.storing.replay_turn(
                turn, spent=spooled.spent, staged=spooled.staged_if_untouched(is_ours)
            )
        except StoreUnavailable:
            raise
        except TurnUncertain as exc:
            if exc.cause == LET_GO:  # nobody will ever know
                return exc
            raise self._parts.core.connections.unavailable(str(exc)) from exc
        except (SessionNotFound, TurnSuperseded) as exc:
            return exc if spooled.is_here or self._is_known(turn) else "elsewhere"
        except (SessionTooLarge, InvalidInput) as exc:
            return exc
        except MiniAgentError as exc:
            log.warning("the spooled turn %s has to wait: %s", turn.turn_id, exc)
            return "waits"

    def _is_known(self, turn: OpenTurn) -> bool:
        """Whether a turn was stored here by another holder; False too if that cannot be told."""
        try:
            return self._parts.resolving.is_stored(turn.session_id, turn.turn_id, turn.user_id)
        except MiniAgentError:
            return False

    def _answers(self) -> bool:
        try:
            self._parts.core.connections.probe()
        except (MiniAgentError, ReplyLost):
            return False
        return True

    def _leaves(self, name: str, end: int | MiniAgentError) -> bool:
        """Take the file out of the queue; return False if another process was faster."""
        if isinstance(end, int):
            is_gone = self._files.remove(name)
        else:
            is_gone = self._files.set_aside(name, str(end))
        self._forget(name)
        if name in self._files.faults:
            self._sessions[name] = None  # it could not be taken away: once is enough
        return is_gone

    def _forget(self, name: str) -> None:
        self._sessions.pop(name, None)
        self._elsewhere.pop(name, None)

    def forget(self, user_id: str) -> int:
        """Remove the turns of a user's sessions, those set aside too; return how many.

        Files that cannot be read, or were written under another address, are left alone.
        """
        removed = 0
        for suffix in (WAITING, SET_ASIDE):  # a file may go from the first to the second meanwhile
            for name in self._files.names(suffix):
                if self._files.read(name, partial(self._is_of, user_id, name)):
                    removed += self._files.remove(name)
                    self._forget(name)
        self._may_wait(None)  # what was listed last were others
        return removed

    def _is_of(self, user_id: str, name: str, content: bytes) -> bool:
        with suppress(Unreadable):
            file = self._contents.open(name, content)
            if file is not None and file.is_here:
                return self._contents.turn(file).turn.user_id == user_id
        return False

    def backlog(self) -> Backlog:
        """Return what waits and what was set aside, without asking Redis."""
        found = {name: self._look(name) for name in self._files.names(WAITING)}
        waiting = [name for name, file in found.items() if file is not None and file.is_here]
        elsewhere = [name for name, file in found.items() if file is not None and not file.is_here]
        oldest = min(map(self._spooled_at, waiting), default=None)
        aside = self._files.names(SET_ASIDE)
        return Backlog(
            len(waiting),
            oldest,
            tuple(self.folder / name for name in elsewhere),
            tuple(self.folder / name for name in aside),
            dict(self._files.faults),
        )

    def _spooled_at(self, name: str) -> float:
        began = name.partition("-")[0]
        return int(began) / 1e9 if began.isdecimal() else time.time()

    def _look(self, name: str) -> SpoolFile | None:
        """Return the file if it may be of this store."""
        return self._opened(name, lambda file: file)

    def _read(self, name: str) -> SpooledTurn | None:
        """Return the turn of a file, if it may be of this store."""
        return self._opened(name, self._contents.turn)

    def _opened(self, name: str, take: Callable[[SpoolFile], T]) -> T | None:
        """Return what ``take`` makes of a file of this store that can be read, else None."""

        def parse(content: bytes) -> T | None:
            file = self._contents.open(name, content)
            self._sessions[name] = None if file is None else file.session_id
            return None if file is None else take(file)

        return self._files.read(name, parse)
