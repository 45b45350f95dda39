"""One stored conversation becomes a valid request for each provider, whoever answered so far."""

from __future__ import annotations

from typing import Any

import pytest

from miniagent_redis.models import Message, ToolCall
from tests.support.provider_requests import anthropic, gemini, openai, text


def exchange(first: str = "call_1", second: str = "call_2") -> list[Message]:
    return [
        Message("user", "Weather and time?"),
        Message(
            "assistant",
            "",
            tool_calls=(
                ToolCall(first, "weather", {"city": "Oslo"}),
                ToolCall(second, "clock", {}),
            ),
        ),
        Message("tool", "sunny", tool_call_id=first, name="weather"),
        Message(
            "tool", "it stopped", tool_call_id=second, name="clock", metadata={"is_error": True}
        ),
        Message("user", "Thanks"),
    ]


def test_openai_gets_parallel_calls_and_their_results() -> None:
    assert openai(*exchange(), system="Be brief") == [
        {"role": "system", "content": "Be brief"},
        {"role": "user", "content": "Weather and time?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "weather", "arguments": '{"city": "Oslo"}'},
                },
                {
                    "id": "call_2",
                    "type": "function",
                    "function": {"name": "clock", "arguments": "{}"},
                },
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
        {"role": "tool", "tool_call_id": "call_2", "content": "it stopped"},
        {"role": "user", "content": "Thanks"},
    ]


def test_anthropic_gets_all_results_and_the_next_message_in_one() -> None:
    system, messages = anthropic(*exchange(), system="Be brief")
    assert system == "Be brief"
    assert messages == [
        {"role": "user", "content": [text("Weather and time?")]},
        {
            "role": "assistant",
            "content": [
                {
                    "type": "tool_use",
                    "id": "call_1",
                    "name": "weather",
                    "input": {"city": "Oslo"},
                },
                {"type": "tool_use", "id": "call_2", "name": "clock", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "call_1", "content": "sunny"},
                {
                    "type": "tool_result",
                    "tool_use_id": "call_2",
                    "content": "it stopped",
                    "is_error": True,
                },
                text("Thanks"),
            ],
        },
    ]


