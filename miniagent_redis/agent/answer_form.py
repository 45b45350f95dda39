"""The form of an answer that is data: its schema for the model, and how the answer is read."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from inspect import formatannotation
from typing import Any, NewType, get_origin

from attrs import frozen

from ..errors import InvalidInput
from ..llm import OutputSpec
from ..tools.schema.objects import shape_of_type
from ..tools.schema.shapes import Mismatch, Shape

_FENCED = re.compile(r"^[ \t]*```([^\n`]*)\n(.*?)^[ \t]*```", re.DOTALL | re.MULTILINE)
_PLAIN_BRACKETS = re.compile(r"\[[^][{}]*\]|\{[^][{}]*\}")
_BEGUN = re.compile(r"[\[{]")
_ROOT = "answer"


@frozen
class AnswerForm:
    """What ``output=`` asks for. ``read`` makes data of an answer's text."""

    spec: OutputSpec
    shape: Shape

    @classmethod
    def of(cls, output: Any) -> AnswerForm:
        """Return the form of a class, or of another type that can be sent; raises InvalidInput."""
        if isinstance(output, AnswerForm):
            return output
        if not isinstance(output, (type, NewType)) and get_origin(output) is None:
            raise InvalidInput(
                f"output must be a class or a type such as list[str], not {output!r:.100}"
            )
        shape = shape_of_type(output, "output")
        name = output.__name__ if isinstance(output, type) else formatannotation(output)
        return cls(OutputSpec(name, shape.schema), shape)

    def read(self, text: str) -> Any:
        """Return the data. Raises Mismatch, which says what does not fit."""
        try:
            return self.shape.convert(json_in(text), _ROOT)
        except Mismatch as found:
            raise Mismatch(*map(_of_an_answer, found.problems)) from found

    def fits(self, text: str) -> bool:
        """Whether ``read`` can make data of the text."""
        try:
            self.read(text)
        except Mismatch:
            return False
        return True


def _of_an_answer(problem: str) -> str:
    """Say it of an answer what the check of tool calls says of arguments."""
    said = problem.removeprefix("argument ")
    return said.replace("there is no argument ", "there is no ", 1).replace(
        "; the arguments are: ", "; there are: ", 1
    )


def json_in(text: str) -> Any:
    """Return the one JSON value of the text: all of it, in a fence, or an object or list in prose.

    Raises Mismatch if there is none, or several.
    """
    try:
        return _loaded(text)
    except ValueError as exc:
        problem = str(exc)
    found = _each_fenced(text) or _each_in_prose(text)
    if len(found) == 1:
        return found[0]
    if found:
        raise Mismatch(f"there are {len(found)} JSON values, and one is wanted")
    raise Mismatch(f"it is no JSON: {problem}")


def _loaded(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_number)
    except RecursionError as exc:
        raise ValueError("it is nested too deep") from exc


def _no_number(name: str) -> Any:
    raise ValueError(f"JSON has no {name}")


def _each_fenced(text: str) -> list[Any]:
    found: list[Any] = []
    for language, inside in _FENCED.findall(text):
        if language.strip().lower() in ("", "json"):
            with suppress(ValueError):  # code of another kind
                found.append(_loaded(inside))
    return found


def _each_in_prose(text: str) -> list[Any]:
    """Return all objects and lists between other text.

    Nothing, if one of them was begun and cannot be read: what it contains is not the answer.
    """
    decoder = json.JSONDecoder(parse_constant=_no_number)
    found: list[Any] = []
    place = 0
    while start := _BEGUN.search(text, place):
        try:
            value, place = decoder.raw_decode(text, start.start())
            found.append(value)
        except (ValueError, RecursionError):
            if (aside := _PLAIN_BRACKETS.match(text, start.start())) is None:
                return []
            place = aside.end()  # such as [note]
    return found
