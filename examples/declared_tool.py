"""The model calls a tool that only the user's own program can run: it gives the result back."""

from miniagent_redis import (
    AgentConfig,
    EventType,
    RedisConfig,
    SessionAgent,
    SessionManager,
    ToolCall,
    ToolRegistry,
)
from miniagent_redis.llm import ScriptedModel

tools = ToolRegistry()
tools.declare(
    "locate",
    "Ask the user's phone where it is.",
    {"type": "object", "properties": {"exact": {"type": "boolean"}}, "required": ["exact"]},
)
model = ScriptedModel([[ToolCall("call-1", "locate", {"exact": False})], "You are in Paris."])
agent = SessionAgent(AgentConfig(model=model), tools, redis_config=RedisConfig.from_env())


def phone(name: str, arguments: dict) -> str:
    """Run a tool on the user's side, such as in a browser."""
    return {"locate": "Paris" if not arguments["exact"] else "48.8584, 2.2945"}[name]


with agent:
    manager = SessionManager(agent)
    session_id = manager.create_or_resume_session(user_id="ada")
    for event in manager.stream(session_id, "Where am I?"):
        if event.type is EventType.TURN_WAITING:
            results = {
                call["id"]: phone(call["name"], call["arguments"]) for call in event.data["calls"]
            }
            print("the phone says", results)
    result = manager.answer(session_id, event.turn_id, results)
    print(result.text)
    assert result.text == "You are in Paris."
