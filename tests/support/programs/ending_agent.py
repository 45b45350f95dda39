"""Chats, and ends in one of the ways in which a program may end.

Arguments: URL, session, lease in seconds, care ("with" or "forgotten"), moment, ending. It reads
nothing: a thread that waits for stdin is fatal at the end of the interpreter.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator

from miniagent_redis import AgentConfig, RedisConfig, SessionAgent, SessionManager
from miniagent_redis.llm import Finish, ModelEvent, ModelRequest, TextDelta
from tests.support.programs.talking import say

LONGEST = 60.0  # seconds that nothing here takes; so it ends without its test, too
SHORT = 0.5
url, session_id, lease, care, moment, ending = sys.argv[1:]
is_forked = moment == "forked"
at_work = threading.Event()


class Tell(logging.Handler):
    """Tells the test what is logged."""

    def emit(self, record: logging.LogRecord) -> None:
        say(logged=record.getMessage(), pid=os.getpid())


class Answers:
    """Answers "first" at once; the program may end while "second" is being answered."""

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        text = request.messages[-1].text
        yield TextDelta("re: ")
        if text == "second":
            at_work.set()
            if moment == "turn":
                leave()
            elif moment != "forked":
                threading.Event().wait(SHORT if moment == "submitted" else LONGEST)
        yield TextDelta(text)
        yield Finish()


def leave() -> None:
    """End, or wait to be ended by a signal."""
    say(leaving=True, pid=os.getpid())
    match ending:
        case "exit":
            sys.exit(7)
        case "error":
            raise RuntimeError("as the test wants it")
        case "os._exit":
            os._exit(8)
        case "SIGTERM" | "handled SIGTERM":
            threading.Event().wait(LONGEST)


def work(agent: SessionAgent) -> None:
    manager = SessionManager(agent)
    manager.chat(session_id, "first")
    say(began=True)
    match moment:
        case "idle":
            leave()
        case "turn":
            manager.chat(session_id, "second")
        case "submitted" | "hung":
            agent.submit(session_id, "second")
            at_work.wait(LONGEST)
            leave()
        case "forked":
            fork(agent, manager)


def fork(agent: SessionAgent, manager: SessionManager) -> None:
    """Let a child chat and end, in the middle of a turn of this process."""
    turn = iter(manager.stream(session_id, "second"))
    while not at_work.is_set():
        next(turn)
    agent.store.acquire_lock(session_id)
    if child := os.fork():
        _, status = os.waitpid(child, 0)
        say(child=os.waitstatus_to_exitcode(status), at=time.monotonic())
        say(keeps_its_lock=agent.store.is_locked(session_id))
        for _ in turn:
            pass
    else:
        say(background=agent.background.is_running)
        manager.chat(f"{session_id}-child", "first")
        leave()


logging.getLogger("miniagent_redis").addHandler(Tell())
if ending == "handled SIGTERM":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
agent = SessionAgent(
    AgentConfig(model=Answers()), redis_config=RedisConfig(url=url, lease_ttl=float(lease))
)
if care == "with":
    with agent:
        work(agent)
else:
    agent.initialize()
    work(agent)
