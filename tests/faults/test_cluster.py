"""Slots move and masters die while eight writers talk: nothing is lost, doubled or torn.

A master that dies has its replica in step, as it takes no more writes a moment before: what a
server that had not replicated yet loses is in docs/guarantees.md.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest
from redis.crc import key_slot

from miniagent_redis import (
    OutcomeUnknown,
    RedisConfig,
    RedisSessionManager,
    StoreUnavailable,
    TurnSuperseded,
    TurnUncertain,
)
from tests.support.cluster import ClusterServers
from tests.support.fault_report import FaultRun
from tests.support.words import call, result, said

WRITERS, SESSIONS = 8, [f"s{number}" for number in range(40)]
DEADLINE = 30.0
"""Seconds that a turn may take, with all that is tried again: a failover is long over."""
_TOGETHER = 50  # slots
_REST = 0.04
"""Seconds at most between a writer's turns: who moves the slots is in the same process."""
T = TypeVar("T")
UNSURE = (StoreUnavailable, OutcomeUnknown, TurnUncertain)


@pytest.fixture
def cluster() -> Iterator[ClusterServers]:
    with ClusterServers() as servers:
        yield servers


class Writer:
    """Makes turns, each with a tool, on any of the sessions, until it is told to end."""

    def __init__(
        self, name: str, url: str, dice: random.Random, end: threading.Event, **settings: Any
    ) -> None:
        self.name, self.dice, self.end = name, dice, end
        self.config = RedisConfig(url=url, commit_timeout=DEADLINE, **settings)
        self.acknowledged: dict[str, str] = {}
        self.figures: Counter[str] = Counter()
        self.errors: list[str] = []
        self.turns = 0
        self.stall = 0.0

    def work(self) -> None:
        with RedisSessionManager(self.config) as store:
            while not self.end.is_set():
                began = time.monotonic()
                self.turns += 1
                self._turn(store, self.dice.choice(SESSIONS), f"{self.name}-{self.turns}")
                self.stall = max(self.stall, time.monotonic() - began)
                self.end.wait(self.dice.uniform(0, _REST))
            self.figures["repeated"] += store.stats().retries

    def _turn(self, store: RedisSessionManager, session_id: str, text: str) -> None:
        steps, answer = [call("c"), result("c", text)], [said(f"{text} done")]
        limit = time.monotonic() + DEADLINE
        try:
            turn = self._insist(limit, lambda: store.begin_turn(session_id, text, turn_id=text))
            # Its lease may have ended, and who began it need not know that he did.
            while turn.turn_id != text:
                store.abort_turn(turn)
                turn = self._insist(limit, lambda: store.begin_turn(session_id, text, turn_id=text))
            staged = self._insist(limit, lambda: store.stage_step(turn, steps))
            self._insist(limit, lambda: store.commit_turn(staged, answer))
        except UNSURE as exc:
            self.errors.append(repr(exc))
        except TurnSuperseded:  # a failover lost that it was begun
            self.figures["superseded"] += 1
        else:
            self.acknowledged[text] = session_id

    def _insist(self, limit: float, do: Callable[[], T]) -> T:
        """Repeat what a caller may repeat: with the same ids it is done once."""
        while True:
            try:
                return do()
            except UNSURE:
                self.figures["done_again"] += 1
                if time.monotonic() > limit:
                    raise
                self.end.wait(_REST)


class Moving:
    """Moves slots from master to master, those of the sessions first, and kills masters.

    Some slots at a time are under way, so that thousands of them take some minutes.
    """

    def __init__(self, cluster: ClusterServers, dice: random.Random) -> None:
        self.cluster, self.dice = cluster, dice
        self.figures: Counter[str] = Counter()
        self._busy = {int(key_slot(f"{{{one}}}".encode())) for one in SESSIONS}

    def move(self, count: int) -> None:
        source, target = self.dice.sample(list(self.cluster.serving()), 2)
        slots = source.slots()
        busy = [slot for slot in slots if slot in self._busy]
        start = self.dice.randrange(len(slots))  # the others in a row, as an administrator does
        others = [slot for slot in slots[start:] + slots[:start] if slot not in self._busy]
        some = [*busy, *others][:count]
        self.figures["keys"] += self.cluster.move_together(some, source, target)
        self.figures["slots"] += len(some)

    def kill(self) -> None:
        """Kill a master once its replica has everything; it comes back when that is master."""
        masters = {node.id for node in self.cluster.serving()}
        self.cluster.replace_by(
            self.dice.choice([node for node in self.cluster.nodes if node.id not in masters])
        )
        self.figures["kills"] += 1


