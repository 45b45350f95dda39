"""In what blocks a window is cut: how much of its room is kept when it is full.

What a block makes free is for the turns to come. Their requests begin as the one before did, which
is what a vendor's cache of prompts hits; the one that follows a cut begins anew. So a block has to
hold many turns. In a large window three tenths do. A small one holds few turns in all, and gives up
as much as they need, but no more than half (and what is left of a turn then): what is cut off, the
model no longer knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from attrs import evolve

from ..models import Message
from .room import Room
from .view import Cut, left, newest

_KEPT = 0.7  # of the room
_LEAST_KEPT = 0.5  # of a room that would be full again in fewer turns than these:
_TURNS = 10


def cut_by_a_block(history: Sequence[Message], room: Room, *, to_come: float = 0.0) -> Cut:
    """Return where a window with so much room is to be cut when it is full.

    ``to_come`` is the share of the room that is free until then: it will be taken up by messages
    that are not there yet, and all of them stay.
    """
    return newest(history, room.share(_kept(history, room) - to_come).take)


def _kept(history: Sequence[Message], room: Room) -> float:
    """Return the share of the room that is kept.

    Turns to come are taken to be as long as the newest, those that there is room for. No others are
    looked at, however long the history is.
    """
    free = evolve(room)
    sent = left(history, newest(history, free.take))
    if not sent:
        return _KEPT
    turns = sum(message.role == "user" for message in sent) or 1
    used = max(_used(free.messages, room.messages), _used(free.tokens, room.tokens))
    return min(_KEPT, max(_LEAST_KEPT, 1 - _TURNS * used / turns))


def _used(free: float, of: float) -> float:
    return 0 if of == inf else 1 - free / of
