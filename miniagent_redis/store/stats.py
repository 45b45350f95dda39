"""What a store tells of itself, in figures."""

from __future__ import annotations

from attrs import frozen

from ..connection.pool import PoolFigures
from .cache import CacheStats
from .hook_calls import RunningHook
from .parts import Parts


@frozen
class StoreStats:
    """What a store is doing and did in this process, since it was made.

    What connections do, and who listens, is of all tenants of the store together; the rest is of
    the one namespace. Nothing here is of other processes: that is in Redis, see ``usage``.
    """

    connections: PoolFigures
    """Of the commands of this library: those in use now, those that wait, and so on."""
    client: PoolFigures | None
    """Of ``client``; None if nobody has asked for it."""
    retries: int
    """How often an operation was sent again."""
    lost_replies: int
    """How often a reply was lost, so that nobody knew whether the command was executed."""
    unreadable_records: int
    """Records that were met and could not be read."""
    failed_expiry_hooks: int
    """Calls of a hook that raised."""
    running_hooks: tuple[RunningHook, ...]
    """Expiry hooks that were called and have not returned; one that takes minutes hangs, and no
    other of this process is called meanwhile."""
    dropped_usage: int
    """Turns that are in no total of their user: too many users came while Redis was away."""
    cache: CacheStats
    """Hits, misses, failures and seconds saved."""
    listening: int
    """Those who listen to a channel, once for each: watchers, who waits for a lock, a turn or a
    cached value, ``subscribe``. They share one connection, and Redis tells them of news."""
    watchers: int
    """Iterators of ``watch`` that are open now."""
    tenants: int
    """Other namespaces that are used on the same connections."""


def stats_of(parts: Parts) -> StoreStats:
    """Return what the parts of a store tell of themselves."""
    figures, tally = parts.core.connections.figures(), parts.core.tally
    return StoreStats(
        connections=figures.commands,
        client=figures.client,
        retries=figures.retries,
        lost_replies=figures.lost_replies,
        unreadable_records=tally.unreadable_records,
        failed_expiry_hooks=tally.failed_expiry_hooks,
        running_hooks=parts.expiry.running_hooks(),
        dropped_usage=tally.dropped_usage,
        cache=parts.cache.stats,
        listening=figures.listening,
        watchers=parts.watching.watchers,
        tenants=len(parts.family()) - 1,
    )
