"""Turns that were submitted or started are finished though their process dies; others wait."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from miniagent_redis import (
    AgentConfig,
    EventType,
    Message,
    RedisConfig,
    SessionAgent,
    SessionBusy,
    SessionManager,
    StreamCallback,
    ToolCall,
    ToolRegistry,
)
from miniagent_redis.maintenance.jobs import RECOVER_INTERVAL
from tests.session.conftest import Open
from tests.support.servers import RedisServer
from tests.support.waiting import LIMIT, until

LEASE = 1.0
PROGRAM = """
import sys, threading
from miniagent_redis import *
url, how, sid, tool = sys.argv[1:]
tools = ToolRegistry()
@tools.tool
def note(text: str) -> str:
    "Note it."
    with open(tool, "a") as file:
        file.write(text)
    return "noted"
class Hanging:
    name = "hanging"
    def stream(self, request):
        from miniagent_redis.llm import Finish
        if request.messages[-1].role == "user":
            yield ToolCall("c1", "note", {"text": "once "})
            yield Finish("tool_calls")
        else:
            print("hangs", flush=True)
            threading.Event().wait()
config = RedisConfig(url=url, lease_ttl=1.0)
agent = SessionAgent(AgentConfig(name="bot", model=Hanging()), tools, redis_config=config)
agent.initialize()
if how == "submit":
    agent.submit(sid, "Note it!", turn_id="job")
elif how == "start":
    SessionManager(agent).start(sid, "Note it!", turn_id="job")
else:
    threading.Thread(target=SessionManager(agent).chat, args=(sid, "Note it!"), daemon=True).start()
