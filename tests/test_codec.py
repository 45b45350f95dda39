"""The codec: what is written comes back exactly, and what was altered is noticed."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from attrs import evolve, fields
from hypothesis import example, given, settings
from hypothesis import strategies as st

from miniagent_redis import codec
from miniagent_redis.codec import (
    Unreadable,
    check_json,
    decode,
    decode_many,
    dumps,
    encode,
    loads,
    message_from_data,
    message_to_data,
)
from miniagent_redis.errors import InvalidInput, SchemaTooNew
from miniagent_redis.models import Message, ToolCall

quick = settings(max_examples=35, deadline=None, database=None)
# Surrogates included: Python text can hold them, and models and users do send halves of emoji.
texts = st.text(st.characters(exclude_categories=()), max_size=8)
numbers = (
    st.integers() | st.integers(-(2**80), 2**80) | st.floats(allow_nan=False).filter(math.isfinite)
)
leaves = st.none() | st.booleans() | numbers | texts
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)
objects = st.dictionaries(texts.filter(lambda name: name not in ("v", "crc")), values, max_size=3)
messages = st.builds(
    Message,
    role=st.sampled_from(["system", "user", "assistant", "tool"]),
    content=texts | st.lists(st.dictionaries(texts, values, max_size=3), max_size=2),
    tool_calls=st.lists(
        st.builds(ToolCall, id=texts, name=texts, arguments=objects), max_size=2
    ).map(tuple),
    tool_call_id=st.none() | texts,
    name=st.none() | texts,
    turn_id=st.none() | texts,
    created_at=st.floats(0, 4e9),
    metadata=objects,
)


def same(left: object, right: object) -> bool:
    """Equality that tells 1 from 1.0 and True, and 0.0 from -0.0."""
    return repr(left) == repr(right)


def without_crc(data: Any) -> Any:
    return {name: value for name, value in data.items() if name != "crc"}


@pytest.fixture(params=["orjson", "json"], scope="module", autouse=True)
def both_encoders(request: pytest.FixtureRequest) -> Any:
    """Run each test with orjson and, as where it is not installed, without."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "json":
            patch.setattr(codec, "orjson", None)
        elif codec.orjson is None:
            pytest.skip("orjson is not installed")
        yield


@quick
@given(objects)
@example({"n": 2**63, "m": 2**64, "o": -(2**63) - 1, "p": [2**70]})
@example({"\ud800": "\udfff\x00", "big": 10**300})
@example({"f": [1e16, 1e22, 5e-324, 1.7976931348623157e308, 0.1, -0.0]})
def test_any_json_object_comes_back_exactly(data: dict[str, Any]) -> None:
    check_json(data)
    found = without_crc(decode(encode(data)))
    assert same(found, {"v": 1, **data})
    (many,) = decode_many([encode(data)])
    assert same(without_crc(many), {"v": 1, **data})


@quick
@given(objects)
def test_a_record_is_plain_json_for_every_other_reader(data: dict[str, Any]) -> None:
    found = json.loads(encode(data))
    assert same(without_crc(found), {"v": 1, **data})
    assert next(iter(found)) == "v"
    assert list(found)[-1] == "crc"


@quick
@given(objects)
def test_both_encoders_read_what_the_other_wrote(data: dict[str, Any]) -> None:
    record = encode(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codec, "orjson", None if codec.orjson else pytest.importorskip("orjson"))
        assert same(without_crc(decode(record)), {"v": 1, **data})


@quick
@given(values)
def test_any_json_value_outside_a_record_comes_back_exactly(value: Any) -> None:
    assert same(loads(dumps(value)), value)


@quick
@given(messages)
def test_a_message_comes_back_exactly(message: Message) -> None:
    assert message_from_data(decode(encode(message_to_data(message)))) == message


def test_many_records_are_read_like_one_by_one_whatever_is_between_them() -> None:
    good = [encode(data) for data in ({"n": 2**70}, {"s": "\ud800"}, {}, {"x": 1})]
    records = [good[0], b"torn", good[1], b"[1]", good[2], b"", good[3]]
    one_by_one = []
    for record in records:
        try:
            one_by_one.append(decode(record))
        except Unreadable as exc:
            one_by_one.append(str(exc))
    together = [str(d) if isinstance(d, Unreadable) else d for d in decode_many(records)]
    assert same(together, one_by_one)
    assert decode_many([]) == []


