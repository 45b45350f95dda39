"""What an agent tells of itself, in figures."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from ..maintenance.thread import Background, JobStats
from ..store.manager import RedisSessionManager
from ..store.stats import StoreStats
from .turns import AgentTurns


@frozen
class AgentStats:
    """What an agent is doing in this process, with its store.

    The background thread and its jobs are those of all tenants together; the rest is of the one
    namespace.
    """

    store: StoreStats
    jobs: Sequence[JobStats]
    background: bool
    """Whether the background thread runs."""
    running_turns: int
    """Turns that are worked on now."""
    submitted_turns: int
    """Turns of ``submit`` that have not ended; those that wait for a thread are among them."""
    kept_threads: int
    """Threads of sessions that are kept, so that a turn only transfers what is new."""
    kept_bytes: int
    """How much memory they take up, about."""
    spooled_turns: int | None
    """Turns that this process knows to wait in the spool; None without a ``spool_dir``. What others
    have spooled is counted once it was looked at; ``doctor`` counts the whole folder."""


def stats_of(store: RedisSessionManager, background: Background, turns: AgentTurns) -> AgentStats:
    """Put together what the parts of an agent tell of themselves."""
    return AgentStats(
        store=store.stats(),
        jobs=background.stats(),
        background=background.is_running,
        running_turns=len(turns.running),
        submitted_turns=len(turns.submitted),
        kept_threads=len(turns.kept),
        kept_bytes=turns.kept.size,
        spooled_turns=None if turns.spool is None else turns.spool.waiting,
    )
