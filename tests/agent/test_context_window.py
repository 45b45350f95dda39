"""What of a thread is sent when there is not room for all of it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import chain
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from miniagent_redis.agent import AgentConfig, History, conversation
from miniagent_redis.agent.context import ContextWindow, View
from miniagent_redis.agent.view import opening
from miniagent_redis.llm import ToolSpec, estimate_tokens, message_tokens
from miniagent_redis.models import Message
from tests.support.exchanges import calls, is_valid, result

NOW = Message("user", "And now?")
TOOL = ToolSpec("look", "Look at it", {"type": "object", "properties": {}})


def words(text: str) -> int:
    return len(text.split())


def view(history: Sequence[Message], *steps: Message, tools: Any = (), **settings: Any) -> View:
    config = AgentConfig(**settings)
    return ContextWindow(config, tools, History(history)).view(steps or [NOW])


def talk(turns: int) -> list[Message]:
    """Return a thread of so many turns: a word asked, a word answered."""
    roles: list[Any] = ["user", "assistant"]
    return [Message(role, f"{role}{i}") for i in range(turns) for role in roles]


def with_tools(size: int = 1) -> list[Message]:
    """Return a turn of four messages whose tool result has ``size`` words."""
    found = Message("tool", "found " * size, tool_call_id="a", name="tool")
    return [Message("user", "asked"), calls("a"), found, Message("assistant", "answered")]


def test_without_limits_all_is_sent_and_nothing_is_counted() -> None:
    found = view(talk(500))
    assert (len(found.messages), found.estimate) == (1001, None)


def test_a_number_of_messages_counts_those_of_the_current_turn() -> None:
    history = talk(4)
    assert view(history, max_context_messages=9).messages == (*history, NOW)
    steps = [NOW, calls("a"), result("a")]
    assert view(history, *steps, max_context_messages=9).messages == (*history[-2:], *steps)


def test_what_is_full_is_cut_to_some_seven_tenths_of_the_room() -> None:
    history = talk(50)
    assert view(history, max_context_messages=101).messages == (*history, NOW)
    assert view(history, max_context_messages=100).messages == (*history[-68:], NOW)


def test_a_window_of_few_turns_is_cut_such_that_ten_follow_but_to_no_less_than_half() -> None:
    history = talk(50)
    for limit, kept in [(61, 40), (51, 30), (41, 20), (31, 14), (21, 10)]:
        assert view(history, max_context_messages=limit).messages == (*history[-kept:], NOW)
    settings: dict[str, Any] = {"count_tokens": words, "max_context_tokens": 256}
    # "And now?" takes 6 tokens and each turn 10, so that there is room for 25 turns.
    assert view(history, **settings).messages == (*history[-30:], NOW)
    assert view(history, max_context_messages=41, **settings).messages == (*history[-20:], NOW)


def test_an_exchange_that_fits_without_its_calls_is_no_reason_to_fill_the_room() -> None:
    history = [message for _ in range(30) for message in with_tools(9)]
    for limit in range(100, 150):
        found = view(history, max_context_tokens=limit, count_tokens=words)
        size = sum(message_tokens(message, words) for message in found.messages)
        assert size <= 0.75 * limit, "there is room for turns to come"


def test_the_last_exchange_may_take_all_the_room() -> None:
    history = talk(5)
    assert view(history, max_context_messages=3).messages == (*history[-2:], NOW)


def test_the_cut_is_in_front_of_a_user_message() -> None:
    history = talk(5)
    assert view(history, max_context_messages=4).messages == (*history[-2:], NOW)
    assert view(history, max_context_messages=2).messages == (NOW,)


def test_a_window_that_was_made_larger_is_filled_again() -> None:
    history = talk(50)
    before = view(history, max_context_messages=11)
    history += [NOW, Message("assistant", "So", metadata=before.noted)]
    assert before.noted
    assert view(history, max_context_messages=11).messages == (*history[-6:], NOW)
    assert view(history, max_context_messages=1000).messages == (*history, NOW)
    assert len(view(history, max_context_messages=41).messages) == 21


def test_the_current_turn_is_sent_whole_however_long_it_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    steps = [NOW, calls("a"), result("a"), calls("b"), result("b")]
    assert view(talk(5), *steps, max_context_messages=1).messages == tuple(steps)
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        assert view(talk(5), *steps, max_context_tokens=10).messages == tuple(steps)
    assert "tokens is sent, though max_context_tokens is 10" in caplog.text


def test_instructions_and_tools_are_counted() -> None:
    counted = {"count_tokens": words, "max_context_tokens": 56}
    # "And now?" and each of the others: 4 tokens more than words.
    assert len(view(talk(5), **counted).messages) == 11
    assert len(view(talk(6), **counted).messages) == 5
    assert len(view(talk(6), system_prompt="Be brief, please " * 4, **counted).messages) == 3
    assert len(view(talk(6), tools=[TOOL], **counted).messages) == 3


def test_system_messages_at_the_beginning_of_the_thread_stay() -> None:
    rules = [Message("system", "Be kind"), Message("system", "Be brief")]
    later = [Message("system", "It is late"), *talk(3)]
    history = [*rules, *talk(3), *later]
    assert view(history, max_context_messages=9).messages == (*rules, *later[-2:], NOW)
    assert view(history, max_context_messages=1).messages == (*rules, NOW)
    assert view(rules, max_context_messages=1).messages == (*rules, NOW)


def test_a_turn_that_is_too_long_goes_without_its_tool_calls() -> None:
    history = [*talk(1), *with_tools(100), *talk(1)]
    found = view(history, max_context_tokens=80, count_tokens=words)
    said = ["user0", "assistant0", "asked", "answered", "user0", "assistant0", NOW.text]
    assert [message.text for message in found.messages] == said
    assert view(history, max_context_tokens=200, count_tokens=words).messages == (*history, NOW)


def test_what_one_request_leaves_out_stays_out_in_the_turn() -> None:
    window = ContextWindow(AgentConfig(max_context_messages=5), (), History(talk(5)))
    steps = [NOW, calls("a"), result("a")]
    assert len(window.view(steps).messages) == 5
    assert len(window.view(steps[:1]).messages) == 3


def test_tool_calls_and_images_are_counted() -> None:
    plain, image = Message("user", "Look"), {"type": "image", "data": "A" * 1_000_000}
    assert message_tokens(plain) == 5
    assert message_tokens(Message("user", [{"type": "text", "text": "Look"}])) == 5
    assert message_tokens(Message("user", [image])) == 1_004
    assert message_tokens(calls("a")) > message_tokens(Message("assistant"))


def test_other_scripts_are_estimated_by_their_bytes() -> None:
    assert message_tokens(Message("user", "你好你好")) == 4 + 3
    assert message_tokens(Message("user", "lone \ud800")) == 4 + 2


def priced(estimate: int, real: int, *ids: str) -> Message:
    """Return a reply whose request was estimated and then charged."""
    usage = {"input_tokens": real, "output_tokens": 1, "cached_tokens": 0}
    return evolve(calls(*ids), metadata={"usage": usage, "estimated_input_tokens": estimate})


def length(*costs: tuple[int, int], limit: int) -> int:
    """Return how many messages are sent of a thread whose newest replies had these costs."""
    newest = [one for cost in costs for one in (Message("user", "So?"), priced(*cost))]
    return len(view([*talk(50), *newest], max_context_tokens=limit).messages)


def test_an_estimate_is_corrected_by_the_real_usage() -> None:
    assert length((100, 100), limit=300) == length((100, 200), limit=600)
    assert length((100, 100), limit=300) == length((100, 60), limit=180)


def test_the_highest_of_the_newest_corrections_counts() -> None:
    same = (100, 100)
    assert length((100, 200), same, limit=600) == length(same, (100, 200), limit=600)
    assert length((100, 200), same, limit=600) < length(same, same, limit=600)


def test_a_short_request_says_little_of_what_long_ones_cost() -> None:
    """Of a first message it is mostly what the server puts around it."""
    long = (100, 110)
    assert length((20, 40), long, limit=600) == length(long, long, limit=600)
    assert length((60, 120), long, limit=600) < length(long, long, limit=600)


def test_a_usage_that_cannot_be_neither_empties_nor_floods_the_view() -> None:
    assert length((100, 10**9), limit=600) == length((100, 400), limit=600) > 5
    assert length((100, 1), limit=150) == length((100, 50), limit=150)


def test_usage_in_the_current_turn_counts_too() -> None:
    def sent(*first: Message) -> int:
        return len(view(talk(50), NOW, *first, result("a"), max_context_tokens=300).messages)

    assert sent(priced(10, 30, "a")) < sent(calls("a"))


def test_a_counter_of_ones_own_is_taken_at_its_word() -> None:
    settings: dict[str, Any] = {"max_context_tokens": 300, "count_tokens": words}
    history = [*talk(50), Message("user", "So?"), priced(100, 200)]
    found = view(history, **settings)
    assert found.estimate is None
    size = sum(message_tokens(message, words) for message in found.messages)
    assert 300 - 100 - 15 < size <= 300 - 100 + 15, "ten of the thirty turns are let go"


def test_a_long_history_costs_no_more_than_a_short_one() -> None:
    def looked_at(turns: int) -> int:
        counted: list[str] = []

        def count(text: str) -> int:
            counted.append(text)
            return words(text)

        view(talk(turns), max_context_tokens=1_000, count_tokens=count)
        return len(counted)

    assert looked_at(5_000) == looked_at(500) < 500


def test_texts_that_come_again_in_a_turn_are_counted_once() -> None:
    counted: list[str] = []

    def count(text: str) -> int:
        counted.append(text)
        return words(text)

    settings = AgentConfig(max_context_tokens=1_000, count_tokens=count)
    window = ContextWindow(settings, [TOOL], History(talk(50)))
    window.view([NOW])
    before = len(counted)
    window.view([NOW, calls("a"), result("a")])
    assert len(counted) - before < 6


TEXTS = st.text("ab ", min_size=1, max_size=30)
IDS = st.lists(st.sampled_from("abc"), max_size=3)
MESSAGES = st.one_of(
    st.builds(Message, st.sampled_from(["user", "assistant", "system"]), TEXTS),
    IDS.map(lambda ids: calls(*ids)),
    st.sampled_from("abc").map(result),
)
TOOL_USE = IDS.flatmap(
    lambda ids: st.permutations(sorted(set(ids))).map(
        lambda order: [calls(*sorted(set(ids))), *map(result, order)] if ids else []
    )
)
TURNS = st.builds(
    lambda question, uses, answer: [Message("user", question), *chain(*uses), answer],
    TEXTS,
    st.lists(TOOL_USE, max_size=3),
    st.builds(Message, st.just("assistant"), TEXTS),
)
SOUND = st.lists(TURNS, max_size=8).map(lambda turns: list(chain(*turns)))
ANY = st.lists(MESSAGES, max_size=20)
LIMITS = st.fixed_dictionaries(
    {
        "max_context_tokens": st.none() | st.integers(1, 200),
        "max_context_messages": st.none() | st.integers(1, 30),
        "count_tokens": st.none() | st.just(words),
    }
)


def exchanges(messages: Sequence[Message]) -> list[list[Message]]:
    """Cut in front of each user message."""
    found: list[list[Message]] = []
    for message in messages:
        if message.role == "user" or not found:
            found.append([])
        found[-1].append(message)
    return found


def is_said(message: Message) -> bool:
    return message.role != "tool" and not message.tool_calls


@given(SOUND | ANY, TOOL_USE, LIMITS)
def test_the_view_of_any_thread_is_valid_and_within_the_limits(
    thread: list[Message], steps: list[Message], limits: dict[str, Any]
) -> None:
    found = view(thread, NOW, *steps, **limits).messages
    turn = conversation([NOW, *steps])
    rules = opening(thread)
    assert is_valid(found)
    assert found[: len(rules)] == tuple(rules)
    assert found[-len(turn) :] == turn

    history = found[len(rules) : -len(turn)]
    if history:
        count = limits["count_tokens"] or estimate_tokens
        assert len(found) <= (limits["max_context_messages"] or len(found))
        size = sum(message_tokens(message, count) for message in found)
        assert size <= (limits["max_context_tokens"] or size)

    # The newest exchanges, each whole or without its tool calls, and none missing in between.
    everything = exchanges(conversation(thread[len(rules) :]))
    kept = exchanges(history)
    assert len(kept) == len(everything) or all(one[0].role == "user" for one in kept)
    for part, whole in zip(reversed(kept), reversed(everything), strict=False):
        assert part in (whole, list(filter(is_said, whole)))


@given(SOUND, LIMITS)
def test_nothing_is_left_out_of_what_there_is_room_for(
    thread: list[Message], limits: dict[str, Any]
) -> None:
    found = view(thread, **limits).messages
    if len(found) <= len(thread):
        everything = [*thread, NOW]
        count, reserve = (limits["count_tokens"], 1) if limits["count_tokens"] else (None, 1.05)
        size = sum(message_tokens(message, count or estimate_tokens) for message in everything)
        assert len(everything) > (limits["max_context_messages"] or len(everything)) or (
            size * reserve > (limits["max_context_tokens"] or size * reserve)
        )


@given(SOUND, st.lists(TURNS, max_size=6), LIMITS)
def test_turns_to_come_begin_where_the_view_was_cut(
    thread: list[Message], later: list[list[Message]], limits: dict[str, Any]
) -> None:
    history = list(thread)
    for turn in later:
        before = view(history, turn[0], **limits)
        history += [*turn[:-1], evolve(turn[-1], metadata=before.noted)]
        after = view(history, NOW, **limits)
        if after.noted and after.noted == before.noted:
            assert after.messages[: len(before.messages)] == before.messages


@given(SOUND, st.lists(TOOL_USE, min_size=1, max_size=4), LIMITS)
def test_in_a_turn_the_view_only_loses_what_is_oldest(
    thread: list[Message], uses: list[list[Message]], limits: dict[str, Any]
) -> None:
    window = ContextWindow(AgentConfig(**limits), (), History(thread))
    steps, before = [NOW], len(thread) + 1
    for use in uses:
        questions = [m for m in window.view(steps).messages if m.role == "user"]
        assert len(questions) <= before
        before = len(questions)
        steps += use
