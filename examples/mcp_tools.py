"""An agent with the tools of an MCP server, which asks the user before it books.

    python mcp_tools.py

The server is made with the official SDK: pip install 'miniagent-redis[mcp]'
"""

import sys
from importlib.util import find_spec

from miniagent_redis import AgentConfig, RedisConfig, SessionAgent, SessionManager, ToolCall
from miniagent_redis.llm import ScriptedModel
from miniagent_redis.mcp import MCPServer

if find_spec("mcp") is None:
    sys.exit(print("This needs the MCP SDK: pip install 'miniagent-redis[mcp]'"))

SERVER = """
from typing import Annotated

from mcp.server import MCPServer
from mcp.server.mcpserver.resolve import Elicit, Resolve
from pydantic import BaseModel

class Table(BaseModel):
    hour: int
    guests: int = 2

def ask() -> Elicit[Table]:
    return Elicit("At what hour, and for how many?", Table)

server = MCPServer("restaurant")

@server.tool()
def book(day: str, table: Annotated[Table, Resolve(ask)]) -> str:
    return f"a table for {table.guests} on {day} at {table.hour}:00"

server.run("stdio")
"""

restaurant = MCPServer(command=sys.executable, args=["-c", SERVER], prefix="restaurant_")
call = ToolCall("call-1", "restaurant_book", {"day": "Friday"})
model = ScriptedModel([[call], "See you on Friday!"])
with SessionAgent(
    AgentConfig(model=model), [restaurant], redis_config=RedisConfig.from_env()
) as agent:
    manager = SessionManager(agent)
    session_id = manager.create_or_resume_session(user_id="ada")
    result = manager.run(session_id, "I would like a table on Friday.")
    print(result.waiting[0].question.message)  # maybe days later, and in another process:
    result = manager.answer(session_id, result.turn_id, {"call-1": {"hour": 19}})
    assert result.steps[-2].text == "a table for 2 on Friday at 19:00"
    print(result.text)
