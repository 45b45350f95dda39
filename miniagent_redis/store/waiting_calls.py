"""Which calls of a turn wait, as the metadata has them: by digests, as records are no script's."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from attrs import evolve

from ..models import Message, OpenTurn, WaitingCall, WaitsFor
from ..models.inquiry import open_question
from .keys import to_bytes

KINDS: dict[str, WaitsFor] = {"a": "approval", "r": "result", "i": "input"}
"""What stands in front of a digest: what the call waits for."""
LETTERS = {kind: letter for letter, kind in KINDS.items()}
_NO_REPLY = Message("assistant")


def call_digest(reply: Message, call_id: str) -> str:
    """Return what stands for a call of that reply: vendors use one id again and again."""
    return sha256(to_bytes(f"{reply.id} {call_id}")).hexdigest()[:16]


def last_reply(staged: Sequence[Message]) -> Message:
    """Return the model's last reply among the messages of a turn."""
    return next((message for message in reversed(staged) if message.role != "tool"), _NO_REPLY)


def waiting_calls(staged: Sequence[Message], waits: bytes) -> tuple[WaitingCall, ...]:
    """Return the calls of a turn's last reply that ``waits`` names, as ``park_turn`` has it."""
    reply = last_reply(staged)
    kinds = {part[1:]: part[:1] for part in waits.decode().split()}
    found = ((call, kinds.get(call_digest(reply, call.id))) for call in reply.tool_calls)
    return tuple(
        WaitingCall.of(
            call,
            KINDS.get(kind, "result"),
            open_question(staged, call.id) if KINDS.get(kind) == "input" else None,
        )
        for call, kind in found
        if kind is not None
    )


def is_parked(turn: bytes | None, waits: bytes | None) -> bool:
    """Tell by two fields of the metadata whether the open turn waits for an answer."""
    return bool(turn and waits and waits.startswith(turn + b" ") and waits.count(b" ") > 1)


def approvals(turn: OpenTurn, told: bytes) -> OpenTurn:
    """Return the turn with the calls that were approved; ``told`` is as lua/_turns.lua says it.

    Another holder, who came first, may have started them.
    """
    if not told:
        return turn
    first, *digests = told.decode().split()
    if first == turn.holder:
        return evolve(turn, approved=frozenset(digests))
    return evolve(turn, started=frozenset(digests))
