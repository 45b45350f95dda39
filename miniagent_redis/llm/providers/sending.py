"""What every provider's request has in common: messages that any of them takes.

A stored thread may come from several providers, each with its own form of ids, and from people who
send nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import sha256
from typing import Any

from attrs import evolve

from ...models import Message
from .blocks import own_blocks
from .parts import content_parts

EMPTY = "(empty message)"
START = "(start of the conversation)"
ANY_ID = re.compile(".+", re.DOTALL)  # some servers hide in theirs what they want back
SHORT_ID = re.compile(r"[\x21-\x7e]{1,40}")  # of OpenAI
_NAME = re.compile(r"[^a-zA-Z0-9_-]")


def sendable(
    messages: Iterable[Message], provider: str, valid_id: re.Pattern[str]
) -> list[Message]:
    """Return the messages without those that say nothing, and with ids and names that are valid.

    An id that matches ``valid_id`` and was not there before stays as it is, and so do all those
    beside blocks of the provider's own; the others become a digest, the same in each request. An
    empty message of a user stays, as ``EMPTY``.
    """
    sent: list[Message] = []
    used: set[str] = set()
    renamed: dict[str | None, str] = {}
    for message in messages:
        if message.role == "tool":
            call_id = renamed.get(message.tool_call_id, message.tool_call_id)
            sent.append(evolve(message, tool_call_id=call_id, name=_tool_name(message.name)))
        elif message.tool_calls:
            is_own = any(own_blocks(message, provider))
            renamed = {
                call.id: call.id if is_own else _valid(call.id, message, valid_id, used)
                for call in message.tool_calls
            }
            used |= {*renamed.values()}
            calls = (
                evolve(call, id=renamed[call.id], name=_tool_name(call.name))
                for call in message.tool_calls
            )
            sent.append(evolve(message, tool_calls=tuple(calls)))
        elif content_parts(message.content):
            sent.append(message)
        elif message.role == "user":
            sent.append(evolve(message, content=EMPTY))
    return sent


def _valid(call_id: str, message: Message, valid: re.Pattern[str], used: set[str]) -> str:
    if not valid.fullmatch(call_id) or call_id in used:
        named = f"{message.id} {call_id}".encode("utf-8", "surrogatepass")
        return "call_" + sha256(named).hexdigest()[:24]
    return call_id


def _tool_name(name: str | None) -> str:
    return _NAME.sub("_", name or "")[:64] or "tool"


def encodable(value: Any) -> Any:
    """Return what goes into a request, with U+FFFD for what of its text UTF-8 cannot hold.

    That is half a surrogate pair; the two halves of one, next to each other, become a character.
    """
    match value:
        case str() if not value.isascii():
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case list():
            return [encodable(item) for item in value]
        case dict():
            return {encodable(key): encodable(item) for key, item in value.items()}
    return value


def has_acted(messages: Iterable[Message]) -> bool:
    """Whether a tool was run since the user's last message.

    Then a choice of tools that is forced has been made: a model that had to call one in each of its
    replies would never come to an answer.
    """
    acted = False
    for message in messages:
        if message.role == "user":
            acted = False
        acted = acted or (message.role == "tool" and not message.metadata.get("not_run"))
    return acted
