"""The frame: what is written comes back exactly, and what was altered is noticed."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given

import miniagent_redis
from miniagent_redis.errors import InvalidInput
from miniagent_redis.records import json as records_json
from miniagent_redis.records.frame import SCHEMA, Unreadable, decode, decode_many, encode, stamped
from miniagent_redis.records.json import check_json
from tests.support.anything import objects, quick, same, without

PACKAGE = Path(miniagent_redis.__path__[0])


@quick
@given(objects)
@example({"n": 2**63, "m": 2**64, "o": -(2**63) - 1, "p": [2**70]})
@example({"\ud800": "\udfff\x00", "big": 10**300})
@example({"f": [1e16, 1e22, 5e-324, 1.7976931348623157e308, 0.1, -0.0]})
def test_any_json_object_comes_back_exactly(data: dict[str, Any]) -> None:
    check_json(data)
    assert same(decode(encode(data)), stamped(data))
    (many,) = decode_many([encode(data)])
    assert same(many, stamped(data))


@quick
@given(objects)
def test_a_record_is_plain_json_for_every_other_reader(data: dict[str, Any]) -> None:
    found = json.loads(encode(data))
    assert same(without(found, "crc"), {"v": SCHEMA, **data})
    assert next(iter(found)) == "v"
    assert list(found)[-1] == "crc"


@quick
@given(objects)
def test_both_encoders_read_what_the_other_wrote(data: dict[str, Any]) -> None:
    record = encode(data)
    other = None if records_json.orjson else pytest.importorskip("orjson")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records_json, "orjson", other)
        assert same(decode(record), stamped(data))


def test_many_records_are_read_like_one_by_one_whatever_is_between_them() -> None:
    good = [encode(data) for data in ({"n": 2**70}, {"s": "\ud800"}, {}, {"x": 1})]
    for bad in (b"torn", b"[1]", b""), (), (b'{"v":1}',):
        records = [*bad[:1], *good[:2], *bad[1:2], *good[2:3], *bad[2:], *good[3:]]
        one_by_one: list[object] = []
        for record in records:
            try:
                one_by_one.append(decode(record))
            except Unreadable as exc:
                one_by_one.append(str(exc))
        together = [str(d) if isinstance(d, Unreadable) else d for d in decode_many(records)]
        assert same(together, one_by_one)
    assert decode_many([]) == []


def test_every_flip_of_a_single_byte_is_noticed() -> None:
    record = encode({"text": 'né "quoted" \ud800', "n": [1, 2.5]})
    for position in range(len(record)):
        for mask in (0x01, 0x20, 0x80, 0xFF):
            altered = bytearray(record)
            altered[position] ^= mask
            with pytest.raises(Unreadable):
                decode(bytes(altered))
            assert isinstance(decode_many([record, bytes(altered)])[1], Unreadable)


def test_every_truncation_of_a_record_is_noticed() -> None:
    inner = encode({"a": 1}).decode()
    record = encode({"text": inner, "list": [{"crc": "00000000"}]})
    for length in range(len(record)):
        with pytest.raises(Unreadable):
            decode(record[:length])
        with pytest.raises(Unreadable):
            decode(record[length + 1 :])


def test_a_number_too_long_for_python_to_print_is_refused() -> None:
    with pytest.raises(InvalidInput):
        encode({"n": 10**5000})


def test_an_error_that_was_thrown_in_is_not_taken_for_damage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class TimeIsUp(Exception):
        """As job runners throw it from a signal handler, wherever the program is."""

    def interrupted(raw: bytes) -> None:
        raise TimeIsUp

    record = encode({"a": "\ud800"})  # which only the standard library reads
    monkeypatch.setattr(records_json.json, "loads", interrupted)
    with pytest.raises(TimeIsUp):
        decode(record)
    with pytest.raises(TimeIsUp):
        decode_many([record, record])


def test_the_schema_number_stands_in_one_place() -> None:
    """Whoever makes it larger has one line to change, and the Lua script that the second is in."""
    literals = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Dict):
                for key, value in zip(node.keys, node.values, strict=True):
                    is_number = isinstance(key, ast.Constant) and key.value == "v"
                    if is_number and isinstance(value, ast.Constant):
                        literals.append(f"{path}:{node.lineno}")
    assert literals == []
    script = (PACKAGE / "lua" / "create_session.lua").read_text("utf-8")
    assert re.findall(r"'schema', (\d+)", script) == [str(SCHEMA)]
