"""What a turn and a tool call give back."""

from __future__ import annotations

from typing import Any, Literal

from attrs import field, frozen

from .inquiry import Inquiry
from .message import Message, readable
from .usage import Usage
from .waiting import WaitingCall

OnBusy = Literal["wait", "reject", "interrupt"]
"""What a message does that meets a running turn: wait for it, fail, or take its place."""


@frozen
class ToolResult:
    """The outcome of one tool call; ``is_error`` results tell the model what went wrong.

    ``cached`` is whether it was found in the cache, ``saved_seconds`` sooner than by running the
    tool; None if nobody looked. ``not_run`` is whether the call was wrong, so that no tool was run.
    One that ``asks`` is no result yet: the tool wants to know something from the user first.
    """

    call_id: str
    name: str
    content: str | list[dict[str, Any]]
    is_error: bool = False
    cached: bool | None = None
    saved_seconds: float = 0.0
    not_run: bool = False
    asks: Inquiry | None = None

    @property
    def text(self) -> str:
        """The readable part of the content: all of it, but for pictures."""
        return readable(self.content)


@frozen
class TurnResult:
    """The outcome of one turn.

    ``steps`` are the stored messages after the user's: model replies and tool results, the answer
    last. ``version`` is the session's after the commit. ``persisted`` is whether Redis has it: when
    False the turn is in the spool, to be stored when Redis is back, and ``version`` is still that
    from before. ``cache_hits`` steps came from the cache, and saved so many seconds and tokens,
    which ``usage`` does not have. ``seconds`` is how long it took (not compared: of a turn that is
    found again it is from the user's message to the answer), ``cost`` what its tokens cost in
    USD, None if ``AgentConfig.prices`` does not have the model. ``interrupted`` is whether it was
    cancelled: then ``text`` is what there was of the answer by then. ``finish_reason`` is ``stop``
    for a whole answer; what else it may be, ``finish_reason_of`` says. A turn that is parked has
    the calls that somebody has to answer as ``waiting``, and that as its ``finish_reason``; nothing
    of it is in the thread yet, and ``version`` is that from before. ``output`` is the answer as
    data, if that was asked for (``output=``) and this process worked it out; else None. ``branch``,
    of ``edit`` and ``regenerate``, is the session that keeps what was there before.
    """

    text: str
    usage: Usage
    steps: tuple[Message, ...]
    turn_id: str
    version: int
    session_id: str = ""
    persisted: bool = True
    interrupted: bool = False
    cache_hits: int = 0
    saved_seconds: float = 0.0
    saved_tokens: int = 0
    tool_calls: int = 0
    seconds: float = field(default=0.0, eq=False)
    cost: float | None = None
    output: Any = None
    finish_reason: str = "stop"
    waiting: tuple[WaitingCall, ...] = ()
    branch: str | None = None


TurnStands = Literal["running", "waiting", "abandoned", "completed", "interrupted", "unknown"]


@frozen
class TurnState:
    """How a turn stands that was asked for by its id.

    ``state`` is "running"; "waiting", for somebody else's answer to a call; "abandoned", when its
    process is gone, until another one finishes it; "completed"; "interrupted", when it was stored
    as far as it came; or "unknown": it has not begun, nothing of it was stored, or its messages are
    not there any more. ``message`` is the user's, ``steps`` are those behind it so far, ``text`` is
    the last thing that the model said. ``result`` is what the turn gave, once it is stored;
    ``waiting`` are the calls that somebody has to answer.
    """

    turn_id: str
    state: TurnStands
    message: Message | None = None
    steps: tuple[Message, ...] = ()
    text: str = ""
    result: TurnResult | None = None
    waiting: tuple[WaitingCall, ...] = ()
