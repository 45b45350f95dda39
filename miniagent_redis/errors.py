"""Every error a caller can meet, as one shallow tree.

    MiniAgentError
    ├── InvalidInput            the call itself is wrong; nothing was sent
    ├── SessionNotFound         no such session, or not this user's (one answer for both)
    ├── SessionExists           that session id is taken
    ├── SessionBusy             another turn is running
    ├── SessionTooLarge         the write would exceed max_session_size; nothing changed
    ├── TurnSuperseded          the open turn is no longer ours
    ├── TurnNotSaved            certainly not written; carries the answer
    ├── TurnUncertain           sent, no reply yet; resolve_turn tells later
    ├── NotDurable              written, but not as durably as configured
    ├── LockTimeout             somebody else held the named lock for too long
    ├── RecordUnreadable        one stored record cannot be decoded
    ├── SchemaTooNew            a record written by a newer version of this library
    ├── StoreUnavailable        Redis cannot be reached; certainly not written
    ├── StoreMisconfigured      Redis answers, but not to us: auth, ACL, wrong type, read-only
    ├── RateLimited             over the limit; ``retry_after`` seconds
    ├── ModelError              the model could not answer
    │   └── IncompleteResponse  the model stopped in the middle of its answer
    └── ToolError               raised by a tool to tell the model what went wrong

Each message says the problem, the cause and what to try; the same three are attributes.
"""

from __future__ import annotations


class MiniAgentError(Exception):
    """Base of all errors raised by this package.

    ``problem``, ``cause`` and ``hint`` are the three sentences of the message; ``cause`` and
    ``hint`` may be empty.
    """

    def __init__(self, problem: str, *, cause: str = "", hint: str = "") -> None:
        super().__init__(problem, cause, hint)
        self.problem = problem
        self.cause = cause
        self.hint = hint

    def __str__(self) -> str:
        return " ".join(_sentence(part) for part in (self.problem, self.cause, self.hint) if part)

    def __reduce__(self) -> tuple[object, ...]:
        """Survive pickling, whatever arguments the subclass takes: process pools need it."""
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(
    kind: type[MiniAgentError], args: tuple[object, ...], state: dict[str, object]
) -> MiniAgentError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else text + "."


class InvalidInput(MiniAgentError, ValueError):
    """The argument cannot be used; nothing was sent to Redis."""


class SessionNotFound(MiniAgentError):
    """The session does not exist, has expired, or belongs to another user."""

    def __init__(self, session_id: str) -> None:
        super().__init__(
            f"there is no session {session_id!r} for this user",
            cause="it never existed, has expired or ended, or belongs to someone else",
            hint="list_sessions() shows what is there; create_or_resume_session() starts one",
        )
        self.session_id = session_id


class SessionExists(MiniAgentError):
    """A session with this id is already there; it was left as it is."""

    def __init__(self, session_id: str) -> None:
        super().__init__(
            f"session {session_id!r} already exists",
            hint="choose another id, or resume it with create_or_resume_session(session_id=…)",
        )
        self.session_id = session_id


class SessionBusy(MiniAgentError):
    """Another turn is running on the session, and waiting for it was not wanted or took too long.

    ``lease_remaining`` is the time in seconds after which the running turn may be taken over if
    its holder stays silent.
    """

    def __init__(self, session_id: str, lease_remaining: float, waited: float = 0.0) -> None:
        waited_text = f" after waiting {waited:.1f} s" if waited else ""
        super().__init__(
            f"session {session_id!r} is busy with another turn{waited_text}",
            cause=f"the running turn holds its lease for another {lease_remaining:.1f} s",
            hint='try again, raise busy_timeout, or use on_busy="interrupt" to replace it',
        )
        self.session_id = session_id
        self.lease_remaining = lease_remaining


class SessionTooLarge(MiniAgentError):
    """The write would take the session over ``max_session_size``; nothing was changed.

    ``size`` and ``limit`` are bytes as stored.
    """

    def __init__(self, session_id: str, size: int, limit: int) -> None:
        super().__init__(
            f"session {session_id!r} would grow to {size:,} bytes, over the limit of {limit:,}",
            cause="max_session_size bounds the stored thread; nothing was written",
            hint="clear_history(), start a new session, or raise RedisConfig.max_session_size",
        )
        self.session_id = session_id
        self.size = size
        self.limit = limit


