"""A conversation of hundreds of turns under a small window: each request fits, all of it is kept.

And most requests begin as the one before did, so that what vendors have cached of it is of use.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import count, pairwise
from statistics import mean
from typing import Any

import pytest

from miniagent_redis import SessionManager, ToolRegistry
from miniagent_redis.llm import Finish, ModelEvent, ModelRequest, TextDelta, ToolCall, Usage
from tests.support.waiting import until

WINDOW = 4_000  # tokens
TURNS = 500
PIECES = re.compile(
    r" ?[A-Za-z]{1,8}|\d{1,3}| ?[!-/:-@\[-`{-~]{1,3}|\s+|[^\x00-\x7f]"
)  # much like the tokenizers of today, and not like characters / 4


def real_tokens(request: ModelRequest) -> int:
    texts = [request.system or ""]
    texts += [json.dumps([t.name, t.description, t.parameters]) for t in request.tools]
    for message in request.messages:
        texts.append(message.role + message.text)
        texts += [json.dumps([c.id, c.name, c.arguments]) for c in message.tool_calls]
    return sum(len(PIECES.findall(text)) + 3 for text in texts)


def check_valid(request: ModelRequest) -> None:
    """Check what vendors refuse: an odd beginning, calls and results that do not match."""
    assert request.messages[0].role == "user"
    expected: list[str] = []
    for message in request.messages:
        if expected:
            assert (message.role, message.tool_call_id) == ("tool", expected.pop(0))
        else:
            assert message.role != "tool"
            expected = [call.id for call in message.tool_calls]
    assert not expected


class StrictModel:
    """Refuse what is too long or not valid; use tools in every third turn, twice or in parallel."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        size = real_tokens(request)
        self.sizes.append(size)
        assert size <= WINDOW, f"request {len(self.sizes)} has {size} tokens"
        check_valid(request)
        asked = [message.text for message in request.messages if message.role == "user"]
        replies = 0
        for message in reversed(request.messages):
            if message.role == "user":
                break
            replies += message.role == "assistant"
        number = int(asked[-1].split()[1])
        if number % 3 == 1 and replies < 1 + number % 2:
            for place in range(1 + number % 4):
                yield ToolCall(f"c{place}", "look_up", {"topic": f"t{number}", "size": number % 40})
        else:
            before = asked[-2] if len(asked) > 1 else ""
            yield TextDelta(
                f"Before that you asked: {before[:20]} " + "So they say. " * (number % 9)
            )
        yield Usage(size, 9)
        yield Finish()


def look_up(topic: str, size: int = 3) -> list[dict[str, str]]:
    """Look up a topic in the encyclopedia.

    Args:
        topic: what to look for
        size: how many entries are wanted
    """
    return [{"title": f"{topic} {i}", "url": f"https://example.org/{i}"} for i in range(size)]


def question(number: int) -> str:
    detail = (
        "这是一个问题 " * 8 if number % 5 == 0 else "what is known of it, and why? " * (number % 7)
    )
    return f"Question {number} {detail}".strip()


def test_five_hundred_turns_under_a_window_of_four_thousand_tokens(
    open_manager: Callable[..., SessionManager],
) -> None:
    model, tools = StrictModel(), ToolRegistry()
    tools.add(look_up)
    settings: dict[str, Any] = {
        "system_prompt": "You are an encyclopedia. " * 10,
        "max_context_tokens": WINDOW,
        "max_tool_result": 700,
        "redis": {"max_session_size": 10_000_000},
    }
    managers = [open_manager(model, tools, **settings) for _ in range(2)]
    session_id = managers[0].create_or_resume_session("ada")
    stored = 0
    for number in range(TURNS):
        result = managers[number % 2].run(session_id, question(number))
        stored += 1 + len(result.steps)
        if number:
            assert question(number - 1)[:20] in result.text, "the last exchange is always there"

    full = model.sizes[-len(model.sizes) // 2 :]
    print(f"{len(model.sizes)} requests of at most {max(model.sizes)} tokens, {mean(full):.0f} on "
          f"average in the second half; {stored} messages stored")  # fmt: skip
    assert mean(full) > WINDOW / 2, "the window is made use of"
    history = managers[0].get_history(session_id)
    assert len(history) == stored
    asked = [message["content"] for message in history if message["role"] == "user"]
    assert asked == [question(number) for number in range(TURNS)]


class Listener:
    """Keeps what it was sent; says so much in each answer."""

    def __init__(self, words: int, *, looks_up: bool) -> None:
        self.requests: list[list[str]] = []
        self._answer = "So they say. " * (words // 3)
        self._looks_up = looks_up

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        self.requests.append([message.text for message in request.messages])
        if self._looks_up and request.messages[-1].role == "user":
            yield ToolCall("", "look_up", {"topic": "sheep"})
        else:
            yield TextDelta(self._answer)
        yield Finish()


def same_beginning(one: list[str], other: list[str]) -> int:
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))


