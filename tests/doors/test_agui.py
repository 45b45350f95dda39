"""AG-UI, as requests: runs, interrupts, tools of the page, and threads that are opened again."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("flask")
from tests.support.chat_page import Json, Page, user
from tests.support.pages_app import DAY, SLOW
from tests.support.waiting import until

SHOUT = {"name": "shout", "description": "Shout.", "parameters": {"type": "object"}}


def said(text: str, id: str = "u1") -> Json:
    return {"id": id, "role": "user", "content": text}


def kinds(events: list[Json]) -> list[str]:
    return [one["type"] for one in events]


def text_of(events: list[Json]) -> str:
    return "".join(one["delta"] for one in events if one["type"] == "TEXT_MESSAGE_CONTENT")


def test_a_run_is_a_turn(page: Page) -> None:
    events = page.run(said("weather"), context=[{"description": "place", "value": "Rome"}])
    found = [one for one in kinds(events) if not one.endswith("_CONTENT")]
    assert found == [
        "RUN_STARTED", "STEP_STARTED", "REASONING_START", "REASONING_MESSAGE_START",
        "REASONING_MESSAGE_END", "REASONING_END", "TEXT_MESSAGE_START", "TEXT_MESSAGE_END",
        "TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_END", "TOOL_CALL_RESULT", "STEP_FINISHED",
        "STEP_STARTED", "TEXT_MESSAGE_START", "TEXT_MESSAGE_END", "STEP_FINISHED", "CUSTOM",
        "RUN_FINISHED",
    ]  # fmt: skip
    last = events[-1]
    assert (last["threadId"], last["runId"]) == ("chat", "r1")
    assert last["outcome"] == {"type": "success"}
    assert last["usage"][0]["totalTokens"] == 34
    assert all(one["timestamp"] > 10**12 for one in events)


def test_an_approval_is_an_interrupt_and_is_answered_by_the_next_run(
    page: Page,
    paid: list[str],
) -> None:
    (asked,) = page.run(said("refund"))[-1]["outcome"]["interrupts"]
    assert asked["toolCallId"] == "c1.0"
    stale = {"interruptId": "x/c1.0", "status": "resolved", "payload": {"approved": True}}
    again = page.run(said("refund"), resume=[stale])
    assert again[-1]["outcome"]["interrupts"] == [asked], "it is told again"
    assert paid == []
    answer = {"interruptId": asked["id"], "status": "resolved", "payload": {"approved": True}}
    rest = page.run(said("refund"), resume=[answer], runId="r2")
    assert kinds(rest)[1] == "MESSAGES_SNAPSHOT"
    assert text_of(rest) == "refund: paid back"
    assert rest[-1]["outcome"] == {"type": "success"}
    assert rest[-1]["usage"][0]["totalTokens"] == 17, "what this run took"
    assert paid == ["Paris"]


def test_an_interrupt_that_is_cancelled_declines_the_call(page: Page, paid: list[str]) -> None:
    (asked,) = page.run(said("refund"))[-1]["outcome"]["interrupts"]
    rest = page.run(said("refund"), resume=[{"interruptId": asked["id"], "status": "cancelled"}])
    assert "declined" in text_of(rest)
    assert paid == []


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        ({"status": "resolved", "payload": {"day": "Friday"}}, "booked for Friday"),
        ({"status": "cancelled"}, "not booked"),
    ],
)
def test_what_a_tool_asks_is_an_interrupt_with_a_form(
    page: Page, answer: Json, result: str
) -> None:
    (asked,) = page.run(said("book"))[-1]["outcome"]["interrupts"]
    assert (asked["reason"], asked["message"]) == ("input_required", "For which day?")
    assert asked["responseSchema"] == DAY
    rest = page.run(said("book"), resume=[{"interruptId": asked["id"], **answer}], runId="r2")
    (told,) = [one for one in rest if one["type"] == "TOOL_CALL_RESULT"]
    assert (told["toolCallId"], told["content"]) == ("c1.0", result)
    assert text_of(rest) == f"book: {result}"
    history = page.run(runId="r3")[1]["messages"]
    assert [one["content"] for one in history if one["role"] == "tool"] == [result]


def test_tools_of_the_page_end_the_run_and_their_results_begin_the_next(page: Page) -> None:
    first = page.run(said("shout and locate"), tools=[SHOUT])
    pending = first[-1]["outcome"]["pendingToolCallIds"]
    assert pending == ["c1.0", "c1.1"]
    one = {"id": "t1", "role": "tool", "toolCallId": "c1.0", "content": "here"}
    other = {"id": "t2", "role": "tool", "toolCallId": "c1.1", "content": "", "error": "no voice"}
    waits = page.run(said("shout and locate"), one, tools=[SHOUT])
    assert waits[-1]["outcome"]["pendingToolCallIds"] == ["c1.1"]
    rest = page.run(said("shout and locate"), one, other, tools=[SHOUT])
    assert text_of(rest) == "locate: here; shout: no voice"
    history = rest[1]["messages"]
    assert [message["role"] for message in history] == ["user", "assistant", "tool", "tool"]
    again = page.run(said("shout and locate"), one, other, tools=[SHOUT])
    assert text_of(again).endswith("locate: here; shout: no voice"), "told again, not done again"


def test_a_thread_is_opened_with_all_that_there_is(page: Page) -> None:
    assert page.run()[1]["messages"] == []
    page.run(said("weather"))
    snapshot = page.run()[1]["messages"]
    assert [one["role"] for one in snapshot] == ["user", "assistant", "tool", "assistant"]
    assert snapshot[0] == said("weather")
    assert snapshot[1]["toolCalls"][0]["function"]["name"] == "weather"
    body = {"threadId": "chat", "runId": "r", "messages": [said("slowly", "u2")]}
    page.post("/agui", **body).close()
    until(lambda: len(page.messages()) > 2)
    live = page.run()
    assert [one["role"] for one in live[1]["messages"]][-1] == "user"
    assert text_of(live) == SLOW


def test_a_run_that_is_asked_for_again_is_joined_and_the_page_told_what_was_before(
    page: Page,
) -> None:
    first = page.run(said("Hi"))
    again = page.run(said("Hi"), {"id": "half", "role": "assistant", "content": "You"})
    assert again[1]["messages"] == [said("Hi")]
    assert text_of(again) == text_of(first) == "You said: Hi"


def test_failures_are_errors_of_the_run(page: Page) -> None:
    last = page.run(said("break"))[-1]
    assert (last["type"], last["code"]) == ("RUN_ERROR", "model_error")
    assert "sk-1234" not in last["message"]
    assert page.post("/agui", threadId="chat", messages=[]).json["param"] == "runId"
    assert page.post("/agui/none", threadId="c", runId="r", messages=[]).status_code == 404


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "text", "text": "Look: "},
         {"type": "image", "source": {"type": "data", "value": "AAAA", "mimeType": "image/png"}}],
        [{"type": "document", "source": {"type": "url", "value": "https://example.org/a.pdf"}}],
    ],
)  # fmt: skip
def test_what_is_no_text_is_kept_and_told_as_it_was(page: Page, content: Any) -> None:
    page.run({"id": "u1", "role": "user", "content": content})
    found = page.run()[1]["messages"][0]["content"]
    assert [one["type"] for one in found] == [one["type"] for one in content]
    assert found[-1]["source"]["value"] == content[-1]["source"]["value"]
    parts = page.messages()[0]["parts"]
    assert parts[-1]["type"] == "file"
    asked = {**user(""), "id": "u2", "parts": parts}
    page.chat(asked)
    assert page.messages()[2]["parts"] == parts
