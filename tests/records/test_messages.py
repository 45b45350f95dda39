"""Messages as data: they come back as they were, with what this version does not know."""

from __future__ import annotations

import math
import pickle
from copy import copy
from typing import Any

import pytest
from attrs import asdict, evolve, fields
from hypothesis import given

from miniagent_redis.errors import InvalidInput
from miniagent_redis.models import Message, ToolCall
from miniagent_redis.records.format import JsonFormat, Where
from miniagent_redis.records.frame import Unreadable
from miniagent_redis.records.messages import message_from_data, message_to_data
from tests.support.anything import messages, objects, quick, same

WHERE = Where("message", "s")


def encode(message: Message) -> bytes:
    return JsonFormat().encode(message_to_data(message), WHERE)


def decode(raw: bytes) -> Message:
    return message_from_data(JsonFormat().decode(raw, WHERE))


@quick
@given(messages)
def test_a_message_comes_back_exactly(message: Message) -> None:
    found = decode(encode(message))
    assert found == message
    assert type(found) is Message
    assert same(asdict(found), asdict(message))


@quick
@given(objects, objects)
def test_unknown_fields_of_messages_and_tool_calls_survive(
    unknown: dict[str, Any], of_call: dict[str, Any]
) -> None:
    known = {field.name for cls in (Message, ToolCall) for field in fields(cls)} | {"v", "crc"}
    unknown, of_call = ({n: v for n, v in d.items() if n not in known} for d in (unknown, of_call))
    call = {"id": "1", "name": "f", **of_call}
    message = message_from_data({"role": "assistant", "tool_calls": [call], **unknown})
    again = message_to_data(evolve(message, content="changed"))
    assert same({name: again[name] for name in unknown}, unknown)
    assert same({name: again["tool_calls"][0][name] for name in call}, call)
    assert same(message.extra, unknown)
    assert same(message.tool_calls[0].extra, of_call)


@pytest.mark.parametrize("name", ["role", "content", "id", "v", "crc", "tool_calls", "extra"])
def test_an_unknown_field_cannot_take_the_place_of_a_known_one(name: str) -> None:
    forged = {name: "forged", "other": 1}
    call = ToolCall("1", "f", extra={"id": "forged", "crc": 1, "other": 2})
    message = decode(encode(Message("user", "hello", (call,), id="me", extra=forged)))
    assert (message.role, message.content, message.id) == ("user", "hello", "me")
    assert message.extra["other"] == 1
    assert message.tool_calls == (evolve(call, extra={"other": 2}),)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"role": "robot", "content": "x"},
        {"role": ["user"], "content": "x"},
        {"role": "user", "content": None},
        {"role": "user", "content": 5},
        {"role": "user", "content": ["part"]},
        {"role": "user", "content": "x", "tool_calls": "ab"},
        {"role": "user", "content": "x", "tool_calls": 5},
        {"role": "user", "content": "x", "tool_calls": None},
        {"role": "user", "content": "x", "tool_calls": {"id": "1", "name": "f"}},
        {"role": "user", "content": "x", "tool_calls": [{}]},
        {"role": "user", "content": "x", "tool_calls": ["1"]},
        {"role": "user", "content": "x", "tool_calls": [{"id": "1"}]},
        {"role": "user", "content": "x", "tool_calls": [{"id": "1", "name": "f", "arguments": []}]},
        {"role": "user", "content": "x", "created_at": "yesterday"},
        {"role": "user", "content": "x", "created_at": None},
        {"role": "user", "content": "x", "created_at": 10**400},
        {"role": "user", "content": "x", "metadata": [1]},
    ],
)
def test_what_is_not_a_message_is_unreadable_and_nothing_worse(data: dict[str, Any]) -> None:
    with pytest.raises(Unreadable):
        message_from_data(data)


@pytest.mark.parametrize("part", ["content", "metadata", "extra", "tool_calls"])
@pytest.mark.parametrize(
    "bad", [math.nan, b"x", {1}, 10**5000], ids=["nan", "bytes", "set", "long"]
)
def test_no_part_of_a_message_takes_what_json_cannot_hold(part: str, bad: object) -> None:
    message = Message("assistant", "x")
    message = {
        "content": evolve(message, content=[{"type": "text", "text": bad}]),
        "metadata": evolve(message, metadata={"a": [bad]}),
        "extra": evolve(message, extra={"a": [bad]}),
        "tool_calls": evolve(message, tool_calls=(ToolCall("1", "f", {"a": bad}),)),
    }[part]
    with pytest.raises(InvalidInput):
        encode(message)


def test_writing_a_message_draws_no_new_id(monkeypatch: pytest.MonkeyPatch) -> None:
    message = Message("user", "x", metadata={"a": 1})
    monkeypatch.setattr("os.urandom", None)
    assert message_to_data(message)["id"] == message.id


def test_messages_of_one_turn_share_what_is_the_same_and_nothing_that_can_be_changed() -> None:
    record = encode(Message("assistant", "x", id="1", turn_id="t" * 32))
    first = decode(record)
    second = message_from_data(JsonFormat().decode(record, WHERE), first)
    assert second == first
    assert second.role is first.role
    assert second.turn_id is first.turn_id
    assert second.metadata is not first.metadata
    assert second.extra is not first.extra
    other = message_from_data({"role": "user", "id": "2", "turn_id": "u"}, first)
    assert other.turn_id == "u"


def test_a_loaded_message_makes_the_dict_for_unknown_fields_when_it_is_asked_for() -> None:
    written = Message("user", "Hello", id="m1", turn_id="t1", created_at=1.5)
    for alike in (decode(encode(written)), copy(decode(encode(written))), evolve(written)):
        assert alike == written
        assert alike.extra == {}
        assert alike.extra is alike.extra
    assert pickle.loads(pickle.dumps(decode(encode(written)))) == written
    with pytest.raises(AttributeError, match="no 'surname'"):
        getattr(written, "surname")  # noqa: B009  # a type checker knows better
