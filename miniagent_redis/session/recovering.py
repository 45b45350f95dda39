"""Finishing the turns of processes that died, where these turns asked for it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import Context, copy_context
from functools import partial

from ..errors import MiniAgentError, SessionBusy, TurnSuperseded
from ..models import TurnResult
from ..runtime.pausing import at_once
from ..store.manager import RedisSessionManager
from .futures import SubmittedTurns
from .kept_threads import KeptThreads
from .runner import TurnWork

log: logging.Logger = logging.getLogger("miniagent_redis")


class Recovering:
    """Looks for abandoned turns of one agent, and has them finished in its pool.

    ``run`` is a job of the background thread, which only looks. Watchers and callbacks are told by
    TURN_STARTED with ``resumed``. ``context`` is that in which the agent was opened: async tools
    run in its event loop.
    """

    def __init__(
        self,
        store: RedisSessionManager,
        agent_name: str,
        work: TurnWork,
        kept: KeptThreads,
        submitted: SubmittedTurns,
    ) -> None:
        self._store = store
        self._agent_name = agent_name
        self._work = work
        self._kept = kept
        self._submitted = submitted
        self.context: Context = copy_context()
        self.pass_on: Callable[[str], bool] = lambda session_id: False
        """Has another agent finish the turn, whose it is, and returns True; else False."""

    def run(self) -> None:
        """Look once, and let the pool do what there is."""
        for session_id in self._store.parts.recovery.claim_abandoned(self._agent_name):
            log.info("the abandoned turn of session %r is gone on with", session_id)
            finish = partial(self._finish, session_id)
            self._submitted.run(Future(), finish, context=self.context.copy())

    def _finish(self, session_id: str) -> TurnResult | None:
        thread = self._kept.get(session_id)
        try:
            if self.pass_on(session_id):
                return None
            return at_once(self._work.resume(thread, None, pauses=False, waits=False))
        except (SessionBusy, TurnSuperseded):
            log.info("others go on with the turn of session %r", session_id)
            raise
        except MiniAgentError as exc:
            log.warning("the turn of session %r that was gone on with failed: %s", session_id, exc)
            raise
