"""Messages outside of turns: append some to a session's thread, or remove all."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve

from ..errors import TurnUncertain
from ..models import Message, Version, new_id
from ..records.mark import mark_of
from .checks import check_appended
from .core import FORGOTTEN, StoreCore
from .index import Index
from .keys import id_or_new
from .looking_up import looking_up
from .message_records import MessageRecords
from .operations.replies import Changed, Unsure
from .operations.thread import append_messages, clear_thread
from .threads import Threads


class Appending:
    """Writes to threads outside of turns."""

    def __init__(
        self, core: StoreCore, threads: Threads, index: Index, records: MessageRecords
    ) -> None:
        self._core = core
        self._threads = threads
        self._index = index
        self._records = records

    def append_to_thread(
        self,
        session_id: str,
        messages: Message | Sequence[Message],
        *,
        user_id: str | None = None,
        operation_id: str | None = None,
    ) -> int:
        """Append messages outside a turn; return the session's new version.

        All or none are stored, in one round trip, and watchers are told each. With the same
        ``operation_id`` a repetition changes nothing: an hour later too, if the session was not
        changed more than 500 times since. Tool calls are taken with all their results
        right behind them. Raises SessionNotFound, SessionTooLarge, InvalidInput, or TurnUncertain
        (``resolve_turn`` takes its ``turn_id``).
        """
        several = check_appended(messages)
        written = self._append(session_id, several, user_id, operation_id, None)
        assert written is not None  # any number of messages may be there
        return written

    def append_in(
        self, epoch: int, session_id: str, message: Message, *, operation_id: str
    ) -> int | None:
        """Append a message as ``append_to_thread`` does, unless the history was cleared since.

        Returns None, with nothing done, if it has another epoch by now.
        """
        return self._append(session_id, [message], None, operation_id, epoch)

    def _append(
        self,
        session_id: str,
        several: Sequence[Message],
        user_id: str | None,
        operation_id: str | None,
        epoch: int | None,
    ) -> int | None:
        now = self._core.clock.time()
        several = [m if m.created_at else evolve(m, created_at=now) for m in several]
        operation = id_or_new(operation_id, "an operation id")
        shows = several[-1].id
        on = self._core.on(session_id, user_id, operation=operation, shows=shows)
        records = self._records.encode(session_id, several)
        written = append_messages(
            on,
            operation=operation if operation_id is None else f"={operation}",
            max_bytes=self._core.config.max_session_size,
            epoch=epoch,
            messages=records,
        )
        if isinstance(written, Changed):
            return None
        if isinstance(written, Unsure):
            ids = {message.id for message in several}
            with looking_up(on):
                found, page = self._threads.find(session_id, user_id, lambda one: one.id in ids)
            if len(found) == len(ids):
                return Version.of_write(page.version, page.epoch, None, None)
            raise TurnUncertain(session_id, operation, FORGOTTEN)
        self._index.mark(session_id, written)
        return Version.of_write(
            written.version, written.epoch, written.before, mark_of(records[-1])
        )

    def clear_thread(self, session_id: str, *, user_id: str | None = None) -> int:
        """Remove all messages and drop a turn that is open; return how many messages there were.

        The session itself stays. Raises SessionNotFound or TurnUncertain.
        """
        operation = new_id()
        on = self._core.on(session_id, user_id, operation=operation)
        cleared = clear_thread(on, operation=operation)
        self._index.mark(session_id, cleared)
        return cleared.removed
