"""What is stored of an event, turned into the events that a watcher gets."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve

from ..codec import Json, Unreadable, message_from_data, upcast
from ..errors import SchemaTooNew
from ..models import Event, EventType, Message
from .base import StoreBase, log

_STEP = "turn_step"
_RESUMED = "turn_resumed"
_UNREADABLE = {_STEP: EventType.TOOL_RESULT, _RESUMED: EventType.TURN_STARTED}


class EventRecords(StoreBase):
    """Decoding entries of the event streams."""

    def _events_of(self, session_id: str, event_id: str, fields: Sequence[bytes]) -> list[Event]:
        """Return the events that an entry stands for, none if this version does not know it.

        The last one has the entry's id, those before it have that and their number in it.
        """
        stored = dict(zip(fields[::2], fields[1::2], strict=False))
        kind = stored.get(b"type", b"").decode("utf-8", "replace")
        turn = stored.get(b"turn", b"").decode("utf-8", "replace") or None
        at = int(event_id.partition("-")[0]) / 1000
        try:
            version = int(stored.get(b"version", b"0"))
            told = self._contents(kind, stored.get(b"record", b""), version)
        except (Unreadable, SchemaTooNew) as exc:
            self.unreadable_records += 1
            log.warning("the record in event %s of session %s cannot be read: %s",
                        event_id, session_id, exc)  # fmt: skip
            same = _UNREADABLE.get(kind) or EventType(kind)
            told = [(same, {"unreadable": str(exc)})]
        except ValueError:
            self.unreadable_records += 1
            log.warning("event %s of session %s is of no known kind", event_id, session_id)
            return []
        events = [
            Event(what, session_id, turn, data, at, f"{event_id}.{number}")
            for number, (what, data) in enumerate(told, 1)
        ]
        return [*events[:-1], evolve(events[-1], id=event_id)]

    def _contents(self, kind: str, raw: bytes, version: int) -> list[tuple[EventType, Json]]:
        if kind == _STEP:
            return _told_of_step(message_from_data(self._readable(raw)))
        what = EventType.TURN_STARTED if kind == _RESUMED else EventType(kind)
        if what is EventType.TEXT_DELTA:
            return [(what, {"text": str(upcast(self._readable(raw), "a text").get("text", ""))})]
        data = self._event_data(what, raw, version)
        if what is EventType.TURN_STARTED:
            data["resumed"] = kind == _RESUMED
        return [(what, data)]

    def _event_data(self, kind: EventType, raw: bytes, version: int) -> Json:
        if kind is EventType.TURN_FAILED:
            why = upcast(self._readable(raw), "a failure") if raw else {}
            return {"error": str(why.get("error", "")), "message": str(why.get("message", ""))}
        if not raw:
            return {"version": version}
        message = message_from_data(self._readable(raw))
        data: Json = {"message": message.to_dict(), "version": version}
        if kind is EventType.AGENT_RESPONSE:
            data |= {"text": message.text, "persisted": True}
            data["interrupted"] = bool(message.metadata.get("interrupted"))
        return data

    def _readable(self, raw: bytes) -> Json:
        data = self._data(raw)
        if isinstance(data, Unreadable):
            raise data
        return data


def _told_of_step(message: Message) -> list[tuple[EventType, Json]]:
    """Tell of a model's tool calls, or of a tool's result."""
    if message.role != "tool":
        return [
            (EventType.TOOL_CALL, {"id": call.id, "name": call.name, "arguments": call.arguments})
            for call in message.tool_calls
        ] or [(EventType.TEXT_DELTA, {"text": message.text})]
    result = {
        "id": message.tool_call_id,
        "name": message.name,
        "content": message.content,
        "is_error": bool(message.metadata.get("is_error")),
    }
    return [(EventType.TOOL_RESULT, result)]
