"""Any error of ours as an HTTP problem (RFC 9457): its status, its headers, and words for people.

The error's own words, its hint above all, are for who runs the program: they belong into the log.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from attrs import field, frozen

from .. import errors
from ..connection.refusals import WRONG_TYPE, refusal_behind
from ..errors import MiniAgentError
from ..models import WaitingCall
from . import refusals

MEDIA_TYPE = "application/problem+json"
_SOON = 1.0
"""Seconds after which it may be tried again, where nobody knows better."""

_AGAIN = "Please try again in a moment."
_TABLE: dict[type[BaseException], tuple[int, str]] = {
    MiniAgentError: (500, "Something went wrong here."),
    errors.InvalidInput: (422, "This request cannot be used as it is."),
    errors.SessionNotFound: (404, "This conversation does not exist, or it has ended."),
    errors.SessionExists: (409, "There is a conversation with this id already."),
    errors.SessionChanged: (409, "Somebody else has changed this meanwhile. Please look again."),
    errors.SessionBusy: (409, f"An answer is still being given. {_AGAIN}"),
    errors.SessionWaiting: (409, "This conversation waits for a decision first."),
    errors.SessionTooLarge: (413, "This conversation is full. Please start a new one."),
    errors.TurnSuperseded: (409, "Another message has taken the place of this one."),
    errors.TurnNotSaved: (503, f"The answer could not be saved. {_AGAIN}"),
    errors.TurnUncertain: (503, "It is not known whether this was saved. Please look again."),
    errors.LockTimeout: (503, f"Something else is under way. {_AGAIN}"),
    errors.StoreUnavailable: (503, f"Conversations cannot be reached just now. {_AGAIN}"),
    errors.OutcomeUnknown: (503, "It is not known whether this was done. Please look again."),
    errors.RecordUnreadable: (422, "What is stored of this conversation cannot be read."),
    errors.SchemaTooNew: (503, f"This was stored by a newer version of the service. {_AGAIN}"),
    errors.StoreMisconfigured: (503, "Conversations cannot be reached just now."),
    errors.RateLimited: (429, "That was a lot. Please wait a little."),
    errors.BudgetExceeded: (429, "What may be spent here is used up."),
    errors.ModelError: (502, f"The model could not answer. {_AGAIN}"),
    errors.IncompleteResponse: (502, f"The model broke off in its answer. {_AGAIN}"),
    errors.ToolError: (502, f"A tool could not be used. {_AGAIN}"),
    refusals.NotLoggedIn: (401, "Please log in."),
    refusals.ForeignOrigin: (403, "This was sent from another site, and was not done."),
    refusals.ReadOnly: (403, "This is read-only: nothing can be changed here."),
    refusals.MessageTooLarge: (413, "This message is too long."),
    refusals.TurnNotFound: (404, "Nothing is known of this answer."),
    refusals.TooManyStreams: (503, f"Too many are connected just now. {_AGAIN}"),
}
_PUBLIC: list[type[BaseException]] = [getattr(errors, name) for name in errors.__all__]
_BY_NAME = {kind.__name__: kind for kind in (*_TABLE, *_PUBLIC)}
_OF_MODELS: dict[str, tuple[int, str]] = {
    "rate_limit": (503, f"The model has too much to do. {_AGAIN}"),
    "overloaded": (503, f"The model has too much to do. {_AGAIN}"),
    "timeout": (504, f"The model took too long. {_AGAIN}"),
    "context_length": (422, "This conversation is too long for the model."),
    "content_filter": (422, "The model refused to answer this."),
}
"""By the ``kind`` of a ModelError, where that says more."""
_PASS = (503, 504)
"""Of these statuses some pass by themselves; for which, ``_waits`` knows."""


@frozen
class Problem:
    """What a client is told of an error. ``code`` names its kind, such as ``session_busy``."""

    status: int
    code: str
    detail: str
    retry_after: int | None = None
    """Seconds, if it makes sense to try again."""
    more: Mapping[str, Any] = field(factory=dict)
    """Further members: ``session_id``, ``turn_id``, and the ``calls`` that a turn waits for."""

    @property
    def title(self) -> str:
        """The status in words."""
        return HTTPStatus(self.status).phrase

    def to_dict(self) -> dict[str, Any]:
        """Return the members of its JSON object."""
        found: dict[str, Any] = {
            "type": "about:blank",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            **self.more,
        }
        return found if self.retry_after is None else {**found, "retry_after": self.retry_after}

    @property
    def headers(self) -> dict[str, str]:
        """``Retry-After``, if it makes sense to try again. Nothing of it may be kept in a cache."""
        always = {"Cache-Control": "no-store"}
        return (
            always if self.retry_after is None else {**always, "Retry-After": f"{self.retry_after}"}
        )


def problem_of(error: BaseException) -> Problem:
    """Return what a client is told of an error, one of ours or any other."""
    kind = _row(type(error))
    if refusal_behind(error) is WRONG_TYPE:  # something else was written where ours is
        kind = errors.RecordUnreadable
    status, detail = _TABLE[kind]
    if isinstance(error, errors.ModelError):
        status, detail = _OF_MODELS.get(error.kind, (status, detail))
    waits = _waits(error, status)
    again = None if waits is None else max(1, math.ceil(waits))
    return Problem(status, _code(kind), detail, again, _more(error))


def words_for(error: str) -> tuple[str, str]:
    """Return code and words for an error of which only its class's name is known, as of an event.

    The ``error`` of a TURN_FAILED is such a name.
    """
    kind = _row(_BY_NAME.get(error, MiniAgentError))
    return _code(kind), _TABLE[kind][1]


def _row(kind: type[BaseException]) -> type[BaseException]:
    """Return the class in the table that an error is of."""
    return next((one for one in kind.__mro__ if one in _TABLE), MiniAgentError)


def _code(kind: type[BaseException]) -> str:
    name = "InternalError" if kind is MiniAgentError else kind.__name__
    return "".join(f"_{one.lower()}" if one.isupper() else one for one in name).lstrip("_")


def _waits(error: BaseException, status: int) -> float | None:
    """Return the seconds until it can be tried again; None where that changes nothing."""
    if isinstance(error, errors.SessionBusy):
        return min(error.lease_remaining, _SOON)  # most turns end before their lease does
    if isinstance(error, (errors.TurnUncertain, errors.OutcomeUnknown, errors.StoreMisconfigured)):
        return None
    known = getattr(error, "retry_after", None)
    if isinstance(known, (int, float)) and math.isfinite(known):
        return float(known)
    return _SOON if status in _PASS else None


def _more(error: BaseException) -> dict[str, Any]:
    if not isinstance(error, errors.SessionWaiting):
        return {}
    calls = [one.to_dict() for one in error.calls if isinstance(one, WaitingCall)]
    return {"session_id": error.session_id, "turn_id": error.turn_id, "calls": calls}
