"""What a request asks of a turn: to start it, with a name of its own, or to follow it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from flask import Response, request

from ..doors.refusals import TurnNotFound
from ..doors.sse import HEADERS, MEDIA_TYPE
from ..models import Event
from ..runtime.pausing import Pause
from ..session import SessionAgent
from ..session.turns import Started
from ..store.parts import Parts
from .streams import OnDisconnect, Stream


def idempotency_key() -> str | None:
    """Return the request's Idempotency-Key, which may stand in quotes; None if it has none."""
    return request.headers.get("Idempotency-Key", "").strip().strip('"') or None


def follow(
    stream: Stream,
    agent: SessionAgent,
    user_id: str | None,
    session_id: str,
    start: Callable[[str | None], Started] | None,
    turn_id: str | None,
    after: str | None = None,
    on_disconnect: OnDisconnect = "continue",
) -> Response:
    """Answer with the events of a turn, which is started if that is given; errors come before that.

    ``user_id`` is the session's owner, None where everybody's may be read.
    """
    with ExitStack() as opened:  # until the response has it
        opened.callback(stream.close)
        parts = agent.store.parts
        after = request.headers.get("Last-Event-ID") or None if after is None else after
        if start is not None:
            turn_id, cursor = start(turn_id or idempotency_key())
            after = cursor if after is None else after
        elif turn_id is None:
            with stream.gate:
                turn_id = _turn_behind(parts, session_id, after, user_id)
            if turn_id is None:
                return Response(status=204)  # to which an EventSource does not come again
        watch = parts.watching.watch_in_steps
        first = stream.begin(watch(session_id, after, user_id=user_id, turn_id=turn_id))
        if first is None:
            return Response(status=204)
        if isinstance(first, Pause) and start is None:
            _must_be_known(parts, session_id, turn_id, user_id)
        if on_disconnect == "cancel":
            stream.cancel_if_left(
                partial(agent.cancel, session_id, user_id=user_id, turn_id=turn_id)
            )
        response = Response(stream, mimetype=MEDIA_TYPE, headers=HEADERS)
        response.call_on_close(stream.close)
        opened.pop_all()
        return response


def _turn_behind(
    parts: Parts, session_id: str, after: str | None, user_id: str | None
) -> str | None:
    """Return the turn that a reader goes on with: that behind its last event, or the open one."""
    found = parts.open_turns.look(session_id, None, user_id)  # first: if it ends now, that is told
    if after is not None:
        steps = parts.watching.watch_in_steps(session_id, after, user_id=user_id)
        for step in steps:
            if isinstance(step, Pause):
                break
            if isinstance(step, Event) and step.turn_id is not None:
                steps.close()
                return step.turn_id
        steps.close()
    return found.turn_id if found.is_open else None


def _must_be_known(parts: Parts, session_id: str, turn_id: str, user_id: str | None) -> None:
    """Raise TurnNotFound for a turn of which there will never be an event."""
    found = parts.open_turns.look(session_id, turn_id, user_id)
    if not found.is_open and found.cursor is None:
        raise TurnNotFound(session_id, turn_id)
