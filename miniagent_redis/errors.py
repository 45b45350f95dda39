"""Every error a caller can meet, as one shallow tree.

    MiniAgentError
    ├── InvalidInput            the call itself is wrong; nothing was sent
    ├── SessionNotFound         no such session, or not this user's (one answer for both)
    ├── SessionExists           that session id is taken
    ├── SessionChanged          it has another version than expected; nothing was written
    ├── SessionBusy             another turn is running
    ├── SessionWaiting          its turn waits for somebody to answer a call
    ├── SessionTooLarge         the write would exceed max_session_size; nothing changed
    ├── TurnSuperseded          the open turn is no longer ours
    ├── TurnNotSaved            certainly not written; carries the answer
    ├── TurnUncertain           sent, no reply yet; resolve_turn tells later
    │   └── NotDurable          written, but on fewer replicas than is demanded
    ├── LockTimeout             somebody else held the named lock for too long
    ├── RecordUnreadable        one stored record cannot be decoded
    ├── SchemaTooNew            a record written by a newer version of this library
    ├── StoreUnavailable        Redis cannot be reached; certainly not written
    │   ├── OutcomeUnknown      but for this one: sent, no reply; nobody knows whether it was done
    │   └── PoolExhausted       all our connections are in use, and none came back in time
    ├── StoreMisconfigured      Redis answers, but not to us: auth, ACL, wrong type, read-only
    ├── RateLimited             over the limit; ``retry_after`` seconds
    ├── BudgetExceeded          not enough is left of a budget; the model was not asked
    ├── ModelError              the model could not answer
    │   └── IncompleteResponse  the model stopped in the middle of its answer
    └── ToolError               raised by a tool to tell the model what went wrong

Each message says the problem, the cause and what to try; the same three are attributes.
"""

from __future__ import annotations

from collections.abc import Sequence

from .agent_errors import (
    BudgetExceeded,
    IncompleteResponse,
    ModelError,
    RateLimited,
    ToolError,
)
from .agent_errors import ModelErrorKind as ModelErrorKind
from .error_base import MiniAgentError

__all__ = [
    "BudgetExceeded",
    "IncompleteResponse",
    "InvalidInput",
    "LockTimeout",
    "MiniAgentError",
    "ModelError",
    "NotDurable",
    "OutcomeUnknown",
    "PoolExhausted",
    "RateLimited",
    "RecordUnreadable",
    "SchemaTooNew",
    "SessionBusy",
    "SessionChanged",
    "SessionExists",
    "SessionNotFound",
    "SessionTooLarge",
    "SessionWaiting",
    "StoreMisconfigured",
    "StoreUnavailable",
    "ToolError",
    "TurnNotSaved",
    "TurnSuperseded",
    "TurnUncertain",
]


class InvalidInput(MiniAgentError, ValueError):
    """The argument cannot be used; nothing was sent to Redis."""


class SessionNotFound(MiniAgentError):
    """The session does not exist, has expired, or belongs to another user."""

    def __init__(self, session_id: str) -> None:
        problem = f"there is no session {session_id!r} for this user"
        cause = "it never existed, has expired or ended, or belongs to someone else"
        hint = "list_sessions() shows what is there; create_or_resume_session() starts one"
        super().__init__(problem, cause=cause, hint=hint)
        self.session_id = session_id


class SessionExists(MiniAgentError):
    """A session with this id is already there, or has other messages; it was left as it is."""

    def __init__(self, session_id: str, cause: str = "") -> None:
        hint = "choose another id, or resume it with create_or_resume_session(session_id=…)"
        super().__init__(f"session {session_id!r} already exists", cause=cause, hint=hint)
        self.session_id = session_id


class SessionChanged(MiniAgentError):
    """The session's ``version`` is not the ``expected`` one; nothing was written."""

    def __init__(self, session_id: str, expected: int, version: int) -> None:
        problem = f"session {session_id!r} has version {version} by now, not {expected}"
        super().__init__(problem, hint="read it again with session_state(), then decide anew")
        self.session_id = session_id
        self.expected = expected
        self.version = version


class SessionBusy(MiniAgentError):
    """Another turn is running on the session, and waiting for it was not wanted or took too long.

    ``lease_remaining`` is the time in seconds after which the running turn may be taken over if
    its holder stays silent.
    """

    def __init__(self, session_id: str, lease_remaining: float, waited: float = 0.0) -> None:
        waited_text = f" after waiting {waited:.1f} s" if waited else ""
        problem = f"session {session_id!r} is busy with another turn{waited_text}"
        cause = f"the running turn holds its lease for another {lease_remaining:.1f} s"
        hint = 'try again, raise busy_timeout, or use on_busy="interrupt" to replace it'
        super().__init__(problem, cause=cause, hint=hint)
        self.session_id = session_id
        self.lease_remaining = lease_remaining


class SessionWaiting(MiniAgentError):
    """The session's turn is parked: its ``calls``, WaitingCalls, wait for somebody's answer."""

    def __init__(self, session_id: str, turn_id: str, calls: Sequence[object] = ()) -> None:
        names = ", ".join(str(getattr(call, "name", call)) for call in calls)
        problem = f"turn {turn_id} of session {session_id!r} waits for an answer"
        hint = 'answer(session_id, turn_id, {…}), or on_busy="interrupt" to decline and go on'
        super().__init__(problem, cause=names and f"it called {names}", hint=hint)
        self.session_id = session_id
        self.turn_id = turn_id
        self.calls: tuple[object, ...] = tuple(calls)


