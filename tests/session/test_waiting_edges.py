"""The edges of turns that wait: what is repeated, given twice, or of a wrong kind meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from miniagent_redis import (
    Approve,
    Deny,
    Event,
    EventType,
    InvalidInput,
    SessionWaiting,
    ToolCall,
    ToolRegistry,
)
from miniagent_redis.llm import ScriptedModel
from tests.session.conftest import Open

PICK = ToolCall("c1", "pick", {})


def picking() -> ToolRegistry:
    tools = ToolRegistry()
    tools.declare("pick", "Let somebody pick.", {"type": "object", "properties": {}})
    return tools


@pytest.mark.parametrize("on_busy", ["wait", "reject", "interrupt"])
def test_a_repetition_of_a_turn_that_is_over_leaves_the_one_that_waits_alone(
    open_manager: Open, on_busy: str
) -> None:
    model = ScriptedModel(["hello", [PICK], "done"])
    manager = open_manager(model, picking(), on_busy=on_busy)
    sid = manager.create_or_resume_session()
    first = manager.run(sid, "Hi!", turn_id="t1")
    assert manager.run(sid, "Pick.", turn_id="t2").waiting
    assert manager.run(sid, "Hi!", turn_id="t1") == first
    assert manager.agent.submit(sid, "Hi!", turn_id="t1").result() == first
    assert manager.start(sid, "Hi!", turn_id="t1").turn_id == "t1"
    with pytest.raises(InvalidInput, match="had another message"):
        manager.run(sid, "Ho!", turn_id="t1")
    assert manager.turn(sid, "t2").state == "waiting"
    assert manager.answer(sid, "t2", {"c1": "blue"}).text == "done"


def test_a_new_name_meanwhile_is_a_new_message(open_manager: Open) -> None:
    manager = open_manager(ScriptedModel([[PICK], "done"]), picking())
    sid = manager.create_or_resume_session()
    assert manager.run(sid, "Pick.", turn_id="t1").waiting
    with pytest.raises(SessionWaiting):
        manager.run(sid, "Hi!", turn_id="t2")
    assert manager.answer(sid, "t1", {"c1": "blue"}).text == "done"


def test_an_answer_that_is_repeated_has_the_output_again(open_manager: Open) -> None:
    manager = open_manager(ScriptedModel([[PICK], "[1, 2]"]), picking())
    sid = manager.create_or_resume_session()
    waits = manager.run(sid, "Pick.", output=list[int])
    answers = [
        manager.answer(sid, waits.turn_id, {"c1": "blue"}, output=list[int]) for _ in range(2)
    ]
    assert [answer.output for answer in answers] == [[1, 2], [1, 2]]


@pytest.mark.parametrize(
    "answer",
    [5, None, b"blue", ["blue"], {"a": 1}, Approve, Approve(), Deny(5)],  # type: ignore
)
def test_an_answer_of_a_wrong_kind_changes_nothing(open_manager: Open, answer: Any) -> None:
    manager = open_manager(ScriptedModel([[PICK], "done"]), picking())
    sid = manager.create_or_resume_session()
    turn_id = manager.run(sid, "Pick.").turn_id
    with pytest.raises(InvalidInput):
        manager.answer(sid, turn_id, {"c1": answer})
    assert manager.turn(sid, turn_id).state == "waiting"
    assert manager.answer(sid, turn_id, {"c1": "blue"}).text == "done"


@pytest.mark.parametrize("where", ["here", "elsewhere"])
@pytest.mark.parametrize("moment", ["while a tool runs", "as it is to be parked"])
def test_a_turn_that_is_cancelled_before_it_waits_does_not_wait(
    open_manager: Open, where: str, moment: str
) -> None:
    tools = ToolRegistry()

    @tools.tool
    def look() -> str:
        if moment == "while a tool runs":
            assert other.cancel(sid)
        return "found"

    def cancel(event: Event) -> None:
        if moment == "as it is to be parked":
            assert other.cancel(sid)

    tools.declare("locate", "Ask the phone.", {"type": "object", "properties": {}})
    calls = [ToolCall("1", "look", {}), ToolCall("2", "locate", {})]
    manager = open_manager(ScriptedModel([calls]), tools)
    other = manager if where == "here" else open_manager()
    manager.agent.callbacks.on(EventType.TOOL_RESULT, cancel)
    sid = manager.create_or_resume_session()
    result = manager.run(sid, "Where am I?")
    assert (result.waiting, result.finish_reason) == ((), "cancelled")
    last = manager.get_history(sid)[3]
    assert last["content"] == "cancelled by the user before it was run"
    assert list(manager.list_waiting()) == []
    assert manager.store.session_state(sid).open_turn is None
