"""JSON: what it can hold comes back exactly, and what it cannot is refused with its place."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given

from miniagent_redis.errors import InvalidInput
from miniagent_redis.records import json as records_json
from miniagent_redis.records.json import check_json, check_members, dumps, loads, loads_each
from tests.support.anything import quick, same, texts, values


@quick
@given(values)
def test_any_json_value_comes_back_exactly(value: Any) -> None:
    check_json(value)
    assert same(loads(dumps(value)), value)
    assert same(loads_each([dumps(value), dumps([value])]), [value, [value]])


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
    with pytest.raises(InvalidInput) as caught:
        check_members({"fine": 1, "here": value})
    assert said.removeprefix("key") in str(caught.value)
    assert str(caught.value).startswith("the here")


def test_a_members_name_is_text() -> None:
    data: Any = {"a": 1, 5: 1}
    with pytest.raises(InvalidInput, match="the key 5"):
        check_members(data)


def test_kinds_of_text_and_numbers_are_taken_like_the_plain_ones() -> None:
    class Text(str):
        __slots__ = ()

    class Number(int):
        pass

    check_json({Text("a"): [Text("b"), Number(5), (1, 2)]})


def test_a_cycle_is_refused_and_deep_data_has_a_limit() -> None:
    cycle: list[Any] = []
    cycle += [cycle, cycle]
    with pytest.raises(InvalidInput, match="nested"):
        check_json(cycle)
    deep: Any = 1
    for _ in range(200):
        deep = [deep]
    check_json(deep)
    assert loads(dumps(deep)) == deep
    with pytest.raises(InvalidInput, match="nested"):
        check_json([deep])


def test_a_number_too_long_for_python_to_print_is_refused() -> None:
    with pytest.raises(InvalidInput):
        dumps({"n": 10**5000})


@pytest.mark.parametrize("shape", ["{}", "[{}]", "[0,{}]", '{{"a":{}}}', '{{"a":{{"b":[1,{}]}}}}'])
def test_long_numbers_come_back_wherever_they_stand(shape: str) -> None:
    for number in (2**63, 2**64, -(2**64), 10**19, 10**300, -(10**25)):
        for blank in ("", " ", "\t", "\n", "\r\n"):
            found = loads(shape.format(f"{blank}{number}{blank}").encode())
            while isinstance(found, (list, dict)):
                found = [*(found.values() if isinstance(found, dict) else found)][-1]
            assert same(found, number)


def test_ids_that_look_like_numbers_do_not_slow_down_the_rest(
    encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 1,000 messages three threads in four have an id with 19 digits in a row."""
    chance = random.Random(1)
    ids = [f"{chance.getrandbits(128):032x}" for _ in range(20_000)] + ["1" * 32, "a" + "5" * 31]
    texts = [dumps({"id": one, "at": 1764300000.125, "n": [-1, 10**17]}) for one in ids]
    if encoder == "orjson":
        monkeypatch.setattr(records_json.json, "loads", None)  # the slow way would fail
    assert [data["id"] for data in loads_each(texts)] == ids


@quick
@given(texts, texts)
def test_texts_that_are_json_only_together_are_refused(one: str, other: str) -> None:
    for pieces in (b"1,2", b"3"), (b"[1", b"2]"), (b"", b"1"), (b"{}", b"{},{}"):
        with pytest.raises(ValueError, match="line 1 column"):
            loads_each([dumps(one), *pieces, dumps(other)])
