"""One open connection to a server: it lives in a task of the loop of all servers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, TypeVar

from .address import Address, Transport
from .asking import AskedMeanwhile
from .calling import Call, call_tool
from .noting import NOT_REACHED, note_in, noting, reason

if TYPE_CHECKING:
    from mcp import Client
    from mcp.types import CallToolResult, ElicitRequestParams, ElicitResult, Tool

T = TypeVar("T")
log: logging.Logger = logging.getLogger("miniagent_redis")

_TERMINATED = "Session terminated"
_MOST_PAGES = 100
_LISTEN_AGAIN = 1.0  # seconds after which who listened for changes listens again
_SETTLING = 1.0  # seconds for a call to end that nobody waits for, so that the server hears of it


class ConnectionLost(Exception):
    """The connection broke; ``was_sent``: the server may have got the request."""

    def __init__(self, why: str, *, was_sent: bool) -> None:
        super().__init__(why)
        self.was_sent = was_sent


class Connection:
    """Opened once and closed once. Everything but ``is_over`` is for the loop's own tasks."""

    def __init__(self, address: Address, changed: Callable[[], object], *, elicits: bool) -> None:
        self._address = address
        self._changed = changed
        self._elicits = elicits
        self.is_over: bool = False
        self.is_closed: bool = False
        """Whether it is over because somebody closed it."""
        self._ending = asyncio.Event()
        self._ready: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self._life: asyncio.Task[None] | None = None
        self._why = "it closed the connection"
        self._one_by_one = asyncio.Lock()
        self._asked: AskedMeanwhile | None = None

    async def open(self) -> None:
        """Connect and agree on a protocol; raises whatever prevents it."""
        self._life = asyncio.create_task(self._live())
        try:
            await asyncio.shield(self._ready)
        except BaseException:
            self._life.cancel()
            raise

    async def close(self) -> None:
        """End it, and the program it started; waits for that, some seconds at the most."""
        self.is_closed = True
        self._end()
        if self._life is not None:
            await asyncio.wait({self._life})

    def _end(self) -> None:
        self.is_over = True
        self._ending.set()

    async def _live(self) -> None:
        try:
            async with AsyncExitStack() as stack:
                client = self._client(await self._address.open(stack))
                await stack.enter_async_context(client)
                listening = asyncio.create_task(self._listen(client))
                stack.callback(listening.cancel)
                if not self._ready.done():
                    self._ready.set_result(client)
                await self._ending.wait()
        except (Exception, asyncio.CancelledError) as exc:
            self._why = reason(exc)
            if not self._ready.done():
                self._ready.set_exception(ConnectionLost(self._why, was_sent=False))
            elif not self.is_closed:
                log.debug("the connection to an MCP server broke: %s", self._why)
        finally:
            self._end()
            if not self._ready.cancel() and not self._ready.cancelled():
                self._ready.exception()  # who opened it may have gone, and nobody misses it

    def _client(self, transport: Transport) -> Client:
        from mcp import Client
        from mcp.types import Implementation

        return Client(
            noting(transport),
            elicitation_callback=self._reply if self._elicits else None,
            message_handler=self._hear,
            client_info=Implementation(name="miniagent-redis", version=_version()),
            cache=None,
        )

    # --- what the server says by itself ---------------------------------------------------------

    async def _reply(self, context: object, params: ElicitRequestParams) -> ElicitResult:
        if self._asked is None:  # of a call that was given up
            return await AskedMeanwhile(()).reply(params)
        return await self._asked.reply(params)

    async def _hear(self, message: object) -> None:
        from mcp.types import ToolListChangedNotification

        if isinstance(message, ToolListChangedNotification):
            self._changed()

    async def _listen(self, client: Client) -> None:
        """Hear of changes from a server that tells of them only to who listens."""
        from mcp.types.version import MODERN_PROTOCOL_VERSIONS

        tools = client.server_capabilities.tools
        if client.protocol_version not in MODERN_PROTOCOL_VERSIONS or not (
            tools and tools.list_changed
        ):
            return
        while not self.is_over:
            with suppress(Exception):  # it is listened to again, or the connection ends
                async with client.listen(tools_list_changed=True) as changes:
                    async for _ in changes:
                        self._changed()
            await asyncio.sleep(_LISTEN_AGAIN)
            self._changed()

    # --- requests -------------------------------------------------------------------------------

    async def list_tools(self) -> list[Tool]:
        """Return all the tools that the server has."""

        async def send(client: Client) -> list[Tool]:
            found: list[Tool] = []
            cursor: str | None = None
            for _ in range(_MOST_PAGES):
                page = await client.list_tools(cursor=cursor)
                found += page.tools
                if (cursor := page.next_cursor) is None:
                    break
            return found

        return await self._request(send)

    async def call(self, call: Call) -> CallToolResult:
        """Call a tool; raises AskUser, ToolError for what the model has to know, ConnectionLost."""
        from mcp.types.version import MODERN_PROTOCOL_VERSIONS

        is_modern = (await self._ready).protocol_version in MODERN_PROTOCOL_VERSIONS
        if is_modern or not self._elicits:
            return await self._request(lambda client: call_tool(client, call))
        async with self._one_by_one:  # what it asks says not which call asks it
            asked = self._asked = AskedMeanwhile(call.inquiries, call.answers)
            try:
                result = await self._request(lambda client: call_tool(client, call))
            finally:
                self._asked = None
        asked.ask()
        return result

    async def _request(self, send: Callable[[Client], Awaitable[T]]) -> T:
        from mcp import MCPError
        from mcp.types import CONNECTION_CLOSED

        client = await self._ready
        assert self._life is not None
        sent: list[bool] = []

        async def work() -> T:
            note_in(sent)
            return await send(client)

        task = asyncio.create_task(work())
        try:
            await asyncio.wait({task, self._life}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise ConnectionLost(self._why, was_sent=self._was_sent(sent))
            return task.result()
        except MCPError as exc:
            terminated = exc.message == _TERMINATED
            if not terminated and exc.code != CONNECTION_CLOSED:
                raise
            await self._settle()
            was_sent = not terminated and self._was_sent(sent)
            raise ConnectionLost(self._why, was_sent=was_sent) from exc
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task}, timeout=_SETTLING)
                if task.done() and not task.cancelled():
                    task.exception()

    def _was_sent(self, sent: list[bool]) -> bool:
        return bool(sent) and not self._why.startswith(NOT_REACHED)

    async def _settle(self) -> None:
        """End what is broken, and wait a moment for the reason."""
        self._end()
        if self._life is not None:
            await asyncio.wait({self._life}, timeout=_SETTLING)


def _version() -> str:
    try:
        return version("miniagent-redis")
    except PackageNotFoundError:  # run from its folder
        return "0"
