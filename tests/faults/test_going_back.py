"""Going back loses nothing: processes write to one session, rewind it, lose replies, are killed."""

from __future__ import annotations

import random
import time

import pytest

from miniagent_redis import RedisConfig, RedisSessionManager
from tests.support.fault_report import FaultRun
from tests.support.program import Program
from tests.support.proxy import Proxy
from tests.support.servers import RedisServer, find_server

pytestmark = pytest.mark.skipif(find_server() is None, reason="there is no server to start")

LEASE = 1.0
SESSION = "shared"
PROCESSES = 4


def test_what_was_stored_is_there_or_in_a_branch(
    faults: FaultRun, redis_server: RedisServer, redis_url: str
) -> None:
    kills = faults.times(6, 100)
    stored: set[str] = set()
    figures = {"went_back": 0, "errors": 0}
    with (
        RedisSessionManager(RedisConfig(url=redis_url, lease_ttl=LEASE)) as store,
        Proxy(redis_server.socket, random.Random(faults.seed)) as proxy,
    ):
        store.create_session(SESSION, user_id="ada", ttl="never")
        proxy.lose = 0.02
        programs = [start(proxy, f"p{number}") for number in range(PROCESSES)]
        for number in range(kills):
            time.sleep(faults.random.uniform(0.1, 0.5))
            victim = faults.random.randrange(PROCESSES)
            end(programs[victim], stored, figures)
            programs[victim] = start(proxy, f"k{number}")
        for program in programs:
            end(program, stored, figures)
        sessions, cursor = list[str](), None
        while True:
            page = store.list_sessions("ada", 1000, cursor)
            sessions += [each["session_id"] for each in page]
            if (cursor := page.cursor) is None:
                break
        threads = [store.load_thread(session_id) for session_id in sessions]
        lost_replies = proxy.lost
    there = {message.text for thread in threads for message in thread.messages}
    doubled = sum(
        len(thread.messages) - len({message.id for message in thread.messages})
        for thread in threads
    )
    parted = sum(
        f"re {message.text}" != answer.text
        for thread in threads
        for message, answer in zip(thread.messages, thread.messages[1:], strict=False)
        if answer.role == "assistant"
    )
    lost = stored - there
    faults.report(
        kills=kills, stored=len(stored), branches=len(sessions) - 1, lost_replies=lost_replies,
        lost=len(lost), doubled=doubled, parted=parted, **figures,
    )  # fmt: skip
    assert figures["went_back"]
    assert (lost, doubled, parted) == (set(), 0, 0)


def start(proxy: Proxy, name: str) -> Program:
    program = Program("going_back", proxy.url, SESSION, name, name)
    assert program.hear()["ready"]
    return program


def end(program: Program, stored: set[str], figures: dict[str, int]) -> None:
    """Kill the process, and take note of all that it said."""
    with program:
        program.process.kill()
        while (said := program.hear_or_end()) is not None:
            figures["went_back"] += said.get("went_back") is not None
            figures["errors"] += "error" in said
            if "stored" in said:
                stored.add(said["stored"])
