"""Chats in a session of its own until stdin says otherwise, whatever becomes of the databases.

Arguments: URL, session. It says each turn that was acknowledged, with how long it took; in the end
what it was told instead, by name, and how often.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter

from miniagent_redis import (
    AgentConfig,
    MiniAgentError,
    RedisConfig,
    SessionAgent,
    SessionManager,
    SessionNotFound,
)
from tests.support.programs.talking import orders, say

LEASE, PATIENCE = 2.0, 30.0  # seconds
url, session = sys.argv[1:]
over = threading.Event()
told: Counter[str] = Counter()


def wait_for_the_end() -> None:
    for _ in orders():
        break
    over.set()


threading.Thread(target=wait_for_the_end, daemon=True).start()
config = RedisConfig(url=url, lease_ttl=LEASE, commit_timeout=PATIENCE)
agent = SessionAgent(AgentConfig(model=lambda messages: "yes"), redis_config=config)
with agent:
    manager = SessionManager(agent)
    agent.store.create_session(session)
    number, last = 0, time.monotonic()
    while not over.wait(0.005):
        number += 1
        text = f"{session}-{number}"
        try:
            manager.chat(session, text)
        except SessionNotFound:  # as in a database that never heard of it
            told["SessionNotFound"] += 1
            agent.store.create_session(session)
            continue
        except MiniAgentError as exc:
            told[type(exc).__name__] += 1
            continue
        now = time.monotonic()
        say(stored=text, took=now - last)
        last = now
say(told=told)
