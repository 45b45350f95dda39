"""durability="replicated": what was acknowledged outlives the host, whichever replica takes over.

The chats, the servers and the Sentinels are those of test_sentinel.py. There some of the last turns
may be lost; here none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.faults.test_sentinel import Talk, judge
from tests.support.fault_report import FaultRun
from tests.support.sentinels import Watched
from tests.support.waiting import until

SETTINGS: dict[str, Any] = {"durability": "replicated", "max_session_size": 2**26}


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    with Watched("--appendonly", "yes", replicas=4) as watched:
        yield watched


def test_the_death_of_a_host_loses_no_turn_that_was_acknowledged(
    faults: FaultRun, watched: Watched
) -> None:
    deaths = faults.times(1, 4)
    with Talk(watched, "died", **SETTINGS) as talk:
        for _ in range(deaths):
            talk.go_on()
            dead = watched.named
            dead.kill()
            watched.await_another(dead)
            talk.go_on()
            dead.start()
            # At once, and not when Sentinels have looked at it for ten seconds.
            watched.client(dead).replicaof("127.0.0.1", watched.named.port)
            until(
                lambda: watched.client(watched.named).info("replication")["connected_slaves"] == 4
            )
        figures = talk.finish()
    faults.report(deaths=deaths, **figures)
    judge(figures)
    assert figures["lost"] == 0


def test_a_master_that_hung_and_wakes_up_takes_no_turn_that_is_lost(
    faults: FaultRun, watched: Watched
) -> None:
    """It calls itself the master for a while, and its replicas have left it."""
    with Talk(watched, "hung", **SETTINGS) as talk:
        until(watched.is_settled)
        talk.go_on()
        frozen = watched.named
        frozen.pause()
        watched.await_another(frozen)
        frozen.resume()
        talk.go_on()
        figures = talk.finish()
    faults.report(hung=1, **figures)
    judge(figures)
    assert figures["lost"] == 0
