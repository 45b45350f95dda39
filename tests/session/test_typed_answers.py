"""Answers that are data: of a class, with tools in the same turn, asked for again if wrong."""

from __future__ import annotations

import json
from collections.abc import Iterable
from enum import Enum
from typing import Any, Literal, TypedDict

import attrs
import pytest

from miniagent_redis import (
    Event,
    EventType,
    InvalidInput,
    Message,
    ModelError,
    ToolCall,
    ToolRegistry,
)
from miniagent_redis.llm import Finish, ModelRequest, ScriptedModel
from miniagent_redis.models import Usage
from miniagent_redis.runtime.cancellation import raise_if_cancelled
from tests.session.conftest import Open


@attrs.frozen
class Step:
    what: str
    days: int = 1


@attrs.frozen
class Plan:
    title: str
    steps: list[Step]


PLAN = '{"title": "Move", "steps": [{"what": "pack", "days": 2}, {"what": "drive"}]}'
MOVE = Plan("Move", [Step("pack", 2), Step("drive")])


class Color(Enum):
    RED = "red"


class Point(TypedDict):
    x: int


def stored(manager: Any, session_id: str) -> list[tuple[str, str]]:
    return [(m["role"], m["content"]) for m in manager.get_history(session_id)]


def texts(events: Iterable[Event]) -> list[str]:
    return [event.text for event in events if event.type is EventType.TEXT_DELTA]


def test_an_answer_is_an_instance_of_the_class_and_stored_as_it_came(open_manager: Open) -> None:
    model = ScriptedModel([PLAN])
    manager = open_manager(model, system_prompt="Be brief.")
    sid = manager.create_or_resume_session()
    result = manager.run(sid, "Plan the move.", output=Plan)
    assert result.output == MOVE
    assert result.text == PLAN
    assert stored(manager, sid) == [("user", "Plan the move."), ("assistant", PLAN)]
    (request,) = model.requests
    assert request.output is not None
    assert request.output.name == "Plan"
    assert request.output.schema["required"] == ["title", "steps"]
    assert request.system is not None  # it is no model that knows of forms
    assert request.system.startswith("Be brief.\n\n")
    assert json.dumps(request.output.schema) in request.system


def test_chat_and_submit_and_stream_take_it_too(open_manager: Open) -> None:
    manager = open_manager(ScriptedModel([PLAN] * 3))
    sid = manager.create_or_resume_session()
    assert manager.chat(sid, "Plan.", output=Plan) == PLAN
    assert manager.agent.submit(sid, "Plan.", output=Plan).result(20).output == MOVE
    events = list(manager.stream(sid, "Plan.", output=Plan))
    assert texts(events) == [PLAN]
    assert events[-1].text == PLAN


def test_without_output_there_is_none(open_manager: Open) -> None:
    model = ScriptedModel([PLAN])
    manager = open_manager(model)
    result = manager.run(manager.create_or_resume_session(), "Plan.")
    assert result.output is None
    assert (model.requests[0].output, model.requests[0].system) == (None, None)


@pytest.mark.parametrize(
    ("output", "text", "value"),
    [
        (int, "42", 42),
        (bool, " true\n", True),
        (list[int], "[1, 2]", [1, 2]),
        (list[Step], '[{"what": "pack"}]', [Step("pack")]),
        (Literal["yes", "no"], '"yes"', "yes"),
        (Color, '"red"', Color.RED),
        (Point, '{"x": 1}', {"x": 1}),
        (int | None, "null", None),
        (Plan, f"Here it is:\n```json\n{PLAN}\n```\nGood luck!", MOVE),
        (Plan, f"My plan [a draft] is {PLAN}.", MOVE),
    ],
)
def test_any_type_that_a_model_can_send_may_be_asked_for(
    open_manager: Open, output: Any, text: str, value: Any
) -> None:
    manager = open_manager(ScriptedModel([text]))
    result = manager.run(manager.create_or_resume_session(), "Say.", output=output)
    assert result.output == value
    assert result.text == text


def test_tools_run_in_the_same_turn(open_manager: Open) -> None:
    tools = ToolRegistry()
    tools.add(lambda: "two days", name="look", description="Look it up.")
    model = ScriptedModel([["Let me see.", ToolCall("1", "look")], PLAN])
    manager = open_manager(model, tools)
    sid = manager.create_or_resume_session()
    assert texts(manager.stream(sid, "x", output=Plan)) == ["Let me see.", PLAN]
    assert [role for role, _ in stored(manager, sid)] == ["user", "assistant", "tool", "assistant"]


