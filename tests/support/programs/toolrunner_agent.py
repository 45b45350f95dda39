"""Chats with tools in forked children that are killed, one after another.

Arguments: URL, session, lease in seconds, a file for what the tools did. Each order starts a child
that chats on from the message ``number`` until it is killed.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from collections.abc import Iterator

from miniagent_redis import (
    AgentConfig,
    Message,
    RedisConfig,
    SessionAgent,
    SessionManager,
    ToolCall,
    ToolRegistry,
)
from miniagent_redis.llm import Finish, ModelEvent, ModelRequest, TextDelta
from tests.support.programs.talking import orders, say

PARENT = os.getpid()
url, session_id, lease, log = sys.argv[1:]
tools = ToolRegistry()


def work(name: str, key: str) -> str:
    """Be at work for a moment, with a line in the file in the middle."""
    threading.Event().wait(random.uniform(0, 0.004))
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{name} {key}\n".encode())
    os.close(file)
    threading.Event().wait(random.uniform(0, 0.004))
    return f"{name}:{key}"


@tools.tool(idempotent=False)
def charge(key: str) -> str:
    """Do what must not be done twice."""
    return work("charge", key)


@tools.tool
def look(key: str) -> str:
    """Look something up."""
    return work("look", key)


@tools.tool
def total(key: str) -> str:
    """Add something up."""
    return work("total", key)


class Clerk:
    """Looks and charges at once, adds up, and answers with what the tools told."""

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        last = max(i for i, message in enumerate(request.messages) if message.role == "user")
        key, steps = request.messages[last].text, request.messages[last + 1 :]
        told = [message for message in steps if message.role == "tool"]
        yield TextDelta(" ")
        if not told:
            yield from (_call("charge", key), _call("look", key), Finish("tool_calls"))
        elif len(told) == 2:
            yield from (_call("total", key), Finish("tool_calls"))
        else:
            yield TextDelta(" ".join(map(_shown, told)))
            yield Finish()


def _call(name: str, key: str) -> ToolCall:
    return ToolCall(f"{name}-{key}", name, {"key": key})


def _shown(result: Message) -> str:
    return result.text.partition(",")[0].replace(" ", "_").partition(":_")[0]


def chat_on(number: int) -> None:
    config = RedisConfig(url=url, lease_ttl=float(lease))
    agent = SessionAgent(AgentConfig(model=Clerk()), tools, redis_config=config).initialize()
    manager = SessionManager(agent)
    say(ready=os.getpid())
    while os.getppid() == PARENT:
        done = manager.run(session_id, f"m{number}")
        say(text=f"m{number}", version=done.version, turn=done.turn_id)
        number += 1


child = 0


def end_child() -> None:
    if child:
        os.kill(child, signal.SIGKILL)


say(ready=True)
for order in orders(at_end=end_child):
    child = os.fork()
    if not child:
        try:
            chat_on(order["number"])
        finally:
            os._exit(1)
    os.waitpid(child, 0)
    child = 0
    say(reaped=True)
