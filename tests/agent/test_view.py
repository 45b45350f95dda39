"""What is sent to a model is always a valid conversation, whatever became of the thread."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from miniagent_redis.agent import History, conversation
from miniagent_redis.models import Message
from tests.support.exchanges import calls, is_valid, result

USER = Message("user", "Hi")
ANSWER = Message("assistant", "Hello")


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


def test_a_thread_that_grows_is_looked_at_once() -> None:
    thread = History([USER, calls("a"), result("a"), ANSWER])
    first = thread.conversation()
    assert first == conversation(thread)
    looked_at: list[Message] = []
    new = [evolve(USER, content="More?"), calls("b", "c"), result("c"), result("b"), ANSWER]
    thread += new

    def watched(messages: Sequence[Message]) -> tuple[Message, ...]:
        looked_at.extend(messages)
        return conversation(messages)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("miniagent_redis.agent.view.conversation", watched)
        assert thread.conversation() == (*first, *conversation(new))
        assert thread.conversation() is thread.conversation()
    assert looked_at == new
    assert thread.conversation() == conversation(thread)
