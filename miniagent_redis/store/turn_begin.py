"""How a turn is opened: begun with the user's message, or taken over from a holder that died."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import get_args

from ..errors import InvalidInput, MiniAgentError, SessionWaiting, TurnSuperseded, TurnUncertain
from ..models import Message, OnBusy, OpenTurn, new_id
from ..runtime.checks import maybe_number, whole_number
from ..runtime.durations import Duration
from .checks import check_mark, check_ticket, check_wait, milliseconds, stamped
from .core import StoreCore
from .giving_up import give_up, must_be_given_up
from .keys import id_or_new, to_text
from .message_records import MessageRecords
from .opening import Opening
from .operations.replies import Unsure
from .operations.thread import Piece
from .operations.turn import (
    INTERRUPT,
    NAMED,
    BeginReply,
    Begun,
    Busy,
    Done,
    NothingOpen,
    WaitsItself,
    abort_turn,
    begin_turn,
)
from .repeated import TurnRuns, TurnStored
from .threads import FIRST, PAGE, Enough, Threads
from .waiting import Waiting
from .waiting_calls import approvals, waiting_calls

ON_BUSY = get_args(OnBusy)


class TurnBegin:
    """Beginning turns and taking over abandoned ones."""

    def __init__(
        self, core: StoreCore, threads: Threads, records: MessageRecords, waiting: Waiting
    ) -> None:
        self._core = core
        self._threads = threads
        self._records = records
        self._waiting = waiting

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
        make the call fail at once ("reject"); or the turn is superseded ("interrupt"). One whose
        holder went silent for ``lease_ttl`` is taken over instead (see ``OpenTurn.resumed``) unless
        this call interrupts. After three such times it is dropped, told as TURN_FAILED, and this
        turn begun.

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
        turn = id_or_new(turn_id, "a turn id")
        if on_busy not in ON_BUSY:
            raise InvalidInput(f"on_busy is one of {', '.join(ON_BUSY)}, not {on_busy!r:.100}")
        if not isinstance(message, Message):
            message = Message("user", message)
        message = stamped(message, turn, self._core.clock)
        if message.role != "user":
            raise InvalidInput(f"a turn begins with a user message, not {message.role!r}")
        opened = self._open(
            session_id,
            user_id,
            turn,
            message,
            epoch,
            count,
            mark,
            interrupt=on_busy == "interrupt",
            ticket=check_ticket(ticket),
            wait=check_wait(busy_timeout, "busy_timeout") if on_busy == "wait" else 0.0,
            enough=enough,
            may_be_done=turn_id is not None,
            searched=maybe_number(searched, "searched"),
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

        One that was taken over three times before is dropped, told as TURN_FAILED.

        A turn whose lease still runs is waited for, up to ``busy_timeout`` seconds: until it is
        over (then None) or abandoned. ``epoch``, ``count``, ``mark`` and ``enough`` as in
        ``begin_turn``.
        Raises SessionNotFound, SessionBusy or StoreUnavailable.
        """
        wait = check_wait(busy_timeout, "busy_timeout")
        turn = new_id()
        return self._open(
            session_id, user_id, turn, None, epoch, count, mark, wait=wait, enough=enough
        )

    def _open(
        self,
        session_id: str,
        user_id: str | None,
        turn: str,
        message: Message | None,
        epoch: int | None,
        count: int,
        mark: bytes,
        *,
        interrupt: bool = False,
        ticket: str | None = None,
        wait: float,
        enough: Enough | None,
        may_be_done: bool = False,
        searched: int | None = None,
    ) -> OpenTurn | None:
        """Run the script until it opens a turn, or finds none to resume (None)."""
        opening = Opening(
            on=self._core.on(session_id, user_id, operation=turn, shows=turn),
            turn_id=turn,
            holder=new_id(),
            message=message,
            record=None if message is None else self._records.encode(session_id, [message])[0],
            epoch=maybe_number(epoch, "epoch"),
            count=whole_number(count, "count"),
            mark=check_mark(mark),
            tickets=INTERRUPT if interrupt else "",
            place="" if ticket is None else "+",
            enough=enough,
            named=NAMED if may_be_done else "",
            searched=searched,
            is_told_at_once=searched is not None,
        )
        ticket = ticket or ("" if message is None else opening.holder)
        if wait > 0 and not interrupt:
            opening.tickets = opening.place + ticket
        try:
            reply = self._try(opening)
            if isinstance(reply, Busy):
                if opening.searched is None:
                    opening.searched = reply.version
                opening.on.goes_on()
                again = partial(self._try_again, opening)
                reply = self._waiting.wait(opening.on, ticket, wait, reply, again)
        except BaseException as exc:
            if isinstance(exc, TurnUncertain):
                exc.holder = opening.holder
            elif not isinstance(exc, MiniAgentError):  # a Ctrl-C: it may have begun all the same
                self._withdraw(opening)
            raise
        match reply:
            case Begun():
                return self._opened(opening, reply)
            case NothingOpen():
                return None
            case WaitsItself():
                staged = self._records.staged(session_id, reply.staged)
                calls = waiting_calls(staged, reply.waits)
                raise SessionWaiting(session_id, reply.turn_id.decode(), calls)
            case Done(version) if may_be_done:
                raise TurnStored(session_id, turn, version)
        # Begun, taken over and finished by others while we waited or our reply was lost.
        raise TurnSuperseded(session_id, turn)

    def _try(self, opening: Opening) -> BeginReply:
        """Run the script; also behind a turn that killed too many of its holders, or a search."""
        while True:
            reply = self._run(opening)
            session_id = opening.on.session_id
            if isinstance(reply, Busy) and reply.same and opening.is_told_at_once:
                raise TurnRuns(session_id, opening.turn_id, reply.left_ms / 1000)
            if isinstance(reply, Unsure):
                owner = to_text(opening.on.user) or None
                find = self._threads.find_turn
                # What was let go of before this call does not count against it.
                seen = opening.searched
                if opening.is_told_at_once and not opening.on.tries.is_lost:
                    seen = reply.version
                stored, opening.searched = find(session_id, opening.turn_id, owner, seen)
                if stored:
                    return Done(reply.version)
                continue
            if not isinstance(reply, Begun) or not must_be_given_up(reply):
                return reply
            give_up(self._core, opening.on, reply, opening.holder)
            opening.holder = new_id()  # that one's turn is over

    def _run(self, opening: Opening) -> BeginReply:
        config = self._core.config
        return begin_turn(
            opening.on,
            turn_id=opening.turn_id,
            holder=opening.holder,
            lease_ms=milliseconds(config.lease_ttl, "lease_ttl"),
            tickets=opening.tickets,
            max_bytes=config.max_session_size,
            epoch=opening.epoch,
            count=opening.count,
            mark=opening.mark,
            most=PAGE if opening.enough is None else FIRST,
            searched=opening.named + ("" if opening.searched is None else str(opening.searched)),
            message=opening.record,
        )

    def _opened(self, opening: Opening, begun: Begun) -> OpenTurn:
        """Return the turn that is open now, with what the caller does not have of the thread."""
        session_id, message = opening.on.session_id, opening.message
        piece = Piece(
            begun.version, begun.epoch, begun.total, begun.start, begun.records, begun.head
        )
        owner = to_text(begun.owner) or None
        try:
            found = self._threads.slice_of(session_id, piece, opening.mark)
            thread = self._threads.load_rest(found, session_id, owner, opening.enough)
        except BaseException:  # ``enough`` is the caller's
            if not begun.staged:  # a new turn, of which nobody will hear
                self._withdraw(opening)
            raise
        steps = self._records.staged(session_id, begun.staged)
        turn = OpenTurn(
            session_id=session_id,
            turn_id=begun.turn_id.decode(),
            holder=opening.holder,
            thread=thread,
            staged=steps if message is None or steps else (message,),
            resumed=bool(begun.staged),
            user_id=owner,
        )
        turn = approvals(turn, begun.approved)
        turn.heard(begun.event)
        return turn

    def _withdraw(self, opening: Opening) -> None:
        with suppress(MiniAgentError):  # its lease ends by itself
            turn_id, holder = opening.turn_id, opening.holder
            abort_turn(opening.on, turn_id=turn_id, holder=holder, why=b"", counts="")

    def _try_again(self, opening: Opening, tickets: str) -> BeginReply:
        """Run the script when it was told Busy before.

        A try whose reply was lost may have begun the turn, and others may have finished it since,
        however many turns ago. A session made anew meanwhile is not the one that was meant.
        """
        opening.tickets = opening.place + tickets
        return self._try(opening)
