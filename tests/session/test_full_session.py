"""A full session: told before the model is asked, and never by throwing its answer away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from miniagent_redis import Message, SessionManager, SessionTooLarge, ToolRegistry
from miniagent_redis.llm import ScriptedModel, ToolCall

Open = Callable[..., SessionManager]
LIMIT = 20_000
LONG = "x" * LIMIT


def test_an_answer_that_does_not_fit_comes_with_the_error(open_manager: Open) -> None:
    manager = open_manager(lambda messages: LONG, redis={"max_session_size": LIMIT})
    session_id = manager.create_or_resume_session()
    with pytest.raises(SessionTooLarge) as caught:
        manager.chat(session_id, "Tell me all")
    assert caught.value.text == LONG
    (answer,) = caught.value.steps
    assert isinstance(answer, Message)
    assert (answer.role, answer.text) == ("assistant", LONG)
    assert manager.get_history(session_id) == []


@pytest.mark.parametrize("found", ["short", LONG])
def test_so_do_the_steps_before_it(open_manager: Open, found: str) -> None:
    tools = ToolRegistry()

    @tools.tool
    def look() -> str:
        return found

    model = ScriptedModel([["Let me see", ToolCall("1", "look", {})], LONG])
    manager = open_manager(model, tools, redis={"max_session_size": LIMIT})
    session_id = manager.create_or_resume_session()
    with pytest.raises(SessionTooLarge) as caught:
        manager.chat(session_id, "Look")
    roles = [step.role for step in caught.value.steps if isinstance(step, Message)]
    if found == LONG:  # its result does not fit either
        assert (caught.value.text, roles) == ("Let me see", ["assistant", "tool"])
    else:
        assert (caught.value.text, roles) == (LONG, ["assistant", "tool", "assistant"])
    spent = manager.usage(session_id=session_id)
    assert (spent.turns, spent.tool_calls) == (1, 1), "what was done is stored"
    _, _, result, end = manager.get_history(session_id)
    assert result["content"] == found if found == "short" else "no result" in result["content"]
    assert (end["content"], end["metadata"]["interrupted"]) == ("", "stopped")
    assert end["metadata"]["error"] == "SessionTooLarge"


def test_the_model_is_not_asked_when_there_is_no_room_for_an_answer(open_manager: Open) -> None:
    asked: list[Any] = []

    def answer(messages: list[dict[str, Any]]) -> str:
        asked.append(messages)
        return "a" * 2000

    manager = open_manager(answer, redis={"max_session_size": LIMIT})
    session_id = manager.create_or_resume_session()
    for _ in range(4):
        manager.chat(session_id, "q" * 2000)
    state = manager.store.session_state(session_id)
    turns = len(asked)
    for _ in range(3):
        with pytest.raises(SessionTooLarge) as caught:
            manager.chat(session_id, "q" * (LIMIT - state.bytes - 1000))
        assert (caught.value.text, caught.value.size > LIMIT) == ("", True)
    assert len(asked) == turns
    manager.clear_history(session_id)
    assert manager.chat(session_id, "again") == "a" * 2000
