"""An agent with an expiry hook, which has turns to do at the same time.

Arguments: URL, lease in seconds, what the hook takes in seconds, the name of this process. The
hook hangs in the session "bad", and writes the name to the key "hung". A turn in the session
"held-NAME" runs from the beginning to ``tell``, which says what the hook was told, and how long the
other turns took.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

from miniagent_redis import AgentConfig, RedisConfig, SessionAgent, SessionManager
from miniagent_redis.models import ExpiredSession
from tests.support.programs.talking import orders, say

url, lease, takes, name = sys.argv[1:]
told: list[str] = []
times: list[float] = []
turns: list[float] = []
over = threading.Event()


def answer(messages: list[dict[str, Any]]) -> str:
    if messages[-1]["content"] == "hold":
        over.wait()
    return "yes"


agent = SessionAgent(
    AgentConfig(model=answer), redis_config=RedisConfig(url=url, lease_ttl=float(lease))
)


@agent.on_expire
def hook(expired: ExpiredSession) -> None:
    told.append(expired.session_id)
    times.append(time.monotonic())
    if expired.session_id == "bad":
        agent.store.client.set("hung", name)
        threading.Event().wait()
    time.sleep(float(takes))


def chat(manager: SessionManager, session_id: str) -> None:
    while not over.is_set():
        began = time.monotonic()
        manager.chat(session_id, "Hello")
        turns.append(time.monotonic() - began)
        over.wait(0.05)


manager = SessionManager(agent.initialize())
held = manager.create_or_resume_session(session_id=f"held-{name}")
agent.submit(held, "hold")
chatting = threading.Thread(
    target=chat, args=(manager, manager.create_or_resume_session()), daemon=True
)
chatting.start()
say(ready=True)
for order in orders():
    if order.get("tell"):
        over.set()
        chatting.join()
        span = times[-1] - times[0] if len(times) > 1 else 0.0
        say(told=told, seconds=span, turns=turns)
