"""How a turn is opened: begun with the user's message, or taken over from a holder that died."""

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
    StoreUnavailable,
    TurnSuperseded,
    TurnUncertain,
)
from ..keys import check_session_id
from ..models import Message, OpenTurn, new_id
from .base import check_position, check_wait, milliseconds
from .checks import check_message
from .patience import Patience
from .threads import PAGE, Threads

OnBusy = Literal["wait", "reject", "interrupt"]
ON_BUSY = get_args(OnBusy)
_LONGEST_WAIT = 1.0
_UNKNOWN = "?"
_SINCE = 8  # the place of the version among the arguments


class Openings(Threads):
    """Beginning turns and taking over abandoned ones."""

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
        over instead: see ``OpenTurn.resumed``.

        With a ``turn_id`` of your own the call may be repeated later: a turn that is stored, and
        not 64 changes ago, is not begun again but refused as InvalidInput. Raises SessionNotFound,
        SessionBusy, SessionTooLarge, TurnSuperseded (others have finished the turn while this call
        was cut off), TurnUncertain or StoreUnavailable.
        """
        turn = new_id() if turn_id is None else check_session_id(turn_id, "a turn id")
        if on_busy not in ON_BUSY:
            raise InvalidInput(f"on_busy is one of {', '.join(ON_BUSY)}, not {on_busy!r}")
        if not isinstance(message, Message):
            message = Message("user", message)
        message = self._stamped(message, turn)
        if message.role != "user":
            raise InvalidInput(f"a turn begins with a user message, not {message.role!r}")
        opened = self._open(
            session_id,
            user_id,
            turn,
            message,
            epoch,
            count,
            interrupt=on_busy == "interrupt",
            wait=check_wait(busy_timeout, "busy_timeout") if on_busy == "wait" else 0.0,
            may_be_done=turn_id is not None,
        )
        assert opened is not None  # there is a message to begin with
        return opened

    def resume_turn(
        self,
        session_id: str,
        *,
        user_id: str | None = None,
        epoch: int | None = None,
        count: int = 0,
        busy_timeout: float = 0.0,
    ) -> OpenTurn | None:
        """Take over the session's abandoned turn, with its staged steps; None if it has none.

        A turn whose lease still runs is waited for, up to ``busy_timeout`` seconds: until it is
        over (then None) or abandoned. ``epoch`` and ``count`` as in ``begin_turn``. Raises
        SessionNotFound, SessionBusy or StoreUnavailable.
        """
        wait = check_wait(busy_timeout, "busy_timeout")
        return self._open(session_id, user_id, new_id(), None, epoch, count, wait=wait)

    def _open(
        self,
        session_id: str,
        user_id: str | None,
        turn: str,
        message: Message | None,
        epoch: int | None,
        count: int,
        *,
        interrupt: bool = False,
        wait: float,
        may_be_done: bool = False,
    ) -> OpenTurn | None:
        """Run the script until it opens a turn, or finds none to resume (None)."""
        check_session_id(session_id)
        holder = new_id()
        arguments: list[str | bytes | int] = [
            turn,
            holder,
            milliseconds(self.config.lease_ttl, "lease_ttl"),
            "interrupt" if interrupt else "",
            self.config.max_session_size,
            "" if epoch is None else str(epoch),
            check_position(count, "count"),
            PAGE,
            _UNKNOWN if may_be_done else "",
            b"" if message is None else self._message_records([message])[0],
        ]
        try:
            reply = self._run("begin_turn", session_id, user_id, *arguments, operation=turn)
            if reply[0] == "busy":
                reply = self._begin_after_waiting(session_id, user_id, arguments, reply, wait)
        except BaseException as exc:
            if not isinstance(exc, MiniAgentError):  # a Ctrl-C: it may have begun all the same
                self._withdraw(session_id, user_id, turn, holder)
            raise
        if reply[0] == "none":
            return None
        if reply[0] == "superseded":
            raise TurnSuperseded(session_id, turn)
        if reply[0] == "done" and not may_be_done:
            raise TurnSuperseded(session_id, turn)  # begun, taken over and finished as we waited
        if reply[0] == "done":
            raise InvalidInput(
                f"turn {turn} was committed already", hint="use a new turn_id for a new turn"
            )
        _, opened, version, found_epoch, total, start, records, staged, owner = reply
        try:
            found = self._slice(session_id, version, found_epoch, total, start, records)
            thread = self.load_rest(found, session_id, user_id)
        except MiniAgentError:
            if not staged:  # a new turn, of which nobody will hear
                self._withdraw(session_id, user_id, turn, holder)
            raise
        steps = self._staged(session_id, staged)
        return OpenTurn(
            session_id=session_id,
            turn_id=opened.decode(),
            holder=holder,
            thread=thread,
            staged=steps if message is None or steps else (message,),
            resumed=bool(staged),
            user_id=owner.decode("utf-8", "surrogatepass") or None,
        )

    def _withdraw(self, session_id: str, user_id: str | None, turn: str, holder: str) -> None:
        with suppress(MiniAgentError):  # its lease ends by itself
            self._run("abort_turn", session_id, user_id, turn, holder, b"", "")

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
        arguments: list[str | bytes | int],
        reply: list[Any],
        wait: float,
    ) -> list[Any]:
        """Try again whenever the session's channel says that something happened.

        Outages are ridden out, as long as the time lasts. A try whose reply was lost may have begun
        the turn, and others may have finished it since, however many turns ago.
        """
        turn = str(arguments[0])
        if wait <= 0:
            raise SessionBusy(session_id, reply[1] / 1000)
        arguments[_SINCE] = reply[2]
        end = self.clock.monotonic() + wait
        patience = Patience(self.clock, f"waiting for session {session_id!r}", None)
        uncertain: TurnUncertain | None = None
        with closing(self.connections.listener(_LONGEST_WAIT)) as wakes:
            while True:
                raise_if_cancelled()
                try:
                    with self.connections.translating():
                        if not wakes.subscribed:
                            wakes.subscribe(self.keys.events(session_id))
                            wakes.get_message(timeout=_LONGEST_WAIT)
                    reply = self._run("begin_turn", session_id, user_id, *arguments, operation=turn)
                    uncertain = None
                    patience.end()
                    if reply[0] == "unsure":
                        thread = self.load_thread(session_id, user_id=user_id)
                        if any(message.turn_id == turn for message in thread.messages):
                            return ["done"]
                        arguments[_SINCE] = thread.version
                        continue
                    if reply[0] != "busy":
                        return reply
                    left = end - self.clock.monotonic()
                    if left <= 0:
                        raise SessionBusy(session_id, reply[1] / 1000, wait)
                    longest = min(left, reply[1] / 1000, _LONGEST_WAIT)
                    with self.connections.translating():
                        wakes.get_message(timeout=longest * random.uniform(0.9, 1))
                except (StoreUnavailable, TurnUncertain) as exc:
                    if isinstance(exc, TurnUncertain):
                        uncertain = exc  # until a reply tells
                    if self.clock.monotonic() >= end:
                        raise uncertain or exc from None
                    patience.pause(exc)

    def _stamped(self, message: Message, turn_id: str) -> Message:
        check_message(message)
        if message.turn_id == turn_id and message.created_at:
            return message
        return evolve(message, turn_id=turn_id, created_at=message.created_at or self.clock.time())
