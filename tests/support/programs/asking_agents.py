"""Many agents, each in a forked child, that all ask for the same tool result at once.

Arguments: URL, how many, a file for the runs of the tool. The orders, in this order: ``begin``, to
all children; ``finish``, to the tool, which waits for it; ``end``, when all have answered.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator

from miniagent_redis import (
    AgentConfig,
    RedisConfig,
    SessionAgent,
    SessionManager,
    ToolCall,
    ToolRegistry,
)
from miniagent_redis.llm import Finish, ModelEvent, ModelRequest, TextDelta
from tests.support.programs.talking import orders, say

url, count, log = sys.argv[1], int(sys.argv[2]), sys.argv[3]
begin, finish = os.pipe(), os.pipe()
tools = ToolRegistry()


@tools.tool(cache_ttl=600, shared=True)
def report(year: int) -> str:
    """Compute what is expensive."""
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{os.getpid()}\n".encode())
    os.close(file)
    say(runs=os.getpid())
    os.read(finish[0], 1)
    return f"the report of {year} by {os.getpid()}"


class Clerk:
    """Asks for the report, and answers with what it says."""

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        last = request.messages[-1]
        if last.role == "tool":
            yield TextDelta(last.text)
            yield Finish()
        else:
            yield ToolCall("call", "report", {"year": 2026})
            yield Finish("tool_calls")


def ask(number: int) -> None:
    agent = SessionAgent(AgentConfig(model=Clerk()), tools, redis_config=RedisConfig(url=url))
    with agent:
        manager = SessionManager(agent)
        session_id = manager.create_or_resume_session(f"user-{number}")
        say(ready=number)
        os.read(begin[0], 1)
        done = manager.run(session_id, "What does the report say?")
        say(text=done.text, hits=done.cache_hits, saved=done.saved_seconds)


children: list[int] = []


def end_children() -> None:
    for child in children:
        os.kill(child, signal.SIGKILL)


for number in range(count):
    child = os.fork()
    if not child:
        try:
            os.close(begin[1])
            os.close(finish[1])
            ask(number)
        finally:
            os._exit(0)
    children.append(child)
say(forked=count)
for order in orders(at_end=end_children):
    if "begin" in order:
        os.close(begin[1])
    elif "finish" in order:
        os.close(finish[1])
    else:
        for child in children:
            os.waitpid(child, 0)
        children.clear()
        say(ended=count)
