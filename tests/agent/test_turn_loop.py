"""The loop of a turn, step by step: what it wants done, and what it makes of the outcome."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import pytest

from miniagent_redis.agent import AgentConfig, History, TurnContext
from miniagent_redis.agent.spent import spent_on
from miniagent_redis.agent.steps import (
    Action,
    AskModel,
    AwaitTool,
    Outcome,
    Stage,
    StartTools,
    TurnLoop,
)
from miniagent_redis.errors import ModelError
from miniagent_redis.llm import Block, Reply, ToolSpec, UnreadCall
from miniagent_redis.models import Message, ToolCall, ToolResult, Usage, UsageTotals
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.tools import ToolRegistry

USER = Message("user", "What is it?")
A, B = ToolCall("a", "look"), ToolCall("b", "pay")
LOOK, PAY = ToolResult("a", "look", "seen"), ToolResult("b", "pay", "failed", is_error=True)


def tools() -> ToolRegistry:
    registry = ToolRegistry()
    registry.add(lambda: 1, name="look", description="Look")
    registry.add(lambda: 1, name="pay", description="Pay", idempotent=False)
    return registry


def start(
    staged: Sequence[Message] = (USER,), history: Sequence[Message] = (), **config: Any
) -> Generator[Action, Outcome, Message | None]:
    offered = tools()
    return TurnLoop(
        config=AgentConfig(**config),
        tools=offered,
        specs=tuple(ToolSpec(**spec) for spec in offered.specs()),
        turn=TurnContext("s", "t", "u", clock=ManualClock(100.0)),
    ).run(History(history), staged)


def answer_of(loop: Generator[Action, Outcome, Message | None], reply: Reply) -> Message:
    with pytest.raises(StopIteration) as end:
        loop.send(reply)
    answer = end.value.value
    assert isinstance(answer, Message)
    return answer


def staged_by(action: Action) -> Message:
    assert isinstance(action, Stage)
    (message,) = action.messages
    return message


def test_without_tools_the_model_is_asked_once_and_its_answer_returned() -> None:
    history = [Message("user", "Hi"), Message("assistant", "Hello")]
    loop = start(history=history, system_prompt="Be kind", temperature=0.5, model_timeout=9)
    asked = next(loop)
    assert isinstance(asked, AskModel)
    request = asked.request
    assert request.messages == (*history, USER)
    assert request.system == "Be kind"
    assert request.params == {"temperature": 0.5}
    assert (request.timeout, request.session_id, request.user_id) == (9, "s", "u")
    assert request.tools[0] == ToolSpec("look", "Look", tools().specs()[0]["parameters"])

    answer = answer_of(loop, Reply("It is tea", usage=Usage(5, 3, 1)))
    assert (answer.role, answer.text) == ("assistant", "It is tea")
    assert (answer.turn_id, answer.created_at) == ("t", 100.0)
    assert answer.metadata == {"usage": {"input_tokens": 5, "output_tokens": 3, "cached_tokens": 1}}
    assert spent_on([answer, USER, answer]) == UsageTotals(10, 6, 2, unpriced_turns=1)


def test_a_reply_with_calls_is_staged_before_they_start_and_results_as_they_finish() -> None:
    loop = start()
    next(loop)
    reply = staged_by(loop.send(Reply("Let me see", (A, B))))
    assert (reply.text, reply.tool_calls) == ("Let me see", (A, B))
    assert next(loop) == StartTools((A, B))

    assert next(loop) == AwaitTool()
    pay = staged_by(loop.send(PAY))
    assert (pay.role, pay.text, pay.name, pay.tool_call_id) == ("tool", "failed", "pay", "b")
    assert (pay.turn_id, pay.created_at, pay.metadata) == ("t", 100.0, {"is_error": True})

    assert next(loop) == AwaitTool()
    look = staged_by(loop.send(LOOK))
    assert look.metadata == {}

    asked = next(loop)
    assert isinstance(asked, AskModel)
    assert asked.request.messages == (USER, reply, look, pay), "results are in the calls' order"
    assert answer_of(loop, Reply("Done")).text == "Done"


def test_a_resumed_turn_uses_staged_results_and_runs_the_other_calls() -> None:
    other = ToolCall("c", "look")
    reply = Message("assistant", tool_calls=(A, other))
    kept = Message("tool", "seen before", tool_call_id="a", name="look")
    loop = start([USER, reply, kept])
    assert next(loop) == StartTools((other,))
    assert next(loop) == AwaitTool()
    fresh = staged_by(loop.send(ToolResult("c", "look", "seen now")))
    asked = next(loop)
    assert isinstance(asked, AskModel)
    assert asked.request.messages == (USER, reply, kept, fresh)


def test_a_resumed_turn_with_all_results_asks_the_model_at_once() -> None:
    reply = Message("assistant", tool_calls=(A,))
    kept = Message("tool", "seen", tool_call_id="a", name="look")
    assert isinstance(next(start([USER, reply, kept])), AskModel)


def test_what_may_do_harm_twice_is_not_run_again_when_a_turn_is_resumed() -> None:
    loop = start([USER, Message("assistant", tool_calls=(A, B))])
    lost = staged_by(next(loop))
    assert (lost.tool_call_id, lost.metadata) == ("b", {"is_error": True})
    assert "outcome unknown: the process stopped while it ran" in lost.text
    assert next(loop) == StartTools((A,))


def test_a_tool_that_is_gone_when_a_turn_is_resumed_is_left_to_the_caller_of_tools() -> None:
    gone = ToolCall("g", "gone")
    assert next(start([USER, Message("assistant", tool_calls=(gone,))])) == StartTools((gone,))


def test_too_many_steps_end_the_turn_before_more_tools_are_run() -> None:
    loop = start(max_steps=2)
    next(loop)
    loop.send(Reply("", (A,)))
    assert next(loop) == StartTools((A,))
    next(loop)
    loop.send(LOOK)
    next(loop)
    with pytest.raises(ModelError, match="did not come to an answer within 2 steps"):
        loop.send(Reply("", (A,)))


def test_the_last_reply_is_asked_for_without_tools_and_says_so() -> None:
    loop = start(max_steps=1)
    asked = next(loop)
    assert isinstance(asked, AskModel)
    assert asked.request.tools == ()
    assert answer_of(loop, Reply("That is all")).metadata == {"finish_reason": "max_steps"}


def test_a_last_reply_that_was_cut_says_that_instead() -> None:
    loop = start(max_steps=1)
    next(loop)
    answer = answer_of(loop, Reply("That is", finish_reason="length"))
    assert answer.metadata == {"finish_reason": "length"}


def test_steps_before_a_resume_count() -> None:
    kept = Message("tool", "seen", tool_call_id="a", name="look")
    loop = start([USER, Message("assistant", tool_calls=(A,)), kept], max_steps=2)
    next(loop)
    with pytest.raises(ModelError, match="within 2 steps"):
        loop.send(Reply("", (A,)))


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_answer_is_an_error(text: str) -> None:
    loop = start()
    next(loop)
    with pytest.raises(ModelError, match=r"empty answer.*'length'"):
        loop.send(Reply(text, finish_reason="length"))


def test_an_answer_that_was_cut_says_so_in_its_metadata() -> None:
    loop = start()
    next(loop)
    assert answer_of(loop, Reply("Once", finish_reason="length")).metadata == {
        "finish_reason": "length"
    }


def test_a_call_that_cannot_be_read_has_a_result_that_says_so_and_the_turn_goes_on() -> None:
    loop = start()
    next(loop)
    action = loop.send(Reply("", (A,), unread=(UnreadCall("a", "look", '{"x": ', "it ends"),)))
    assert isinstance(action, Stage)
    reply, result = action.messages
    assert reply.tool_calls == (A,)
    assert (result.tool_call_id, result.name) == ("a", "look")
    assert result.text == ('not run: the arguments are no JSON object (it ends); you sent: {"x": ')
    assert result.metadata == {"is_error": True, "not_run": True}
    asked = next(loop)
    assert isinstance(asked, AskModel)
    assert asked.request.messages == (USER, reply, result)


def test_the_good_calls_of_a_reply_are_run_beside_a_bad_one() -> None:
    loop = start()
    next(loop)
    action = loop.send(Reply("", (A, B), unread=(UnreadCall("b", "pay", "5", "a number"),)))
    assert isinstance(action, Stage)
    assert [message.tool_call_id for message in action.messages] == [None, "b"]
    assert next(loop) == StartTools((A,))
    next(loop)
    loop.send(LOOK)
    assert isinstance(next(loop), AskModel)


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_a_call_that_was_cut_off_is_never_run(reason: str) -> None:
    loop = start()
    next(loop)
    action = loop.send(Reply("Let me", (A, B), finish_reason=reason))
    assert isinstance(action, Stage)
    assert action.messages[0].metadata == {"finish_reason": reason}
    assert all(message.text.startswith("not run: ") for message in action.messages[1:])
    resumed = start([USER, *action.messages])
    assert isinstance(next(resumed), AskModel), "nor when another one goes on with the turn"
    assert isinstance(next(loop), AskModel)


def wrong(loop: Generator[Action, Outcome, Message | None]) -> Action:
    """Answer with a call that is cut off; return what the loop does behind it."""
    assert isinstance(loop.send(Reply("", (A,), finish_reason="length")), Stage)
    return next(loop)


def test_three_wrongs_in_a_row_end_the_turn() -> None:
    loop = start()
    next(loop)
    wrong(loop)
    wrong(loop)
    with pytest.raises(ModelError, match=r"wrong 3 times in a row.*not run: your answer was cut"):
        wrong(loop)


def test_a_call_that_is_run_begins_the_row_anew() -> None:
    loop = start()
    next(loop)
    for _ in range(3):
        wrong(loop)
        assert isinstance(wrong(loop), AskModel)
        loop.send(Reply("", (A,)))
        assert next(loop) == StartTools((A,))
        next(loop)
        loop.send(LOOK)
        assert isinstance(next(loop), AskModel)


def test_tools_that_do_not_run_are_wrongs_too_and_a_resumed_turn_counts_on() -> None:
    told = ToolResult("a", "look", "there is no argument 'x'", is_error=True, not_run=True)
    loop = start()
    next(loop)
    staged = [USER]
    for _ in range(2):
        staged.append(staged_by(loop.send(Reply("", (A,)))))
        next(loop)
        next(loop)
        staged.append(staged_by(loop.send(told)))
        next(loop)
    resumed = start(staged)
    next(resumed)
    with pytest.raises(ModelError, match="wrong 3 times in a row"):
        wrong(resumed)


MALFORMED = Reply(
    "Let me see", usage=Usage(5, 1), finish_reason="malformed_call", finish_detail="?!"
)


def test_a_call_that_the_vendor_dropped_is_asked_for_again_with_a_note() -> None:
    loop = start()
    next(loop)
    asked = loop.send(MALFORMED)
    assert isinstance(asked, AskModel)
    _, said, note = asked.request.messages
    assert (said.role, said.text, note.role) == ("assistant", "Let me see", "user")
    assert note.text.startswith("[Your call of a tool could not be read (?!)")
    assert answer_of(loop, Reply("Tea", usage=Usage(6, 1))).metadata == {
        "usage": {"input_tokens": 11, "output_tokens": 2}
    }


def test_a_call_that_the_vendor_drops_again_and_again_is_an_error_with_what_it_cost() -> None:
    loop = start()
    next(loop)
    loop.send(MALFORMED)
    wrong(loop)
    with pytest.raises(ModelError, match=r"could not be read: \?!") as caught:
        loop.send(MALFORMED)
    assert caught.value.tokens[:2] == (5, 1), "the other one is stored with the second reply"


def test_to_say_nothing_is_an_answer_once_a_tool_has_run() -> None:
    loop = start()
    next(loop)
    loop.send(Reply("", (A,)))
    next(loop)
    next(loop)
    loop.send(LOOK)
    next(loop)
    answer = answer_of(loop, Reply(""))
    assert (answer.text, answer.metadata) == ("", {"finish_reason": "stop"})


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_to_have_said_nothing_yet_is_none(reason: str) -> None:
    loop = start()
    next(loop)
    loop.send(Reply("", (A,)))
    next(loop)
    next(loop)
    loop.send(LOOK)
    next(loop)
    with pytest.raises(ModelError, match="empty answer"):
        loop.send(Reply("", finish_reason=reason))


def test_to_say_nothing_after_calls_that_were_not_run_is_none() -> None:
    loop = start()
    next(loop)
    wrong(loop)
    with pytest.raises(ModelError, match="empty answer"):
        loop.send(Reply(""))


def test_blocks_of_the_provider_are_kept_in_the_metadata() -> None:
    loop = start()
    next(loop)
    blocks = (Block("a", {"signature": "x"}),)
    stored = [{"provider": "a", "data": {"signature": "x"}}]
    message = staged_by(loop.send(Reply("", (A,), blocks=blocks)))
    assert message.metadata == {"blocks": stored}


def test_a_block_that_cannot_be_stored_is_the_models_error() -> None:
    loop = start()
    next(loop)
    with pytest.raises(ModelError, match="block of the model's reply is no JSON"):
        loop.send(Reply("Hi", blocks=(Block("a", {"x": b""}),)))


def test_a_reply_keeps_what_its_request_was_estimated_at_beside_the_usage() -> None:
    loop = start(max_context_tokens=1_000)
    next(loop)
    metadata = answer_of(loop, Reply("Tea", usage=Usage(80, 3))).metadata
    assert metadata["usage"]["input_tokens"] == 80
    assert metadata["estimated_input_tokens"] > 20
    others: list[tuple[Any, Usage]] = [
        ({}, Usage(80, 3)),
        ({"max_context_tokens": 1_000}, Usage(0, 3)),
    ]
    for config, usage in others:
        loop = start(**config)
        next(loop)
        assert "estimated_input_tokens" not in answer_of(loop, Reply("Tea", usage=usage)).metadata


def test_an_unreadable_record_in_the_history_does_not_reach_the_model() -> None:
    orphan = Message("tool", "seen", tool_call_id="x", name="look")
    asked = next(start(history=[orphan]))
    assert isinstance(asked, AskModel)
    assert asked.request.messages == (USER,)
