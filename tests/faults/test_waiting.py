"""Turns that wait for somebody, under kill -9: nothing is lost, doubled, or left for ever."""

from __future__ import annotations

import os
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from miniagent_redis import RedisConfig, RedisSessionManager
from miniagent_redis.store.checks import is_closed
from tests.support.fault_report import FaultRun
from tests.support.program import Program
from tests.support.servers import RedisServer

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork and no SIGKILL here")
SESSIONS, PROCESSES, LEASE = 6, 3, 0.6


def test_turns_that_wait_survive_kill_9_of_who_asks_and_who_answers(
    faults: FaultRun, tmp_path: Path
) -> None:
    kills, log = faults.times(8, 300), tmp_path / "log"
    log.touch()
    with RedisServer("--appendonly", "yes") as server:

        def start() -> Program:
            seed = faults.random.getrandbits(30)
            return Program("waiting_agent", server.url, SESSIONS, LEASE, log, seed)

        with RedisSessionManager(RedisConfig(url=server.url)) as store:
            for number in range(SESSIONS):
                store.create_session(f"s{number}")
            running = [start() for _ in range(PROCESSES)]
            try:
                for _ in range(kills):
                    at = faults.random.randrange(PROCESSES)
                    assert running[at].hear(faults.limit)["ready"]  # the others work meanwhile
                    time.sleep(faults.random.uniform(0.02, 0.3))  # whatever it does by then
                    running[at].close()  # by kill -9
                    running[at] = start()
                for each in running:
                    assert each.hear(faults.limit)["ready"]
                    each.tell(end=True)
                for each in running:
                    assert each.hear(faults.limit)["ended"]
            finally:
                for each in running:
                    each.close()
            threads = [store.load_thread(f"s{number}").messages for number in range(SESSIONS)]
            left = [store.session_state(f"s{number}").open_turn for number in range(SESSIONS)]
    lines = [line.split() for line in log.read_text("utf-8").splitlines()]
    done = {words[1] for words in lines if words[0] == "done"}
    away = sum(words[0] == "away" for words in lines)
    times = sorted(float(words[-1]) for words in lines)
    errors = [" ".join(words) for words in lines if words[0] == "error"]
    refunds = Counter((words[1], words[2]) for words in lines if words[0] == "refund")
    stored = Counter(
        message.turn_id for thread in threads for message in thread if message.role == "user"
    )
    faults.report(
        kills=kills,
        stored=len(stored),
        acknowledged=len(done),
        lost=len(done - stored.keys()),
        doubled=sum(count > 1 for count in stored.values()),
        torn=sum(not is_closed(thread) for thread in threads),
        refunds=len(refunds),
        refunded_twice=sum(count > 1 for count in refunds.values()),
        left_open=sum(turn is not None for turn in left),
        away=away,
        longest_stall=max((later - sooner for sooner, later in pairwise(times)), default=0.0),
    )
    assert done <= stored.keys()
    assert set(stored.values()) <= {1}
    assert all(map(is_closed, threads))
    assert set(refunds.values()) <= {1}
    assert not any(left)
    assert not errors
