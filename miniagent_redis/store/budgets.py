"""Budgets: reserved before a model is asked, settled with what it took; shared by all instances.

Two round trips for each request to a model, whatever the number of budgets: all of them share a
slot. What who dies had reserved is free again after ten minutes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from math import ceil
from typing import get_args

from attrs import frozen

from ..errors import BudgetExceeded
from ..models import Budget, Price, Usage, new_id
from ..models.budget import Every
from .core import StoreCore
from .operations.counting import Exceeded, Reserved, Spent, reserve_budget, settle_budget

HELD_MS = 600_000
_WHAT = ("tokens", "cost")
_EVERY = get_args(Every)
_MICRO = 1_000_000  # of a USD: what costs are counted in


@frozen
class Reservation:
    """A request that is under way: ``settle`` counts what it took."""

    core: StoreCore
    request_id: str
    budgets: dict[str, tuple[Budget, str]]
    """By key, with what is counted there: ``tokens`` or ``cost``."""
    price: Price | None

    def settle(self, usage: Usage) -> None:
        """Count what the request took, in place of what was reserved. Once, one round trip."""
        spent = {
            key: Spent(budget.every or "", _amount(what, usage, self.price), budget.kept_ms)
            for key, (budget, what) in self.budgets.items()
        }
        settle_budget(self.core, spent, request_id=self.request_id, held_ms=HELD_MS)


class Budgets:
    """What may be spent of the budgets of turns, sessions, users and the namespace."""

    def __init__(self, core: StoreCore) -> None:
        self._core = core

    def reserve(
        self,
        budgets: Sequence[Budget],
        least: Usage,
        wanted: Usage,
        price: Price | None,
        *,
        turn_id: str,
        session_id: str,
        user_id: str | None,
    ) -> Reservation:
        """Reserve what a request may take: ``least`` must be left, ``wanted`` if there is as much.

        One round trip. Raises BudgetExceeded, with nothing reserved. ``price`` is for budgets that
        have a cost.
        """
        kept: dict[str, tuple[Budget, str]] = {}
        reserved: dict[str, Reserved] = {}
        for key, budget, what, most in self._keys_of(budgets, turn_id, session_id, user_id):
            if key in reserved and most >= reserved[key].limit:
                continue
            kept[key] = budget, what
            amounts = _amount(what, least, price), _amount(what, wanted, price)
            reserved[key] = Reserved(most, budget.every or "", *amounts, budget.kept_ms)
        request_id = new_id()[:12]
        refused = reserve_budget(self._core, reserved, request_id=request_id, held_ms=HELD_MS)
        if refused is not None:
            raise self._exceeded(refused, list(kept.values())[refused.number - 1])
        return Reservation(self._core, request_id, kept, price)

    def forget(self, per: str, names: Iterable[str]) -> int:
        """Remove what users, or sessions, have spent; return how many counts there were."""
        kinds, key = list(product(_WHAT, ("", *_EVERY))), self._core.keys.budget
        gone = [("DEL", *(key(per, name, *kind) for kind in kinds)) for name in names]
        return sum(self._core.call_many(gone))

    def _keys_of(
        self, budgets: Sequence[Budget], turn_id: str, session_id: str, user_id: str | None
    ) -> Iterator[tuple[str, Budget, str, int]]:
        for budget in budgets:
            per: str = budget.per
            if per == "user" and user_id is None:
                per = "session"
            names = {"turn": turn_id, "session": session_id, "user": user_id or "", "namespace": ""}
            for what in _WHAT:
                if (most := _most(budget, what)) is not None:
                    key = self._core.keys.budget(per, names[per], what, budget.every or "")
                    yield key, budget, what, most

    def _exceeded(self, refused: Exceeded, of: tuple[Budget, str]) -> BudgetExceeded:
        budget, what = of
        now = refused.now_ms / 1000
        begins = budget.renewed_at(now)
        left, unit = (refused.left / _MICRO, "USD") if what == "cost" else (refused.left, "tokens")
        return BudgetExceeded(budget, left, unit, None if begins is None else begins - now)


def _most(budget: Budget, what: str) -> int | None:
    if what == "tokens":
        return budget.tokens
    return None if budget.cost is None else round(budget.cost * _MICRO)


def _amount(what: str, usage: Usage, price: Price | None) -> int:
    if what == "tokens":
        return usage.total_tokens
    return 0 if price is None else ceil(price.cost(usage) * _MICRO)
