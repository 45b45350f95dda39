"""Opening a turn: one script, tried until it opens one, or there is none to take over."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress
from functools import partial

from ..errors import MiniAgentError, SessionBusy, SessionWaiting, TurnSuperseded, TurnUncertain
from ..models import Message, OpenTurn, new_id
from ..runtime.checks import maybe_number, whole_number
from ..runtime.pausing import Pause
from .checks import check_mark, milliseconds
from .core import StoreCore
from .giving_up import give_up, is_untouched, must_be_given_up
from .keys import to_text
from .looking_back import FIRST, PAGE
from .looking_up import looking_up
from .message_records import MessageRecords
from .opening import Opening
from .operations.begin import (
    END,
    INTERRUPT,
    NAMED,
    BeginReply,
    Begun,
    Busy,
    Done,
    NothingOpen,
    WaitsItself,
    begin_turn,
)
from .operations.replies import Superseded, Unsure
from .operations.thread import Piece
from .operations.turn import abort_turn, stage_step
from .repeated import TurnRuns, TurnStored
from .shown_text import ShownText
from .threads import Enough, Threads
from .turn_queue import TurnQueue
from .waiting_calls import approvals, waiting_calls

_ENDED_WITHIN = 10.0
"""Seconds for which who interrupts waits for others that end the same turn: each has two."""


class TurnOpening:
    """Opens turns with a message, or takes over abandoned ones."""

    def __init__(
        self,
        core: StoreCore,
        threads: Threads,
        records: MessageRecords,
        queue: TurnQueue,
        shown: ShownText,
    ) -> None:
        self._core = core
        self._threads = threads
        self._records = records
        self._queue = queue
        self._shown = shown

    def open(
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
        ends: str | None = None,
        ticket: str | None = None,
        wait: float,
        enough: Enough | None,
        may_be_done: bool = False,
        searched: int | None = None,
        pauses: bool = False,
    ) -> Generator[Pause, None, OpenTurn | None]:
        """Run the script until it opens a turn, or finds none to resume (None).

        Waiting for a busy session blocks, or pauses. With ``ends`` who would ``interrupt`` a turn
        in which something was done, or shown, gets that, cancelled, to end it.
        """
        opening = Opening(
            on=self._core.on(session_id, user_id, operation=turn, shows=turn),
            turn_id=turn,
            holder=new_id(),
            message=message,
            record=None if message is None else self._records.encode(session_id, [message])[0],
            epoch=maybe_number(epoch, "epoch"),
            count=whole_number(count, "count"),
            mark=check_mark(mark),
            tickets=("" if not interrupt else INTERRUPT if ends is None else f"{END} {ends}"),
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
                if interrupt and ends is not None:  # others are ending the turn in its way
                    ticket, wait = "", _ENDED_WITHIN
                again = partial(self._try_again, opening)
                reply = yield from self._queue.wait(
                    opening.on, ticket, wait, reply, again, pauses=pauses
                )
        except BaseException as exc:
            if isinstance(exc, SessionBusy) and opening.is_taken:
                raise TurnSuperseded(session_id, turn) from None
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
            if isinstance(reply, Busy):
                return self._waits(opening, reply)
            is_lost = opening.on.tries.is_lost
            if isinstance(reply, Unsure):
                if not is_lost:  # what comes next is meant for this session, and no later one
                    opening.on.goes_on()
                owner = to_text(opening.on.user) or None
                find = self._threads.find_turn
                # What was let go of before this call does not count against it.
                is_first = opening.is_told_at_once and not is_lost
                seen = reply.version if is_first else opening.searched
                with looking_up(opening.on):
                    stored, opening.searched = find(session_id, opening.turn_id, owner, seen)
                if stored:
                    return Done(reply.version)
            elif (
                isinstance(reply, Begun)
                and must_be_given_up(reply)
                and is_untouched(reply, opening.on, self._shown)
            ):
                if not is_lost:
                    opening.on.goes_on()
                give_up(self._core, opening.on, reply, opening.holder)
                opening.holder = new_id()  # that one's turn is over
            else:
                return reply

    def _waits(self, opening: Opening, busy: Busy) -> Busy:
        """Note that no try has begun the turn yet; or that one did, and others work on it."""
        on, tries = opening.on, opening.on.tries
        if busy.same and opening.is_told_at_once:
            raise TurnRuns(on.session_id, opening.turn_id, busy.left_ms / 1000)
        opening.is_taken = bool(busy.same) and tries.is_lost
        if opening.is_taken:
            return busy  # once it is over, the thread shows it
        if opening.searched is None:
            opening.searched = busy.version
        if tries.is_lost or not tries.goes_on:
            on.goes_on()
        return busy

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
        keep = self._keeper(opening, begun)  # the first page takes its time too
        try:
            found = self._threads.slice_of(session_id, piece, opening.mark)
            thread = self._threads.load_rest(found, session_id, owner, opening.enough, keep)
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
            is_given_up=must_be_given_up(begun),
            user_id=owner,
        )
        turn = approvals(turn, begun.approved)
        turn.heard(begun.event)
        return turn

    def _keeper(self, opening: Opening, begun: Begun) -> Callable[[], None]:
        """Return what keeps the turn ours, called now and then while a long thread is loaded."""
        clock, config = self._core.clock, self._core.config
        session_id, turn_id = opening.on.session_id, begun.turn_id.decode()
        lease_ms = milliseconds(config.lease_ttl, "lease_ttl")
        renewed = clock.monotonic()

        def keep() -> None:
            nonlocal renewed
            if clock.monotonic() - renewed < lease_ms / 3000:
                return
            renewed = clock.monotonic()
            kept = stage_step(
                self._core.on(session_id, to_text(opening.on.user) or None),
                turn_id=turn_id,
                holder=opening.holder,
                lease_ms=lease_ms,
                max_bytes=config.max_session_size,
                after=0,
                messages=[],
            )
            if isinstance(kept, Superseded):
                raise TurnSuperseded(session_id, turn_id)

        return keep

    def _withdraw(self, opening: Opening) -> None:
        with suppress(MiniAgentError):  # its lease ends by itself
            turn_id, holder = opening.turn_id, opening.holder
            abort_turn(opening.on, turn_id=turn_id, holder=holder, why=b"", counts="")

    def _try_again(self, opening: Opening, tickets: str) -> BeginReply:
        """Run the script when it was told Busy before.

        A try whose reply was lost may have begun the turn, and others may have finished it since,
        however many turns ago. A session made anew meanwhile is not the one that was meant.
        """
        if tickets:
            opening.tickets = opening.place + tickets
        return self._try(opening)
