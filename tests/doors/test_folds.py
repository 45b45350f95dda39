"""Streams as folds over stored events: what is told, in which order, by which numbers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from attrs import evolve

from miniagent_redis import Event, EventType, Message, ToolCall, WaitingCall
from miniagent_redis.doors.openai.chat import chunks, completion
from miniagent_redis.doors.openai.echo import ECHO, usage_of
from miniagent_redis.doors.openai.ids import (
    ItemId,
    ResponseId,
    conversation_id,
    session_of,
)
from miniagent_redis.doors.openai.responses import STRIDE, ResponseFold, fold
from miniagent_redis.doors.told import events_of, legs_of
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
from miniagent_redis.models.inquiry import Inquiry, question_told, reply_told
from miniagent_redis.models.waiting import ANSWERED, Question

ID = ResponseId("s", "t")
ASKED = Message("user", "Hi", turn_id="t", metadata={ECHO: {"model": "m", "metadata": {"a": "b"}}})
CALL = ToolCall("c1", "look", {"at": 1})
RESULT = Message("tool", "nice", tool_call_id="c1", name="look", turn_id="t")
STARTED = turn_started(ASKED, 3, resumed=False)
AGAIN = turn_started(ASKED, 3, resumed=True)


def answer(text: str, **metadata: Any) -> Told:
    return agent_response(Message("assistant", text, turn_id="t", metadata=metadata), 4)


def stored(*told: Told, first: int = 7) -> list[Event]:
    """Return these events as a stream has them, the first one with this number."""
    return [
        Event(kind, "s", "t", data, 100.0 + number, f"100-{number}")
        for number, (kind, data) in enumerate(told, first)
    ]


def sent(events: Iterable[Event], response: ResponseId = ID) -> list[dict[str, Any]]:
    folded = ResponseFold(response)
    return [one for event in events for one in folded.tell(event)]


def kinds(told: Iterable[dict[str, Any]]) -> list[str]:
    return [one["type"].removeprefix("response.") for one in told]


def text_in(told: Iterable[dict[str, Any]]) -> str:
    return "".join(one["delta"] for one in told if one["type"] == "response.output_text.delta")


def test_an_answer_is_one_message_told_piece_by_piece() -> None:
    told = sent(stored(STARTED, text_delta("Hel"), text_delta("lo"), answer("Hello!")))
    assert kinds(told) == [
        "created", "in_progress", "output_item.added", "content_part.added", "output_text.delta",
        "output_text.delta", "output_text.delta", "output_text.done", "content_part.done",
        "output_item.done", "completed",
    ]  # fmt: skip
    assert text_in(told) == "Hello!"
    made = told[-1]["response"]
    assert made["status"] == "completed"
    assert made["model"] == "m"
    assert made["metadata"] == {"a": "b"}
    assert [item["content"][0]["text"] for item in made["output"]] == ["Hello!"]


def test_numbers_come_from_the_events_so_they_rise_wherever_one_begins() -> None:
    events = stored(STARTED, text_delta("Hel"), text_delta("lo"), answer("Hello"))
    whole = sent(events)
    numbers = [one["sequence_number"] for one in whole]
    assert numbers == sorted(set(numbers))
    assert numbers[0] == 7 * STRIDE
    assert whole == sent(events), "each instance tells the same"
    without_head = ResponseFold(ID, {})
    late = [one for event in events[2:] for one in without_head.tell(event)]
    assert late[-1]["sequence_number"] == numbers[-1]


def test_many_wire_events_of_one_stored_event_do_not_get_in_the_way_of_the_next() -> None:
    calls = [ToolCall(f"c{number}", "look", {}) for number in range(9)]
    waiting = [WaitingCall.of(call, "result") for call in calls]
    told = sent(stored(STARTED, *map(tool_call, calls), turn_waiting(waiting)))
    numbers = [one["sequence_number"] for one in told]
    assert numbers == sorted(set(numbers))
    assert len(told) == 2 + 9 * 4 + 1


def test_our_own_tools_are_shown_as_run_by_a_server_and_never_to_be_run_by_the_client() -> None:
    told = sent(
        stored(STARTED, text_delta("Wait."), tool_call(CALL), tool_result(RESULT), answer("Ok"))
    )
    items = told[-1]["response"]["output"]
    assert [item["type"] for item in items] == ["message", "mcp_call", "message"]
    assert items[1]["output"] == "nice"
    assert items[1]["arguments"] == '{"at":1}'
    assert [one["output_index"] for one in told if "added" in one["type"]] == [0, 0, 1, 2, 2]


def test_the_clients_tools_end_the_response_and_their_results_begin_the_next_leg() -> None:
    events = stored(
        STARTED, tool_call(CALL), turn_waiting([WaitingCall.of(CALL, "result")]),
        tool_result(RESULT), AGAIN, text_delta("It is "), answer("It is nice"),
    )  # fmt: skip
    first = sent(events)
    assert kinds(first)[2:] == [
        "output_item.added", "function_call_arguments.delta", "function_call_arguments.done",
        "output_item.done", "completed",
    ]  # fmt: skip
    assert first[-1]["response"]["output"][0]["call_id"] == "c1"
    second = sent(events, ID.at(1))
    assert kinds(second)[:2] == ["created", "in_progress"]
    assert text_in(second) == "It is nice"
    made = second[-1]["response"]
    assert made["id"] != first[-1]["response"]["id"]
    assert [item["type"] for item in made["output"]] == ["message"]


def test_a_call_to_approve_is_a_request_and_is_shown_as_run_once_it_is_approved() -> None:
    events = stored(
        STARTED, tool_call(CALL), turn_waiting([WaitingCall.of(CALL, "approval")]), AGAIN,
        tool_result(RESULT), answer("Done"),
    )  # fmt: skip
    (request,) = sent(events)[-1]["response"]["output"]
    assert request["type"] == "mcp_approval_request"
    assert request["name"] == "look"
    found = ItemId.read(request["id"])
    assert found is not None
    assert found.place.partition(".")[2] == "c1"
    items = sent(events, ID.at(1))[-1]["response"]["output"]
    assert [item["type"] for item in items] == ["mcp_call", "message"]


def test_what_is_said_again_behind_a_crash_is_shown_once() -> None:
    told = sent(
        stored(
            STARTED, text_delta("one "), text_delta("two "), AGAIN, text_delta("one"),
            text_delta(" two three "), text_delta("four"), answer("one two three four"),
        )
    )  # fmt: skip
    assert text_in(told) == "one two three four"
    assert len(told[-1]["response"]["output"]) == 1


def test_another_text_behind_a_crash_is_another_item_and_the_first_one_is_incomplete() -> None:
    told = sent(
        stored(STARTED, text_delta("one "), AGAIN, text_delta("eins "), answer("eins zwei"))
    )
    items = [one["item"] for one in told if one["type"] == "response.output_item.done"]
    assert [item["status"] for item in items] == ["incomplete", "completed"]
    assert items[1]["content"][0]["text"] == "eins zwei"


def test_a_turn_that_failed_was_cut_off_or_cancelled_says_so() -> None:
    failed = sent(stored(STARTED, turn_failed(RuntimeError("secret"))))[-1]
    assert failed["type"] == "response.failed"
    assert "secret" not in str(failed)
    cut = sent(stored(STARTED, answer("One", finish_reason="length")))[-1]
    assert cut["type"] == "response.incomplete"
    assert cut["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    cancelled = sent(stored(STARTED, answer("One", interrupted="cancelled")))[-1]
    assert cancelled["response"]["status"] == "cancelled"
    broken = sent(stored(STARTED, answer("One", interrupted="incomplete")))[-1]
    assert broken["response"]["status"] == "failed"
    assert broken["response"]["output"]


def test_stored_messages_make_the_same_response_as_the_events_did() -> None:
    reply = Message("assistant", "Wait.", tool_calls=(CALL,), turn_id="t")
    answered = evolve(RESULT, metadata={ANSWERED: {"waits_for": "result"}})
    last = Message("assistant", "Ok", turn_id="t", metadata={"usage": {"output_tokens": 2}})
    live = stored(
        STARTED, text_delta("Wa"), text_delta("it."), tool_call(CALL),
        turn_waiting([WaitingCall.of(CALL, "result")]), tool_result(RESULT), AGAIN,
        agent_response(last, 4),
    )  # fmt: skip
    messages = [ASKED, reply, answered, last]
    assert [len(leg) for leg in legs_of(messages[1:])] == [1, 2]
    assert usage_of(messages[1:]).output_tokens == 2
    for leg in (ID, ID.at(1)):
        later = fold(leg, events_of("s", messages, is_over=True))
        assert later["output"] == fold(leg, live)["output"] != []
        assert later["status"] == "completed"


def test_what_a_tool_asks_is_a_function_of_the_client_live_and_stored() -> None:
    reply = Message("assistant", "Wait.", tool_calls=(CALL,), turn_id="t")
    question = Question("Which one?", {"type": "object", "properties": {"which": {}}})
    place: dict[str, Any] = {"tool_call_id": "c1", "name": "look", "turn_id": "t"}
    asked = Message("tool", "Which one?", metadata=question_told(Inquiry(question)), **place)
    said = {ANSWERED: {"waits_for": "input"}, **reply_told("accept", {"which": 2})}
    told = Message("tool", 'answered: {"which": 2}', metadata=said, **place)
    last = Message("assistant", "Ok", turn_id="t")
    live = stored(
        STARTED, text_delta("Wait."), tool_call(CALL),
        turn_waiting([WaitingCall.of(CALL, "input", question)]), AGAIN, tool_result(RESULT),
        agent_response(last, 4),
    )  # fmt: skip
    messages = [ASKED, reply, asked, told, RESULT, last]
    assert [len(leg) for leg in legs_of(messages[1:])] == [2, 3]
    first = fold(ID, live)["output"]
    assert (first[-1]["type"], first[-1]["name"]) == ("function_call", "elicitation")
    assert json.loads(first[-1]["arguments"]) == question.to_dict()
    for leg in (ID, ID.at(1)):
        later = fold(leg, events_of("s", messages, is_over=True))
        assert later["output"] == fold(leg, live)["output"] != []


def test_chat_chunks_and_the_completion_are_made_of_the_same() -> None:
    told = sent(stored(STARTED, text_delta("Hel"), answer("Hello", usage={"input_tokens": 3})))
    found = [one for one in chunks(ID, told, include_usage=True) if one is not None]
    deltas = [chunk["choices"][0]["delta"].get("content") for chunk in found[:-1]]
    assert deltas == ["", "Hel", "lo", None]
    assert found[-2]["choices"][0]["finish_reason"] == "stop"
    assert found[-1]["usage"]["prompt_tokens"] == 3
    assert found[-1]["choices"] == []
    whole = completion(ID, told[-1]["response"])
    assert whole["choices"][0]["message"]["content"] == "Hello"
    assert {chunk["id"] for chunk in found} == {whole["id"]}


def test_calls_in_a_chat_are_numbered_and_ask_for_their_results() -> None:
    calls = [ToolCall("c1", "look", {}), ToolCall("c2", "look", {"at": 2})]
    waiting = [WaitingCall.of(call, "result") for call in calls]
    told = sent(stored(STARTED, *map(tool_call, calls), turn_waiting(waiting)))
    deltas = [chunk["choices"][0]["delta"] for chunk in filter(None, chunks(ID, told))]
    found = [call for delta in deltas for call in delta.get("tool_calls", ())]
    assert [(call["index"], call["id"]) for call in found] == [(0, "c1"), (1, "c2")]
    whole = completion(ID, told[-1]["response"])
    assert whole["choices"][0]["finish_reason"] == "tool_calls"
    assert whole["choices"][0]["message"]["content"] is None


def test_a_failure_in_a_chat_is_an_error_in_its_stream() -> None:
    told = sent(stored(STARTED, turn_failed(RuntimeError("secret"))))
    last = list(chunks(ID, told))[-1]
    assert last is not None
    assert last["error"]["type"] == "server_error"


def test_ids_can_be_read_back_and_forged_ones_are_none() -> None:
    odd = ResponseId("slack/C0/1 ü", "job:1@x", 2)
    assert ResponseId.read(str(odd)) == odd
    assert ItemId.read(odd.item("msg_", "3")) == ItemId("slack/C0/1 ü", "job:1@x", "3")
    assert session_of(conversation_id("slack/C0/1 ü")) == "slack/C0/1 ü"
    assert session_of("plain") == "plain"
    for forged in ("resp_", "resp_x", "resp_AAAA", "msg_" + odd.token, str(odd) + "=", 7, None):
        assert ResponseId.read(forged) is None


def test_events_of_other_turns_and_of_later_ones_are_passed_over() -> None:
    other = Event(EventType.TEXT_DELTA, "s", "other", {"text": "no"}, 1.0, "1-9")
    folded = ResponseFold(ID)
    for event in [*stored(STARTED), other, *stored(answer("yes"), first=10)]:
        folded.tell(event)
    assert folded.is_over
    assert folded.tell(other) == []
    assert folded.response["output"][0]["content"][0]["text"] == "yes"


def thought(told: Iterable[dict[str, Any]]) -> str:
    kind = "response.reasoning_summary_text.delta"
    return "".join(one["delta"] for one in told if one["type"] == kind)


def test_what_a_model_deliberates_is_an_item_before_its_answer() -> None:
    events = stored(STARTED, reasoning_delta("Let me "), reasoning_delta("see."), answer("Hello"))
    told = sent(events)
    assert kinds(told)[2:9] == [
        "output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta",
        "reasoning_summary_text.delta", "reasoning_summary_text.done",
        "reasoning_summary_part.done", "output_item.done",
    ]  # fmt: skip
    assert thought(told) == "Let me see."
    reasoning, said = told[-1]["response"]["output"]
    assert (reasoning["type"], reasoning["status"]) == ("reasoning", "completed")
    assert reasoning["summary"] == [{"type": "summary_text", "text": "Let me see."}]
    assert said["content"][0]["text"] == "Hello"
    assert [one["output_index"] for one in told if one["type"].endswith("item.added")] == [0, 1]
    (stored_message,) = sent(stored(STARTED, answer("Hello")))[-1]["response"]["output"]
    assert said["id"] == stored_message["id"], "which the thread has, where no reasoning is kept"
    begun = ResponseFold(ID)
    for event in events[:2]:
        begun.tell(event)
    assert begun.response["output"][0]["status"] == "in_progress"


def test_there_is_an_item_for_each_reply_that_was_deliberated() -> None:
    events = stored(
        STARTED, reasoning_delta("Look."), tool_call(CALL), tool_result(RESULT),
        reasoning_delta("Nice."), text_delta("It is "), reasoning_delta("Really?"),
        answer("It is nice"),
    )  # fmt: skip
    told = sent(events)
    output = told[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["reasoning", "mcp_call", "reasoning", "message"]
    assert len({item["id"] for item in output}) == 4
    assert text_in(told) == "It is nice"
    assert thought(told) == "Look.Nice.", "an answer that has begun stays one message"


def test_a_reply_that_is_done_again_is_deliberated_anew() -> None:
    told = sent(
        stored(STARTED, reasoning_delta("Let m"), AGAIN, reasoning_delta("Let me."), answer("A"))
    )
    first, second, said = told[-1]["response"]["output"]
    assert (first["status"], second["status"]) == ("incomplete", "completed")
    assert second["summary"][0]["text"] == "Let me."
    assert said["content"][0]["text"] == "A"


def test_the_next_leg_has_its_own_deliberation_only() -> None:
    events = stored(
        STARTED, reasoning_delta("Ask."), tool_call(CALL),
        turn_waiting([WaitingCall.of(CALL, "result")]), tool_result(RESULT), AGAIN,
        reasoning_delta("So."), answer("It is nice"),
    )  # fmt: skip
    assert [one["type"] for one in sent(events)[-1]["response"]["output"]] == [
        "reasoning", "function_call",
    ]  # fmt: skip
    second = sent(events, ID.at(1))
    assert thought(second) == "So."
    assert second[0]["type"] == "response.created"


def test_chat_completions_tell_reasoning_as_deepseeks_api_does() -> None:
    events = stored(STARTED, reasoning_delta("Hm."), text_delta("Hi"), answer("Hi"))
    told = list(chunks(ID, sent(events)))
    deltas = [one["choices"][0]["delta"] for one in told if one]
    assert [one["reasoning_content"] for one in deltas if "reasoning_content" in one] == ["Hm."]
    message = completion(ID, fold(ID, events))["choices"][0]["message"]
    assert (message["reasoning_content"], message["content"]) == ("Hm.", "Hi")
    bare = completion(ID, fold(ID, stored(STARTED, answer("Hi"))))["choices"][0]["message"]
    assert "reasoning_content" not in bare
