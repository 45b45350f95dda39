"""Summaries: what a model remembers of messages that it is no longer sent.

A summary is a system message of the thread that says in its metadata what it covers. It is written
behind the turn at whose time the window was cut (context.py), so the newest one is always near the
end. No model is sent it where it stands: as_told() stands at the beginning of what is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import dropwhile
from typing import Any

from attrs import evolve

from ..llm import ModelRequest
from ..models import Message, Usage
from ..tools.canonical import canonical_json
from .view import SUMMARY, is_summary

_WORDS = 300
_LONGEST = 8_000  # characters of a summary: what is longer is cut
_LONGEST_RESULT = 2_000  # characters of one tool result, or one set of arguments
_AT_ONCE = 40_000  # characters that are summarised by one request, about
_TOLD = "What was said before, in short:\n"
_TASK = (
    "You keep the memory of a conversation between a user and an assistant. You are given a part "
    "of it, and what you remember of the parts before. Write what has to be remembered of all of "
    "it: names, facts, numbers, wishes, decisions, promises, what tools found and did, and what "
    f"is still open. Plain sentences, at most {_WORDS} words, in the language of the conversation. "
    "Do not answer the user, and say nothing but what is to be remembered."
)

Ask = Callable[[ModelRequest], tuple[str, Usage]]


def as_told(summary: Message) -> Message:
    """Return a summary as a model is sent it."""
    return evolve(summary, content=_TOLD + summary.text)


def end_of(summary: Message) -> str:
    """Return the id of the first message that a summary does not cover."""
    return str(summary.metadata[SUMMARY].get("until", ""))


def left_out(thread: Sequence[Message], start: str) -> tuple[str, list[Message]] | None:
    """Return what the newest summary says, and the messages from its end up to ``start``, an id.

    None if there is no such message, as after the history was cleared. The system messages that
    the thread begins with are not among them: they are always sent.
    """
    places = {message.id: place for place, message in enumerate(thread)}
    if start not in places:
        return None
    known = next(filter(is_summary, reversed(thread)), None)
    said, since = "", 0
    if known is not None:  # what it ends at may be let go of
        said, since = known.text, places.get(end_of(known), 0)
    new = [message for message in thread[since : places[start]] if not is_summary(message)]
    return said, list(dropwhile(lambda message: message.role == "system", new))


def summary(text: str, covered: Sequence[Message], until: str, usage: Usage) -> Message:
    """Return the message that stands for all before ``until``; ``covered`` are new in it."""
    covers = {"since": covered[0].id, "until": until, "messages": len(covered)}
    metadata: dict[str, Any] = {SUMMARY: covers}
    if used := usage.to_dict():
        metadata["usage"] = used
    return Message("system", text, metadata=metadata)


def summarise(known: str, messages: Iterable[Message], ask: Ask) -> tuple[str, Usage]:
    """Return a summary of what is ``known`` and the messages, and what it cost.

    Very many messages are summarised in several requests, one after the other.
    """
    used = Usage()
    for part in _parts(map(_line, messages)):
        before = f"What you remember of the parts before:\n{known}\n\n" if known else ""
        request = ModelRequest(
            messages=(Message("user", f"{before}The next part:\n{part}"),), system=_TASK
        )
        text, usage = ask(request)
        used += usage
        known = text.strip()[:_LONGEST] or known
    return known, used


def _parts(lines: Iterable[str]) -> Iterator[str]:
    part: list[str] = []
    for line in lines:
        if part and sum(map(len, part)) + len(line) > _AT_ONCE:
            yield "\n".join(part)
            part = []
        part.append(line)
    if part:
        yield "\n".join(part)


def _line(message: Message) -> str:
    if message.role == "tool":
        return f"{message.name or 'tool'} returned: {_short(message.text)}"
    calls = [
        f"(calls {c.name} with {_short(canonical_json(c.arguments))})" for c in message.tool_calls
    ]
    return " ".join(filter(None, (f"{message.role}:", message.text, *calls)))


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_RESULT else text[:_LONGEST_RESULT] + " …"
