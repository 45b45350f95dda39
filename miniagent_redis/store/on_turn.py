"""What all that is done to an open turn begins with: it is the turn of this process."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ..errors import TurnSuperseded
from ..models import Message, OpenTurn
from .checks import check_messages, check_turn, stamped
from .core import OnSession, StoreCore


def on_turn(core: StoreCore, turn: OpenTurn, *, insist: float | None = None) -> OnSession:
    """Return what runs scripts on the turn's session: for its process only."""
    if turn.process_id != os.getpid():
        raise TurnSuperseded(turn.session_id, turn.turn_id)
    session_id, user_id, name = turn.session_id, turn.user_id, turn.turn_id
    return core.on(session_id, user_id, operation=name, insist=insist, shows=name)


def of_turn(core: StoreCore, turn: OpenTurn, messages: Sequence[Message]) -> list[Message]:
    """Check messages; return them as those of the turn."""
    turn_id = check_turn(turn).turn_id
    return [stamped(each, turn_id, core.clock) for each in check_messages(messages)]
