"""Asks a person for what a turn waits for: whether a call may run, or what it gave."""

from __future__ import annotations

from collections.abc import Sequence

from ..models import Approve, Deny, WaitingCall
from ..store.parking import Answer
from .filling_in import fill_in
from .line_input import Reader
from .terminal import Terminal
from .transcript import call_text

_YES = ("y", "yes")


def confirms(terminal: Terminal, reader: Reader, question: str) -> bool:
    """Whether the person says yes. Blocks."""
    terminal.plain(f"{question} [y/N]")
    line = reader.read()
    return line is not None and line.strip().lower() in _YES


def ask(
    terminal: Terminal, reader: Reader, calls: Sequence[WaitingCall]
) -> dict[str, Answer] | None:
    """Return the answers to the calls, by their ids; None when the lines end before that.

    Anything but a yes declines a call. Blocks.
    """
    answers: dict[str, Answer] = {}
    for call in calls:
        if call.question is not None:
            if (answer := fill_in(terminal, reader, call.name, call.question)) is None:
                return None
            answers[call.id] = answer
            continue
        shown = call_text(call.name, call.arguments)
        approves = call.waits_for == "approval"
        terminal.plain(f"Run {shown}? [y/N]" if approves else f"What does {shown} give?")
        line = reader.read()
        if line is None:
            return None
        if not approves:
            answers[call.id] = line
        elif line.strip().lower() in _YES:
            answers[call.id] = Approve()
        else:
            answers[call.id] = Deny("the user said no")
    return answers
