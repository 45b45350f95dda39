"""Outages in the middle of a turn: the answer goes to the spool, and from there to Redis, once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from miniagent_redis import (
    AgentConfig,
    EventType,
    RedisConfig,
    SessionAgent,
    SessionManager,
    SessionNotFound,
    ToolRegistry,
    TurnNotSaved,
    UsageTotals,
)
from miniagent_redis.llm import ScriptedModel, TextDelta
from miniagent_redis.models import Message, OpenTurn, ToolCall
from tests.support.fault_report import FaultRun
from tests.support.servers import RedisServer
from tests.support.spooling import Program, spool_turn, waiting

PROGRAM = """
import os, signal, sys
from miniagent_redis import AgentConfig, RedisConfig, SessionAgent, SessionManager

url, session_id, spool, server = sys.argv[1:]

def model(messages):
    if messages[-1]["content"] == "Hello!":
        os.kill(int(server), signal.SIGKILL)
    return "Hello to you!"

config = RedisConfig(url=url, spool_dir=spool, commit_timeout=0.1, lease_ttl=60)
agent = SessionAgent(AgentConfig(model=model), redis_config=config).initialize()
print(SessionManager(agent).run(session_id, "Hello!").persisted, flush=True)
os._exit(9)
"""


def test_an_answer_that_redis_cannot_take_is_given_and_stored_later(program: Program) -> None:
    sid = program.manager.create_or_resume_session()
    program.manager.chat(sid, "first")
    result = program.manager.run(sid, "down")
    assert (result.text, result.persisted, result.version) == ("answer to down", False, 2)
    program.server.start()
    # The next turn comes behind it, whether or not the background thread was there first.
    assert program.manager.run(sid, "last").persisted
    assert program.said(sid) == [
        "first", "answer to first", "down", "answer to down", "last", "answer to last",
    ]  # fmt: skip
    assert program.manager.list_sessions()[0]["turns"] == 3
    kinds = [event.type for event in program.events]
    assert kinds.count(EventType.TURN_REPLAYED) == 1
    told = next(
        e for e in program.events if e.type is EventType.AGENT_RESPONSE and "down" in e.text
    )
    assert told.data["persisted"] is False


def test_the_background_thread_stores_it_by_itself(program: Program) -> None:
    sid = program.manager.create_or_resume_session()
    program.manager.run(sid, "down")
    program.server.start()
    program.agent.background.run_all()
    assert program.said(sid) == ["down", "answer to down"]
    program.agent.background.run_all()
    assert program.said(sid) == ["down", "answer to down"]


@pytest.mark.parametrize("namespace", ["", "acme"])
def test_what_redis_can_take_again_is_stored_by_a_shutdown(
    program: Program, namespace: str
) -> None:
    """Of the agent's tenants too."""
    agent = program.agent.tenant(namespace) if namespace else program.agent
    manager = SessionManager(agent)
    sid = manager.create_or_resume_session()
    assert not manager.run(sid, "down").persisted
    program.server.start()
    program.agent.background.stop()  # which could be the first to store it
    assert agent.spool is not None
    assert waiting(agent.spool.folder) != []
    program.agent.shutdown()
    assert waiting(agent.spool.folder) == []


def test_a_killed_process_leaves_it_to_the_next_one(server: RedisServer, tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    before = Program(server, folder)
    sid = before.manager.create_or_resume_session()
    before.agent.shutdown()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, server.url, sid, str(folder), str(server.pid)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.stdout, done.returncode) == ("False\n", 9)
    server.kill()
    server.start()
    after = Program(server, folder)
    assert after.said(sid) == ["Hello!", "Hello to you!"]
    assert waiting(folder) == []
    assert after.manager.run(sid, "again").version == 3  # and at once: nobody waits for a lease
    after.agent.shutdown()


def test_without_a_spool_the_error_carries_the_answer(server: RedisServer) -> None:
    program = Program(server, Path())
    sid = program.manager.create_or_resume_session()
    with pytest.raises(TurnNotSaved) as caught:
        program.manager.run(sid, "down")
    assert caught.value.text == "answer to down"
    server.start()
    program.agent.shutdown()


def test_several_turns_are_stored_in_their_order(program: Program) -> None:
    sids = [program.manager.create_or_resume_session() for _ in range(3)]
    futures = []
    streams = [program.manager.stream(sid, f"down {sid}") for sid in sids]
    for stream in streams:
        next(stream)  # all have begun
    for stream in streams:
        futures.append(list(stream)[-1].data["persisted"])
    assert futures == [False] * 3
    program.server.start()
    spool = program.agent.spool
    assert spool is not None
    program.agent.background.run_all()
    for sid in sids:
        assert program.said(sid) == [f"down {sid}", f"answer to down {sid}"]


