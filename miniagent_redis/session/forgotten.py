"""Agents that nobody shut down: at the end of the program they are."""

from __future__ import annotations

import atexit
import logging
from typing import Any, Protocol

from ..runtime.interrupts import WeakRegistry

log: logging.Logger = logging.getLogger("miniagent_redis")


class _Agent(Protocol):
    @property
    def config(self) -> Any: ...
    def shutdown(self) -> object: ...


_open: WeakRegistry[_Agent] = WeakRegistry()


def shut_down_at_exit(agent: _Agent) -> None:
    """Finish what it does at the end of the program, unless it is shut down before."""
    _open.add(agent)


def not_at_exit(agent: _Agent) -> None:
    """Leave it alone from now on."""
    _open.discard(agent)


@atexit.register
def _shut_down_forgotten() -> None:
    for agent in _open:
        log.warning(
            "the agent %r was never shut down; nothing is lost, as that is done now. Use `with` or "
            "shutdown()",
            agent.config.name,
        )
        agent.shutdown()
