"""The jobs that the background thread runs for one agent, as plain functions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..config import RedisConfig
from ..store.parts import Parts
from .spool import Spool
from .sweeping import SWEEP_INTERVAL, Sweeps
from .thread import Job

FLUSH_INTERVAL = 1.0
REPLAY_INTERVAL = 1.0
RECOVER_INTERVAL = 3.0
RENEW_LEASES_INTERVAL = 0.8  # a turn hears within a second that it is cancelled
RENEW_LOCKS_INTERVAL = 1.0  # half of the shortest ttl
RENEW_CLAIMS_INTERVAL = 10.0  # a sixth of a claim


def standard_jobs(parts: Parts, check_health: Callable[[], object], sweeps: Sweeps) -> list[Job]:
    """Return the jobs for a store and all its tenants: indexes, usage, locks, expiry, health."""
    interval = parts.core.config.health_check_interval
    return [
        Job("flush session indexes", FLUSH_INTERVAL, partial(_flush_indexes, parts)),
        Job("flush usage", FLUSH_INTERVAL, partial(_flush_usage, parts)),
        Job("give titles", FLUSH_INTERVAL, partial(_give_titles, parts)),
        Job("renew locks", RENEW_LOCKS_INTERVAL, partial(_renew_locks, parts)),
        Job("sweep", SWEEP_INTERVAL, sweeps.run),
        Job("renew claims", RENEW_CLAIMS_INTERVAL, partial(_renew_claims, parts)),
        Job("check health", interval, check_health),
    ]


def turn_jobs(
    config: RedisConfig,
    renew_leases: Callable[[], None],
    recover: Callable[[], object],
    spool: Spool | None,
) -> list[Job]:
    """Return the jobs for an agent's turns in one namespace: running, abandoned and spooled."""
    # Three tries within one lease.
    interval = min(config.lease_ttl / 3, RENEW_LEASES_INTERVAL)
    jobs = [
        Job("renew leases", interval, renew_leases),
        Job("recover", RECOVER_INTERVAL, recover),
    ]
    if spool is not None:
        jobs.append(Job("replay spool", REPLAY_INTERVAL, spool.replay))
    return jobs


def _flush_indexes(parts: Parts) -> None:
    for each in parts.family():
        each.index.flush()


def _flush_usage(parts: Parts) -> None:
    for each in parts.family():
        each.usage.flush()


def _give_titles(parts: Parts) -> None:
    for each in parts.family():
        each.titles.flush()


def _renew_locks(parts: Parts) -> None:
    for each in parts.family():
        each.locks.renew()


def _renew_claims(parts: Parts) -> None:
    for each in parts.family():
        each.expiry.renew_claims()
