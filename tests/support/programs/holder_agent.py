"""Holds turns that do not end by themselves, and tells how they ended. Lives through many rounds.

Arguments: URL, lease in seconds. Each order names two sessions: ``session`` is for a turn of the
agent, ``raw`` for one of the store's own, which nobody renews.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from miniagent_redis import (
    AgentConfig,
    Event,
    EventType,
    Message,
    MiniAgentError,
    RedisConfig,
    SessionAgent,
    StoreUnavailable,
    StreamCallback,
    ToolCall,
    ToolRegistry,
    TurnUncertain,
)
from miniagent_redis.llm import Finish, ModelEvent, ModelRequest, TextDelta
from miniagent_redis.models import OpenTurn
from tests.support.programs.talking import orders, say

ROUND = 60.0  # seconds that no turn lasts
tools = ToolRegistry()
over = threading.Event()
raw: OpenTurn
writes: list[str] = []


@tools.tool
def hang() -> str:
    """Run until the round is over."""
    say(began=True)
    over.wait(ROUND)
    return "hung"


class Endless:
    """Does what the message says: ``stream``, ``tool`` or ``fork``."""

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        match request.messages[-1].text:
            case "tool":
                yield ToolCall("c", "hang")
                yield Finish("tool_calls")
            case "stream":
                say(began=True)
                while True:
                    yield TextDelta("still ")
                    over.wait(0.02)
            case "fork":
                yield TextDelta("it was ")
                yield TextDelta("the parent")
                yield Finish()


def fork(event: Event) -> None:
    """Let a child go on with a turn at its first piece of text; the parent does, too."""
    if event.text == "it was " and (child := os.fork()):
        os.waitpid(child, 0)


def outcome(action: Callable[[], object]) -> str:
    """Return the name of the error that the call ends with, or "written"; asks until it is told."""
    while True:
        try:
            # Only abort_turn returns False: there was nothing to abort.
            return "refused" if action() is False else "written"
        except (StoreUnavailable, TurnUncertain):
            over.wait(0.02)
        except MiniAgentError as exc:
            return type(exc).__name__


def attempts(agent: SessionAgent, order: list[str]) -> dict[str, str]:
    """Try everything that the holder of the raw turn may do."""
    store = agent.store
    actions: dict[str, Callable[[], object]] = {
        "stage": lambda: store.stage_step(raw, [Message("tool", "zombie", tool_call_id="c")]),
        "commit": lambda: store.commit_turn(
            raw, [Message("tool", "zombie", tool_call_id="c"), Message("assistant", "zombie")]
        ),
        "abort": lambda: store.abort_turn(raw),
        "renew": lambda: store.renew_lease(raw),
    }
    return {name: outcome(actions[name]) for name in order}


def play(agent: SessionAgent, order: dict[str, Any]) -> None:
    global raw, over
    over = threading.Event()
    me = os.getpid()
    raw = agent.store.begin_turn(order["raw"], "raw")
    raw = agent.store.stage_step(raw, [Message("assistant", "", (ToolCall("c", "hang"),))])
    try:
        ended = outcome(lambda: agent.run(order["session"], order["text"]))
    finally:
        over.set()
    said = {"ended": ended, "at": time.monotonic(), "is_child": os.getpid() != me}
    if order["text"] == "fork" and os.getpid() == me:
        # The parent is the holder still.
        answers = [Message("tool", "ok", tool_call_id="c"), Message("assistant", "the parent")]
        said["raw"] = outcome(lambda: agent.store.commit_turn(raw, answers))
    else:
        said["attempts"] = attempts(agent, order["attempts"])
    say(**said)
    if os.getpid() != me:
        os._exit(0)


url, lease = sys.argv[1:]
config = RedisConfig(url=url, lease_ttl=float(lease), socket_timeout=0.5)
callbacks = StreamCallback()
callbacks.on(EventType.TEXT_DELTA, fork)
with SessionAgent(
    AgentConfig(model=Endless()), tools, redis_config=config, callbacks=callbacks
) as agent:
    say(ready=True)
    for order in orders():
        play(agent, order)
