"""Instructions, tools and parameters of one turn, and instructions that know for whom it is."""

from __future__ import annotations

from typing import Any

import pytest

from miniagent_redis import InvalidInput, ToolCall, ToolContext, ToolRegistry
from miniagent_redis.llm import ScriptedModel
from tests.session.conftest import Open


def tool(name: str) -> ToolRegistry:
    tools = ToolRegistry()
    tools.add(lambda: f"{name} ran", name=name, description="Do it.")
    return tools


def test_options_are_of_one_turn(open_manager: Open) -> None:
    model = ScriptedModel([ToolCall("1", "new"), "One", "Two"])
    manager = open_manager(model, tool("old"), system_prompt="Be kind.", temperature=0.5)
    sid = manager.create_or_resume_session()
    options: dict[str, Any] = {"instructions": "Be brief.", "params": {"max_tokens": 9, "seed": 1}}
    result = manager.run(sid, "x", tools=tool("new"), **options)
    assert result.steps[1].text == "new ran"
    for request in model.requests:
        assert request.system == "Be brief."
        assert request.params == {"temperature": 0.5, "max_tokens": 9, "seed": 1}
        assert [spec.name for spec in request.tools] == ["new"]
    assert manager.chat(sid, "y") == "Two"
    last = model.requests[-1]
    assert (last.system, last.params) == ("Be kind.", {"temperature": 0.5})
    assert [spec.name for spec in last.tools] == ["old"]


def test_no_tools_and_no_temperature_can_be_asked_for(open_manager: Open) -> None:
    model = ScriptedModel(["One"])
    manager = open_manager(model, tool("old"), temperature=0.5)
    sid = manager.create_or_resume_session()
    manager.run(sid, "x", tools=[], instructions="", params={"temperature": None})
    assert (model.requests[0].tools, model.requests[0].params) == ((), {})
    assert model.requests[0].system is None


@pytest.mark.parametrize("way", ["config", "turn"])
def test_instructions_may_be_a_function_of_whose_turn_it_is(open_manager: Open, way: str) -> None:
    def instructions(context: ToolContext) -> str:
        assert context.call_id == ""
        assert context.turn_id
        return f"Answer {context.user_id} in {context.data['language']}."

    model = ScriptedModel([ToolCall("1", "old"), "One"])
    settings: dict[str, Any] = {"system_prompt": instructions} if way == "config" else {}
    manager = open_manager(model, tool("old"), **settings)
    sid = manager.create_or_resume_session("ada", data={"language": "de"})
    manager.run(sid, "x", instructions=instructions if way == "turn" else None)
    assert [request.system for request in model.requests] == ["Answer ada in de."] * 2


def test_instructions_may_be_an_async_function(open_manager: Open) -> None:
    async def instructions(context: ToolContext) -> str:
        return f"For {context.session_id}"

    model = ScriptedModel(["One"])
    manager = open_manager(model)
    sid = manager.create_or_resume_session()
    manager.run(sid, "x", instructions=instructions)
    assert model.requests[0].system == f"For {sid}"


def test_instructions_that_fail_drop_the_turn(open_manager: Open) -> None:
    manager = open_manager(ScriptedModel(["One"]))
    sid = manager.create_or_resume_session()
    with pytest.raises(InvalidInput, match="ZeroDivisionError"):
        manager.run(sid, "x", instructions=lambda context: str(1 // 0))
    with pytest.raises(InvalidInput, match="must return text"):
        manager.run(sid, "x", instructions=lambda context: 5)  # type: ignore[arg-type]
    assert manager.get_history(sid) == []
    assert manager.chat(sid, "x") == "One"


def test_a_model_function_may_be_told_for_whom_it_answers(open_manager: Open) -> None:
    def answer(messages: list[dict[str, Any]], context: ToolContext) -> str:
        return f"{messages[-1]['content']}, {context.user_id} in {context.data['place']}"

    manager = open_manager(answer)
    sid = manager.create_or_resume_session("ada", data={"place": "Oslo"})
    assert manager.chat(sid, "Hi") == "Hi, ada in Oslo"


def session_of(messages: list[dict[str, Any]], context: ToolContext) -> str:
    return context.session_id


def test_what_such_a_model_says_is_cached_for_one_session(open_manager: Open) -> None:
    manager = open_manager(session_of, model_cache_ttl=60)
    first, second = (manager.create_or_resume_session("ada") for _ in range(2))
    assert (manager.chat(first, "Hi"), manager.chat(second, "Hi")) == (first, second)


def test_replies_are_cached_by_instructions_and_parameters(open_manager: Open) -> None:
    model = ScriptedModel(["One", "Two", "Three", "Four"])
    model.name = "scripted"  # type: ignore[attr-defined]
    manager = open_manager(model, model_cache_ttl=60)
    options: list[dict[str, Any]] = [
        {},
        {"instructions": "Be brief."},
        {"params": {"seed": 1}},
        {"tools": tool("new")},
    ]
    for _ in range(2):
        said = [
            manager.chat(manager.create_or_resume_session("ada"), "x", **each) for each in options
        ]
        assert said == ["One", "Two", "Three", "Four"]


@pytest.mark.parametrize(
    "options",
    [
        {"instructions": 5},
        {"instructions": int},
        {"tools": "look"},
        {"tools": [5]},
        {"params": ["seed"]},
        {"params": {"seed": object()}},
        {"params": {"temperature": -1}},
        {"params": {"max_tokens": "many"}},
    ],
)
def test_what_cannot_be_is_refused_at_once(open_manager: Open, options: dict[str, Any]) -> None:
    manager = open_manager(ScriptedModel([]))
    for call in (manager.chat, manager.run, manager.stream, manager.agent.submit):
        with pytest.raises(InvalidInput):
            call("no such session", "x", **options)
