"""Streams of chat pages as folds over stored events, in both protocols."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from miniagent_redis import Event, EventType, Message, ToolCall, Usage, WaitingCall
from miniagent_redis.doors.front_ends.agui import RunFold
from miniagent_redis.doors.front_ends.ai_sdk import MessageFold, as_data, turn_of
from miniagent_redis.doors.front_ends.fold import TurnFold
from miniagent_redis.doors.front_ends.history import agui_messages, ui_messages
from miniagent_redis.doors.spoken import Spoken
from miniagent_redis.models.event import (
    Told,
    agent_response,
    reasoning_delta,
    text_delta,
    tool_call,
    tool_result,
    turn_failed,
    turn_started,
    turn_waiting,
)
from miniagent_redis.models.waiting import ANSWERED
from miniagent_redis.store.answers import DENIED

ASKED = Message("user", "Hi", turn_id="t", id="m0")
CALL = ToolCall("c1", "look", {"at": 1})
RESULT = Message("tool", '{"sky": "blue"}', tool_call_id="c1", name="look", turn_id="t")
STARTED = turn_started(ASKED, 3, resumed=False)
AGAIN = turn_started(ASKED, 3, resumed=True)
FOR_APPROVAL = turn_waiting([WaitingCall.of(CALL, "approval")])
FOR_RESULT = turn_waiting([WaitingCall.of(CALL, "result")])


def answer(text: str, **metadata: Any) -> Told:
    return agent_response(Message("assistant", text, turn_id="t", metadata=metadata), 4)


def stored(*told: Told) -> list[Event]:
    return [
        Event(kind, "s", "t", data, 100.0 + number, f"100-{number}")
        for number, (kind, data) in enumerate(told, 7)
    ]


def sent(folded: TurnFold, *told: Told) -> list[dict[str, Any]]:
    return [one for event in stored(*told) for one in folded.tell(event)]


def chat(*told: Told, **more: Any) -> list[dict[str, Any]]:
    return sent(MessageFold("t", **more), *told)


def run(*told: Told, **more: Any) -> list[dict[str, Any]]:
    return sent(RunFold("t", "s", "r", **more), *told)


def kinds(told: Iterable[dict[str, Any]]) -> list[str]:
    return [one["type"] for one in told]


def texts(told: Iterable[dict[str, Any]], kind: str = "text") -> list[str]:
    found: dict[str, str] = {}
    for one in told:
        if one["type"] == f"{kind}-delta":
            found[one["id"]] = found.get(one["id"], "") + one["delta"]
    return list(found.values())


def test_an_answer_is_a_step_with_one_text() -> None:
    told = chat(STARTED, text_delta("Hel"), text_delta("lo"), answer("Hello!"))
    assert kinds(told) == [
        "start", "start-step", "text-start", "text-delta", "text-delta", "text-delta", "text-end",
        "finish-step", "finish",
    ]  # fmt: skip
    assert texts(told) == ["Hello!"]
    assert turn_of(told[0]["messageId"]) == "t"
    assert turn_of("other") is turn_of(None) is turn_of("msg-") is None


def test_an_answer_without_text_is_a_step_too() -> None:
    told = chat(STARTED, tool_call(CALL), tool_result(RESULT), answer(""))
    assert kinds(told).count("start-step") == 2
    assert texts(told) == []


def test_what_is_said_again_behind_a_crash_is_shown_once_thoughts_too() -> None:
    told = chat(
        STARTED, reasoning_delta("I th"), reasoning_delta("ink"), text_delta("one "), AGAIN,
        reasoning_delta("I think"), text_delta("on"), text_delta("e two"), answer("one two"),
    )  # fmt: skip
    assert texts(told) == ["one two"]
    assert texts(told, "reasoning") == ["I think"]
    assert kinds(told).count("text-start") == 1


def test_other_words_behind_a_crash_are_another_part() -> None:
    told = chat(
        STARTED, reasoning_delta("hm"), AGAIN, reasoning_delta("well"), text_delta("one "), AGAIN,
        reasoning_delta("so what"), text_delta("eins "), answer("eins zwei"),
    )  # fmt: skip
    assert texts(told) == ["one ", "eins zwei"]
    assert texts(told, "reasoning") == ["hm", "well"], "what it thinks of what was said is dropped"
    assert kinds(told).count("text-end") == 2
    ends = [one["id"] for one in told if one["type"] == "text-end"]
    assert ends == ["t-1", "t-1.2"]


def test_thoughts_between_words_are_parts_of_their_own() -> None:
    told = chat(
        STARTED, reasoning_delta("a"), text_delta("one "), reasoning_delta("b"), text_delta("two"),
        answer("one two"),
    )  # fmt: skip
    assert texts(told) == ["one ", "two"]
    assert texts(told, "reasoning") == ["a", "b"]


def test_a_text_whose_beginning_is_not_kept_is_not_shown_twice() -> None:
    assert texts(chat(text_delta("lo"), answer("Hello"))) == ["lo"]
    assert Spoken("Hello").end("Hel") == ("", False)
    assert Spoken("Hello").end("Bye") == ("Bye", True)


def test_tools_of_the_agent_are_told_from_those_of_the_page() -> None:
    told = (STARTED, tool_call(CALL), FOR_RESULT)
    ours = [one for one in chat(*told) if "toolName" in one]
    theirs = [one for one in chat(*told, theirs=lambda name: name == "look") if "toolName" in one]
    assert all(one["providerExecuted"] for one in ours)
    assert [one["toolName"] for one in theirs] == ["look", "look"]
    assert not any("providerExecuted" in one for one in theirs)
    again = chat(*told, answered=["c1"])
    assert "tool-input-available" not in kinds(again), "or the page would run it again"
    assert "tool-input-delta" in kinds(again)


def test_a_waiting_turn_ends_the_stream_and_its_rest_is_another_one_of_the_same_message() -> None:
    events = (
        STARTED, text_delta("So"), tool_call(CALL), FOR_APPROVAL, AGAIN, tool_result(RESULT),
        text_delta("It is "), answer("It is nice"),
    )  # fmt: skip
    folded = MessageFold("t")
    first = sent(folded, *events[:4]) + folded.park()
    assert kinds(first)[-3:] == ["tool-approval-request", "finish-step", "finish"]
    assert first[-1]["finishReason"] == "tool-calls"
    assert folded.is_over
    assert folded.tell(stored(answer("no"))[0]) == []
    rest = chat(*events, behind=["c1"])
    assert kinds(rest) == [
        "start", "start-step", "tool-output-available", "text-start", "text-delta", "text-delta",
        "text-end", "finish-step", "finish",
    ]  # fmt: skip
    assert rest[2]["output"] == {"sky": "blue"}
    calls = [WaitingCall.of(CALL, "approval").to_dict()]
    live = chat(*events[4:], step=1, asked=calls)
    assert [one for one in live if one["type"] != "start"] == rest[1:]
    assert [one["id"] for one in rest if one["type"] == "text-start"] == ["t-2"]


def test_results_that_the_page_has_sent_are_not_told_to_it_again() -> None:
    events = (STARTED, tool_call(CALL), FOR_RESULT, tool_result(RESULT), AGAIN, answer("Nice"))
    assert "tool-output-available" not in kinds(chat(*events, behind=["c1"]))
    assert "tool-output-available" in kinds(chat(*events)), "but to who opens it anew"
    assert "TOOL_CALL_RESULT" in kinds(run(*events))


def test_a_stream_behind_a_wait_that_is_not_kept_has_at_least_the_answer() -> None:
    for told in (chat(answer("Nice"), behind=["c1"]), chat(turn_failed(ValueError()), behind="x")):
        assert kinds(told)[0] == "start"
        assert kinds(told)[-1] == "finish"
        assert kinds(told).count("start") == 1
    folded = MessageFold("t", behind=["c1"])
    assert kinds(folded.park()) == ["start", "finish"]


@pytest.mark.parametrize("why", ["", "not today"])
def test_a_call_that_is_declined_is_told_as_that(why: str) -> None:
    text = f"{DENIED}: {why}" if why else DENIED
    metadata = {"is_error": True}
    result = Message("tool", text, tool_call_id="c1", name="look", turn_id="t", metadata=metadata)
    told = chat(STARTED, tool_call(CALL), FOR_APPROVAL, tool_result(result), answer("Well"))
    assert "tool-output-denied" in kinds(told)
    other = chat(STARTED, tool_call(CALL), tool_result(result), answer("Well"))
    assert next(one for one in other if "errorText" in one)["errorText"] == text


@pytest.mark.parametrize(
    ("reason", "told"),
    [("length", "length"), ("content_filter", "content-filter"), ("max_steps", "stop"),
     ("x", "other")],
)  # fmt: skip
def test_why_an_answer_ends_is_told(reason: str, told: str) -> None:
    last = chat(STARTED, answer("One", finish_reason=reason))[-1]
    assert last["finishReason"] == told
    assert last["messageMetadata"]["finishReason"] == reason


def test_a_turn_that_failed_was_cut_off_or_cancelled_says_so() -> None:
    for broken in (turn_failed(RuntimeError("secret")), answer("One", interrupted="incomplete")):
        told = chat(STARTED, text_delta("On"), broken)
        assert kinds(told)[-4:] == ["text-end", "finish-step", "error", "finish"]
        assert "secret" not in str(told)
        assert kinds(run(STARTED, text_delta("On"), broken))[-1] == "RUN_ERROR"
    cancelled = answer("One", interrupted="cancelled")
    assert kinds(chat(STARTED, cancelled))[-2:] == ["message-metadata", "abort"]
    assert run(STARTED, cancelled)[-1]["outcome"] == {"type": "cancelled"}
    for kind in (EventType.SESSION_ENDED, EventType.SESSION_EXPIRED):
        for turn_id in (None, "t"):
            folded = MessageFold("t")
            assert "error" in kinds(folded.tell(Event(kind, "s", turn_id)))


def test_events_of_other_turns_and_kinds_are_passed_over() -> None:
    folded = MessageFold("t")
    assert folded.tell(Event(EventType.TEXT_DELTA, "s", "other", {"text": "no"})) == []
    assert folded.tell(Event(EventType.GAP, "s", None, {})) == []
    assert kinds(folded.tell(Event(EventType.CACHE_HIT, "s", "t", {}))) == ["start"]


def test_a_run_has_its_usage_and_the_title() -> None:
    told = run(STARTED, answer("Hi"), usage=lambda: Usage(3, 2, 1), title=lambda: "Greeting")
    assert told[-1]["usage"][0]["cachedInputTokens"] == 1
    assert told[-2]["value"] == {"title": "Greeting"}
    usage = {"input_tokens": 3}
    assert run(STARTED, answer("Hi", usage=usage))[-1]["usage"][0]["inputTokens"] == 3
    assert run(STARTED, answer("Hi", usage=usage, cached=True))[-1]["usage"][0]["inputTokens"] == 0


def test_a_run_that_waits_says_for_what() -> None:
    other = ToolCall("c2", "locate", {})
    both = [WaitingCall.of(CALL, "approval"), WaitingCall.of(other, "result")]
    folded = RunFold("t", "s", "r")
    sent(folded, STARTED, tool_call(CALL), tool_call(other), turn_waiting(both))
    outcome = folded.park()[-1]["outcome"]
    assert [one["toolCallId"] for one in outcome["interrupts"]] == ["c1"]
    folded = RunFold("t", "s", "r")
    sent(folded, STARTED, tool_call(CALL), FOR_RESULT)
    assert folded.park()[-1]["outcome"] == {"type": "success", "pendingToolCallIds": ["c1"]}
    own = run(STARTED, reasoning_delta("hm"), tool_call(CALL), tool_result(RESULT), answer("Ok"))
    ids = {one["messageId"] for one in own if "messageId" in one}
    assert ids == {"t-1-reasoning", "t-c1", "t-2"}


def test_stored_messages_are_those_that_a_page_has_seen() -> None:
    reply = Message("assistant", "Wait.", tool_calls=(CALL,), turn_id="t")
    result = Message("tool", "no", tool_call_id="c1", name="look", turn_id="t",
                     metadata={"is_error": True, ANSWERED: {"waits_for": "approval"}})  # fmt: skip
    last = Message("assistant", "Ok", turn_id="t")
    alone = [Message("system", "Be brief"), Message("assistant", "Welcome", id="w"),
             Message("user", "Before", id="b"), Message("assistant", "", id="e")]  # fmt: skip
    found = ui_messages("s", [*alone, ASKED, reply, result, last])
    assert [one["id"] for one in found] == ["w", "b", "e", "m0", "msg-t"]
    states = [part.get("state") for part in found[-1]["parts"]]
    assert states == [None, "done", "output-error", None, "done"]
    pending = ui_messages("s", [], [ASKED, reply], [WaitingCall.of(CALL, "approval")])
    assert pending[-1]["parts"][-1]["state"] == "approval-requested"
    assert "metadata" in pending[-1]
    told = run(STARTED, text_delta("Wait."), tool_call(CALL), tool_result(result), answer("Ok"))
    shown = {one["messageId"] for one in told if "messageId" in one}
    snapshot = agui_messages([*alone, ASKED, reply, result, last])
    assert shown == {one["id"] for one in snapshot[-3:]}
    assert snapshot[-2]["error"] == "no"
    assert snapshot[2] == {"id": "e", "role": "assistant", "content": ""}


def test_results_that_are_json_are_told_as_data() -> None:
    assert as_data('[1, "a"]') == [1, "a"]
    assert as_data("[no json") == "[no json"
    assert as_data("42") == "42"
    parts = [{"type": "text", "text": "Look: "}, {"type": "image", "data": "AA"}]
    assert as_data(parts) == parts
    result = Message("tool", parts, tool_call_id="c1", name="look", turn_id="t")
    told = run(STARTED, tool_call(CALL), tool_result(result), answer("Ok"))
    assert next(one for one in told if one["type"] == "TOOL_CALL_RESULT")["content"] == (
        "Look: [image]"
    )