def test_one_that_redis_had_taken_after_all_is_not_stored_twice(program: Program) -> None:
    """The reply to its commit was lost, and 70 changes later Redis has forgotten the turn's id."""
    store = program.agent.store
    sid = program.manager.create_or_resume_session()
    turn = store.begin_turn(sid, "hi")
    answer = Message("assistant", "there")
    spool = program.agent.spool
    assert spool is not None
    spool.keep(turn, [answer], spent=UsageTotals(1, 2))
    store.commit_turn(turn, [answer])
    for number in range(70):
        store.append_to_thread(sid, Message("system", str(number)))
    assert spool.replay() == 1
    assert program.said(sid).count("there") == 1
    assert waiting(spool.folder) == []


def test_a_turn_that_another_finished_meanwhile_is_set_aside(program: Program) -> None:
    store, spool = program.agent.store, program.agent.spool
    assert spool is not None
    sid = program.manager.create_or_resume_session()
    store.config.lease_ttl = 0.01
    turn = store.begin_turn(sid, "hi")
    spool_turn(program, turn, "mine")
    other = store.resume_turn(sid, busy_timeout=5)
    assert other is not None
    assert spool.replay(sid) in (0, 1)
    if waiting(spool.folder):  # the lease of the other was still running
        store.commit_turn(other, [Message("assistant", "theirs")])
        assert spool.replay() == 0
        assert program.said(sid) == ["hi", "theirs"]
        assert len(spool.backlog().set_aside) == 1
    else:
        assert program.said(sid) == ["hi", "mine"]


def test_a_cleared_history_stays_clear(program: Program) -> None:
    sid = program.manager.create_or_resume_session()
    spool_turn(program, program.agent.store.begin_turn(sid, "hi"), "old")
    program.manager.clear_history(sid)
    spool = program.agent.spool
    assert spool is not None
    assert spool.replay() == 0
    assert program.said(sid) == []
    assert len(spool.backlog().set_aside) == 1


def test_an_ended_session_sets_it_aside_and_says_so(program: Program) -> None:
    sid = program.manager.create_or_resume_session()
    spool_turn(program, program.agent.store.begin_turn(sid, "hi"), "late")
    program.manager.end_session(sid)
    spool = program.agent.spool
    assert spool is not None
    assert spool.replay() == 0
    failed = [event for event in program.events if event.type is EventType.TURN_FAILED]
    assert [event.data["error"] for event in failed] == [SessionNotFound.__name__]
    [aside] = spool.backlog().set_aside
    assert b"late" in aside.read_bytes()


def test_tool_results_of_a_spooled_turn_are_stored_with_it(
    server: RedisServer, tmp_path: Path
) -> None:
    tools = ToolRegistry()

    @tools.tool
    def look() -> str:
        """Look."""
        return "seen"

    replies: list[Any] = [[ToolCall("c1", "look", {})], [TextDelta("done")]]
    model = ScriptedModel(replies)
    config = RedisConfig(url=server.url, spool_dir=str(tmp_path), commit_timeout=0.1)
    with SessionAgent(AgentConfig(model=model), tools, redis_config=config) as agent:
        manager = SessionManager(agent)
        sid = manager.create_or_resume_session()
        told = []
        for event in manager.stream(sid, "look!"):
            told.append(event)
            if event.type is EventType.TEXT_DELTA:
                server.kill()
        assert told[-1].data["persisted"] is False
        server.start()
        agent.background.run_all()
        assert [m["role"] for m in manager.get_history(sid)] == [
            "user", "assistant", "tool", "assistant",
        ]  # fmt: skip
        assert manager.list_sessions()[0]["open_turn"] is None


