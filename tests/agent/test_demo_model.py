"""The demo model answers from the messages it is given, the same each time."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miniagent_redis.llm import (
    DemoModel,
    Finish,
    ModelRequest,
    Reply,
    TextDelta,
    ToolCall,
    ToolSpec,
    fold,
)
from miniagent_redis.models import Message

CALCULATOR = ToolSpec("calculator", "", {})


def ask(*texts: str) -> Reply:
    """Hold a conversation with the model and return its last reply."""
    messages: list[Message] = []
    reply = Reply()
    for text in texts:
        messages.append(Message("user", text))
        reply = fold(DemoModel().stream(ModelRequest(tuple(messages), (CALCULATOR,))))
        messages.append(Message("assistant", reply.text or "…"))
    return reply


@pytest.mark.parametrize(
    "text",
    [
        "My name is Ada.",
        "Hi there, my name is Ada",
        "I'm Ada",
        "I\u2019m Ada!",
        "Hello, I am Ada and I like tea",
        "Please call me Ada.",
    ],
)
def test_it_greets_whoever_gives_a_name(text: str) -> None:
    assert ask(text).text == "Hello, Ada!"


@pytest.mark.parametrize("name", ["Ada Lovelace", "Zoë", "李雷", "Jean-Luc", "O'Neill", "ada"])
def test_it_takes_names_as_they_are(name: str) -> None:
    assert ask(f"My name is {name}.").text == f"Hello, {name}!"
    assert ask(f"My name is {name}.", "What is my name?").text == f"Your name is {name}."


@pytest.mark.parametrize("text", ["I'm tired", "I am not sure", "My name is not important", "I"])
def test_it_makes_no_names_up(text: str) -> None:
    assert not ask(text).text.startswith("Hello")
    assert ask(text, "What is my name?").text == "You have not told me your name yet."


@pytest.mark.parametrize(
    "question",
    ["What is my name?", "what's my name", "Do you know my name?", "Who am I?"],
)
def test_it_remembers_the_latest_name(question: str) -> None:
    assert ask("I'm Ada", "No, call me Grace", "Thanks!", question).text == "Your name is Grace."


def test_it_greets_with_a_name_it_knows() -> None:
    assert ask("I'm Ada", "Hello again").text == "Hello, Ada!"


def test_it_says_again_what_was_said_before() -> None:
    assert ask("The sky is green.", "What did I just say?").text == "You said: “The sky is green.”"
    assert ask("What did I just say?").text == "This is your first message."


def test_it_counts_messages() -> None:
    assert ask("How many messages are there?").text == "With yours there is 1 message here."
    assert ask("Hi", "How many messages?").text == "With yours there are 3 messages here."


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("what is 12 * (3+4)?", "12 * (3+4)"),
        ("What's 2 plus 2?", "2 + 2"),
        ("What is 6 \u00d7 7", "6 * 7"),
        ("calculate 1,000 / 8", "1000 / 8"),
        ("2^10", "2**10"),
        ("What is 15% of 80?", "15 / 100 * 80"),
        ("Compute -3 + 0.5.", "-3 + 0.5"),
        ("how much is 10 divided by 0?", "10 / 0"),
    ],
)
def test_it_leaves_sums_to_the_calculator(text: str, expression: str) -> None:
    reply = ask(text)
    assert [call.arguments for call in reply.tool_calls] == [{"expression": expression}]
    assert reply.finish_reason == "tool_calls"


@pytest.mark.parametrize("text", ["I was born in 1990-1995", "Call 555-1234", "What is love?", "5"])
def test_not_every_number_is_a_sum(text: str) -> None:
    assert ask(text).tool_calls == ()


@pytest.mark.parametrize(
    ("content", "metadata", "answer"),
    [
        ("84", {}, "12 * 7 = 84"),
        ("it broke", {"is_error": True}, "I could not work out 12 * 7: it broke"),
    ],
)
def test_it_answers_from_the_tools_result(
    content: str, metadata: dict[str, bool], answer: str
) -> None:
    call = ToolCall("c1", "calculator", {"expression": "12 * 7"})
    messages = (
        Message("user", "what is 12 * 7?"),
        Message("assistant", tool_calls=(call,)),
        Message("tool", content, tool_call_id="c1", name="calculator", metadata=metadata),
    )
    assert fold(DemoModel().stream(ModelRequest(messages))).text == answer


def test_without_a_calculator_it_says_what_it_lacks() -> None:
    reply = fold(DemoModel().stream(ModelRequest((Message("user", "what is 1 + 1?"),))))
    assert "calculator" in reply.text


def test_it_explains_itself_once_and_is_brief_after_that() -> None:
    first, second = ask("Tell me a story"), ask("Tell me a story", "And another")
    assert "offline" in first.text
    assert len(second.text) < len(first.text) / 2
    assert ask("Tell me a story", "What can you do?").text == first.text


def test_it_streams_word_by_word_and_counts_tokens() -> None:
    events = list(DemoModel().stream(ModelRequest((Message("user", "I'm Ada"),))))
    assert events[:2] == [TextDelta("Hello,"), TextDelta(" Ada!")]
    assert isinstance(events[-1], Finish)
    usage = fold(events).usage
    assert (usage.input_tokens, usage.output_tokens) == (6, 3)


def test_content_without_text_is_met() -> None:
    image = Message("user", [{"type": "image", "data": "…"}])
    for messages in ((), (image,), (Message("user", []),), (Message("system", "Be kind"),)):
        assert fold(DemoModel().stream(ModelRequest(messages))).text


@pytest.mark.parametrize("unit", ["a ", "1+", "1 ", "(", "-", "I'm A", "x", "\ud800", "1-(", "., "])
def test_huge_messages_are_answered_at_once(unit: str) -> None:
    start = time.perf_counter()
    reply = ask(unit * 500_000, "What did I just say?")
    assert time.perf_counter() - start < 2
    assert len(reply.text) < 1_000


@settings(max_examples=40)
@given(st.lists(st.text() | st.from_regex(r"(what is|I'm|my name is) [\w+*/ ().-]*"), min_size=1))
def test_it_always_answers_and_always_the_same(texts: list[str]) -> None:
    request = ModelRequest(tuple(Message("user", text) for text in texts), (CALCULATOR,))
    first, second = (list(DemoModel().stream(request)) for _ in range(2))
    assert first == second
    assert fold(first).text or fold(first).tool_calls
