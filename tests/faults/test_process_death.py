"""kill -9 at any instant: no acknowledged turn is lost, another process goes on with the rest."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from miniagent_redis import RedisConfig, RedisSessionManager, SessionAgent, SessionManager
from tests.support.fault_report import FaultRun
from tests.support.program import Program
from tests.support.servers import RedisServer

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork and no SIGKILL here")

LEASE = 0.6
UNKNOWN = "outcome_unknown"


def test_kill_at_any_instant_loses_nothing(faults: FaultRun, tmp_path: Path) -> None:
    lanes = faults.times(2, 4)
    kills = faults.times(3, 50)
    dice = [random.Random(faults.random.random()) for _ in range(lanes)]
    with RedisServer("--appendonly", "yes") as server, ThreadPoolExecutor(lanes) as pool:
        results = list(
            pool.map(
                lambda lane: Lane(server, f"s{lane}", tmp_path / f"{lane}", dice[lane]).play(kills),
                range(lanes),
            )
        )
    figures: Counter[str] = sum((lane.figures for lane in results), Counter())
    wrong = [problem for lane in results for problem in lane.wrong]
    names = ("kills", "acknowledged", "abandoned", "reused", "run_again", "unknown_outcomes")
    faults.report(
        **{name: figures[name] for name in names},
        lost=figures["lost"],
        doubled=figures["doubled"],
        torn=figures["torn"],
        charged_twice=figures["charged_twice"],
    )
    assert not wrong
    assert figures["kills"] == lanes * kills


class Lane:
    """One session, in which one process after another chats and is killed."""

    def __init__(self, server: RedisServer, session_id: str, log: Path, dice: random.Random):
        self.server, self.session_id, self.log, self.dice = server, session_id, log, dice
        self.figures: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.acknowledged: dict[str, tuple[int, str]] = {}
        self.staged: dict[str, int] = {}  # calls whose result was staged -> runs by then
        self.number = 1

    def play(self, kills: int) -> Lane:
        config = RedisConfig(url=self.server.url, lease_ttl=LEASE)
        arguments = self.server.url, self.session_id, LEASE, self.log
        with (
            Program("toolrunner_agent", *arguments) as program,
            SessionAgent(redis_config=config) as agent,
        ):
            self.manager = SessionManager(agent)
            self.manager.create_or_resume_session("ada", self.session_id)
            assert program.hear()["ready"]
            for _ in range(kills):
                self._kill_one(program)
                self._look(agent.store)
            program.tell(number=self.number)
            # One that nobody kills finishes what is left.
            pid = program.hear()["ready"]
            self._heard(program.hear())
            os.kill(pid, signal.SIGKILL)
            self._until_reaped(program)
            self._look(agent.store)
            self._judge(self.manager.get_history(self.session_id))
        return self

    def _kill_one(self, program: Program) -> None:
        program.tell(number=self.number)
        pid = program.hear()["ready"]
        turns = self.dice.choice([0, 0, 1, 2])
        for _ in range(turns):
            self._heard(program.hear())
        # Without a turn to wait for: while it waits for the lease, takes over, or resumes.
        threading.Event().wait(self.dice.uniform(0, 0.03 if turns else LEASE * 1.2))
        os.kill(pid, signal.SIGKILL)
        self.figures["kills"] += 1
        self._until_reaped(program)
        self.number += 1  # nobody sends again what was not acknowledged

    def _until_reaped(self, program: Program) -> None:
        while "reaped" not in (said := program.hear()):
            self._heard(said)

    def _heard(self, said: dict[str, Any]) -> None:
        self.acknowledged[said["text"]] = (said["version"], said["turn"])
        self.number = int(said["text"][1:]) + 1
        self.figures["acknowledged"] += 1

    def _look(self, store: RedisSessionManager) -> None:
        """Read as others do while the session has lost its process."""
        history = self.manager.get_history(self.session_id)
        self.figures["torn"] += self._check("torn", not _is_valid(history))
        records: Any = store.client.lrange(
            store.parts.core.keys.of_session(self.session_id)[2], 0, -1
        )
        rows = [
            row for row in self.manager.list_sessions("ada") if row["session_id"] == self.session_id
        ]
        marker = rows[0]["open_turn"]
        self._check("no marker of the open turn", bool(records) != bool(marker))
        self.figures["abandoned"] += bool(records)
        runs = self._runs()
        for record in records:
            step = store.deserialize(record)
            if call_id := step.get("tool_call_id"):
                self.staged.setdefault(call_id, runs[call_id])

    def _runs(self) -> Counter[str]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return Counter(line.replace(" ", "-") for line in lines)

    def _check(self, problem: str, is_wrong: bool) -> bool:
        if is_wrong:
            self.wrong.append(f"{self.session_id}: {problem}")
        return is_wrong

    def _judge(self, history: list[dict[str, Any]]) -> None:
        """Compare the whole thread with what was acknowledged and with what the tools did."""
        turns = _turns(history)
        texts = [turn[0]["content"] for turn in turns]
        self.figures["doubled"] += self._check(f"doubled in {texts}", len(set(texts)) < len(texts))
        order = [int(text[1:]) for text in texts]
        self._check(f"out of order: {order}", order != sorted(order))
        for text, (version, turn_id) in self.acknowledged.items():
            # The new session is version 1, and each turn is one more.
            found = version - 2 < len(turns) and turns[version - 2][0]
            lost = not found or (found["content"], found["turn_id"]) != (text, turn_id)
            self.figures["lost"] += self._check(f"{text} is lost", lost)
        runs = self._runs()
        for turn in turns:
            key, answer = turn[0]["content"], turn[-1]["content"]
            charged = next(m for m in turn if m.get("name") == "charge")
            is_unknown = "outcome unknown" in charged["content"]
            self.figures["unknown_outcomes"] += is_unknown
            count = runs[f"charge-{key}"]
            self.figures["charged_twice"] += self._check(f"{key} was charged twice", count > 1)
            self._check(f"{key} was charged and nobody knows", not is_unknown and count != 1)
            told = UNKNOWN if is_unknown else f"charge:{key}"
            self._check(f"{key}: the model was told {answer!r}, not {told}", told not in answer)
        for call_id, before in self.staged.items():
            self.figures["reused"] += 1
            self._check(f"{call_id} was run again, its result was staged", runs[call_id] != before)
        again = sum(count - 1 for call_id, count in runs.items() if count > 1)
        self.figures["run_again"] += again
        self._check(f"{again} runs too many", again > 2 * self.figures["kills"])


def _turns(history: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    turns: list[list[dict[str, Any]]] = []
    for message in history:
        if message["role"] == "user":
            turns.append([])
        turns[-1].append(message)
    return turns


def _is_valid(history: list[dict[str, Any]]) -> bool:
    """Tell whether these are whole turns, with each tool call followed by its result."""
    for turn in _turns(history):
        open_calls: set[str] = set()
        for before, message in pairwise(turn):
            if before["role"] == "assistant":
                open_calls = {call["id"] for call in before.get("tool_calls", [])}
            if message["role"] == "tool":
                open_calls.remove(message["tool_call_id"])
            elif open_calls:
                return False
        if turn[-1]["role"] != "assistant" or turn[-1].get("tool_calls"):
            return False
        if len({message["turn_id"] for message in turn}) != 1:
            return False
    return True
