"""The spool: finished turns that did not reach Redis, kept on local disk until they do.

Each is a file that is written whole or not at all, named so that the files' order is that in which
the turns ended. How a turn is stored once and no more is in lua/replay_turn.lua.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import asdict, frozen

from ..codec import Json, Unreadable, decode, encode, message_from_data, message_to_data, upcast
from ..errors import (
    InvalidInput,
    MiniAgentError,
    SchemaTooNew,
    SessionBusy,
    SessionNotFound,
    SessionTooLarge,
    StoreMisconfigured,
    TurnSuperseded,
    TurnUncertain,
)
from ..models import Message, OpenTurn, ThreadSlice, Usage, UsageTotals
from ..store.manager import RedisSessionManager
from ..store.turns import NO_TOTALS

log = logging.getLogger("miniagent_redis")
_WAITING = ".turn"
_SET_ASIDE = ".set-aside"
_DRAFT = ".draft"
_OLD_DRAFT = 3600.0  # seconds: whoever wrote it is dead


@frozen
class SpooledTurn:
    """A turn with all its messages in ``turn.staged``, and what it cost."""

    turn: OpenTurn
    usage: Usage
    tool_calls: int
    spent: UsageTotals


@frozen
class Backlog:
    """What a spool holds. ``oldest`` is when the first that waits was spooled, as epoch seconds.

    ``set_aside`` are the files of turns that cannot be stored any more.
    """

    waiting: int
    oldest: float | None
    set_aside: tuple[Path, ...]


Tell = Callable[[SpooledTurn, "int | MiniAgentError"], object]
"""Called with each turn that left the spool: its version, or why it was set aside."""


class Spool:
    """The spool of one store. Several processes may share a folder; safe for threads.

    Turns of other stores in the same folder are left alone.
    """

    def __init__(
        self, folder: str | Path, store: RedisSessionManager, tell: Tell = lambda turn, end: None
    ) -> None:
        self.folder = Path(folder).expanduser()
        self._store = store
        self._tell = tell
        self._name = f"{store.config.address} {store.config.namespace}".strip()
        self._last = 0
        self._sessions: dict[Path, str] = {}  # of the files seen here; harmless when out of date

    def open(self) -> None:
        """Make the folder, for this user only, and try to write. Raises InvalidInput."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._write(self.folder / f"probe-{os.getpid()}", b"").unlink()
            for draft in self._files(_DRAFT):
                if time.time() - draft.stat().st_mtime > _OLD_DRAFT:
                    draft.unlink(missing_ok=True)
        except OSError as exc:
            raise InvalidInput(
                f"spool_dir {str(self.folder)!r} cannot be written to",
                cause=str(exc),
                hint="create it with rights for this user, or choose another folder",
            ) from exc

    def keep(
        self,
        turn: OpenTurn,
        messages: Sequence[Message],
        usage: Usage,
        tool_calls: int,
        spent: UsageTotals = NO_TOTALS,
    ) -> None:
        """Write the turn to disk, down to the platter. Raises OSError if that fails."""
        whole = [*turn.staged, *messages]
        data: Json = {
            "v": 1,
            "store": self._name,
            "session_id": turn.session_id,
            "user_id": turn.user_id,
            "turn_id": turn.turn_id,
            "holder": turn.holder,
            "epoch": turn.thread.epoch,
            "version": turn.thread.version,
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "tool_calls": tool_calls,
            "spent": asdict(spent),
            "messages": [{"v": 1, **message_to_data(message)} for message in whole],
        }
        self._last = max(self._last + 1, time.time_ns())
        path = self.folder / f"{self._last:020d}-{turn.holder}{_WAITING}"
        self._write(path, encode(data))
        self._sessions[path] = turn.session_id

    def holds(self, session_id: str) -> bool:
        """Whether a turn of the session is known here to wait."""
        return session_id in self._sessions.values()

    def replay(self, session_id: str | None = None) -> int:
        """Store what waits, oldest first, of one session or of all; return how many were stored.

        What cannot be stored any more is set aside: renamed, logged, told. A session whose turn
        another holder works on waits for the next time, and so do its later ones. Raises
        StoreUnavailable when Redis is away.
        """
        stored, waits = 0, set[str]()
        paths = self._files(_WAITING)
        for gone in self._sessions.keys() - set(paths):
            self._sessions.pop(gone, None)
        for path in paths:
            spooled = self._read(path)
            if spooled is None:
                continue
            session = spooled.turn.session_id
            self._sessions[path] = session
            if session in waits or session_id not in (None, session):
                continue
            end = self._replay(spooled)
            if end is None:
                waits.add(session)
            elif self._leaves(path, end):
                stored += isinstance(end, int)
                self._tell(spooled, end)
        return stored

    def _replay(self, spooled: SpooledTurn) -> int | MiniAgentError | None:
        """Return the turn's version, why it can never be stored, or None for another time."""
        try:
            return self._store.replay_turn(
                spooled.turn,
                usage=spooled.usage,
                tool_calls=spooled.tool_calls,
                spent=spooled.spent,
            )
        except (SessionBusy, StoreMisconfigured) as exc:
            log.warning("the spooled turn %s has to wait: %s", spooled.turn.turn_id, exc)
            return None
        except TurnUncertain as exc:
            raise self._store.connections.unavailable(str(exc)) from exc
        except (SessionNotFound, SessionTooLarge, TurnSuperseded, InvalidInput) as exc:
            return exc

    def _leaves(self, path: Path, end: int | MiniAgentError) -> bool:
        """Take the file out of the queue; return False if another process was faster."""
        try:
            if isinstance(end, int):
                path.unlink()
            else:
                self._set_aside(path, str(end))
        except FileNotFoundError:
            return False
        finally:
            self._sessions.pop(path, None)
        return True

    def _set_aside(self, path: Path, why: str) -> None:
        aside = path.rename(path.with_suffix(_SET_ASIDE))
        log.error("a spooled turn cannot be stored and was set aside as %s: %s", aside, why)

    def backlog(self) -> Backlog:
        """Return what waits and what was set aside, without asking Redis."""
        waiting = [path for path in self._files(_WAITING) if self._read(path) is not None]
        oldest = min((_spooled_at(path) for path in waiting), default=None)
        return Backlog(len(waiting), oldest, tuple(self._files(_SET_ASIDE)))

    def _files(self, suffix: str) -> list[Path]:
        try:
            return sorted(path for path in self.folder.iterdir() if path.suffix == suffix)
        except FileNotFoundError:
            return []

    def _read(self, path: Path) -> SpooledTurn | None:
        """Return the file's turn if it is of this store; set aside what cannot be read."""
        try:
            data = upcast(decode(path.read_bytes()), "a spooled turn")
            return _spooled(data) if data["store"] == self._name else None
        except FileNotFoundError:  # another process was faster
            return None
        except SchemaTooNew as exc:
            log.warning("%s has to wait: %s", path, exc)
        except (Unreadable, LookupError, TypeError) as exc:
            self._set_aside(path, f"it cannot be read: {exc}")
        return None

    def _write(self, path: Path, content: bytes) -> Path:
        """Write a file that is there whole or not at all, and survives a power cut."""
        draft = path.with_suffix(_DRAFT)
        try:
            with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.rename(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        if os.name == "posix":  # elsewhere a folder cannot be opened
            folder = os.open(self.folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        return path


def _spooled_at(path: Path) -> float:
    return int(path.name.partition("-")[0]) / 1e9


def _spooled(data: Json) -> SpooledTurn:
    thread = ThreadSlice(data["epoch"], data["version"], 0, 0, (), ())
    turn = OpenTurn(
        session_id=data["session_id"],
        turn_id=data["turn_id"],
        holder=data["holder"],
        thread=thread,
        staged=tuple(map(message_from_data, data["messages"])),
        user_id=data["user_id"],
    )
    usage = Usage(data["input_tokens"], data["output_tokens"])
    spent = UsageTotals(**data.get("spent", {}))
    return SpooledTurn(turn, usage, data["tool_calls"], spent)
