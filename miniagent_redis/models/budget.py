"""What an agent may spend: Budget."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_args

from attrs import Attribute, field, frozen

from ..errors import InvalidInput
from .limits import amount, one_of

BudgetPer = Literal["turn", "session", "user", "namespace"]
Every = Literal["day", "month"]

_DAY_MS = 86_400_000
_KEPT_DAYS: dict[str | None, int] = {None: 400, "day": 2, "month": 62}


def _dollars(_: object, attribute: Attribute[Any], value: object) -> None:
    if value is not None and (type(value) not in (int, float) or not 1e-6 <= value <= 1e9):  # type: ignore[operator]
        raise InvalidInput(f"{attribute.name} must be USD from 0.000001, not {value!r:.100}")


@frozen(kw_only=True)
class Budget:
    """At most so many ``tokens``, or so much ``cost`` in USD, or both.

    Of each turn, session or user, or of all in the namespace (the tenant), for good, or anew
    ``every`` day or month (UTC, by the server's clock). A session without a user counts as a user
    of its own. Counted in Redis and so shared by all instances.

    Before a model is asked what the request may take is reserved: its own tokens, by estimate, and
    ``AgentConfig.max_tokens`` of an answer. If that is not left, BudgetExceeded is raised and the
    model is not asked. With ``max_tokens`` a budget is kept but for the error of the estimate;
    without it the answers that are under way may overshoot it.
    """

    per: BudgetPer = field(validator=one_of(*get_args(BudgetPer)))
    tokens: int | None = field(default=None, validator=amount)
    cost: float | None = field(default=None, validator=_dollars)
    every: Every | None = field(default=None, validator=one_of(None, *get_args(Every)))

    def __attrs_post_init__(self) -> None:
        if self.tokens is None and self.cost is None:
            raise InvalidInput("a budget needs an amount of tokens, a cost, or both")
        if self.per == "turn" and self.every is not None:
            raise InvalidInput("a turn has one budget", hint="leave `every` out")

    def __str__(self) -> str:
        amounts = [] if self.tokens is None else [f"{self.tokens:,} tokens"]
        if self.cost is not None:
            amounts.append(f"{self.cost:g} USD")
        anew = f" and {self.every}" if self.every else ""
        return f"{' and '.join(amounts)} per {self.per}{anew}"

    @property
    def kept_ms(self) -> int:
        """How long what was spent is kept after its last use."""
        return (1 if self.per == "turn" else _KEPT_DAYS[self.every]) * _DAY_MS

    def renewed_at(self, now: float) -> float | None:
        """Return when it begins anew, in seconds since the epoch; None if it does not."""
        if self.every is None:
            return None
        today = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        if self.every == "day":
            return (today + timedelta(days=1)).timestamp()
        return (today.replace(day=1) + timedelta(days=32)).replace(day=1).timestamp()