class SessionTooLarge(MiniAgentError):
    """The write would take the session over ``max_session_size``; nothing was changed.

    ``size`` and ``limit`` are bytes as stored. A turn begins only if there is room for a short
    answer too. When a longer one, or a step, does not fit, it is in ``text`` and ``steps``.
    """

    def __init__(self, session_id: str, size: int, limit: int) -> None:
        problem = f"session {session_id!r} would grow to {size:,} bytes: {limit:,} is the limit"
        cause = "max_session_size bounds the stored thread; nothing was written"
        hint = (
            "clear_history(), start anew, change RedisConfig.max_session_size or .on_full, or give "
            "pictures and files by their url"
        )
        super().__init__(problem, cause=cause, hint=hint)
        self.session_id = session_id
        self.size = size
        self.limit = limit


class TurnSuperseded(MiniAgentError):
    """The turn is no longer the session's open turn, so the write was refused and nothing changed.

    Another caller interrupted it, took it over after its lease ended, or ended the session.
    """

    def __init__(self, session_id: str, turn_id: str) -> None:
        problem = f"turn {turn_id} on session {session_id!r} was superseded"
        cause = "its lease ended and another instance took over, or it was interrupted"
        hint = "reload the thread and send the message again if it is still wanted"
        super().__init__(problem, cause=cause, hint=hint)
        self.session_id = session_id
        self.turn_id = turn_id


class TurnNotSaved(MiniAgentError):
    """The turn's answer was produced but certainly not written; ``text`` is the answer."""

    def __init__(self, session_id: str, turn_id: str, text: str, cause: str) -> None:
        problem = f"the answer of turn {turn_id} could not be saved to session {session_id!r}"
        hint = "the answer is in .text; the turn is open: commit or abort it once Redis is back"
        super().__init__(problem, cause=cause, hint=hint)
        self.session_id = session_id
        self.turn_id = turn_id
        self.text = text


class TurnUncertain(MiniAgentError):
    """A write was sent and its reply was lost: it may or may not be stored."""

    _what = "was sent; whether it was done is not known"
    _hint = "ask resolve_turn(session_id, turn_id) once Redis answers again, before you do it "\
        'again; if that says "unknown", look at the session'  # fmt: skip

    def __init__(self, session_id: str, turn_id: str, cause: str, text: str = "") -> None:
        problem = f"{turn_id} on session {session_id!r} {self._what}"
        super().__init__(problem, cause=cause, hint=self._hint)
        self.session_id = session_id
        self.turn_id = turn_id
        self.text = text
        self.holder: str = ""  # of a turn that may have begun


class NotDurable(TurnUncertain):
    """The master has written it, and too few replicas confirmed that in time: a failover loses it.

    ``resolve_turn``, or the same call with the same id, waits for them again.
    """

    _what = "is written, but not on as many replicas as durability='replicated' demands"
    _hint = "see whether all replicas are up; then resolve_turn(session_id, turn_id) tells"


class LockTimeout(MiniAgentError, TimeoutError):
    """The named lock was held by someone else for the whole time that we waited."""

    def __init__(self, name: str, waited: float) -> None:
        problem = f"the lock {name!r} was not free within {waited:g} s"
        cause = "another holder has it; it frees itself after its ttl at the latest"
        super().__init__(problem, cause=cause, hint="try again, or wait longer with timeout=")
        self.name = name
        self.waited = waited


class RecordUnreadable(MiniAgentError):
    """One stored record cannot be decoded. The record is left where it is.

    ``key`` and ``raw`` (the bytes as stored) help to find and mend it.
    """

    def __init__(self, key: str, reason: str, raw: bytes = b"") -> None:
        hint = "it was kept as it is; restore it from a backup or remove it by hand"
        super().__init__(f"a record in {key} cannot be read", cause=reason, hint=hint)
        self.key = key
        self.reason = reason
        self.raw = raw


class SchemaTooNew(MiniAgentError):
    """The record was written by a newer version of this library; it was not touched."""

    def __init__(self, what: str, found: object, supported: int) -> None:
        problem = f"{what} has schema {found!r}, and this version reads up to {supported}"
        cause, hint = "a newer miniagent-redis wrote it", "upgrade miniagent-redis here"
        super().__init__(problem, cause=cause, hint=hint)
        self.found = found
        self.supported = supported


class StoreUnavailable(MiniAgentError):
    """Redis cannot be reached or does not answer; nothing was written, but for OutcomeUnknown."""


class OutcomeUnknown(StoreUnavailable):
    """As TurnUncertain, of a write that ``resolve_turn`` knows nothing of."""

    def __init__(self, what: str, cause: str) -> None:
        problem = f"{what} was sent to Redis, but it is not known whether it was done"
        hint = "look at what is there once Redis answers again, before you do it once more"
        super().__init__(problem, cause=cause, hint=hint)


class PoolExhausted(StoreUnavailable):
    """All connections of the store are in use, and none came back in time; nothing was sent.

    ``most`` is their number, ``waited`` the seconds that the call waited.
    """

    def __init__(self, most: int, waited: float) -> None:
        problem = f"all {most} connections to Redis are in use"
        cause = f"none was given back within {waited:g} s"
        hint = "raise max_connections or pool_timeout, or look for calls that never end"
        super().__init__(problem, cause=cause, hint=hint)
        self.most = most
        self.waited = waited


class StoreMisconfigured(MiniAgentError):
    """Redis answers but refuses us: password, ACL, eviction, wrong type at our key, read-only."""
