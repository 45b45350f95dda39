"""Turns: begin, stage, commit, abort. The protocol is in docs/architecture.md."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import closing, suppress
from typing import Any, Literal, get_args

from attrs import evolve

from .._mirror import raise_if_cancelled
from ..errors import (
    InvalidInput,
    MiniAgentError,
    RecordUnreadable,
    SessionBusy,
    SessionNotFound,
    StoreUnavailable,
    TurnNotSaved,
    TurnSuperseded,
    TurnUncertain,
)
from ..keys import check_session_id
from ..models import Message, OpenTurn, Usage, new_id
from .base import check_position, check_wait, milliseconds
from .checks import check_message, check_results
from .threads import PAGE, Threads

OnBusy = Literal["wait", "reject", "interrupt"]
ON_BUSY = get_args(OnBusy)
Resolution = Literal["committed", "open", "unknown"]
NO_USAGE = Usage()
_LONGEST_WAIT = 1.0


class Turns(Threads):
    """The turn protocol. Each call is one script: atomic, one round trip, safe to repeat."""

    def begin_turn(
        self,
        session_id: str,
        message: Message | str,
        *,
        user_id: str | None = None,
        turn_id: str | None = None,
        epoch: int | None = None,
        count: int = 0,
        on_busy: OnBusy = "wait",
        busy_timeout: float = 30.0,
    ) -> OpenTurn:
        """Open a turn with the user's message and get the messages not known yet.

        ``epoch`` and ``count`` say which part of the thread the caller has. Another running turn
        is waited for up to ``busy_timeout`` seconds, or makes the call fail at once ("reject"),
        or is superseded ("interrupt"). A turn whose holder went silent for ``lease_ttl`` is taken
        over instead: see ``OpenTurn.resumed``. Raises SessionNotFound, SessionBusy,
        SessionTooLarge, InvalidInput or StoreUnavailable.
        """
        check_session_id(session_id)
        turn = new_id() if turn_id is None else check_session_id(turn_id, "a turn id")
        check_position(count, "count")
        if on_busy not in ON_BUSY:
            raise InvalidInput(f"on_busy is one of {', '.join(ON_BUSY)}, not {on_busy!r}")
        check_wait(busy_timeout, "busy_timeout")
        if not isinstance(message, Message):
            message = Message("user", message)
        message = self._stamped(message, turn)
        if message.role != "user":
            raise InvalidInput(f"a turn begins with a user message, not {message.role!r}")
        holder = new_id()
        arguments = (
            turn,
            holder,
            milliseconds(self.config.lease_ttl, "lease_ttl"),
            "interrupt" if on_busy == "interrupt" else "",
            self.config.max_session_size,
            "" if epoch is None else str(epoch),
            count,
            PAGE,
            "" if turn_id is None else "1",
            self._message_records([message])[0],
        )
        try:
            reply = self._run("begin_turn", session_id, user_id, *arguments, operation=turn)
            if reply[0] == "busy":
                wait = busy_timeout if on_busy == "wait" else 0.0
                reply = self._begin_after_waiting(session_id, user_id, arguments, reply[1], wait)
        except BaseException as exc:
            if not isinstance(exc, MiniAgentError):  # a Ctrl-C: it may have begun all the same
                self._withdraw(session_id, user_id, turn, holder)
            raise
        if reply[0] == "done":
            raise InvalidInput(
                f"turn {turn} was committed already", hint="use a new turn_id for a new turn"
            )
        _, opened, version, found_epoch, total, start, records, staged = reply
        try:
            found = self._slice(session_id, version, found_epoch, total, start, records)
            thread = self.load_rest(found, session_id, user_id)
        except MiniAgentError:
            if not staged:  # a new turn, of which nobody will hear
                self._withdraw(session_id, user_id, turn, holder)
            raise
        return OpenTurn(
            session_id=session_id,
            turn_id=opened.decode(),
            holder=holder,
            thread=thread,
            staged=self._staged(session_id, staged) or (message,),
            resumed=bool(staged),
            user_id=user_id,
        )

    def _withdraw(self, session_id: str, user_id: str | None, turn: str, holder: str) -> None:
        with suppress(MiniAgentError):  # its lease ends by itself
            self._run("abort_turn", session_id, user_id, turn, holder, b"")

    def _staged(self, session_id: str, records: Sequence[bytes]) -> tuple[Message, ...]:
        steps, _, unreadable = self._messages(records, 0, f"turn:{session_id}")
        if unreadable:
            key = self.keys.of_session(session_id)[2]
            raise RecordUnreadable(key, unreadable[0].reason, unreadable[0].raw)
        return tuple(steps)

    def _begin_after_waiting(
        self,
        session_id: str,
        user_id: str | None,
        arguments: tuple[str | bytes | int, ...],
        lease_left_ms: int,
        wait: float,
    ) -> list[Any]:
        """Try again whenever the session's channel says that something happened."""
        started = self.clock.monotonic()
        if wait <= 0:
            raise SessionBusy(session_id, lease_left_ms / 1000)
        with closing(self.connections.listener(_LONGEST_WAIT)) as wakes:
            with self.connections.translating():
                wakes.subscribe(self.keys.events(session_id))
                wakes.get_message(timeout=_LONGEST_WAIT)
            while True:
                raise_if_cancelled()
                reply = self._run(
                    "begin_turn", session_id, user_id, *arguments, operation=str(arguments[0])
                )
                if reply[0] != "busy":
                    return reply
                left = wait - (self.clock.monotonic() - started)
                if left <= 0:
                    raise SessionBusy(session_id, reply[1] / 1000, wait)
                with self.connections.translating():
                    wakes.get_message(
                        timeout=min(left, reply[1] / 1000, _LONGEST_WAIT) * random.uniform(0.9, 1)
                    )

    def stage_step(
        self, turn: OpenTurn, messages: Sequence[Message], *, after: int | None = None
    ) -> OpenTurn:
        """Keep steps of the open turn and renew its lease; return the turn with them.

        ``after`` is how many messages the turn had before these (default: what ``turn`` holds).
        A repetition with the same messages stages nothing. Raises TurnSuperseded (also when
        other steps follow ``after`` already), SessionTooLarge, TurnUncertain or StoreUnavailable.
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
        )
        if reply[0] == "superseded":
            raise TurnSuperseded(turn.session_id, turn.turn_id)
        if reply[1]:
            there = self._staged(turn.session_id, reply[1])
            if [message.id for message in there] != [message.id for message in messages]:
                raise TurnSuperseded(turn.session_id, turn.turn_id)
        return evolve(turn, staged=(*turn.staged, *messages))

    def renew_lease(self, turn: OpenTurn) -> None:
        """Keep the turn from being taken over for another ``lease_ttl``. Raises TurnSuperseded."""
        self.stage_step(turn, [], after=0)

    def commit_turn(
        self,
        turn: OpenTurn,
        messages: Sequence[Message],
        *,
        usage: Usage = NO_USAGE,
        tool_calls: int = 0,
    ) -> int:
        """Move the turn's steps and ``messages`` into the thread; return the session's version.

        Atomic, and repeated for ``commit_timeout`` seconds while Redis is away; a repetition
        changes nothing. Raises TurnSuperseded, SessionTooLarge (nothing changed), TurnNotSaved
        (certainly not written) or TurnUncertain.
        """
        messages = self._of_turn(turn, messages)
        whole = [*turn.staged, *messages]
        check_results(whole)
        counts = usage.input_tokens, usage.output_tokens, tool_calls
        if not all(type(n) is int and 0 <= n < 2**53 for n in counts):
            raise InvalidInput(f"tokens and tool calls are whole numbers from 0, not {counts!r}")
        records = self._message_records(messages)
        text = messages[-1].text if messages else ""
        try:
            reply = self._run_turn(
                "commit_turn",
                turn,
                self.config.max_session_size,
                *counts,
                len(turn.staged),
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

    def abort_turn(self, turn: OpenTurn, error: BaseException | None = None) -> bool:
        """Drop the turn with its steps; return whether it was still ours. The thread is untouched.

        ``error`` tells watchers why.
        """
        why = b""
        if error is not None:
            why = self._record({"v": 1, "error": type(error).__name__, "message": str(error)})
        try:
            return bool(self._run_turn("abort_turn", turn, why, operation=turn.turn_id)[1])
        except SessionNotFound:
            return False

    def resolve_turn(
        self, session_id: str, turn_id: str, *, user_id: str | None = None
    ) -> Resolution:
        """Tell what became of a turn (or an operation id) after TurnUncertain.

        "committed": it is stored. "open": it is still running or abandoned. "unknown": it was not
        stored, or so long ago that 64 later changes have pushed it out of memory.
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

    def _stamped(self, message: Message, turn_id: str) -> Message:
        check_message(message)
        if message.turn_id == turn_id and message.created_at:
            return message
        return evolve(message, turn_id=turn_id, created_at=message.created_at or self.clock.time())
