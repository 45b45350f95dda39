"""Asking again for an answer that does not have the form it must have, and why it does not.

Stands between the loop of a turn (steps.py) and its driver, and does no I/O either. What was wrong
and why is part of the next requests only: the thread gets the answer that fits, and the tokens of
all of them.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from attrs import asdict, astuple, evolve

from ..errors import ModelError
from ..llm import ModelRequest, Reply
from ..models import Message, Usage
from ..tools.schema.shapes import Mismatch
from .answer_form import AnswerForm
from .context import ESTIMATE
from .steps import Action, AskModel, Outcome, Show, Stage

ASKED_AGAIN = 2
"""How often: the third answer that does not fit is the last."""


class FittingAnswer:
    """The answer of one turn. ``value`` is its data in the end, ``error`` why there is none."""

    def __init__(self, form: AnswerForm) -> None:
        self.value: Any = None
        self.error: ModelError | None = None
        self._form = form
        self._beside = Usage()  # tokens that are in no message yet
        self._corrections: list[Message] = []
        self._wrong = 0

    def is_wanted(self, reply: Reply) -> bool:
        """Whether the reply is one to keep for whoever asks the same."""
        return bool(reply.tool_calls) or self._form.fits(reply.text)

    def run(
        self, loop: Generator[Action, Outcome, Message | None]
    ) -> Generator[Action, Outcome, Message | None]:
        """Yield the loop's actions, and those of asking again; return its answer, if it has one.

        If none fits, the last one is returned as one that broke off, and ``error`` says so.
        """
        outcome: Outcome = None
        while True:
            try:
                action = loop.send(outcome)
            except StopIteration as end:
                return None if end.value is None else self._paid(end.value)
            except ModelError:
                if isinstance(outcome, Reply):
                    self._beside += outcome.usage
                raise
            match action:
                case AskModel(request):
                    outcome = yield from self._ask(request)
                case Stage(messages):
                    outcome = yield Stage(tuple(map(self._paid, messages)))
                case _:
                    outcome = yield action

    def charge(self, error: ModelError) -> None:
        """Add what is in no message to the tokens of the error that ends the turn."""
        error.tokens = astuple(Usage(*error.tokens) + self._beside)
        self._beside = Usage()

    def _ask(self, request: ModelRequest) -> Generator[Action, Outcome, Reply]:
        while True:
            messages = (*request.messages, *self._corrections)
            reply = yield AskModel(evolve(request, messages=messages, output=self._form.spec))
            assert isinstance(reply, Reply)
            if reply.tool_calls or reply.interrupted or not reply.text.strip():
                self._corrections.clear()  # what comes now stands behind the tools' results
                break
            try:
                self.value = self._form.read(reply.text)
                break
            except Mismatch as found:
                reason = _with_cut(str(found), reply)
            self._wrong += 1
            if self._wrong > ASKED_AGAIN:
                self.error = self._no_answer(reason)
                reply = evolve(reply, interrupted="incomplete")
                break
            self._beside += reply.usage
            self._corrections += _correction(reply, reason)
        if reply.text:
            yield Show(reply.text)
        return reply

    def _no_answer(self, reason: str) -> ModelError:
        return ModelError(
            f"the model's answer does not fit {self._form.spec.name}",
            cause=f"after it was told twice what was wrong: {reason}",
            hint="the answer is in .text; try a simpler class, or describe its fields",
        )

    def _paid(self, message: Message) -> Message:
        """Let the model's next message have the tokens of the answers before it."""
        if message.role != "assistant" or self._beside == Usage():
            return message
        usage = Usage.from_dict(message.metadata.get("usage", {})) + self._beside
        self._beside = Usage()
        metadata = {name: told for name, told in message.metadata.items() if name != ESTIMATE}
        return evolve(message, metadata=metadata | {"usage": usage.to_dict()})


def _with_cut(reason: str, reply: Reply) -> str:
    if reply.finish_reason != "length":
        return reason
    return f"{reason}; it was cut off, as it was longer than the most tokens that it may have"


def _correction(reply: Reply, reason: str) -> tuple[Message, Message]:
    blocks = {"blocks": [asdict(block) for block in reply.blocks]} if reply.blocks else {}
    return (
        Message("assistant", reply.text, metadata=blocks),
        Message(
            "user",
            f"That answer cannot be used: {reason}. Give it again, whole, as one JSON value that "
            "fits the schema, and nothing else.",
        ),
    )
