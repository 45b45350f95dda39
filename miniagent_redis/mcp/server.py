"""MCPServer: a server whose tools are an agent's; opened when they are wanted."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ..errors import InvalidInput, ToolError
from ..models import ToolContext, ToolResult
from ..runtime.durations import Duration, duration, seconds_or_none
from ..runtime.forking import reset_after_fork
from ..runtime.installing import pip_install
from ..runtime.interrupts import WeakRegistry, weakly
from ..runtime.own_loop import OwnLoop
from ..tools import Tool
from ..tools.asking import AskUser
from ..tools.source import ToolSource
from ..tools.tool import timeout_of
from .address import Address, Headers, Transport
from .asking import MOST, Answers
from .calling import Call
from .connection import Connection, ConnectionLost
from .contents import content_of
from .naming import Names, approves, check_names, same_as_before, tools_of
from .noting import reason

if TYPE_CHECKING:
    from httpx2 import Auth

log: logging.Logger = logging.getLogger("miniagent_redis")

servers_loop: OwnLoop = OwnLoop("miniagent-redis-mcp")
"""Nothing of a user's runs in it but what makes a transport or headers, so nothing blocks it."""
_PATIENCE = 5.0
"""Seconds for which a server that could not be asked is not asked for its tools again."""
_CLOSING = 10.0  # seconds for a program to end, which is killed before


