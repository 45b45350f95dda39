"""An outage at each point of a turn, and then what the error's hint says is done: nothing twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import product
from typing import Any

import pytest

from miniagent_redis import (
    AgentConfig,
    MiniAgentError,
    RedisConfig,
    RedisSessionManager,
    SessionAgent,
    SessionNotFound,
    ToolRegistry,
    TurnNotSaved,
    TurnUncertain,
)
from miniagent_redis.llm import Finish, TextDelta, ToolCall
from miniagent_redis.session.results import to_its_end
from tests.support.fault_report import FaultRun
from tests.support.proxy import Proxy
from tests.support.scripts import load_scripts
from tests.support.servers import RedisServer
from tests.support.waiting import until

MESSAGE = "pay the bill"
FOR_EVER = 1_000_000
POINTS = ("begin", "first reply", "tool", "answer")
OUTAGES = ("away", "unanswered", "one reply lost", "refused")
REFUSAL = (
    "-MISCONF Redis is configured to save RDB snapshots, but it's unable to persist to disk.\r\n"
)
METHODS: dict[str, Callable[[SessionAgent], Any]] = {
    "run": lambda agent: agent.run("s", MESSAGE),
    "submit": lambda agent: agent.submit("s", MESSAGE).result(30),
    "stream": lambda agent: to_its_end(agent.stream("s", MESSAGE)),
}
LATER = ("at once", "after the lease", "when the background thread has dropped it")


class Bank:
    """A model that calls a tool and then answers; at one point of it Redis goes away."""

    name = "bank"

    def __init__(self, proxy: Proxy, point: str, outage: str) -> None:
        self._proxy = proxy
        self._point = point
        self._outage = outage
        self.tools = ToolRegistry()
        self.tools.tool(self.pay)

    def reach(self, point: str) -> None:
        if point != self._point:
            return
        self._point = ""
        if self._outage == "away":
            self._proxy.refuse()
            self._proxy.cut()
        elif self._outage == "refused":
            self._proxy.answer(REFUSAL, FOR_EVER)
        else:
            self._proxy.lose_replies(1 if "one" in self._outage else FOR_EVER)

    def pay(self) -> str:
        """Pay."""
        self.reach("tool")
        return "paid"

    def stream(self, request: Any) -> Iterator[Any]:
        if request.messages[-1].role == "user":
            self.reach("first reply")
            yield ToolCall("1", "pay", {})
            yield Finish("tool_calls")
        else:
            yield TextDelta("It is paid.")
            self.reach("answer")
            yield Finish("stop")


def follow(
    agent: SessionAgent, method: Callable[[SessionAgent], Any], error: MiniAgentError
) -> str:
    """Do what the error's hint says; return what that was."""
    hint = error.hint
    if "do not send" in hint:
        agent.background.run_all()
        return "stored later"
    if "resolve_turn" in hint:
        assert isinstance(error, TurnUncertain)
        if agent.store.resolve_turn("s", error.turn_id) == "committed":
            return "it was stored"
    elif isinstance(error, TurnNotSaved):
        assert "send the message again" in hint, hint
    method(agent)
    return "sent again"


def play(
    redis_server: RedisServer, direct: RedisSessionManager, case: tuple[str, str, str, str]
) -> str:
    """Let one turn meet an outage, follow the hint, and look; return what was told."""
    point, outage, name, later = case
    with suppress(SessionNotFound):
        direct.delete_session("s")
    direct.create_session("s")
    with Proxy(redis_server.socket) as proxy:
        bank = Bank(proxy, point, outage)
        config = AgentConfig(model=bank)
        redis_config = RedisConfig(url=proxy.url, commit_timeout=0.3)
        with SessionAgent(config, bank.tools, redis_config=redis_config) as agent:
            agent.store.get_session("s")
            if later != "when the background thread has dropped it":
                agent.background.stop()
            bank.reach("begin")
            told = "answered"
            error: MiniAgentError | None = None
            try:
                METHODS[name](agent)
            except MiniAgentError as exc:
                error, told = exc, type(exc).__name__
            proxy.lose_replies(0)
            if outage == "away":
                proxy.listen()
            until(agent.store.health_check)
            if later == "after the lease":
                direct.client.hset("metadata:{s}", "lease", 0)
            if later == "when the background thread has dropped it" and error is not None:
                until(lambda: direct.session_state("s").open_turn is None)
            if error is not None:
                told += ": " + follow(agent, METHODS[name], error)
    thread = [(message.role, message.text) for message in direct.load_thread("s").messages]
    assert thread == [
        ("user", MESSAGE), ("assistant", ""), ("tool", "paid"), ("assistant", "It is paid."),
    ], (case, told)  # fmt: skip
    state, spent = direct.session_state("s"), direct.usage(session_id="s")
    assert state.open_turn is None
    assert (state.turns, spent.turns) == (1, 1)
    assert spent.failed_turns <= 1
    return told


def test_a_hint_that_is_followed_doubles_nothing(
    faults: FaultRun, redis_server: RedisServer, redis_url: str
) -> None:
    cases = list(product(POINTS, OUTAGES, METHODS, LATER))
    faults.random.shuffle(cases)
    cases = cases[: faults.times(12, len(cases))]
    load_scripts(redis_server.socket)
    told: Counter[str] = Counter()
    with RedisSessionManager(RedisConfig(url=redis_url)) as direct:
        for case in cases:
            load_scripts(redis_server.socket)
            told[play(redis_server, direct, case)] += 1
        everything = direct.usage()
    faults.report(turns=len(cases), **{what.replace(" ", "_"): n for what, n in told.items()})
    assert everything.turns == len(cases), everything


@pytest.mark.parametrize("outage", ["away", "unanswered"])
def test_an_error_of_a_turn_that_was_dropped_says_so(
    redis_server: RedisServer, redis_url: str, outage: str
) -> None:
    """Redis is back when the turn is given up: nothing of it is stored, and that is told."""
    with RedisSessionManager(RedisConfig(url=redis_url)) as direct:
        load_scripts(redis_server.socket)
        told = play(redis_server, direct, ("answer", outage, "run", "after the lease"))
    assert told != "answered"
