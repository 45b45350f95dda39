"""What is sent to a model is always a valid conversation, whatever became of the thread."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from miniagent_redis.agent import conversation
from miniagent_redis.models import Message, ToolCall

USER = Message("user", "Hi")
ANSWER = Message("assistant", "Hello")


def calls(*ids: str, text: str = "") -> Message:
    return Message("assistant", text, tool_calls=tuple(ToolCall(one, "tool") for one in ids))


def result(call_id: str | None) -> Message:
    return Message("tool", f"result {call_id}", tool_call_id=call_id, name="tool")


def test_a_valid_conversation_stays_as_it_is() -> None:
    for thread in ([], [USER, ANSWER], [USER, calls("a", "b"), result("a"), result("b"), ANSWER]):
        assert conversation(thread) == tuple(thread)


def test_results_are_sorted_by_their_calls() -> None:
    a, b, asked = result("a"), result("b"), calls("a", "b")
    assert conversation([USER, asked, b, a]) == (USER, asked, a, b)


def test_a_result_without_its_call_is_left_out() -> None:
    assert conversation([USER, result("a"), ANSWER]) == (USER, ANSWER)
    assert conversation([result(None), USER]) == (USER,)


def test_a_call_without_its_result_is_left_out() -> None:
    one, two = conversation([calls("a", "b"), result("b"), ANSWER])[:2]
    assert [call.id for call in one.tool_calls] == ["b"]
    assert two.tool_call_id == "b"
    assert conversation([USER, calls("a"), ANSWER]) == (USER, ANSWER)


def test_what_was_said_beside_a_lost_call_stays() -> None:
    kept = conversation([USER, calls("a", text="Let me see")])[1]
    assert (kept.text, kept.tool_calls) == ("Let me see", ())


def test_ids_may_come_again_in_later_replies() -> None:
    thread = [calls("a"), result("a"), calls("a"), result("a")]
    assert conversation(thread) == tuple(thread)


IDS = st.sampled_from(["a", "b", "c"])
MESSAGES = st.one_of(
    st.just(USER),
    st.just(ANSWER),
    IDS.map(result),
    st.just(result(None)),
    st.lists(IDS, max_size=3).map(lambda ids: calls(*ids)),
)


def is_valid(view: tuple[Message, ...]) -> bool:
    """Tell whether each call is followed by its one result, and there are no others."""
    expected: list[str] = []
    for message in view:
        if message.role == "tool":
            if not expected or expected.pop(0) != message.tool_call_id:
                return False
        elif expected:
            return False
        else:
            expected = [call.id for call in message.tool_calls]
    return not expected


@given(st.lists(MESSAGES, max_size=12))
def test_the_view_of_any_thread_is_valid_and_loses_nothing_that_was_said(
    thread: list[Message],
) -> None:
    view = conversation(thread)
    assert is_valid(view)
    assert [m for m in view if m.role == "user"] == [m for m in thread if m.role == "user"]
    assert [m.text for m in view if m.text and m.role == "assistant"] == [
        m.text for m in thread if m.text and m.role == "assistant"
    ]
    assert conversation(view) == view


@given(st.lists(MESSAGES, max_size=12))
def test_a_valid_thread_loses_nothing_at_all(thread: list[Message]) -> None:
    view = conversation(thread)
    if is_valid(tuple(thread)):
        expected = [m for m in thread if m.content or m.tool_calls or m.role != "assistant"]
        assert [m for m in view if m.content or m.tool_calls] == expected
