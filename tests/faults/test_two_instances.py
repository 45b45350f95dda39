"""Several processes on one session: their turns never mix, and everyone reads the same thread."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from miniagent_redis import EventType, RedisConfig, SessionAgent, SessionManager
from tests.support.fault_report import FaultRun
from tests.support.program import Program
from tests.support.servers import RedisServer
from tests.support.waiting import LIMIT, until

LEASE = 1.5
PATIENCE = 120.0  # seconds that a message waits for its turn, at the most
SESSION = "shared"


@pytest.fixture(scope="module")
def instances(redis_server: RedisServer) -> Iterator[list[Program]]:
    """Yield other processes."""
    with ExitStack() as stack:
        yield start(stack, redis_server, 4)


def start(stack: ExitStack, server: RedisServer, number: int) -> list[Program]:
    programs = [Program("instance_agent", server.url, LEASE) for _ in range(number)]
    for program in programs:
        stack.enter_context(program)
    for program in programs:
        assert program.hear()["ready"]
    return programs


@pytest.fixture
def manager(redis_url: str) -> Iterator[SessionManager]:
    """Yield one more instance, in the process of the test, with the session."""
    with SessionAgent(redis_config=RedisConfig(url=redis_url)) as agent:
        manager = SessionManager(agent)
        manager.create_or_resume_session("ada", SESSION)
        yield manager


def begin(program: Program, on_busy: str = "wait", busy_timeout: float = PATIENCE) -> None:
    """Let an instance begin on the session."""
    program.tell(open=SESSION, settings={"on_busy": on_busy, "busy_timeout": busy_timeout})


def test_turns_of_many_processes_are_all_there_in_one_order(
    faults: FaultRun,
    instances: list[Program],
    redis_server: RedisServer,
    manager: SessionManager,
) -> None:
    processes, turns = faults.times(4, 8), faults.times(8, 50)
    asked = [[f"{name}-{number}" for number in range(turns)] for name in range(processes)]
    with ExitStack() as stack:
        programs = instances + start(stack, redis_server, processes - len(instances))
        for program in programs:
            begin(program)
        for program, texts in zip(programs, asked, strict=True):
            program.tell(ask=texts)
        told = [program.hear(PATIENCE) for program in programs for _ in range(turns)]
        for program in programs:
            program.tell(view=True)
        views = [program.hear()["view"] for program in programs]

    history = manager.get_history(SESSION)
    ids = [message["id"] for message in history]
    texts = [message["content"] for message in history]
    pairs = list(zip(history[::2], history[1::2], strict=True))
    questions = texts[::2]
    stored = [(question["content"], answer["turn_id"]) for question, answer in pairs]
    misplaced = [
        said
        for said in told
        # The new session is version 1, and each turn is one more.
        if said["error"] or stored[said["version"] - 2] != (said["text"], said["turn"])
    ]
    responses = [
        event.turn_id
        for event in manager.watch(SESSION, after="", timeout=0.1)
        if event.type == EventType.AGENT_RESPONSE
    ]
    known = manager.agent.thread(SESSION).refresh()
    figures = {
        "lost": len({text for texts in asked for text in texts} - set(questions)),
        "doubled": len(questions) - len(set(questions)),
        "torn": sum(
            (question["role"], answer["role"]) != ("user", "assistant")
            or question["turn_id"] != answer["turn_id"]
            for question, answer in pairs
        ),
        # An answer is a checksum of what its process had of the thread when it answered.
        "interleaved": sum(
            answer != checksum(texts[: 2 * number + 1]) for number, answer in enumerate(texts[1::2])
        ),
        "misplaced": len(misplaced),
        "other_orders": sum(view != ids for view in views)
        + ([message.id for message in known] != ids)
        + (responses != [turn for _, turn in stored]),
        "out_of_order": sum(
            [text for text in questions if text in set(mine)] != mine for mine in asked
        ),
    }
    faults.report(
        processes=processes,
        turns=len(told),
        **figures,
        slowest_turn=max(said["seconds"] for said in told),
    )
    assert len(told) == processes * turns
    assert not any(figures.values()), misplaced[:3]


def checksum(texts: list[str]) -> str:
    return str(zlib.crc32("\n".join(texts).encode()))


@pytest.fixture
def holder(instances: list[Program], manager: SessionManager) -> Program:
    """Return an instance that is at work on a turn until it is told to go on."""
    program = instances[0]
    begin(program)
    program.tell(ask=["hold"])
    assert program.hear()["began"]
    return program


def texts(manager: SessionManager) -> list[str]:
    return [message["content"] for message in manager.get_history(SESSION)]


def test_messages_of_other_processes_wait_for_the_running_turn(
    holder: Program, instances: list[Program], manager: SessionManager
) -> None:
    others = instances[1:3]
    for number, other in enumerate(others):
        begin(other)
        other.tell(ask=[f"mine {number}"])
    store = manager.store
    channel = store.parts.core.keys.events(SESSION)
    until(lambda: dict(store.client.pubsub_numsub(channel)).get(channel.encode()) == len(others))
    assert texts(manager) == []
    holder.tell(go_on=True)
    held = holder.hear()
    answers = [other.hear() for other in others]
    assert (held["error"], held["version"]) == (None, 2)
    assert sorted(said["version"] for said in answers) == [3, 4]
    found = texts(manager)
    assert found[0] == "hold"
    assert sorted(found[2::2]) == ["mine 0", "mine 1"]
    assert found[1::2] == [checksum(found[: end + 1]) for end in (0, 2, 4)]


@pytest.mark.parametrize(("on_busy", "busy_timeout"), [("reject", LIMIT), ("wait", 0.3)])
def test_a_message_that_may_not_wait_fails_and_the_holder_goes_on(
    holder: Program,
    instances: list[Program],
    manager: SessionManager,
    on_busy: str,
    busy_timeout: float,
) -> None:
    other = instances[1]
    begin(other, on_busy, busy_timeout)
    other.tell(ask=["mine"])
    said = other.hear()
    assert said["error"] == "SessionBusy"
    assert 0 < said["lease_remaining"] <= LEASE
    least = busy_timeout if on_busy == "wait" else 0
    assert least <= said["seconds"] < LIMIT
    holder.tell(go_on=True)
    assert holder.hear()["version"] == 2
    assert texts(manager) == ["hold", checksum(["hold"])]


def test_an_interrupting_message_replaces_the_turn_of_another_process(
    faults: FaultRun, holder: Program, instances: list[Program], manager: SessionManager
) -> None:
    other = instances[1]
    begin(other, "interrupt")
    other.tell(ask=["mine"])
    said = other.hear()
    assert (said["error"], said["version"]) == (None, 2)
    # Nobody tells it to go on: it learns by itself.
    held = holder.hear()
    faults.report(interrupted_within=said["seconds"])
    assert held["error"] == "TurnSuperseded"
    assert texts(manager) == ["mine", checksum(["mine"])]


@pytest.mark.parametrize("on_busy", ["reject", "interrupt"])
def test_resuming_never_interrupts_a_running_turn(
    holder: Program, instances: list[Program], manager: SessionManager, on_busy: str
) -> None:
    other = instances[1]
    begin(other, on_busy)
    other.tell(resume=True)
    assert other.hear()["error"] == "SessionBusy"
    holder.tell(go_on=True)
    assert holder.hear()["version"] == 2
    other.tell(resume=True)
    said = other.hear()
    assert said["error"] is None
    assert "turn" not in said  # there is none left
    assert texts(manager) == ["hold", checksum(["hold"])]