def test_turns_survive_slots_that_move_and_masters_that_die(
    faults: FaultRun, cluster: ClusterServers
) -> None:
    count = int(os.environ.get("MINIAGENT_TEST_SLOTS") or faults.times(100, 300))
    kills = 1 + count // 2000
    with RedisSessionManager(RedisConfig(url=cluster.url)) as store:
        for session_id in SESSIONS:
            store.create_session(session_id)
    end = threading.Event()
    writers = [
        Writer(f"w{number}", cluster.url, random.Random(faults.random.random()), end)
        for number in range(WRITERS)
    ]
    moving = Moving(cluster, faults.random)
    with ThreadPoolExecutor(WRITERS) as pool:
        working = [pool.submit(writer.work) for writer in writers]
        try:
            for number in range(rounds := count // _TOGETHER):
                if number % (rounds // kills) == rounds // kills // 2:
                    moving.kill()
                moving.move(_TOGETHER)
        finally:
            end.set()
        for one in working:
            one.result(2 * DEADLINE)
    errors = [error for writer in writers for error in writer.errors]
    acknowledged = {text: sid for writer in writers for text, sid in writer.acknowledged.items()}
    found = _judge(cluster.url, acknowledged)
    figures = sum((writer.figures for writer in writers), moving.figures + found)
    faults.report(
        **{name: figures[name] for name in ("slots", "keys", "kills")},
        turns=len(acknowledged),
        **{name: figures[name] for name in ("repeated", "done_again", "lost", "doubled", "torn")},
        errors=len(errors),
        longest_stall=max(writer.stall for writer in writers),
    )
    assert (figures["slots"], figures["kills"]) == (count, kills)
    assert all(writer.acknowledged for writer in writers)
    assert not errors
    for wrong in ("lost", "doubled", "torn"):
        assert not figures[wrong], wrong


@pytest.mark.parametrize("durability", ["replicated", None])
def test_a_master_that_is_cut_off_and_comes_back_as_one_takes_no_turn_with_it(
    faults: FaultRun, cluster: ClusterServers, durability: str | None
) -> None:
    """What it had acknowledged alone is lost, so with ``replicated`` nothing."""
    times = faults.times(1, 10)
    settings: dict[str, Any] = {"durability": durability, "max_session_size": 2**26}
    with RedisSessionManager(RedisConfig(url=cluster.url)) as store:
        for session_id in SESSIONS:
            store.create_session(session_id)
    end = threading.Event()
    writers = [
        Writer(f"w{number}", cluster.url, random.Random(faults.random.random()), end, **settings)
        for number in range(WRITERS)
    ]
    with ThreadPoolExecutor(WRITERS) as pool:
        working = [pool.submit(writer.work) for writer in writers]
        try:
            for _ in range(times):
                end.wait(faults.random.uniform(0.3, 1))
                cluster.cut_off(faults.random.choice(list(cluster.serving())))
            end.wait(1)
        finally:
            end.set()
        for one in working:
            one.result(2 * DEADLINE)
    errors = [error for writer in writers for error in writer.errors]
    acknowledged = {text: sid for writer in writers for text, sid in writer.acknowledged.items()}
    figures = sum((writer.figures for writer in writers), _judge(cluster.url, acknowledged))
    faults.report(
        durability=durability or "as the servers have it",
        cut_off=times,
        turns=len(acknowledged),
        **{name: figures[name] for name in ("repeated", "done_again", "superseded")},
        **{name: figures[name] for name in ("lost", "doubled", "torn")},
        errors=len(errors),
        longest_stall=max(writer.stall for writer in writers),
    )
    assert all(writer.acknowledged for writer in writers)
    assert not errors
    for wrong in ("doubled", "torn", *(["lost", "superseded"] if durability else [])):
        assert not figures[wrong], wrong


def _judge(url: str, acknowledged: dict[str, str]) -> Counter[str]:
    figures: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    with RedisSessionManager(RedisConfig(url=url)) as store:
        for session_id in SESSIONS:
            texts = [each.text for each in store.load_thread(session_id).messages]
            for start in range(0, len(texts), 4):
                text = texts[start]
                seen[text] += 1
                figures["torn"] += texts[start : start + 4] != [text, "", text, f"{text} done"]
                figures["lost"] += acknowledged.get(text, session_id) != session_id
    figures["lost"] += len(acknowledged.keys() - seen.keys())
    figures["doubled"] += sum(count - 1 for count in seen.values())
    return figures
