"""Has what the window leaves out summarised: behind a turn, in a thread of the pool, once."""

from __future__ import annotations

import logging
from functools import partial
from itertools import chain

from attrs import evolve

from ..agent import Agent
from ..agent.context import to_be_summed_up
from ..agent.summaries import end_of, left_out, summarise, summary
from ..agent.view import is_summary
from ..errors import LockTimeout, MiniAgentError
from ..llm import ModelRequest
from ..models import Message, OpenTurn, Usage
from ..store.manager import RedisSessionManager
from .behind import Behind
from .thread import SessionThread

log: logging.Logger = logging.getLogger("miniagent_redis")
_PAGE = 500  # messages
_REMEMBERED = 10_000


class Summaries:
    """The summaries of one agent's sessions. Safe for threads."""

    def __init__(self, store: RedisSessionManager, agent: Agent, behind: Behind) -> None:
        self._store = store
        self._agent = agent
        self._behind = behind
        self._tried: set[str] = set()  # where windows begin

    def after(self, turn: OpenTurn, thread: SessionThread, answer: Message) -> None:
        """Have summarised what a stored answer was given without, or the next will be soon."""
        start = "" if self._agent.summarizer is None else to_be_summed_up(answer)
        if not start or start in self._tried:
            return
        is_here = thread.end[0] is not None
        if is_here and any(end_of(known) == start for known in thread.newest.summaries()):
            return
        if len(self._tried) >= _REMEMBERED:
            self._tried.clear()
        self._tried.add(start)
        self._behind.run(partial(self._summarise, turn.session_id, turn.user_id, start))

    def _summarise(self, session_id: str, user_id: str | None, start: str) -> None:
        try:
            with self._store.lock(f"summary:{session_id}", timeout=0):
                self._write(session_id, user_id, start)
        except LockTimeout:
            return  # another process is at it
        except MiniAgentError as exc:
            log.warning("session %s: what left the window is not summarised: %s", session_id, exc)

    def _write(self, session_id: str, user_id: str | None, start: str) -> None:
        epoch, thread = self._newest(session_id)
        found = left_out(thread, start)
        if found is None or not found[1]:
            return
        known, covered = found
        text, usage = summarise(known, covered, partial(self._ask, session_id, user_id))
        if not text:
            return
        self._store.parts.appending.append_in(
            epoch,
            session_id,
            summary(text, covered, start, usage),
            operation_id=f"summary-{start}",
        )

    def _ask(
        self, session_id: str, user_id: str | None, request: ModelRequest
    ) -> tuple[str, Usage]:
        given, model = self._agent.config.summary_model, self._agent.summarizer
        assert given is not None
        assert model is not None
        request = evolve(request, session_id=session_id, user_id=user_id)
        return self._behind.ask(given, model, request)

    def _newest(self, session_id: str) -> tuple[int, list[Message]]:
        """Return the epoch and the newest messages: from where the last summary ends, or all."""
        pieces: list[tuple[Message, ...]] = []
        before: int | None = None
        while True:
            piece = self._store.load_tail(session_id, _PAGE, before=before)
            pieces.insert(0, piece.messages)
            thread = list(chain(*pieces))
            ends = set(map(end_of, filter(is_summary, thread)))
            if piece.start <= piece.head or any(message.id in ends for message in thread):
                return piece.epoch, thread
            before = piece.start
