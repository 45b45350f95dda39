"""Where a server is, and how it is reached: a command to start, a URL, or a transport."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TYPE_CHECKING, Any, TextIO
from urllib.parse import urlsplit

from attrs import field, frozen

from ..errors import InvalidInput

if TYPE_CHECKING:
    from httpx2 import Auth

Headers = Mapping[str, str] | Callable[[], Mapping[str, str]]
Transport = AbstractAsyncContextManager[Any]
_ANSWERS_WITHIN, _SILENT = 30.0, 300.0  # seconds: to begin an answer, and between its events


@frozen(kw_only=True)
class Address:
    """One way to a server; ``url`` and ``command`` are those of the SDK's transports."""

    url: str | None = None
    command: str | None = None
    args: tuple[str, ...] = ()
    env: Mapping[str, str] | None = field(default=None, repr=False)
    cwd: str | os.PathLike[str] | None = None
    headers: Headers | None = field(default=None, repr=False)
    auth: Auth | None = field(default=None, repr=False)
    transport: Callable[[], Transport] | None = None

    @classmethod
    def given(
        cls,
        url: str | None,
        command: str | None,
        args: Sequence[str],
        transport: Callable[[], Transport] | None,
        **more: Any,
    ) -> Address:
        """Return the one that is meant; raises InvalidInput for none, or several."""
        ways = {"url": url, "command": command, "transport": transport}
        named = [name for name, value in ways.items() if value]
        if len(named) != 1:
            raise InvalidInput(
                "an MCPServer needs one of url, command and transport",
                cause=f"it was given {' and '.join(named) or 'none of them'}",
                hint='write MCPServer("https://…/mcp") or MCPServer(command="uvx", args=[…])',
            )
        if isinstance(args, str) or not all(isinstance(one, str) for one in args):
            raise InvalidInput(
                f"args must be a list of texts, not {args!r:.100}",
                hint="one text for each word: args=['-m', 'my_server']",
            )
        if url and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc):
            raise InvalidInput(
                f"{url!r:.100} is no URL of an MCP server",
                hint="it begins with http:// or https://; a program is given as command=…, args=…",
            )
        of_command = args or more.get("env") is not None or more.get("cwd") is not None
        of_url = more.get("headers") is not None or more.get("auth") is not None
        if (of_command and not command) or (of_url and not url):
            raise InvalidInput(
                "args, env and cwd are for a command, headers and auth for a url",
                cause=f"this server has a {named[0]}",
            )
        return cls(url=url, command=command, args=tuple(args), transport=transport, **more)

    @property
    def short(self) -> str:
        """What it is called in messages, without anything that may be a secret."""
        if self.url:
            return urlsplit(self.url).hostname or "server"
        return os.path.basename(self.command) if self.command else "server"

    async def open(self, stack: AsyncExitStack) -> Transport:
        """Return a new transport, whose parts the stack closes behind it."""
        if self.transport is not None:
            return self.transport()
        if self.command is not None:
            from mcp import StdioServerParameters, stdio_client

            parameters = StdioServerParameters(
                command=self.command,
                args=list(self.args),
                env=None if self.env is None else dict(self.env),
                cwd=None if self.cwd is None else os.fspath(self.cwd),
            )
            return stdio_client(parameters, errlog=_stderr(stack))
        import httpx2
        from mcp.client.streamable_http import streamable_http_client

        headers = self.headers() if callable(self.headers) else self.headers
        client = httpx2.AsyncClient(
            headers=dict(headers or {}),
            auth=self.auth,
            timeout=httpx2.Timeout(_ANSWERS_WITHIN, read=_SILENT),
        )
        await stack.enter_async_context(client)
        return streamable_http_client(str(self.url), http_client=client)


def _stderr(stack: AsyncExitStack) -> TextIO:
    """Return where a program may complain: it has to be a file, which notebooks do not have."""
    for stream in (sys.stderr, sys.__stderr__):
        try:
            if stream is not None and stream.fileno() >= 0:
                return stream
        except (AttributeError, OSError, ValueError):
            continue
    return stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
