"""A worker's limit of time breaks turns off at random points; what is repeated is done once."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from miniagent_redis import RedisConfig, RedisSessionManager
from miniagent_redis.store.checks import is_closed
from tests.support.fault_report import FaultRun
from tests.support.program import Program
from tests.support.servers import RedisServer

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no SIGALRM here")


@pytest.mark.parametrize("kind", ["alarm", "gevent"])
def test_a_turn_that_a_limit_breaks_off_is_there_once_and_pays_once(
    faults: FaultRun, kind: str
) -> None:
    if kind == "gevent":
        pytest.importorskip("gevent")
    turns = faults.times(30, 1000)
    with RedisServer() as server, RedisSessionManager(RedisConfig(url=server.url)) as store:
        store.create_session("s")
        seed = faults.random.getrandbits(30)
        with Program("limited_agent", server.url, kind, turns, seed) as program:
            told = program.hear(faults.limit)
        thread = store.load_thread("s").messages
    stored = Counter(message.turn_id for message in thread if message.role == "user")
    faults.report(
        turns=turns,
        raised=told["raised"],
        stored=len(stored),
        doubled=sum(count > 1 for count in stored.values()),
        paid=len(told["runs"]),
        paid_twice=sum(count > 1 for count in told["runs"].values()),
    )
    assert told["others"] == []
    assert {f"t{number}" for number in range(turns)} <= stored.keys()
    assert set(stored.values()) == {1}
    assert set(told["runs"].values()) == {1}
    assert is_closed(thread)
    assert told["last"] == "it is paid"
