"""Open turns: stage, commit, abort, store late. See docs/architecture.md."""

from __future__ import annotations

import os
from collections.abc import Sequence

from attrs import evolve

from ..errors import (
    SessionBusy,
    SessionNotFound,
    StoreUnavailable,
    TurnNotSaved,
    TurnSuperseded,
    TurnUncertain,
)
from ..models import Message, OpenTurn, UsageTotals, Version, new_id
from ..models.event import failure, time_of
from ..records.json import Json
from ..records.mark import mark_of
from ..runtime.checks import maybe_number, some_text, whole_number
from .checks import check_messages, check_results, check_spent, check_turn, milliseconds, stamped
from .core import FORGOTTEN, OnSession, StoreCore
from .counts import NO_TOTALS, TurnCounts, all_counts, packed
from .index import Index
from .looking_up import looking_up
from .message_records import MessageRecords
from .operations.replies import Superseded, Unsure, Written
from .operations.turn import (
    Busy,
    Dropped,
    abort_turn,
    cancel_turn,
    commit_turn,
    replay_turn,
    stage_step,
    tell_text,
)
from .threads import Threads

_PIECE = 8_000  # characters of text in one event: of longer ones the stream could keep too few


class Turns:
    """The turn protocol. Each call is one script: atomic, one round trip, safe to repeat."""

    def __init__(
        self, core: StoreCore, threads: Threads, index: Index, records: MessageRecords
    ) -> None:
        self._core = core
        self._threads = threads
        self._index = index
        self._records = records

    def stage_step(
        self, turn: OpenTurn, messages: Sequence[Message], *, after: int | None = None
    ) -> OpenTurn:
        """Keep steps of the open turn and renew its lease; return the turn with them.

        ``after`` is how many messages the turn had before these (default: what ``turn`` holds).
        A repetition with the same messages stages nothing. While Redis is away it is repeated for
        ``commit_timeout`` seconds. Watchers are told. Raises TurnSuperseded (also when other steps
        follow ``after`` already), SessionTooLarge, TurnUncertain or StoreUnavailable.
        """
        config, messages = self._core.config, self._of_turn(turn, messages)
        # A mere renewal is worth no wait: the next one is due soon.
        on = self._on(turn, insist=config.commit_timeout if messages else None)
        staged = stage_step(
            on,
            turn_id=turn.turn_id,
            holder=turn.holder,
            lease_ms=milliseconds(config.lease_ttl, "lease_ttl"),
            max_bytes=config.max_session_size,
            after=len(turn.staged) if after is None else whole_number(after, "after"),
            messages=self._records.encode(turn.session_id, messages),
        )
        if isinstance(staged, Superseded):
            raise TurnSuperseded(turn.session_id, turn.turn_id)
        if staged.there:
            there = self._records.staged(turn.session_id, staged.there)
            if [message.id for message in there] != [message.id for message in messages]:
                raise TurnSuperseded(turn.session_id, turn.turn_id)
        turn.heard(*staged.events)
        return evolve(
            turn, staged=(*turn.staged, *messages), cancelled=staged.cancel == turn.turn_id.encode()
        )

    def renew_lease(self, turn: OpenTurn) -> OpenTurn:
        """Keep the turn from being taken over for another ``lease_ttl``. Raises TurnSuperseded.

        Returns the turn, whose ``cancelled`` may have changed.
        """
        return self.stage_step(turn, [], after=0)

    def tell_text(
        self, turn: OpenTurn, text: str, *, reasoning: bool = False, operation: str = ""
    ) -> OpenTurn:
        """Tell watchers the next piece of the turn's answer, which is stored only by its commit.

        Or of the ``reasoning`` before it, which is not stored at all. Returns the turn, whose
        ``cancelled`` may have changed. Told once, also if a reply is lost, or the last one is told
        again by the same ``operation``. Raises TurnSuperseded, TurnUncertain or StoreUnavailable.
        """
        what, text = "reasoning" if reasoning else "text", some_text(text, "text")
        pieces = [text[at : at + _PIECE] for at in range(0, len(text), _PIECE)] or [text]
        told = tell_text(
            self._on(turn),
            turn_id=turn.turn_id,
            holder=turn.holder,
            operation=some_text(operation or new_id(), "operation"),
            texts=[self._event_record(turn, {what: piece}) for piece in pieces],
        )
        if isinstance(told, Superseded):
            raise TurnSuperseded(turn.session_id, turn.turn_id)
        return evolve(turn, cancelled=told.cancel == turn.turn_id.encode())

    def cancel_turn(self, session_id: str, *, user_id: str | None = None) -> bool:
        """Ask the holder of the session's running turn to end it; return whether there is one.

        Does not wait for it: ``OpenTurn.cancelled`` tells its holder, at its next call. Raises
        SessionNotFound or StoreUnavailable.
        """
        return cancel_turn(self._core.on(session_id, user_id), operation=new_id())

    def commit_turn(
        self, turn: OpenTurn, messages: Sequence[Message], *, spent: UsageTotals = NO_TOTALS
    ) -> int:
        """Move the turn's steps and ``messages`` into the thread; return the session's version.

        ``spent`` is what the turn took, for the session's counters and ``usage()``. Atomic, and
        repeated for ``commit_timeout`` seconds while Redis is away; a repetition changes nothing.
        Raises TurnSuperseded, SessionTooLarge (nothing changed), TurnNotSaved (certainly not
        written) or TurnUncertain.
        """
        messages = self._of_turn(turn, messages)
        whole = [*turn.staged, *messages]
        check_results(whole)
        counts = TurnCounts.of(check_spent(spent))
        records = self._records.encode(turn.session_id, messages)
        on = self._on(turn, insist=self._core.config.commit_timeout)
        try:
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
            text = _text(messages)
            raise TurnNotSaved(turn.session_id, turn.turn_id, text, str(exc)) from exc
        except TurnUncertain as exc:
            exc.text = _text(messages)
            self._core.uncertain.note_commit(turn.turn_id, turn.holder, whole[-1].id)
            raise
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
        raise TurnUncertain(turn.session_id, turn.turn_id, FORGOTTEN, _text(messages))

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
        messages = self._of_turn(turn, check_turn(turn).staged)
        check_results(messages)
        counts = TurnCounts.of(check_spent(spent))
        records = self._records.encode(turn.session_id, messages)
        on, searched = self._on(turn), turn.thread.version
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
                staged=maybe_number(staged, "staged"),
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

    def abort_turn(
        self, turn: OpenTurn, error: BaseException | None = None, *, spent: UsageTotals = NO_TOTALS
    ) -> bool:
        """Drop the turn with its steps; return whether it was still ours. The thread is untouched.

        ``error`` tells watchers why. ``spent`` is what the turn took, for ``usage()``: counted even
        if others dropped the turn before, but not by a session that was made anew since. With it
        the answer is False only if another holder goes on with the turn or has stored it, who
        counts its steps with his own.
        """
        dropped = self.drop_turn(turn, error, spent=spent)
        return bool(dropped.is_counted if packed(all_counts(spent)) else dropped.was_ours)

    def drop_turn(self, turn: OpenTurn, error: BaseException | None, spent: UsageTotals) -> Dropped:
        """Do what ``abort_turn`` does; also tell whether the turn is stored after all."""
        told = {"error": "", "message": ""} if error is None else failure(error)
        why = self._event_record(turn, told)
        counts = packed(all_counts(check_spent(spent)))
        try:
            dropped = abort_turn(
                self._on(turn),
                turn_id=turn.turn_id,
                holder=turn.holder,
                why=why,
                counts=counts,
                epoch=turn.thread.epoch,
                version=turn.thread.version,
                began_ms=_began_ms(turn),
            )
        except SessionNotFound:
            return Dropped(0, bool(counts))
        except TurnSuperseded:
            return Dropped(0, 0)
        turn.heard(dropped.event)
        return dropped

    def _on(self, turn: OpenTurn, *, insist: float | None = None) -> OnSession:
        """Return what runs scripts on the turn's session: for its process only."""
        if turn.process_id != os.getpid():
            raise TurnSuperseded(turn.session_id, turn.turn_id)
        session_id, user_id, name = turn.session_id, turn.user_id, turn.turn_id
        return self._core.on(session_id, user_id, operation=name, insist=insist, shows=name)

    def _of_turn(self, turn: OpenTurn, messages: Sequence[Message]) -> list[Message]:
        turn_id = check_turn(turn).turn_id
        return [stamped(each, turn_id, self._core.clock) for each in check_messages(messages)]

    def _event_record(self, turn: OpenTurn, data: Json) -> bytes:
        return self._core.format.encode(
            data, self._core.where("event", check_turn(turn).session_id)
        )


def _began_ms(turn: OpenTurn) -> int | None:
    return round(time_of(turn.event_ids[0]) * 1000) if turn.event_ids else None


def _text(messages: Sequence[Message]) -> str:
    return messages[-1].text if messages else ""
