"""The tools an agent may use: plain functions, registered by a decorator."""

from __future__ import annotations

import copy
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import Future
from functools import partial
from inspect import getdoc, isasyncgenfunction, isgeneratorfunction
from typing import Any, TypeVar, overload

from attrs import evolve

from ..errors import InvalidInput, ToolError
from ..runtime.checks import article
from ..runtime.durations import Duration
from ..runtime.staying_loops import staying_loops
from .schema.docstrings import read_docstring
from .schema.given import read_schema
from .schema.names import check_names
from .schema.shapes import Json
from .schema.signature import read_signature
from .source import ToolSource, of_all
from .tool import Approval, Tool, cache_ttl_of, check_approve, check_name, timeout_of

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
StartsCoroutine = Callable[[Coroutine[Any, Any, Any]], Future[Any]]
"""Begins to run a coroutine somewhere; the future is known at once. Safe for threads."""


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
    Async functions are fine too: all of a process share one event loop that stays, so what they
    keep between calls may belong to it. A parameter annotated ToolContext is no argument: it tells
    the function for whom it runs.
    """

    def __init__(self) -> None:
        self._tools: dict[str, Tool] = {}
        self._sources: tuple[ToolSource, ...] = ()

    @classmethod
    def of(cls, tools: Tools | None) -> ToolRegistry:
        """Return a registry of functions, Tools and sources; a registry is returned itself.

        Raises InvalidInput for anything else.
        """
        if isinstance(tools, ToolRegistry):
            return tools
        return cls()._filled(() if tools is None else _several(tools))

    def others(self, tools: Tools) -> ToolRegistry:
        """Return a registry of these tools that runs them as this one does; errors as in ``of``."""
        if isinstance(tools, ToolRegistry):
            return tools
        twin = copy.copy(self)
        twin._tools, twin._sources = {}, ()
        return twin._filled(_several(tools))

    def _filled(self, tools: Iterable[Callable[..., Any] | Tool | ToolSource]) -> ToolRegistry:
        for tool in tools:
            if isinstance(tool, ToolSource):
                self.add_mcp(tool)
            elif not isinstance(tool, Tool):
                self.add(tool)
            elif self._tools.setdefault(tool.name, tool) is not tool:
                raise InvalidInput(f"there are two tools {tool.name!r}", hint="leave one out")
        return self

    @overload
    def tool(self, function: F, /) -> F: ...
    @overload
    def tool(
        self,
        /,
        *,
        name: str | None = None,
        description: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        idempotent: bool = True,
        timeout: Duration | None = None,
        cache_ttl: Duration | None = None,
        shared: bool = False,
        approve: Approval = False,
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
        parameters: Mapping[str, Any] | None = None,
        idempotent: bool = True,
        timeout: Duration | None = None,
        cache_ttl: Duration | None = None,
        shared: bool = False,
        approve: Approval = False,
    ) -> Tool:
        """Register a function.

        ``name`` and ``description`` default to the function's name and docstring, ``parameters``
        to what its signature says; a JSON schema is taken as by ``add_schema``. Set
        ``idempotent=False`` if running it twice does harm; ``timeout`` is in seconds. With
        ``cache_ttl``, in seconds, results are cached, by user (without one, by session) unless
        ``shared``; errors never are. The cache knows a tool by its name, description, parameters
        and what a partial binds: one that differs in anything else needs another name.

        With ``approve=True`` a call is run once somebody has approved it (``answer`` with
        ``Approve()``), maybe days later and on another instance: until then the turn is parked, and
        after that no call is run twice. A function in its place tells for which arguments that is
        so: it is given them by name if it takes all of them so, else as one dict. Raises
        InvalidInput for a name that is taken, for one that models do not accept (of the tool, of a
        parameter, of a field of its class), for parameters that have no type or one that a model
        cannot send, and for a ``cache_ttl`` on what is not idempotent.
        """
        if not callable(function):
            raise InvalidInput(f"{function!r:.100} is no function, so it cannot be a tool")
        named = function.func if isinstance(function, partial) else function
        name = name or str(getattr(named, "__name__", type(named).__name__))
        check_name(name)
        if name in self._tools:
            raise InvalidInput(
                f"there is already a tool {name!r}", hint="give the other one a name: name=…"
            )
        if isgeneratorfunction(function) or isasyncgenfunction(function):
            raise InvalidInput(f"tool {name!r} is a generator", hint="return a list instead")
        longest = timeout_of(name, timeout)
        ttl = cache_ttl_of(name, cache_ttl, idempotent=idempotent, shared=shared)
        check_approve(name, approve)
        signature = (
            read_signature(function, name)
            if parameters is None
            else read_schema(parameters, function, name)
        )
        check_names(signature.schema, name)
        if shared and signature.contexts:
            raise InvalidInput(
                f"tool {name!r} takes a ToolContext, so its results cannot be shared",
                hint="leave out shared=True: results are cached for each session then",
            )
        if description is None:
            description, _ = read_docstring(getdoc(named))
        tool = Tool(
            name, description, signature.schema, function, idempotent, longest, ttl, shared,
            approve, signature=signature,
        )  # fmt: skip
        self._tools[name] = tool
        return tool

    def add_schema(
        self,
        name: str,
        description: str,
        parameters: Mapping[str, Any],
        function: Callable[..., Any],
        *,
        idempotent: bool = True,
        timeout: Duration | None = None,
        cache_ttl: Duration | None = None,
        shared: bool = False,
        approve: Approval = False,
    ) -> Tool:
        """Register a tool that has a JSON schema of its own, such as one of an MCP server.

        ``parameters`` is the schema, of an object; models get it as it is. ``function`` is given
        the arguments as they came: by name if it takes all of them so, as ``**arguments`` does,
        else all in one dict. That nothing required is missing and that each has its type is
        checked before, and the model is told; a slip that can mean one thing only, as ``"5"`` for a
        number, is mended. What the schema says besides is the function's to check. Options and
        errors are those of ``add``.
        """
        return self.add(
            function,
            name=name,
            description=description,
            parameters=parameters,
            idempotent=idempotent,
            timeout=timeout,
            cache_ttl=cache_ttl,
            shared=shared,
            approve=approve,
        )

    def declare(self, name: str, description: str, parameters: Mapping[str, Any]) -> Tool:
        """Register a tool that somebody else runs, such as the program of the user.

        A call of it parks the turn, until ``answer`` gives its result: maybe days later, and on
        another instance. ``parameters`` is the JSON schema of an object; calls that do not fit it
        go back to the model at once. Raises InvalidInput as ``add_schema`` does.
        """
        tool = self.add_schema(name, description, parameters, _run_by_somebody_else)
        declared = self._tools[name] = evolve(tool, is_declared=True)
        return declared

    def add_mcp(self, server: ToolSource) -> None:
        """Have the tools of a server among these, as it has them when a turn begins.

        Nothing is opened yet: the server is asked when its tools are wanted for the first time, in
        each process. A name that is taken already keeps its tool. ``close`` closes the server.
        """
        if not isinstance(server, ToolSource):
            raise InvalidInput(
                f"a server must be an MCPServer, not {server!r:.100}",
                hint="from miniagent_redis.mcp import MCPServer",
            )
        if server not in self._sources:
            self._sources = *self._sources, server

    def close(self) -> None:
        """Close the servers whose tools are here; who wants their tools again opens them anew."""
        for source in self._sources:
            source.close()

    def _all(self) -> dict[str, Tool]:
        return of_all(self._tools, self._sources) if self._sources else self._tools

    def get(self, name: str) -> Tool | None:
        """Return the tool of that name, or None."""
        return self._tools.get(name) or self._all().get(name)

    def specs(self) -> list[Json]:
        """Return what a model is told of each tool: ``name``, ``description``, ``parameters``."""
        return [
            {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
            for tool in self
        ]

    def copy(self, *more: Tool) -> ToolRegistry:
        """Return another registry with the same tools, and ``more`` whose names are not taken.

        It has those that servers have now; raises ToolError if one cannot be asked.
        """
        twin = copy.copy(self)
        twin._tools, twin._sources = dict(self._all()), ()
        for tool in more:
            twin._tools.setdefault(tool.name, tool)
        return twin

    def run_coroutine(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run an async tool to its end, in the loop of the process for all of them.

        Called in the tool's worker thread, which it blocks. Override it to use another loop.
        """
        return staying_loops.run(coroutine)

    def starter(self) -> StartsCoroutine | None:
        """Return what starts an async tool for the code that asks, so that no thread waits for it.

        None if ``run_coroutine`` has to block for each.
        """
        return None

    def __iter__(self) -> Iterator[Tool]:
        return iter(list(self._all().values()))

    def __contains__(self, name: object) -> bool:
        return name in self._tools or name in self._all()

    def __len__(self) -> int:
        return len(self._all())


def _run_by_somebody_else(**arguments: Any) -> None:
    raise ToolError("this tool is run by somebody else, and nobody was asked")


Tools = ToolRegistry | Iterable[Callable[..., Any] | Tool | ToolSource]
"""What an agent takes as its tools."""


def _several(tools: Tools) -> Iterable[Callable[..., Any] | Tool | ToolSource]:
    if isinstance(tools, (str, bytes, Mapping)) or not isinstance(tools, Iterable):
        raise InvalidInput(
            f"tools must be functions or a ToolRegistry, not {article(type(tools).__name__)}",
            hint="write tools=[the_function]" if callable(tools) else "write tools=[…]",
        )
    return tools
