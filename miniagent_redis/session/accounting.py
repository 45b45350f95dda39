"""Whether a turn may begin, and what it took when it has ended."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from ..agent import AgentConfig, TurnOutcome
from ..agent.caching import saved_by_cache
from ..agent.steps import usage_of
from ..errors import MiniAgentError, ModelError
from ..models import Message, OpenTurn, Usage, UsageTotals
from ..store.limits import Admission
from ..store.manager import RedisSessionManager

log = logging.getLogger("miniagent_redis")


class Accounting:
    """The limits and prices of one agent, applied to its turns."""

    def __init__(self, store: RedisSessionManager, config: AgentConfig) -> None:
        self._store = store
        self._limits = tuple(config.rate_limits)
        self._has_user_limit = any(limit.per == "user" for limit in self._limits)
        self._price = config.prices.get(_name(config.model))

    def admit(self, session_id: str, user_id: str | None) -> Admission:
        """Count a request. Raises RateLimited; SessionNotFound where the user has to be looked up.

        One round trip, and one more to look up the user of a session when a limit is per user.
        """
        if user_id is None and self._has_user_limit:
            user_id = self._store.session_state(session_id).user_id
        admission = Admission(self._store, self._limits, session_id, user_id)
        admission.ask()
        return admission

    def cost(self, usage: Usage) -> float | None:
        """Return the price of these tokens in USD, 0 for none, None if the model has no price."""
        if usage == Usage():
            return 0.0
        return None if self._price is None else self._price.cost(usage)

    def of_outcome(self, outcome: TurnOutcome, seconds: float) -> UsageTotals:
        """Return what a turn took that came to its answer."""
        return self._totals(outcome.steps, outcome.usage, seconds, turns=1)

    def of_failure(
        self, steps: Sequence[Message], error: BaseException, seconds: float
    ) -> UsageTotals:
        """Return what is known of a turn that failed."""
        usage = usage_of(steps)
        if isinstance(error, ModelError):
            usage += Usage(*error.tokens)
        return self._totals(steps, usage, seconds, failed_turns=1)

    def _totals(
        self,
        steps: Sequence[Message],
        usage: Usage,
        seconds: float,
        *,
        turns: int = 0,
        failed_turns: int = 0,
    ) -> UsageTotals:
        cost = self.cost(usage)
        cache_hits, saved_seconds, saved_tokens = saved_by_cache(steps)
        return UsageTotals(
            turns=turns,
            failed_turns=failed_turns,
            unpriced_turns=int(cost is None),
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cached_tokens=usage.cached_tokens,
            tool_calls=sum(len(message.tool_calls) for message in steps),
            cache_hits=cache_hits,
            saved_tokens=saved_tokens,
            saved_seconds=saved_seconds,
            seconds=seconds,
            cost=cost or 0.0,
        )

    def note(self, turn: OpenTurn, spent: UsageTotals) -> None:
        """Count what a turn took, beside its session, which does so when it is stored.

        Raises nothing: the turn has ended. Limits on tokens cost a round trip.
        """
        self._store.note_usage(spent, user_id=turn.user_id)
        try:
            self._store.charge_tokens(
                self._limits,
                spent.total_tokens,
                session_id=turn.session_id,
                user_id=turn.user_id,
            )
        except MiniAgentError as exc:
            log.warning("the tokens of turn %s could not be counted: %s", turn.turn_id, exc)


def _name(model: object) -> str:
    if isinstance(model, str):
        return model
    name = getattr(model, "name", None)
    return name if isinstance(name, str) else str(getattr(model, "__name__", ""))
