"""Text of an open turn's answer that was shown and is not stored: what its events have of it."""

from __future__ import annotations

from ..models import EventType
from .core import StoreCore
from .events import Events
from .open_turns import before
from .operations.open_turn import read_turn

_PAGE = 1000
_LOST = "\N{HORIZONTAL ELLIPSIS}"


class ShownText:
    """Reading what watchers were told of an answer whose turn nobody finishes."""

    def __init__(self, core: StoreCore, events: Events) -> None:
        self._core = core
        self._events = events

    def of(self, session_id: str, turn_id: str, user_id: str | None = None) -> str:
        """Return what was told behind the turn's last step, by its last holder who told any.

        An ellipsis stands in place of a beginning that is not kept any more. Raises
        SessionNotFound or StoreUnavailable.
        """
        on = self._core.on(session_id, user_id)
        first = read_turn(on, turn_id=turn_id, events=_PAGE).first.decode()
        after, text, is_new = before(first) if first else "", "", False
        while found := self._events.read_events(session_id, after, limit=_PAGE, user_id=user_id):
            for event in found:
                if event.type is EventType.GAP:
                    text, is_new = _LOST, False
                elif event.turn_id != turn_id or event.type is EventType.REASONING_DELTA:
                    pass
                elif event.type is EventType.TEXT_DELTA:
                    text, is_new = event.text if is_new else text + event.text, False
                elif event.type is EventType.TURN_STARTED:
                    is_new = True  # another holder begins anew
                else:  # a step has the text before it
                    text = ""
            after = found[-1].id
        return "" if text == _LOST else text
