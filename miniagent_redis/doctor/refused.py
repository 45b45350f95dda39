"""A check that met an error: it failed, or could not be made; and what mends that."""

from __future__ import annotations

from ..connection.refusals import is_forbidden
from ..errors import MiniAgentError
from ..store.manager import RedisSessionManager
from .check import Check, not_checked
from .rights import advice

_OURSELVES = "miniagent-redis doctor"
_NOTHING = "; nothing was written"


def failed(store: RedisSessionManager, name: str, error: MiniAgentError) -> Check:
    """Return the check that met an error, with a way to mend it that can be followed from here."""
    detail = f"{error.problem}: {error.cause}" if error.cause else error.problem
    fix = error.hint.removesuffix(_NOTHING)
    if is_forbidden(error):
        fix = advice(store)
    elif _OURSELVES in fix:
        fix = "look that reply up in the documentation of the server, and see its log"
    return Check(name, "fail", detail, fix)


def unmade(store: RedisSessionManager, name: str, error: MiniAgentError) -> Check:
    """Return the check that could not be made for an error."""
    fix = advice(store) if is_forbidden(error) else ""
    return not_checked(name, error.cause or error.problem, fix)
