"""Open turns: stage, commit, abort, and what became of them. See docs/architecture.md."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Literal

from attrs import evolve

from ..errors import (
    InvalidInput,
    SessionBusy,
    SessionNotFound,
    StoreUnavailable,
    TurnNotSaved,
    TurnSuperseded,
    TurnUncertain,
)
from ..keys import check_session_id
from ..models import Message, OpenTurn, Usage, UsageTotals, new_id
from .base import check_position, milliseconds
from .checks import check_results
from .counts import all_counts, further_counts, packed
from .openings import Openings

Resolution = Literal["committed", "open", "unknown"]
NO_USAGE = Usage()
NO_TOTALS = UsageTotals()


class Turns(Openings):
    """The turn protocol. Each call is one script: atomic, one round trip, safe to repeat."""

    def stage_step(
        self, turn: OpenTurn, messages: Sequence[Message], *, after: int | None = None
    ) -> OpenTurn:
        """Keep steps of the open turn and renew its lease; return the turn with them.

        ``after`` is how many messages the turn had before these (default: what ``turn`` holds).
        A repetition with the same messages stages nothing. While Redis is away it is repeated for
        ``commit_timeout`` seconds. Watchers are told. Raises TurnSuperseded (also when other steps
        follow ``after`` already), SessionTooLarge, TurnUncertain or StoreUnavailable.
        """
        messages = self._of_turn(turn, messages)
        reply = self._run_turn(
            "stage_step",
            turn,
            milliseconds(self.config.lease_ttl, "lease_ttl"),
            self.config.max_session_size,
            len(turn.staged) if after is None else check_position(after, "after"),
            *self._message_records(messages),
            operation=turn.turn_id,
            # A mere renewal is worth no wait: the next one is due soon.
            insist=self.config.commit_timeout if messages else None,
        )
        if reply[0] == "superseded":
            raise TurnSuperseded(turn.session_id, turn.turn_id)
        if reply[1]:
            there = self._staged(turn.session_id, reply[1])
            if [message.id for message in there] != [message.id for message in messages]:
                raise TurnSuperseded(turn.session_id, turn.turn_id)
        return evolve(
            turn, staged=(*turn.staged, *messages), cancelled=_is_cancelled(turn, reply[2])
        )

    def renew_lease(self, turn: OpenTurn) -> OpenTurn:
        """Keep the turn from being taken over for another ``lease_ttl``. Raises TurnSuperseded.

        Returns the turn, whose ``cancelled`` may have changed.
        """
        return self.stage_step(turn, [], after=0)

    def tell_text(self, turn: OpenTurn, text: str) -> OpenTurn:
        """Tell watchers the next piece of the turn's answer, which is stored only by its commit.

        Returns the turn, whose ``cancelled`` may have changed. Told once, also if a reply is lost.
        Raises TurnSuperseded, TurnUncertain or StoreUnavailable.
        """
        record = self._record({"v": 1, "text": text})
        reply = self._run_turn("tell_text", turn, record, new_id(), operation=turn.turn_id)
        if reply[0] == "superseded":
            raise TurnSuperseded(turn.session_id, turn.turn_id)
        return evolve(turn, cancelled=_is_cancelled(turn, reply[1]))

    def cancel_turn(self, session_id: str, *, user_id: str | None = None) -> bool:
        """Ask the holder of the session's running turn to end it; return whether there is one.

        Does not wait for it: ``OpenTurn.cancelled`` tells its holder, at its next call. Raises
        SessionNotFound or StoreUnavailable.
        """
        return bool(self._run("cancel_turn", session_id, user_id)[1])

    def commit_turn(
        self,
        turn: OpenTurn,
        messages: Sequence[Message],
        *,
        usage: Usage = NO_USAGE,
        tool_calls: int = 0,
        spent: UsageTotals = NO_TOTALS,
    ) -> int:
        """Move the turn's steps and ``messages`` into the thread; return the session's version.

        ``spent`` is what the turn took beyond ``usage`` and ``tool_calls``, for ``usage()``.
        Atomic, and repeated for ``commit_timeout`` seconds while Redis is away; a repetition
        changes nothing. Raises TurnSuperseded, SessionTooLarge (nothing changed), TurnNotSaved
        (certainly not written) or TurnUncertain.
        """
        messages = self._of_turn(turn, messages)
        whole = [*turn.staged, *messages]
        check_results(whole)
        counts = _counts(usage, tool_calls)
        records = self._message_records(messages)
        text = messages[-1].text if messages else ""
        try:
            reply = self._run_turn(
                "commit_turn",
                turn,
                self.config.max_session_size,
                *counts,
                len(turn.staged),
                packed(further_counts(spent)),
                *records,
                operation=turn.turn_id,
                insist=self.config.commit_timeout,
            )
        except StoreUnavailable as exc:
            raise TurnNotSaved(turn.session_id, turn.turn_id, text, str(exc)) from exc
        except TurnUncertain as exc:
            exc.text = text
            raise
        if reply[0] == "superseded":
            raise TurnSuperseded(turn.session_id, turn.turn_id)
        self.mark_active(turn.session_id, reply[3], reply[4])
        return int(reply[1])

    def replay_turn(
        self,
        turn: OpenTurn,
        *,
        usage: Usage = NO_USAGE,
        tool_calls: int = 0,
        spent: UsageTotals = NO_TOTALS,
    ) -> int:
        """Store a whole turn, all its messages in ``turn.staged``, after its commit had failed.

        Goes to the end of the thread as it is by now; return the session's version. Atomic, and a
        turn that is there already is not stored again, however long ago that was. Raises
        TurnSuperseded (another holder stored it, or the history was cleared since), SessionBusy
        (another holder works on it), SessionTooLarge, SessionNotFound, TurnUncertain or
        StoreUnavailable.
        """
        messages = self._of_turn(turn, turn.staged)
        check_results(messages)
        counts = _counts(usage, tool_calls)
        records = self._message_records(messages)
        searched = turn.thread.version
        while True:
            reply = self._run_turn(
                "replay_turn",
                turn,
                self.config.max_session_size,
                *counts,
                turn.thread.epoch,
                searched,
                packed(further_counts(spent)),
                *records,
                operation=turn.turn_id,
            )
            if reply[0] == "busy":
                raise SessionBusy(turn.session_id, reply[1] / 1000)
            if reply[0] == "superseded":
                raise TurnSuperseded(turn.session_id, turn.turn_id)
            if reply[0] == "ok":
                self.mark_active(turn.session_id, reply[3], reply[4])
                return int(reply[1])
            thread = self.load_thread(turn.session_id, user_id=turn.user_id)
            if any(message.turn_id == turn.turn_id for message in thread.messages):
                return thread.version
            searched = thread.version

    def abort_turn(
        self,
        turn: OpenTurn,
        error: BaseException | None = None,
        *,
        spent: UsageTotals = NO_TOTALS,
    ) -> bool:
        """Drop the turn with its steps; return whether it was still ours. The thread is untouched.

        ``error`` tells watchers why. ``spent`` is what the turn took, for ``usage()``: counted even
        if others dropped the turn before. With it the answer is False only if another holder goes
        on with the turn or has stored it, who counts its steps with his own.
        """
        why = b""
        if error is not None:
            why = self._record({"v": 1, "error": type(error).__name__, "message": str(error)})
        counts = packed(all_counts(spent))
        try:
            reply = self._run_turn("abort_turn", turn, why, counts, operation=turn.turn_id)
        except SessionNotFound:
            return bool(counts)
        except TurnSuperseded:
            return False
        return bool(reply[2] if counts else reply[1])

    def resolve_turn(
        self, session_id: str, turn_id: str, *, user_id: str | None = None
    ) -> Resolution:
        """Tell what became of a turn (or an operation id) after TurnUncertain.

        "committed": it is stored. "open": it is still running or abandoned. "unknown": it is not
        stored so far, or so long ago that 64 later changes have pushed it out of memory. A request
        that is still on its way may change that: abort an open turn, or repeat with the same id.
        """
        check_session_id(turn_id, "a turn id")
        reply = self._run("resolve_turn", session_id, user_id, turn_id)
        resolution: Resolution = reply[1].decode()
        return resolution

    def _run_turn(
        self,
        name: str,
        turn: OpenTurn,
        *args: str | bytes | int,
        operation: str | None = None,
        insist: float | None = None,
    ) -> list[Any]:
        if turn.process_id != os.getpid():
            raise TurnSuperseded(turn.session_id, turn.turn_id)
        return self._run(
            name,
            turn.session_id,
            turn.user_id,
            turn.turn_id,
            turn.holder,
            *args,
            operation=operation,
            insist=insist,
        )

    def _of_turn(self, turn: OpenTurn, messages: Sequence[Message]) -> list[Message]:
        return [self._stamped(message, turn.turn_id) for message in messages]


def _is_cancelled(turn: OpenTurn, asked_for: bytes | None) -> bool:
    return asked_for is not None and asked_for.decode() == turn.turn_id


def _counts(usage: Usage, tool_calls: int) -> tuple[int, int, int]:
    counts = usage.input_tokens, usage.output_tokens, tool_calls
    if not all(type(n) is int and 0 <= n < 2**53 for n in counts):
        raise InvalidInput(f"tokens and tool calls are whole numbers from 0, not {counts!r}")
    return counts
