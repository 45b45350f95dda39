"""A program whose model takes Redis away while it answers, for tests of the spool."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from miniagent_redis import (
    AgentConfig,
    Event,
    RedisConfig,
    SessionAgent,
    SessionManager,
    StreamCallback,
)
from miniagent_redis.models import Message, UsageTotals
from tests.support.servers import RedisServer


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
        return f"answer to {messages[-1]['content']}"

    def said(self, session_id: str) -> list[str]:
        return [message["content"] for message in self.manager.get_history(session_id)]


def waiting(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.turn"))


def spool_turn(program: Program, turn: Any, text: str) -> None:
    assert program.agent.spool is not None
    program.agent.spool.keep(turn, [Message("assistant", text)], UsageTotals())
