"""Failovers that lose the end of a thread: no agent answers from what is not there any more.

The agents reach their server by one address. Each round its replica is cut off at some time, and
later takes its place, so the turns between are lost; others go on at once, or write as many turns
again before those are heard of who know of the lost ones.
"""

from __future__ import annotations

import random
import threading
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from miniagent_redis import RedisConfig, RedisSessionManager
from tests.support.fault_report import FaultRun
from tests.support.program import Program
from tests.support.proxy import Proxy
from tests.support.servers import RedisServer
from tests.support.waiting import until

LEASE = 0.6
PATIENCE = 60.0  # seconds that a message waits for its turn, at the most
_TRIES = 50


class Pair:
    """A server with a replica, behind one address, and the failover from one to the other."""

    def __init__(self) -> None:
        self.primary, self.replica = (
            RedisServer("--repl-diskless-sync-delay", "0", tcp=True) for _ in range(2)
        )

    def __enter__(self) -> Pair:
        self._stack = ExitStack()
        for server in (self.primary, self.replica):
            self._stack.enter_context(server)
        self.proxy = self._stack.enter_context(Proxy(self.primary.socket))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def replicate(self) -> None:
        with self.replica.client() as client:
            client.replicaof("127.0.0.1", self.primary.port)
            until(lambda: client.info("replication")["master_link_status"] == "up")

    def cut_off(self) -> None:
        """Let the replica have all that there is by now, and nothing after that."""
        with self.primary.client() as primary, self.replica.client() as replica:
            offset = primary.info("replication")["master_repl_offset"]
            until(lambda: replica.info("replication")["slave_repl_offset"] >= offset)
            replica.replicaof("NO", "ONE")

    def fail_over(self) -> None:
        """Kill the primary; its replica takes its place, and it that of the replica."""
        self.primary.kill()
        self.primary, self.replica = self.replica, self.primary
        self.proxy.upstream = self.primary.socket
        self.proxy.cut()
        self.replica.start()


@pytest.fixture
def pair() -> Iterator[Pair]:
    with Pair() as opened:
        yield opened


class Round:
    """One session in which agents chat over a failover."""

    def __init__(self, name: str, pair: Pair, programs: list[Program], dice: random.Random) -> None:
        self.name, self.pair, self.programs, self.dice = name, pair, programs, dice
        self.figures: Counter[str] = Counter()
        self.acknowledged: list[str] = []
        self.asked = 0

    def play(self, *, is_under_load: bool) -> Counter[str]:
        self.pair.replicate()
        with RedisSessionManager(RedisConfig(url=self.pair.proxy.url)) as store:
            store.create_session(self.name)
        for program in self.programs:
            program.tell(open=self.name, settings={"busy_timeout": PATIENCE})
        for program in self.programs:
            self._ask(program)
        if is_under_load:
            self._fail_over_under_load()
        else:
            self._fail_over_and_write_as_many()
        for program in self.programs:
            self._ask(program)
        self._judge()
        return self.figures

    def _fail_over_and_write_as_many(self) -> None:
        knowing, *others = self.programs
        self.pair.cut_off()
        lost = self.dice.randint(1, 3)
        for _ in range(lost):
            self._ask(knowing)
        self.pair.fail_over()
        for _ in range(max(0, lost + self.dice.choice((-1, 0, 0, 0, 1)))):
            self._ask(self.dice.choice(others))

    def _fail_over_under_load(self) -> None:
        turns = 8
        for program in self.programs:
            program.tell(ask=[self._text() for _ in range(turns)])
        threading.Event().wait(self.dice.uniform(0, 0.1))
        self.pair.cut_off()
        threading.Event().wait(self.dice.uniform(0, 0.1))
        self.pair.fail_over()
        for program in self.programs:
            for _ in range(turns):
                self._heard(program.hear(PATIENCE))

    def _text(self) -> str:
        self.asked += 1
        return f"{self.name}-{self.asked}"

    def _ask(self, program: Program) -> None:
        """Have it chat until it is answered; while nobody can be, each time with other words."""
        for _ in range(_TRIES):
            program.tell(ask=[self._text()])
            if self._heard(program.hear(PATIENCE)):
                return
            threading.Event().wait(0.1)
        raise AssertionError("no answer after the failover")

    def _heard(self, said: dict[str, Any]) -> bool:
        if said["error"] is None:
            self.acknowledged.append(said["turn"])
        return said["error"] is None

    def _judge(self) -> None:
        with RedisSessionManager(RedisConfig(url=self.pair.primary.url)) as store:
            thread = store.load_thread(self.name)
        texts = [message.text for message in thread.messages]
        answers = texts[1::2]
        # An answer is a checksum of all that its model was shown.
        wrong = [
            text
            for number, text in enumerate(answers)
            if text != str(zlib.crc32("\n".join(texts[: 2 * number + 1]).encode()))
        ]
        views = []
        for program in self.programs:
            program.tell(view=True)
            views.append(program.hear()["view"])
        ids = [message.id for message in thread.messages]
        stored = {message.turn_id for message in thread.messages}
        self.figures.update(
            failovers=1,
            turns=len(answers),
            lost=len(set(self.acknowledged) - stored),
            answered_from_what_is_not_there=len(wrong),
            seen_what_is_not_there=sum(view != ids for view in views),
        )


def test_no_model_is_shown_a_message_that_a_failover_lost(faults: FaultRun, pair: Pair) -> None:
    agents, rounds = faults.times(3, 5), faults.times(4, 60)
    figures: Counter[str] = Counter()
    with ExitStack() as stack:
        programs = [Program("instance_agent", pair.proxy.url, LEASE) for _ in range(agents)]
        for program in programs:
            stack.enter_context(program)
            assert program.hear()["ready"]
        for number in range(rounds):
            played = Round(f"r{number}", pair, programs, faults.random)
            figures += played.play(is_under_load=number % 2 == 1)
    faults.report(**{name: figures[name] for name in (
        "failovers", "turns", "lost", "answered_from_what_is_not_there", "seen_what_is_not_there"
    )})  # fmt: skip
    assert figures["failovers"] == rounds
    assert figures["lost"] >= rounds / 2  # else there was nothing to be seen
    assert not figures["answered_from_what_is_not_there"]
    assert not figures["seen_what_is_not_there"]
