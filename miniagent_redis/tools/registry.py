"""The tools an agent may use: plain functions, registered by a decorator."""

from __future__ import annotations

import asyncio
import copy
import re
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from functools import partial
from inspect import isasyncgenfunction, isgeneratorfunction
from typing import Any, TypeVar, overload

from attrs import field, frozen

from ..errors import InvalidInput
from ..runtime.checks import article
from ..runtime.durations import FORMS, Duration, seconds_or_none
from .schema.shapes import Json
from .schema.signature import Signature, read_signature

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
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
    signature: Signature = field(kw_only=True, repr=False)

    def __call__(self, arguments: Mapping[str, Any]) -> Any:
        """Call the function with JSON arguments; raises ToolError if they do not fit."""
        return self.signature.call(self.function, arguments)


class ToolRegistry:
    """Tools by name, in the order of their registration.

    >>> tools = ToolRegistry()
    >>> @tools.tool
    ... def add(a: int, b: int) -> int:
    ...     '''Add two numbers.'''
    ...     return a + b
    >>> "add" in tools
    True

    A tool's description and the schema of its arguments come from its signature and docstring.
    Async functions are fine too.
    """

    def __init__(self) -> None:
        self._tools: dict[str, Tool] = {}

    @classmethod
    def of(cls, tools: Tools | None) -> ToolRegistry:
        """Return a registry of functions and Tools; a registry that is one is returned itself.

        Raises InvalidInput for anything else.
        """
        if isinstance(tools, ToolRegistry):
            return tools
        if tools is not None and (
            isinstance(tools, (str, bytes, Mapping)) or not isinstance(tools, Iterable)
        ):
            raise InvalidInput(
                f"tools must be functions or a ToolRegistry, not {article(type(tools).__name__)}",
                hint="write tools=[the_function]" if callable(tools) else "write tools=[…]",
            )
        registry = cls()
        for tool in tools or ():
            if not isinstance(tool, Tool):
                registry.add(tool)
            elif registry._tools.setdefault(tool.name, tool) is not tool:
                raise InvalidInput(f"there are two tools {tool.name!r}", hint="leave one out")
        return registry

    @overload
    def tool(self, function: F, /) -> F: ...
    @overload
    def tool(
        self,
        /,
        *,
        name: str | None = None,
        description: str | None = None,
        idempotent: bool = True,
        timeout: Duration | None = None,
        cache_ttl: Duration | None = None,
        shared: bool = False,
    ) -> Callable[[F], F]: ...
    def tool(self, function: F | None = None, /, **options: Any) -> F | Callable[[F], F]:
        """Register the decorated function and leave it as it is; options as for ``add``.

        Works with and without parentheses.
        """

        def register(decorated: F) -> F:
            self.add(decorated, **options)
            return decorated

        return register if function is None else register(function)

    def add(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        description: str | None = None,
        idempotent: bool = True,
        timeout: Duration | None = None,
        cache_ttl: Duration | None = None,
        shared: bool = False,
    ) -> Tool:
        """Register a function.

        ``name`` and ``description`` default to the function's name and docstring. Set
        ``idempotent=False`` if running it twice does harm; ``timeout`` is in seconds. With
        ``cache_ttl``, in seconds, results are cached, by user (without one, by session) unless
        ``shared``; errors never are. The cache knows a tool by its name, description, parameters
        and what a partial binds: one that differs in anything else needs another name. Raises
        InvalidInput for a name that is taken or that models do not accept, for parameters that have
        no type or one that a model cannot send, and for a ``cache_ttl`` on what is not idempotent.
        """
        if not callable(function):
            raise InvalidInput(f"{function!r:.100} is no function, so it cannot be a tool")
        named = function.func if isinstance(function, partial) else function
        name = name or str(getattr(named, "__name__", type(named).__name__))
        if not _NAME.fullmatch(name):
            raise InvalidInput(
                f"a tool cannot be named {name!r:.100}",
                cause="models take up to 64 of the characters A-Z a-z 0-9 _ -",
                hint="give another one: name=…",
            )
        if name in self._tools:
            raise InvalidInput(
                f"there is already a tool {name!r}", hint="give the other one a name: name=…"
            )
        longest = seconds_or_none(timeout)
        if longest is not None and not _is_positive(longest):
            raise InvalidInput(
                f"tool {name!r}: timeout must be seconds above zero, not {timeout!r:.100}",
                hint=FORMS,
            )
        ttl = seconds_or_none(cache_ttl)
        _check_caching(name, idempotent, ttl, shared)
        if isgeneratorfunction(function) or isasyncgenfunction(function):
            raise InvalidInput(f"tool {name!r} is a generator", hint="return a list instead")
        signature = read_signature(function, name)
        tool = Tool(
            name,
            signature.description if description is None else description,
            signature.schema,
            function,
            idempotent,
            longest,
            ttl,
            shared,
            signature=signature,
        )
        self._tools[name] = tool
        return tool

    def get(self, name: str) -> Tool | None:
        """Return the tool of that name, or None."""
        return self._tools.get(name)

    def specs(self) -> list[Json]:
        """Return what a model is told of each tool: ``name``, ``description``, ``parameters``."""
        return [
            {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
            for tool in self
        ]

    def copy(self, *more: Tool) -> ToolRegistry:
        """Return another registry with the same tools, and ``more`` whose names are not taken."""
        twin = copy.copy(self)
        twin._tools = dict(self._tools)
        for tool in more:
            twin._tools.setdefault(tool.name, tool)
        return twin

    def run_coroutine(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run an async tool to its end, in a loop of its own; override it to use another loop.

        Called in the tool's worker thread, which it blocks.
        """
        return asyncio.run(coroutine)

    def __iter__(self) -> Iterator[Tool]:
        return iter(list(self._tools.values()))

    def __contains__(self, name: object) -> bool:
        return name in self._tools

    def __len__(self) -> int:
        return len(self._tools)


Tools = ToolRegistry | Iterable[Callable[..., Any] | Tool]
"""What an agent takes as its tools."""


def _is_positive(seconds: object) -> bool:
    is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    return is_number and seconds > 0  # type: ignore[operator]


def _check_caching(name: str, idempotent: bool, ttl: float | None, shared: bool) -> None:
    if ttl is None:
        if shared:
            raise InvalidInput(
                f"tool {name!r} is shared, but nothing of it is cached", hint="give it a cache_ttl"
            )
        return
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
