"""Calls in which a server asks the user: how it asks, and how it is told the answer.

Since 2026-07-28 a server answers a call with what it wants to know, and with a state; the call is
made again with both the answers and the state. Nothing has to stay open meanwhile. A server of an
older protocol asks while its call runs, and does not say which call that is. It is told that the
question was put aside (``cancel``), which ends its call; when the answer is there the call is made
anew, and what it asks again is answered at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import ToolError
from ..models import Inquiry, Question, new_id
from ..tools.asking import AskUser, reply_of

if TYPE_CHECKING:
    from mcp.types import (
        CallToolResult,
        ElicitRequestParams,
        ElicitResult,
        InputRequest,
        InputRequiredResult,
        InputResponse,
    )

MOST = 10
"""Questions of one call, or rounds without one."""
_PAUSES = (0.05, 0.1, 0.2, 0.25)  # seconds before a call is made again that asked for nothing

Send = Callable[
    ["dict[str, InputResponse] | None", "str | None"],
    Awaitable["CallToolResult | InputRequiredResult"],
]


Answers = Callable[[Question], object]
"""A function that answers questions: as ``answer`` of a manager does, or None for the user to."""


async def answered(answers: Answers | None, question: Question) -> Inquiry | None:
    """Return what the function says, which is called in a thread; None if the user is to say."""
    answer = None if answers is None else await asyncio.to_thread(answers, question)
    if answer is None:
        return None
    action, content = reply_of(question, answer)
    return Inquiry(question, {}, action, content)


async def call_in_rounds(
    send: Send, inquiries: Sequence[Inquiry], answers: Answers | None
) -> CallToolResult:
    """Return the result of a call that goes on behind the ``inquiries``; raises AskUser."""
    from mcp.types import InputRequiredResult

    responses: dict[str, InputResponse] | None = None
    state: str | None = None
    if inquiries and "round" in (last := inquiries[-1].state):
        told: dict[str, InputResponse] = {
            one.state["key"]: reply_to(one)
            for one in inquiries
            if one.state.get("round") == last["round"]
        }
        await _fill(last, told, answers)
        responses, state = told, last["request_state"]
    for turn in range(MOST):
        result = await send(responses, state)
        if not isinstance(result, InputRequiredResult):
            return result
        if result.input_requests:
            asked = {key: _plain(request) for key, request in result.input_requests.items()}
            round_ = {"requests": asked, "request_state": result.request_state, "round": new_id()}
            responses = await _fill(round_, {}, answers)
        else:
            await asyncio.sleep(_PAUSES[min(turn, len(_PAUSES) - 1)])
            responses = None
        state = result.request_state
    raise ToolError(f"the server put the call off {MOST} times")


async def _fill(
    state: Mapping[str, Any], told: dict[str, InputResponse], answers: Answers | None
) -> dict[str, InputResponse]:
    """Return all responses of a round; raises AskUser for the first question without an answer."""
    for key, request in state["requests"].items():
        if key not in told:
            question = Question(request["message"], request["schema"], request["url"])
            if (inquiry := await answered(answers, question)) is None:
                raise AskUser(question, {**state, "key": key})
            told[key] = reply_to(inquiry)
    return told


def _plain(request: InputRequest) -> dict[str, Any]:
    from mcp.types import ElicitRequest

    if not isinstance(request, ElicitRequest):
        raise ToolError(f"the server asks for {request.method}, which there is not here")
    asked = question_of(request.params)
    return {"message": asked.message, "schema": asked.schema, "url": asked.url}


def question_of(params: ElicitRequestParams) -> Question:
    """Return what a server wants to know."""
    if params.mode == "url":
        return Question(params.message, url=params.url)
    return Question(params.message, dict(params.requested_schema))


def reply_to(inquiry: Inquiry) -> ElicitResult:
    """Return what a server is told."""
    from mcp.types import ElicitResult

    if inquiry.action != "accept":
        return ElicitResult(action="decline")
    content = None if inquiry.question.url else inquiry.content
    return ElicitResult(action="accept", content=content)


class AskedMeanwhile:
    """What a server of an older protocol asks while one call runs."""

    def __init__(self, inquiries: Sequence[Inquiry], answers: Answers | None = None) -> None:
        self._answers = answers
        self._told = list(inquiries)
        self._open: Question | None = None

    async def reply(self, params: ElicitRequestParams) -> ElicitResult:
        """Answer it, if the user has; else put it aside."""
        from mcp.types import ElicitResult

        question = question_of(params)
        for place, inquiry in enumerate(self._told):
            if inquiry.question == question and inquiry.action and self._open is None:
                del self._told[place]
                return reply_to(inquiry)
        if self._open is None and (told := await answered(self._answers, question)) is not None:
            return reply_to(told)
        self._open = self._open or question
        return ElicitResult(action="cancel")

    def ask(self) -> None:
        """Raise AskUser if there was a question without an answer: then the call has no result."""
        if self._open is not None:
            raise AskUser(self._open, {})


def asked_by_error(error: Any, inquiries: Sequence[Inquiry]) -> None:
    """Raise AskUser for an error that says that the user has to go somewhere first."""
    from mcp.types import ElicitationRequiredErrorData

    for wanted in ElicitationRequiredErrorData.model_validate(error.data).elicitations:
        question = question_of(wanted)
        declined = any(one.question == question and one.action == "decline" for one in inquiries)
        if declined:
            raise ToolError("the user declined what the server wants done first")
        raise AskUser(question, {})
