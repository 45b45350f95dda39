"""Fifty processes ask for one tool result that is not cached yet: the tool runs once."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.support.fault_report import FaultRun
from tests.support.program import Program
from tests.support.servers import RedisServer
from tests.support.waiting import until

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork and no SIGKILL here")

PROCESSES = 50
LIMIT = 120.0  # seconds for fifty agents to start, on however slow a machine


class Crowd:
    """The program with its children, and what they said."""

    def __init__(self, program: Program, server: RedisServer, log: Path) -> None:
        self.program = program
        self.log = log
        self.client: redis.Redis = server.client()
        self.runs_by: list[int] = []
        self.answers: list[dict[str, Any]] = []

    def gather(self) -> None:
        """Wait until all are there."""
        ready = 0
        while ready < PROCESSES:
            ready += "ready" in self.program.hear(LIMIT)

    def hear_run(self) -> int:
        """Return the process in which the tool runs now."""
        pid: int = self.program.hear(LIMIT)["runs"]
        self.runs_by.append(pid)
        return pid

    def until_waiting(self, count: int) -> None:
        """Wait until so many processes listen for the value."""

        def waiting() -> int:
            channels: Any = self.client.pubsub_channels("cache:tool:report:*")
            listeners: Any = self.client.pubsub_numsub(*channels)
            return sum(number for _, number in listeners)

        until(lambda: waiting() >= count, LIMIT)

    def hear_answers(self, count: int) -> None:
        while len(self.answers) < count:
            said = self.program.hear(LIMIT)
            if "runs" in said:
                self.runs_by.append(said["runs"])
            else:
                self.answers.append(said)
        self.program.tell(end=True)
        assert "ended" in self.program.hear(LIMIT)

    @property
    def runs(self) -> list[int]:
        return [int(line) for line in self.log.read_text().splitlines()]

    @property
    def texts(self) -> set[str]:
        return {answer["text"] for answer in self.answers}

    @property
    def hits(self) -> int:
        return sum(answer["hits"] for answer in self.answers)


@pytest.fixture
def crowd(tmp_path: Path) -> Iterator[Crowd]:
    """Yield processes that have all asked: in one the tool runs, the others wait."""
    log = tmp_path / "runs"
    with RedisServer() as server, Program("asking_agents", server.url, PROCESSES, log) as program:
        crowd = Crowd(program, server, log)
        crowd.gather()
        program.tell(begin=True)
        crowd.hear_run()
        crowd.until_waiting(PROCESSES - 1)
        yield crowd


def test_fifty_processes_that_ask_at_once_run_the_tool_once(faults: FaultRun, crowd: Crowd) -> None:
    began = time.monotonic()
    crowd.program.tell(finish=True)
    crowd.hear_answers(PROCESSES)
    took = time.monotonic() - began
    faults.report(
        processes=PROCESSES, runs=len(crowd.runs), hits=crowd.hits, seconds_to_all_answers=took
    )
    (pid,) = crowd.runs_by
    assert crowd.runs == [pid]
    assert crowd.texts == {f"the report of 2026 by {pid}"}
    assert crowd.hits == PROCESSES - 1


def test_when_the_process_that_runs_it_is_killed_one_other_runs_it(
    faults: FaultRun, crowd: Crowd
) -> None:
    (victim,) = crowd.runs_by
    os.kill(victim, signal.SIGKILL)
    began = time.monotonic()
    heir = crowd.hear_run()
    taken_over = time.monotonic() - began
    crowd.program.tell(finish=True)
    crowd.hear_answers(PROCESSES - 1)
    faults.report(
        processes=PROCESSES, kills=1, runs=len(crowd.runs), hits=crowd.hits,
        seconds_to_takeover=taken_over,
    )  # fmt: skip
    assert crowd.runs == crowd.runs_by == [victim, heir]
    assert crowd.texts == {f"the report of 2026 by {heir}"}
    assert crowd.hits == PROCESSES - 2