@pytest.mark.parametrize(
    "limits", [{"max_context_tokens": WINDOW}, {"max_context_messages": 100}], ids=str
)
@pytest.mark.parametrize("looks_up", [False, True], ids=["texts", "tools"])
def test_most_of_each_request_is_the_beginning_of_the_one_before(
    open_manager: Callable[..., SessionManager], limits: dict[str, int], looks_up: bool
) -> None:
    tools = ToolRegistry()
    tools.add(look_up)
    model = Listener(30, looks_up=looks_up)
    pairs = requests_at_the_limit(model, [open_manager(model, tools, **limits) for _ in range(2)])
    share = mean(same_beginning(before, now) / len(now) for before, now in pairs)
    moves = sum(before[0] != now[0] for before, now in pairs)
    print(f"share {share:.3f}, {moves} moves in {len(pairs)} turns, "
          f"{mean(len(now) for _, now in pairs):.0f} messages on average")  # fmt: skip
    assert share >= 0.85
    assert moves <= len(pairs) / 10


@pytest.mark.parametrize(
    ("limits", "least", "turns"),
    [
        ({"max_context_tokens": 1_500}, 0.85, 10),
        ({"max_context_messages": 40}, 0.85, 10),
        ({"max_context_messages": 20}, 0.75, 5),
    ],
    ids=["1500 tokens", "40 messages", "20 messages"],
)
@pytest.mark.parametrize("is_summed_up", [False, True], ids=["cut", "summed up"])
def test_a_small_window_keeps_half_so_that_most_is_the_beginning_of_the_request_before(
    open_manager: Callable[..., SessionManager],
    limits: dict[str, int],
    least: float,
    turns: int,
    is_summed_up: bool,
) -> None:
    numbers = count()
    scribe: Any = (lambda _: f"They spoke, part {next(numbers)}.") if is_summed_up else None
    model = Listener(30, looks_up=False)
    managers = [open_manager(model, summary_model=scribe, **limits) for _ in range(2)]
    pairs = requests_at_the_limit(model, managers)
    same = sum(same_beginning(before, now) for before, now in pairs)
    sent = sum(len(now) for _, now in pairs)
    moves = sum(before[0] != now[0] for before, now in pairs)
    print(f"{same / sent:.1%} of the messages, {moves} moves in {len(pairs)} turns, "
          f"{min(len(now) for _, now in pairs)} messages at least")  # fmt: skip
    assert same / sent >= least
    assert moves <= len(pairs) / turns


def requests_at_the_limit(
    model: Listener, managers: Sequence[SessionManager]
) -> list[tuple[list[str], list[str]]]:
    """Return 200 requests since the first cut, each with the one before, of processes in turn."""
    session_id = managers[0].create_or_resume_session("ada")
    number, full = 0, 0
    while len(model.requests) < full + 200:
        manager = managers[number % len(managers)]
        manager.chat(session_id, f"Question {number}: what is known of it, and why?")
        until(lambda: not any(one.agent.turns.submitted for one in managers))  # is summed up
        number += 1
        if not full and model.requests[-1][0] != model.requests[0][0]:
            full = len(model.requests)
    return list(pairwise(model.requests[full - 1 :]))