class MCPServer(ToolSource):
    """The tools of a server that speaks the Model Context Protocol. Safe for threads and forks.

    It is reached in one of three ways, by the names of the official SDK: ``url``, over streamable
    HTTP, with ``headers`` (or a function that returns them, called for each connection, which must
    not block) and ``auth`` (of ``httpx2``, such as the SDK's OAuth providers); ``command``, a
    program that is started with ``args``, ``env`` (beside PATH, HOME and their like) and ``cwd``,
    over its standard input and output; or ``transport``, a function that returns one of the SDK's.

    ``prefix`` stands in front of the names of its tools, ``only`` says which there are: names, with
    ``*`` for any text, or a function of a name. ``approve`` says whose calls wait for approval:
    "destructive", those that the server calls destructive; True or False; or names, as ``only``.
    Tools that the server calls read-only or idempotent are ``idempotent``, others are not.
    ``timeout`` is of a call, in seconds (None: that of the agent), ``open_timeout`` of connecting.
    With ``elicitation`` the server may ask the user: the turn waits for the answer; a function of
    a Question may give it on the spot, or None for the user to. A server of a protocol before
    2026-07-28 then works on one call at a time. With ``required=False`` an agent
    does without it while it cannot be reached.

    Nothing is opened here, but when tools are wanted, or by ``with`` or ``open``. Raises
    InvalidInput for arguments that do not go together.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        command: str | None = None,
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        headers: Headers | None = None,
        auth: Auth | None = None,
        transport: Callable[[], Transport] | None = None,
        name: str = "",
        prefix: str = "",
        only: Names | None = None,
        approve: Names | bool = "destructive",
        timeout: Duration | None = None,
        open_timeout: Duration = 30.0,
        elicitation: bool | Answers = True,
        required: bool = True,
    ) -> None:
        more = {"env": env, "cwd": cwd, "headers": headers, "auth": auth}
        self._address = Address.given(url, command, args, transport, **more)
        self.name: str = name or self._address.short
        self.prefix = prefix
        self._only = None if only is None else check_names(only, "only")
        self._approve = approves(approve)
        self._timeout = timeout_of(self.name, seconds_or_none(timeout))
        self._open_timeout = duration(open_timeout, "open_timeout", above=True)
        self._elicitation = bool(elicitation)
        self._answers = elicitation if callable(elicitation) else None
        self._required = required
        self._known: tuple[Tool, ...] | None = None
        self._start_anew()
        _all.add(self)

    @reset_after_fork
    def _start_anew(self) -> None:
        self._connection: Connection | None = None  # a child's is not that of its parent
        self._opening: asyncio.Lock | None = None
        self._is_stale = True
        self._not_before = 0.0

    def __str__(self) -> str:
        return f"MCP server {self.name!r}"

    def __repr__(self) -> str:
        return f"<{self} of {self._address.short}>"

    # --- life -----------------------------------------------------------------------------------

    def open(self) -> MCPServer:
        """Connect and read which tools there are; blocks. Returns self. Twice is fine.

        Raises ToolError if it cannot be reached within ``open_timeout``, or has no such tools.
        """
        _check_installed()
        if self._is_stale or self._known is None:
            servers_loop.run(self._read_tools())
        return self

    def close(self) -> None:
        """End the connection and the program; blocks for some seconds at the most.

        Calls under way fail. Twice is fine; who wants its tools again opens it anew.
        """
        connection, self._connection = self._connection, None
        self._is_stale, self._not_before = True, 0.0
        if connection is not None:
            with suppress(TimeoutError):
                servers_loop.start(connection.close()).result(_CLOSING)

    def __enter__(self) -> MCPServer:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_connection", None) is not None:
            with suppress(Exception):
                servers_loop.start(self._connection.close())  # type: ignore[union-attr]

    # --- tools ----------------------------------------------------------------------------------

    def tools(self) -> Sequence[Tool]:
        """Return its tools, as they are now; asks the server if it told of a change, or is new.

        While it cannot be asked they are those of before. Raises ToolError if there are none.
        """
        if not self._is_stale and self._known is not None:
            return self._known
        if time.monotonic() >= self._not_before:
            try:
                return self.open().tools()
            except ToolError as exc:
                self._not_before = time.monotonic() + _PATIENCE
                if self._required and self._known is None:
                    self._not_before = 0.0
                    raise
                log.warning("the tools of %s cannot be read: %s", self, exc)
        return self._known or ()

    def _call(self, name: str, idempotent: bool, arguments: Any, context: ToolContext) -> Any:
        if len(context.inquiries) >= MOST:
            raise ToolError(f"{self} asked the user {MOST} times, and wants to know more")
        _check_installed()
        call = Call(
            name=name,
            arguments=arguments,
            inquiries=context.inquiries,
            timeout=self._timeout,
            answers=self._answers,
        )
        try:
            result = servers_loop.run(self._perform(call, idempotent))
        except AskUser as exc:
            if context.turn_id:
                raise
            raise ToolError(f"{self} asks the user, and nobody is there: {exc}") from None
        content = content_of(result)
        return ToolResult(context.call_id, name, content, is_error=result.is_error)

    # --- in the loop ----------------------------------------------------------------------------

    async def _perform(self, call: Call, idempotent: bool) -> Any:
        from mcp import MCPError

        for is_last in (False, True):
            connection = await self._connected()
            try:
                return await connection.call(call)
            except ConnectionLost as lost:
                if connection.is_closed:
                    raise ToolError(f"{self} was closed meanwhile") from lost
                if lost.was_sent and not idempotent:
                    raise ToolError(
                        f"{self} was lost while it worked on the call ({lost}): outcome unknown",
                        hint="find out what was done before you call it again",
                    ) from lost
                if is_last:
                    raise ToolError(f"{self} was lost twice: {lost}") from lost
                log.warning("%s was lost, and is connected to anew: %s", self, lost)
            except MCPError as exc:
                raise ToolError(f"{self} refuses the call: {exc.message}") from exc
            except (RuntimeError, ValueError) as exc:  # what it gave is not what it said it would
                raise ToolError(f"{self} gave a result that is none: {exc}") from exc
        raise AssertionError

    async def _connected(self) -> Connection:
        """Return the connection, opened anew if it is over."""
        self._opening = self._opening or asyncio.Lock()
        async with self._opening:
            if (now := self._connection) is not None and not now.is_over:
                return now
            changed = weakly(self._has_changed)
            connection = Connection(self._address, changed, elicits=self._elicitation)
            try:
                async with asyncio.timeout(self._open_timeout):
                    await connection.open()
            except TimeoutError:
                why = f"there was no answer within {self._open_timeout:g} s"
                raise self._not_opened(why) from None
            except Exception as exc:
                raise self._not_opened(reason(exc)) from exc
            if now is not None:
                self._is_stale = True  # it may have other tools now, and tells of no change
            self._connection = connection
            return connection

    def _not_opened(self, why: str) -> ToolError:
        what = "see whether it runs, and whether the address is right"
        if self._address.command:
            what = "see what the command says when it is typed in a terminal"
        return ToolError(f"{self} cannot be used", cause=why, hint=what)

    async def _read_tools(self) -> None:
        for is_last in (False, True):
            connection = await self._connected()
            self._is_stale = False  # what changes from here on counts
            try:
                offered = await connection.list_tools()
            except ConnectionLost as exc:
                self._is_stale = True
                if is_last or connection.is_closed:
                    raise self._not_opened(str(exc)) from exc
                continue
            except Exception as exc:
                self._is_stale = True
                raise self._not_opened(reason(exc)) from exc
            self._known = self._tools_of(offered)
            return

    def _tools_of(self, offered: Sequence[Any]) -> tuple[Tool, ...]:
        is_meant = self._only
        found = [one for one in offered if is_meant is None or is_meant(one.name)]
        made = tools_of(self, found, self.prefix, self._approve, self._timeout, self._function)
        return same_as_before(self._known or (), made)

    def _function(self, name: str, idempotent: bool) -> Callable[..., Any]:
        def call(*, miniagent_context: ToolContext, **arguments: Any) -> Any:
            return self._call(name, idempotent, arguments, miniagent_context)

        return call

    def _has_changed(self) -> None:
        self._is_stale = True


def _check_installed() -> None:
    if sys.modules.get("mcp") is None and find_spec("mcp") is None:
        raise InvalidInput(
            "an MCPServer needs the package mcp, which is not installed",
            hint=f"run: {pip_install('mcp')}",
        )


_all: WeakRegistry[MCPServer] = WeakRegistry()


def _close_all() -> None:
    for server in _all:
        with suppress(Exception):
            server.close()


atexit.register(_close_all)
