"""Asks and answers until it is killed: turns with a tool of its own, a declared, an approved one.

Arguments: URL, number of sessions, lease in seconds, a log file, a number for its dice. The log has
a line for each start of the approved tool, one for each turn that came to its answer, and one for
each time that Redis was away; each ends with the time, by the machine's monotonic clock. Told
``{"end": true}`` it asks nothing new, and answers until nothing waits.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

from miniagent_redis import (
    AgentConfig,
    Approve,
    Deny,
    MiniAgentError,
    RedisConfig,
    SessionAgent,
    SessionManager,
    SessionWaiting,
    StoreUnavailable,
    ToolCall,
    ToolContext,
    ToolRegistry,
    TurnNotSaved,
    TurnUncertain,
)
from miniagent_redis.llm import Finish, ModelEvent, ModelRequest, TextDelta
from miniagent_redis.store.parking import Answer
from tests.support.programs.talking import orders, say

url, sessions, lease, path, seed = sys.argv[1:]
dice = random.Random(int(seed))
tools = ToolRegistry()
tools.declare("pick", "Let somebody pick.", {"type": "object", "properties": {}})


def log(*words: str) -> None:
    """Write a line that is there even if the process is killed now."""
    with open(path, "ab", buffering=0) as file:
        file.write((" ".join((*words, f"{time.monotonic():.3f}")) + "\n").encode())


@tools.tool
def look() -> str:
    """Look at it."""
    return "seen"


@tools.tool(approve=True, idempotent=False)
def refund(context: ToolContext) -> str:
    """Pay it back."""
    log("refund", context.turn_id, context.call_id)
    threading.Event().wait(dice.random() * 0.02)
    return "refunded"


class Clerk:
    """Calls all three tools, twice, and then says what it heard."""

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        steps = 0
        for message in reversed(request.messages):
            if message.role == "user":
                break
            steps += message.role == "assistant"
        if steps < 2:
            for name in ("look", "refund", "pick"):
                yield ToolCall(f"{name}-{steps}", name, {})
            yield Finish("tool_calls")
        else:
            yield from (TextDelta("settled"), Finish())


def answer(manager: SessionManager) -> None:
    """Answer a turn that waits, all of its calls or one of them."""
    waiting = manager.list_waiting(limit=20)
    if not waiting:
        return
    turn = dice.choice(waiting)
    answers: dict[str, Answer] = {}
    for call in turn["calls"]:
        decision: Answer = Deny("no") if dice.random() < 0.3 else Approve()
        answers[call["id"]] = "blue" if call["waits_for"] == "result" else decision
    if dice.random() < 0.3:
        answers = dict([dice.choice(list(answers.items()))])
    result = manager.answer(turn["session_id"], turn["turn_id"], answers)
    if not result.waiting:
        log("done", result.turn_id)


def ask(manager: SessionManager) -> None:
    """Send a message to one of the sessions."""
    result = manager.run(f"s{dice.randrange(int(sessions))}", "Settle it.")
    if not result.waiting:
        log("done", result.turn_id)


def wait_for_redis(agent: SessionAgent) -> None:
    """Block until Redis answers: while it is known to be away every call fails at once."""
    while not agent.store.health_check():
        threading.Event().wait(0.05)


redis = RedisConfig(url=url, lease_ttl=float(lease))
config = AgentConfig(name="clerk", model=Clerk(), busy_timeout=2.0)
ending = threading.Event()


def listen() -> None:
    """Hear that nothing new is to be asked."""
    for _ in orders():
        ending.set()


with SessionAgent(config, tools, redis_config=redis) as agent:
    manager = SessionManager(agent)
    threading.Thread(target=listen, daemon=True).start()
    say(ready=os.getpid())
    while True:
        try:
            if ending.is_set():
                for number in range(int(sessions)):
                    with suppress(SessionWaiting):
                        agent.resume_turn(f"s{number}")
                if not manager.list_waiting():
                    break
            (answer if ending.is_set() or dice.random() < 0.6 else ask)(manager)
        except (StoreUnavailable, TurnNotSaved, TurnUncertain) as exc:
            log("away", type(exc).__name__, str(exc).replace("\n", " "))
            wait_for_redis(agent)
        except MiniAgentError as exc:
            if type(exc).__name__ not in ("SessionWaiting", "SessionBusy", "TurnSuperseded"):
                log("error", type(exc).__name__, str(exc).replace("\n", " "))
    say(ended=True)
