"""OpenAI's own client, pointed at an agent of ours."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.doors.conftest import KEY, Serve

pytest.importorskip("flask")
openai = pytest.importorskip("openai")

WEATHER: dict[str, Any] = {
    "type": "function",
    "name": "get_weather",
    "description": "Tell the weather.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
    "strict": False,
}
CHAT_WEATHER = {"type": "function", "function": {**WEATHER, "type": None}}
CHAT_WEATHER["function"].pop("type")
SLOW = "".join(f"w{number} " for number in range(40))


@pytest.fixture
def client(base_url: str) -> Iterator[Any]:
    with openai.OpenAI(base_url=base_url, api_key=KEY, max_retries=0) as client:
        yield client


def text_of(stream: Any) -> str:
    return "".join(each.delta for each in stream if each.type == "response.output_text.delta")


def test_a_conversation_goes_on_behind_its_last_response(client: Any) -> None:
    first = client.responses.create(model="demo", input="My name is Ada", metadata={"a": "b"})
    assert (first.status, first.output_text) == ("completed", "Hello, Ada!")
    second = client.responses.create(
        model="demo", input="What is my name?", previous_response_id=first.id
    )
    assert second.output_text == "Your name is Ada."
    again = client.responses.retrieve(first.id)
    assert again.metadata == {"a": "b"}
    assert again.output == first.output
    assert again.usage == first.usage
    (item,) = client.responses.input_items.list(first.id)
    assert item.content[0].text == "My name is Ada"


def test_behind_an_earlier_response_it_is_a_branch_and_both_go_on(client: Any) -> None:
    first = client.responses.create(model="demo", input="My name is Ada")
    ask = {"model": "demo", "input": "What did I just say?"}
    client.responses.create(model="demo", input="My name is Bob", previous_response_id=first.id)
    branch = client.responses.create(**ask, previous_response_id=first.id)
    assert "My name is Ada" in branch.output_text
    on_branch = client.responses.create(
        model="demo", input="What is my name?", previous_response_id=branch.id
    )
    assert on_branch.output_text == "Your name is Ada."


def test_a_stream_tells_the_answer_once_and_then_all_of_it(client: Any) -> None:
    events = list(client.responses.create(model="demo", input="What is 6 * 7?", stream=True))
    numbers = [event.sequence_number for event in events]
    assert numbers == sorted(set(numbers))
    assert text_of(events) == "6 * 7 = 42" == events[-1].response.output_text
    types = [item.type for item in events[-1].response.output]
    assert types == ["mcp_call", "message"], "the agent's own tool is not the client's to run"
    with client.responses.stream(model="demo", input="My name is Ada") as stream:
        stream.until_done()
        assert stream.get_final_response().output_text == "Hello, Ada!"


def test_functions_of_the_client_park_the_turn_until_their_output_comes(client: Any) -> None:
    asked = client.responses.create(model="demo", input="How is it?", tools=[WEATHER])
    (call,) = asked.output
    assert (call.type, call.name, call.arguments) == (
        "function_call", "get_weather", '{"city":"Paris"}',
    )  # fmt: skip
    with pytest.raises(openai.BadRequestError, match=call.call_id):
        client.responses.create(model="demo", input="Hello?", previous_response_id=asked.id)
    given: dict[str, Any] = {
        "model": "demo",
        "input": [{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}],
        "previous_response_id": asked.id,
        "tools": [WEATHER],
        "metadata": {"leg": "2"},
    }
    answer = client.responses.create(**given)
    assert answer.output_text == "The tool get_weather says: sunny"
    assert client.responses.retrieve(asked.id).output == asked.output
    later = client.responses.retrieve(answer.id)
    assert (later.output, later.metadata) == (answer.output, {"leg": "2"})
    (item,) = client.responses.input_items.list(answer.id)
    assert (item.type, item.output) == ("function_call_output", "sunny")
    assert client.responses.create(**given).id == answer.id, "the first output counts"


def test_a_client_that_keeps_the_history_itself_may_send_all_of_it(client: Any) -> None:
    ask = {"role": "user", "content": "How is it?"}
    asked = client.responses.create(model="demo", input=[ask], tools=[WEATHER], store=False)
    (call,) = asked.output
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}
    history = [ask, call.model_dump(exclude_none=True), output]
    answer = client.responses.create(model="demo", input=history, tools=[WEATHER], store=False)
    assert answer.output_text == "The tool get_weather says: rain"
    more = [*history, *[one.model_dump(exclude_none=True) for one in answer.output]]
    more.append({"role": "user", "content": "How many messages, with no tool?"})
    last = client.responses.create(model="demo", input=more, store=False)
    assert "messages" in last.output_text


def test_items_may_be_referred_to_by_their_ids(client: Any) -> None:
    first = client.responses.create(model="demo", input="My name is Ada")
    history = [
        {"role": "user", "content": "My name is Ada"},
        {"type": "item_reference", "id": first.output[0].id},
        {"role": "user", "content": "How many messages are there?"},
    ]
    found = client.responses.create(model="demo", input=history)
    assert "3 messages" in found.output_text


def test_conversations_have_metadata_and_items(client: Any) -> None:
    conversation = client.conversations.create(
        metadata={"topic": "x"},
        items=[{"type": "message", "role": "user", "content": "My name is Ada"}],
    )
    answer = client.responses.create(
        model="demo", input="What is my name?", conversation=conversation.id
    )
    assert answer.output_text == "Your name is Ada."
    assert answer.conversation.id == conversation.id
    items = list(client.conversations.items.list(conversation.id, order="asc", limit=2))
    assert [item.content[0].text for item in items] == [
        "My name is Ada", "What is my name?", "Your name is Ada.",
    ]  # fmt: skip
    found = client.conversations.items.retrieve(items[2].id, conversation_id=conversation.id)
    assert found.id == answer.output[0].id
    client.conversations.items.create(
        conversation.id, items=[{"type": "message", "role": "user", "content": "Bye"}]
    )
    assert len(list(client.conversations.items.list(conversation.id))) == 4
    assert client.conversations.update(conversation.id, metadata={"b": "c"}).metadata == {"b": "c"}
    assert client.conversations.delete(conversation.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.conversations.retrieve(conversation.id)


def test_a_background_response_is_found_followed_and_cancelled(client: Any) -> None:
    begun = client.responses.create(model="slow", input="go", background=True)
    assert begun.status == "in_progress"
    assert text_of(client.responses.retrieve(begun.id, stream=True)) == SLOW
    assert client.responses.retrieve(begun.id).status == "completed"
    begun = client.responses.create(model="slow", input="go", background=True)
    for event in client.responses.retrieve(begun.id, stream=True):
        if event.type == "response.output_text.delta":
            break
    cancelled = client.responses.cancel(begun.id)
    assert cancelled.status == "cancelled"
    assert SLOW.startswith(cancelled.output_text)


def test_who_leaves_stops_nothing(client: Any) -> None:
    stream = client.responses.create(model="slow", input="go", stream=True)
    response_id = next(iter(stream)).response.id
    stream.close()
    while client.responses.retrieve(response_id).status == "in_progress":
        time.sleep(0.05)
    assert client.responses.retrieve(response_id).output_text == SLOW


def test_a_stream_that_is_cut_on_one_instance_goes_on_at_another(serve: Serve) -> None:
    one, other = (openai.OpenAI(base_url=each.url, api_key=KEY) for each in serve(2))
    seen: list[Any] = []
    with one.responses.create(model="slow", input="go", stream=True) as stream:
        for event in stream:
            seen.append(event)
            if len(seen) == 12:
                break
    response_id = seen[0].response.id
    whole = list(other.responses.retrieve(response_id, stream=True))
    rest = list(
        other.responses.retrieve(response_id, stream=True, starting_after=seen[-1].sequence_number)
    )
    assert [one.to_dict() for one in seen[1:] + rest] == [one.to_dict() for one in whole[1:]]
    assert text_of(seen + rest) == SLOW


def test_a_repeated_request_joins_its_turn(client: Any) -> None:
    conversation = client.conversations.create().id
    ask: dict[str, Any] = {"model": "slow", "input": "go", "conversation": conversation}
    key = {"Idempotency-Key": "once"}
    first = client.responses.create(**ask, background=True, extra_headers=key)
    assert client.responses.create(**ask, background=True, extra_headers=key).id == first.id
    again = {"x-stainless-retry-count": "1"}
    plain = client.responses.create(model="demo", input="Hello")
    assert client.responses.create(model="demo", input="Hello", extra_headers=again).id == plain.id
    assert client.responses.create(model="demo", input="Hello").id != plain.id
    client.responses.cancel(first.id)


@pytest.mark.parametrize("newest", [True, False], ids=["behind the newest", "on a branch"])
def test_a_repetition_behind_a_response_joins_its_turn_too(client: Any, newest: bool) -> None:
    first = client.responses.create(model="demo", input="My name is Ada")
    ask: dict[str, Any] = {"model": "demo", "input": "Hello", "previous_response_id": first.id}
    if not newest:
        client.responses.create(**ask)
    key = {"Idempotency-Key": "once"}
    made = client.responses.create(**ask, extra_headers=key)
    assert client.responses.create(**ask, extra_headers=key).id == made.id
    assert made.output_text == "Hello, Ada!"


def test_an_answer_can_have_a_form(client: Any) -> None:
    form = {
        "type": "json_schema",
        "name": "person",
        "schema": {"type": "object", "properties": {"name": {"type": "string"}},
                   "required": ["name"], "additionalProperties": False},
    }  # fmt: skip
    made = client.responses.create(model="demo", input="Hello", text={"format": form})
    assert made.output_text.startswith('{"name": ')


def test_instructions_come_with_those_of_the_agent_and_deleted_is_gone(client: Any) -> None:
    made = client.responses.create(model="demo", input="Hello", instructions="Be brief.")
    assert client.responses.retrieve(made.id).instructions == "Be brief."
    client.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"input": [{"type": "computer_call", "id": "x"}]}, "input[0].type"),
        ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role"),
        ({"input": [{"type": "item_reference", "id": "msg_x"}]}, "input[0].id"),
        ({"tools": [{**WEATHER, "name": "calculator"}]}, "tools[0].name"),
        ({"model": "nobody"}, "model"),
        ({"temperature": 9}, "temperature"),
        ({"metadata": {"a": "x" * 600}}, "metadata.a"),
        ({"previous_response_id": "resp_x"}, "previous_response_id"),
        ({"conversation": "conv_x"}, "conversation"),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": ""}]}, "input"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(
    client: Any, given: dict[str, Any], param: str
) -> None:
    with pytest.raises((openai.BadRequestError, openai.NotFoundError)) as caught:
        client.responses.create(**{"model": "demo", "input": "Hello", **given})
    assert caught.value.param == param
    assert caught.value.type == "invalid_request_error"


def test_strangers_find_nothing_and_a_wrong_key_is_told_so(client: Any, base_url: str) -> None:
    made = client.responses.create(model="demo", input="Hello")
    with openai.OpenAI(base_url=base_url, api_key="key-bob") as bob:
        with pytest.raises(openai.NotFoundError):
            bob.responses.retrieve(made.id)
        with pytest.raises(openai.NotFoundError):
            bob.responses.create(model="demo", input="Hi", previous_response_id=made.id)
        with pytest.raises(openai.NotFoundError):
            bob.responses.cancel(made.id)
    nobody = client.with_options(api_key="x")
    with pytest.raises(openai.AuthenticationError):
        nobody.models.list()
    assert [model.id for model in client.models.list()] == ["demo", "slow", "held"]


def test_chat_completions_are_stateless_or_have_a_session_by_a_header(client: Any) -> None:
    history = [
        {"role": "user", "content": "My name is Ada"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "What is my name?"},
    ]
    made = client.chat.completions.create(model="demo", messages=history)
    assert made.choices[0].message.content == "Your name is Ada."
    for said, heard in [("My name is Bob", "Hello, Bob!"), (history[2]["content"], "name is Bob")]:
        stream = client.chat.completions.create(
            model="demo",
            messages=[*history, {"role": "user", "content": said}],
            stream=True,
            extra_headers={"X-Session-Id": "chat-7"},
        )
        found = "".join(each.choices[0].delta.content or "" for each in stream)
        assert heard in found, "what is stored counts, not what the client sends of it"


def test_functions_in_a_chat(client: Any) -> None:
    history: list[Any] = [{"role": "user", "content": "How is it?"}]
    asked = client.chat.completions.create(model="demo", messages=history, tools=[CHAT_WEATHER])
    said = asked.choices[0].message
    assert asked.choices[0].finish_reason == "tool_calls"
    history += [
        said.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": said.tool_calls[0].id, "content": "snow"},
    ]
    made = client.chat.completions.create(model="demo", messages=history, tools=[CHAT_WEATHER])
    assert made.choices[0].message.content == "The tool get_weather says: snow"
