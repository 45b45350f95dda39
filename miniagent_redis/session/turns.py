"""The turns of one agent in one namespace, and all that works on them."""

from __future__ import annotations

from collections.abc import Generator

from ..agent import Agent, StreamCallback
from ..maintenance.jobs import turn_jobs
from ..maintenance.spool import Spool
from ..maintenance.thread import Job
from ..models import Event, TurnResult
from ..store.manager import RedisSessionManager
from .asked import Asked
from .futures import SubmittedTurns
from .kept_threads import KeptThreads
from .named import NamedTurns
from .news import News
from .registry import RunningTurns
from .results import to_its_end
from .runner import TurnWork


class AgentTurns:
    """Runs turns, here or in threads of its own. Safe for threads."""

    def __init__(
        self, store: RedisSessionManager, agent: Agent, callbacks: StreamCallback, news: News
    ) -> None:
        folder, config = store.config.spool_dir, agent.config
        self._store = store
        self.spool: Spool | None = Spool(folder, store.parts, news.of_spooled) if folder else None
        self.running: RunningTurns = RunningTurns(store, config.reader_timeout)
        self._work = TurnWork(store, agent, self.running, callbacks, self.spool)
        self.named: NamedTurns = NamedTurns(store, self._work)
        self.kept: KeptThreads = KeptThreads(store, config.max_kept_bytes)
        self.submitted: SubmittedTurns = SubmittedTurns()

    def jobs(self) -> list[Job]:
        """Return what the background thread has to do for them."""
        return turn_jobs(self._store.config, self._work.keep_up, self.spool)

    def stream(self, asked: Asked) -> Generator[Event, None, TurnResult]:
        """Do what is asked for, in the caller's thread."""
        return (yield from self.named.perform(asked, self.kept.get(asked.session_id)))

    def resume(self, session_id: str, user_id: str | None) -> TurnResult | None:
        """Finish the session's abandoned turn; None if it has none."""
        thread = self.kept.get(session_id)
        turn = self._work.resume(thread, user_id)
        return None if turn is None else to_its_end(self._work.perform(turn, thread))

    def cancel(self, session_id: str, user_id: str | None) -> bool:
        """End the session's running turn soon; return whether there is one."""
        running = self.running.of(session_id)
        is_running = self._store.cancel_turn(session_id, user_id=user_id)
        if is_running and running is not None:
            running.end_soon()
        return is_running

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
