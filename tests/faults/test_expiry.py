"""Many sessions end at once and their hooks are slow, or hang: each is told once, nobody waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from miniagent_redis import RedisConfig, RedisSessionManager, SessionAgent
from tests.support.fault_report import FaultRun
from tests.support.program import Program
from tests.support.servers import RedisServer
from tests.support.waiting import LIMIT, until

LEASE = 5.0
HOOK = 0.02  # seconds
NAMES = ("one", "two")


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def store(server: RedisServer) -> Iterator[RedisSessionManager]:
    """Yield the store of an agent without hooks, which sweeps when no other does."""
    with SessionAgent(redis_config=RedisConfig(url=server.url)) as agent:
        yield agent.store


@pytest.fixture
def programs(server: RedisServer, store: RedisSessionManager) -> Iterator[list[Program]]:
    """Yield two processes with a hook that takes 20 ms."""
    with ExitStack() as stack:
        programs = [Program("hooked_agent", server.url, LEASE, HOOK, name) for name in NAMES]
        for program in programs:
            stack.enter_context(program)
            assert program.hear()["ready"]
        until(store.parts.expiry.is_announced)
        yield programs


class Leases:
    """How near the leases of the turns that run all the time came to their end."""

    def __init__(self, store: RedisSessionManager) -> None:
        self._client: Any = store.client
        self._metadata = [store.parts.core.keys.metadata(f"held-{name}") for name in NAMES]
        self.least = LEASE

    def look(self) -> None:
        for key in self._metadata:
            lease, (seconds, micros) = self._client.hget(key, "lease"), self._client.time()
            self.least = min(self.least, int(lease or 0) / 1000 - seconds - micros / 1e6)


def wait_for_the_end_of_all(store: RedisSessionManager, leases: Leases, limit: float) -> None:
    keys, client = store.parts.core.keys, store.client

    def are_over() -> bool:
        leases.look()
        entries: Any = [client.zrangebyscore(keys.deadlines(n), 0, "+inf") for n in range(16)]
        return not any(entry.startswith(b"s") for shard in entries for entry in shard)

    until(are_over, limit)


def hear_all(programs: list[Program]) -> list[dict[str, Any]]:
    for program in programs:
        program.tell(tell=True)
    return [program.hear() for program in programs]


def test_two_processes_tell_slow_hooks_of_each_session_once(
    faults: FaultRun, store: RedisSessionManager, programs: list[Program]
) -> None:
    ids = [f"s{n}" for n in range(faults.times(300, 5000))]
    for session_id in ids:
        store.create_session(session_id, ttl=0.001)
    leases = Leases(store)
    wait_for_the_end_of_all(store, leases, LIMIT + 10 * HOOK * len(ids))
    said = hear_all(programs)
    told = Counter(session_id for each in said for session_id in each["told"])
    rates = [(len(each["told"]) - 1) / each["seconds"] for each in said]
    faults.report(
        sessions=len(ids),
        told=len(told),
        twice=sum(count > 1 for count in told.values()),
        hooks_a_second=min(rates),
        turns=sum(len(each["turns"]) for each in said),
        longest_turn=max(max(each["turns"]) for each in said),
        least_lease=leases.least,
    )
    assert told == Counter(ids)
    assert leases.least > 0


def test_a_hook_that_hangs_stops_no_other_process_and_nothing_else_of_its_own(
    faults: FaultRun, store: RedisSessionManager, programs: list[Program]
) -> None:
    store.create_session("bad", ttl=0.001)
    until(lambda: store.client.get("hung"))
    ids = [f"s{n}" for n in range(faults.times(100, 1000))]
    for session_id in ids:
        store.create_session(session_id, ttl=0.001)
    leases = Leases(store)
    wait_for_the_end_of_all(store, leases, LIMIT + 10 * HOOK * len(ids))
    said = hear_all(programs)
    told = [each["told"] for each in said]
    faults.report(
        sessions=len(ids),
        told=len(told[0] + told[1]),
        turns=sum(len(each["turns"]) for each in said),
        longest_turn=max(max(each["turns"]) for each in said),
        least_lease=leases.least,
    )
    assert Counter(told[0] + told[1]) == Counter([*ids, "bad"])
    assert leases.least > 0
