"""A program with a spool, among several that share its folder.

Arguments: URL, folder, lease in seconds, a name, with which each of its answers begins. Orders:
``ask`` sends a message to each of some sessions, all at once, as soon as Redis answers; ``go_on``
ends the answers to those that begin with "hold" and were sent here: a turn of others that is taken
over is answered at once.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

from miniagent_redis import AgentConfig, MiniAgentError, RedisConfig, SessionAgent, SessionManager
from tests.support.programs.talking import orders, say
from tests.support.waiting import LIMIT, until

url, folder, lease, name = sys.argv[1:]
go_on = threading.Event()
mine: set[str] = set()


def model(messages: list[dict[str, Any]]) -> str:
    text: str = messages[-1]["content"]
    if text.startswith("hold") and text in mine:
        told = go_on  # before the test may give the order
        say(began=text)
        told.wait(LIMIT)
    return f"{name} to {text}"


def ask(session_id: str, text: str) -> None:
    mine.add(text)
    until(agent.store.health_check)
    said: dict[str, Any] = {"session": session_id, "text": text}
    try:
        result = manager.run(session_id, text)
        said |= {"answer": result.text, "persisted": result.persisted}
    except MiniAgentError as exc:
        said["error"] = repr(exc)
    say(**said)


config = RedisConfig(url=url, spool_dir=folder, lease_ttl=float(lease), commit_timeout=0.1)
agent = SessionAgent(AgentConfig(model=model), redis_config=config).initialize()
manager = SessionManager(agent)
say(ready=True)
for order in orders():
    if order.get("go_on"):
        go_on.set()
        go_on = threading.Event()
    for each, message in order.get("ask", {}).items():
        threading.Thread(target=ask, args=(each, message), daemon=True).start()
