"""Which of a server's tools there are here, under which names, and what is said of them."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

from ..errors import InvalidInput
from ..tools import Tool, ToolRegistry

if TYPE_CHECKING:
    from mcp.types import Tool as ServersTool

log: logging.Logger = logging.getLogger("miniagent_redis")

Names = str | Iterable[str] | Callable[[str], object]
"""Which names are meant: those, where ``*`` stands for any text; or those that a function takes."""
_LONGEST = 64  # characters of a name that all vendors take
_NOT_TAKEN = re.compile(r"[^A-Za-z0-9_-]")
_DESTRUCTIVE = "destructive"


@frozen
class Offered:
    """A tool of a server, and what it is called here."""

    name: str
    tool: ServersTool

    @classmethod
    def of(cls, tool: ServersTool, prefix: str) -> Offered:
        """Name a tool: as the server does, as far as models take that."""
        name = _NOT_TAKEN.sub("_", prefix + tool.name)
        if len(name) > _LONGEST:
            name = f"{name[: _LONGEST - 9]}_{sha256(name.encode()).hexdigest()[:8]}"
        return cls(name, tool)

    @property
    def is_idempotent(self) -> bool:
        """Whether the server says that running it twice does no harm."""
        told = self.tool.annotations
        return bool(told and (told.read_only_hint or told.idempotent_hint))

    @property
    def is_destructive(self) -> bool:
        """Whether the server says that it may destroy something."""
        told = self.tool.annotations
        return bool(told and told.destructive_hint and not told.read_only_hint)


def check_names(names: Names, what: str) -> Callable[[str], bool]:
    """Return a function that tells whether a name is meant; raises InvalidInput for what is not."""
    if callable(names):
        return lambda name: bool(names(name))
    patterns = (names,) if isinstance(names, str) else tuple(names)
    if not all(isinstance(pattern, str) and pattern for pattern in patterns):
        raise InvalidInput(
            f"{what} must be names or a function of a name, not {names!r:.100}",
            hint=f"write {what}=['read_*', 'search'], by the names that the server gives",
        )
    return lambda name: any(fnmatchcase(name, pattern) for pattern in patterns)


def approves(approve: Names | bool) -> Callable[[Offered], bool]:
    """Return a function that tells whether calls of a tool need approval."""
    if isinstance(approve, bool):
        return lambda offered: approve
    if approve == _DESTRUCTIVE:
        return lambda offered: offered.is_destructive
    is_meant = check_names(approve, "approve")
    return lambda offered: is_meant(offered.tool.name)


def tools_of(
    server: object,
    offered: Sequence[ServersTool],
    prefix: str,
    approve: Callable[[Offered], bool],
    timeout: float | None,
    function: Callable[[str, bool], Callable[..., Any]],
) -> list[Tool]:
    """Return the tools of a server; what no model could use is left out, with a warning."""
    registry = ToolRegistry()
    for tool in offered:
        one = Offered.of(tool, prefix)
        try:
            registry.add_schema(
                one.name,
                tool.description or tool.title or "",
                {"type": "object", "properties": {}, **tool.input_schema},
                function(tool.name, one.is_idempotent),
                idempotent=one.is_idempotent,
                timeout=timeout,
                approve=approve(one),
            )
        except InvalidInput as exc:
            log.warning("tool %r of %s is left out: %s", tool.name, server, exc)
    return list(registry)


def same_as_before(known: Sequence[Tool], tools: Sequence[Tool]) -> tuple[Tool, ...]:
    """Return the tools, each that is as before as it was: what is made of it is kept elsewhere."""
    before = {tool.name: tool for tool in known}
    return tuple(
        old if (old := before.get(tool.name)) is not None and _is_same(old, tool) else tool
        for tool in tools
    )


def _is_same(one: Tool, other: Tool) -> bool:
    return evolve(one, function=other.function, signature=other.signature) == other
