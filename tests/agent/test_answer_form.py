"""Which JSON is taken from what a model says, and what it is told where there is none."""

from __future__ import annotations

import typing
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniagent_redis.agent.answer_form import AnswerForm, json_in
from miniagent_redis.errors import InvalidInput
from miniagent_redis.llm.output import is_strict, vendors_name
from miniagent_redis.llm.sample import sample
from miniagent_redis.tools.schema.shapes import Mismatch


@attrs.frozen
class Box:
    size: int


@attrs.frozen
class Lid(Box):
    color: str | None = None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1}', {"a": 1}),
        ("  [1]\n", [1]),
        ("```json\n[1]\n```", [1]),
        ("```\n[1]\n```", [1]),
        ("```JSON\r\n[1]\r\n```", [1]),
        ("So:\n```python\nx = [2]\n```\n```json\n[1]\n```", [1]),
        ("It is [1].", [1]),
        ("I think [see the note] it is {\"a\": [1]}!", {"a": [1]}),
        ('"text"', "text"),
        ("null", None),
    ],
)  # fmt: skip
def test_one_value_is_taken(text: str, value: Any) -> None:
    assert json_in(text) == value


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no JSON"),
        ("It is 42.", "no JSON"),
        ("[1] or [2]", "2 JSON values"),
        ("```json\n1\n```\n```json\n2\n```", "2 JSON values"),
        ('{"plan": {}, "steps": [', "no JSON"),
        ('[{"a": 1}, {"a"', "no JSON"),
        ("NaN", "no JSON"),
        ('{"a": NaN}', "no JSON"),
        ("[" * 100_000, "no JSON"),
    ],
    ids=range(9),
)
def test_none_or_several_or_a_part_of_one_are_not(text: str, problem: str) -> None:
    with pytest.raises(Mismatch, match=problem):
        json_in(text)


@given(st.text() | st.text('[]{}",:`1a \n'))
def test_whatever_is_said_is_read_or_does_not_fit(text: str) -> None:
    AnswerForm.of(Box).fits(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{}", "'answer.size' is missing; expected a whole number"),
        ('{"size": "big"}', "'answer.size' must be a whole number, not \"big\""),
        ('{"size": 1, "x": 2}', "there is no 'answer.x'; there are: answer.size"),
        ("[]", "'answer' must be an object (size), not []"),
    ],
)
def test_what_does_not_fit_is_said_in_words_of_answers(text: str, problem: str) -> None:
    with pytest.raises(Mismatch) as caught:
        AnswerForm.of(Box).read(text)
    assert str(caught.value) == problem


def test_a_class_that_contains_itself_cannot_be_described() -> None:
    pydantic = pytest.importorskip("pydantic")
    items = typing.ForwardRef("Tree")
    tree = pydantic.create_model("Tree", children=(list[items], ...))  # type: ignore[valid-type]
    with pytest.raises(InvalidInput, match="contains itself"):
        AnswerForm.of(tree)


def test_only_what_leaves_nothing_open_is_demanded_of_openai() -> None:
    assert is_strict(AnswerForm.of(Box).spec.schema)
    for open_one in (Lid, dict[str, int], tuple[int, str], list[Any]):
        assert not is_strict(AnswerForm.of(open_one).spec.schema)


def test_names_are_those_that_vendors_take() -> None:
    assert [vendors_name(name) for name in ("Box", "list[Box]", "[]")] == [
        "Box",
        "list_Box",
        "answer",
    ]


@pytest.mark.parametrize("output", [Box, Lid, list[Lid], tuple[int, str], bool, float, int | None])
def test_a_sample_fits(output: Any) -> None:
    form = AnswerForm.of(output)
    form.shape.convert(sample(form.spec.schema, "There are 3"), "answer")
