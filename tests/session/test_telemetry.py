"""What an instrument is told of turns, model calls and tools."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import asdict

from miniagent_redis import (
    AgentConfig,
    IncompleteResponse,
    ModelError,
    RedisConfig,
    RedisSessionManager,
    SessionAgent,
    SessionManager,
    ToolRegistry,
    aio,
)
from miniagent_redis.llm import Finish, ModelEvent, ModelRequest, TextDelta, ToolCall, Usage
from miniagent_redis.telemetry import Exchange, ModelCall, ToolRun, TurnRun
from tests.support.coroutines import run
from tests.support.instruments import Broken, Notes
from tests.support.servers import RedisServer

SECRET = "canary"


class Asking:
    """Asks for its tools in a first reply, and answers in the second."""

    name = "asking-1"

    def __init__(self, *calls: ToolCall) -> None:
        self.calls = calls

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        yield Usage(input_tokens=10, output_tokens=2)
        if request.messages[-1].role == "user" and self.calls:
            yield from self.calls
            yield Finish("tool_calls")
            return
        yield TextDelta("said ")
        yield TextDelta(SECRET)
        yield Finish()


class Failing(Asking):
    """Fails after so many pieces of text."""

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        yield Usage(input_tokens=7)
        for _ in range(self.pieces):
            yield TextDelta("word ")
        raise ArithmeticError(SECRET)


def opened(url: str, model: Any, notes: Any, **more: Any) -> SessionManager:
    tools = ToolRegistry()
    tools.add(look)
    tools.add(fail)
    agent = SessionAgent(
        AgentConfig(model=model), tools, None, RedisConfig(url=url, **more), instrumentation=notes
    )
    return SessionManager(agent.initialize())


def look(where: str) -> str:
    return f"found {where}"


def fail() -> str:
    raise ValueError(SECRET)


def test_a_turn_is_told_with_its_model_calls_and_tools(store_url: str) -> None:
    notes = Notes()
    manager = opened(store_url, Asking(ToolCall("1", "look", {"where": "here"})), notes)
    with manager.agent:
        session = manager.create_or_resume_session(user_id="ada")
        result = manager.run(session, "Hello")
    turn, tool, (first, second) = notes.only(TurnRun), notes.only(ToolRun), notes.of(ModelCall)
    assert (turn.session_id, turn.user_id, turn.resumed) == (session, "ada", False)
    assert (turn.outcome, turn.persisted, turn.error) == ("answered", True, "")
    assert turn.spent.usage == result.usage
    assert turn.spent.tool_calls == 1
    assert (tool.tool, tool.cached, tool.error) == ("look", None, "")
    assert (first.model, first.finish, second.finish) == ("asking-1", "tool_calls", "stop")
    assert first.usage == second.usage == Usage(input_tokens=10, output_tokens=2)
    for part in (first, tool, second):
        assert (part.session_id, part.turn_id) == (session, turn.turn_id)
        assert 0 < part.seconds < turn.seconds
    assert first.first_seconds is not None
    assert 0 < first.first_seconds <= first.seconds


def test_what_is_in_a_turn_begins_and_ends_in_it(store_url: str) -> None:
    notes = Notes()
    manager = opened(store_url, Asking(ToolCall("1", "look", {"where": "here"})), notes)
    with manager.agent:
        manager.chat(manager.create_or_resume_session(), "Hello")
    names = [type(work).__name__ for work in notes.begun if not isinstance(work, Exchange)]
    assert names == ["TurnRun", "ModelCall", "ToolRun", "ModelCall"]
    names = [type(work).__name__ for work in notes.ended if not isinstance(work, Exchange)]
    assert names == ["ModelCall", "ToolRun", "ModelCall", "TurnRun"]
    begun = [getattr(work, "operation", "turn") for work in notes.begun]
    assert begun.index("begin_turn") < begun.index("turn") < begun.index("commit_turn")


def test_tools_that_fail_and_tools_that_are_not_there_are_told_by_kind(store_url: str) -> None:
    notes = Notes()
    model = Asking(ToolCall("1", "fail"), ToolCall("2", SECRET))
    with opened(store_url, model, notes).agent as agent:
        manager = SessionManager(agent)
        manager.chat(manager.create_or_resume_session(), "Hello")
    assert {(run.tool, run.error) for run in notes.of(ToolRun)} == {
        ("fail", "ToolError"),
        ("", "ToolError"),
    }


def test_a_model_that_fails_ends_the_turn_as_failed(store_url: str) -> None:
    notes = Notes()
    manager = opened(store_url, Failing(0), notes)
    with manager.agent, pytest.raises(ModelError):
        manager.chat(manager.create_or_resume_session(), "Hello")
    call, turn = notes.only(ModelCall), notes.only(TurnRun)
    assert (call.error, call.finish, call.usage.input_tokens) == ("ModelError", "", 7)
    assert (turn.error, turn.outcome, turn.persisted) == ("ModelError", "failed", False)
    assert (turn.spent.failed_turns, turn.spent.input_tokens) == (1, 7)


def test_an_answer_that_broke_off_is_told_as_interrupted_and_stored(store_url: str) -> None:
    notes = Notes()
    manager = opened(store_url, Failing(2), notes)
    with manager.agent, pytest.raises(IncompleteResponse):
        manager.chat(manager.create_or_resume_session(), "Hello")
    assert notes.only(ModelCall).error == "IncompleteResponse"
    turn = notes.only(TurnRun)
    assert (turn.error, turn.outcome) == ("IncompleteResponse", "interrupted")
    assert turn.persisted


def test_a_stream_that_nobody_reads_on_is_told_as_interrupted(store_url: str) -> None:
    notes = Notes()
    manager = opened(store_url, Asking(), notes)
    with manager.agent:
        stream = manager.stream(manager.create_or_resume_session(), "Hello")
        next(event for event in stream if event.text == "said ")
        del stream
    assert (notes.only(ModelCall).finish, notes.only(ModelCall).error) == ("", "")
    assert (notes.only(TurnRun).outcome, notes.only(TurnRun).error) == (
        "interrupted",
        "GeneratorExit",
    )


def test_a_turn_that_went_to_the_spool_is_not_persisted(tmp_path: Path) -> None:
    notes = Notes()
    with RedisServer("--appendonly", "yes", "--appendfsync", "always") as server:

        def answer(messages: object) -> str:
            server.kill()
            return "Hi"

        spool = {"spool_dir": str(tmp_path), "commit_timeout": 0.1}
        manager = opened(server.url, answer, notes, **spool)
        session = manager.create_or_resume_session()
        assert not manager.run(session, "Hello").persisted
        assert manager.agent.stats().spooled_turns == 1
        server.start()
        manager.agent.shutdown()
    turn = notes.only(TurnRun)
    assert (turn.outcome, turn.persisted, turn.spent.turns) == ("answered", False, 1)
    assert notes.only(ModelCall).model == "answer"


def test_an_answer_out_of_the_cache_is_no_model_call(store_url: str) -> None:
    notes = Notes()
    config = AgentConfig(model=Asking(), model_cache_ttl=60)
    redis = RedisConfig(url=store_url)
    with SessionAgent(config, redis_config=redis, instrumentation=notes) as agent:
        manager = SessionManager(agent)
        for _ in range(2):
            manager.chat(manager.create_or_resume_session("ada"), "Hello")
    assert len(notes.of(TurnRun)) == 2
    assert len(notes.of(ModelCall)) == 1


def test_an_agent_tells_the_instrument_of_its_store(store_url: str) -> None:
    notes = Notes()
    store = RedisSessionManager(RedisConfig(url=store_url), instrumentation=notes)
    with SessionAgent(AgentConfig(model="demo"), store=store) as agent:
        manager = SessionManager(agent)
        manager.chat(manager.create_or_resume_session(), "Hello")
    assert notes.only(ModelCall).model == "demo"


def test_an_agent_tells_of_its_tenants_too(store_url: str) -> None:
    notes = Notes()
    manager = opened(store_url, Asking(), notes)
    with manager.agent as agent:
        acme = SessionManager(agent.tenant("acme"))
        acme.chat(acme.create_or_resume_session(), "Hello")
    assert notes.only(ModelCall).turn_id == notes.only(TurnRun).turn_id


def test_nothing_of_what_was_said_is_told(store_url: str) -> None:
    notes = Notes()
    model = Asking(ToolCall("1", "look", {"where": SECRET}), ToolCall("2", "fail"))
    manager = opened(store_url, model, notes)
    with manager.agent:
        session = manager.create_or_resume_session(data={SECRET: SECRET})
        manager.chat(session, f"Hello, {SECRET}")
        manager.get_history(session)
        manager.store.cache_set(SECRET, SECRET)
        manager.store.publish(SECRET, SECRET)
        with manager.store.lock(SECRET):
            manager.store.rate_limit(SECRET)
        list(manager.watch(session, "", timeout=0.05))
    assert len(notes.ended) > 10
    assert SECRET not in repr([asdict(work) for work in notes.ended])


def test_no_password_is_told() -> None:
    with RedisServer("--requirepass", SECRET) as server:
        url = server.url.replace("unix://", f"unix://:{SECRET}@").replace(
            "redis://", f"redis://:{SECRET}@"
        )
        notes = Notes()
        with RedisSessionManager(RedisConfig(url=url), instrumentation=notes) as store:
            store.create_session("s")
    assert notes.of(Exchange)
    assert SECRET not in repr([asdict(work) for work in notes.ended])


@pytest.mark.parametrize("at_the_end", [False, True])
def test_a_broken_instrument_breaks_no_turn(store_url: str, at_the_end: bool) -> None:
    broken = Broken(at_the_end=at_the_end)
    manager = opened(store_url, Asking(ToolCall("1", "look", {"where": "here"})), broken)
    with manager.agent:
        assert manager.chat(manager.create_or_resume_session(), "Hello") == f"said {SECRET}"
    assert broken.times > 5


def test_it_is_the_same_for_asyncio(store_url: str) -> None:
    notes = Notes()
    config = AgentConfig(model=Asking())
    redis = RedisConfig(url=store_url)

    async def main() -> None:
        async with aio.SessionAgent(config, redis_config=redis, instrumentation=notes) as agent:
            manager = aio.SessionManager(agent)
            await manager.chat(await manager.create_or_resume_session(), "Hello")
            assert agent.stats().running_turns == 0
            assert agent.stats().store.connections.most == agent.store.stats().connections.most > 0

    run(main())
    assert notes.only(TurnRun).turn_id == notes.only(ModelCall).turn_id
