"""What is stored of an event, turned into the events that a watcher gets."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from ..errors import SchemaTooNew, TurnSuperseded
from ..models import Event, EventType, Message
from ..models.event import (
    Told,
    agent_response,
    delta,
    history_cleared,
    message_added,
    numbered,
    time_of,
    turn_failed,
    turn_started,
    turn_step,
)
from ..records.frame import Unreadable
from ..records.json import Json
from ..records.messages import message_from_data
from ..records.sealed import EncryptionKeyMissing
from .core import StoreCore, log

_STEP = "turn_step"
_RESUMED = "turn_resumed"
_UNREADABLE = {_STEP: EventType.TOOL_RESULT, _RESUMED: EventType.TURN_STARTED}


@frozen
class _Stored:
    """What an entry of a stream holds, beside its id and its turn."""

    kind: str
    record: bytes
    version: int
    is_gone: bool = False
    """Whether it told of a message that is not stored any more."""


class EventRecords:
    """Decodes entries of the event streams."""

    def __init__(self, core: StoreCore) -> None:
        self._core = core

    def decode(
        self, session_id: str, event_id: str, fields: Sequence[bytes], message: bytes
    ) -> list[Event]:
        """Return the events that an entry stands for, none if this version does not know it.

        ``message`` is the record that the entry points to, empty if that is gone.
        The last one has the entry's id, those before it have that and their number in it.
        """
        stored = dict(zip(fields[::2], fields[1::2], strict=False))
        kind = stored.get(b"type", b"").decode("utf-8", "replace")
        turn = stored.get(b"turn", b"").decode("utf-8", "replace") or None
        try:
            version = int(stored.get(b"version", b"0"))
            points = b"at" in stored
            record = message if points else stored.get(b"record", b"")
            told = self._said(
                session_id, turn, _Stored(kind, record, version, points and not message)
            )
        except (Unreadable, SchemaTooNew, EncryptionKeyMissing) as exc:
            self._core.tally.unreadable_records += 1
            log.warning("the record in event %s of session %s cannot be read: %s",
                        event_id, session_id, exc)  # fmt: skip
            same = _UNREADABLE.get(kind) or EventType(kind)
            told = [(same, {"unreadable": str(exc)})]
        except ValueError:
            self._core.tally.unreadable_records += 1
            log.warning("event %s of session %s is of no known kind", event_id, session_id)
            return []
        at = time_of(event_id)
        return [
            Event(kind, session_id, turn, data, at, its_id)
            for (kind, data), its_id in zip(told, numbered(event_id, len(told)), strict=True)
        ]

    def _said(self, session_id: str, turn: str | None, stored: _Stored) -> list[Told]:
        raw, version = stored.record, stored.version
        if stored.is_gone:
            kind = _UNREADABLE.get(stored.kind) or EventType(stored.kind)
            return [(kind, {"gone": True, "version": version})]
        if stored.kind == _STEP:
            return turn_step(self._message(session_id, raw))
        match EventType.TURN_STARTED if stored.kind == _RESUMED else EventType(stored.kind):
            case EventType.TEXT_DELTA:
                return [delta(self._plain(session_id, raw))]
            case EventType.TURN_STARTED:
                resumed = stored.kind == _RESUMED
                return [turn_started(self._message(session_id, raw), version, resumed=resumed)]
            case EventType.AGENT_RESPONSE:
                return [agent_response(self._message(session_id, raw), version)]
            case EventType.MESSAGE_ADDED:
                return [message_added(self._message(session_id, raw), version)]
            case EventType.HISTORY_CLEARED:
                note = self._plain(session_id, raw) if raw else {}
                return [history_cleared(version, int(note.get("kept", 0)), note.get("branch"))]
            case EventType.TURN_FAILED if not raw:  # another message took its place
                return [turn_failed(TurnSuperseded(session_id, turn or ""))]
            case EventType.TURN_FAILED:
                why = self._plain(session_id, raw)
                data = {name: str(why.get(name, "")) for name in ("error", "message")}
                return [(EventType.TURN_FAILED, data)]
            case EventType.TURN_WAITING:
                return [(EventType.TURN_WAITING, {"calls": self._plain(session_id, raw)["calls"]})]
            case kind:
                return [(kind, {"version": version})]

    def _message(self, session_id: str, raw: bytes) -> Message:
        where = self._core.where("message", session_id)
        return message_from_data(self._core.format.decode(raw, where))

    def _plain(self, session_id: str, raw: bytes) -> Json:
        return self._core.format.decode(raw, self._core.where("event", session_id))
