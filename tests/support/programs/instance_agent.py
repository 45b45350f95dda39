"""One instance of a program among several that chat in the same session.

Arguments: URL, lease in seconds. Orders: ``open`` starts anew on another session, ``ask`` sends
messages one after another in a thread of its own, ``go_on`` ends the answer to "hold", ``resume``
finishes an abandoned turn, ``view`` tells what this instance has of the thread.
"""

from __future__ import annotations

import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from miniagent_redis import (
    AgentConfig,
    MiniAgentError,
    RedisConfig,
    SessionAgent,
    SessionManager,
    TurnResult,
)
from miniagent_redis.llm import Finish, ModelEvent, ModelRequest, TextDelta
from tests.support.programs.talking import orders, say

PIECE = 0.02  # seconds between two pieces of a long answer
url, lease = sys.argv[1:]
go_on = threading.Event()


class Witness:
    """Answers with a checksum of all that it was shown; to "hold", when it is told to go on."""

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        if request.messages[-1].text == "hold":
            say(began=True)
            while not go_on.wait(PIECE):
                yield TextDelta("")
        shown = "\n".join(message.text for message in request.messages)
        yield TextDelta(str(zlib.crc32(shown.encode())))
        yield Finish()


def tell_outcome(name: str, run: Callable[[], TurnResult | None]) -> None:
    """Say how the call ended, and how long it took."""
    said: dict[str, Any] = {"text": name, "error": None}
    began = time.monotonic()
    try:
        if done := run():
            said |= {"answer": done.text, "version": done.version, "turn": done.turn_id}
    except MiniAgentError as exc:
        said["error"] = type(exc).__name__
        said["lease_remaining"] = getattr(exc, "lease_remaining", None)
    say(**said, seconds=time.monotonic() - began)


def ask(manager: SessionManager, session_id: str, texts: list[str]) -> None:
    for text in texts:
        tell_outcome(text, partial(manager.run, session_id, text))


def open_agent(settings: dict[str, Any]) -> SessionAgent:
    config = AgentConfig(model=Witness(), **settings)
    redis = RedisConfig(url=url, lease_ttl=float(lease))
    return SessionAgent(config, redis_config=redis).initialize()


agent = open_agent({})
manager, session = SessionManager(agent), ""
say(ready=True)
for order in orders():
    if session_id := order.get("open"):
        agent.shutdown()
        agent = open_agent(order["settings"])
        manager, session = SessionManager(agent), session_id
        go_on.clear()
    elif texts := order.get("ask"):
        threading.Thread(target=ask, args=(manager, session, texts), daemon=True).start()
    elif order.get("go_on"):
        go_on.set()
    elif order.get("resume"):
        tell_outcome("resume", partial(manager.resume_turn, session))
    elif order.get("view"):
        say(view=[message.id for message in agent.thread(session).refresh()])
