"""One attempt to open a turn, by whatever number of tries."""

from __future__ import annotations

from attrs import define

from ..models import Message
from .core import OnSession
from .threads import Enough


@define
class Opening:
    """What is asked for, and what is known of it by now."""

    on: OnSession
    turn_id: str
    holder: str
    message: Message | None
    record: bytes | None
    epoch: int | None
    count: int
    mark: bytes
    tickets: str
    """Those of who waits in this process, our own first; or INTERRUPT, END, or empty."""
    place: str
    """What stands in front of our own: '+' to keep it behind an abandoned turn."""
    enough: Enough | None
    named: str  # NAMED if a caller gave the turn's id
    searched: int | None = None
    """Up to which version the turn is known not to be in the thread; None if nobody has looked."""
    is_told_at_once: bool = False
    """Whether the caller wants to know at once that the very turn runs already."""
    is_taken: bool = False
    """Whether an earlier try has begun the turn, and another holder works on it by now."""
