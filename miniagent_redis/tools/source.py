"""Where tools come from that are not registered one by one, such as those of an MCP server."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence

from .tool import Tool

log: logging.Logger = logging.getLogger("miniagent_redis")


class ToolSource(ABC):
    """Has tools, which may be others tomorrow. Safe for threads."""

    @abstractmethod
    def tools(self) -> Sequence[Tool]:
        """Return the tools as they are now; may block. Raises ToolError if nobody knows them."""

    @abstractmethod
    def close(self) -> None:
        """Let go of what was opened for them; ``tools`` opens it again."""


def of_all(own: Mapping[str, Tool], sources: Iterable[ToolSource]) -> dict[str, Tool]:
    """Return the tools by name, those of sources behind the others; the first of a name counts."""
    found = dict(own)
    for source in sources:
        for tool in source.tools():
            if found.setdefault(tool.name, tool) is not tool:
                log.warning("there is a tool %r already: that of %s is left out", tool.name, source)
    return found
