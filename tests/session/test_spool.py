"""Outages in the middle of a turn: the answer goes to the spool, and from there to Redis, once."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fault_report import FaultRun
from servers import RedisServer

from miniagent_redis import (
    AgentConfig,
    Event,
    EventType,
    InvalidInput,
    RedisConfig,
    SessionAgent,
    SessionManager,
    SessionNotFound,
    StreamCallback,
    ToolRegistry,
    TurnNotSaved,
    Usage,
)
from miniagent_redis.codec import encode
from miniagent_redis.diagnosis import diagnose
from miniagent_redis.llm import ScriptedModel, TextDelta
from miniagent_redis.models import Message, ToolCall

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


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer("--appendonly", "yes", "--appendfsync", "always") as started:
        yield started


class Program:
    """A program whose model ends the server when it is told ``down`` and starts it at ``up``."""

    def __init__(self, server: RedisServer, folder: Path, **settings: Any) -> None:
        self.server = server
        self.events: list[Event] = []
        callbacks = StreamCallback()
        callbacks.on_any(self.events.append)
        spool = {"spool_dir": str(folder)} if folder.name else {}
        config = RedisConfig(url=server.url, commit_timeout=0.1, **{**spool, **settings})
        self.agent = SessionAgent(AgentConfig(model=self.answer), None, callbacks, config)
        self.manager = SessionManager(self.agent.initialize())

    def answer(self, messages: list[dict[str, Any]]) -> str:
        if messages[-1]["content"].startswith("down"):
            self.server.kill()
        return "answer to " + messages[-1]["content"]

    def said(self, session_id: str) -> list[str]:
        return [message["content"] for message in self.manager.get_history(session_id)]


@pytest.fixture
def program(server: RedisServer, tmp_path: Path) -> Iterator[Program]:
    opened = Program(server, tmp_path / "spool")
    yield opened
    opened.agent.shutdown()


def waiting(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.turn"))


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
    spool.keep(turn, [answer], Usage(1, 2), 0)
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


def spool_turn(program: Program, turn: Any, text: str) -> None:
    assert program.agent.spool is not None
    program.agent.spool.keep(turn, [Message("assistant", text)], Usage(), 0)


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
        for event in manager.stream(sid, "look!"):
            if event.type is EventType.TEXT_DELTA:
                server.kill()
        assert event.data["persisted"] is False
        server.start()
        agent.background.run_all()
        assert [m["role"] for m in manager.get_history(sid)] == [
            "user", "assistant", "tool", "assistant",
        ]  # fmt: skip
        assert manager.list_sessions()[0]["open_turn"] is None


def test_files_are_for_this_user_only_and_of_this_store_only(
    program: Program, redis_url: str
) -> None:
    sid = program.manager.create_or_resume_session()
    spool_turn(program, program.agent.store.begin_turn(sid, "hi"), "mine")
    spool = program.agent.spool
    assert spool is not None
    [path] = waiting(spool.folder)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(spool.folder.stat().st_mode) == 0o700
    config = RedisConfig(url=redis_url, spool_dir=str(spool.folder))
    with SessionAgent(redis_config=config) as other:
        assert other.spool is not None
        assert other.spool.replay() == 0
        assert other.spool.backlog().waiting == 0
    assert waiting(spool.folder) == [path]
    assert spool.replay() == 1


@pytest.mark.parametrize("content", [b"", b"{}", encode({"v": 1}), b'{"v":1,"crc":"00000000"}'])
def test_a_damaged_file_is_set_aside_and_holds_nothing_up(program: Program, content: bytes) -> None:
    sid = program.manager.create_or_resume_session()
    spool = program.agent.spool
    assert spool is not None
    (spool.folder / "00000000000000000001-x.turn").write_bytes(content)
    spool_turn(program, program.agent.store.begin_turn(sid, "hi"), "mine")
    assert spool.replay() == 1
    assert [path.read_bytes() for path in spool.backlog().set_aside] == [content]


def test_a_file_of_a_newer_version_waits(program: Program) -> None:
    spool = program.agent.spool
    assert spool is not None
    (spool.folder / "00000000000000000001-x.turn").write_bytes(encode({"v": 99}))
    assert spool.replay() == 0
    assert len(waiting(spool.folder)) == 1


def test_a_folder_that_cannot_be_written_to_is_told_at_once(
    server: RedisServer, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    config = RedisConfig(url=server.url, spool_dir=str(tmp_path / "file"))
    with pytest.raises(InvalidInput, match="spool_dir"):
        SessionAgent(redis_config=config).initialize()


def test_a_full_disk_is_told_with_the_answer(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    sid = program.manager.create_or_resume_session()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TurnNotSaved) as caught:
        program.manager.run(sid, "down")
    assert caught.value.text == "answer to down"
    assert "No space left" in caught.value.__notes__[0]
    assert program.agent.spool is not None
    assert list(program.agent.spool.folder.iterdir()) == []
    program.server.start()


def test_the_doctor_tells_of_the_backlog_even_when_redis_is_down(program: Program) -> None:
    def check() -> Any:
        return next(c for c in diagnose(program.agent.store) if c.name == "spool")

    assert check().verdict == "ok"
    sid = program.manager.create_or_resume_session()
    program.manager.run(sid, "down")
    found = check()
    assert (found.verdict, found.detail[:6]) == ("warn", "1 turn")
    program.server.start()
    program.agent.background.run_all()
    assert check().verdict == "ok"
    spool_turn(program, program.agent.store.begin_turn(sid, "hi"), "late")
    program.manager.end_session(sid)
    program.agent.background.run_all()
    assert check().verdict == "fail"


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
            program.agent.store.connections.close()
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
