"""One tool: a function that the model may call, and what its options may be."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen

from ..errors import InvalidInput
from ..runtime.durations import FORMS, Duration, seconds_or_none
from .context import ToolContext, nobodys_context
from .schema.given import GivenSchema
from .schema.shapes import Json
from .schema.signature import Signature

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # what all vendors take


@frozen
class Tool:
    """A function that the model may call.

    ``parameters`` is the JSON schema of its arguments. A tool that is not ``idempotent`` is not
    run again when a turn is resumed and nobody knows whether it ran. ``timeout`` is in seconds;
    None stands for the agent's ``tool_timeout``. With a ``cache_ttl``, in seconds, a result answers
    the same call again for that long: of the same user, or of everybody if it is ``shared``.
    """

    name: str
    description: str
    parameters: Json
    function: Callable[..., Any]
    idempotent: bool = True
    timeout: float | None = None
    cache_ttl: float | None = None
    shared: bool = False
    signature: Signature | GivenSchema = field(kw_only=True, repr=False)

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
        return self.signature.call(self.function, arguments, context or nobodys_context)


def check_name(name: object) -> None:
    """Raise InvalidInput for a name that models do not accept."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidInput(
            f"a tool cannot be named {name!r:.100}",
            cause="models take up to 64 of the characters A-Z a-z 0-9 _ -",
            hint="give another one: name=…",
        )


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