threading.Event().wait()
"""


@contextmanager
def instance(url: str, name: str = "bot", **more: Any) -> Iterator[SessionManager]:
    config = RedisConfig(url=url, lease_ttl=LEASE)
    model: Any = lambda messages: "It is noted."  # noqa: E731
    with SessionAgent(AgentConfig(name=name, model=model), redis_config=config, **more) as agent:
        yield SessionManager(agent)


def killed(url: str, how: str, sid: str, tool: Any) -> float:
    """Run a program whose turn hangs behind its first tool; kill it; return when that was."""
    command = [sys.executable, "-c", PROGRAM, url, how, sid, str(tool)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "hangs\n"
        os.kill(program.pid, signal.SIGKILL)
    return time.monotonic()


@pytest.mark.parametrize("how", ["submit", "start"])
def test_another_instance_finishes_it_soon_after_kill_9(
    server: RedisServer, tmp_path: Any, how: str
) -> None:
    told: list[Any] = []
    callbacks = StreamCallback()
    callbacks.on(EventType.TURN_STARTED, told.append)
    with instance(server.url, callbacks=callbacks) as manager:
        sid = manager.create_or_resume_session("ada")
        died = killed(server.url, how, sid, tmp_path / "notes")
        assert manager.turn(sid, "job").state in ("running", "abandoned")
        until(lambda: manager.turn(sid, "job").state == "completed")
        assert time.monotonic() - died < LEASE + 10
        assert manager.run(sid, "Note it!", turn_id="job").text == "It is noted."
        roles = [message["role"] for message in manager.get_history(sid)]
        assert roles == ["user", "assistant", "tool", "assistant"]
        assert (tmp_path / "notes").read_text() == "once "
        assert [event.data["resumed"] for event in told] == [True]
        until(lambda: entries(manager) == {})


def entries(manager: SessionManager) -> dict[str, float]:
    """Return all that is looked after."""
    store = manager.store
    found: dict[str, float] = {}
    for shard in range(16):
        pairs: Any = store.client.zrange(store.parts.core.keys.turns(shard), 0, -1, withscores=True)
        found |= {member.decode(): score for member, score in pairs}
    return found


def test_a_turn_that_did_not_ask_waits_for_the_next_message(
    server: RedisServer, tmp_path: Any
) -> None:
    with instance(server.url) as manager:
        sid = manager.create_or_resume_session("ada")
        killed(server.url, "chat", sid, tmp_path / "notes")
        assert entries(manager) == {}
        manager.store.parts.recovery.ask(sid)  # as by a turn before
        until(lambda: entries(manager) == {})
        assert len(manager.get_history(sid, pending=True)) == 3


def test_what_is_over_costs_nothing_more(open_manager: Open) -> None:
    manager = open_manager(redis={"lease_ttl": 0.3})
    sid = manager.create_or_resume_session()
    manager.chat(sid, "Hello")
    assert entries(manager) == {}
    manager.agent.submit(sid, "Hello").result(LIMIT)
    manager.start(sid, "Hello")
    assert list(entries(manager)) == [sid]
    until(lambda: entries(manager) == {})
    assert manager.store.session_state(sid).turns == 3
    assert RECOVER_INTERVAL <= 5


def test_a_turn_that_others_work_on_again_is_not_waited_for(open_manager: Open) -> None:
    manager = open_manager(redis={"lease_ttl": 30.0})
    sid = manager.create_or_resume_session()
    manager.store.begin_turn(sid, "Hi", turn_id="job")
    work = manager.agent.turns._work
    with pytest.raises(SessionBusy):
        next(work.resume(manager.agent.thread(sid), None, pauses=True, waits=False))


def test_a_turn_of_another_agent_is_left_to_its_instances(open_manager: Open) -> None:
    manager = open_manager(redis={"lease_ttl": 0.3})
    recovery = manager.store.parts.recovery
    manager.agent.background.stop(LIMIT)
    sid = manager.create_or_resume_session()
    recovery.ask(sid)
    manager.store.begin_turn(sid, "Hi", turn_id="job")
    until(lambda: manager.turn(sid, "job").state == "abandoned")
    until(lambda: recovery.claim_abandoned("Another") == [] and _is_due(manager, sid))
    assert recovery.claim_abandoned(manager.agent.config.name) == [sid]
    assert recovery.claim_abandoned(manager.agent.config.name) == []  # it is claimed


def _is_due(manager: SessionManager, sid: str) -> bool:
    return entries(manager)[sid] <= time.time() * 1000


def test_a_moved_session_is_found_under_its_new_id(open_manager: Open) -> None:
    manager = open_manager(redis={"lease_ttl": 0.3})
    sid = manager.create_or_resume_session("ada")
    manager.agent.background.remove("recover")
    manager.store.parts.recovery.ask(sid)
    manager.store.begin_turn(sid, "Hi", turn_id="job")
    until(lambda: manager.turn(sid, "job").state == "abandoned")
    renewed = manager.renew_session_id(sid)
    assert list(entries(manager)) == [renewed]
    other = open_manager()
    until(lambda: other.turn(renewed, "job").state == "completed")


def test_one_that_is_parked_is_not_finished(open_manager: Open) -> None:
    manager = open_manager(redis={"lease_ttl": 0.3})
    manager.agent.background.stop(LIMIT)
    sid = manager.create_or_resume_session("ada")
    manager.store.parts.recovery.ask(sid)
    manager.store.begin_turn(sid, "Hi", turn_id="job")
    keys = manager.store.parts.core.keys
    manager.store.client.hset(keys.metadata(sid), "waits", "job holder adigest")
    assert manager.turn(sid, "job").state == "waiting"
    recovery = manager.store.parts.recovery
    until(lambda: not recovery.claim_abandoned("x") and entries(manager)[sid] == float("inf"))
    manager.end_session(sid)
    assert entries(manager) == {}


def test_tools_are_those_of_whoever_goes_on(store_url: str) -> None:
    ran: list[str] = []
    tools = ToolRegistry()

    @tools.tool
    def note(text: str) -> str:
        """Note it."""
        ran.append(text)
        return "noted"

    with instance(store_url, tools=tools) as manager:
        sid = manager.create_or_resume_session()
        manager.store.parts.recovery.ask(sid)
        turn = manager.store.begin_turn(sid, "Note it!", turn_id="job")
        call = Message("assistant", "", (ToolCall("c1", "note", {"text": "milk"}),))
        manager.store.stage_step(turn, [call])
        until(lambda: manager.turn(sid, "job").state == "completed")
    assert ran == ["milk"]
