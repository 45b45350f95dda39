"""Storing turns: by the commit that ends one, or late, a whole one after its commit had failed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ..errors import (
    SessionBusy,
    StoreUnavailable,
    TurnNotSaved,
    TurnSuperseded,
    TurnUncertain,
)
from ..models import Message, OpenTurn, UsageTotals, Version
from ..records.mark import mark_of
from ..runtime.checks import maybe_number
from .checks import check_results, check_spent, check_turn
from .core import FORGOTTEN, OnSession, StoreCore
from .counts import NO_TOTALS, TurnCounts
from .index import Index
from .looking_up import looking_up
from .message_records import MessageRecords
from .on_turn import of_turn, on_turn
from .operations.begin import Busy
from .operations.replies import Superseded, Unsure, Written
from .operations.turn import commit_turn, replay_turn
from .threads import Threads
from .tries import Uncertain


class Storing:
    """Moves turns into threads. Each call is one script: atomic, one round trip, safe to repeat."""

    def __init__(
        self, core: StoreCore, threads: Threads, index: Index, records: MessageRecords
    ) -> None:
        self._core = core
        self._threads = threads
        self._index = index
        self._records = records

    def commit_turn(
        self, turn: OpenTurn, messages: Sequence[Message], *, spent: UsageTotals = NO_TOTALS
    ) -> int:
        """Move the turn's steps and ``messages`` into the thread; return the session's version.

        ``spent`` is what the turn took, for the session's counters and ``usage()``. Atomic, and
        repeated for ``commit_timeout`` seconds while Redis is away; a repetition changes nothing.
        Raises TurnSuperseded, SessionTooLarge (nothing changed), TurnNotSaved (certainly not
        written) or TurnUncertain.
        """
        messages = of_turn(self._core, turn, messages)
        whole = [*turn.staged, *messages]
        check_results(whole)
        counts = TurnCounts.of(check_spent(spent))
        records = self._records.encode(turn.session_id, messages)
        on = on_turn(self._core, turn, insist=self._core.config.commit_timeout)
        try:
            with _noting(on, turn, whole[-1], _text(messages)):
                written = commit_turn(
                    on,
                    turn_id=turn.turn_id,
                    holder=turn.holder,
                    max_bytes=self._core.config.max_session_size,
                    input_tokens=counts.input_tokens,
                    output_tokens=counts.output_tokens,
                    tool_calls=counts.tool_calls,
                    staged=len(turn.staged),
                    counts=counts.further,
                    messages=records,
                )
                if isinstance(written, Unsure):
                    with looking_up(on):
                        return self._look_up(turn, whole)
        except StoreUnavailable as exc:
            raise TurnNotSaved(turn.session_id, turn.turn_id, _text(messages), str(exc)) from exc
        if isinstance(written, Superseded):
            raise TurnSuperseded(turn.session_id, turn.turn_id)
        turn.heard(written.event)
        self._index.mark(turn.session_id, written)
        thread = turn.thread
        before = thread.mark if written.version == thread.version + 1 else None
        after = mark_of(records[-1]) if records else None
        return Version.of_write(written.version, thread.epoch, before, after)

    def _look_up(self, turn: OpenTurn, messages: Sequence[Message]) -> Version:
        """Look into the thread for a turn of which the server has forgotten whether it is there."""
        began, may_lack = turn.thread, self._threads.has_let_go
        found = self._threads.load_thread(  # what came since: it can be nowhere else
            turn.session_id,
            epoch=began.epoch,
            start=began.count,
            mark=began.mark,
            user_id=turn.user_id,
        )
        if messages[-1].id in {message.id for message in found.messages}:
            return Version.of_write(found.version, found.epoch, None, None)
        if found.epoch == began.epoch and not may_lack(turn.session_id, found, began.version):
            raise TurnSuperseded(turn.session_id, turn.turn_id)
        # The history was cleared or trimmed since: with it, or before it could get there.
        raise TurnUncertain(turn.session_id, turn.turn_id, FORGOTTEN)

    def replay_turn(
        self, turn: OpenTurn, *, spent: UsageTotals = NO_TOTALS, staged: int | None = None
    ) -> int:
        """Store a whole turn, all its messages in ``turn.staged``, after its commit had failed.

        Goes to the end of the thread as it is by now; return the session's version. Atomic, and a
        turn that is there already is not stored again, however long ago that was. ``staged`` is how
        many of the messages were staged at its commit: another holder who works on the turn, and
        has staged nothing more, is superseded. Raises TurnSuperseded (another holder stored it, or
        the history was cleared since), SessionBusy (another holder works on it), SessionTooLarge,
        SessionNotFound, TurnUncertain or StoreUnavailable.
        """
        messages = of_turn(self._core, turn, check_turn(turn).staged)
        check_results(messages)
        counts = TurnCounts.of(check_spent(spent))
        records = self._records.encode(turn.session_id, messages)
        on = on_turn(self._core, turn)
        with _noting(on, turn, messages[-1], _text(messages[1:])):
            return self._replay(on, turn, messages, counts, records, maybe_number(staged, "staged"))

    def _replay(
        self,
        on: OnSession,
        turn: OpenTurn,
        messages: Sequence[Message],
        counts: TurnCounts,
        records: Sequence[bytes],
        staged: int | None,
    ) -> int:
        """Run the script; also behind searches of the thread for a turn that may be forgotten."""
        searched = turn.thread.version
        while True:
            reply = replay_turn(
                on,
                turn_id=turn.turn_id,
                holder=turn.holder,
                max_bytes=self._core.config.max_session_size,
                input_tokens=counts.input_tokens,
                output_tokens=counts.output_tokens,
                tool_calls=counts.tool_calls,
                epoch=turn.thread.epoch,
                searched=searched,
                staged=staged,
                counts=counts.further,
                messages=records,
            )
            match reply:
                case Written():
                    turn.heard(reply.event)
                    self._index.mark(turn.session_id, reply)
                    return reply.version
                case Busy():
                    raise SessionBusy(turn.session_id, reply.left_ms / 1000)
                case Superseded():
                    raise TurnSuperseded(turn.session_id, turn.turn_id)
                case Unsure():
                    with looking_up(on):
                        stored, searched = self._threads.find_turn(
                            turn.session_id, turn.turn_id, turn.user_id, searched
                        )
                    if messages[-1].id in stored:
                        return searched
                    if stored:  # with another holder's answer
                        raise TurnSuperseded(turn.session_id, turn.turn_id)


@contextmanager
def _noting(on: OnSession, turn: OpenTurn, last: Message, text: str) -> Iterator[None]:
    """Have ``resolve_turn`` tell later whether it is this holder's answer that is stored.

    The ``last`` message shows it. The error that says that nobody knows carries the ``text``.
    """
    try:
        yield
    except TurnUncertain as exc:
        exc.text = text
        on.core.uncertain.note(turn.turn_id, Uncertain(on.tries, last.id, turn.holder))
        raise


def _text(messages: Sequence[Message]) -> str:
    return messages[-1].text if messages else ""