def test_gemini_gets_all_results_and_the_next_message_in_one() -> None:
    assert gemini(*exchange())[1] == [
        {"role": "user", "parts": [{"text": "Weather and time?"}]},
        {
            "role": "model",
            "parts": [
                {"function_call": {"name": "weather", "args": {"city": "Oslo"}}},
                {"function_call": {"name": "clock", "args": {}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"function_response": {"name": "weather", "response": {"output": "sunny"}}},
                {"function_response": {"name": "clock", "response": {"error": "it stopped"}}},
                {"text": "Thanks"},
            ],
        },
    ]


def test_gemini_is_told_that_a_call_in_the_current_turn_was_made_by_another_model() -> None:
    turn = exchange()[:-1]
    first, second = gemini(*turn)[1][1]["parts"]
    assert first["thought_signature"] == b"skip_thought_signature_validator"
    assert "thought_signature" not in second
    assert "thought_signature" not in gemini(*turn, model="gemini-2.5-pro")[1][1]["parts"][0]


def test_who_says_nothing_is_left_out_but_for_the_user() -> None:
    messages = [Message("user", " "), Message("assistant", ""), Message("user", "Hello")]
    assert openai(*messages) == [
        {"role": "user", "content": "(empty message)"},
        {"role": "user", "content": "Hello"},
    ]
    both = [text("(empty message)"), text("Hello")]
    assert anthropic(*messages)[1] == [{"role": "user", "content": both}]
    parts = [{"text": "(empty message)"}, {"text": "Hello"}]
    assert gemini(*messages)[1] == [{"role": "user", "parts": parts}]


def test_the_user_speaks_first_and_the_system_has_no_role() -> None:
    messages = [
        Message("system", "Rule 1"),
        Message("assistant", "Welcome!"),
        Message("system", "Rule 2"),
        Message("user", "Hi"),
    ]
    system, sent = anthropic(*messages, system="Be brief")
    assert system == "Be brief\n\nRule 1\n\nRule 2"
    assert [message["role"] for message in sent] == ["user", "assistant", "user"]
    system, sent = gemini(*messages)
    assert system == "Rule 1\n\nRule 2"
    assert [content["role"] for content in sent] == ["user", "model", "user"]
    roles = [message["role"] for message in openai(*messages)]
    assert roles == ["system", "assistant", "system", "user"]


@pytest.mark.parametrize("call_id", ["call:1", "x" * 70, "überall", "call_0"])
def test_ids_of_other_providers_are_made_valid_and_unique(call_id: str) -> None:
    messages = exchange(call_id, "call_2") + exchange(call_id, "call_2")
    sent = anthropic(*messages)[1]
    blocks = [block for message in sent for block in message["content"]]
    calls = [block["id"] for block in blocks if block["type"] == "tool_use"]
    assert len(set(calls)) == 4
    assert [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"] == calls
    assert all(len(one) <= 40 and one.replace("_", "").isalnum() for one in calls)
    assert next(block["id"] for block in blocks if block.get("name") == "clock") == "call_2"
    assert anthropic(*messages)[1] == sent  # the same the next time, or no prompt cache would hit


def test_ids_beside_blocks_of_the_provider_itself_stay_as_they_are() -> None:
    def turn(provider: str) -> list[Message]:
        order = [{"own": {"type": "thinking"}}, {"call": "call:0", "caller": {"type": "x"}}]
        blocks = [{"provider": provider, "data": {"order": order}}]
        call = ToolCall("call:0", "look")
        return [
            Message("user", "Look"),
            Message("assistant", "", tool_calls=(call,), metadata={"blocks": blocks}),
            Message("tool", "a cat", tool_call_id="call:0", name="look"),
        ]

    def sent(provider: str) -> list[dict[str, Any]]:
        return anthropic(*turn(provider), *turn(provider))[1]

    use = {"type": "tool_use", "id": "call:0", "name": "look", "input": {}, "caller": {"type": "x"}}
    for own in (sent("anthropic")[1], sent("anthropic")[3]):
        assert own["content"] == [{"type": "thinking"}, use]
    (foreign,) = sent("else")[1]["content"]
    assert foreign["id"].startswith("call_")


def test_names_of_tools_that_another_model_made_up_are_made_valid() -> None:
    call = ToolCall("a", "functions.look up", {})
    result = Message("tool", "no such tool", tool_call_id="a", name="functions.look up")
    messages = [Message("user", "Look"), Message("assistant", "", tool_calls=(call,)), result]
    assert openai(*messages)[1]["tool_calls"][0]["function"]["name"] == "functions_look_up"
    response = gemini(*messages)[1][2]["parts"][0]["function_response"]
    assert response["name"] == "functions_look_up"


def test_blocks_of_another_provider_are_passed_over() -> None:
    blocks = [
        {"provider": "else", "data": {"order": [{"own": {"type": "secret"}}], "message": {"x": 1}}}
    ]
    messages = [Message("user", "Hi"), Message("assistant", "Ho", metadata={"blocks": blocks})]
    assert openai(*messages)[1] == {"role": "assistant", "content": "Ho"}
    assert anthropic(*messages)[1][1] == {"role": "assistant", "content": [text("Ho")]}
    assert gemini(*messages)[1][1] == {"role": "model", "parts": [{"text": "Ho"}]}


def test_a_layout_that_no_longer_fits_loses_neither_text_nor_calls() -> None:
    order = [{"text": 2}, {"own": {"type": "thinking"}}, {"call": "gone"}, {"text": 90}]
    blocks = [{"provider": "anthropic", "data": {"order": order}}]
    reply = Message(
        "assistant",
        "Let me see.",
        tool_calls=(ToolCall("new", "look"),),
        metadata={"blocks": blocks},
    )
    result = Message("tool", "", tool_call_id="new", name="look")
    content = anthropic(Message("user", "Hi"), reply, result)[1][1]["content"]
    assert content == [
        text("Le"),
        {"type": "thinking"},
        text("t me see."),
        {"type": "tool_use", "id": "new", "name": "look", "input": {}},
    ]