def test_an_answer_that_does_not_fit_is_asked_for_again_with_the_reason(open_manager: Open) -> None:
    wrong = '{"title": "Move", "steps": "pack"}'
    model = ScriptedModel([[wrong, Usage(10, 5)], ["Sure!", Usage(20, 2)], [PLAN, Usage(30, 7)]])
    manager = open_manager(model)
    sid = manager.create_or_resume_session()
    result = manager.run(sid, "Plan.", output=Plan)
    assert result.output == MOVE
    assert result.usage == Usage(60, 14)  # of all three
    assert stored(manager, sid) == [("user", "Plan."), ("assistant", PLAN)]
    _, second, third = (request.messages for request in model.requests)
    assert [m.role for m in second] == ["user", "assistant", "user"]
    assert second[1].text == wrong
    assert "'answer.steps' must be a list" in second[2].text
    assert [m.text for m in third[:4]] == [m.text for m in second] + ["Sure!"]
    assert "it is no JSON" in third[4].text


def test_watchers_and_readers_do_not_hear_of_wrong_answers(open_manager: Open) -> None:
    manager = open_manager(ScriptedModel(["nothing", PLAN]), delta_interval=0.0)
    sid = manager.create_or_resume_session()
    told = [e.text for e in manager.stream(sid, "x", output=Plan) if e.type is EventType.TEXT_DELTA]
    assert told == [PLAN]
    assert "nothing" not in "".join(texts(manager.watch(sid, "", 0.2)))


def test_the_third_answer_that_does_not_fit_is_an_error_and_stored_as_interrupted(
    open_manager: Open,
) -> None:
    spent = Usage(1, 1)
    model = ScriptedModel([["one", spent], ["two", spent], ["three", spent], "Hi"])
    manager = open_manager(model)
    sid = manager.create_or_resume_session()
    with pytest.raises(ModelError, match="does not fit Plan") as caught:
        manager.run(sid, "Plan.", output=Plan)
    assert "it is no JSON" in str(caught.value)
    assert caught.value.text == "three"
    assert stored(manager, sid) == [("user", "Plan."), ("assistant", "three")]
    metadata = manager.get_history(sid)[-1]["metadata"]
    assert metadata["interrupted"] == "incomplete"
    assert metadata["usage"] == {"input_tokens": 3, "output_tokens": 3}
    assert len(model.requests) == 3
    assert manager.usage(session_id=sid).usage == Usage(3, 3)
    assert manager.chat(sid, "Hello") == "Hi"  # the session goes on


def test_a_turn_that_others_left_is_finished_without_its_options(open_manager: Open) -> None:
    first = open_manager(redis={"lease_ttl": 0.05})
    sid = first.create_or_resume_session()
    first.store.begin_turn(sid, "Plan.")  # and its process dies
    model = ScriptedModel(["In words", PLAN])
    other = open_manager(model)
    assert other.run(sid, "Again.", output=Plan).output == MOVE
    assert [request.output is None for request in model.requests] == [True, False]
    assert stored(other, sid)[1] == ("assistant", "In words")


def test_the_last_step_may_be_asked_for_again_too(open_manager: Open) -> None:
    tools = ToolRegistry()
    tools.add(lambda: "two days", name="look", description="Look it up.")
    model = ScriptedModel([ToolCall("1", "look"), "no", PLAN])
    manager = open_manager(model, tools, max_steps=2)
    assert manager.run(manager.create_or_resume_session(), "x", output=Plan).output == MOVE
    assert [len(request.tools) for request in model.requests] == [1, 0, 0]


def test_a_model_may_call_tools_when_it_is_asked_again(open_manager: Open) -> None:
    tools = ToolRegistry()
    tools.add(lambda: "two days", name="look", description="Look it up.")
    model = ScriptedModel(["I will look.", ToolCall("1", "look"), PLAN])
    manager = open_manager(model, tools)
    sid = manager.create_or_resume_session()
    assert manager.run(sid, "x", output=Plan).output == MOVE
    assert [m.role for m in model.requests[2].messages] == ["user", "assistant", "tool"]
    assert [role for role, _ in stored(manager, sid)] == ["user", "assistant", "tool", "assistant"]


