"""However a program ends: nothing hangs, nothing committed is lost, a forgotten agent warns.

Each program commits one turn, and ends: idle, in the middle of a turn of its main thread, or with a
submitted turn that takes half a second more or never ends. Or a forked child of it ends so, in the
middle of a turn of its parent.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from attrs import define, field

from miniagent_redis import AgentConfig, RedisConfig, SessionAgent, SessionManager
from tests.support.fault_report import FaultRun
from tests.support.program import Program
from tests.support.waiting import LIMIT

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork and no SIGTERM here")

LEASE = 1.0
DRAINS_WITHIN = 5.0
LOAD = 5.0  # seconds more, on a machine that has much else to do
AT_ONCE = 4
CODES = {
    "end": 0,
    "exit": 7,
    "error": 1,
    "os._exit": 8,
    "SIGTERM": -signal.SIGTERM,
    "handled SIGTERM": 143,
}
ABRUPT = ("os._exit", "SIGTERM")
ENDINGS = {
    "idle": tuple(CODES),
    "turn": ("exit", "error", "os._exit", "SIGTERM", "handled SIGTERM"),
    "submitted": tuple(CODES),
    "hung": tuple(CODES),
    "forked": tuple(CODES),
}
ALL = [
    (care, moment, ending)
    for care in ("with", "forgotten")
    for moment, endings in ENDINGS.items()
    for ending in endings
]


def test_however_a_program_ends(faults: FaultRun, redis_url: str) -> None:
    plan = faults.random.sample(ALL, faults.times(8, len(ALL)))
    plan.sort(key=lambda row: row[1] != "hung")  # those that take longest begin first
    config = RedisConfig(url=redis_url, lease_ttl=LEASE)
    with (
        SessionAgent(AgentConfig(model=answer, name="judge"), redis_config=config) as agent,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        manager = SessionManager(agent)
        endings = list(pool.map(lambda row: Ending(manager, *row).watch(), plan))
    seconds = dict.fromkeys(ENDINGS, 0.0)
    for ending in endings:
        seconds[ending.moment] = max(seconds[ending.moment], ending.seconds)
    wrong = [problem for ending in endings for problem in ending.wrong]
    faults.report(
        programs=len(endings),
        wrong=len(wrong),
        stored=sum(ending.found == "stored" for ending in endings),
        dropped=sum(ending.found == "dropped" for ending in endings),
        left_open_and_finished=sum(ending.found == "open" for ending in endings),
        slowest_end=max(seconds.values()),
        **{f"slowest_{moment}": slowest for moment, slowest in seconds.items()},
    )
    assert not wrong
    assert max(seconds.values()) <= DRAINS_WITHIN + LOAD


def answer(messages: list[dict[str, Any]]) -> str:
    return f"re: {messages[-1]['content']}"


@define
class Ending:
    """One program that ends, and what is found then."""

    manager: SessionManager
    care: str
    moment: str
    ending: str
    wrong: list[str] = field(factory=list)
    found: str = ""
    seconds: float = 0.0

    @property
    def session_id(self) -> str:
        return "-".join((self.care, self.moment, self.ending)).replace(" ", "-")

    def watch(self) -> Ending:
        for session_id in (self.session_id, f"{self.session_id}-child"):
            # Not the judge's own: his agent would finish what was left open before he looks at it.
            name = AgentConfig().name
            self.manager.store.create_session(session_id, user_id="ada", agent_name=name)
        began = time.time()
        url, case = self.manager.store.config.url, (self.care, self.moment, self.ending)
        with Program("ending_agent", url, self.session_id, LEASE, *case) as program:
            self._judge_the_end(program)
        self._judge_the_store(began)
        return self

    def _judge_the_end(self, program: Program) -> None:
        said: list[dict[str, Any]] = []
        left = leaver = 0.0
        while (word := program.hear_or_end(LIMIT)) is not None:
            said.append(word)
            if "leaving" in word:
                left, leaver = time.monotonic(), word["pid"]
                if "SIGTERM" in self.ending:
                    os.kill(int(leaver), signal.SIGTERM)
        code = program.process.wait(LIMIT)
        self.seconds = time.monotonic() - left
        facts = {key: value for word in said for key, value in word.items()}
        if self.moment == "forked":
            self._expect("the parent's exit code", code, 0)
            self.seconds, code = facts["at"] - left, facts["child"]
            self._expect("the child's background thread runs", facts["background"], True)
            self._expect("the parent keeps its lock", facts["keeps_its_lock"], True)
        self._expect("the exit code", code, CODES[self.ending])
        warned = {w["pid"] for w in said if "was never shut down" in w.get("logged", "")}
        is_told = self.care == "forgotten" and self.ending not in ABRUPT
        self._expect("whoever left without a shutdown warned", leaver in warned, is_told)

    def _judge_the_store(self, began: float) -> None:
        session_id, store = self.session_id, self.manager.store
        expected = {"idle": "none", "submitted": "stored", "hung": "open", "forked": "stored"}
        if self.moment == "turn" or (self.moment == "submitted" and self.ending in ABRUPT):
            expected[self.moment] = "open" if self.ending in ABRUPT else "dropped"
        breaks_off = (self.moment, self.ending) == ("turn", "error")  # the model, in its answer
        if breaks_off:
            expected["turn"] = "stored"
        texts = self._texts(session_id)
        if store.session_state(session_id).open_turn is not None:
            self.found = "open"
        elif texts[2:]:
            self.found = "stored"
        else:
            self.found = "none" if self.moment == "idle" else "dropped"
        if (self.moment, self.found) == ("turn", "stored") and self.ending not in ABRUPT:
            # The beginning of the answer was shown before the end came: then it is kept.
            breaks_off, expected["turn"] = True, "stored"
        self._expect("the second turn", self.found, expected[self.moment])
        if self.found == "open":
            self.manager.resume_turn(session_id)
            texts = self._texts(session_id)
        whole = ["first", "re: first", "second", "re: " if breaks_off else "re: second"]
        self._expect("the thread", texts, whole[: 4 if self.found in ("open", "stored") else 2])
        if self.moment == "forked":
            self._expect("the child's thread", self._texts(f"{session_id}-child"), whole[:2])
        if self.ending not in ABRUPT:
            score = store.client.zscore(store.parts.core.keys.user_sessions("ada"), session_id)
            self._expect("its use is in the index", (score or 0) / 1000 > began, True)

    def _texts(self, session_id: str) -> list[str]:
        return [message["content"] for message in self.manager.get_history(session_id)]

    def _expect(self, what: str, found: object, expected: object) -> None:
        if found != expected:
            self.wrong.append(f"{self.session_id}: {what} is {found!r}, not {expected!r}")


ORDERLY = """
import atexit, sys
from miniagent_redis import RedisConfig, SessionAgent, SessionManager

agent = SessionAgent(redis_config=RedisConfig(url=sys.argv[1])).initialize()
atexit.register(agent.shutdown)
manager = SessionManager(agent)
manager.chat(manager.create_or_resume_session(), "Hello!")
"""


def test_a_program_that_shuts_down_at_exit_ends_in_silence(redis_url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ORDERLY, redis_url], capture_output=True, text=True, timeout=LIMIT
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
