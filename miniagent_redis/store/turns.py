"""Open turns: steps, pieces of text, cancelling, dropping. See docs/architecture.md."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve

from ..errors import SessionNotFound, TurnSuperseded
from ..models import Message, OpenTurn, UsageTotals, new_id
from ..models.event import failure, time_of
from ..records.json import Json
from ..runtime.checks import some_text, whole_number
from .checks import check_spent, check_turn, milliseconds
from .core import StoreCore
from .counts import NO_TOTALS, all_counts, packed
from .keys import check_id
from .message_records import MessageRecords
from .on_turn import of_turn, on_turn
from .operations.replies import Superseded
from .operations.turn import Dropped, abort_turn, cancel_turn, stage_step, tell_text

_PIECE = 8_000  # characters of text in one event: of longer ones the stream could keep too few


class Turns:
    """The turn protocol. Each call is one script: atomic, one round trip, safe to repeat."""

    def __init__(self, core: StoreCore, records: MessageRecords) -> None:
        self._core = core
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
        config, messages = self._core.config, of_turn(self._core, turn, messages)
        # A mere renewal is worth no wait: the next one is due soon.
        on = on_turn(self._core, turn, insist=config.commit_timeout if messages else None)
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
        is_cancelled = staged.cancel == turn.turn_id.encode()
        return evolve(turn, staged=(*turn.staged, *messages), cancelled=is_cancelled)

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
            on_turn(self._core, turn),
            turn_id=turn.turn_id,
            holder=turn.holder,
            operation=some_text(operation or new_id(), "operation"),
            shown=not reasoning,
            texts=[self._event_record(turn, {what: piece}) for piece in pieces],
        )
        if isinstance(told, Superseded):
            raise TurnSuperseded(turn.session_id, turn.turn_id)
        return evolve(turn, cancelled=told.cancel == turn.turn_id.encode())

    def cancel_turn(
        self, session_id: str, *, user_id: str | None = None, turn_id: str | None = None
    ) -> bool:
        """Ask the holder of the session's running turn to end it; return whether there is one.

        That is the turn which is open now, and none that is begun while the call is on its way; or
        the one that is named. Does not wait for it: ``OpenTurn.cancelled`` tells its holder, at its
        next call. Raises SessionNotFound, OutcomeUnknown or StoreUnavailable.
        """
        return bool(self.cancel(session_id, turn_id, user_id))

    def cancel(self, session_id: str, turn_id: str | None, user_id: str | None) -> str:
        """Do what ``cancel_turn`` does; return which turn is to end, or nothing."""
        turn = "" if turn_id is None else check_id(turn_id, "a turn id")
        return cancel_turn(self._core.on(session_id, user_id), operation=new_id(), turn=turn)

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
                on_turn(self._core, turn),
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

    def _event_record(self, turn: OpenTurn, data: Json) -> bytes:
        return self._core.format.encode(
            data, self._core.where("event", check_turn(turn).session_id)
        )


def _began_ms(turn: OpenTurn) -> int | None:
    return round(time_of(turn.event_ids[0]) * 1000) if turn.event_ids else None