def test_every_flip_of_a_single_byte_is_noticed() -> None:
    record = encode(
        message_to_data(Message("user", 'né "quoted" \ud800', metadata={"n": [1, 2.5]}))
    )
    for position in range(len(record)):
        for mask in (0x01, 0x20, 0x80, 0xFF):
            altered = bytearray(record)
            altered[position] ^= mask
            with pytest.raises(Unreadable):
                decode(bytes(altered))


def test_every_truncation_of_a_record_is_noticed() -> None:
    inner = encode({"a": 1}).decode()
    record = encode({"text": inner, "list": [{"crc": "00000000"}]})
    for length in range(len(record)):
        with pytest.raises(Unreadable):
            decode(record[:length])
        with pytest.raises(Unreadable):
            decode(record[length + 1 :])


@quick
@given(objects, objects)
def test_unknown_fields_of_messages_and_tool_calls_survive(
    unknown: dict[str, Any], of_call: dict[str, Any]
) -> None:
    known = {field.name for cls in (Message, ToolCall) for field in fields(cls)} | {"v", "crc"}
    unknown, of_call = ({n: v for n, v in d.items() if n not in known} for d in (unknown, of_call))
    call = {"id": "1", "name": "f", **of_call}
    message = message_from_data({"v": 1, "role": "assistant", "tool_calls": [call], **unknown})
    again = message_to_data(evolve(message, content="changed"))
    assert same({name: again[name] for name in unknown}, unknown)
    assert same({name: again["tool_calls"][0][name] for name in call}, call)
    assert same(message.extra, unknown)
    assert same(message.tool_calls[0].extra, of_call)


@pytest.mark.parametrize("name", ["role", "content", "id", "v", "crc", "tool_calls", "extra"])
def test_an_unknown_field_cannot_take_the_place_of_a_known_one(name: str) -> None:
    data = message_to_data(Message("user", "hello", id="me", extra={name: "forged", "other": 1}))
    message = message_from_data(decode(encode({"v": 1, **data})))
    assert (message.role, message.content, message.id) == ("user", "hello", "me")
    assert message.extra["other"] == 1


@pytest.mark.parametrize("version", [2, 99, 2**70])
def test_a_newer_schema_is_refused_with_its_number(version: int) -> None:
    with pytest.raises(SchemaTooNew, match="upgrade miniagent-redis") as caught:
        message_from_data({"v": version, "role": "user", "content": "x"})
    assert caught.value.found == version


@pytest.mark.parametrize("version", [None, 0, -1, "1", 1.0, True, [1]])
def test_a_record_without_a_schema_number_is_unreadable(version: object) -> None:
    with pytest.raises(Unreadable):
        message_from_data({"v": version, "role": "user", "content": "x"})


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
        {"role": "user", "content": "x", "tool_calls": [{}]},
        {"role": "user", "content": "x", "tool_calls": [{"id": "1", "name": "f", "arguments": []}]},
        {"role": "user", "content": "x", "created_at": "yesterday"},
        {"role": "user", "content": "x", "created_at": None},
        {"role": "user", "content": "x", "metadata": [1]},
    ],
)
def test_what_is_not_a_message_is_unreadable_and_nothing_worse(data: dict[str, Any]) -> None:
    with pytest.raises(Unreadable):
        message_from_data({"v": 1, **data})


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (math.nan, "nan"),
        (math.inf, "inf"),
        (b"bytes", "bytes"),
        ({1, 2}, "set"),
        (object(), "object"),
        ({1: "a"}, "key 1"),
        ({None: "a"}, "key None"),
        ({("a",): 1}, "key ('a',)"),
        ({"deep": [{"er": -math.inf}]}, "['deep'][0]['er']"),
        (1 + 2j, "complex"),
    ],
)
def test_what_json_cannot_hold_is_refused_with_its_place(value: object, said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_json(value)
    assert said in str(caught.value)


def test_a_cycle_is_refused_and_deep_data_has_a_limit() -> None:
    cycle: list[Any] = []
    cycle += [cycle, cycle]
    with pytest.raises(InvalidInput, match="nested"):
        check_json(cycle)
    deep: Any = 1
    for _ in range(200):
        deep = [deep]
    check_json(deep)
    assert without_crc(decode(encode({"d": deep})))["d"] == deep
    with pytest.raises(InvalidInput, match="nested"):
        check_json([deep])


def test_a_number_too_long_for_python_to_print_is_refused() -> None:
    with pytest.raises(InvalidInput):
        encode({"n": 10**5000})


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
        encode(message_to_data(message))
