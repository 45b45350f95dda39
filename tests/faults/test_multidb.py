"""Several databases: processes chat while the one that is used dies, hangs, and comes back.

Each turn that was acknowledged is looked for in both. Nothing is copied from one to the other here,
so that each has the turns of its time, and none a turn twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest

from miniagent_redis import RedisConfig, RedisSessionManager, SessionNotFound, StoreUnavailable
from tests.support.fault_report import FaultRun
from tests.support.program import Program
from tests.support.servers import RedisServer
from tests.support.waiting import LIMIT, until

pytest.importorskip("redis.multidb.circuit", reason="needs redis-py 7 and pybreaker")
CHATS = 3
KEPT = ("--appendonly", "yes", "--appendfsync", "always", "--repl-diskless-sync-delay", "0")
MOVED = {"SessionNotFound", "TurnSuperseded"}
"""What a turn is told that began in one database and was to end in another."""


class Talk:
    """Three processes that chat, each in its own session, and two databases for them."""

    def __init__(self, stack: ExitStack) -> None:
        self.servers = [stack.enter_context(RedisServer(*KEPT, tcp=True)) for _ in range(2)]
        self._stack = stack
        self.url = "redis+multidb://" + ",".join(f"127.0.0.1:{one.port}" for one in self.servers)
        self.sessions = [f"s{number}" for number in range(CHATS)]
        self.stored: dict[str, list[str]] = {session: [] for session in self.sessions}
        self.longest = 0.0

    def begin(self) -> None:
        self.programs = [Program("moving_agent", self.url, one) for one in self.sessions]
        for program in self.programs:
            self._stack.callback(program.close)

    def go_on(self, number: int) -> None:
        """Block until each has stored some turns more in a database."""
        goals = {session: len(self.texts(number, session)) + 3 for session in self.sessions}
        for session, goal in goals.items():
            until(partial(self._has, number, session, goal), 2 * LIMIT)

    def _has(self, number: int, session: str, goal: int) -> bool:
        return len(self.texts(number, session)) >= goal

    def texts(self, number: int, session: str) -> list[str]:
        """Return the questions that a database has in a session."""
        server = self.servers[number]
        try:
            with RedisSessionManager(RedisConfig(url=f"unix://{server.socket}")) as store:
                return [one.text for one in store.load_thread(session).messages][::2]
        except (SessionNotFound, StoreUnavailable):
            return []

    def finish(self) -> dict[str, Any]:
        told: Counter[str] = Counter()
        for program, session in zip(self.programs, self.sessions, strict=True):
            program.tell(end=True)
            while "told" not in (said := program.hear()):
                if self.stored[session]:
                    self.longest = max(self.longest, said["took"])
                self.stored[session].append(said["stored"])
            told.update(said["told"])
        figures: Counter[str] = Counter()
        for session in self.sessions:
            first, second = (self.texts(number, session) for number in range(2))
            figures["acknowledged"] += len(self.stored[session])
            figures["lost"] += len(set(self.stored[session]) - {*first, *second})
            for texts in (first, second):
                figures["doubled"] += len(texts) - len(set(texts))
            figures["only in the second"] += len(set(second) - set(first))
        names = {f"told_{name}": count for name, count in told.items()}
        return {
            **{name: figures[name] for name in ("acknowledged", "lost", "doubled")},
            "only_in_the_second": figures["only in the second"],
            **names,
            "longest_stall": self.longest,
        }


@pytest.fixture
def talk() -> Iterator[Talk]:
    with ExitStack() as stack:
        yield Talk(stack)


@pytest.mark.parametrize(
    ("leave", "come_back"),
    [(RedisServer.kill, RedisServer.start), (RedisServer.pause, RedisServer.resume)],
    ids=["dies", "hangs"],
)
def test_chats_go_on_in_the_other_database_and_then_in_the_first_again(
    faults: FaultRun,
    talk: Talk,
    leave: Callable[[RedisServer], None],
    come_back: Callable[[RedisServer], None],
) -> None:
    talk.begin()
    talk.go_on(0)
    rounds = faults.times(1, 3)
    for _ in range(rounds):
        leave(talk.servers[0])
        talk.go_on(1)
        come_back(talk.servers[0])
        talk.go_on(0)
    figures = talk.finish()
    faults.report(times=rounds, **figures)
    assert figures["lost"] == figures["doubled"] == 0
    assert figures["only_in_the_second"] >= CHATS
    assert {name for name in figures if name.startswith("told")} <= {f"told_{x}" for x in MOVED}


def test_a_replica_that_is_made_a_master_goes_on_with_the_sessions(
    faults: FaultRun, talk: Talk
) -> None:
    first, second = talk.servers
    client: Any = second.client()
    client.replicaof("127.0.0.1", first.port)
    until(lambda: client.info("replication").get("master_link_status") == "up")
    talk.begin()
    talk.go_on(0)
    first.kill()
    client.replicaof("NO", "ONE")
    talk.go_on(1)
    figures = talk.finish()
    faults.report(**figures)
    assert figures["doubled"] == 0
    # What was acknowledged in the millisecond before, and not replicated yet, may be lost.
    assert figures["lost"] <= CHATS
    assert {name for name in figures if name.startswith("told")} <= {f"told_{x}" for x in MOVED}
