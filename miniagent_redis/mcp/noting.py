"""Whether a request was written before its connection broke, and what broke it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .address import Transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_sent: ContextVar[list[bool] | None] = ContextVar("miniagent_redis_mcp_sent", default=None)
NOT_REACHED = "it cannot be reached"


def reason(error: BaseException) -> str:
    """Return in a few words what broke a connection: the first thing in a group that says so."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, asyncio.CancelledError):
        return "the connection was given up"
    said = str(error) or type(error).__name__
    if type(error).__name__ in ("ConnectError", "ConnectTimeout"):
        return f"{NOT_REACHED}: {said}"
    return said


def note_in(sent: list[bool]) -> None:
    """Have the list be not empty once the current task has written something to a server."""
    _sent.set(sent)


@asynccontextmanager
async def noting(transport: Transport) -> AsyncIterator[tuple[Any, Any]]:
    """Yield the streams of a transport, and have a request know whether it was written."""
    async with transport as (read, write):
        yield read, _Noting(write)


class _Noting:
    """A stream to a server that tells who writes that it was written."""

    def __init__(self, write: Any) -> None:
        self._write = write

    async def send(self, item: Any, /) -> None:
        from anyio import BrokenResourceError, ClosedResourceError

        sent = _sent.get()
        if sent is not None:
            sent.append(True)  # as the other side may have it before this returns
        try:
            await self._write.send(item)
        except (BrokenResourceError, ClosedResourceError):
            if sent is not None:
                sent.pop()
            raise

    async def aclose(self) -> None:
        await self._write.aclose()

    async def __aenter__(self) -> _Noting:
        await self._write.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        left: bool | None = await self._write.__aexit__(kind, error, trace)
        return left
