"""Whether a turn may begin, and what it took when it has ended."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from ..agent import AgentConfig
from ..agent.spent import spent_on
from ..errors import InvalidInput, MiniAgentError, ModelError
from ..llm import ModelRequest
from ..llm.resolve import AnyModel
from ..llm.text import estimate_input
from ..models import Message, OpenTurn, Usage, UsageTotals
from ..models.event import time_of
from ..store.limits import Admission
from ..store.manager import RedisSessionManager
from ..store.usage_kinds import ToolTotals

log: logging.Logger = logging.getLogger("miniagent_redis")


_ANSWER = 1_000  # tokens that are reserved for an answer of any length


class Accounting:
    """The limits and prices of one agent, applied to its turns."""

    def __init__(self, store: RedisSessionManager, config: AgentConfig) -> None:
        self._store = store
        self._limits = tuple(config.rate_limits)
        self._token_limits = tuple(limit for limit in self._limits if limit.tokens is not None)
        self._has_user_limit = any(limit.per == "user" for limit in self._limits)
        self._config = config
        self._budgets = tuple(config.budgets)
        _must_have_prices(config)
        self._model = _name(config.model)
        self._price = config.prices.get(self._model)

    def admit(self, session_id: str, user_id: str | None) -> Admission | None:
        """Count a request, if there are limits; return what takes that back.

        One round trip, and one more to look up the user of a session when a limit is per user.
        Raises RateLimited; SessionNotFound where the user has to be looked up.
        """
        if not self._limits:
            return None
        if user_id is None and self._has_user_limit:
            user_id = self._store.session_state(session_id).user_id
        admission = self._store.parts.limits.admission(self._limits, session_id, user_id)
        admission.ask()
        return admission

    def of_outcome(self, steps: Sequence[Message], seconds: float) -> UsageTotals:
        """Return what a turn took that came to its answer, the last of the steps."""
        return spent_on(steps, price=self._price, turns=1, seconds=seconds)

    def of_failure(
        self, steps: Sequence[Message], error: BaseException, seconds: float
    ) -> UsageTotals:
        """Return what is known of a turn that failed."""
        lost = Usage(*error.tokens) if isinstance(error, ModelError) else None
        return spent_on(steps, beside=lost, price=self._price, failed_turns=1, seconds=seconds)

    def note(self, turn: OpenTurn, spent: UsageTotals, tools: Mapping[str, ToolTotals]) -> None:
        """Count what a turn took, beside its session, which does so when it is stored.

        ``tools`` are those that it ran.

        Raises nothing: the turn has ended. Limits on tokens cost a round trip, and so do the
        totals and the indexes with the first turn after a quiet second.
        """
        told = turn.event_ids[-1:]  # the server's time is in it
        at = time_of(told[0]) if told else None
        usage = self._store.parts.usage
        usage.note(spent, user_id=turn.user_id, at=at, model=self._model, tools=tools)
        if self._token_limits:
            self._charge(turn.session_id, turn.user_id, spent)
        self._store.parts.along.write()

    @contextmanager
    def reserved(
        self,
        request: ModelRequest,
        turn_id: str,
        used: Callable[[], Usage],
        model: AnyModel | None = None,
    ) -> Iterator[None]:
        """Reserve what a request may take of the budgets; count what it took at the end.

        Two round trips, if there are budgets. Raises BudgetExceeded.
        """
        if not self._budgets:
            yield
            return
        asked = estimate_input(request)
        most = request.params.get("max_tokens")
        reservation = self._store.parts.budgets.reserve(
            self._budgets,
            Usage(asked, most or 1),
            Usage(asked, most or _ANSWER),
            self._price if model is None else self._config.prices.get(_name(model)),
            turn_id=turn_id,
            session_id=str(request.session_id),
            user_id=request.user_id,
        )
        try:
            yield
        finally:
            try:
                reservation.settle(used())
            except MiniAgentError as exc:
                log.warning("what turn %s spent could not be counted: %s", turn_id, exc)

    def note_beside(
        self, usage: Usage, model: AnyModel, session_id: str, user_id: str | None
    ) -> None:
        """Count tokens that were used behind a turn, for totals and limits. Raises nothing."""
        name = _name(model)
        spent = spent_on((), beside=usage, price=self._config.prices.get(name))
        self._store.parts.usage.note(spent, user_id=user_id, model=name)
        if self._token_limits:
            self._charge(session_id, user_id, spent)
        self._store.parts.along.write()

    def _charge(self, session_id: str, user_id: str | None, spent: UsageTotals) -> None:
        try:
            self._store.parts.limits.charge_tokens(
                self._token_limits,
                spent.total_tokens,
                session_id=session_id,
                user_id=user_id,
            )
        except MiniAgentError as exc:
            log.warning("tokens of session %s could not be counted: %s", session_id, exc)


def _must_have_prices(config: AgentConfig) -> None:
    """Raise InvalidInput if a budget is in USD and a model has no price."""
    if all(budget.cost is None for budget in config.budgets):
        return
    for name in map(_name, filter(None, (config.model, config.summary_model))):
        if name not in config.prices:
            raise InvalidInput(
                f"a budget in USD needs the price of the model {name!r}",
                hint=f"set AgentConfig(prices={{{name!r}: Price(input=…, output=…)}})",
            )


def take_back(admission: Admission | None) -> None:
    """Count a request no more. If that fails it stays counted."""
    if admission is not None:
        with suppress(MiniAgentError):
            admission.take_back()


def _name(model: object) -> str:
    if isinstance(model, str):
        return model
    name = getattr(model, "name", None)
    return name if isinstance(name, str) else str(getattr(model, "__name__", ""))
