"""A repetition is one effect, on the session that was meant, and what callers are told is true.

Replies get lost, some after a silence in which others do much, and the server and its clients are
killed. What was done is read from the server's append-only file.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.fault_report import FaultRun
from tests.support.restlessness import Restlessness
from tests.support.told import PROMISES

OPERATIONS = int(os.environ.get("MINIAGENT_TEST_STORM", "0"))
"""How many there are in place of the usual number: 50,000 take some minutes."""
OPERATIONS_A_KILL = 600


def test_a_repetition_is_one_effect_on_the_session_that_was_meant(
    faults: FaultRun, tmp_path: Path
) -> None:
    operations = OPERATIONS or faults.times(400, 6_000)
    kills = ["server", "client"] * max(2, min(30, operations // OPERATIONS_A_KILL))
    faults.random.shuffle(kills)
    moments = sorted(faults.random.randrange(operations) for _ in kills)
    with Restlessness(tmp_path, faults.random) as storm:
        done = 0
        for moment, what in zip(moments, kills, strict=True):
            storm.wait(moment - done)
            done = moment
            storm.kill(what)
        storm.wait(operations - done)
        verdict = storm.settle()
    faults.report(
        operations=operations,
        server_kills=kills.count("server"),
        client_kills=kills.count("client"),
        replies_lost=storm.replies_lost,
        **verdict.figures,
    )
    for finding in verdict.findings:
        print(finding)
    assert not any(verdict.figures[promise] for promise in PROMISES)
