"""Work behind a turn, for which nobody waits: in the pool, where models may be asked for a text."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing

from attrs import evolve

from ..agent import Agent
from ..agent.measured import MeasuredAnswer, told_name
from ..llm import Answer, Model, ModelRequest
from ..llm.resolve import AnyModel
from ..llm.sources import source_of
from ..models import Usage
from ..telemetry import ModelCall
from .accounting import Accounting
from .futures import SubmittedTurns


class Behind:
    """Runs such work for one agent, and counts what it takes. Safe for threads."""

    def __init__(self, agent: Agent, accounting: Accounting, pool: SubmittedTurns) -> None:
        self._agent = agent
        self._accounting = accounting
        self._pool = pool

    def run(self, job: Callable[[], None]) -> None:
        """Do it soon, in a thread of the pool."""
        self._pool.run(Future[None](), job)

    def ask(self, given: AnyModel, model: Model, request: ModelRequest) -> tuple[str, Usage]:
        """Return what a model says, which was ``given`` so, and its tokens; they are counted.

        Blocks. Raises ModelError, or BudgetExceeded.
        """
        agent, session_id = self._agent, request.session_id or ""
        request = evolve(request, timeout=agent.config.model_timeout)
        source = source_of(model, request, lambda bell: None, lambda: None, pauses=False)
        if agent.telemetry is None:
            answer = Answer(model, request, source)
        else:
            call = ModelCall(told_name(given, model), session_id, "")
            answer = MeasuredAnswer(model, request, source, agent.telemetry, call)
        try:
            with (
                closing(answer),
                self._accounting.reserved(request, "", lambda: answer.usage, given),
            ):
                while answer.next() is not None:
                    pass
                return answer.reply().text, answer.usage
        finally:
            if answer.usage.total_tokens:
                self._accounting.note_beside(answer.usage, given, session_id, request.user_id)
