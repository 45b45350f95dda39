"""How a turn is opened: begun with the user's message, or taken over from a holder that died."""

from __future__ import annotations

from collections.abc import Generator
from typing import get_args

from ..errors import InvalidInput
from ..models import Message, OnBusy, OpenTurn, new_id
from ..runtime.checks import maybe_number
from ..runtime.durations import Duration
from ..runtime.pausing import Pause, at_once
from .checks import check_ticket, check_wait, stamped
from .core import StoreCore
from .keys import id_or_new
from .threads import Enough
from .turn_opening import TurnOpening

ON_BUSY = get_args(OnBusy)


class TurnBegin:
    """Beginning turns and taking over abandoned ones."""

    def __init__(self, core: StoreCore, opening: TurnOpening) -> None:
        self._core = core
        self._opening = opening

    def begin_turn(
        self,
        session_id: str,
        message: Message | str,
        *,
        user_id: str | None = None,
        turn_id: str | None = None,
        epoch: int | None = None,
        count: int = 0,
        mark: bytes = b"",
        on_busy: OnBusy = "wait",
        busy_timeout: Duration = 30.0,
        ticket: str | None = None,
        enough: Enough | None = None,
        searched: int | None = None,
    ) -> OpenTurn:
        """Open a turn with the user's message and get the messages not known yet.

        ``epoch`` and ``count`` say which part of the thread the caller has, and ``mark`` that of
        its last slice; if that is not there any more, the thread comes from its beginning. With
        ``enough``, which tells if some of the newest messages are all that is needed, what stands
        between the system messages at the beginning and these may be skipped. Another
        running turn, and those who came before, are waited for up to ``busy_timeout`` seconds, or
        make the call fail at once ("reject"); or the turn is superseded, and dropped with its steps
        and its text ("interrupt"): to store these, as agents do, takes an answer. One whose
        holder went silent for ``lease_ttl`` is taken over instead (see ``OpenTurn.resumed``) unless
        this call interrupts. After three such times it is dropped, told as TURN_FAILED, and this
        turn begun; or, if something was done in it, or said, it is given out once more to be ended
        (``OpenTurn.is_given_up``).

        With a ``ticket``, 32 hexadecimal digits, a call that takes over an abandoned turn keeps its
        place in front of those who wait, as long as the lease: the next call with it comes first.

        With a ``turn_id`` of your own the call may be repeated later: a turn that is stored, and
        not 500 changes ago, is not begun again but refused as InvalidInput. ``searched`` is up to
        which version of the session you know it not to be in the thread, 0 if nobody has looked:
        then it is looked for there too, however long ago, and SessionBusy is raised at once if
        that very turn is running. Raises SessionNotFound, SessionBusy, SessionTooLarge,
        TurnSuperseded (others have finished the turn while this call was cut off), TurnUncertain
        or StoreUnavailable.
        """
        steps = self.begin_in_steps(
            session_id,
            message,
            user_id=user_id,
            turn_id=turn_id,
            epoch=epoch,
            count=count,
            mark=mark,
            on_busy=on_busy,
            busy_timeout=busy_timeout,
            ticket=ticket,
            enough=enough,
            searched=searched,
            pauses=False,
        )
        return at_once(steps)

    def begin_in_steps(
        self,
        session_id: str,
        message: Message | str,
        *,
        user_id: str | None = None,
        turn_id: str | None = None,
        epoch: int | None = None,
        count: int = 0,
        mark: bytes = b"",
        on_busy: OnBusy = "wait",
        busy_timeout: Duration = 30.0,
        ticket: str | None = None,
        enough: Enough | None = None,
        searched: int | None = None,
        ends: str | None = None,
        pauses: bool = True,
    ) -> Generator[Pause, None, OpenTurn]:
        """Do what ``begin_turn`` does, and pause while it waits for a busy session.

        With ``ends`` a call that interrupts a turn in which something was done, or text of the
        answer told, takes that over, cancelled: it is to be ended, and the call made again. It is
        the id of a turn of which text was shown that was not told, or empty.
        """
        turn = id_or_new(turn_id, "a turn id")
        if on_busy not in ON_BUSY:
            raise InvalidInput(f"on_busy is one of {', '.join(ON_BUSY)}, not {on_busy!r:.100}")
        if not isinstance(message, Message):
            at = self._core.clock.time()
            message = Message("user", message, turn_id=turn, created_at=at)
        message = stamped(message, turn, self._core.clock)
        if message.role != "user":
            raise InvalidInput(f"a turn begins with a user message, not {message.role!r}")
        opened = yield from self._opening.open(
            session_id,
            user_id,
            turn,
            message,
            epoch,
            count,
            mark,
            interrupt=on_busy == "interrupt",
            ends=ends,
            ticket=check_ticket(ticket),
            wait=check_wait(busy_timeout, "busy_timeout") if on_busy == "wait" else 0.0,
            enough=enough,
            may_be_done=turn_id is not None,
            searched=maybe_number(searched, "searched"),
            pauses=pauses,
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
        mark: bytes = b"",
        busy_timeout: Duration = 0.0,
        enough: Enough | None = None,
    ) -> OpenTurn | None:
        """Take over the session's abandoned turn, with its staged steps; None if it has none.

        One that was taken over three times before is dropped, told as TURN_FAILED, or to be ended,
        as in ``begin_turn``.

        A turn whose lease still runs is waited for, up to ``busy_timeout`` seconds: until it is
        over (then None) or abandoned. ``epoch``, ``count``, ``mark`` and ``enough`` as in
        ``begin_turn``.
        Raises SessionNotFound, SessionBusy or StoreUnavailable.
        """
        steps = self.resume_in_steps(
            session_id,
            user_id=user_id,
            epoch=epoch,
            count=count,
            mark=mark,
            busy_timeout=busy_timeout,
            enough=enough,
            pauses=False,
        )
        return at_once(steps)

    def resume_in_steps(
        self,
        session_id: str,
        *,
        user_id: str | None = None,
        epoch: int | None = None,
        count: int = 0,
        mark: bytes = b"",
        busy_timeout: Duration = 0.0,
        enough: Enough | None = None,
        pauses: bool = True,
    ) -> Generator[Pause, None, OpenTurn | None]:
        """Do what ``resume_turn`` does, and pause while it waits for a busy session."""
        return self._opening.open(
            session_id,
            user_id,
            new_id(),
            None,
            epoch,
            count,
            mark,
            wait=check_wait(busy_timeout, "busy_timeout"),
            enough=enough,
            pauses=pauses,
        )
