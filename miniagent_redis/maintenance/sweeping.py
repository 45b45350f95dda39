"""The sweeps of an agent: where there are hooks, in a thread of their own.

A hook may be slow, or hang: it must hold up nothing but other hooks.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ..runtime.clock import Clock
from ..store.hook_calls import ExpiryHook, check_hook
from ..store.parts import Parts
from .thread import AGAIN, Background, Job

SWEEP_INTERVAL = 5.0
_MOST_SWEPT = 1000


class Sweeps:
    """Ends the sessions of a store and its tenants that have expired.

    ``run`` is a job of the agent's background thread. It calls the hooks that there are by then, in
    ``thread``, which starts when something is due for the first time.
    """

    def __init__(self, parts: Parts, clock: Clock) -> None:
        self._parts = parts
        self._on_expire: list[ExpiryHook] = []
        job = Job("call expiry hooks", SWEEP_INTERVAL, partial(_call_hooks, parts, self._on_expire))
        self.thread: Background = Background([job], clock, "miniagent-redis-hooks")

    def add(self, hook: ExpiryHook) -> None:
        """Call ``hook`` too; raises InvalidInput unless it can be called."""
        check_hook(hook)
        self._on_expire.append(hook)

    def run(self) -> object:
        """Sweep what is due, unless there are hooks here or elsewhere; return AGAIN or None."""
        if not self._on_expire:
            return _sweep(self._parts)
        if not self.thread.is_running:
            for each in self._parts.family():
                each.expiry.announce()
            if any(each.expiry.has_due() for each in self._parts.family()):
                self.thread.start(at_once=True)
        return None


def _sweep(parts: Parts) -> object:
    due = [each.expiry for each in parts.family() if each.expiry.has_due()]
    swept = [expiry.sweep((), _MOST_SWEPT) for expiry in due if not expiry.is_announced()]
    return AGAIN if any(swept) else None


def _call_hooks(parts: Parts, on_expire: Sequence[ExpiryHook]) -> object:
    # A function of its own: it must not hold the Sweeps, whose thread it runs in.
    hooks, swept = tuple(on_expire), False
    for each in parts.family():
        # By this thread: if it hangs, those without hooks need not wait for it.
        each.expiry.announce()
        swept |= each.expiry.sweep(hooks, _MOST_SWEPT) > 0
    # At its end a sweep may have met its limit or its time; one that finds none has done it all.
    return AGAIN if swept else None
