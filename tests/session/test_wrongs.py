"""What a model does wrong goes back to it, and half an answer never looks whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from miniagent_redis import (
    Event,
    EventType,
    ModelError,
    SessionManager,
    ToolCall,
    ToolRegistry,
)
from miniagent_redis.llm import Finish, ScriptedModel, Usage

Open = Callable[..., SessionManager]
GOOD = ToolCall("g", "pay", {"order": 7})


def unread(arguments: Any) -> ToolCall:
    return ToolCall("b", "pay", arguments)


WRONGS: list[tuple[Any, str]] = [
    (unread('{"order": '), "no JSON object"),
    (unread([7]), "no JSON object"),
    (unread({"order": float("nan")}), "no JSON object"),
    (unread({"order": "seven"}), "must be a whole number"),
    (unread({}), "'order' is missing"),
    (ToolCall("b", "buy", {"order": 7}), "there is no tool 'buy'; the tools are: pay"),
    ([ToolCall("b", "pay", {"order": 9}), Finish("length")], "not run: your answer was cut off"),
    ([ToolCall("b", "pay", {"order": 9}), Finish("content_filter")], "a content filter stopped"),
]


@pytest.mark.parametrize(("reply", "told"), WRONGS)
def test_the_model_is_told_what_was_wrong_and_mends_it(
    open_manager: Open, tools: ToolRegistry, paid: list[int], reply: Any, told: str
) -> None:
    manager = open_manager(ScriptedModel([reply, GOOD, "It is paid."]), tools)
    session_id = manager.create_or_resume_session()
    result = manager.run(session_id, "Pay order 7")
    assert (result.text, result.finish_reason, result.tool_calls) == ("It is paid.", "stop", 2)
    assert paid == [7]
    call, refusal = manager.get_history(session_id)[1:3]
    assert isinstance(call["tool_calls"][0]["arguments"], dict)
    assert told in refusal["content"]
    assert refusal["metadata"] == {"is_error": True, "not_run": True}
    assert refusal["tool_call_id"] == call["tool_calls"][0]["id"]


@pytest.mark.parametrize(("reply", "told"), WRONGS)
def test_a_model_that_never_mends_it_ends_in_an_error_that_says_what_happened(
    open_manager: Open, tools: ToolRegistry, paid: list[int], reply: Any, told: str
) -> None:
    model = ScriptedModel([*[reply] * 3, "I could not."])
    manager = open_manager(model, tools)
    session_id = manager.create_or_resume_session()
    with pytest.raises(ModelError, match="wrong 3 times in a row") as caught:
        manager.chat(session_id, "Pay order 7")
    assert told in caught.value.cause
    history = manager.get_history(session_id)
    assert [message["role"] for message in history] == [
        "user", *["assistant", "tool"] * 3, "assistant"
    ]  # fmt: skip
    assert history[-1]["metadata"]["interrupted"] == "incomplete"
    assert manager.chat(session_id, "And?") == "I could not."
    assert paid == []


def test_good_calls_beside_a_bad_one_are_run_and_whoever_watches_hears_the_same(
    open_manager: Open, tools: ToolRegistry, paid: list[int]
) -> None:
    model = ScriptedModel([["Let me see", unread("?"), GOOD], "Done."])
    manager = open_manager(model, tools, delta_interval=0)
    session_id = manager.create_or_resume_session()
    streamed = list(manager.stream(session_id, "Pay order 7"))
    assert paid == [7]
    kinds = [event.type.value for event in streamed if event.type is not EventType.TEXT_DELTA]
    assert kinds == [
        "turn_started", "tool_call", "tool_call", "tool_result", "tool_result", "agent_response"
    ]  # fmt: skip
    watched = list(manager.watch(session_id, "", timeout=0.05))
    wanted = [event for event in streamed if event.type is not EventType.TEXT_DELTA]
    assert [event for event in watched[1:] if event.type is not EventType.TEXT_DELTA] == wanted


def last(events: list[Event]) -> Event:
    assert events[-1].type is EventType.AGENT_RESPONSE
    return events[-1]


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("All of it.", "stop"),
        (["Half of", Finish("length")], "length"),
        (["No, I", Finish("content_filter", "SAFETY")], "content_filter"),
        (["Hm", Finish("pause")], "pause"),
    ],
)
def test_how_an_answer_ended_is_told_everywhere(
    open_manager: Open, reply: Any, reason: str
) -> None:
    manager = open_manager(ScriptedModel([reply, reply]))
    session_id = manager.create_or_resume_session()
    live = last(list(manager.stream(session_id, "Tell")))
    heard = last(list(manager.watch(session_id, "", timeout=0.05)))
    assert live.data["finish_reason"] == heard.data["finish_reason"] == reason
    assert live == heard
    metadata = manager.get_history(session_id)[-1].get("metadata", {})
    assert metadata.get("finish_reason", "stop") == reason
    assert metadata.get("finish_detail") == ("SAFETY" if reason == "content_filter" else None)
    assert manager.run(session_id, "Tell").finish_reason == reason


def test_an_answer_that_breaks_off_says_so_too(open_manager: Open) -> None:
    manager = open_manager(ScriptedModel([["Once upon", OSError("gone")]]))
    session_id = manager.create_or_resume_session()
    events: list[Event] = []
    with pytest.raises(ModelError):
        events.extend(manager.stream(session_id, "Tell"))
    assert last(events).data["finish_reason"] == "incomplete"


def test_the_last_of_max_steps_says_so(open_manager: Open, tools: ToolRegistry) -> None:
    manager = open_manager(ScriptedModel([GOOD, "Paid."]), tools, max_steps=2)
    session_id = manager.create_or_resume_session()
    assert manager.run(session_id, "Pay order 7").finish_reason == "max_steps"


def test_a_cancelled_answer_says_so(open_manager: Open) -> None:
    manager = open_manager(ScriptedModel([["Once ", "upon ", "a time"]]))
    session_id = manager.create_or_resume_session()
    events: list[Event] = []
    for event in manager.stream(session_id, "Tell"):
        events.append(event)
        if event.type is EventType.TEXT_DELTA:
            manager.cancel(session_id)
    assert last(events).data["finish_reason"] == "cancelled"


def test_to_say_nothing_after_a_tool_is_an_answer(
    open_manager: Open, tools: ToolRegistry, paid: list[int]
) -> None:
    model = ScriptedModel([GOOD, [Usage(5, 0), Finish()], "Yes."])
    manager = open_manager(model, tools)
    session_id = manager.create_or_resume_session()
    result = manager.run(session_id, "Pay order 7, and say nothing")
    assert (result.text, result.finish_reason, result.interrupted) == ("", "stop", False)
    assert len(manager.get_history(session_id)) == 4
    assert manager.chat(session_id, "Is it paid?") == "Yes."
    assert paid == [7]
