"""Answers that were given while Redis was away are stored: once, in order, by whoever comes first.

Several processes share one folder, and each outage is longer than the lease: the turns that are in
the folder are abandoned ones for Redis, which any process may take over.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from miniagent_redis import RedisConfig, RedisSessionManager
from tests.support.fault_report import FaultRun
from tests.support.program import Program
from tests.support.servers import RedisServer
from tests.support.waiting import until

LEASE = 0.5
OUTAGES = int(os.environ.get("MINIAGENT_TEST_OUTAGES", "0"))
"""How many there are in place of the usual number."""


class Office:
    """A server that keeps its data, and programs that share a spool."""

    def __init__(self, server: RedisServer, folder: Path, stack: ExitStack) -> None:
        self.server = server
        self.folder = folder
        self._stack = stack
        self._started = 0
        self.store = stack.enter_context(RedisSessionManager(RedisConfig(url=server.url)))
        self.told: dict[str, list[str]] = {}  # by session: what was asked and answered
        self.spooled = 0

    def program(self) -> Program:
        self._started += 1
        arguments = self.server.url, self.folder, LEASE, f"p{self._started}"
        program = self._stack.enter_context(Program("spooling_agent", *arguments))
        assert program.hear()["ready"]
        return program

    def open(self, count: int) -> list[str]:
        for number in range(count):
            self.store.create_session(f"s{number}")
            self.told[f"s{number}"] = []
        return list(self.told)

    def outage(self, asked: dict[str, Program]) -> None:
        """End the server while each session's program answers; return when all leases are over."""
        for session, program in asked.items():
            program.tell(ask={session: f"hold {session} {len(self.told[session])}"})
        for program in asked.values():
            assert program.hear()["began"]
        self.server.kill()
        began = time.monotonic()
        for program in set(asked.values()):
            program.tell(go_on=True)
        for program in asked.values():
            self.hear(program)
        until(lambda: time.monotonic() > began + 2 * LEASE)

    def hear(self, program: Program) -> None:
        said = program.hear()
        assert "error" not in said, said
        self.told[said["session"]] += [said["text"], said["answer"]]
        self.spooled += not said["persisted"]

    def ask_next(self, asked: dict[str, Program]) -> None:
        for session, program in asked.items():
            program.tell(ask={session: f"next {session} {len(self.told[session])}"})
        for program in asked.values():
            self.hear(program)

    def waiting(self) -> int:
        return len([*self.folder.glob("*.turn")])

    def stored(self) -> dict[str, list[str]]:
        return {
            session: [message.text for message in self.store.load_thread(session).messages]
            for session in self.told
        }

    def wrong(self) -> dict[str, int]:
        """Count what was told and is not stored, is stored twice, or not where it belongs."""
        stored = self.stored()
        return {
            "replaced": sum(
                text not in stored[session] for session, told in self.told.items() for text in told
            ),
            "doubled": sum(len(texts) - len(set(texts)) for texts in stored.values()),
            "out_of_order": sum(stored[session] != told for session, told in self.told.items()),
            "set_aside": len([*self.folder.glob("*.set-aside")]),
        }


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with ExitStack() as stack:
        server = stack.enter_context(RedisServer("--appendonly", "yes", "--appendfsync", "always"))
        yield Office(server, tmp_path / "spool", stack)


@pytest.mark.parametrize("knows", ["has seen the files", "has not"])
def test_the_next_message_reaches_another_process_first_and_no_answer_is_replaced(
    faults: FaultRun, office: Office, knows: str
) -> None:
    sessions, first = office.open(6), office.program()
    second = office.program() if knows == "has seen the files" else None
    office.outage(dict.fromkeys(sessions, first))
    first.pause()
    office.server.start()
    office.ask_next(dict.fromkeys(sessions, second or office.program()))
    first.resume()
    office.ask_next(dict.fromkeys(sessions, first))
    wrong = office.wrong()
    faults.report(sessions=len(sessions), spooled=office.spooled, **wrong)
    assert office.spooled == len(sessions)
    assert not any(wrong.values())
    assert office.waiting() == 0


def test_several_outages_with_three_processes_lose_double_and_reorder_nothing(
    faults: FaultRun, office: Office
) -> None:
    """Each message goes to any of them; at times one is killed when its answers are on disk."""
    outages, kills, dice = OUTAGES or faults.times(3, 60), 0, faults.random
    sessions = office.open(6)
    programs = [office.program() for _ in range(3)]
    for _ in range(outages):
        office.outage({session: dice.choice(programs) for session in sessions})
        dead = dice.choice(programs) if dice.random() < 0.4 else None
        if dead is not None:
            dead.close()
            programs.remove(dead)
            kills += 1
        office.server.start()
        for _ in range(dice.randrange(3)):
            office.ask_next({session: dice.choice(programs) for session in sessions})
        if dead is not None:
            programs.append(office.program())
    until(lambda: office.waiting() == 0)
    wrong = office.wrong()
    faults.report(server_kills=outages, client_kills=kills, sessions=len(sessions),
                  acknowledged=sum(map(len, office.told.values())) // 2, spooled=office.spooled,
                  **wrong)  # fmt: skip
    assert office.spooled == outages * len(sessions)
    assert not any(wrong.values())
