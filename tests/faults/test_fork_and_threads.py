"""Fork and thread safe: workers that are forked from an agent at work go on with that agent.

Threads of the parent are in the middle of calls at the instant of each fork. Every thread of every
process chats, caches, listens, watches and takes locks, on names of its own and on shared ones.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import pytest

from miniagent_redis import RedisConfig, RedisSessionManager
from tests.support.fault_report import FaultRun
from tests.support.program import Program
from tests.support.servers import RedisServer

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")

EACH_SHARED = 4  # as in programs/forking_agent.py


def test_threads_of_forked_workers_never_meet_what_is_not_theirs(faults: FaultRun) -> None:
    workers, threads = faults.times(2, 8), faults.times(4, 16)
    rounds = faults.times(3, 12)
    _play(faults, workers, workers, threads, threads, rounds)


def test_a_fork_at_any_instant_leaves_nothing_locked(faults: FaultRun) -> None:
    _play(faults, faults.times(8, 200), 4, faults.times(4, 16), 1, 1)


def _play(faults: FaultRun, workers: int, *arguments: int) -> None:
    with RedisServer() as server:
        everything = server.url, workers, *arguments, faults.random.random()
        said: list[dict[str, Any]] = []
        with Program("forking_agent", *everything) as program:
            while not said or said[-1]["process"] != "parent":
                said.append(program.hear(faults.limit))
        with RedisSessionManager(RedisConfig(url=server.url)) as store:
            lost, foreign = _compare(store, said)
    parent = said[-1]
    wrong = [problem for process in said for problem in process["wrong"]]
    used = Counter(socket for process in said for socket in process["sockets"])
    shared = [socket for socket, processes in used.items() if processes > 1]
    dead = [process["process"] for process in said if not process["background"]]
    faults.report(
        workers=workers,
        threads_each=len(said[0]["turns"]),
        turns_of_workers=sum(sum(process["turns"].values()) for process in said[:-1]),
        turns_of_parent=sum(parent["turns"].values()),
        turns_shared=sum(process["shared"] for process in said),
        lost=len(lost),
        foreign=len(foreign) + sum(problem.startswith("Wrong") for problem in wrong),
        failed_or_warned=sum(not problem.startswith("Wrong") for problem in wrong),
        dead_background_threads=len(dead),
        shared_sockets=len(shared),
        failed_workers=parent["failed"],
    )
    assert wrong == lost == foreign == shared == dead == []
    assert parent["failed"] == 0
    assert len(said) == workers + 1
    assert all(process["shut"] for process in said)
    # None of its connections was disturbed, or it would have had to make another one.
    assert parent["call_sockets"] <= max(arguments[1:3]) + 4


def _compare(store: RedisSessionManager, said: list[dict[str, Any]]) -> tuple[list[str], list[str]]:
    """Return what was acknowledged and is not stored, and what is stored besides."""
    expected = {"shared": Counter[str](), "held": Counter(["held 0", "held 0 yes"])}
    counted = Counter[int]()
    for process in said:
        counted.update(dict(enumerate(process["counted"])))
        for name, turns in process["turns"].items():
            texts = [f"{name} {number}" for number in range(turns)]
            expected[name] = _answered(texts)
            expected["shared"] += _answered([f"shared {text}" for text in texts[::EACH_SHARED]])
    lost, foreign = [], []
    for session_id, texts in expected.items():
        stored = [message.text for message in store.load_thread(session_id).messages]
        found = Counter(stored)
        lost += (texts - found).elements()
        foreign += (found - texts).elements()
        foreign += [f"{text} where its answer is due" for text in _torn(stored)]
    for number, total in counted.items():
        if store.cache_get(f"count-{number}") != total:
            lost.append(f"some of {total} steps of count {number}")
    return lost, foreign


def _answered(texts: list[str]) -> Counter[str]:
    return Counter([*texts, *(f"{text} yes" for text in texts)])


def _torn(stored: list[str]) -> list[str]:
    questions, answers = stored[::2], stored[1::2]
    return [a for q, a in zip(questions, answers, strict=True) if a != f"{q} yes"]
