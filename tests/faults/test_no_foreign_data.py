"""No foreign data: an interrupted call never delivers one caller's reply to another.

Calls are interrupted at random microseconds, by exceptions that a signal handler throws and by
cancelled asyncio tasks, in a process where other threads and tasks call too. Every reply is
compared with what was asked, and in the end everything must still be there to be used.
"""

from __future__ import annotations

import math

import pytest

from tests.support.fault_report import FaultRun
from tests.support.program import Program
from tests.support.servers import RedisServer

EXCEPTIONS = ["Interrupted", "JobTimeout", "LateJob"]
MOST = 6  # connections of a pool in programs/interrupted_checks.py


def report_and_check(faults: FaultRun, figures: dict[str, object], wanted: int) -> None:
    wrong = figures["wrong"]
    assert isinstance(wrong, list)
    faults.report(
        interrupts=figures["interrupts"],  # type: ignore[arg-type]
        wrong_replies=len(wrong),
        leaked_connections=figures["leaked_connections"],  # type: ignore[arg-type]
        stuck_turns=figures["stuck_turns"],  # type: ignore[arg-type]
        stuck_locks=figures["stuck_locks"],  # type: ignore[arg-type]
    )
    assert wrong == []
    assert figures["leaked_connections"] == figures["stuck_turns"] == figures["stuck_locks"] == 0
    assert figures["in_use_at_once"] == MOST
    assert figures["interrupts"] >= wanted  # type: ignore[operator]


@pytest.mark.parametrize("exception", EXCEPTIONS)
def test_no_call_gets_what_one_that_an_exception_interrupted_left(
    faults: FaultRun, exception: str
) -> None:
    wanted = math.ceil(faults.times(200, 10_000) / len(EXCEPTIONS))
    with RedisServer() as server:
        arguments = server.url, exception, wanted, faults.random.random()
        with Program("interrupted_calls", *arguments) as program:
            report_and_check(faults, program.hear(faults.limit), wanted)


def test_no_call_gets_what_a_cancelled_task_left(faults: FaultRun) -> None:
    wanted = faults.times(200, 10_000)
    with RedisServer() as server:
        arguments = server.url, wanted, faults.random.random()
        with Program("interrupted_tasks", *arguments) as program:
            report_and_check(faults, program.hear(faults.limit), wanted)
