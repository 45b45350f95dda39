"""Whoever runs a turn and whoever watches it elsewhere are told the very same of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import asdict, evolve

from miniagent_redis import (
    AgentConfig,
    Event,
    EventType,
    ModelError,
    RedisConfig,
    SessionAgent,
    SessionManager,
    StreamCallback,
    ToolRegistry,
    TurnSuperseded,
)
from miniagent_redis.llm import ScriptedModel, ToolCall
from tests.support.servers import RedisServer

Open = Callable[..., SessionManager]


class Told:
    """Everything that a program's own callbacks hear."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.callbacks = StreamCallback()
        self.callbacks.on_any(self.events.append)

    def of_turns(self) -> list[dict[str, Any]]:
        return comparable(self.events)


def comparable(events: list[Event]) -> list[dict[str, Any]]:
    """Return the events of turns, but pieces of text put together, whenever they came."""
    told: list[dict[str, Any]] = []
    for event in events:
        if event.turn_id is None:
            continue
        fields = asdict(event, recurse=False)
        if event.type is not EventType.TEXT_DELTA:
            told.append(fields)
        elif told and told[-1]["type"] is EventType.TEXT_DELTA:
            told[-1]["data"] = {"text": told[-1]["data"]["text"] + event.text}
        else:
            told.append(fields | {"at": 0, "id": ""})
    return told


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def tools() -> ToolRegistry:
    registry = ToolRegistry()

    @registry.tool
    def look(what: str) -> str:
        if what == "nothing":
            raise ValueError("not there")
        return f"a {what}"

    return registry


def look(*what: str) -> list[Any]:
    calls = [ToolCall(f"{n}", "look", {"what": each}) for n, each in enumerate(what)]
    return ["Let ", "me see", *calls]


def test_a_turn_with_text_tools_and_an_answer(
    open_manager: Open, told: Told, tools: ToolRegistry
) -> None:
    model = ScriptedModel([look("tree"), look("house", "nothing"), ["They are ", "fine"]])
    manager = open_manager(model, tools, callbacks=told.callbacks, delta_interval=0)
    session_id = manager.create_or_resume_session("ada")
    streamed = list(manager.stream(session_id, "What is there?"))
    assert streamed == told.events
    watched = list(manager.watch(session_id, "", timeout=0.05))
    assert comparable(watched) == told.of_turns()
    assert {event.type.value for event in watched} == {
        "session_created", "turn_started", "text_delta", "tool_call", "tool_result",
        "agent_response",
    }  # fmt: skip


def test_reading_goes_on_behind_an_event_of_the_turns_own_stream(
    open_manager: Open, tools: ToolRegistry
) -> None:
    model = ScriptedModel([look("tree", "house"), "Done"])
    manager = open_manager(model, tools, delta_interval=0)
    session_id = manager.create_or_resume_session()
    streamed = [event for event in manager.stream(session_id, "x") if event.id]
    assert len({event.id for event in streamed}) == 6  # all but the text
    for place, event in enumerate(streamed):
        read = manager.store.read_events(session_id, event.id)
        assert [e for e in read if e.type is not EventType.TEXT_DELTA] == streamed[place + 1 :]


def test_a_turn_that_fails(open_manager: Open, told: Told) -> None:
    manager = open_manager(ScriptedModel([OSError("gone")]), callbacks=told.callbacks)
    session_id = manager.create_or_resume_session()
    with pytest.raises(ModelError):
        manager.chat(session_id, "x")
    assert comparable(list(manager.watch(session_id, "", timeout=0.05))) == told.of_turns()
    assert told.events[-1].data["error"] == "ModelError"


def test_an_answer_that_breaks_off(open_manager: Open, told: Told) -> None:
    model = ScriptedModel([["Half an ", OSError("gone")]])
    manager = open_manager(model, callbacks=told.callbacks, delta_interval=0)
    session_id = manager.create_or_resume_session()
    with pytest.raises(ModelError):
        manager.chat(session_id, "x")
    assert comparable(list(manager.watch(session_id, "", timeout=0.05))) == told.of_turns()
    assert told.events[-1].data["interrupted"] is True


def test_a_turn_whose_place_another_takes(open_manager: Open, told: Told) -> None:
    def answer(messages: list[dict[str, Any]]) -> str:
        manager.store.begin_turn(session_id, "no, this", on_busy="interrupt")
        return "too late"

    manager = open_manager(answer, callbacks=told.callbacks)
    session_id = manager.create_or_resume_session()
    with pytest.raises(TurnSuperseded):
        manager.chat(session_id, "x")
    watched = comparable(list(manager.watch(session_id, "", timeout=0.05)))
    heard = [event for event in told.of_turns() if event["type"] is not EventType.TEXT_DELTA]
    assert watched[0] == heard[0]
    # It is the other's message by which watchers heard, some time before its own holder did.
    assert watched[1] | {"at": 0, "id": ""} == heard[1] | {"at": 0}
    assert watched[1]["data"]["error"] == TurnSuperseded.__name__


def test_a_turn_that_is_finished_by_another_instance(
    open_manager: Open, told: Told, tools: ToolRegistry
) -> None:
    first = open_manager(redis={"lease_ttl": 0.05})
    session_id = first.create_or_resume_session()
    turn = first.store.begin_turn(session_id, "x")
    manager = open_manager(ScriptedModel(["Done"]), tools, callbacks=told.callbacks)
    before = list(manager.watch(session_id, "", timeout=0.05))
    assert manager.resume_turn(session_id) is not None
    watched = list(manager.watch(session_id, before[-1].id, timeout=0.05))
    heard = [event for event in told.of_turns() if event["type"] is not EventType.TEXT_DELTA]
    assert comparable(watched) == heard
    assert heard[0]["data"]["resumed"] is True
    assert heard[0]["turn_id"] == turn.turn_id


def test_a_turn_that_was_spooled(server: RedisServer, tmp_path: Path, told: Told) -> None:
    def answer(messages: list[dict[str, Any]]) -> str:
        server.kill()
        return "Done"

    redis = RedisConfig(url=server.url, commit_timeout=0.1, spool_dir=str(tmp_path))
    config = AgentConfig(model=answer, delta_interval=None)
    with SessionAgent(config, callbacks=told.callbacks, redis_config=redis) as agent:
        manager = SessionManager(agent)
        session_id = manager.create_or_resume_session()
        manager.chat(session_id, "x")
        server.start()
        agent.background.run_all()
        *_, watched = manager.watch(session_id, "", timeout=0.05)
        by_type = {event.type: event for event in told.events}
        spooled = by_type[EventType.AGENT_RESPONSE]
        assert (spooled.data["persisted"], spooled.id) == (False, "")
        replayed = by_type[EventType.TURN_REPLAYED]
        assert evolve(replayed, type=EventType.AGENT_RESPONSE) == watched
