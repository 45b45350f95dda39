"""A person fills in, line by line, what a tool wants to know."""

from __future__ import annotations

import io

import pytest

from miniagent_redis import Approve, Deny
from miniagent_redis.cli.asking import ask
from miniagent_redis.cli.terminal import Terminal
from miniagent_redis.models import Question, WaitingCall

FORM = {
    "type": "object",
    "properties": {
        "day": {"type": "string", "title": "Day", "enum": ["monday", "friday"]},
        "seats": {"type": "integer", "default": 2},
        "with": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["day"],
}
FIELDS, PAGE = Question("For which day?", FORM), Question("Pay first.", url="https://pay.example/1")


class Lines:
    """Gives these lines, and then no more."""

    tip = ""

    def __init__(self, *lines: str) -> None:
        self._lines = list(lines)

    def read(self) -> str | None:
        return self._lines.pop(0) if self._lines else None


def answers(question: Question, *lines: str) -> tuple[object, str]:
    """Return what these lines answer, and what was said meanwhile."""
    out = io.StringIO()
    call = WaitingCall("c1", "book", {}, "input", question)
    found = ask(Terminal(out, out), Lines(*lines), [call])
    return None if found is None else found["c1"], out.getvalue()


def test_each_field_is_asked_for_and_those_left_out_have_their_defaults() -> None:
    found, said = answers(FIELDS, "friday", "", "Bo, Cy")
    assert found == {"day": "friday", "seats": 2, "with": ["Bo", "Cy"]}
    assert "book asks: For which day?" in said
    assert "day (Day, monday or friday)?" in said
    assert "seats (usually 2)?" in said


def test_what_does_not_fit_is_asked_for_again() -> None:
    found, said = answers(FIELDS, "sunday", "4", "", "monday", "4", "")
    assert found == {"day": "monday", "seats": 4}
    assert "'day' must be one of monday, friday" in said


@pytest.mark.parametrize(
    ("question", "lines"), [(FIELDS, ["friday", "-"]), (PAGE, ["n"]), (PAGE, [""])]
)
def test_who_does_not_want_to_declines(question: Question, lines: list[str]) -> None:
    found, _ = answers(question, *lines)
    assert isinstance(found, Deny)


def test_a_page_is_named_and_approved() -> None:
    found, said = answers(PAGE, "y")
    assert found == Approve()
    assert "Go to https://pay.example/1" in said


@pytest.mark.parametrize("question", [FIELDS, PAGE])
def test_nothing_is_answered_when_the_lines_end(question: Question) -> None:
    assert answers(question)[0] is None
