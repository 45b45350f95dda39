"""Tools: plain functions, sync and async, whose arguments are checked before they are called."""

import asyncio
from typing import Literal

import attrs

import miniagent_redis as ma
from miniagent_redis.llm import ScriptedModel

tools = ma.ToolRegistry()


@attrs.frozen
class Guest:
    """Somebody who comes."""

    name: str
    diet: Literal["any", "vegan"] = "any"


@tools.tool(timeout=5)
async def free_tables(meal: Literal["lunch", "dinner"], seats: int = 2) -> list[int]:
    """Tell which tables are free."""
    await asyncio.sleep(0.01)
    return [3, 7] if meal == "dinner" and seats <= 4 else []


@tools.tool(idempotent=False)  # booking twice does harm
def book(table: int, guests: list[Guest], note: str | None = None) -> str:
    """Book a table.

    Args:
        table: its number
        guests: all who come
    """
    if table not in (3, 7):
        raise ma.ToolError(f"table {table} is taken", hint="ask for the free ones")
    return f"table {table} for {' and '.join(guest.name for guest in guests)}"


def main() -> None:
    asks = ma.ToolCall("1", "free_tables", {"meal": "dinner"})
    wrong = ma.ToolCall("2", "book", {"table": "three", "guests": [{"diet": "none"}]})
    right = ma.ToolCall("3", "book", {"table": 3, "guests": [{"name": "Ada"}, {"name": "Bob"}]})
    model = ScriptedModel([[asks, wrong], right, "Table 3 is yours."])  # the first two in parallel
    config, redis = ma.AgentConfig(model=model), ma.RedisConfig.from_env()
    with ma.SessionAgent(config, tools, redis_config=redis) as agent:
        manager = ma.SessionManager(agent)
        session_id = manager.create_or_resume_session()
        for event in manager.stream(session_id, "A table for tonight, please"):
            if event.type is ma.EventType.TOOL_RESULT:
                print(event.data["name"], "->", event.data["content"])
            elif event.type is ma.EventType.AGENT_RESPONSE:
                print(event.text)


if __name__ == "__main__":
    main()
