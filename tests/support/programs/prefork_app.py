"""A WSGI application for ``gunicorn --preload``: the agent is open before the workers are forked.

POST /SESSION/TEXT answers with two lines of JSON: which worker it is, at once, and its answer.
"""

from __future__ import annotations

import atexit
import json
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

from miniagent_redis import AgentConfig, RedisConfig, SessionAgent, SessionManager

LEASE = float(os.environ["LEASE"])


def answer(messages: list[dict[str, Any]]) -> str:
    """Answer a "slow" message only when its lease would have ended, were it not renewed."""
    text = messages[-1]["content"]
    if text.startswith("slow"):
        threading.Event().wait(LEASE * 1.5)
    elif text == "endless":
        threading.Event().wait(60)
    return f"re: {text}"


config = RedisConfig(url=os.environ["REDIS_URL"], lease_ttl=LEASE)
agent = SessionAgent(AgentConfig(model=answer), redis_config=config).initialize()
atexit.register(agent.shutdown)
manager = SessionManager(agent)


def application(
    environ: dict[str, Any], start_response: Callable[[str, list[tuple[str, str]]], object]
) -> Iterator[bytes]:
    _, session_id, text = environ["PATH_INFO"].split("/")
    start_response("200 OK", [("Content-Type", "application/x-ndjson")])
    yield line(pid=os.getpid(), background=agent.background.is_running)
    manager.create_or_resume_session(session_id=session_id)
    done = manager.run(session_id, text)
    yield line(answer=done.text, version=done.version)


def line(**words: Any) -> bytes:
    return json.dumps(words).encode() + b"\n"
