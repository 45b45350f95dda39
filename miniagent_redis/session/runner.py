"""Opening turns and having their work done, and what is cleared up before and behind them."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress

from attrs import evolve

from ..agent import USUAL, Agent, StreamCallback, TurnOptions, enough_for
from ..errors import (
    SessionWaiting,
    StoreUnavailable,
    TurnSuperseded,
    TurnUncertain,
)
from ..maintenance.spool import Spool
from ..models import Message, OpenTurn, TurnResult, new_id
from ..runtime.pausing import Pause
from ..store.manager import RedisSessionManager
from ..store.repeated import TurnStored
from .accounting import Accounting
from .asked import Asked
from .behind import Behind
from .futures import SubmittedTurns
from .given_up import WILL_BE_DROPPED, GivenUpTurns
from .kept_threads import KeptThread
from .performing import Performing
from .registry import RunningTurns
from .results import Turn, only_pauses, whole
from .summarising import Summaries
from .thread import SessionThread
from .titling import Titling

log: logging.Logger = logging.getLogger("miniagent_redis")


class TurnWork:
    """Opens the turns of one agent, or takes over abandoned ones. Safe for threads."""

    def __init__(
        self,
        store: RedisSessionManager,
        agent: Agent,
        running: RunningTurns,
        callbacks: StreamCallback,
        spool: Spool | None,
        submitted: SubmittedTurns,
    ) -> None:
        self._store = store
        self._config = agent.config
        self._running = running
        self._spool = spool
        self._enough = enough_for(agent.config)
        self.read_options: Callable[[Sequence[Message]], TurnOptions] = lambda staged: USUAL
        """Finds the options of a turn that is gone on with in its messages, if they are kept."""
        self.accounting: Accounting = Accounting(store, agent.config)
        self._given_up = GivenUpTurns(store, self.accounting)
        behind = Behind(agent, self.accounting, submitted)
        self._performing = Performing(
            store,
            agent,
            running,
            callbacks,
            spool,
            self.accounting,
            self._given_up,
            Titling(store, agent.config, behind),
            Summaries(store, agent, behind),
        )

    def begin(
        self, thread: KeptThread, asked: Asked, first: OpenTurn | None = None
    ) -> Generator[Pause, None, OpenTurn]:
        """Open a turn; an abandoned one is finished before, by the same errors as in ``perform``.

        One that has the id that is asked for is gone on with instead. ``first`` is what is open.
        """
        ticket = new_id()  # others who come meanwhile are behind us
        while True:
            turn = first or (yield from self.open(thread, asked, ticket))
            if not turn.resumed or asked.is_for(turn):
                return turn
            yield from self._finish(turn, thread, ticket, asked.pauses)
            first = None

    def open(
        self, thread: KeptThread, asked: Asked, ticket: str | None = None
    ) -> Generator[Pause, None, OpenTurn]:
        """Open a turn, or take over an abandoned one. Without a ticket it waits for nobody.

        Raises TurnRuns or TurnStored if it repeats a named turn.
        """
        config, session_id, turn_id = self._config, thread.session_id, asked.turn_id
        while True:
            self._clear_up(session_id)
            running = self._running.of(session_id)
            epoch, count, mark = thread.end
            try:
                turn = yield from self._store.parts.turn_begin.begin_in_steps(
                    session_id,
                    asked.message,
                    user_id=asked.user_id,
                    turn_id=turn_id,
                    epoch=epoch,
                    count=count,
                    mark=mark,
                    on_busy=config.on_busy,
                    busy_timeout=config.busy_timeout if ticket else 0.0,
                    ticket=ticket,
                    enough=self._enough,
                    searched=thread.lacks(turn_id, is_new=asked.is_new) if turn_id else None,
                    ends=running.turn.turn_id if running is not None and running.shown else "",
                    pauses=asked.pauses,
                )
            except SessionWaiting as exc:
                self._must_not_be_stored(asked, exc)
                if config.on_busy != "interrupt" or exc.turn_id == turn_id:
                    raise
                yield from self.end_wait(thread, exc.turn_id, asked.user_id, asked.pauses)
                continue
            except TurnUncertain as exc:
                self._given_up.drop_begun(exc, asked.user_id)
                exc.hint = f"send the message again: it was not answered, and {WILL_BE_DROPPED}"
                raise
            if running is not None and config.on_busy == "interrupt":
                running.stop()
                if turn.turn_id == running.turn.turn_id:
                    turn = evolve(turn, shown="".join(running.shown))
            thread.absorb(turn.thread)
            if not self._is_over(turn):
                return turn

    def _must_not_be_stored(self, asked: Asked, waits: SessionWaiting) -> None:
        """Raise TurnStored for a repetition of a turn that is over: it begins and ends nothing."""
        turn_id, open_turns = asked.turn_id, self._store.parts.open_turns
        if turn_id is None or asked.is_new or waits.turn_id == turn_id:
            return
        found = open_turns.look(asked.session_id, turn_id, asked.user_id)
        stored = open_turns.stored
        if open_turns.may_be_stored(found) and stored(asked.session_id, turn_id, asked.user_id):
            raise TurnStored(asked.session_id, turn_id, found.committed or found.version)

    def resume(
        self,
        thread: SessionThread,
        user_id: str | None,
        pauses: bool,
        options: TurnOptions = USUAL,
        *,
        waits: bool = True,
    ) -> Generator[Pause, None, TurnResult | None]:
        """Take over the session's abandoned turn, if it has one, and do its work."""
        config = self._config
        self._clear_up(thread.session_id)
        epoch, count, mark = thread.end
        turn = yield from self._store.parts.turn_begin.resume_in_steps(
            thread.session_id,
            user_id=user_id,
            epoch=epoch,
            count=count,
            mark=mark,
            busy_timeout=config.busy_timeout if waits and config.on_busy == "wait" else 0.0,
            enough=self._enough,
            pauses=pauses,
        )
        if turn is None:
            return None
        thread.absorb(turn.thread)
        if self._is_over(turn):
            return None
        return whole((yield from only_pauses(self.perform(turn, thread, pauses, options))))

    def end_wait(
        self, thread: SessionThread, turn_id: str, user_id: str | None, pauses: bool
    ) -> Generator[Pause, None, None]:
        """End a turn that is parked, if it is, with what there is of it: its calls are declined."""
        if self._store.parts.parking.decline(thread.session_id, turn_id, user_id=user_id):
            yield from self.resume(thread, user_id, pauses)

    def _clear_up(self, session_id: str) -> None:
        """Drop what was given up of the session, and store what is spooled of it, by whomever."""
        self._given_up.settle(session_id)
        if self._spool is not None:
            self._spool.replay(session_id)

    def _is_over(self, turn: OpenTurn) -> bool:
        """Whether a turn that was taken over has an answer in the spool, which is stored then.

        It came there after the look before, or as that could not be stored before the lease ended.
        """
        return turn.resumed and self._spool is not None and self._spool.replaces(turn)

    def keep_up(self) -> None:
        """Renew the leases of turns that run here, and drop those that were given up."""
        self._running.renew_leases()
        self._drop_given_up()

    def end(self) -> None:
        """End the turns of streams that nobody reads now, and drop those given up before."""
        self._running.end_suspended()
        self._drop_given_up()

    def _drop_given_up(self) -> None:
        with suppress(StoreUnavailable, TurnUncertain):  # then the next time
            self._given_up.settle()

    def _finish(
        self, turn: OpenTurn, thread: SessionThread, ticket: str, pauses: bool
    ) -> Generator[Pause, None, None]:
        """Do the work of an abandoned turn before one's own message; errors as in ``perform``.

        If others end it meanwhile, as by its answer from a spool, there is nothing left to do.
        """
        try:
            whole((yield from only_pauses(self.perform(turn, thread, pauses))))
        except TurnSuperseded:
            if turn.process_id != os.getpid():  # a forked child has no part in it
                raise
        except BaseException:
            self._store.parts.queue.give_up_place(turn.session_id, ticket)
            raise

    def perform(
        self, turn: OpenTurn, thread: SessionThread, pauses: bool, options: TurnOptions = USUAL
    ) -> Turn:
        """Do the work of an open turn and save it, or abort it with the error that stopped it.

        Where it would block for long, it yields a Pause if it ``pauses``.
        """
        if turn.resumed and evolve(options, on_close="keep") == USUAL:
            options = evolve(self.read_options(turn.staged), on_close=options.on_close)
        return self._performing.perform(turn, thread, options, pauses)
