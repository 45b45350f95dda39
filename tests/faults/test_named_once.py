"""Named, once: a turn sent by three callers at once, over lost replies, is one turn for all."""

from __future__ import annotations

import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from miniagent_redis import (
    AgentConfig,
    MiniAgentError,
    RedisConfig,
    SessionAgent,
    SessionManager,
    ToolRegistry,
    TurnResult,
)
from miniagent_redis.llm import Finish, TextDelta, ToolCall
from tests.support.fault_report import FaultRun
from tests.support.proxy import Proxy
from tests.support.scripts import load_scripts
from tests.support.servers import RedisServer

LOSE = 0.05
CALLERS = 3
LIMIT = 60.0
ran = Counter[str]()
tools = ToolRegistry()


@tools.tool
def buy(what: str) -> str:
    """Buy it, once."""
    ran[what] += 1
    return "bought"


class Buyer:
    """A model that buys what it is told to."""

    def stream(self, request: Any) -> Any:
        last = request.messages[-1]
        if last.role == "user":
            yield ToolCall("c1", "buy", {"what": last.text})
            yield Finish("tool_calls")
        else:
            yield TextDelta(f"bought {request.messages[-3].text}")
            yield Finish()


def test_a_turn_sent_three_times_at_once_is_done_once(faults: FaultRun) -> None:
    turns, sessions = faults.times(60, 1000), 4
    ran.clear()
    dice = random.Random(faults.random.random())
    different = again = 0
    with RedisServer("--appendonly", "yes") as server, Proxy(server.socket, dice) as proxy:
        load_scripts(server.socket)
        config = RedisConfig(url=proxy.url, lease_ttl=5)
        model = AgentConfig(model=Buyer(), busy_timeout=LIMIT)
        with (
            SessionAgent(model, tools, redis_config=config) as one,
            SessionAgent(model, tools, redis_config=config) as other,
            ThreadPoolExecutor(CALLERS * sessions) as pool,
        ):
            managers = [SessionManager(one), SessionManager(other), SessionManager(one)]
            ids = [managers[0].create_or_resume_session() for _ in range(sessions)]
            proxy.lose = LOSE
            for start in range(0, turns, sessions):
                names = [f"job-{number}" for number in range(start, min(start + sessions, turns))]
                asked = [
                    pool.submit(insist, manager, sid, name)
                    for sid, name in zip(ids, names, strict=False)
                    for manager in managers
                ]
                results = [each.result(LIMIT) for each in asked]
                again += sum(tries - 1 for _, tries in results)
                for at in range(0, len(results), CALLERS):
                    first = results[at][0]
                    different += sum(one != first for one, _ in results[at : at + CALLERS])
            proxy.lose = 0.0
            lost = proxy.lost
            stored = Counter(
                message["turn_id"]
                for sid in ids
                for message in managers[0].get_history(sid)
                if message["role"] == "user"
            )
    doubled = sum(count > 1 for count in stored.values())
    twice = sum(count > 1 for count in ran.values())
    faults.report(
        turns=turns,
        calls=turns * CALLERS,
        replies_lost=lost,
        called_again=again,
        missing=turns - len(stored),
        doubled=doubled,
        tools_run_twice=twice,
        different_results=different,
    )
    assert lost > 0
    assert (len(stored), doubled, twice, different) == (turns, 0, 0, 0)
    assert sum(ran.values()) == turns


def insist(manager: SessionManager, sid: str, name: str) -> tuple[TurnResult, int]:
    """Call with the same name until there is a result; return it, and how many calls it took."""
    end, tries = time.monotonic() + LIMIT, 0
    while True:
        tries += 1
        try:
            return manager.run(sid, f"a {name}", turn_id=name), tries
        except MiniAgentError:
            if time.monotonic() > end:
                raise
