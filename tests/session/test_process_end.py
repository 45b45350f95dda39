"""How a program may end: forgetting to shut down, forking, being told to end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import Any

import pytest

from miniagent_redis import AgentConfig, ModelError, RedisConfig, SessionAgent, SessionManager

LIMIT = 30

FORGETFUL = """
import sys
from miniagent_redis import AgentConfig, RedisConfig, SessionAgent, SessionManager

agent = SessionAgent(AgentConfig(name="Forgetful"), redis_config=RedisConfig(url=sys.argv[1]))
agent.initialize()
manager = SessionManager(agent)
older = manager.create_or_resume_session(user_id="ada")
newer = manager.create_or_resume_session(user_id="ada")
future = agent.submit(older, "Hello!")
print(older, newer)
"""


def test_a_forgotten_agent_warns_and_loses_nothing(redis_url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORGETFUL, redis_url],
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert done.returncode == 0
    assert "'Forgetful' was never shut down" in done.stderr
    older, newer = done.stdout.split()
    with SessionAgent(redis_config=RedisConfig(url=redis_url)) as agent:
        manager = SessionManager(agent)
        assert [m["role"] for m in manager.get_history(older)] == ["user", "assistant"]
        # What it had noted for the index was written too.
        key = agent.store.parts.core.keys.user_sessions("ada")
        assert agent.store.client.zrevrange(key, 0, -1) == [older.encode(), newer.encode()]


UNREAD = """
import sys
from miniagent_redis import AgentConfig, RedisConfig, SessionAgent, SessionManager

with SessionAgent(AgentConfig(), redis_config=RedisConfig(url=sys.argv[1])) as agent:
    manager = SessionManager(agent)
    session_id = manager.create_or_resume_session()
    stream = manager.stream(session_id, "Hello!")
    next(stream)
print(session_id, *stream)
"""


def test_a_stream_that_was_not_read_to_its_end_is_dropped(redis_url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", UNREAD, redis_url], capture_output=True, text=True, timeout=LIMIT
    )
    assert (done.returncode, done.stderr) == (0, "")
    with SessionAgent(redis_config=RedisConfig(url=redis_url)) as agent:
        state = agent.store.session_state(done.stdout.strip())
        assert (state.open_turn, state.message_count) == (None, 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_chats_on_connections_of_its_own(redis_url: str) -> None:
    with SessionAgent(redis_config=RedisConfig(url=redis_url)) as agent:
        manager = SessionManager(agent)
        session_id = manager.create_or_resume_session()
        manager.chat(session_id, "My name is Ada.")
        children = []
        for _ in range(3):
            child = os.fork()
            if child == 0:
                try:
                    ok = "Ada" in manager.chat(session_id, "What is my name?")
                    ok = ok and agent.background.is_running
                    os._exit(0 if ok else 1)
                except BaseException:
                    os._exit(2)
            children.append(child)
        assert "Ada" in manager.chat(session_id, "What is my name?")
        ended = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        assert ended == [0, 0, 0]
        texts = [m["content"] for m in manager.get_history(session_id)]
        assert len(texts) == 2 * 5
        assert texts[3::2] == ["Your name is Ada."] * 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_that_ends_without_a_word_loses_nothing_that_is_counted(
    redis_url: str,
) -> None:
    with SessionAgent(redis_config=RedisConfig(url=redis_url)) as agent:
        manager = SessionManager(agent)
        ids = [manager.create_or_resume_session("ada") for _ in range(3)]
        agent.store.subscribe(["session_updates"])
        for session_id in (ids[1], ids[2], ids[0]):
            child = os.fork()
            if child == 0:
                try:
                    for text in ("one", "two", "three"):
                        manager.chat(session_id, text)
                    with suppress(ModelError):
                        SessionManager(failing(redis_url)).chat(session_id, "four")
                finally:
                    os._exit(0)
            os.waitpid(child, 0)
        for totals in (manager.usage(), manager.usage(user_id="ada")):
            assert (totals.turns, totals.failed_turns) == (9, 3)
        # As they are listed, and as the index has them.
        assert [entry["session_id"] for entry in manager.list_sessions("ada")] == [
            ids[0], ids[2], ids[1],
        ]  # fmt: skip
        told = [note["data"]["session_id"] for note in agent.store.get_messages(timeout=0.2)]
        assert set(told) == set(ids)


def failing(redis_url: str) -> SessionAgent:
    def fail(messages: list[dict[str, Any]]) -> str:
        raise RuntimeError("no answer")

    config = AgentConfig(model=fail)
    return SessionAgent(config, redis_config=RedisConfig(url=redis_url)).initialize()


STOPPED = """
import signal, sys, threading
from miniagent_redis import AgentConfig, RedisConfig, SessionAgent, SessionManager

signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
with SessionAgent(redis_config=RedisConfig(url=sys.argv[1])) as agent:
    manager = SessionManager(agent)
    session_id = manager.create_or_resume_session()
    manager.chat(session_id, "My name is Ada.")
    print(session_id, flush=True)
    threading.Event().wait(60)
"""


def test_a_program_that_is_told_to_end_ends_in_order(redis_url: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED, redis_url], stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        session_id = program.stdout.readline().strip()
        program.send_signal(signal.SIGTERM)
        assert program.wait(LIMIT) == 143
    with SessionAgent(redis_config=RedisConfig(url=redis_url)) as agent:
        assert len(SessionManager(agent).get_history(session_id)) == 2
