"""The turns of one agent in one namespace, and all that works on them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from attrs import evolve

from ..agent import USUAL, Agent, StreamCallback, TurnOptions
from ..errors import MiniAgentError, SessionBusy, SessionWaiting
from ..llm.awaited import AwaitedModel
from ..maintenance.jobs import turn_jobs
from ..maintenance.spool import Spool
from ..maintenance.thread import Job
from ..models import Message, OpenTurn, TurnResult
from ..records.json import Json
from ..runtime.pausing import Pause, at_once
from ..store.keys import check_session_id
from ..store.manager import RedisSessionManager
from ..store.open_turns import before
from ..store.parking import Answer
from ..store.repeated import TurnRuns, TurnStored
from .asked import Asked
from .futures import Submitted, SubmittedTurns
from .handed_on import HandedOn
from .kept_threads import KeptThread, KeptThreads
from .named import NamedTurns, Opened
from .news import News
from .parked import ParkedTurns
from .recovering import Recovering
from .registry import RunningTurns
from .results import Turn, only_pauses, whole
from .runner import TurnWork

log: logging.Logger = logging.getLogger("miniagent_redis")


class Started(NamedTuple):
    """A turn that goes on in the pool: its id, and the place in front of its first event."""

    turn_id: str
    cursor: str


class AgentTurns:
    """Runs turns, here or in threads of its own. Safe for threads."""

    def __init__(
        self,
        store: RedisSessionManager,
        agent: Agent,
        callbacks: StreamCallback,
        news: News,
        must_be_open: Callable[[], object],
    ) -> None:
        folder, config = store.config.spool_dir, agent.config
        self._store = store
        self._must_be_open = must_be_open
        self._awaits_model = isinstance(agent.model, AwaitedModel)
        self.spool: Spool | None = Spool(folder, store.parts, news.of_spooled) if folder else None
        self.running: RunningTurns = RunningTurns(store, config.reader_timeout)
        self.submitted: SubmittedTurns = SubmittedTurns(config.turn_threads)
        self._work = TurnWork(store, agent, self.running, callbacks, self.spool, self.submitted)
        self.named: NamedTurns = NamedTurns(store, self._work)
        self.kept: KeptThreads = KeptThreads(store, config.max_kept_bytes)
        self.parked: ParkedTurns = ParkedTurns(store, self._work, self.named)
        self.recovering: Recovering = Recovering(
            store, config.name, self._work, self.kept, self.submitted
        )

    def jobs(self) -> list[Job]:
        """Return what the background thread has to do for them."""
        recover = self.recovering.run
        return turn_jobs(self._store.config, self._work.keep_up, recover, self.spool)

    def stream(self, asked: Asked) -> Turn:
        """Do what is asked for, in the caller's thread; pause if that is asked for.

        What is to be finished though its reader leaves is done in the pool.
        """
        self._must_be_open()
        if asked.options.on_close != "finish":
            return (yield from self.named.perform(asked, self._thread(asked)))
        asked, thread = asked.kept(), self._thread(asked)
        hand_on = partial(self._hand_on, asked, thread)
        return (yield from self.named.perform(asked, thread, work=hand_on))

    def _hand_on(self, asked: Asked, thread: KeptThread, turn: OpenTurn) -> Turn:
        """Let the pool do the work of a turn; yield what happens to who reads on."""
        future, handed_on = Submitted(turn.turn_id), HandedOn(turn, pauses=asked.pauses)

        def tell_failure(done: Future[TurnResult]) -> None:
            if handed_on.is_left:
                _tell_failure(done)

        future.add_done_callback(tell_failure)
        self._perform_in_pool(asked, thread, future, Opened(turn, None), handed_on.hear)
        return (yield from handed_on.read(future))

    def _thread(self, asked: Asked) -> KeptThread:
        return self.kept.get(check_session_id(asked.session_id))

    def submit(self, asked: Asked) -> Submitted:
        """Do what is asked for in a thread of the pool. Begun at once, unless the session is busy.

        What goes wrong is the future's error.
        """
        self._must_be_open()
        asked, thread = asked.kept(), self._thread(asked)
        future = Submitted(asked.turn_id or "")
        opened: Opened | None = None
        try:
            try:
                opened = self.named.begin_at_once(asked, thread)
                future.cursor = self._cursor(asked, opened.turn)
            except (SessionBusy, SessionWaiting, TurnStored) as exc:
                if isinstance(exc, SessionWaiting) and exc.turn_id != asked.turn_id:
                    raise
                if isinstance(exc, (TurnRuns, SessionWaiting, TurnStored)):
                    future.cursor = self.named.cursor(asked, exc.turn_id)
                else:
                    future.cursor = self._store.parts.events.end(asked.session_id, asked.user_id)
        except BaseException as exc:
            future.set_exception(exc)
            if not isinstance(exc, Exception):
                raise
            return future
        self._perform_in_pool(asked, thread, future, opened)
        return future

    def start(self, asked: Asked) -> Generator[Pause, None, Started]:
        """Begin what is asked for and let it go on in the pool; waits for a busy session."""
        self._must_be_open()
        asked, thread = asked.kept(), self._thread(asked)
        opened, started = yield from self._begin(asked, thread)
        if opened is not None:
            future = Submitted(*started)
            future.add_done_callback(_tell_failure)
            self._perform_in_pool(asked.to_be_finished(), thread, future, opened)
        return started

    def submit_in_steps(
        self, asked: Asked, begun: Callable[[Started], object]
    ) -> Generator[Pause, None, TurnResult]:
        """Do what is asked for, in the caller's steps; tell as soon as it has begun."""
        self._must_be_open()
        thread = self._thread(asked)
        opened, started = yield from self._begin(asked, thread)
        begun(started)
        return whole((yield from only_pauses(self.named.perform(asked, thread, opened))))

    def _begin(
        self, asked: Asked, thread: KeptThread
    ) -> Generator[Pause, None, tuple[Opened | None, Started]]:
        """Open the turn, or find the one that this is a repetition of: then it is not opened."""
        try:
            turn = yield from self.named.begin(asked, thread)
        except (TurnRuns, SessionWaiting, TurnStored) as exc:
            if exc.turn_id != asked.turn_id:
                raise
            if isinstance(exc, TurnStored):
                self.named.must_be(asked)
            return None, Started(exc.turn_id, self.named.cursor(asked, exc.turn_id))
        return Opened(turn, None), Started(turn.turn_id, self._cursor(asked, turn))

    def answer(
        self,
        session_id: str,
        turn_id: str,
        answers: Mapping[str, Answer],
        user_id: str | None,
        options: TurnOptions = USUAL,
        pauses: bool = False,
    ) -> Generator[Pause, None, TurnResult]:
        """Answer calls of a parked turn; with the last one, finish it here."""
        self._must_be_open()
        thread = self.kept.get(check_session_id(session_id))
        answer = self.parked.answer
        return (yield from answer(thread, turn_id, answers, user_id, options, pauses))

    def read_options(self, read: Callable[[Sequence[Message]], TurnOptions]) -> None:
        """Have turns that are gone on with done with the options that ``read`` finds in them.

        For whoever keeps them with the messages: else such a turn has the usual ones.
        """
        self._work.read_options = read

    def answer_soon(
        self,
        session_id: str,
        turn_id: str,
        answers: Mapping[str, Answer],
        user_id: str | None,
        options: TurnOptions = USUAL,
        note: Json | None = None,
        cursor: str | None = None,
    ) -> Started:
        """Answer calls of a parked turn; with the last one, let it go on in the pool.

        The cursor is in front of what comes of that; or the one given, of who has seen it parked
        since, so that nothing is missed of what comes of the answers of others that are faster.
        ``note`` is kept with the results. Errors as of ``answer``, but for those of the work.
        """
        self._must_be_open()
        parts = self._store.parts
        started = Started(turn_id, cursor or parts.events.end(session_id, user_id))
        parked = parts.parking.answer(session_id, turn_id, answers, user_id=user_id, note=note)
        go_on = partial(self.answer, session_id, turn_id, answers, user_id, options)
        if parked is None:  # it is over, or never was
            at_once(go_on())
        elif not parked.calls:
            future = Submitted(*started)
            future.add_done_callback(_tell_failure)
            self.submitted.run(future, lambda: at_once(go_on()))
        return started

    def _cursor(self, asked: Asked, turn: OpenTurn) -> str:
        """Return the place in front of the first event of a turn that was just opened."""
        if turn.event_ids and not asked.is_for(turn):
            return before(turn.event_ids[0])
        with suppress(MiniAgentError):  # it is begun, which is what counts
            return self.named.cursor(asked, turn.turn_id)
        return ""

    def _perform_in_pool(
        self,
        asked: Asked,
        thread: KeptThread,
        future: Submitted,
        opened: Opened | None,
        to_the_end: Callable[[Turn], Generator[Pause, None, TurnResult]] = only_pauses,
    ) -> None:
        if self._awaits_model:  # no signal is raised in a thread of the pool, so it may
            asked = evolve(asked, pauses=True)
        # Until somebody works on it: so its lease is renewed while it waits for a thread.
        running = None if opened is None else self.running.begin(opened.turn)

        def steps() -> Generator[Pause, None, TurnResult]:
            return whole((yield from to_the_end(self.named.perform(asked, thread, opened))))

        def drop() -> None:
            if running is not None:
                self.running.end(running)
                with suppress(MiniAgentError):  # its lease ends
                    self._store.abort_turn(running.turn)

        if asked.pauses:
            self.submitted.run_in_steps(future, steps(), self._store.clock, drop)
        else:
            self.submitted.run(future, lambda: at_once(steps()), drop)

    def resume(
        self, session_id: str, user_id: str | None, pauses: bool = False
    ) -> Generator[Pause, None, TurnResult | None]:
        """Finish the session's abandoned turn; None if it has none."""
        self._must_be_open()
        thread = self.kept.get(check_session_id(session_id))
        return (yield from self._work.resume(thread, user_id, pauses))

    def cancel(self, session_id: str, turn_id: str | None, user_id: str | None) -> bool:
        """End the session's running turn soon, or the one named; return whether it is there."""
        self._must_be_open()
        running = self.running.of(check_session_id(session_id))
        turn = self._store.parts.turns.cancel(session_id, turn_id, user_id)
        if turn and running is not None and running.turn.turn_id == turn:
            running.end_soon()
        elif turn:
            self.parked.cancel(self.kept.get(session_id), turn, user_id)
        return bool(turn)

    def replay(self) -> None:
        """Store what is spooled here, as far as that can be done now."""
        if self.spool is not None:
            self.spool.try_to_replay()

    def finish(self, deadline: float) -> bool:
        """Wait for turns until a time of the monotonic clock; end those that nobody reads."""
        clock = self._store.clock
        idle = self.submitted.finish(max(0.0, deadline - clock.monotonic()))
        idle &= self.running.wait_until_idle(max(0.0, deadline - clock.monotonic()))
        self._work.end()
        return idle


def _tell_failure(future: Future[TurnResult]) -> None:
    """Log why a turn has failed that nobody waits for; watchers are told as by any turn."""
    if not future.cancelled() and (error := future.exception()) is not None:
        turn_id = future.turn_id if isinstance(future, Submitted) else ""
        log.warning("turn %s failed: %s", turn_id, error)
