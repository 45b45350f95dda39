"""The check that no other can stand for: a whole turn, on a session of its own.

A replica, too few replicas, a full disk or memory, a right that is missing: each refuses it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from attrs import evolve

from ..errors import MiniAgentError
from ..models import Message, ToolCall, new_id
from ..store.core import StoreCore
from ..store.index import Index
from ..store.manager import RedisSessionManager
from ..store.parts import Parts
from .asking import is_answered
from .check import Check
from .fsck import TRIAL
from .refused import failed

_TTL = 60.0  # seconds, after which the session ends by itself if we are killed
_PATIENCE = 1.0  # seconds for which a step is repeated
_SIZE = 1 << 20
_SLOW_MS = 1000.0
_STEPS = (
    Message("assistant", "", tool_calls=(ToolCall("a", "look"),)),
    Message("tool", "well", tool_call_id="a"),
)
T = TypeVar("T")


class _Unlisted(Index):
    """Enters nothing: the session is in no listing, and nobody is told of it, nor of its end."""

    def channel(self) -> str:
        return ""

    def enter(self, *_: Any, **__: Any) -> tuple[bool, int]:
        return True, 0

    def put(self, *_: Any, **__: Any) -> None: ...
    def remove(self, *_: Any, **__: Any) -> None: ...
    def prune(self, *_: Any, **__: Any) -> None: ...
    def mark(self, *_: Any, **__: Any) -> None: ...
    def flush(self) -> None: ...
    def write(self) -> None: ...


def turn(store: RedisSessionManager) -> Check:
    """Create a session, begin a turn, stage a step, commit, read it, delete; tell how long it took.

    It is in no listing and no total, and is gone afterwards, whatever happens. Raises
    StoreUnavailable when the server does not answer any more.
    """
    core = _core(store)
    parts = Parts(core, index=_Unlisted(core))
    session_id = TRIAL + new_id()
    took: dict[str, float] = {}
    try:
        try:
            whole = _run(parts, session_id, took)
        except BaseException:
            with suppress(MiniAgentError):  # else it goes by its time
                _delete(parts, session_id)
            raise
        _timed(took, "delete", lambda: _delete(parts, session_id))
    except MiniAgentError as exc:
        if not is_answered(store, exc):
            raise
        return failed(store, "turn", exc)
    if not whole:
        detail = "what was stored is not what is read"
        return Check("turn", "fail", detail, "see whether something is between us and the server")
    slowest = max(took, key=took.__getitem__)
    detail = (
        f"{sum(took.values()):.1f} ms in all, the longest step, {slowest}, {took[slowest]:.1f} ms"
    )
    if took[slowest] > _SLOW_MS:
        return Check("turn", "warn", detail, "see SLOWLOG GET and LATENCY DOCTOR on the server")
    return Check("turn", "ok", detail)


def _core(store: RedisSessionManager) -> StoreCore:
    core = store.parts.core
    config = evolve(
        core.config,
        session_ttl=_TTL,
        session_max_age=None,
        max_session_size=_SIZE,
        commit_timeout=min(core.config.commit_timeout, _PATIENCE),
    )
    return evolve(core, config=config)


def _run(parts: Parts, session_id: str, took: dict[str, float]) -> bool:
    """Do all but delete the session; return whether what is read is what was stored."""
    _timed(took, "create", lambda: parts.sessions.create_session(session_id))
    begin = parts.turn_begin
    open_turn = _timed(
        took, "begin", lambda: begin.begin_turn(session_id, "Is all well?", on_busy="reject")
    )
    staged = _timed(took, "stage", lambda: parts.turns.stage_step(open_turn, _STEPS))
    _timed(
        took, "commit", lambda: parts.storing.commit_turn(staged, [Message("assistant", "Yes.")])
    )
    read = _timed(took, "load", lambda: parts.threads.load_thread(session_id))
    said = [message.text for message in read.messages]
    return said == ["Is all well?", "", "well", "Yes."]


def _delete(parts: Parts, session_id: str) -> None:
    parts.sessions.delete_session(session_id)
    # Word of the end, which would be kept for a minute.
    parts.core.call("DEL", *parts.core.keys.of_session(session_id))


def _timed(took: dict[str, float], step: str, do: Callable[[], T]) -> T:
    began = time.perf_counter()
    result = do()
    took[step] = (time.perf_counter() - began) * 1000
    return result
