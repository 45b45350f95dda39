"""What a model does wrong goes back to the model: what it is told, and how often.

A call that cannot be run has a result that says why, so that the model can mend it, and the thread
stays a conversation that every vendor takes. Calls of unknown tools, and arguments that do not fit,
are told by tools/call.py; here is what can be seen in the reply itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import astuple

from ..errors import InvalidInput, ModelError
from ..llm import Reply
from ..models import Message, ToolResult, Usage
from ..records.json import check_json

ORDINARY = ("stop", "tool_calls")
"""Reasons by which a whole answer ends."""
MALFORMED = "malformed_call"
MOST = 3
"""Replies in a row of which no call could be run; the turn ends with the last of them."""
_CUT = {
    "length": "your answer was cut off at its limit of tokens, so this call may not be whole; call "
    "again, with shorter arguments or in smaller steps",
    "content_filter": "a content filter stopped your answer, so this call may not be whole; call "
    "again, in other words",
}
_LONGEST = 500  # characters of what it sent that the model is shown


def refused(reply: Reply) -> list[ToolResult]:
    """Return the results of those calls in the reply that are not run."""
    cut = _CUT.get(reply.finish_reason)
    unread = {call.id: call for call in reply.unread}
    results: list[ToolResult] = []
    for call in reply.tool_calls:
        bad = unread.get(call.id)
        if cut is None and bad is None:
            continue
        told = f"not run: {cut}" if cut else "not run: the arguments are no JSON object"
        if bad is not None:
            told += f" ({bad.why.rstrip('.')}); you sent: {_short(bad.sent)}"
        results.append(ToolResult(call.id, call.name, told, is_error=True, not_run=True))
    return results


def is_malformed(reply: Reply) -> bool:
    """Whether the vendor dropped a call that it could not read, so that none is there to answer."""
    return reply.finish_reason == MALFORMED and not reply.tool_calls


def asked_again(reply: Reply) -> tuple[Message, ...]:
    """Return what the model is told of a call that nobody could read. It is not stored."""
    said = (Message("assistant", reply.text),) if reply.text.strip() else ()
    why = f" ({_short(reply.finish_detail)})" if reply.finish_detail else ""
    note = (
        f"[Your call of a tool could not be read{why}, so nothing was run. Call the tool again, "
        "with JSON arguments that fit its schema, or answer without it.]"
    )
    return *said, Message("user", note)


def wrongs_in_a_row(steps: Sequence[Message]) -> list[str]:
    """Return what was wrong with the last replies, oldest first: those whose calls all failed so.

    ``steps`` are a turn's messages, with a result for each call.
    """
    found: list[str] = []
    results: list[Message] = []
    for message in reversed(steps):
        if message.role == "tool":
            results.append(message)
            continue
        if not results or not all(each.metadata.get("not_run") for each in results):
            break
        found.append(results[0].text)
        results = []
    return found[::-1]


def check_row(wrongs: Sequence[str], lost: Usage) -> None:
    """Raise ModelError if the model went wrong too often, one reply after another.

    It tells what was ``lost`` in replies that are not stored.
    """
    if len(wrongs) >= MOST:
        error = ModelError(
            f"the model went wrong {MOST} times in a row: none of its calls could be run",
            cause=wrongs[-1],
            hint="describe the tool and its parameters better, raise AgentConfig.max_tokens if "
            "answers are cut off, or use a stronger model",
        )
        error.tokens = astuple(lost)
        raise error


def check_reply(reply: Reply, steps: Sequence[Message]) -> None:
    """Raise ModelError for a reply that is of no use; ``steps`` are the turn's messages before it.

    To say nothing is an answer once a tool has been run: some models do when all is said.
    """
    if not reply.says_something:
        is_done = reply.finish_reason in ORDINARY and any(
            step.role == "tool" and not step.metadata.get("not_run") for step in steps
        )
        if not is_done:
            said = f": {reply.finish_detail}" if reply.finish_detail else ""
            error = ModelError(
                "the model gave an empty answer",
                cause=f"it finished with the reason {reply.finish_reason!r}{said}",
                hint="send the message again, or raise max_tokens",
            )
            if reply.finish_reason == "content_filter":
                error.kind = "content_filter"
            raise error
    try:
        for block in reply.blocks:
            check_json(block.data, "data")
    except InvalidInput as exc:
        raise ModelError("a block of the model's reply is no JSON", cause=str(exc)) from exc


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
