"""A call of a server's tool, from its request to its result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from attrs import frozen

from ..errors import ToolError
from ..models import Inquiry
from .asking import Answers, asked_by_error, call_in_rounds

if TYPE_CHECKING:
    from mcp import Client
    from mcp.types import CallToolResult, InputRequiredResult, InputResponse


@frozen(kw_only=True)
class Call:
    """A call of a tool, and what it has asked the user before."""

    name: str
    arguments: dict[str, Any]
    inquiries: Sequence[Inquiry] = ()
    timeout: float | None = None
    answers: Answers | None = None


async def call_tool(client: Client, call: Call) -> CallToolResult:
    """Call it; raises AskUser, ToolError for what the model has to know, MCPError."""
    from mcp import MCPError
    from mcp.types import (
        HEADER_MISMATCH,
        REQUEST_TIMEOUT,
        URL_ELICITATION_REQUIRED,
        CallToolResult,
        InputRequiredResult,
    )

    async def send(
        responses: dict[str, InputResponse] | None, state: str | None
    ) -> CallToolResult | InputRequiredResult:
        result = await client.session.call_tool(
            call.name,
            call.arguments,
            read_timeout_seconds=call.timeout,
            input_responses=responses,
            request_state=state,
            allow_input_required=True,
        )
        assert isinstance(result, (CallToolResult, InputRequiredResult))
        return result

    try:
        try:
            return await call_in_rounds(send, call.inquiries, call.answers)
        except MCPError as exc:
            if exc.code != HEADER_MISMATCH:
                raise
        await client.list_tools()  # its schema, which headers are made of, has changed
        return await call_in_rounds(send, call.inquiries, call.answers)
    except MCPError as exc:
        if exc.code == URL_ELICITATION_REQUIRED:
            asked_by_error(exc, call.inquiries)
        if exc.code == REQUEST_TIMEOUT:
            why = f"no answer within {call.timeout:g} s; it may still be running"
            raise ToolError(why) from exc
        raise