def test_tokens_of_wrong_answers_are_counted_if_the_model_fails_then(open_manager: Open) -> None:
    manager = open_manager(ScriptedModel([["no", Usage(5, 1)], ModelError("it is away")]))
    sid = manager.create_or_resume_session()
    with pytest.raises(ModelError, match="it is away") as caught:
        manager.run(sid, "Plan.", output=Plan)
    assert caught.value.tokens[:2] == (5, 1)
    assert stored(manager, sid) == []  # nothing was shown, and no tool has run


def test_an_answer_that_was_cut_off_is_told_so(open_manager: Open) -> None:
    model = ScriptedModel([['{"title": "Mo', Finish("length")], PLAN])
    manager = open_manager(model)
    assert manager.run(manager.create_or_resume_session(), "x", output=Plan).output == MOVE
    assert "cut off" in model.requests[1].messages[-1].text


def test_a_cancelled_turn_has_no_data(open_manager: Open) -> None:
    manager = open_manager(ScriptedModel([lambda request: cancel()]))
    sid = manager.create_or_resume_session()

    def cancel() -> str:
        manager.cancel(sid)
        raise_if_cancelled()
        return PLAN

    result = manager.run(sid, "x", output=Plan)
    assert (result.interrupted, result.output) == (True, None)


def test_a_class_of_pydantic_describes_and_checks_itself(open_manager: Open) -> None:
    pydantic = pytest.importorskip("pydantic")

    class Place(pydantic.BaseModel):  # type: ignore[name-defined,misc]
        name: str = pydantic.Field(min_length=2)

    class Trip(pydantic.BaseModel):  # type: ignore[name-defined,misc]
        places: list[Place]

    model = ScriptedModel(['{"places": [{"name": "X"}]}', '{"places": [{"name": "Oslo"}]}'])
    manager = open_manager(model)
    sid = manager.create_or_resume_session()
    assert manager.run(sid, "x", output=Trip).output == Trip(places=[Place(name="Oslo")])
    assert "'answer.places.0.name' is not usable" in model.requests[1].messages[-1].text
    assert model.requests[0].output is not None
    assert "$ref" not in str(model.requests[0].output.schema)
    listed = open_manager(ScriptedModel(['[{"name": "Oslo"}]']))
    assert listed.run(sid, "x", output=list[Place]).output == [Place(name="Oslo")]


def test_a_reply_is_cached_for_its_form_and_a_wrong_one_not_at_all(open_manager: Open) -> None:
    model = ScriptedModel(["wrong", PLAN, PLAN, "text"])
    model.name = "scripted"  # type: ignore[attr-defined]
    manager = open_manager(model, model_cache_ttl=60)

    def ask(output: Any) -> tuple[Any, int]:
        result = manager.run(manager.create_or_resume_session("ada"), "x", output=output)
        return result.output or result.text, result.cache_hits

    assert ask(Plan) == (MOVE, 0)
    assert ask(Plan) == (MOVE, 0)  # what it had said first was not kept
    assert ask(Plan) == (MOVE, 1)
    assert ask(None) == ("text", 0)


@pytest.mark.parametrize("output", [3, "Plan", Plan("a", []), {"type": "object"}, object, print])
def test_what_is_no_class_to_be_sent_is_refused_at_once(open_manager: Open, output: Any) -> None:
    if output is object:
        output = type("Odd", (), {})
    manager = open_manager(ScriptedModel([]))
    for call in (manager.chat, manager.run, manager.stream, manager.agent.submit):
        with pytest.raises(InvalidInput, match="output"):
            call("no such session", "x", output=output)


def test_the_demo_model_fills_in_a_form(open_manager: Open) -> None:
    manager = open_manager()
    sid = manager.create_or_resume_session()
    assert manager.run(sid, "What is 6 * 7?", output=int).output == 42
    plan = manager.run(sid, "My name is Ada", output=Plan).output
    assert plan == Plan("Hello, Ada!", [Step("Hello, Ada!", 0)])


def test_a_model_that_takes_forms_is_not_told_in_words(open_manager: Open) -> None:
    model = ScriptedModel([lambda request: answer(request)])
    model.takes_output = True  # type: ignore[attr-defined]

    def answer(request: ModelRequest) -> str:
        assert request.system is None
        assert request.messages[-1] == Message(
            "user",
            "x",
            id=request.messages[-1].id,
            turn_id=request.messages[-1].turn_id,
            created_at=request.messages[-1].created_at,
        )
        return PLAN

    manager = open_manager(model)
    assert manager.run(manager.create_or_resume_session(), "x", output=Plan).output == MOVE
