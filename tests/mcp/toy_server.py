"""A server made with the official SDK, of today's protocol: over stdio, or HTTP on a given port."""

from __future__ import annotations

import base64
import sys
from typing import Annotated

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.resolve import Elicit, Resolve
from mcp.types import (
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
    ToolAnnotations,
)
from pydantic import BaseModel

PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
server = MCPServer("toy")


class Day(BaseModel):
    day: str
    seats: int = 2


class Sure(BaseModel):
    sure: bool


def which_day() -> Elicit[Day]:
    return Elicit("For which day?", Day)


def really(day: Annotated[Day, Resolve(which_day)]) -> Elicit[Sure]:
    return Elicit(f"Really {day.day}?", Sure)


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool()
def fail() -> str:
    """Fail."""
    raise ValueError("nothing is left")


@server.tool()
def book(
    place: str, day: Annotated[Day, Resolve(which_day)], sure: Annotated[Sure, Resolve(really)]
) -> str:
    """Book a table."""
    return f"{place}, {day.day}, {day.seats} seats, {'sure' if sure.sure else 'not sure'}"


@server.tool()
def show() -> CallToolResult:
    """Show everything that a result may hold."""
    blob = base64.b64encode(b"%PDF-1.7").decode()
    return CallToolResult(
        content=[
            TextContent(type="text", text="Look:"),
            ImageContent(type="image", data=PIXEL, mime_type="image/png"),
            AudioContent(type="audio", data=PIXEL, mime_type="audio/wav"),
            ResourceLink(
                type="resource_link", name="notes", uri="file:///notes", mime_type="text/plain"
            ),
            EmbeddedResource(
                type="resource", resource=TextResourceContents(uri="file:///a", text="inside")
            ),
            EmbeddedResource(
                type="resource",
                resource=BlobResourceContents(
                    uri="file:///b", blob=blob, mime_type="application/pdf"
                ),
            ),
            EmbeddedResource(
                type="resource", resource=BlobResourceContents(uri="file:///c", blob=blob)
            ),
        ],
        structured_content={"shown": 7},
    )


@server.tool()
async def grow(context: Context) -> str:
    """Get one more tool."""

    def grown() -> str:
        """Tell that it is there."""
        return "here"

    server.add_tool(grown)
    await context.notify_tools_changed()
    return "grown"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
    else:
        server.run("stdio")
