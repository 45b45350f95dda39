"""Runs named turns with tools under a limit of time, and repeats each that the limit breaks off.

Arguments: URL, "alarm" or "gevent", number of turns, a number for its dice. The limit is raised at
a random point: by a handler of SIGALRM, or by gevent.Timeout. In the end it says how often it was
raised, what else came in its place, and which calls of the tool were run how often.
"""

# ruff: noqa: E402 (gevent has to patch before anything else is imported)
from __future__ import annotations

import sys

url, kind, turns, seed = sys.argv[1:]
if kind == "gevent":
    from gevent import monkey

    monkey.patch_all()

import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from miniagent_redis import (
    AgentConfig,
    RedisConfig,
    SessionAgent,
    SessionManager,
    ToolCall,
    ToolContext,
    ToolRegistry,
)
from miniagent_redis.llm import Finish, ModelEvent, ModelRequest, TextDelta
from tests.support.programs.talking import say

dice = random.Random(int(seed))
runs: Counter[str] = Counter()
tools = ToolRegistry()
SHORT, LONG = 0.06, 60.0  # seconds


class TooLongError(Exception):
    """What the handler raises."""


@tools.tool(idempotent=False)
def pay(context: ToolContext) -> str:
    """Pay it."""
    runs[f"{context.turn_id} {context.call_id}"] += 1
    time.sleep(dice.random() * 0.01)
    return "paid"


class Payer:
    """Pays twice, and says so in two pieces."""

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        said = 0
        for message in reversed(request.messages):
            if message.role == "user":
                break
            said += message.role == "assistant"
        time.sleep(dice.random() * 0.005)
        if said < 2:
            yield ToolCall(f"p{said}", "pay", {})
            yield Finish("tool_calls")
        else:
            yield from (TextDelta("it is "), TextDelta("paid"), Finish())


def too_long(*_: object) -> None:
    raise TooLongError


@contextmanager
def limit(seconds: float) -> Iterator[type[BaseException]]:
    """Raise in the block after so many seconds; give what is raised."""
    if kind == "gevent":
        from gevent import Timeout

        with Timeout(seconds):
            yield Timeout
        return
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        yield TooLongError
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


config = AgentConfig(model=Payer(), busy_timeout=30.0)
raised, others = 0, []
signal.signal(signal.SIGALRM, too_long)
with SessionAgent(config, tools, redis_config=RedisConfig(url=url, lease_ttl=1.0)) as agent:
    manager = SessionManager(agent)
    for number in range(int(turns)):
        for seconds in (dice.uniform(0.0005, SHORT), dice.uniform(0.0005, SHORT), LONG):
            try:
                with limit(seconds):
                    manager.run("s", "Pay it.", turn_id=f"t{number}")
                break
            except BaseException as exc:
                if type(exc).__name__ in ("TooLongError", "Timeout"):
                    raised += 1
                else:
                    others.append(repr(exc))
    last = manager.chat("s", "Pay it.")
say(raised=raised, others=others, runs=runs, last=last)
