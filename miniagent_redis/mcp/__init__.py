"""Tools of MCP servers, without asyncio: ``MCPServer`` among the tools of an agent.

Needs the extra ``mcp``, the official SDK, which is imported when a server is opened.
"""

from .server import MCPServer

__all__ = ["MCPServer"]
