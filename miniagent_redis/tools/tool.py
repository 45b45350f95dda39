"""One tool: a function that the model may call, and what its options may be."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

from attrs import field, frozen

from ..errors import InvalidInput, ToolError
from ..models import WaitsFor
from ..runtime.durations import FORMS, Duration, seconds_or_none
from .context import ToolContext, nobodys_context
from .schema.given import GivenSchema
from .schema.shapes import Json
from .schema.signature import Signature

Approval = bool | Callable[..., object]
"""Whether calls need approval: all, none, or those for which a predicate says so."""
_logger = logging.getLogger(__name__)
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # what all vendors take


@frozen
class Tool:
    """A function that the model may call.

    ``parameters`` is the JSON schema of its arguments. A tool that is not ``idempotent`` is not
    run again when a turn is resumed and nobody knows whether it ran. ``timeout`` is in seconds;
    None stands for the agent's ``tool_timeout``. With a ``cache_ttl``, in seconds, a result answers
    the same call again for that long: of the same user, or of everybody if it is ``shared``.
    ``approve`` is whether somebody has to approve a call, or a predicate of the arguments that
    tells so. Of one that ``is_declared`` somebody else gives the result.
    """

    name: str
    description: str
    parameters: Json
    function: Callable[..., Any]
    idempotent: bool = True
    timeout: float | None = None
    cache_ttl: float | None = None
    shared: bool = False
    approve: Approval = False
    is_declared: bool = False
    signature: Signature | GivenSchema = field(kw_only=True, repr=False)

    def waits_for(self, arguments: Mapping[str, Any]) -> WaitsFor | None:
        """Return what a call with these arguments has to wait for, if anything.

        A predicate that fails asks for approval: nobody knows whether the call does harm. Arguments
        that do not fit need none, as the function is not called with them.
        """
        if not self.is_declared and self.approve is False:
            return None
        try:
            self.signature.values(deepcopy(dict(arguments)))
        except ToolError:
            return None
        if self.is_declared:
            return "result"
        return "approval" if self._needs_approval(deepcopy(dict(arguments))) else None

    def _needs_approval(self, arguments: dict[str, Any]) -> bool:
        told = self.approve
        if isinstance(told, bool):
            return told
        try:
            return bool(told(**arguments) if _takes(told, arguments) else told(arguments))
        except Exception:
            _logger.warning("the predicate approve= of tool %s failed", self.name, exc_info=True)
            return True

    @property
    def takes_context(self) -> bool:
        """Whether the function is told for whom it runs."""
        return bool(self.signature.contexts)

    def __call__(
        self, arguments: Mapping[str, Any], context: Callable[[], ToolContext] | None = None
    ) -> Any:
        """Call the function with JSON arguments; raises ToolError if they do not fit.

        If it takes a ToolContext it is given what ``context`` returns, or that of nobody's turn.
        """
        return self.ready(arguments, context)()

    def ready(
        self, arguments: Mapping[str, Any], context: Callable[[], ToolContext] | None = None
    ) -> Callable[[], Any]:
        """Return what ``__call__`` would do; raises ToolError if the arguments do not fit."""
        return self.signature.ready(self.function, arguments, context or nobodys_context)


def check_name(name: object) -> None:
    """Raise InvalidInput for a name that models do not accept."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidInput(
            f"a tool cannot be named {name!r:.100}",
            cause="models take up to 64 of the characters A-Z a-z 0-9 _ -",
            hint="give another one: name=…",
        )


def check_approve(name: str, approve: object) -> None:
    """Raise InvalidInput for what does not tell whether a call needs approval."""
    if not isinstance(approve, bool) and not callable(approve):
        raise InvalidInput(
            f"tool {name!r}: approve must be True, False or a function, not {approve!r:.100}",
            hint="the function is given the arguments and returns whether a call needs approval",
        )


def _takes(function: Callable[..., Any], arguments: Mapping[str, Any]) -> bool:
    """Whether a function takes all these arguments by their names."""
    try:
        inspect.signature(function).bind(**arguments)
    except (TypeError, ValueError):
        return False
    return True


def timeout_of(name: str, timeout: Duration | None) -> float | None:
    """Return a tool's time limit in seconds; raises InvalidInput for one that is none."""
    longest = seconds_or_none(timeout)
    if longest is not None and not _is_positive(longest):
        raise InvalidInput(
            f"tool {name!r}: timeout must be seconds above zero, not {timeout!r:.100}",
            hint=FORMS,
        )
    return longest


def cache_ttl_of(
    name: str, cache_ttl: Duration | None, *, idempotent: bool, shared: bool
) -> float | None:
    """Return for how many seconds results are cached; raises InvalidInput if they cannot be."""
    ttl = seconds_or_none(cache_ttl)
    if ttl is None:
        if shared:
            raise InvalidInput(
                f"tool {name!r} is shared, but nothing of it is cached", hint="give it a cache_ttl"
            )
        return None
    if not _is_positive(ttl) or ttl > 1e9:
        raise InvalidInput(
            f"tool {name!r}: cache_ttl must be seconds above zero, not {ttl!r:.100}", hint=FORMS
        )
    if not idempotent:
        raise InvalidInput(
            f"tool {name!r} cannot be cached",
            cause="idempotent=False says that each call of it counts",
            hint="leave out one of cache_ttl and idempotent=False",
        )
    return ttl


def _is_positive(seconds: object) -> bool:
    is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    return is_number and seconds > 0  # type: ignore[operator]
