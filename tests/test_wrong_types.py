"""Whatever is given in place of what is wanted: an error says so, and never one of Python's own."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing
from typing import Any

import pytest

import miniagent_redis
from miniagent_redis import (
    AgentConfig,
    InvalidInput,
    Message,
    MiniAgentError,
    RateLimit,
    RedisConfig,
    RedisSessionManager,
    SessionAgent,
    SessionManager,
    SessionThread,
    ToolRegistry,
    aio,
)
from tests.support.calls import TABLES, public_methods

WRONG: list[Any] = [
    None, 42, -1, 1.5, float("nan"), True, "x", "", b"x", [], [1], ["x"], {}, {"x": 1}, (1,), print,
    object(), int, Message("user", "x"), RateLimit(per="session", window=1, requests=1),
    AgentConfig(), RedisConfig(url="memory://"), iter([1]), ...,
]  # fmt: skip
"""One of each kind of thing that people hand in."""
USUAL: dict[str, Any] = {
    "session_id": "s", "message": "Hello", "messages": [Message("user", "x")], "user_id": None,
    "data": {}, "agent_name": "", "ttl": 60, "timeout": 0.0, "busy_timeout": 0.0, "limit": 5,
    "before": None, "after": "", "cursor": None, "namespace": "acme", "day": None, "key": "k",
    "compute": int, "value": 1, "resource": "r", "channel": "c", "channels": ["c"], "keep": 1,
    "source": "s", "target": "t", "on_expire": [], "hook": print, "function": print, "role": "user",
    "content": "x", "turn_id": "t1", "limits": [], "error": None, "record": b"{}", "spent": None,
}  # fmt: skip
"""What the other arguments are meanwhile, where they have no default."""
NOT_GIVEN_BY_USERS = {
    "SessionThread.absorb", "SessionThread.committed",  # the agent calls these
    "RedisSessionManager.deserialize",  # raises any ValueError, by its contract
}  # fmt: skip


def parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    own = inspect.signature(function).parameters.values()
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return [one for one in own if one.kind not in kinds and one.name != "self"]


def methods() -> Iterator[tuple[type, str, str]]:
    for cls in TABLES:
        for name in public_methods(cls):
            method = inspect.getattr_static(cls, name)
            if callable(method) and f"{cls.__name__}.{name}" not in NOT_GIVEN_BY_USERS:
                for one in parameters(getattr(cls, name)):
                    yield cls, name, one.name


def to_its_end(got: Any) -> None:
    if isinstance(got, Future):
        got.result(20)
    elif inspect.isgenerator(got):
        with closing(got):
            next(got, None)


def try_each(call: Callable[[Any], Any]) -> None:
    for wrong in WRONG:
        told = ""
        try:
            to_its_end(call(wrong))
        except MiniAgentError as exc:
            told = str(exc)
        except BaseException as exc:
            raise AssertionError(f"{type(exc).__name__} for {wrong!r:.60}") from exc
        assert len(told) < 600


@pytest.mark.parametrize(("cls", "name", "argument"), [
    pytest.param(*found, id=f"{found[0].__name__}.{found[1]}-{found[2]}") for found in methods()
])  # fmt: skip
def test_an_argument_of_a_wrong_type_is_told(cls: type, name: str, argument: str) -> None:
    with SessionAgent(redis_config=RedisConfig(url="memory://")) as agent:
        store, manager = agent.store, SessionManager(agent)
        store.create_session("s")
        store.create_session("t")
        turn = store.begin_turn("t", "x")
        owners: dict[type, Any] = {
            RedisSessionManager: store, SessionManager: manager, SessionAgent: agent,
            SessionThread: agent.thread("s"),
        }  # fmt: skip
        method = getattr(owners[cls], name)
        wanted = [one for one in parameters(method) if one.name == argument or one.name in USUAL
                  or one.default is one.empty]  # fmt: skip
        given = {one.name: turn if one.name == "turn" else USUAL.get(one.name, one.default)
                 for one in wanted if one.name != argument}  # fmt: skip
        by_place = {one.name for one in wanted if one.kind is one.POSITIONAL_ONLY}

        def call(wrong: Any) -> Any:
            options = {**given, argument: wrong}
            places = [options.pop(one.name) for one in wanted if one.name in by_place]
            return method(*places, **options)

        if given.get("spent", 1) is None:
            del given["spent"]
        try_each(call)


CLASSES: list[Any] = [
    SessionAgent, SessionManager, RedisSessionManager, SessionThread, RedisConfig, AgentConfig,
]  # fmt: skip


@pytest.mark.parametrize(("cls", "argument"), [
    pytest.param(cls, one.name, id=f"{cls.__name__}-{one.name}")
    for cls in CLASSES for one in parameters(cls)
])  # fmt: skip
def test_what_an_object_cannot_be_made_of_is_told(cls: Any, argument: str) -> None:
    memory = RedisConfig(url="memory://")
    usual: dict[Any, dict[str, Any]] = {
        SessionAgent: {"redis_config": memory},
        RedisSessionManager: {"config": memory},
        SessionThread: {"store": RedisSessionManager(memory), "session_id": "s"},
    }

    def call(wrong: Any) -> None:
        made = cls(**{**usual.get(cls, {}), argument: wrong})
        if cls is SessionAgent:
            with made:
                manager = SessionManager(made)
                manager.chat(manager.create_or_resume_session(), "Hello")
        elif cls is RedisSessionManager:
            made.create_session("s")
        elif cls is AgentConfig:
            SessionAgent(made, redis_config=memory)

    try_each(call)


MEMORY = RedisConfig(url="memory://")


def greet(name: str) -> str:
    """Greet somebody."""
    return f"Hello {name}"


def no_agent(**given: Any) -> Callable[[], object]:
    return lambda: SessionAgent(**{"redis_config": MEMORY, **given})


LIMIT: Any = RateLimit(per="user", requests=1, window=1)
OTHER: Any = RedisSessionManager(RedisConfig(url="memory://other"))
anything: Any = lambda kind: kind  # noqa: E731  # for those who check no types
Agent, Manager, Store, Config, Settings, Thread = map(anything, (
    SessionAgent, SessionManager, RedisSessionManager, RedisConfig, AgentConfig, SessionThread,
))  # fmt: skip
TOLD: list[tuple[Callable[[], object], str]] = [
    (lambda: Agent("x"), r"config must be an AgentConfig, not a str. write AgentConfig\("),
    (lambda: Agent({}), "config must be an AgentConfig, not a dict"),
    (lambda: Agent(MEMORY), "not a RedisConfig. give it as redis_config="),
    (no_agent(callbacks=print), "callbacks must be a StreamCallback, not a builtin_function"),
    (no_agent(callbacks={}), "callbacks must be a StreamCallback, not a dict"),
    (no_agent(tools=greet), r"tools must be functions or a ToolRegistry, .* write tools=\[the_fu"),
    (no_agent(tools="calculator"), "tools must be functions or a ToolRegistry, not a str"),
    (no_agent(tools={}), "tools must be functions or a ToolRegistry, not a dict"),
    (no_agent(tools=[42]), "42 is no function, so it cannot be a tool"),
    (no_agent(redis_config="redis://:secret@h"), r"redis_config must be a RedisConfig, not a str"),
    (no_agent(store=MEMORY), "store must be a RedisSessionManager, not a RedisConfig"),
    (no_agent(store=OTHER), "redis_config stands beside a store that has other settings"),
    (no_agent(clock=5), r"clock must be an object with time\(\) and monotonic\(\)"),
    (lambda: Manager(None), r"agent must be a SessionAgent, not a NoneType"),
    (lambda: Manager(SessionAgent), r"agent must be a SessionAgent, not a class"),
    (lambda: Store("redis://:secret@h"), r"config must be a RedisConfig, not a str. write Redis"),
    (lambda: Thread(None, "s"), "store must be a RedisSessionManager"),
    (lambda: Settings(rate_limits=LIMIT), r"a list of RateLimit, .* write \[RateLimit\(…\)\]"),
    (lambda: Config(host="x:1"), r"host='x:1' is more than a name .* host='x', port=1"),
    (lambda: Config(host="[::1]:7"), "write host='::1', port=7"),
    (lambda: Config(host="redis://:secret@h"), "host is the name or address of a server, not a u"),
    (lambda: Config(host="user:secret@h"), "not a url. use url="),
    (lambda: Config(password=42), "password must be text, not an int"),
    (lambda: Config(ssl="no"), "ssl must be True or False, not 'no'"),
    (lambda: Config(namespace=None), "namespace must be text"),
    (lambda: Config(spool_dir=5), "spool_dir must be a text"),
    (lambda: OTHER.create_session("s", user_id=42), r"must be text, not int 42. use str\(…"),
    (lambda: OTHER.get_session("s", user_id=""), "user_id must be text, and not empty"),
    (lambda: OTHER.get_session("s", user_id=b"x"), "user_id must be text, not bytes"),
    (lambda: OTHER.sweep(print), r"on_expire must be a list of functions, .* write \[the_hook\]"),
    (lambda: OTHER.release_lock(5), "lock name must be a text"),
    (lambda: OTHER.load_thread("s", epoch="x"), "epoch must be a whole number"),
    (lambda: OTHER.cache_get_or_set("k", 5), "compute must be a function"),
    (lambda: OTHER.check_rate_limits(LIMIT, session_id="s"), "limits must be a list of RateLimit"),
]  # fmt: skip


@pytest.mark.parametrize(("attempt", "told"), TOLD, ids=[told for _, told in TOLD])
def test_it_is_told_what_is_wrong_and_what_to_write(
    attempt: Callable[[], object], told: str
) -> None:
    with pytest.raises(InvalidInput, match=told) as caught:
        attempt()
    assert "secret" not in str(caught.value)
    assert "leave it out" not in str(caught.value)


@pytest.mark.parametrize("host", ["localhost", "10.0.0.1", "::1", "fe80::1%eth0", "redis.local"])
def test_what_is_a_host_is_taken(host: str) -> None:
    assert RedisConfig(host=host).address.nodes == ((host, 6379),)


@pytest.mark.parametrize("tools", [[greet], (greet,), iter([greet]), {greet}])
def test_an_agents_tools_may_be_functions(tools: Any) -> None:
    agent = SessionAgent(tools=tools, redis_config=MEMORY)
    assert [tool.name for tool in agent.agent.tools] == ["greet"]
    with pytest.raises(InvalidInput, match="there is already a tool 'greet'"):
        SessionAgent(tools=[greet, greet], redis_config=MEMORY)


def test_an_agents_tools_may_be_those_of_a_registry() -> None:
    registry = ToolRegistry()
    slow = registry.add(greet, name="slow", timeout=600)
    agent = SessionAgent(tools=[slow, greet], redis_config=MEMORY)
    assert [tool.name for tool in agent.agent.tools] == ["slow", "greet"]
    assert agent.agent.tools.get("slow") is slow
    with pytest.raises(InvalidInput, match="two tools 'slow'"):
        SessionAgent(tools=[slow, ToolRegistry().add(greet, name="slow")], redis_config=MEMORY)


def test_functions_given_to_an_agent_for_asyncio_are_tools_of_its_event_loop() -> None:
    async def look() -> str:
        """Look."""
        return "seen"

    async def main() -> None:
        agent = aio.SessionAgent(tools=[look], redis_config=MEMORY)
        assert isinstance(agent.sync.agent.tools, aio.ToolRegistry)
        await agent.shutdown()

    asyncio.run(main())


ONE, OTHER_SIDE = "miniagent_redis", "miniagent_redis.aio"
Side = Any


@pytest.mark.parametrize("wanted", [ONE, OTHER_SIDE])
def test_objects_for_asyncio_and_blocking_ones_are_not_mixed(wanted: str) -> None:
    here, there = (miniagent_redis, aio) if wanted == ONE else (aio, miniagent_redis)
    ours: Side = here
    theirs: Side = there
    store = theirs.RedisSessionManager(MEMORY)
    agent = theirs.SessionAgent(redis_config=MEMORY)
    attempts: list[tuple[str, Callable[[], object]]] = [
        ("agent is the SessionAgent", lambda: ours.SessionManager(agent)),
        ("store is the RedisSessionManager", lambda: ours.SessionAgent(store=store)),
    ]
    if wanted == ONE:
        said = "store is the RedisSessionManager"
        attempts.append((said, lambda: ours.SessionThread(store, "s")))
    for said, attempt in attempts:
        with pytest.raises(InvalidInput, match=f"{said} of miniagent") as caught:
            attempt()
        assert f"that of {wanted} is wanted" in str(caught.value)