class TurnSuperseded(MiniAgentError):
    """The turn is no longer the session's open turn, so the write was refused and nothing changed.

    Another caller interrupted it, took it over after its lease ended, or ended the session.
    """

    def __init__(self, session_id: str, turn_id: str) -> None:
        super().__init__(
            f"turn {turn_id} on session {session_id!r} was superseded",
            cause="its lease ended and another instance took over, or it was interrupted",
            hint="reload the thread and send the message again if it is still wanted",
        )
        self.session_id = session_id
        self.turn_id = turn_id


class TurnNotSaved(MiniAgentError):
    """The turn's answer was produced but certainly not written.

    ``text`` is the answer, so that it is not lost with the error.
    """

    def __init__(self, session_id: str, turn_id: str, text: str, cause: str) -> None:
        super().__init__(
            f"the answer of turn {turn_id} could not be saved to session {session_id!r}",
            cause=cause,
            hint="the answer is in .text; send the message again once Redis is back",
        )
        self.session_id = session_id
        self.turn_id = turn_id
        self.text = text


class TurnUncertain(MiniAgentError):
    """A write was sent and its reply was lost: it may or may not be stored.

    ``resolve_turn(session_id, turn_id)`` tells which, once Redis answers again.
    """

    def __init__(self, session_id: str, turn_id: str, cause: str, text: str = "") -> None:
        super().__init__(
            f"turn {turn_id} on session {session_id!r} was sent, but no reply came",
            cause=cause,
            hint="ask resolve_turn(session_id, turn_id) once Redis answers again",
        )
        self.session_id = session_id
        self.turn_id = turn_id
        self.text = text


class NotDurable(MiniAgentError):
    """The write was made, but fewer replicas than demanded confirmed it in time."""


class LockTimeout(MiniAgentError, TimeoutError):
    """The named lock was held by someone else for the whole time that we waited."""

    def __init__(self, name: str, waited: float) -> None:
        super().__init__(
            f"the lock {name!r} was not free within {waited:g} s",
            cause="another holder has it; it frees itself after its ttl at the latest",
            hint="try again, or wait longer with timeout=",
        )
        self.name = name
        self.waited = waited


class RecordUnreadable(MiniAgentError):
    """One stored record cannot be decoded. The record is left where it is.

    ``key`` and ``raw`` (the bytes as stored) help to find and mend it.
    """

    def __init__(self, key: str, reason: str, raw: bytes = b"") -> None:
        super().__init__(
            f"a record in {key} cannot be read",
            cause=reason,
            hint="it was kept as it is; restore it from a backup or remove it by hand",
        )
        self.key = key
        self.reason = reason
        self.raw = raw


class SchemaTooNew(MiniAgentError):
    """The record was written by a newer version of this library; it was not touched."""

    def __init__(self, what: str, found: object, supported: int) -> None:
        super().__init__(
            f"{what} has schema {found!r}, and this version reads up to {supported}",
            cause="a newer miniagent-redis wrote it",
            hint="upgrade miniagent-redis here",
        )
        self.found = found
        self.supported = supported


class StoreUnavailable(MiniAgentError):
    """Redis cannot be reached or does not answer; nothing was written."""


class StoreMisconfigured(MiniAgentError):
    """Redis answers but refuses us: password, ACL, eviction, wrong type at our key, read-only."""


class RateLimited(MiniAgentError):
    """The caller is over its limit; nothing was counted, and the model was not asked.

    ``retry_after`` is seconds until a call can succeed. ``key`` says whose limit it is, ``rule``
    is the RateLimit.
    """

    def __init__(self, key: str, retry_after: float, rule: object = None) -> None:
        super().__init__(
            f"rate limit reached for {key!r}",
            cause="" if rule is None else f"of {rule}",
            hint=f"try again in {retry_after:.3f} s",
        )
        self.key = key
        self.retry_after = retry_after
        self.rule = rule


class ModelError(MiniAgentError):
    """The model could not answer: refused, failed, timed out or misconfigured.

    ``retry_after`` is seconds until its provider takes a request again, where it said so.
    ``tokens`` are the input, output and cached tokens of the reply that was of no use, as far as
    the provider told.
    """

    retry_after: float | None = None
    tokens: tuple[int, int, int] = (0, 0, 0)


class IncompleteResponse(ModelError):
    """The model's answer ended without its finish mark. ``text`` is what had arrived."""

    def __init__(self, problem: str, *, text: str = "", cause: str = "", hint: str = "") -> None:
        super().__init__(problem, cause=cause, hint=hint)
        self.text = text


class ToolError(MiniAgentError):
    """Raise it in a tool to send the model a clear failure; the turn goes on."""
