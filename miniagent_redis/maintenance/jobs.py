"""The jobs that the background thread runs for one agent, as plain functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..store.expiry import ExpiryHook
from ..store.manager import RedisSessionManager
from .spool import Spool
from .thread import Job

FLUSH_INTERVAL = 1.0
REPLAY_INTERVAL = 1.0
SWEEP_INTERVAL = 5.0
RENEW_LEASES_INTERVAL = 1.0
RENEW_LOCKS_INTERVAL = 1.0  # half of the shortest ttl
_MOST_SWEPT = 1000


def standard_jobs(
    store: RedisSessionManager,
    renew_leases: Callable[[], None],
    on_expire: Sequence[ExpiryHook],
    spool: Spool | None = None,
) -> list[Job]:
    """Return the jobs of an agent: indexes, its running and its spooled turns, expiry, health.

    The sweep calls what is in ``on_expire`` by then.
    """
    config = store.config
    jobs = [
        Job("flush session indexes", FLUSH_INTERVAL, store.flush_marks),
        Job("flush usage", FLUSH_INTERVAL, store.flush_usage),
        # Three tries within one lease; and a turn hears soon that it is cancelled.
        Job("renew leases", min(config.lease_ttl / 3, RENEW_LEASES_INTERVAL), renew_leases),
        Job("renew locks", RENEW_LOCKS_INTERVAL, store.renew_locks),
        Job("sweep", SWEEP_INTERVAL, lambda: store.sweep(tuple(on_expire), _MOST_SWEPT)),
        Job("check health", config.health_check_interval, store.health),
    ]
    if spool is not None:
        jobs.append(Job("replay spool", REPLAY_INTERVAL, spool.replay))
    return jobs
