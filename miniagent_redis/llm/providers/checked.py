"""What goes into a provider's model, and what comes out of it, looked at."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from inspect import iscoroutinefunction
from typing import Any
from urllib.parse import urlsplit

from attrs import astuple

from ...errors import InvalidInput
from ...models import ToolCall, Usage
from ..base import (
    Block,
    ContentPart,
    Finish,
    ModelEvent,
    ReasoningDelta,
    TextDelta,
    UnreadCall,
)


def parameters(options: Mapping[str, Any], tools: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the options of a model, with the tools of a request before those of its vendor."""
    given = options.get("tools")
    both = [*tools, *given] if isinstance(given, Sequence) else tools
    return {**options, "tools": both} if both else dict(options)


def says_something(event: ModelEvent) -> bool:
    """Whether this is something of the answer, and no mere sign of life."""
    if isinstance(event, (TextDelta, ReasoningDelta)):
        return bool(event.text)
    return not isinstance(event, Usage)


def check_key(key: object) -> None:
    """Raise InvalidInput for what can be no key."""
    if key is None or isinstance(key, str):
        return
    if not callable(key) or iscoroutinefunction(key):
        raise InvalidInput(
            f"api_key must be text, or a function that returns it, not {type(key).__name__}",
            hint="a plain function: it is asked before each request",
        )


def checked_address(url: object) -> str | None:
    """Return the address; raises InvalidInput for what can be none, instead of asking elsewhere."""
    if url is None or (isinstance(url, str) and not url):
        return None
    try:
        parts = urlsplit(url.strip()) if isinstance(url, str) else None
        is_fine = parts and parts.scheme in ("http", "https") and parts.hostname
        if is_fine and (parts is not None and parts.port != 0):
            return str(url).strip()
        cause = ""
    except ValueError as exc:
        cause = str(exc)
    raise InvalidInput(
        f"{without_password(url)!r:.100} is no address of a model",
        cause=cause,
        hint="it begins with http:// or https:// and the name of a host",
    )


def without_password(url: Any) -> Any:
    """Return an address as it can be shown."""
    return re.sub(r"//[^/?#]*@", "//", url) if isinstance(url, str) else url


def check_event(event: ModelEvent) -> None:
    """Raise ValueError for what no vendor sends, since the SDKs do not look at it."""
    match event:
        case TextDelta(str()) | ReasoningDelta(str()) | ContentPart(dict()):
            return
        case ToolCall(str(), str(), dict()) | UnreadCall(str(), str()):
            return
        case Block() | Finish(str()):
            return
        case Usage() if all(isinstance(count, int) for count in astuple(event)):
            return
    raise ValueError(f"a strange {type(event).__name__}: {event!r:.100}")
