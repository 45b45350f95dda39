"""Calls of expiry hooks: what each raises, how long it takes, and which of them are running now.

Python cannot end a call that hangs. So it is told, in the log and in ``running_hooks``; whoever
calls hooks does nothing else in that thread.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, field, frozen

from ..errors import InvalidInput
from ..models import ExpiredSession
from ..runtime.cancellation import run_coroutine
from ..runtime.checks import article
from ..runtime.forking import reset_after_fork
from ..runtime.interrupts import WeakRegistry
from .core import StoreCore, log

ExpiryHook = Callable[[ExpiredSession], object]

SLOW = 1.0
"""Seconds that a hook may take before it is told, once for each hook, that it is slow."""
HANGING = 60.0
"""Seconds after which a call that has not returned is told to hang."""


@frozen
class RunningHook:
    """A call of an expiry hook that has not returned."""

    hook: str
    session_id: str
    seconds: float
    """Since it was called. Other hooks of this process wait for it to return."""


@define(eq=False)
class _Call:
    hook: str
    session_id: str
    began: float  # by the clock's monotonic seconds
    is_told: bool = field(default=False, init=False)


class HookCalls:
    """Calls the hooks of one store. Safe for threads."""

    def __init__(self, core: StoreCore) -> None:
        self._core = core
        self._told_slow: set[str] = set()
        self._start_anew()

    @reset_after_fork
    def _start_anew(self) -> None:
        """Begin with none: what the parent calls does not go on in the child."""
        self._calls: WeakRegistry[_Call] = WeakRegistry()  # held by those who call

    def call(self, hook: ExpiryHook, expired: ExpiredSession) -> None:
        """Call a hook; what it raises is logged and counted, and a slow one is told."""
        call = _Call(name_of(hook), expired.session_id, self._core.clock.monotonic())
        self._calls.add(call)
        try:
            result = hook(expired)
            if inspect.iscoroutine(result):
                run_coroutine(result)
        except Exception:
            self._core.tally.failed_expiry_hooks += 1
            log.exception("a hook failed for the expired session %s", expired.session_id)
        finally:
            self._calls.discard(call)
        seconds = self._core.clock.monotonic() - call.began
        if seconds > SLOW and call.hook not in self._told_slow:
            self._told_slow.add(call.hook)
            log.warning(
                "the expiry hook %s took %.1f s for the session %s: the next sessions wait for it, "
                "so let it hand on what takes long (this is told once for each hook)",
                call.hook, seconds, call.session_id,
            )  # fmt: skip

    def running(self) -> tuple[RunningHook, ...]:
        """Return the calls that have not returned, the oldest first."""
        now = self._core.clock.monotonic()
        return tuple(RunningHook(c.hook, c.session_id, now - c.began) for c in self._calls)

    def tell_hanging(self) -> None:
        """Log each call that has been running for a minute, once."""
        now = self._core.clock.monotonic()
        for call in self._calls:
            if now - call.began >= HANGING and not call.is_told:
                call.is_told = True
                log.warning(
                    "the expiry hook %s has not returned for %.0f s from the session %s: this "
                    "process calls no other hook until it does",
                    call.hook, now - call.began, call.session_id,
                )  # fmt: skip


def name_of(hook: object) -> str:
    """Return the name by which the hook is told to people."""
    while isinstance(hook, functools.partial) and not hasattr(hook, "__qualname__"):
        hook = hook.func
    named: Any = hook if hasattr(hook, "__qualname__") else type(hook)
    return f"{named.__module__}.{named.__qualname__}"


def check_hooks(hooks: object) -> Sequence[ExpiryHook]:
    """Return the hooks; raise InvalidInput for what is no list of them."""
    if not isinstance(hooks, (list, tuple)):
        hint = "write [the_hook]" if callable(hooks) else ""
        found = type(hooks).__name__
        raise InvalidInput(
            f"on_expire must be a list of functions, not {article(found)}", hint=hint
        )
    for hook in hooks:
        check_hook(hook)
    return hooks


def check_hook(hook: object) -> None:
    """Raise InvalidInput unless it can be called."""
    if not callable(hook):
        raise InvalidInput(
            f"{hook!r:.100} cannot be called",
            hint="an expiry hook is a function of one ExpiredSession",
        )
