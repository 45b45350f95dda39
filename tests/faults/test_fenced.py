"""Fenced, and told: who lost the lease of a turn cannot write, and learns it soon.

Each round a holder loses two turns at once: one of a SessionAgent that is at work, and one of the
store's own calls, with which it then tries everything. What it lost them by is diced.
"""

from __future__ import annotations

import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from miniagent_redis import Message, RedisConfig, RedisSessionManager
from miniagent_redis.models import OpenTurn
from tests.support.fault_report import FaultRun
from tests.support.program import Program
from tests.support.proxy import Proxy
from tests.support.servers import RedisServer
from tests.support.waiting import LIMIT

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork and no SIGSTOP here")

LEASE = 0.6
SOON = LEASE / 3 + 1.0
FAULTS = ("stopped", "cut", "swallowed", "restarted", "forked", "interrupted")
ATTEMPTS = ("stage", "commit", "abort", "renew")
REFUSED = {"stage": "TurnSuperseded", "commit": "TurnSuperseded", "renew": "TurnSuperseded"}
REFUSED["abort"] = "refused"


def test_who_lost_its_lease_cannot_write_and_learns_it_soon(faults: FaultRun) -> None:
    lanes = faults.times(3, 4)
    rounds = faults.times(6, 200)
    plan = [FAULTS[number % len(FAULTS)] for number in range(rounds)]
    faults.random.shuffle(plan)
    dice = [random.Random(faults.random.random()) for _ in range(lanes)]
    with ThreadPoolExecutor(lanes) as pool:
        played = pool.map(_play, dice, [plan[lane::lanes] for lane in range(lanes)])
    rows = [row for lane in played for row in lane]
    slowest = {
        fault: max(row["notice"] for row in rows if row["fault"] == fault)
        for fault in FAULTS
        if fault != "forked"
    }
    wrong = [row for row in rows if row["writes"]]
    untold = [row for row in rows if row["ended"] != "TurnSuperseded"]
    faults.report(
        rounds=len(rows),
        zombie_attempts=len(rows) * (len(ATTEMPTS) + 1),
        zombie_writes=sum(len(row["writes"]) for row in rows),
        untold=len(untold),
        slowest_notice=max(slowest.values()),
        **{f"slowest_{fault}": seconds for fault, seconds in slowest.items()},
    )
    assert len(rows) == rounds
    assert not wrong
    assert not untold
    assert max(slowest.values()) <= SOON


def _play(dice: random.Random, plan: list[str]) -> list[dict[str, Any]]:
    always = ("--appendonly", "yes", "--appendfsync", "always")
    with RedisServer(*always) as server, Proxy(server.socket) as proxy:
        lane = Lane(dice, server, proxy)
        try:
            return [lane.round(fault) for fault in plan]
        finally:
            lane.close()


class Lane:
    """A server, a holder that reaches it by way of a proxy, and another who takes over."""

    def __init__(self, dice: random.Random, server: RedisServer, proxy: Proxy) -> None:
        self.dice, self.server, self.proxy = dice, server, proxy
        self.holder = Program("holder_agent", proxy.url, LEASE)
        self.other = RedisSessionManager(RedisConfig(url=server.url, lease_ttl=LIMIT))
        self.other.connect()
        assert self.holder.hear()["ready"]
        self.number = 0

    def close(self) -> None:
        self.holder.close()
        self.other.disconnect()

    def round(self, fault: str) -> dict[str, Any]:
        """Play one round; return what the holder met and wrote."""
        self.number += 1
        sessions = [f"agent-{self.number}", f"raw-{self.number}"]
        for session_id in sessions:
            self.other.create_session(session_id)
        text = "fork" if fault == "forked" else self.dice.choice(["stream", "tool"])
        order = self.dice.sample(ATTEMPTS, len(ATTEMPTS))
        self.holder.tell(session=sessions[0], raw=sessions[1], text=text, attempts=order)
        if fault == "forked":
            return self._forked(sessions)
        assert self.holder.hear()["began"]
        # It is at work for a while before it happens.
        threading.Event().wait(self.dice.uniform(0, LEASE / 2))
        expected, since = self._lose(fault, sessions)
        heard = self.holder.hear()
        return {
            "fault": fault,
            "ended": heard["ended"],
            "notice": heard["at"] - since,
            "writes": self._writes(heard, dict(zip(sessions, expected, strict=True))),
        }

    def _lose(self, fault: str, sessions: list[str]) -> tuple[list[list[str]], float]:
        """Let the holder lose both turns; return their threads, and since when it can know."""
        if fault == "interrupted":
            threads = [self._interrupt(session_id) for session_id in reversed(sessions)]
            return threads[::-1], time.monotonic()
        if fault in ("stopped", "restarted"):
            self.holder.pause()
        elif fault == "cut":
            self.proxy.refuse()
            self.proxy.cut()
        else:
            self.proxy.is_black_hole = True
        if fault == "restarted":
            self.server.kill()
            self.server.start()
        threads = [self._take_over(session_id) for session_id in sessions]
        since = time.monotonic()
        if fault in ("stopped", "restarted"):
            self.holder.resume()
        elif fault == "cut":
            self.proxy.listen()
        else:
            self.proxy.is_black_hole = False
        return threads, since

    def _take_over(self, session_id: str) -> list[str]:
        turn = self.other.begin_turn(session_id, "next", busy_timeout=LIMIT)
        assert turn.resumed
        return self._finish(turn)

    def _interrupt(self, session_id: str) -> list[str]:
        return self._finish(self.other.begin_turn(session_id, "instead", on_busy="interrupt"))

    def _finish(self, turn: OpenTurn) -> list[str]:
        answers = [Message("assistant", "by the other")]
        if calls := turn.staged[-1].tool_calls:
            answers.insert(0, Message("tool", "by the other", tool_call_id=calls[0].id))
        self.other.commit_turn(turn, answers)
        return [message.text for message in (*turn.staged, *answers)]

    def _forked(self, sessions: list[str]) -> dict[str, Any]:
        """Let a child go on with the turns of its parent, which goes on too."""
        heard = [self.holder.hear(), self.holder.hear()]
        child, parent = sorted(heard, key=lambda said: not said["is_child"])
        assert child["is_child"]
        assert (parent["ended"], parent["raw"]) == ("written", "written")
        threads = {
            sessions[0]: ["fork", "it was the parent"],
            sessions[1]: ["raw", "", "ok", "the parent"],
        }
        ended = child["ended"]
        return {"fault": "forked", "ended": ended, "writes": self._writes(child, threads)}

    def _writes(self, heard: dict[str, Any], threads: dict[str, list[str]]) -> list[str]:
        """Return what the holder wrote, by its own account or by what is in Redis."""
        writes = [
            f"{name}: {outcome}"
            for name, outcome in heard["attempts"].items()
            if outcome != REFUSED[name]
        ]
        for session_id, expected in threads.items():
            found = [message.text for message in self.other.load_thread(session_id).messages]
            if found != expected:
                writes.append(f"{session_id}: {found} in place of {expected}")
            if self.other.session_state(session_id).open_turn is not None:
                writes.append(f"{session_id}: its turn is open")
        return writes
