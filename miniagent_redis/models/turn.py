"""What a turn and a tool call give back."""

from __future__ import annotations

from attrs import frozen

from .message import Message, Usage


@frozen
class ToolResult:
    """The outcome of one tool call; ``is_error`` results tell the model what went wrong."""

    call_id: str
    name: str
    content: str
    is_error: bool = False


@frozen
class TurnResult:
    """The outcome of one turn.

    ``steps`` are the stored messages after the user's: model replies and tool results, the answer
    last. ``version`` is the session's after the commit. ``persisted`` is whether Redis has it: when
    False the turn is in the spool, to be stored when Redis is back, and ``version`` is still that
    from before.
    """

    text: str
    usage: Usage
    steps: tuple[Message, ...]
    turn_id: str
    version: int
    session_id: str = ""
    persisted: bool = True