def test_outages_at_random_moments_lose_and_double_nothing(
    faults: FaultRun, server: RedisServer, tmp_path: Path
) -> None:
    """Each round ends the server somewhere in a turn; at times the program is started anew."""
    folder, outages, spooled = tmp_path / "spool", faults.times(4, 60), 0
    told: list[str] = []
    program = Program(server, folder)
    programs = [program]
    sid = program.manager.create_or_resume_session()
    for number in range(outages):
        for each in range(faults.random.randrange(3)):
            told += [f"{number}.{each}", program.manager.chat(sid, f"{number}.{each}")]
        result = program.manager.run(sid, f"down {number}")
        told += [f"down {number}", result.text]
        spooled += not result.persisted
        server.start()
        if faults.random.random() < 0.3:
            program.agent.background.stop()  # as good as killed: nothing is replayed at its end
            program.agent.store.parts.core.connections.close()
            program = Program(server, folder)
            programs.append(program)
    program.agent.background.run_all()
    found = program.said(sid)
    for each_program in programs:
        each_program.agent.shutdown()
    lost = [text for text in told if text not in found]
    doubled = [text for text in found if found.count(text) > 1]
    faults.report(server_kills=outages, spooled=spooled, acknowledged=len(told) // 2,
                  lost=len(lost), doubled=len(doubled))  # fmt: skip
    assert not lost
    assert not doubled
    assert found == told


@pytest.fixture
def abandoned(program: Program) -> OpenTurn:
    """Return a turn whose lease is over, in the session "s"."""
    program.agent.background.stop()
    store = program.agent.store
    store.create_session("s")
    store.config.lease_ttl = 0.001
    turn = store.begin_turn("s", "hi")
    store.config.lease_ttl = 30.0
    return turn


def test_an_answer_that_is_spooled_just_when_its_turn_is_taken_over_is_stored(
    program: Program, abandoned: OpenTurn, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = program.agent.spool
    assert spool is not None
    spool_turn(program, abandoned, "told")
    monkeypatch.setattr(spool, "replay", lambda session_id: 0)  # it looked a moment too early
    assert program.manager.chat("s", "next") == "answer to next"
    assert program.said("s") == ["hi", "told", "next", "answer to next"]
    assert waiting(spool.folder) == []


@pytest.mark.parametrize("looks", ["before", "behind"])
def test_a_turn_whose_answer_is_in_the_spool_needs_no_other(
    program: Program, abandoned: OpenTurn, monkeypatch: pytest.MonkeyPatch, looks: str
) -> None:
    spool_turn(program, abandoned, "told")
    if looks == "behind":
        monkeypatch.setattr(program.agent.spool, "replay", lambda session_id: 0)
    assert program.manager.resume_turn("s") is None
    assert program.said("s") == ["hi", "told"]


def test_a_message_is_answered_though_the_turn_before_it_is_stored_from_elsewhere(
    program: Program, abandoned: OpenTurn
) -> None:
    """A program without that folder takes the turn over; it is stored while its model answers."""

    def model(messages: list[dict[str, Any]]) -> str:
        if messages[-1]["content"] == "hi":
            spool_turn(program, abandoned, "told")
            assert program.agent.spool is not None
            assert program.agent.spool.replay() == 1
        return "from elsewhere"

    config = AgentConfig(model=model)
    with SessionAgent(config, redis_config=RedisConfig(url=program.server.url)) as other:
        assert other.run("s", "next").text == "from elsewhere"
    assert program.said("s") == ["hi", "told", "next", "from elsewhere"]


def test_an_answer_whose_turn_was_interrupted_from_elsewhere_is_stored_all_the_same(
    program: Program, abandoned: OpenTurn
) -> None:
    config = AgentConfig(model=lambda messages: "from elsewhere", on_busy="interrupt")
    with SessionAgent(config, redis_config=RedisConfig(url=program.server.url)) as other:
        assert other.run("s", "next").text == "from elsewhere"
    spool_turn(program, abandoned, "told")
    assert program.agent.spool is not None
    assert program.agent.spool.replay() == 1
    assert program.said("s") == ["next", "from elsewhere", "hi", "told"]


def test_a_tool_that_may_run_is_a_reason_to_leave_the_turn_to_who_took_it_over(
    program: Program, abandoned: OpenTurn
) -> None:
    """The staged call has no result: an answer that was broken off there does not tell of it."""
    store, spool = program.agent.store, program.agent.spool
    assert spool is not None
    call = Message("assistant", "", (ToolCall("c1", "look", {}),))
    turn = store.stage_step(store.resume_turn("s", busy_timeout=5) or abandoned, [call])
    store.config.lease_ttl = 0.001
    turn = store.renew_lease(turn)
    store.config.lease_ttl = 30.0
    result = Message("tool", "cancelled", tool_call_id="c1")
    spool.keep(turn, [result, Message("assistant", "told")], UsageTotals())
    assert store.resume_turn("s", busy_timeout=5) is not None
    assert spool.replay() == 0
    assert program.said("s") == []
    assert len(waiting(spool.folder)) == 1
