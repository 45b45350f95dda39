"""How far the reader of a turn has come, so that he hears each event once, whoever works on it."""

from __future__ import annotations

from collections import Counter

from attrs import define, evolve, field

from ..models import Event, EventType, TurnResult
from ..runtime.pausing import Pause
from .results import Turn

_PIECES = (EventType.TEXT_DELTA, EventType.REASONING_DELTA)


@define
class Heard:
    """How far the reader of a turn has come, whoever works on it.

    ``shown`` is how much of the answer, and of what the model deliberates, was told behind the
    event ``after``: such pieces have no id where the turn is worked on.
    """

    after: str | None = None
    is_over: bool = False
    shown: Counter[EventType] = field(factory=Counter)

    def noting(self, turn: Turn) -> Turn:
        """Come to what the turn comes to, and take note of what its reader is given."""
        thrown: BaseException | None = None
        while True:
            try:
                event = next(turn) if thrown is None else turn.throw(thrown)
            except StopIteration as end:
                result: TurnResult = end.value
                return result
            finally:
                thrown = None  # else it would hold its own traceback, and that this frame
            if not isinstance(event, Pause):
                self._note(event)
            try:
                yield event
            except GeneratorExit:
                turn.close()
                raise
            except BaseException as exc:  # what the reader meets is the turn's to end with
                thrown = exc

    def _note(self, event: Event) -> None:
        if event.id:
            self.after = event.id
            self.shown.clear()
        elif event.type in _PIECES:
            self.shown[event.type] += len(event.text)

    def new_of(self, event: Event) -> Event | None:
        """Return what is new of a stored event behind ``after``; None if nothing is."""
        known = self.shown[event.type]
        if event.type not in _PIECES:
            self.shown.clear()
        elif known:
            self.shown[event.type] = max(0, known - len(event.text))
            event = evolve(event, data={"text": event.text[known:]})
            return event if event.text else None
        return event
