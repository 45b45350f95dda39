"""The jobs that the background thread runs for one agent, as plain functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..store.expiry import ExpiryHook
from ..store.manager import RedisSessionManager
from .thread import Job

FLUSH_INTERVAL = 1.0
SWEEP_INTERVAL = 5.0
_MOST_SWEPT = 1000


def standard_jobs(
    store: RedisSessionManager,
    renew_leases: Callable[[], None],
    on_expire: Sequence[ExpiryHook],
) -> list[Job]:
    """Return the jobs of an agent: keep the indexes fresh, keep its turns, look after Redis.

    The sweep calls what is in ``on_expire`` by then.
    """
    config = store.config
    return [
        Job("flush session indexes", FLUSH_INTERVAL, store.flush_marks),
        # Three tries within one lease.
        Job("renew leases", config.lease_ttl / 3, renew_leases),
        Job("sweep", SWEEP_INTERVAL, lambda: store.sweep(tuple(on_expire), _MOST_SWEPT)),
        Job("check health", config.health_check_interval, store.health),
    ]
